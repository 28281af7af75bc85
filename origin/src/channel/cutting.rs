//! The segmenter of a run: along the grid, or at a source's own key frames. Both have the same verbs.

use std::sync::Arc;

use packager::grid::splices::Splices;
use packager::grid::{Cut, Grid};
use packager::media::{Rendition, Sample};
use packager::scte35::Cue;
use packager::segmenter::{self, Output, PICTURES, SOUND, Segmenter, SourceSegmenter, Start};
use packager::time::{Span, Timestamp};
use packager::timeline::{Beginning, Lengths, Run};

use crate::store::Left;

/// See the module's page.
#[derive(Debug)]
pub(super) enum Cutting {
    /// An encoder of ours makes the samples.
    Grid(Segmenter),
    /// They are the source's own.
    Source(Box<SourceSegmenter>),
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At the start of a segment of the grid.
    Grid {
        /// Its number.
        first_k: u64,
    },
    /// At a source's picture.
    Source {
        /// Its time, in video ticks.
        at: i64,
        /// How long its segments are, as far as is known.
        lengths: Lengths,
        /// Whether the source has no sound.
        mute: bool,
    },
}

impl Cutting {
    /// The segmenter of a run that begins with segment `first_k`.
    pub(super) fn new(
        grid: Grid,
        renditions: &Arc<[Rendition]>,
        first_k: u64,
        begin: Begin,
    ) -> Self {
        match (begin, renditions.get(PICTURES), renditions.get(SOUND)) {
            (Begin::Source { at, lengths, mute }, Some(pictures), Some(sound)) => {
                let start = Start { first_k, at, lengths, mute };
                let segmenter = SourceSegmenter::new(grid, pictures.clone(), sound.clone(), start);
                Self::Source(Box::new(segmenter))
            }
            _ => Self::Grid(Segmenter::new(grid, Arc::clone(renditions), first_k)),
        }
    }

    /// The segmenter of a run that an earlier process has left.
    pub(super) fn resume(grid: Grid, splices: &Splices, left: &Left) -> Self {
        let renditions = left.run().map(|run| Arc::clone(&run.renditions)).unwrap_or_default();
        let positions = left.positions();
        let two = |at: usize| Some((renditions.get(at)?.clone(), positions.get(at)?.clone()));
        match (grid.cut, two(PICTURES), two(SOUND), left.run()) {
            (Cut::Source, Some(pictures), Some(sound), Some(run)) => {
                let Run { first_k, start, lengths, .. } = **run;
                let base = Beginning { first_k, start, lengths };
                let closed =
                    left.tracks.get(PICTURES).into_iter().flat_map(|track| &track.segments);
                let starts: Vec<_> = closed.map(|segment| (segment.k, segment.start)).collect();
                let mut segmenter = SourceSegmenter::resume(grid, pictures, sound, &starts, base);
                segmenter.follow(splices);
                Self::Source(Box::new(segmenter))
            }
            _ => Self::Grid(Segmenter::resume(grid, splices.clone(), renditions, &positions)),
        }
    }

    /// Cuts at these splices from now on: a source at its key frames nearest to them.
    pub(super) fn follow(&mut self, splices: &Splices) {
        match self {
            Self::Grid(segmenter) => segmenter.follow(splices.clone()),
            Self::Source(segmenter) => segmenter.follow(splices),
        }
    }

    /// Tells these cues in the segments themselves from now on.
    pub(super) fn announce(&mut self, cues: &[Cue]) {
        match self {
            Self::Grid(segmenter) => segmenter.announce(cues),
            Self::Source(segmenter) => segmenter.announce(cues),
        }
    }

    /// Where the rendition that has got furthest is, in video ticks.
    pub(super) fn furthest(&self) -> Option<i64> {
        match self {
            Self::Grid(segmenter) => segmenter.furthest(),
            Self::Source(segmenter) => segmenter.end().map(|end| end.ticks),
        }
    }

    pub(super) fn push(
        &mut self,
        rendition: usize,
        sample: Sample,
    ) -> Result<(), segmenter::Error> {
        match self {
            Self::Grid(segmenter) => segmenter.push(rendition, sample),
            Self::Source(segmenter) => segmenter.push(rendition, sample),
        }
    }

    pub(super) fn lose(&mut self) {
        match self {
            Self::Grid(segmenter) => segmenter.lose(),
            Self::Source(segmenter) => segmenter.lose(),
        }
    }

    /// Another encoder, or another source, is there.
    pub(super) fn expect(&mut self) {
        match self {
            Self::Grid(segmenter) => segmenter.expect(),
            Self::Source(segmenter) => segmenter.expect(),
        }
    }

    /// A rung is made again. A source has no rungs.
    pub(super) fn switch_on(&mut self, rendition: usize) {
        if let Self::Grid(segmenter) = self {
            segmenter.switch_on(rendition);
        }
    }

    /// A rung is not made from a boundary on.
    pub(super) fn switch_off(&mut self, rendition: usize, at: i64) {
        if let Self::Grid(segmenter) = self {
            segmenter.switch_off(rendition, at);
        }
    }

    pub(super) fn due(&self, patience: Span) -> Option<Timestamp> {
        match self {
            Self::Grid(segmenter) => segmenter.due(patience),
            Self::Source(segmenter) => segmenter.due(patience),
        }
    }

    pub(super) fn fill(&mut self, now: Timestamp, patience: Span) {
        match self {
            Self::Grid(segmenter) => segmenter.fill(now, patience),
            Self::Source(segmenter) => segmenter.fill(now, patience),
        }
    }

    /// What an encoder should be asked key frames for, and from when on. A source can't be asked.
    pub(super) fn overtaken(&self) -> Vec<(usize, i64)> {
        match self {
            Self::Grid(segmenter) => segmenter.overtaken().collect(),
            Self::Source(_) => Vec::new(),
        }
    }

    /// Fills up to where another run takes over, and gives the number that is next.
    pub(super) fn end(&mut self, grid: &Grid, begin: Begin, next_k: u64) -> u64 {
        let at = match begin {
            Begin::Grid { first_k } => Timestamp::new(grid.boundary(first_k), grid.video_scale()),
            Begin::Source { at, .. } => Timestamp::new(at, grid.video_scale()),
        };
        match (self, begin) {
            (Self::Grid(segmenter), Begin::Grid { first_k }) => {
                segmenter.fill_before(first_k);
                first_k
            }
            // The channel was given another kind of ladder: a fresh window follows.
            (Self::Grid(_), Begin::Source { .. }) => next_k,
            (Self::Source(segmenter), _) => {
                segmenter.end_at(at);
                segmenter.next_k()
            }
        }
    }

    /// Goes on with filler up to the start of segment `k`.
    pub(super) fn fill_before(&mut self, k: u64) {
        match self {
            Self::Grid(segmenter) => segmenter.fill_before(k),
            Self::Source(segmenter) => segmenter.fill_before(k),
        }
    }

    /// Completes the open segments with filler and closes them. A source's may end anywhere.
    pub(super) fn complete(&mut self) {
        match self {
            Self::Grid(segmenter) => segmenter.complete(),
            Self::Source(segmenter) => segmenter.finish(),
        }
    }

    pub(super) fn finish(&mut self) {
        match self {
            Self::Grid(segmenter) => segmenter.finish(),
            Self::Source(segmenter) => segmenter.finish(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        match self {
            Self::Grid(segmenter) => segmenter.poll(),
            Self::Source(segmenter) => segmenter.poll(),
        }
    }
}
