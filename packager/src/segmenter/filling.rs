//! Filler in a run that is cut along the grid: when it is due, and what is completed with it.
//!
//! An encoder that is there has some patience coming to it; one that is gone ([`Segmenter::lose`]), and a
//! rendition that is [switched off](Segmenter::switch_off), have none.

use super::Segmenter;
use super::cutter::{Cutter, Feed};
use crate::time::{Rounding, Span, Timescale, Timestamp, rescale};

/// How much filler is made at one time: of a process that was stopped for hours all of it would be more
/// than fits into memory.
const FILLED_AT_ONCE: Span = Span::millis(10_000);

/// Up to when filler is made at one time that is due from then on, in nanoseconds.
pub(super) fn most_at_once(due: Option<Timestamp>) -> i64 {
    let nanos = |due: Timestamp| due.ticks_in(Timescale::NANOS, Rounding::Ceil);
    let most = FILLED_AT_ONCE.ticks_in(Timescale::NANOS, Rounding::Floor).cast_signed();
    due.map_or(i64::MAX, |due| nanos(due).saturating_add(most))
}

impl Segmenter {
    /// Says that the encoder is gone: what comes next may begin later than where this one stopped.
    pub fn lose(&mut self) {
        for cutter in &mut self.cutters {
            (cutter.hole, cutter.feed, cutter.off_from) = (true, Feed::Gone, None);
        }
    }

    /// Says that another encoder is there, whose first samples are to come.
    pub fn expect(&mut self) {
        for cutter in &mut self.cutters {
            (cutter.hole, cutter.feed) = (true, Feed::Alive);
        }
    }

    /// Says that a rendition is not made any more from the boundary at `at` on, in its ticks: filler
    /// comes on time, and of segments that begin meanwhile it is said at once that they hold nothing.
    pub fn switch_off(&mut self, rendition: usize, at: i64) {
        if let Some(cutter) = self.cutters.get_mut(rendition) {
            cutter.off_from = Some(at);
            cutter.obey_switch();
            self.ready.extend(cutter.begins_off(rendition));
        }
    }

    /// Says that a rendition is made again from a boundary that comes.
    pub fn switch_on(&mut self, rendition: usize) {
        if let Some(cutter) = self.cutters.get_mut(rendition) {
            cutter.off_from = None;
            if cutter.feed == Feed::Off {
                cutter.feed = Feed::Alive;
            }
        }
    }

    /// When [`Self::fill`] has something to do: the end of the next part that any rendition has begun,
    /// and `patience` on top where an encoder is there for it.
    pub fn due(&self, patience: Span) -> Option<Timestamp> {
        let begun = self.renditions.iter().zip(&self.cutters).filter(|(_, c)| c.next.is_some());
        let due = begun.map(|(each, cutter)| {
            let end =
                rescale(cutter.part_end, each.track.timescale, Timescale::NANOS, Rounding::Ceil);
            end.saturating_add(cutter.feed.patience(patience))
        });
        due.min().map(|nanos| Timestamp::new(nanos, Timescale::NANOS))
    }

    /// Completes every part with filler that is due at `now`, as [`Self::due`] says, and not much more
    /// than ten seconds of it: what is due then is made by the next call. A rendition that has not begun
    /// has nothing to be filled with.
    pub fn fill(&mut self, now: Timestamp, patience: Span) {
        let now = now.ticks_in(Timescale::NANOS, Rounding::Floor);
        let now = now.min(most_at_once(self.due(patience)));
        for rendition in 0..self.cutters.len() {
            while let (Some(each), Some(cutter)) =
                (self.renditions.get(rendition), self.cutters.get_mut(rendition))
                && cutter.next.is_some()
            {
                let until = now.saturating_sub(cutter.feed.patience(patience));
                let until = rescale(until, Timescale::NANOS, each.track.timescale, Rounding::Floor);
                let (before, end) = (cutter.next, cutter.part_end);
                if end > until {
                    break;
                }
                cutter.hole = true;
                self.fill_up(rendition, end);
                if self.cutters.get(rendition).is_none_or(|cutter| cutter.next == before) {
                    break;
                }
            }
        }
    }

    /// The pictures of a living encoder whose places filler has taken, and from when on, in their
    /// ticks, they are free: it goes on there with a key frame, of its own at the next boundary or
    /// of one that is asked for.
    pub fn overtaken(&self) -> impl Iterator<Item = (usize, i64)> {
        let all = self.renditions.iter().zip(&self.cutters).enumerate();
        all.filter_map(|(rendition, (each, cutter))| {
            let late = cutter.hole && cutter.feed == Feed::Alive && each.video().is_some();
            Some((rendition, cutter.next.filter(|_| late)?))
        })
    }

    /// Completes what every rendition has begun with filler up to the start of segment `k`.
    pub fn fill_before(&mut self, k: u64) {
        for rendition in 0..self.cutters.len() {
            let Some(each) = self.renditions.get(rendition) else { continue };
            let start = self.boundaries.start_of(each, k);
            self.fill_up(rendition, start);
        }
    }

    /// Completes the segments that have been begun with filler and closes them, so that another process
    /// can go on at a boundary.
    pub fn complete(&mut self) {
        let begun = |cutter: &&Cutter| cutter.part > 0 || !cutter.pending.is_empty();
        let newest = self.cutters.iter().filter(begun).map(|cutter| cutter.k).max();
        if let Some(newest) = newest {
            self.fill_before(newest + 1);
        }
    }

    /// Puts filler from where a rendition is to `to`: a picture per part, or whole audio frames.
    pub(super) fn fill_up(&mut self, rendition: usize, to: i64) {
        let frame = i64::from(self.boundaries.grid.audio_frame);
        while let (Some(each), Some(cutter)) =
            (self.renditions.get(rendition), self.cutters.get_mut(rendition))
            && let Some(next) = cutter.next.filter(|next| *next < to)
        {
            let video = each.track.config.is_video();
            let end = if video { cutter.part_end.min(to) } else { next.saturating_add(frame) };
            let duration = u32::try_from(end.saturating_sub(next)).unwrap_or(u32::MAX);
            let Some(sample) = cutter.filler.sample(next, duration) else { return };
            cutter.filled = cutter.filled.saturating_add(duration);
            self.take(rendition, sample);
        }
    }
}
