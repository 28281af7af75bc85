//! Which frame of the output a picture becomes, and how long a frame waits for its picture. Pure
//! arithmetic.
//!
//! [`Slots`] rounds a picture's output time to a frame number: a source of the output's rate maps
//! one to one, whatever its jitter. [`Patience`] is how long a slot waits for a picture that is late.

use packager::grid::Grid;
use packager::time::{FrameRate, Rounding, Timescale};

const MS: i64 = 1_000_000;
/// Thousandths of a frame.
const WHOLE: i64 = 1_000;
/// How far, in thousandths of a frame, a picture may lie from the next slot and still take it: more
/// than half, so that a source whose phase has drifted to the middle does not flicker between two.
const REACH: i64 = 800;

/// Output time to frame number.
#[derive(Debug)]
pub(super) struct Slots {
    rate: FrameRate,
    generation: Option<u32>,
    phase: i64,
    last: Option<i64>,
    /// The slot given last, and the time it was given for.
    given: Option<(i64, i64)>,
}

impl Slots {
    pub(super) fn new(rate: FrameRate) -> Self {
        Self { rate, generation: None, phase: 0, last: None, given: None }
    }

    /// The slot of a picture at `nanos` on the output clock; may be one already given.
    pub(super) fn slot(&mut self, nanos: i64, generation: u32) -> i64 {
        let exact = self.thousandths(nanos);
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            // The first picture after a leap sits in the middle of its slot.
            self.phase = nearest(exact) * WHOLE - exact;
        }
        let at = exact + self.phase;
        let slot = match self.last.map(|last| last + 1) {
            Some(next) if (at - next * WHOLE).abs() < REACH => next,
            _ => nearest(at),
        };
        self.last = Some(self.last.map_or(slot, |last| last.max(slot)));
        self.given = Some((slot, nanos));
        slot
    }

    /// The slot that a picture at `nanos` will take, counted from the newest one: a source of the output's
    /// rate maps one to one, so this holds until its clock jumps.
    pub(super) fn ahead(&self, nanos: i64) -> i64 {
        match self.given {
            Some((slot, at)) => slot + nearest(self.thousandths(nanos.saturating_sub(at))),
            None => nearest(self.thousandths(nanos)),
        }
    }

    /// A time in thousandths of a frame.
    fn thousandths(&self, nanos: i64) -> i64 {
        let exact = i128::from(nanos) * i128::from(self.rate.num) * i128::from(WHOLE)
            / (i128::from(self.rate.den.max(1)) * 1_000_000_000);
        exact as i64
    }

    /// When slot `n` begins, in nanoseconds since the Unix epoch.
    pub(super) fn nanos(rate: FrameRate, n: i64) -> i64 {
        let nanos = i128::from(n) * i128::from(rate.den) * 1_000_000_000;
        (nanos / i128::from(rate.num.max(1))) as i64
    }
}

fn nearest(thousandths: i64) -> i64 {
    (thousandths + WHOLE / 2).div_euclid(WHOLE)
}

/// The shortest and the longest wait for what is late. Never longer than a part: the packager fills
/// one that is later than [`Grid::patience`], which is a part and some time to encode and deliver.
const MIN_PATIENCE: i64 = 40 * MS;
const MAX_PATIENCE: i64 = 500 * MS;
/// At first: covers a decoder that reorders two pictures at 25 fps.
const FIRST_PATIENCE: i64 = 100 * MS;
/// Added to the lateness seen, so that the next one like it is in time.
const MARGIN: i64 = 20 * MS;
/// What is given back per second without anything late.
const GIVE_BACK: i64 = MS;

/// How long to wait for what is late: grows at once, shrinks slowly.
#[derive(Debug)]
pub(super) struct Patience {
    nanos: i64,
    most: i64,
    changed: i64,
}

impl Patience {
    /// The patience of an output with these parts.
    pub(super) fn of(grid: &Grid) -> Self {
        Self { nanos: FIRST_PATIENCE, most: Self::longest(grid), changed: 0 }
    }

    /// The longest wait of an output with these parts, in nanoseconds.
    pub(super) fn longest(grid: &Grid) -> i64 {
        let part = grid.part().ticks_in(Timescale::NANOS, Rounding::Floor);
        i64::try_from(part).unwrap_or(MAX_PATIENCE).clamp(FIRST_PATIENCE, MAX_PATIENCE)
    }

    /// The wait now, in nanoseconds.
    pub(super) fn nanos(&self) -> i64 {
        self.nanos
    }

    /// Something came `lateness` nanoseconds after it was due, too late.
    pub(super) fn missed(&mut self, lateness: i64, now: i64) {
        let needed = (lateness + MARGIN).min(self.most);
        self.nanos = self.nanos.max(needed);
        self.changed = now;
    }

    /// Called now and then.
    pub(super) fn relax(&mut self, now: i64) {
        if self.changed == 0 {
            self.changed = now;
        }
        let seconds = (now - self.changed) / 1_000_000_000;
        if seconds > 0 {
            self.nanos = (self.nanos - seconds * GIVE_BACK).max(MIN_PATIENCE);
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests;
