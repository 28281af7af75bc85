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
//! and whose place is still free; what is late for a filled place is dropped.
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
mod cutter;
mod filling;
mod inband;
mod output;
mod source;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cmaf;
use crate::grid::Grid;
use crate::grid::splices::Splices;
use crate::media::{Rendition, Sample};
use crate::scte35::Cue;
use crate::time::{Rounding, Span, rescale};
use boundaries::Boundaries;
use cutter::{Cutter, Feed};
use inband::Inband;
pub use output::{Error, Output, PartChunk, Position};
use output::{Place, part_chunk};
pub use source::{PICTURES, Remnant, SOUND, SourceSegmenter, Start};

/// The longest hole that a sample is believed to have before it. [`Segmenter::fill`] leaves one of a
/// part or two open; without a bound one wrong time would be filled up to, in memory.
const LONGEST_HOLE: Span = Span::millis(600_000);

/// The state machine. See the module's page.
#[derive(Debug)]
pub struct Segmenter {
    boundaries: Boundaries,
    renditions: Arc<[Rendition]>,
    cutters: Vec<Cutter>,
    inband: Inband,
    ready: VecDeque<Output>,
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

#[cfg(test)]
mod tests;
