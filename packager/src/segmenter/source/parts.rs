//! The part of a rendition that is being made, from its samples to its chunk.

use std::collections::VecDeque;

use crate::filler::Filler;
use crate::media::{Rendition, Sample};
use crate::segmenter::inband::Inband;
use crate::segmenter::output::{Output, Place, Position, part_chunk};

/// The part of a rendition that is being made.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) position: usize,
    pub(super) rendition: Rendition,
    pub(super) k: u64,
    pub(super) part: u32,
    /// Decode time of its first sample.
    pub(super) start: i64,
    /// Decode time the next sample must have; `None` before the first.
    pub(super) next: Option<i64>,
    pub(super) pending: Vec<Sample>,
    /// How much of `pending` is filler, in ticks.
    pub(super) filled: u32,
    /// Whether samples are missing: the next one may come later than `next`.
    pub(super) hole: bool,
    pub(super) filler: Filler,
    /// What the first part of a segment tells of cues: nothing, of sound.
    pub(super) inband: Inband,
}

impl Parts {
    pub(super) fn new(position: usize, rendition: Rendition, k: u64) -> Self {
        Self {
            position,
            k,
            part: 0,
            start: 0,
            next: None,
            pending: Vec::new(),
            filled: 0,
            hole: false,
            filler: Filler::new(&rendition),
            rendition,
            inband: Inband::default(),
        }
    }

    /// Stands where an earlier process has.
    pub(super) fn go_on(&mut self, at: &Position) {
        (self.k, self.part) = (at.k, at.part);
        (self.start, self.next) = (at.next, Some(at.next));
        if let Some(picture) = &at.picture {
            self.filler.note(picture);
        }
    }

    /// Appends a sample whose place is right.
    pub(super) fn take(&mut self, sample: Sample) {
        self.next = Some(sample.dts.saturating_add(i64::from(sample.duration)));
        self.pending.push(sample);
    }

    /// Writes what is pending as a part; does nothing where there is none.
    pub(super) fn flush(&mut self, ready: &mut VecDeque<Output>) {
        let samples = std::mem::take(&mut self.pending);
        let filler = std::mem::take(&mut self.filled);
        let (rendition, k, part) = (self.position, self.k, self.part);
        let place = Place { rendition, k, part, filler };
        let begins = samples.first().filter(|_| part == 0);
        let events = begins.map(|first| self.inband.of_segment(k, first.dts)).unwrap_or_default();
        let Some(chunk) = part_chunk(&self.rendition, place, &samples, &events) else { return };
        ready.push_back(Output::Chunk(chunk));
        // The next part holds as many samples as this one, give or take one.
        self.pending = Vec::with_capacity(samples.len() + 1);
        self.part += 1;
        self.start = self.next.unwrap_or(self.start);
    }

    /// Ends the segment; the next one begins at `at`.
    pub(super) fn close(&mut self, ready: &mut VecDeque<Output>, at: i64) {
        self.flush(ready);
        let (rendition, k) = (self.position, self.k);
        ready.push_back(Output::SegmentClosed { rendition, k });
        (self.k, self.part, self.start) = (self.k + 1, 0, at);
    }
}
