//! Cuts the samples of a run into segments and parts along the grid.
//!
//! A state machine: [`Segmenter::push`] takes a sample of one rendition, [`Segmenter::poll`] gives
//! what came of it. A chunk leaves as soon as its last sample is in: on the grid a sample's end is
//! known, so nothing waits for the sample after it. Every rendition is cut by the same boundaries
//! and numbered alike; audio cuts at the first audio frame at or after a boundary.
//!
//! Where coded media is missing the caller says so: [`Segmenter::fill`] completes every part that
//! should be there by now with filler. An encoder that is there has some patience coming to it; one
//! that is gone ([`Segmenter::lose`]), and a rendition that is [switched off](Segmenter::switch_off),
//! have none. A rendition that was filled goes on with the first sample that decoding can start with
//! and whose place is still free; what is late for a filled place is dropped (DESIGN §4, "Holes are
//! filled, not left").
//!
//! [`SourceSegmenter`] beside it does the same for a source that is packaged as it is: there the key
//! frames are where they are, and segments end at the nearest.
//!
//! Splices move boundaries ([`Segmenter::follow`]), the same in every rendition; cues can be told in the
//! segments themselves ([`Segmenter::announce`]).
//!
//! It makes no boundary of its own, reads no clock and repairs nothing else: samples come in decoding
//! order, and the first of every video segment is a sync sample. What breaks that is an error, and
//! the caller loses the encoder.

mod boundaries;
mod inband;
mod source;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::cmaf::{self, Chunk, ChunkSpec};
use crate::filler::Filler;
use crate::grid::Grid;
use crate::grid::splices::Splices;
use crate::media::{Rendition, Sample};
use crate::scte35::Cue;
use crate::time::{Rounding, Span, Timescale, Timestamp, rescale};
use crate::timeline::Beginning;
use boundaries::Boundaries;
use inband::Inband;
pub use source::{PICTURES, Remnant, SOUND, SourceSegmenter, Start};

/// The longest hole that a sample is believed to have before it. [`Segmenter::fill`] leaves one of a
/// part or two open; without a bound one wrong time would be filled up to, in memory.
const LONGEST_HOLE: Span = Span::millis(600_000);

/// How much filler is made at one time: of a process that was stopped for hours all of it would be more
/// than fits into memory.
const FILLED_AT_ONCE: Span = Span::millis(10_000);

/// What the segmenter makes.
#[derive(Clone, Debug)]
pub enum Output {
    /// The init segment of a rendition; once, before its first chunk.
    Init {
        /// Position of the rendition.
        rendition: usize,
        /// `ftyp` and `moov`.
        bytes: Bytes,
    },
    /// A part.
    Chunk(PartChunk),
    /// No further part of this segment follows.
    SegmentClosed {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
    },
    /// This segment begins, and its rendition is switched off: nothing worth playing comes of it. Comes
    /// before its first chunk.
    Off {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
        /// Where it begins, in ticks of the rendition.
        start: i64,
    },
    /// This cut of a source is the one nearest to a splice. Comes before the first chunk of its segment.
    Spliced {
        /// The splice, in video ticks.
        splice: i64,
        /// Number of the segment that begins with the cut.
        k: u64,
        /// The cut, in video ticks.
        at: i64,
    },
    /// Another stretch of the run begins: boundaries have drifted away from the source's key frames
    /// and are counted from here, or segments are uneven from here on, or even again. Comes before
    /// the first chunk of its first segment.
    Shifted(Beginning),
}

/// A part with its place on the timeline.
#[derive(Clone, Debug)]
pub struct PartChunk {
    /// Position of the rendition.
    pub rendition: usize,
    /// Number of the segment.
    pub k: u64,
    /// Number of the part in the segment, from 0.
    pub part: u32,
    /// Decode time of its first sample, in ticks of the rendition.
    pub start: i64,
    /// Length in the same ticks.
    pub duration: u32,
    /// Whether decoding can start with its first sample.
    pub independent: bool,
    /// How much of it is filler, in the same ticks.
    pub filler: u32,
    /// Bytes up to the end of its first sample.
    pub first_sample: u32,
    /// The bytes.
    pub chunk: Chunk,
}

/// Why a sample can't be part of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such rendition.
    #[error("rendition {rendition} does not exist")]
    NoRendition {
        /// The position asked for.
        rendition: usize,
    },
    /// The sample does not follow the one before, or is too far behind a hole.
    #[error("rendition {rendition}: expected a sample at {expected}, got one at {got}")]
    Hole {
        /// Position of the rendition.
        rendition: usize,
        /// Where the next sample has to be, in ticks.
        expected: i64,
        /// Where it is.
        got: i64,
    },
    /// A sample of no length.
    #[error("rendition {rendition}: the sample at {at} has no length")]
    Empty {
        /// Position of the rendition.
        rendition: usize,
        /// Its decode time.
        at: i64,
    },
    /// A video segment that no decoder could start with.
    #[error("rendition {rendition}: segment {k} does not begin with a sync sample")]
    NotSync {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
    },
    /// A source without a key frame for two segments in a row.
    #[error(
        "no key frame within {seconds} s twice in a row: set a key frame interval of {seconds} s or less"
    )]
    NoKeyFrame {
        /// TARGETDURATION.
        seconds: u32,
    },
}

/// Where a rendition of a run stands that an earlier process has cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Number of the segment that is open, or the next one to be.
    pub k: u64,
    /// The parts it has.
    pub part: u32,
    /// Its start, in ticks of the rendition.
    pub segment: i64,
    /// Where its parts end, in the same ticks.
    pub next: i64,
    /// The newest picture that decoding can start with.
    pub picture: Option<Sample>,
}

/// The state machine. See the module's page.
#[derive(Debug)]
pub struct Segmenter {
    boundaries: Boundaries,
    renditions: Arc<[Rendition]>,
    cutters: Vec<Cutter>,
    inband: Inband,
    ready: VecDeque<Output>,
}

/// Where one rendition stands.
#[derive(Debug)]
struct Cutter {
    k: u64,
    part: u32,
    /// Decode time the next sample must have; `None` before the first.
    next: Option<i64>,
    part_end: i64,
    segment_end: i64,
    pending: Vec<Sample>,
    /// How much of `pending` is filler, in ticks.
    filled: u32,
    /// Whether samples are missing: the next one may come later than `next`.
    hole: bool,
    feed: Feed,
    /// From where on the rendition is switched off, in its ticks.
    off_from: Option<i64>,
    filler: Filler,
}

/// What a rendition may expect of its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    /// Samples, if perhaps late ones.
    Alive,
    /// Nothing until another encoder is there.
    Gone,
    /// Nothing until the encoder makes it again.
    Off,
}

/// Up to when filler is made at one time that is due from then on, in nanoseconds.
fn most_at_once(due: Option<Timestamp>) -> i64 {
    let nanos = |due: Timestamp| due.ticks_in(Timescale::NANOS, Rounding::Ceil);
    let most = FILLED_AT_ONCE.ticks_in(Timescale::NANOS, Rounding::Floor).cast_signed();
    due.map_or(i64::MAX, |due| nanos(due).saturating_add(most))
}

impl Segmenter {
    /// A segmenter for one run, whose first segment is `first_k`. The init segments are ready at
    /// once.
    pub fn new(grid: Grid, renditions: Arc<[Rendition]>, first_k: u64) -> Self {
        let mut ready = VecDeque::new();
        let mut cutters = Vec::new();
        let boundaries = Boundaries { grid, splices: Splices::default() };
        for (rendition, each) in renditions.iter().enumerate() {
            ready.push_back(Output::Init { rendition, bytes: cmaf::init(each) });
            cutters.push(Cutter::new(&boundaries, each, first_k));
        }
        Self { boundaries, renditions, cutters, inband: Inband::default(), ready }
    }

    /// A segmenter that goes on with a run where an earlier process stopped, with the splices it knew
    /// and one position per rendition. Its encoder is [lost](Self::lose). The init segments are there
    /// already.
    pub fn resume(
        grid: Grid,
        splices: Splices,
        renditions: Arc<[Rendition]>,
        positions: &[Position],
    ) -> Self {
        let boundaries = Boundaries { grid, splices };
        let mut ready = VecDeque::new();
        let mut cutters = Vec::new();
        for (rendition, (each, position)) in renditions.iter().zip(positions).enumerate() {
            let mut cutter = Cutter::new(&boundaries, each, position.k);
            cutter.go_on(&boundaries, each, position);
            if cutter.next >= Some(cutter.segment_end) {
                // The process stopped between a segment's last part and its end.
                let k = cutter.k;
                ready.push_back(Output::SegmentClosed { rendition, k });
                cutter.begin(&boundaries, each, k + 1);
            }
            cutters.push(cutter);
        }
        let inband = Inband::default();
        let mut segmenter = Self { boundaries, renditions, cutters, inband, ready };
        segmenter.lose();
        segmenter
    }

    /// Cuts at these splices from now on. What is made already does not change: whoever accepts a splice
    /// sees to it that it comes in time.
    pub fn follow(&mut self, splices: Splices) {
        self.boundaries.splices = splices;
        let Self { boundaries, renditions, cutters, .. } = self;
        for (each, cutter) in renditions.iter().zip(cutters) {
            cutter.segment_end = boundaries.start_of(each, cutter.k.saturating_add(1));
            let begun = cutter.pending.first().map(|sample| sample.dts).or(cutter.next);
            let begun = begun.filter(|_| cutter.part > 0 || !cutter.pending.is_empty());
            let from = begun.unwrap_or_else(|| boundaries.start_of(each, cutter.k));
            cutter.part_end = boundaries.part_end_after(each, cutter.k, from, cutter.segment_end);
        }
    }

    /// Tells these cues in the pictures' segments from now on, as events.
    pub fn announce(&mut self, cues: &[Cue]) {
        let pictures = self.renditions.iter().zip(&self.cutters);
        let pictures = pictures.filter(|(each, _)| each.track.config.is_video());
        let next_k = pictures.map(|(_, cutter)| cutter.k + u64::from(cutter.part > 0)).max();
        self.inband.follow(cues, self.boundaries.grid.video_scale(), next_k.unwrap_or(0));
    }

    /// Where the rendition that has got furthest is: no frame before this can be cut otherwise. In video
    /// ticks; `None` before the first sample.
    pub fn furthest(&self) -> Option<i64> {
        let scale = self.boundaries.grid.video_scale();
        let ends = self.renditions.iter().zip(&self.cutters).filter_map(|(each, cutter)| {
            Some(rescale(cutter.next?, each.track.timescale, scale, Rounding::Ceil))
        });
        ends.max()
    }

    /// Takes the next sample of a rendition. Samples that end before the run's first boundary are
    /// dropped: an encoder may begin its audio a little early.
    ///
    /// # Errors
    /// The sample can't be part of this run; see [`Error`].
    pub fn push(&mut self, rendition: usize, sample: Sample) -> Result<(), Error> {
        let (Some(each), Some(cutter)) =
            (self.renditions.get(rendition), self.cutters.get_mut(rendition))
        else {
            return Err(Error::NoRendition { rendition });
        };
        if sample.duration == 0 {
            return Err(Error::Empty { rendition, at: sample.dts });
        }
        let video = each.track.config.is_video();
        match cutter.next {
            Some(expected) if cutter.hole => {
                let usable = sample.sync && sample.dts >= expected;
                if !usable {
                    return Ok(());
                }
                let frame = if video { 1 } else { i64::from(self.boundaries.grid.audio_frame) };
                let hole = sample.dts.saturating_sub(expected);
                let longest = LONGEST_HOLE.ticks_in(each.track.timescale, Rounding::Floor);
                if hole % frame != 0 || hole.unsigned_abs() > longest {
                    return Err(Error::Hole { rendition, expected, got: sample.dts });
                }
                self.fill_up(rendition, sample.dts);
            }
            Some(expected) if expected != sample.dts => {
                return Err(Error::Hole { rendition, expected, got: sample.dts });
            }
            Some(_) => {}
            None => {
                let start = self.boundaries.start_of(each, cutter.k);
                if sample.dts < start {
                    return Ok(());
                }
                if sample.dts > start {
                    return Err(Error::Hole { rendition, expected: start, got: sample.dts });
                }
            }
        }
        let Some(cutter) = self.cutters.get_mut(rendition) else { return Ok(()) };
        if video && cutter.part == 0 && cutter.pending.is_empty() && !sample.sync {
            if sample.dts == self.boundaries.grid.boundary(cutter.k) {
                return Err(Error::NotSync { rendition, k: cutter.k });
            }
            // A splice that the encoder heard of too late: filler, until a key frame can be had.
            cutter.hole = true;
            return Ok(());
        }
        (cutter.hole, cutter.feed) = (false, Feed::Alive);
        cutter.filler.note(&sample);
        self.take(rendition, sample);
        Ok(())
    }

    /// Says that the encoder is gone: what comes next may begin later than where this one stopped.
    pub fn lose(&mut self) {
        for cutter in &mut self.cutters {
            (cutter.hole, cutter.feed, cutter.off_from) = (true, Feed::Gone, None);
        }
    }

    /// Says that another encoder is there, whose first samples are to come.
    pub fn expect(&mut self) {
        for cutter in &mut self.cutters {
            (cutter.hole, cutter.feed) = (true, Feed::Alive);
        }
    }

    /// Says that a rendition is not made any more from the boundary at `at` on, in its ticks: filler
    /// comes on time, and of segments that begin meanwhile it is said at once that they hold nothing.
    pub fn switch_off(&mut self, rendition: usize, at: i64) {
        if let Some(cutter) = self.cutters.get_mut(rendition) {
            cutter.off_from = Some(at);
            cutter.obey_switch();
            self.ready.extend(cutter.begins_off(rendition));
        }
    }

    /// Says that a rendition is made again from a boundary that comes.
    pub fn switch_on(&mut self, rendition: usize) {
        if let Some(cutter) = self.cutters.get_mut(rendition) {
            cutter.off_from = None;
            if cutter.feed == Feed::Off {
                cutter.feed = Feed::Alive;
            }
        }
    }

    /// When [`Self::fill`] has something to do: the end of the next part that any rendition has begun,
    /// and `patience` on top where an encoder is there for it.
    pub fn due(&self, patience: Span) -> Option<Timestamp> {
        let begun = self.renditions.iter().zip(&self.cutters).filter(|(_, c)| c.next.is_some());
        let due = begun.map(|(each, cutter)| {
            let end =
                rescale(cutter.part_end, each.track.timescale, Timescale::NANOS, Rounding::Ceil);
            end.saturating_add(cutter.feed.patience(patience))
        });
        due.min().map(|nanos| Timestamp::new(nanos, Timescale::NANOS))
    }

    /// Completes every part with filler that is due at `now`, as [`Self::due`] says, and not much more
    /// than ten seconds of it: what is due then is made by the next call. A rendition that has not begun
    /// has nothing to be filled with.
    pub fn fill(&mut self, now: Timestamp, patience: Span) {
        let now = now.ticks_in(Timescale::NANOS, Rounding::Floor);
        let now = now.min(most_at_once(self.due(patience)));
        for rendition in 0..self.cutters.len() {
            while let (Some(each), Some(cutter)) =
                (self.renditions.get(rendition), self.cutters.get_mut(rendition))
                && cutter.next.is_some()
            {
                let until = now.saturating_sub(cutter.feed.patience(patience));
                let until = rescale(until, Timescale::NANOS, each.track.timescale, Rounding::Floor);
                let (before, end) = (cutter.next, cutter.part_end);
                if end > until {
                    break;
                }
                cutter.hole = true;
                self.fill_up(rendition, end);
                if self.cutters.get(rendition).is_none_or(|cutter| cutter.next == before) {
                    break;
                }
            }
        }
    }

    /// The pictures of a living encoder whose places filler has taken, and from when on, in their
    /// ticks, they are free: it goes on there with a key frame, of its own at the next boundary or
    /// of one that is asked for.
    pub fn overtaken(&self) -> impl Iterator<Item = (usize, i64)> {
        let all = self.renditions.iter().zip(&self.cutters).enumerate();
        all.filter_map(|(rendition, (each, cutter))| {
            let late = cutter.hole && cutter.feed == Feed::Alive && each.video().is_some();
            Some((rendition, cutter.next.filter(|_| late)?))
        })
    }

    /// Completes what every rendition has begun with filler up to the start of segment `k`.
    pub fn fill_before(&mut self, k: u64) {
        for rendition in 0..self.cutters.len() {
            let Some(each) = self.renditions.get(rendition) else { continue };
            let start = self.boundaries.start_of(each, k);
            self.fill_up(rendition, start);
        }
    }

    /// Completes the segments that have been begun with filler and closes them, so that another process
    /// can go on at a boundary.
    pub fn complete(&mut self) {
        let begun = |cutter: &&Cutter| cutter.part > 0 || !cutter.pending.is_empty();
        let newest = self.cutters.iter().filter(begun).map(|cutter| cutter.k).max();
        if let Some(newest) = newest {
            self.fill_before(newest + 1);
        }
    }

    /// Puts filler from where a rendition is to `to`: a picture per part, or whole audio frames.
    fn fill_up(&mut self, rendition: usize, to: i64) {
        let frame = i64::from(self.boundaries.grid.audio_frame);
        while let (Some(each), Some(cutter)) =
            (self.renditions.get(rendition), self.cutters.get_mut(rendition))
            && let Some(next) = cutter.next.filter(|next| *next < to)
        {
            let video = each.track.config.is_video();
            let end = if video { cutter.part_end.min(to) } else { next.saturating_add(frame) };
            let duration = u32::try_from(end.saturating_sub(next)).unwrap_or(u32::MAX);
            let Some(sample) = cutter.filler.sample(next, duration) else { return };
            cutter.filled = cutter.filled.saturating_add(duration);
            self.take(rendition, sample);
        }
    }

    /// Appends a sample whose place is right.
    fn take(&mut self, rendition: usize, sample: Sample) {
        let Some(cutter) = self.cutters.get_mut(rendition) else { return };
        let end = sample.dts.saturating_add(i64::from(sample.duration));
        cutter.next = Some(end);
        cutter.pending.push(sample);
        if end >= cutter.part_end {
            self.flush(rendition);
        }
    }

    /// Ends the run: what is pending leaves as a last part and the open segments are closed.
    pub fn finish(&mut self) {
        for rendition in 0..self.cutters.len() {
            let Some(cutter) = self.cutters.get_mut(rendition) else { continue };
            if cutter.part == 0 && cutter.pending.is_empty() {
                continue;
            }
            cutter.segment_end = i64::MIN;
            self.flush(rendition);
        }
    }

    /// The next thing that is ready.
    pub fn poll(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    /// Writes the pending samples as a chunk and moves on to the next part or segment.
    fn flush(&mut self, rendition: usize) {
        let (Some(each), Some(cutter)) =
            (self.renditions.get(rendition), self.cutters.get_mut(rendition))
        else {
            return;
        };
        let samples = std::mem::take(&mut cutter.pending);
        let end = cutter.next.unwrap_or(i64::MIN);
        let filler = std::mem::take(&mut cutter.filled);
        let place = Place { rendition, k: cutter.k, part: cutter.part, filler };
        let begins = samples.first().filter(|_| cutter.part == 0 && each.video().is_some());
        let events = begins.map(|first| self.inband.of_segment(cutter.k, first.dts));
        let events = events.unwrap_or_default();
        self.ready.extend(part_chunk(each, place, &samples, &events).map(Output::Chunk));
        // The next part holds as many samples as this one, give or take one.
        cutter.pending = Vec::with_capacity(samples.len() + 1);
        if end >= cutter.segment_end {
            self.ready.push_back(Output::SegmentClosed { rendition, k: cutter.k });
            cutter.begin(&self.boundaries, each, cutter.k + 1);
            self.ready.extend(cutter.begins_off(rendition));
        } else {
            cutter.part += 1;
            let (k, segment_end) = (cutter.k, cutter.segment_end);
            cutter.part_end = self.boundaries.part_end_after(each, k, end, segment_end);
        }
    }
}

impl Feed {
    /// How long a part may come after its end, in nanoseconds.
    fn patience(self, of_the_living: Span) -> i64 {
        match self {
            Self::Alive => of_the_living.ticks_in(Timescale::NANOS, Rounding::Ceil).cast_signed(),
            Self::Gone | Self::Off => 0,
        }
    }
}

impl Cutter {
    /// A cutter at the start of segment `k`, before its first sample.
    fn new(boundaries: &Boundaries, rendition: &Rendition, k: u64) -> Self {
        let mut cutter = Self {
            k,
            part: 0,
            next: None,
            part_end: 0,
            segment_end: 0,
            pending: Vec::new(),
            filled: 0,
            hole: false,
            feed: Feed::Alive,
            off_from: None,
            filler: Filler::new(rendition),
        };
        cutter.begin(boundaries, rendition, k);
        cutter
    }

    /// Stands where an earlier process has.
    fn go_on(&mut self, boundaries: &Boundaries, rendition: &Rendition, at: &Position) {
        (self.part, self.next) = (at.part, Some(at.next));
        self.part_end = boundaries.part_end_after(rendition, at.k, at.next, self.segment_end);
        if let Some(picture) = &at.picture {
            self.filler.note(picture);
        }
    }

    /// Moves on to segment `k`.
    fn begin(&mut self, boundaries: &Boundaries, rendition: &Rendition, k: u64) {
        let start = boundaries.start_of(rendition, k);
        (self.k, self.part) = (k, 0);
        self.obey_switch();
        self.segment_end = boundaries.start_of(rendition, k + 1);
        self.part_end = boundaries.part_end_after(rendition, k, start, self.segment_end);
    }

    /// Takes note that nothing comes any more, once everything before that has come.
    fn obey_switch(&mut self) {
        if self.next >= self.off_from && self.off_from.is_some() {
            (self.hole, self.feed) = (true, Feed::Off);
        }
    }

    /// What is said of a segment that begins while nothing comes.
    fn begins_off(&self, rendition: usize) -> Option<Output> {
        let begins = self.part == 0 && self.pending.is_empty() && self.feed == Feed::Off;
        let start = self.next.filter(|_| begins)?;
        Some(Output::Off { rendition, k: self.k, start })
    }
}

/// Where a part stands, and how much of it is filler.
struct Place {
    rendition: usize,
    k: u64,
    part: u32,
    filler: u32,
}

/// Writes samples as a part, behind the events that it carries; nothing of none.
fn part_chunk(
    rendition: &Rendition,
    place: Place,
    samples: &[Sample],
    events: &[Bytes],
) -> Option<PartChunk> {
    let first = samples.first()?;
    let Place { rendition: position, k, part, filler } = place;
    let chunk = cmaf::chunk(&ChunkSpec { rendition, k, part, samples, events });
    let first_sample = chunk.head.len().saturating_add(first.data.len());
    Some(PartChunk {
        rendition: position,
        k,
        part,
        start: first.dts,
        duration: samples.iter().map(|s| s.duration).fold(0, u32::saturating_add),
        independent: first.sync,
        filler,
        first_sample: u32::try_from(first_sample).unwrap_or(u32::MAX),
        chunk,
    })
}

#[cfg(test)]
mod tests;
