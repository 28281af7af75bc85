//! Where segments and parts of a rendition begin and end: the grid's boundaries, moved by splices.

use crate::grid::Grid;
use crate::grid::splices::Splices;
use crate::media::Rendition;

/// The grid of a run, and which of its boundaries lie elsewhere.
#[derive(Debug)]
pub(super) struct Boundaries {
    pub(super) grid: Grid,
    pub(super) splices: Splices,
}

impl Boundaries {
    /// Start of segment `k` in the rendition's ticks: sound is cut at the first frame at or after the
    /// pictures.
    pub(super) fn start_of(&self, rendition: &Rendition, k: u64) -> i64 {
        let start = self.splices.boundary(&self.grid, k);
        if rendition.track.config.is_video() {
            start
        } else {
            self.grid.audio_frame_at_or_after(start)
        }
    }

    /// The first part end of segment `k` that lies after `ticks`, at most the segment's end. Parts
    /// count from the segment's start in steps of p; audio ends with the frame that covers the step.
    pub(super) fn part_end_after(
        &self,
        rendition: &Rendition,
        k: u64,
        ticks: i64,
        segment_end: i64,
    ) -> i64 {
        let grid = &self.grid;
        let start = self.splices.boundary(grid, k);
        let video = rendition.track.config.is_video();
        let step = |n: i64| {
            let at = start.saturating_add(grid.part_ticks.cast_signed().saturating_mul(n));
            if video { at } else { grid.audio_frame_at_or_after(at) }
        };
        (1..).map(step).find(|end| *end > ticks).map_or(segment_end, |end| end.min(segment_end))
    }
}
