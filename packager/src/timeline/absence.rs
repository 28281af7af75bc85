//! Renditions that are switched off for so long that DASH players are told to do without them.
//!
//! HLS says of each segment that it is a gap. DASH has no such word: a rung that is off is filled, and
//! a player that likes it shows a still picture for as long as it stays. So once it has been off for
//! [`LONG`] the run goes on in another stretch, whose Period leaves it out, and in one more when it
//! is back. Counted in segments, so that every origin with the same ones says the same.

use crate::grid::Grid;
use crate::time::Span;

/// How long a rendition is off before it is left out: half a minute, which is the least it stays away
/// under overload, and some seconds for it to be back by then. One that is costs players no Period.
const LONG: Span = Span::millis(40_000);

/// How long each rendition has been off.
#[derive(Debug, Default)]
pub(super) struct Absence {
    /// By rendition: segments in a row that held nothing worth playing.
    off: Vec<u64>,
}

impl Absence {
    /// Forgets everything: another run begins with what it has.
    pub(super) fn clear(&mut self) {
        self.off.clear();
    }

    /// Notes a finished segment of a rendition.
    pub(super) fn note(&mut self, rendition: usize, off: bool) {
        if self.off.len() <= rendition {
            self.off.resize(rendition + 1, 0);
        }
        if let Some(count) = self.off.get_mut(rendition) {
            *count = if off { count.saturating_add(1) } else { 0 };
        }
    }

    /// The renditions that are left out now, in order.
    pub(super) fn long(&self, grid: &Grid) -> Vec<usize> {
        let long = grid.segments_in(LONG);
        let off = self.off.iter().enumerate().filter(|(_, count)| **count >= long);
        off.map(|(rendition, _)| rendition).collect()
    }
}
