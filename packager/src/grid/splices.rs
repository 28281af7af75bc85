//! Boundary displacement: splices become segment boundaries, and no number shifts.
//!
//! Segment k begins at N_k = k·D, or at an accepted splice s in `[N_k − D/2, N_k + D/2)`. Accepted
//! splices that move a boundary are 2·D apart at the least, so two neighbours are never both moved
//! and every segment lasts from D/2 to 3·D/2. A splice that can't be where it was wished is at the
//! next boundary there is, and its [`Place`] says why.
//!
//! A pure function of what was accepted before, in order, and of how far the pictures have got: no
//! clock. All times are video ticks since the epoch, on frames.

use std::collections::BTreeSet;

use super::Grid;
use crate::time::{FrameRate, Timestamp};

/// Why a splice is not where it was wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// It came too late: what would have to be made otherwise is made.
    Late,
    /// Another splice is closer than 2·D.
    Close,
    /// A run begins there, and players have been told where.
    RunStart,
}

/// Where a splice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its frame: the first of segment `k`.
    pub at: i64,
    /// Number of the segment that begins with it.
    pub k: u64,
    /// Why it is not where it was wished.
    pub moved: Option<Moved>,
}

/// What can't be changed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Every frame before this one may have been given to the encoder.
    pub until: i64,
    /// The first segment of the run, whose boundary stays where it is.
    pub first_k: u64,
}

/// Accepted splices.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Splices(BTreeSet<i64>);

impl Splices {
    /// Splices that were accepted before, as [`Self::iter`] gave them.
    pub fn restore(accepted: impl IntoIterator<Item = i64>) -> Self {
        Self(accepted.into_iter().collect())
    }

    /// Accepted splices, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().copied()
    }

    /// Whether there are none: then every boundary is the grid's.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Start of segment `k`: the boundary B_k.
    pub fn boundary(&self, grid: &Grid, k: u64) -> i64 {
        let (nominal, length) = (grid.boundary(k), grid.segment_ticks.cast_signed());
        let from = nominal.saturating_sub(length / 2);
        let to = nominal.saturating_add(length - length / 2);
        self.0.range(from..to).next().copied().unwrap_or(nominal)
    }

    /// Whether a segment begins with the frame at `ticks`.
    pub fn is_boundary(&self, grid: &Grid, ticks: i64) -> bool {
        self.boundary(grid, home(grid, ticks)) == ticks
    }

    /// The first boundary at or after `ticks`, and the number of its segment.
    pub fn next_boundary(&self, grid: &Grid, ticks: i64) -> (u64, i64) {
        // Boundaries are within half a segment of the nominal ones.
        let first = grid.number_at(ticks);
        let all = (first..).map(|k| (k, self.boundary(grid, k)));
        all.into_iter().find(|(_, at)| *at >= ticks).unwrap_or((first, ticks))
    }

    /// Accepts a splice that is wished at `wish`. It is a boundary from now on.
    pub fn accept(&mut self, grid: &Grid, wish: i64, made: Made) -> Place {
        let k = home(grid, wish);
        let apart = grid.segment_ticks.saturating_mul(2).cast_signed();
        let near = wish.saturating_sub(apart - 1)..wish.saturating_add(apart);
        // One that is there already is shared by both, however late it is.
        let moved = if self.0.contains(&wish) && self.boundary(grid, k) == wish {
            None
        } else if wish.min(grid.boundary(k)) < made.until {
            Some(Moved::Late)
        } else if wish < grid.boundary(made.first_k)
            || k == made.first_k && wish != grid.boundary(k)
        {
            Some(Moved::RunStart)
        } else if self.0.range(near).next().is_some() {
            Some(Moved::Close)
        } else {
            None
        };
        let earliest = grid.boundary(made.first_k).max(made.until).max(wish);
        let (k, at) = match moved {
            None => (k, wish),
            Some(_) => self.next_boundary(grid, earliest),
        };
        self.0.insert(at);
        // Where it is moved to may be where it was wished: on a boundary, which nothing is too late for.
        Place { at, k, moved: moved.filter(|_| at != wish) }
    }

    /// Notes a splice of a source that is packaged as it is, whose key frames are where they are.
    pub fn note(&mut self, at: i64) {
        self.0.insert(at);
    }

    /// Gives up a splice that nothing needs any more. Whether it was there and could be given up:
    /// where what it asks for may have been made it stays.
    pub fn withdraw(&mut self, grid: &Grid, at: i64, made: Made) -> bool {
        at.min(grid.boundary(home(grid, at))) >= made.until && self.0.remove(&at)
    }

    /// Takes back what moves the boundaries of segments up to `first_k`, where a run is to begin: gives
    /// what was taken back, to be accepted anew.
    pub fn begin_run(&mut self, grid: &Grid, first_k: u64) -> Vec<i64> {
        let moves = |at: &i64| {
            let k = home(grid, *at);
            k == first_k && grid.boundary(k) != *at
        };
        let back: Vec<_> = self.0.iter().copied().filter(moves).collect();
        self.0.retain(|at| !back.contains(at));
        back
    }

    /// Forgets splices before `ticks`.
    pub fn forget_before(&mut self, ticks: i64) {
        self.0 = self.0.split_off(&ticks);
    }
}

/// Number of the segment whose boundary a splice at `ticks` moves.
fn home(grid: &Grid, ticks: i64) -> u64 {
    grid.number_at(ticks.saturating_add(grid.segment_ticks.cast_signed() / 2))
}

/// The frame closest to an instant, the later on a tie, in video ticks.
pub fn nearest_frame(rate: FrameRate, at: Timestamp) -> i64 {
    let frames = 2 * i128::from(at.ticks) * i128::from(rate.num);
    let whole = i128::from(at.scale.get()) * i128::from(rate.den.max(1));
    let n = (frames + whole).div_euclid(2 * whole);
    let ticks = n.saturating_mul(i128::from(rate.frame_ticks()));
    i64::try_from(ticks).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
