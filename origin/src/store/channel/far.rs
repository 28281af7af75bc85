//! What of a channel is in S3: read from there, and written there for players. What is sent there in its order
//! is the outbox's.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use packager::media::{Name, RunId};

use super::{ChannelStore, part_tag, segment_tag};
use crate::store::s3::{FarError, Kind, Mirror};
use crate::store::{Media, MediaBody, UpstreamStats};

/// A text for players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// Multivariant playlist.
    Multivariant,
    /// Media playlist.
    Playlist,
    /// DASH manifest.
    Manifest,
}

/// What can be read from S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Far {
    /// An init segment.
    Init,
    /// A segment.
    Segment {
        /// Its number.
        k: u64,
    },
    /// A part of a segment.
    Part {
        /// The segment's number.
        k: u64,
        /// Its position, from 0.
        n: usize,
        /// Its bytes in the segment.
        range: Range<u64>,
    },
}

impl ChannelStore {
    /// Reads from S3 what is neither in memory nor on disk.
    ///
    /// # Errors
    /// S3 does not have it, or does not give it now. Without S3 everything is missing.
    pub async fn far(&self, run: &RunId, rendition: &Name, what: Far) -> Result<Media, FarError> {
        let Some((upstream, keys)) = &self.behind else { return Err(FarError::Missing) };
        let key = match what {
            Far::Init => keys.init(run, rendition.as_str()),
            Far::Segment { k } | Far::Part { k, .. } => keys.segment(run, rendition.as_str(), k),
        };
        let object = upstream.fetch(key).await?;
        let (bytes, etag) = match what {
            Far::Init => {
                let etag = format!("\"{run}-{rendition}-init-{}\"", object.len());
                (object, etag)
            }
            Far::Segment { k } => {
                let etag = segment_tag(run.as_str(), rendition.as_str(), k, object.len() as u64);
                (object, etag)
            }
            Far::Part { k, n, range } => {
                let at = |byte| usize::try_from(byte).unwrap_or(usize::MAX);
                let (start, end) = (at(range.start), at(range.end));
                if start > end || end > object.len() {
                    return Err(FarError::Missing);
                }
                let part = object.slice(start..end);
                let len = part.len() as u64;
                (part, part_tag(run.as_str(), rendition.as_str(), k, n, len))
            }
        };
        let (len, body) = (bytes.len() as u64, MediaBody::Memory(vec![bytes]));
        Ok(Media { len, etag: Some(etag), body, open: false })
    }

    /// Follows what S3 has of the channel; `None` without S3.
    pub fn mirror(&self) -> Option<Mirror> {
        let (upstream, keys) = self.behind.as_ref()?;
        Some(Mirror::new(Arc::clone(upstream), keys.clone()))
    }

    /// Writes a text for players into S3, at a path below the channel's; waits until S3 takes it.
    ///
    /// # Errors
    /// S3 does not take it, or nothing is sent there.
    pub async fn write_text(
        &self,
        path: &str,
        text: String,
        kind: TextKind,
    ) -> Result<(), FarError> {
        let (upstream, keys) = self.behind.as_ref().ok_or(FarError::Missing)?;
        let outbox = self.shared.outbox.as_ref().ok_or(FarError::Missing)?;
        let kind = match kind {
            TextKind::Multivariant => Kind::Playlist { of_all: true },
            TextKind::Playlist => Kind::Playlist { of_all: false },
            TextKind::Manifest => Kind::Manifest,
        };
        upstream.write(outbox, keys.text(path), text, kind).await
    }

    /// How long S3 took for each media object since this was asked last.
    pub fn take_upload_times(&self) -> Vec<Duration> {
        self.shared.outbox.as_ref().map(|outbox| outbox.take_times()).unwrap_or_default()
    }

    /// Says that nothing more is written: what S3 does not have yet is all there will be.
    pub(in crate::store) fn nothing_follows(&self) {
        if let Some(outbox) = &self.shared.outbox {
            outbox.close();
        }
    }

    /// How the way into S3 stands; `None` where nothing is sent there.
    pub(super) fn upstream_stats(&self) -> Option<UpstreamStats> {
        let (upstream, _) = self.behind.as_ref()?;
        let outbox = self.shared.outbox.as_ref()?;
        let waiting = outbox.waiting();
        let age = waiting.oldest_ms.map_or(0, |oldest| upstream.now_ms().saturating_sub(oldest));
        let tally = waiting.tally;
        Some(UpstreamStats {
            backlog_segments: waiting.segments,
            backlog_bytes: waiting.bytes,
            backlog_ms: age.max(0).unsigned_abs(),
            last_segment: outbox.position(),
            uploads: tally.uploads,
            uploaded_bytes: tally.uploaded_bytes,
            failed: tally.failures,
            missing_segments: tally.lost.saturating_add(waiting.given_up),
            away: upstream.is_away(),
            trouble: tally.trouble,
        })
    }
}
