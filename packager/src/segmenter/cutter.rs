//! Where one rendition of a run stands that is cut along the grid: its segment, its part, and what may be
//! expected of its encoder.

use super::boundaries::Boundaries;
use super::output::{Output, Position};
use crate::filler::Filler;
use crate::media::{Rendition, Sample};
use crate::time::{Rounding, Span, Timescale};

/// Where one rendition stands.
#[derive(Debug)]
pub(super) struct Cutter {
    pub(super) k: u64,
    pub(super) part: u32,
    /// Decode time the next sample must have; `None` before the first.
    pub(super) next: Option<i64>,
    pub(super) part_end: i64,
    pub(super) segment_end: i64,
    pub(super) pending: Vec<Sample>,
    /// How much of `pending` is filler, in ticks.
    pub(super) filled: u32,
    /// Whether samples are missing: the next one may come later than `next`.
    pub(super) hole: bool,
    pub(super) feed: Feed,
    /// From where on the rendition is switched off, in its ticks.
    pub(super) off_from: Option<i64>,
    pub(super) filler: Filler,
}

/// What a rendition may expect of its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// Samples, if perhaps late ones.
    Alive,
    /// Nothing until another encoder is there.
    Gone,
    /// Nothing until the encoder makes it again.
    Off,
}

impl Feed {
    /// How long a part may come after its end, in nanoseconds.
    pub(super) fn patience(self, of_the_living: Span) -> i64 {
        match self {
            Self::Alive => of_the_living.ticks_in(Timescale::NANOS, Rounding::Ceil).cast_signed(),
            Self::Gone | Self::Off => 0,
        }
    }
}

impl Cutter {
    /// A cutter at the start of segment `k`, before its first sample.
    pub(super) fn new(boundaries: &Boundaries, rendition: &Rendition, k: u64) -> Self {
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
    pub(super) fn go_on(&mut self, boundaries: &Boundaries, rendition: &Rendition, at: &Position) {
        (self.part, self.next) = (at.part, Some(at.next));
        self.part_end = boundaries.part_end_after(rendition, at.k, at.next, self.segment_end);
        if let Some(picture) = &at.picture {
            self.filler.note(picture);
        }
    }

    /// Moves on to segment `k`.
    pub(super) fn begin(&mut self, boundaries: &Boundaries, rendition: &Rendition, k: u64) {
        let start = boundaries.start_of(rendition, k);
        (self.k, self.part) = (k, 0);
        self.obey_switch();
        self.segment_end = boundaries.start_of(rendition, k + 1);
        self.part_end = boundaries.part_end_after(rendition, k, start, self.segment_end);
    }

    /// Takes note that nothing comes any more, once everything before that has come.
    pub(super) fn obey_switch(&mut self) {
        if self.next >= self.off_from && self.off_from.is_some() {
            (self.hole, self.feed) = (true, Feed::Off);
        }
    }

    /// What is said of a segment that begins while nothing comes.
    pub(super) fn begins_off(&self, rendition: usize) -> Option<Output> {
        let begins = self.part == 0 && self.pending.is_empty() && self.feed == Feed::Off;
        let start = self.next.filter(|_| begins)?;
        Some(Output::Off { rendition, k: self.k, start })
    }
}
