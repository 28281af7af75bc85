//! Assets: recordings and clips of channels, which stay when the window has moved on.
//!
//! ```text
//! a channel's snapshot ─► excerpt ─► store (holds the segments, writes what the asset is)
//!                                       └► /vod/{asset}/…, over the channel's own objects
//! ```
//! A clip is what was on the air between two instants; a recording what a channel's window held when it
//! ended, where its configuration wants one ([`record`]). Both are the same thing. No byte is copied.
//!
//! How an asset is written down is the store's affair, how it is shown that of `http`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use packager::media::Name;
use packager::time::{Rounding, Timescale, Timestamp, iso};
use packager::timeline::{NoExcerpt, Snapshot, State};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, Channels};
use crate::clock::Clock;
use crate::store::{Asset, ChannelStore};

/// Timelines of assets that are kept in memory: what is watched now. The others are read when somebody
/// comes.
const LOADED: usize = 16;
/// Longest title, in characters.
const MAX_TITLE: usize = 200;
/// Characters of a digest that make an id one of its own.
const ID_DIGITS: usize = 8;

/// All assets of all channels.
#[derive(Debug)]
pub struct Assets {
    stores: BTreeMap<Name, Arc<ChannelStore>>,
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    /// Which channel an asset belongs to.
    owners: Mutex<BTreeMap<Name, Name>>,
    loaded: Mutex<VecDeque<(Name, Arc<Snapshot>)>>,
}

/// An asset as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Its name in URLs.
    pub id: String,
    /// The channel that it was on.
    pub channel: String,
    /// What people call it.
    pub title: String,
    /// When it was made, in UTC.
    pub created: String,
    /// When what it shows began: the date of its first picture.
    pub start: String,
    /// When that ended.
    pub end: String,
    /// How long it plays, in seconds.
    pub duration: f64,
    /// Size of its segments, in all renditions.
    pub bytes: u64,
    /// Path of its multivariant playlist.
    pub hls: String,
    /// Path of its manifest.
    pub dash: String,
}

/// What a clip is to be made of.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What was on from this instant on; from the beginning of the window, if there is none,
    pub from: Option<Timestamp>,
    /// and to before this one; to the end of what is there, if there is none.
    pub to: Option<Timestamp>,
    /// What people call it.
    pub title: String,
    /// Its name in URLs; one is made up, if there is none.
    pub id: Option<Name>,
}

/// Why something could not be done with an asset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such channel.
    #[error("no such channel")]
    NoChannel,
    /// There is no such asset.
    #[error("no such asset")]
    NoAsset,
    /// The channel has nothing to make a clip of.
    #[error("the channel has not been on the air")]
    NotOnAir,
    /// There is no such excerpt of it.
    #[error("there is no such clip: {0}")]
    Excerpt(#[from] NoExcerpt),
    /// The end is still to come.
    #[error("the end is still to come: what is there ends at {end}")]
    Unfinished {
        /// When what is there ends.
        end: String,
    },
    /// Another asset has the name.
    #[error("another asset has the id {id}")]
    Taken {
        /// The name.
        id: Name,
    },
    /// The title is too long.
    #[error("a title has at most {MAX_TITLE} characters, and none that is not printed")]
    Title,
    /// The disk says no.
    #[error("can't write the asset: {0}")]
    Store(#[from] io::Error),
}

impl Assets {
    /// The assets of these channels.
    pub fn new(
        channels: Arc<Channels>,
        stores: BTreeMap<Name, Arc<ChannelStore>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut owners = BTreeMap::new();
        for (channel, store) in &stores {
            let ids = store.assets().into_iter().filter_map(|asset| Name::parse(&asset.id).ok());
            owners.extend(ids.map(|id| (id, channel.clone())));
        }
        Self { stores, channels, clock, owners: Mutex::new(owners), loaded: Mutex::default() }
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Vec<View> {
        let of = |(channel, store): (&Name, &Arc<ChannelStore>)| {
            let assets = store.assets();
            assets.into_iter().map(|asset| View::of(channel, &asset)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.stores.iter().flat_map(of).collect();
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none.
    pub fn asset(&self, id: &str) -> Result<View, Error> {
        let (channel, store) = self.owner(id)?;
        let assets = store.assets();
        let asset = assets.iter().find(|asset| asset.id == id).ok_or(Error::NoAsset)?;
        Ok(View::of(&channel, asset))
    }

    /// Makes a clip of a channel. When this returns it is on the disk.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn make(&self, channel: &str, wish: Wish) -> Result<View, Error> {
        let channel = self.channels.get(channel).ok_or(Error::NoChannel)?;
        let snapshot = channel.snapshot.borrow().clone().ok_or(Error::NotOnAir)?;
        self.keep(channel, &snapshot, wish).await
    }

    /// Keeps an excerpt of a snapshot.
    async fn keep(
        &self,
        channel: &Channel,
        snapshot: &Snapshot,
        wish: Wish,
    ) -> Result<View, Error> {
        let title = title(&wish.title)?;
        let store = self.stores.get(&channel.name).ok_or(Error::NoChannel)?;
        let excerpt = excerpt(snapshot, wish.from, wish.to)?;
        let now = self.clock.now_millis();
        let mut asset = describe(&excerpt, title, now);
        let id = self.claim(&channel.name, wish.id, &asset)?;
        asset.id = id.to_string();
        let store = Arc::clone(store);
        let kept = tokio::task::spawn_blocking(move || store.keep_asset(asset, &excerpt)).await;
        let kept = kept.map_err(|_| io::Error::other("the writing was broken off")).flatten();
        match kept {
            Ok(asset) => Ok(View::of(&channel.name, &asset)),
            Err(error) => {
                self.owners().remove(&id);
                Err(error.into())
            }
        }
    }

    /// Gives an asset another title.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rename(&self, id: &str, new: &str) -> Result<View, Error> {
        let (channel, store) = self.owner(id)?;
        let (id, new) = (id.to_owned(), title(new)?);
        let renamed = tokio::task::spawn_blocking(move || store.rename_asset(&id, &new)).await;
        let renamed =
            renamed.map_err(|_| io::Error::other("the writing was broken off")).flatten()?;
        Ok(View::of(&channel, &renamed.ok_or(Error::NoAsset)?))
    }

    /// Deletes an asset. What is in a channel's window stays there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        let (_, store) = self.owner(id)?;
        let name = id.to_owned();
        let removed = tokio::task::spawn_blocking(move || store.remove_asset(&name)).await;
        let removed =
            removed.map_err(|_| io::Error::other("the deleting was broken off")).flatten()?;
        self.owners().remove(id);
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(of, _)| of.as_str() != id);
        if removed { Ok(()) } else { Err(Error::NoAsset) }
    }

    /// The timeline of an asset, and the channel whose objects it names.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub async fn timeline(&self, id: &str) -> Result<(Name, Arc<Snapshot>), Error> {
        let (channel, store) = self.owner(id)?;
        if let Some(known) = self.known(id) {
            return Ok((channel, known));
        }
        let name = id.to_owned();
        let read = tokio::task::spawn_blocking(move || store.asset_timeline(&name)).await;
        let read = read.map_err(|_| io::Error::other("the reading was broken off")).flatten()?;
        let timeline = Arc::new(read);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever read it at the same time has the same.
        if let Some((_, known)) = loaded.iter().find(|(of, _)| of.as_str() == id) {
            return Ok((channel, Arc::clone(known)));
        }
        if loaded.len() >= LOADED {
            loaded.pop_front();
        }
        if let Ok(id) = Name::parse(id) {
            loaded.push_back((id, Arc::clone(&timeline)));
        }
        Ok((channel, timeline))
    }

    /// The timeline of an asset that a segment belongs to.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub async fn holding(&self, channel: &Name, run: &str, k: u64) -> Result<Arc<Snapshot>, Error> {
        let store = self.stores.get(channel).ok_or(Error::NoChannel)?;
        let assets = store.assets();
        let asset = assets.iter().find(|asset| asset.holds(run, k)).ok_or(Error::NoAsset)?;
        Ok(self.timeline(&asset.id).await?.1)
    }

    fn known(&self, id: &str) -> Option<Arc<Snapshot>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = loaded.iter().position(|(of, _)| of.as_str() == id)?;
        let entry = loaded.remove(at)?;
        let timeline = Arc::clone(&entry.1);
        loaded.push_back(entry);
        Some(timeline)
    }

    fn owner(&self, id: &str) -> Result<(Name, Arc<ChannelStore>), Error> {
        let channel = self.owners().get(id).cloned().ok_or(Error::NoAsset)?;
        let store = self.stores.get(&channel).ok_or(Error::NoAsset)?;
        Ok((channel, Arc::clone(store)))
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Name>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for an asset of a channel, which then has it alone.
    fn claim(&self, channel: &Name, wish: Option<Name>, asset: &Asset) -> Result<Name, Error> {
        let mut owners = self.owners();
        if let Some(id) = wish {
            if owners.contains_key(id.as_str()) {
                return Err(Error::Taken { id });
            }
            owners.insert(id.clone(), channel.clone());
            return Ok(id);
        }
        for attempt in 0..u32::MAX {
            let made_of = format!("{channel}/{asset:?}/{attempt}");
            let digest = Sha256::digest(made_of.as_bytes());
            let digits: String =
                digest.iter().take(ID_DIGITS / 2).map(|b| format!("{b:02x}")).collect();
            // A channel's name may leave no room for it.
            let short: String =
                channel.as_str().chars().take(Name::MAX_LEN - ID_DIGITS - 1).collect();
            let Ok(id) = Name::parse(&format!("{short}-{digits}")) else { continue };
            if let std::collections::btree_map::Entry::Vacant(free) = owners.entry(id.clone()) {
                free.insert(channel.clone());
                return Ok(id);
            }
        }
        Err(io::Error::other("there is no name left").into())
    }
}

/// Keeps what the window of a channel holds whenever it ends, until cancelled.
pub async fn record(assets: Arc<Assets>, channel: Arc<Channel>, cancel: CancellationToken) {
    let mut snapshots: watch::Receiver<_> = channel.snapshot.clone();
    // What has ended before this process began was kept by the one before.
    let mut live = false;
    loop {
        let newest = snapshots.borrow_and_update().clone();
        let state = newest.as_ref().map(|snapshot| snapshot.state);
        if state == Some(State::Ended)
            && let (true, Some(snapshot)) = (std::mem::take(&mut live), newest)
        {
            let title =
                format!("{} until {}", channel.name, iso(millis(assets.clock.now_millis())));
            let wish = Wish { title, ..Wish::default() };
            match assets.keep(&channel, &snapshot, wish).await {
                Ok(asset) => tracing::info!(channel = %channel.name, asset = %asset.id, "recorded"),
                Err(error) => {
                    tracing::error!(channel = %channel.name, %error, "can't keep a recording")
                }
            }
        } else if state == Some(State::Live) {
            live = true;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// The excerpt that a clip is made of: it has both its ends.
fn excerpt(
    snapshot: &Snapshot,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Snapshot, Error> {
    let listed = snapshot.listed(0);
    let (first, last) = listed.first().zip(listed.last()).ok_or(Error::NotOnAir)?;
    let from = from.unwrap_or_else(|| Timestamp::new(first.start, first.run.scale(0)));
    let end = Timestamp::new(last.end(), last.run.scale(0));
    let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
    if to.is_none() && nanos(from) >= nanos(end) {
        return Err(NoExcerpt::ToCome.into());
    }
    let excerpt = snapshot.excerpt(from, Some(to.unwrap_or(end)))?;
    if excerpt.state == State::Whole {
        Ok(excerpt)
    } else {
        Err(Error::Unfinished { end: iso(end) })
    }
}

/// What an asset of an excerpt is; its id is still to come.
fn describe(excerpt: &Snapshot, title: String, now: u64) -> Asset {
    let segments = || excerpt.tracks.first().into_iter().flat_map(|track| &track.segments);
    let at = |ticks, scale| {
        let millis = Timestamp::new(ticks, scale).ticks_in(Timescale::MILLIS, Rounding::Nearest);
        millis.max(0).unsigned_abs()
    };
    let start = segments().next().map_or(0, |first| at(first.start, first.run.scale(0)));
    let end = segments().last().map_or(0, |last| at(last.end(), last.run.scale(0)));
    let nanos = |segment: &packager::timeline::Segment| {
        let length = packager::time::Span::new(segment.duration, segment.run.scale(0));
        length.ticks_in(Timescale::NANOS, Rounding::Nearest)
    };
    let duration: u64 = segments().map(nanos).sum();
    let all = excerpt.tracks.iter().flat_map(|track| &track.segments);
    Asset {
        title,
        created_ms: now,
        start_ms: start,
        end_ms: end,
        duration_ms: duration / 1_000_000,
        bytes: all.map(|segment| segment.bytes()).sum(),
        ..Asset::default()
    }
}

fn title(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let fits = text.chars().count() <= MAX_TITLE && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(Error::Title) }
}

fn millis(at: u64) -> Timestamp {
    Timestamp::new(i64::try_from(at).unwrap_or(i64::MAX), Timescale::MILLIS)
}

impl View {
    fn of(channel: &Name, asset: &Asset) -> Self {
        let date = |at| iso(millis(at));
        let id = &asset.id;
        Self {
            id: id.clone(),
            channel: channel.to_string(),
            title: asset.title.clone(),
            created: date(asset.created_ms),
            start: date(asset.start_ms),
            end: date(asset.end_ms),
            duration: asset.duration_ms as f64 / 1_000.0,
            bytes: asset.bytes,
            hls: format!("/vod/{id}/index.m3u8"),
            dash: format!("/vod/{id}/manifest.mpd"),
        }
    }
}
