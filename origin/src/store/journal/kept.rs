//! The segments that a journal tells of, as a process keeps them: by run, rendition and number, with the
//! names once a track. A channel with a window of a day has tens of thousands; a [`SegmentRecord`] of each
//! would take several times as much.

use std::collections::BTreeMap;

use super::record::{Closed, SegmentKey, SegmentRecord};

/// Closed segments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Kept {
    /// By run and rendition; ids of runs sort by time.
    tracks: BTreeMap<(String, String), BTreeMap<u64, Closed>>,
}

impl Kept {
    pub(super) fn insert(&mut self, SegmentRecord { key, closed }: SegmentRecord) {
        let track = (key.run, key.rendition);
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

    pub(in crate::store) fn len(&self) -> usize {
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
        self.track(run, rendition).map(move |(k, closed)| {
            let key = SegmentKey { run: run.to_owned(), rendition: rendition.to_owned(), k };
            SegmentRecord { key, closed: closed.clone() }
        })
    }

    /// All of them, by run, rendition and number.
    pub(in crate::store) fn records(&self) -> impl Iterator<Item = SegmentRecord> + '_ {
        self.tracks.keys().flat_map(|(run, rendition)| self.records_of(run, rendition))
    }
}
