//! Where a source's pictures are cut, and what that says about its key frames.

use crate::timeline::Lengths;

/// A key frame this far from its boundary, as a part of D, is drift where segments are as long as D.
const DRIFT: i64 = 8;
/// Segments that differ from D by less than this part of it are as long as D.
const REGULAR: i64 = 32;
/// Two cuts that are neither where they should be nor drift, within so many segments, are no
/// accident: segments are uneven.
const ODD_WITHIN: u64 = 16;
/// Segments in a row that are as long as D after which they count as even again: a minute of them,
/// so that a source with a scene change now and then does not go to and fro.
const EVEN_AGAIN: u32 = 32;

/// Where the pictures are cut.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Start of the open segment.
    pub(super) segment: i64,
    /// A segment and its start, which boundaries are counted from.
    pub(super) base: (u64, i64),
    pub(super) lengths: Lengths,
    /// The last segment that ended neither where it should nor by drift.
    odd: Option<u64>,
    /// How many segments in a row were as long as D.
    even: u32,
    /// Whether there is filler in the open segment, or it ends at a splice: that says nothing about the
    /// source.
    pub(super) filled: bool,
    /// Whether what lies before the newest key frame is not there for the pictures behind it.
    pub(super) fresh: bool,
    pub(super) last_sync: Option<i64>,
    /// Segments in a row that had to end without a key frame.
    pub(super) missed: u32,
}

impl Cuts {
    /// Cuts of a run that begins with segment `first_k` at `at`.
    pub(super) fn new(first_k: u64, at: i64, lengths: Lengths) -> Self {
        Self {
            segment: at,
            base: (first_k, at),
            lengths,
            odd: None,
            even: 0,
            filled: false,
            fresh: true,
            last_sync: None,
            missed: 0,
        }
    }

    /// The boundary at which segment `k` should end, if segments are `wish` long.
    pub(super) fn boundary(&self, k: u64, wish: i64) -> i64 {
        let (base_k, base) = self.base;
        nominal(base, (k + 1).saturating_sub(base_k), wish)
    }

    /// Judges the segment that has ended at `at`, before segment `k`: true if another stretch of the
    /// run begins there.
    pub(super) fn judge(&mut self, k: u64, at: i64, length: i64, wish: i64) -> bool {
        let (base_k, base) = self.base;
        let off = (at - nominal(base, k - base_k, wish)).abs();
        let regular = (length - wish).abs() <= wish / REGULAR;
        let filled = std::mem::take(&mut self.filled);
        self.even = if regular || filled { self.even.saturating_add(1) } else { 0 };
        if self.lengths == Lengths::Uneven {
            self.base = (k, at);
            if self.even < EVEN_AGAIN {
                return false;
            }
            (self.lengths, self.odd) = (Lengths::Even, None);
            return true;
        }
        let odd = off > wish / DRIFT && !regular && !filled;
        if odd && self.odd.replace(k).is_some_and(|last| k - last <= ODD_WITHIN) {
            (self.lengths, self.even) = (Lengths::Uneven, 0);
        }
        let drifted = off > wish / 2 || (regular && off > wish / DRIFT);
        if drifted || self.lengths == Lengths::Uneven {
            self.base = (k, at);
            return true;
        }
        false
    }
}

/// The boundary `count` segments after `base`.
fn nominal(base: i64, count: u64, segment: i64) -> i64 {
    base.saturating_add(segment.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
}
