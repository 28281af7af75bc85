//! What there is of a file that is being packaged: its finished segments, as a timeline in the end.
//!
//! It does no I/O; where segments go is a [`Place`](super::place::Place)'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packager::grid::Grid;
use packager::media::{Rendition, RunId};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Format, Lengths, Run, Segment, Snapshot, State, Track};

use super::Error;
use super::notes::Noted;

/// The finished segments of a file.
#[derive(Debug)]
pub(super) struct Film {
    run: RunId,
    done: BTreeMap<(usize, u64), Noted>,
    kept: u64,
    renditions: Arc<[Rendition]>,
    inits: Vec<Bytes>,
}

impl Film {
    /// With what an earlier run has noted.
    pub(super) fn new(run: RunId, noted: Vec<Noted>) -> Self {
        let done: BTreeMap<_, _> = noted.into_iter().map(|n| ((n.rendition, n.k), n)).collect();
        let (kept, renditions) = (done.len() as u64, Arc::new([]));
        Self { run, done, kept, renditions, inits: Vec::new() }
    }

    /// How many segments an earlier run had made.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// The first segment that one of so many renditions lacks.
    pub(super) fn next_k(&self, renditions: usize) -> u64 {
        (1..).find(|k| (0..renditions).any(|r| !self.has(r, *k))).unwrap_or(1)
    }

    /// Begins with these renditions, at segment `first_k`, or with all of them again if that is 0. Segments
    /// from there on are made anew; gives the number of the last one that is forgotten, if any is.
    pub(super) fn begin(&mut self, renditions: &Arc<[Rendition]>, first_k: u64) -> Option<u64> {
        self.renditions = Arc::clone(renditions);
        let last_k = self.last_k();
        if first_k == 0 || last_k < first_k {
            return None;
        }
        self.done.retain(|(_, k), _| *k < first_k);
        self.kept = self.done.len() as u64;
        Some(last_k)
    }

    /// The folder of a rendition's media, below that of the film.
    pub(super) fn media(&self, rendition: usize) -> String {
        let name = self.renditions.get(rendition).map(|r| r.name.to_string()).unwrap_or_default();
        format!("{}/{name}", self.run)
    }

    /// Whether a rendition is sound.
    pub(super) fn is_sound(&self, rendition: usize) -> bool {
        self.renditions.get(rendition).is_some_and(|r| r.video().is_none())
    }

    /// Whether a segment is finished.
    pub(super) fn has(&self, rendition: usize, k: u64) -> bool {
        self.done.contains_key(&(rendition, k))
    }

    /// Takes the init segment of a rendition.
    pub(super) fn init(&mut self, rendition: usize, bytes: Bytes) {
        if self.inits.len() <= rendition {
            self.inits.resize(rendition + 1, Bytes::new());
        }
        self.inits[rendition] = bytes;
    }

    /// Takes a finished segment.
    pub(super) fn add(&mut self, noted: Noted) {
        self.done.insert((noted.rendition, noted.k), noted);
    }

    /// How much there is of the first rendition.
    pub(super) fn length(&self) -> Duration {
        let scale = self.renditions.first().map_or(Timescale::MPEG, |r| r.track.timescale);
        let ticks = self.of(0).map(Noted::duration).sum();
        Duration::from_nanos(Span::new(ticks, scale).ticks_in(Timescale::NANOS, Rounding::Nearest))
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.done.values().map(Noted::bytes).sum()
    }

    /// The number of the last segment, 0 if there is none.
    pub(super) fn last_k(&self) -> u64 {
        self.done.keys().map(|(_, k)| *k).max().unwrap_or(0)
    }

    fn of(&self, rendition: usize) -> impl Iterator<Item = &Noted> {
        self.done.range((rendition, 0)..=(rendition, u64::MAX)).map(|(_, noted)| noted)
    }

    /// The notes of the finished segments from one number to another.
    pub(super) fn notes(&self, first_k: u64, last_k: u64) -> String {
        let between = |rendition| self.done.range((rendition, first_k)..=(rendition, last_k));
        (0..self.renditions.len()).flat_map(between).map(|(_, noted)| noted.line()).collect()
    }

    /// All of it as a timeline. Of a file's own samples the rates are those that were found.
    pub(super) fn snapshot(&self, grid: Grid, measured: bool) -> Result<Snapshot, Error> {
        let renditions: Arc<[Rendition]> = match measured {
            true => (0..self.renditions.len()).filter_map(|index| self.measured(index)).collect(),
            false => Arc::clone(&self.renditions),
        };
        let empty = || Error::Unfit("there is nothing in it".to_owned());
        let first = self.of(0).next().ok_or_else(empty)?;
        let run = Arc::new(Run {
            id: self.run.clone(),
            discontinuity: 0,
            stretch: 0,
            left_out: Vec::new(),
            first_k: first.k,
            start: first.start,
            lengths: Lengths::Uneven,
            renditions: Arc::clone(&renditions),
            inits: self.inits.clone(),
        });
        let last = (0..renditions.len()).filter_map(|index| Some(self.of(index).last()?.k)).min();
        let last = last.ok_or_else(empty)?;
        let segment = |noted: &Noted| {
            let parts = noted.parts.as_slice().into();
            let (k, start, duration) = (noted.k, noted.start, noted.duration());
            Segment { k, run: Arc::clone(&run), start, duration, parts, gap: false }
        };
        let track = |index| {
            let segments = self.of(index).filter(|noted| noted.k <= last).map(segment).collect();
            Track { segments, open: None }
        };
        let tracks: Vec<_> = (0..renditions.len()).map(track).collect();
        Ok(Snapshot {
            format: Arc::new(Format {
                grid,
                window: Span::millis(0),
                publish_delay: Span::millis(0),
            }),
            renditions,
            tracks,
            state: State::Whole,
            run: None,
            revised: Timestamp::new(0, Timescale::MILLIS),
            promise: None,
            cues: Arc::default(),
            gone_cues: Arc::default(),
            begins: None,
            mirrored: false,
            version: 0,
        })
    }

    /// A rendition with the rates of its segments.
    fn measured(&self, index: usize) -> Option<Rendition> {
        let mut rendition = self.renditions.get(index)?.clone();
        let scale = u64::from(rendition.track.timescale.get());
        let rate = |bytes: u64, ticks: u64| {
            u32::try_from(bytes.saturating_mul(8 * scale) / ticks.max(1)).unwrap_or(u32::MAX)
        };
        let (mut bytes, mut ticks) = (0, 0);
        for noted in self.of(index) {
            bytes += noted.bytes();
            ticks += noted.duration();
            let own = rate(noted.bytes(), noted.duration());
            rendition.peak_bitrate = rendition.peak_bitrate.max(own);
        }
        rendition.average_bitrate = rate(bytes, ticks);
        Some(rendition)
    }
}
