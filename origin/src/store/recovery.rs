//! What an earlier process left of a channel's timeline, read back from its journal and its spool.
//!
//! ```text
//! journal ─► runs, closed segments ──────┐
//! spool ───► segments without a record ──┴─► Left: window, open segments, newest pictures
//! ```
//! The journal says what was closed. A segment's file without a record was open when the process
//! died, or a disk has lost its record. It is made of chunks, each of which says which part of which
//! segment it is ([`spooled`]), and is read up to the first that is torn or out of place. What can't
//! be had is left out, and becomes a gap. The window is the one that was listed last: its head never
//! goes back, whatever is configured now.
//!
//! A process that dies leaves everything it has listed in the system's memory. When the machine goes
//! down (its boot id changes), the last second may be lost: then the open segments are given up, and
//! the run is not gone on with, since its next names may have been used. What S3 has is not lost: it
//! stays in the window without a file.
//!
//! It changes nothing. Whether the channel goes on with what is found is its task's decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use packager::cmaf::read;
use packager::grid::Cut;
use packager::media::{Name, Rendition, RunId, Sample, Track as Coding};
use packager::segmenter::Position;
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Format, OpenSegment, Promise, Run, Segment, Segments, Timeline, Track};

use super::fs::{Directory, Files};
use super::holds::Holds;
use super::journal::{
    Closed, RunRecord, SegmentKey, SegmentRecord, State, StoredFormat, StoredRendition,
    StretchRecord,
};

mod spooled;
pub(super) use spooled::Spooled;

/// How many of a rendition's newest segments are looked at: whether their files are as long as the
/// journal says, which a power cut may have prevented, and for a picture to go on with.
const NEWEST: usize = 32;

/// What an earlier process left of a channel's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The newest run's stretches, oldest first; at least one.
    pub stretches: Vec<Arc<Run>>,
    /// The window of each rendition of that run.
    pub tracks: Vec<Track>,
    /// Of each rendition the newest picture that decoding can start with; `None` for sound.
    pub pictures: Vec<Option<Sample>>,
    /// Numbers of the run before, which are still answered.
    pub promise: Option<Promise>,
    /// Whether the channel had ended.
    pub ended: bool,
    /// Whether the machine went down with the process: what was listed last may be lost, and its names
    /// must not be used again. No segment is open then.
    pub machine_went_down: bool,
    /// The bytes of each part of the open segments, by rendition.
    pub(super) open: BTreeMap<usize, Vec<Bytes>>,
}

impl Left {
    /// The same without the segments that were open.
    fn without_open(mut self) -> Self {
        self.open.clear();
        self.tracks.iter_mut().for_each(|track| track.open = None);
        self
    }

    /// The newest run.
    pub fn run(&self) -> Option<&Arc<Run>> {
        self.stretches.last()
    }

    /// Number of the oldest segment that was listed.
    pub(super) fn first_k(&self) -> Option<u64> {
        let firsts = self.tracks.iter().filter_map(|track| track.segments.first());
        firsts.map(|segment| segment.k).min()
    }

    /// Where each rendition of the newest run stands.
    pub fn positions(&self) -> Vec<Position> {
        let position = |(track, picture): (&Track, &Option<Sample>)| {
            let picture = picture.clone();
            if let Some(open) = &track.open {
                let part = u32::try_from(open.parts.len()).unwrap_or(u32::MAX);
                let length = open.parts.iter().map(|part| i64::from(part.duration)).sum();
                let next = open.start.saturating_add(length);
                return Some(Position { k: open.k, part, segment: open.start, next, picture });
            }
            let last = track.segments.last()?;
            let (k, end) = (last.k.saturating_add(1), last.end());
            Some(Position { k, part: 0, segment: end, next: end, picture })
        };
        self.tracks.iter().zip(&self.pictures).filter_map(position).collect()
    }

    /// Where everything that is there ends.
    pub fn end(&self) -> Option<Timestamp> {
        let run = self.run()?;
        let positions = self.positions();
        let ends = positions.iter().enumerate();
        latest(ends.map(|(index, at)| Timestamp::new(at.next, run.scale(index))))
    }

    /// When the newest segment began of which there is anything.
    pub fn newest_start(&self) -> Option<Timestamp> {
        let run = self.run()?;
        let start = |(index, track): (usize, &Track)| {
            let open = track.open.as_ref().map(|open| open.start);
            let start = open.or_else(|| track.segments.last().map(|segment| segment.start))?;
            Some(Timestamp::new(start, run.scale(index)))
        };
        latest(self.tracks.iter().enumerate().filter_map(start))
    }
}

fn latest(instants: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
    instants.max_by_key(|at| at.ticks_in(Timescale::NANOS, Rounding::Ceil))
}

/// The files of runs without those that only assets hold: the journal has forgotten them, and rightly so.
pub(super) fn without_held(runs: &[Files], state: &State, holds: &Holds) -> Vec<Files> {
    let of_window = |run: &RunId, name: &Name, k: u64| {
        let (run, rendition) = (run.to_string(), name.to_string());
        !holds.has(&run, k) || state.segments.has(&SegmentKey { run, rendition, k })
    };
    let without = |files: &Files| {
        let run = &files.run;
        let track = |(name, numbers): (&Name, &BTreeSet<u64>)| {
            let kept = numbers.iter().copied().filter(|k| of_window(run, name, *k)).collect();
            (name.clone(), kept)
        };
        Files { run: run.clone(), tracks: files.tracks.iter().map(track).collect() }
    };
    runs.iter().map(without).collect()
}

/// Closed segments whose records are not there. That a segment was closed is shown by the one behind
/// it, which begins where it ends, or by the run behind its own; or by its last part, where the source
/// says when segments end: only a segment's last is shorter than others, and gone on with it would stand
/// in the middle of another segment than the one that was seen.
pub(super) fn unrecorded(
    state: &State,
    directory: &Directory,
    runs: &[Files],
) -> Vec<SegmentRecord> {
    let mut found = Vec::new();
    for files in runs.iter().filter(|files| state.runs.contains_key(files.run.as_str())) {
        for (name, numbers) in &files.tracks {
            let recorded = state.segments.track(files.run.as_str(), name.as_str());
            let mut starts: BTreeMap<u64, i64> = recorded.map(|(k, s)| (k, s.start)).collect();
            let missing = numbers.iter().filter(|k| !starts.contains_key(k));
            let read: Vec<_> =
                missing.filter_map(|k| Spooled::read(directory, &files.run, name, *k)).collect();
            starts.extend(read.iter().map(|spooled| (spooled.k, spooled.start)));
            let is_over = state.runs.keys().next_back().is_some_and(|id| id != files.run.as_str());
            let shortest = shortest_part(state, files.run.as_str(), name);
            let is_closed = |s: &&Spooled| {
                is_over
                    || starts.get(&s.k.saturating_add(1)).copied() == Some(s.end())
                    || s.last_part().is_some_and(|ticks| u64::from(ticks) < shortest)
            };
            let closed = read.iter().filter(is_closed);
            found.extend(closed.map(|spooled| spooled.record(&files.run, name)));
        }
    }
    found
}

/// What any part of a rendition but a segment's last lasts at the least, in its ticks; 0 where the grid
/// says when segments end.
fn shortest_part(state: &State, run: &str, name: &Name) -> u64 {
    let grid = state.format.as_ref().map(|format| format.grid);
    let Some(grid) = grid.filter(|grid| grid.cut == Cut::Source) else { return 0 };
    let stored = state
        .runs
        .get(run)
        .and_then(|run| run.renditions.iter().find(|rendition| rendition.name == name.as_str()));
    let part = Span::new(grid.shortest_source_part(), grid.video_scale());
    // A tick less: times of pictures are rounded.
    stored.map_or(0, |stored| part.ticks_in(stored.timescale, Rounding::Floor).saturating_sub(1))
}

/// Reads back what there is to go on with; `None` if that is nothing. S3 has everything up to number `far`.
pub(super) fn read_back(
    state: &State,
    directory: &Directory,
    runs: &[Files],
    far: Option<u64>,
) -> Option<Left> {
    let format = state.format.as_ref()?;
    let records: Vec<&RunRecord> = state.runs.values().collect();
    let fresh = records.iter().rposition(|record| record.fresh).unwrap_or(0);
    let of = |record: &RunRecord| runs.iter().find(|files| files.run.as_str() == record.id);
    let listed = records.into_iter().skip(fresh);
    let listed: Vec<_> =
        listed.filter_map(|run| Recorded::new(run, of(run)?, (state, far), directory)).collect();
    // Of a run that a rendition has nothing of yet, nothing was listed; and it can't go on.
    let newest = listed.iter().rposition(Recorded::is_whole)?;
    let (newest, older) = listed.get(..=newest)?.split_last()?;
    let same = older.iter().filter(|run| run.names.iter().eq(&newest.names)).chain([newest]);
    let same: Vec<_> = same.collect();
    let (mut tracks, mut pictures, mut open) = (Vec::new(), Vec::new(), BTreeMap::new());
    for index in 0..newest.names.len() {
        let mut track = Track { segments: Segments::default(), open: None };
        track.segments.extend(same.iter().flat_map(|run| run.segments(index)));
        let spooled = newest.open(index);
        pictures.push(newest.picture(index, spooled.as_ref()));
        if let Some(spooled) = spooled {
            let (k, start) = (spooled.k, spooled.start);
            let (parts, bytes) = spooled.into_parts();
            let run = newest.stretch(k)?;
            track.open = Some(Arc::new(OpenSegment { k, run, start, parts, gap: None }));
            open.insert(index, bytes);
        }
        tracks.push(track);
    }
    let stretches = newest.stretches.clone();
    trim(format, &stretches, &mut tracks);
    let promise = promise(state, directory, newest.id);
    let (ended, machine_went_down) = (!state.live, state.went_down());
    let left = Left { stretches, tracks, pictures, promise, ended, machine_went_down, open };
    Some(if machine_went_down { left.without_open() } else { left })
}

/// What manifests of the run before `newest` had promised when it ended.
fn promise(state: &State, directory: &Directory, newest: &RunId) -> Option<Promise> {
    let before = state.runs.values().take_while(|run| *run.id < *newest.as_str()).last()?;
    let run = RunId::parse(&before.id)?;
    let names = before.renditions.iter().filter_map(|stored| Name::parse(&stored.name).ok());
    let numbers = names.flat_map(|name| directory.promised_numbers(&run, &name));
    let numbers: BTreeSet<u64> = numbers.collect();
    let numbers = *numbers.first()?..numbers.last()?.saturating_add(1);
    Some(Promise { run, numbers })
}

/// Where Linux tells the id of this start of the machine. A service that may see processes only
/// (`ProcSubset=pid`) does not find it.
pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The id of this start of the machine; `None` where the system does not tell.
pub(super) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Drops what was not in the window any more.
fn trim(stored: &StoredFormat, stretches: &[Arc<Run>], tracks: &mut [Track]) {
    let StoredFormat { grid, window, publish_delay, .. } = *stored;
    let format = Arc::new(Format { grid, window, publish_delay });
    let mut timeline = Timeline::restore(format, stretches.to_vec(), tracks.to_vec());
    let removed = timeline.trim().into_iter().map(|removed| removed.segment.k);
    let head = removed.max().map_or(0, |last| last.saturating_add(1));
    for track in tracks {
        track.segments.retain(|segment| segment.k >= head);
    }
}

/// A run with its files.
struct Recorded<'a> {
    id: &'a RunId,
    names: Vec<Name>,
    stretches: Vec<Arc<Run>>,
    files: &'a Files,
    state: &'a State,
    /// S3 has everything up to this number.
    far: Option<u64>,
    directory: &'a Directory,
}

impl<'a> Recorded<'a> {
    /// `None` if an init segment is lost: without it nothing of the run can be played.
    fn new(
        record: &RunRecord,
        files: &'a Files,
        (state, far): (&'a State, Option<u64>),
        directory: &'a Directory,
    ) -> Option<Self> {
        let (mut renditions, mut inits) = (Vec::new(), Vec::new());
        for stored in &record.renditions {
            let name = Name::parse(&stored.name).ok()?;
            let init = directory.read_init(&files.run, &name).ok()?;
            renditions.push(rendition(stored, name, &init)?);
            inits.push(init);
        }
        let names = renditions.iter().map(|rendition| rendition.name.clone()).collect();
        let renditions: Arc<[Rendition]> = renditions.into();
        let stretch = |stretch: &StretchRecord| {
            Arc::new(stretch.run(&files.run, record.discontinuity, &renditions, &inits))
        };
        let stretches = record.stretches.iter().map(stretch).collect();
        Some(Self { id: &files.run, names, stretches, files, state, far, directory })
    }

    /// Whether there is something of every rendition.
    fn is_whole(&self) -> bool {
        let has = |index| {
            let mut closed = self.segments(index).into_iter();
            closed.any(|segment| segment.has_media()) || self.open(index).is_some()
        };
        !self.names.is_empty() && (0..self.names.len()).all(has)
    }

    /// The numbers of a rendition's files.
    fn numbers(&self, name: &Name) -> Option<&BTreeSet<u64>> {
        self.files.tracks.get(name)
    }

    /// The stretch that a number belongs to.
    fn stretch(&self, k: u64) -> Option<Arc<Run>> {
        let behind = self.stretches.partition_point(|run| run.first_k <= k);
        self.stretches.get(behind.saturating_sub(1)).cloned()
    }

    /// Its closed segments, without those that are lost.
    fn segments(&self, index: usize) -> Vec<Segment> {
        let Some(name) = self.names.get(index) else { return Vec::new() };
        let has = |k| self.numbers(name).is_some_and(|numbers| numbers.contains(&k));
        let kept = self.state.segments.track(self.id.as_str(), name.as_str());
        let is_far = |k| Some(k) <= self.far;
        let there = kept.filter(|(k, closed)| !closed.has_media() || has(*k) || is_far(*k));
        let segment = |(k, closed): (u64, &Closed)| Some(closed.segment(k, self.stretch(k)?));
        let mut segments: Vec<_> = there.filter_map(segment).collect();
        let newest = segments.split_off(segments.len().saturating_sub(NEWEST));
        segments.extend(newest.into_iter().filter(|segment| {
            let path = self.directory.segment(self.id, name, segment.k);
            let len = std::fs::metadata(path).map_or(0, |file| file.len());
            len >= segment.bytes() || (is_far(segment.k) && !has(segment.k))
        }));
        segments
    }

    /// The segment of a rendition that was open.
    fn open(&self, index: usize) -> Option<Spooled> {
        let name = self.names.get(index)?;
        let last = self.state.segments.track(self.id.as_str(), name.as_str()).next_back();
        let behind = last.map_or(0, |(k, _)| k.saturating_add(1));
        let mut numbers = self.numbers(name)?.range(behind..).rev();
        numbers.find_map(|k| Spooled::read(self.directory, self.id, name, *k))
    }

    /// The newest picture of a rendition that decoding can start with.
    fn picture(&self, index: usize, open: Option<&Spooled>) -> Option<Sample> {
        let name = self.names.get(index)?;
        let rendition = self.stretches.first()?.renditions.get(index)?;
        rendition.video()?;
        let closed = self.segments(index);
        let newest = closed.iter().rev().take(NEWEST).filter(|segment| segment.has_media());
        open.and_then(Spooled::picture).or_else(|| {
            newest
                .filter_map(|s| Spooled::read(self.directory, self.id, name, s.k))
                .find_map(|spooled| spooled.picture())
        })
    }
}

/// A rendition by its record and its init segment.
pub(super) fn rendition(stored: &StoredRendition, name: Name, init: &[u8]) -> Option<Rendition> {
    let config = read::init(init).ok()?.config;
    if config.codec_string() != stored.codec {
        return None;
    }
    Some(Rendition {
        name,
        track: Coding { timescale: stored.timescale, config },
        rate: stored.rate,
        average_bitrate: stored.average_bitrate,
        peak_bitrate: stored.peak_bitrate,
    })
}

#[cfg(test)]
mod tests;
