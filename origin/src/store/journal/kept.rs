//! The segments that a journal tells of, as a process keeps them: by run, rendition and number, with their
//! parts packed. A channel with a window of a day has tens of thousands; a [`SegmentRecord`] of each, with
//! its names, would take several times as much.

use std::collections::BTreeMap;
use std::sync::Arc;

use packager::timeline::{Parts, Run, Segment};

use super::record::{SegmentKey, SegmentRecord};

/// Closed segments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Kept {
    /// By run and rendition; ids of runs sort by time.
    tracks: BTreeMap<(String, String), BTreeMap<u64, Closed>>,
}

/// One of them, but for its names and its number.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Closed {
    /// See [`SegmentRecord`].
    pub(in crate::store) start: i64,
    duration: u64,
    pub(in crate::store) parts: Parts,
    gap: bool,
}

impl Closed {
    /// Whether there is a file.
    pub(in crate::store) fn has_media(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The segment, of this run.
    pub(in crate::store) fn segment(&self, k: u64, run: Arc<Run>) -> Segment {
        let Self { start, duration, ref parts, gap } = *self;
        Segment { k, run, start, duration, parts: parts.clone(), gap }
    }

    fn record(&self, (run, rendition): (&str, &str), k: u64) -> SegmentRecord {
        let Self { start, duration, ref parts, gap } = *self;
        let key = SegmentKey { run: run.to_owned(), rendition: rendition.to_owned(), k };
        SegmentRecord { key, start, duration, parts: SegmentRecord::rows(parts), gap }
    }
}

impl Kept {
    pub(super) fn insert(&mut self, record: &SegmentRecord) {
        let SegmentRecord { ref key, start, duration, gap, .. } = *record;
        let closed = Closed { start, duration, parts: record.packed(), gap };
        let track = (key.run.clone(), key.rendition.clone());
        self.tracks.entry(track).or_default().insert(key.k, closed);
    }

    pub(super) fn remove(&mut self, key: &SegmentKey) {
        let at = (key.run.clone(), key.rendition.clone());
        if let Some(track) = self.tracks.get_mut(&at) {
            track.remove(&key.k);
            if track.is_empty() {
                self.tracks.remove(&at);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }

    /// Forgets the runs that are not to be kept.
    pub(super) fn retain_runs(&mut self, keep: impl Fn(&str) -> bool) {
        self.tracks.retain(|(run, _), _| keep(run));
    }

    pub(super) fn len(&self) -> usize {
        self.tracks.values().map(BTreeMap::len).sum()
    }

    /// Whether there is such a segment.
    pub(in crate::store) fn has(&self, key: &SegmentKey) -> bool {
        let track = self.tracks.get(&(key.run.clone(), key.rendition.clone()));
        track.is_some_and(|track| track.contains_key(&key.k))
    }

    /// The segments of a rendition of a run with their numbers, the lowest first.
    pub(in crate::store) fn track(
        &self,
        run: &str,
        rendition: &str,
    ) -> impl DoubleEndedIterator<Item = (u64, &Closed)> + use<'_> {
        let track = self.tracks.get(&(run.to_owned(), rendition.to_owned()));
        track.into_iter().flatten().map(|(k, closed)| (*k, closed))
    }

    /// The same as they were written.
    pub(super) fn records_of<'a>(
        &'a self,
        run: &'a str,
        rendition: &'a str,
    ) -> impl Iterator<Item = SegmentRecord> + 'a {
        self.track(run, rendition).map(move |(k, closed)| closed.record((run, rendition), k))
    }

    /// All of them, by run, rendition and number.
    pub(in crate::store) fn records(&self) -> impl Iterator<Item = SegmentRecord> + '_ {
        self.tracks.keys().flat_map(|(run, rendition)| self.records_of(run, rendition))
    }
}
