//! Where segments begin, as all rungs know it: the grid's boundaries, and the splices that move them.

use std::sync::{PoisonError, RwLock};

use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::time::{Rounding, Timescale, rescale};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Cuts {
    grid: Grid,
    splices: RwLock<Splices>,
}

impl Cuts {
    /// The boundaries of a grid.
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid, splices: RwLock::default() }
    }

    /// These are the splices from now on. They come before the frames that they are about.
    pub(super) fn follow(&self, splices: Splices) {
        *self.splices.write().unwrap_or_else(PoisonError::into_inner) = splices;
    }

    /// Whether a segment begins with the frame at `ticks`.
    pub(super) fn is_boundary(&self, ticks: i64) -> bool {
        let splices = self.splices.read().unwrap_or_else(PoisonError::into_inner);
        splices.is_boundary(&self.grid, ticks)
    }

    /// The last splice that is known of, in nanoseconds.
    pub(super) fn last_splice(&self) -> Option<i64> {
        let splices = self.splices.read().unwrap_or_else(PoisonError::into_inner);
        let last = splices.iter().max()?;
        Some(rescale(last, self.grid.video_scale(), Timescale::NANOS, Rounding::Nearest))
    }
}
