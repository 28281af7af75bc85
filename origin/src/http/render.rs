//! Manifests of a channel's newest snapshot: each is rendered once per snapshot, and compressed
//! once, however many viewers ask for it.
//!
//! A lock is held only to find the slot; rendering goes on outside of it, with the others who want
//! the same text waiting for this one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use packager::timeline::Snapshot;
use packager::{dash, hls};

use super::text::Text;

/// A text that is made of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    /// HLS multivariant playlist.
    Multivariant,
    /// HLS media playlist of the rendition at this position, or an update of it.
    Playlist(usize, hls::Skip),
    /// HLS I-frame playlist of the rendition at this position, or an update of it.
    KeyFrames(usize, hls::Skip),
    /// HLS image playlist of the rendition at this position, or an update of it.
    Images(usize, hls::Skip),
    /// DASH manifest.
    Manifest,
}

impl Resource {
    /// The same of a rendition, or an update of it.
    pub(super) fn of(self, index: usize, skip: hls::Skip) -> Self {
        match self {
            Self::Playlist(..) => Self::Playlist(index, skip),
            Self::KeyFrames(..) => Self::KeyFrames(index, skip),
            Self::Images(..) => Self::Images(index, skip),
            other => other,
        }
    }
}

/// How manifests are written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Of HLS playlists.
    pub hls: hls::Options,
    /// Of DASH manifests.
    pub dash: dash::Options,
}

impl Options {
    /// The same, for manifests from where `base` leads to the folder of the channel.
    pub(super) fn based(&self, base: &str) -> Self {
        let mut options = self.clone();
        (options.hls.base, options.dash.base) = (base.to_owned(), base.to_owned());
        options
    }
}

/// The rendered texts of one channel.
#[derive(Debug, Default)]
pub(super) struct Renders {
    slots: Mutex<HashMap<Resource, Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    snapshot: Arc<Snapshot>,
    text: Arc<OnceLock<Arc<Text>>>,
}

impl Renders {
    /// The text of `resource` as of `snapshot`.
    pub(super) fn text(
        &self,
        resource: Resource,
        snapshot: &Arc<Snapshot>,
        options: &Options,
    ) -> Arc<Text> {
        let text = self.slot(resource, snapshot);
        let text = text.get_or_init(|| {
            Text::new(match resource {
                Resource::Multivariant => hls::multivariant(snapshot, &options.hls),
                Resource::Playlist(index, skip) => hls::media(snapshot, index, skip, &options.hls),
                Resource::KeyFrames(index, skip) => {
                    hls::iframes(snapshot, index, skip, &options.hls)
                }
                Resource::Images(index, skip) => hls::images(snapshot, index, skip, &options.hls),
                Resource::Manifest => dash::manifest(snapshot, &options.dash),
            })
        });
        Arc::clone(text)
    }

    /// The place for the text; a fresh one if the slot holds that of another snapshot. Snapshots
    /// are told apart by identity: version numbers begin anew with a channel's next presentation.
    fn slot(&self, resource: Resource, snapshot: &Arc<Snapshot>) -> Arc<OnceLock<Arc<Text>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Slot { snapshot: Arc::clone(snapshot), text: Arc::default() };
        let slot = slots.entry(resource).or_insert_with(fresh);
        if !Arc::ptr_eq(&slot.snapshot, snapshot) {
            *slot = fresh();
        }
        Arc::clone(&slot.text)
    }
}

#[cfg(test)]
mod tests;
