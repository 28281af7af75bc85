//! The index of a channel in S3: what a replica, and a drain after a restart, know the channel by.
//!
//! Pages hold the records of [`PAGE`] numbers and never change once written. The head is written anew
//! with every number: the newest records, which pages there are in the window, and what the channel is.
//! So one small GET tells whether there is anything new, and nothing is ever listed. Records are the
//! journal's: a segment keeps its part table, and a replica lists the same lines.

use packager::grid::splices::Splices;
use packager::media::RunId;
use packager::scte35::Cue;
use serde::{Deserialize, Serialize};

use crate::store::journal::{RunRecord, SegmentKey, SegmentRecord, StoredFormat};
use crate::store::outbox::ChannelRecord;

/// Numbers in a page: two minutes of segments of 2 s.
pub(super) const PAGE: u64 = 64;

/// Missing segments that are remembered.
const MOST_HOLES: usize = 1_000;

/// Version of the format. What has another one is not read.
const VERSION: u32 = 1;

/// A page that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct PageRef {
    pub(in crate::store) run: String,
    pub(in crate::store) first_k: u64,
    pub(in crate::store) last_k: u64,
    /// Bytes of the segments in it.
    pub(in crate::store) bytes: u64,
    /// When its last segment ended, in milliseconds since the epoch.
    pub(in crate::store) end_ms: i64,
}

/// The records of some numbers of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Page {
    version: u32,
    pub(in crate::store) run: RunRecord,
    pub(in crate::store) segments: Vec<SegmentRecord>,
}

/// What a channel is, and its newest segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Head {
    pub(super) version: u32,
    pub(in crate::store) format: Option<StoredFormat>,
    /// Those that anything in the window belongs to, by id.
    pub(in crate::store) runs: Vec<RunRecord>,
    pub(in crate::store) live: bool,
    pub(in crate::store) cues: Vec<Cue>,
    pub(in crate::store) splices: Splices,
    /// Oldest number that the primary listed.
    pub(in crate::store) first_k: u64,
    /// Newest number that is whole in S3.
    pub(in crate::store) last_k: Option<u64>,
    /// Every page that is kept, oldest first.
    pub(in crate::store) pages: Vec<PageRef>,
    /// Records of the numbers behind the last page.
    pub(in crate::store) recent: Vec<SegmentRecord>,
    /// Segments that are missing, the newest ones.
    #[serde(default)]
    pub(in crate::store) holes: Vec<Hole>,
}

/// A segment that S3 never got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Hole {
    #[serde(flatten)]
    pub(in crate::store) segment: SegmentKey,
    pub(in crate::store) why: String,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            version: VERSION,
            format: None,
            runs: Vec::new(),
            live: false,
            cues: Vec::new(),
            splices: Splices::default(),
            first_k: 0,
            last_k: None,
            pages: Vec::new(),
            recent: Vec::new(),
            holes: Vec::new(),
        }
    }
}

/// Bytes that are no index of this version.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Unreadable {
    #[error("not an index: {0}")]
    Json(#[from] serde_json::Error),
    #[error("an index of version {0}, and this program reads {VERSION}")]
    Version(u32),
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let head: Self = serde_json::from_slice(bytes)?;
        if head.version == VERSION { Ok(head) } else { Err(Unreadable::Version(head.version)) }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        // Of plain records, with text for keys: it can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes what the channel is now. Runs stay that segments of the window belong to, or segments that
    /// are still to come.
    pub(super) fn tell(&mut self, channel: &ChannelRecord) {
        let ChannelRecord { format, runs, live, cues, splices, first_k } = channel;
        let anew = matches!((&self.format, format), (Some(a), Some(b)) if a.grid != b.grid);
        if anew {
            // Other numbers: what was there is reached by its pages no more.
            *self = Self::default();
        }
        self.format.clone_from(format);
        (self.live, self.first_k) = (*live, self.first_k.max(*first_k));
        self.cues.clone_from(cues);
        self.splices.clone_from(splices);
        for run in runs.values() {
            match self.runs.iter_mut().find(|known| known.id == run.id) {
                Some(known) => known.clone_from(run),
                None => self.runs.push(run.clone()),
            }
        }
        self.runs.sort_by(|a, b| a.id.cmp(&b.id));
        let newest = self.runs.last().map(|run| run.id.clone());
        let (pages, recent, first_k) = (&self.pages, &self.recent, self.first_k);
        self.runs.retain(|run| {
            Some(&run.id) == newest.as_ref()
                || runs.contains_key(&run.id)
                || pages.iter().any(|page| page.run == run.id && page.last_k >= first_k)
                || recent.iter().any(|segment| segment.key.run == run.id)
        });
    }

    /// Whether it names a segment.
    pub(super) fn names(&self, segment: &SegmentRecord) -> bool {
        let SegmentKey { run, k, .. } = &segment.key;
        self.recent.iter().any(|known| known.key == segment.key)
            || self.pages.iter().any(|p| p.run == *run && (p.first_k..=p.last_k).contains(k))
    }

    /// Notes that a segment is missing.
    pub(super) fn lose(&mut self, hole: Hole) {
        self.holes.push(hole);
        let beyond = self.holes.len().saturating_sub(MOST_HOLES);
        self.holes.drain(..beyond);
    }

    /// Adds a record of the next number.
    pub(super) fn add(&mut self, k: u64, segment: SegmentRecord) {
        self.recent.push(segment);
        self.last_k = self.last_k.max(Some(k));
    }

    /// Takes the oldest records out that make a page: [`PAGE`] numbers, or what there is of a run that
    /// another has followed.
    pub(super) fn take_page(&mut self) -> Option<(PageRef, Page)> {
        let run = self.recent.first()?.key.run.clone();
        let record = self.runs.iter().find(|known| known.id == run)?.clone();
        let of_run = |segment: &&SegmentRecord| segment.key.run == run;
        let first_k = self.recent.iter().filter(of_run).map(|s| s.key.k).min()?;
        let newest = self.recent.iter().filter(of_run).map(|s| s.key.k).max()?;
        let is_over = self.recent.iter().any(|segment| segment.key.run > run);
        let end = first_k.saturating_add(PAGE);
        if newest < end && !is_over {
            return None;
        }
        let is_in = |s: &SegmentRecord| s.key.run == run && s.key.k < end;
        let (segments, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.recent).into_iter().partition(is_in);
        self.recent = rest;
        let last_k = segments.iter().map(|segment| segment.key.k).max().unwrap_or(first_k);
        let bytes = segments.iter().map(|segment| segment.closed.parts.bytes());
        let end_ms = segments.iter().filter_map(|s| record.end_ms(s)).max().unwrap_or(0);
        let page = PageRef { run, first_k, last_k, bytes: bytes.sum(), end_ms };
        self.pages.push(page.clone());
        Some((page, Page { version: VERSION, run: record, segments }))
    }

    /// The pages that anything in the window stands in.
    pub(super) fn listed_pages(&self) -> impl Iterator<Item = &PageRef> {
        self.pages.iter().filter(|page| page.last_k >= self.first_k)
    }
}

impl Page {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let page: Self = serde_json::from_slice(bytes)?;
        if page.version == VERSION { Ok(page) } else { Err(Unreadable::Version(page.version)) }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl PageRef {
    /// The run's id; `None` where it is not one.
    pub(super) fn run(&self) -> Option<RunId> {
        RunId::parse(&self.run)
    }
}

#[cfg(test)]
mod tests;
