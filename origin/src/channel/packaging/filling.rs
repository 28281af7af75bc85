//! What an encoder does not deliver in time: a run that has begun never stops by itself.
//!
//! [`Packaging::fill_at`] says when filler is due, and [`Packaging::fill`] makes it, until an encoder with
//! the same init segments goes on in the run, or another run takes over. Which sample stands for what is
//! missing is the segmenter's business.

use std::time::Instant;

use packager::time::{Rounding, Span, Timescale, Timestamp};

use super::{Made, Packaging};

/// How long an encoder may take to make what lies before its start, in nanoseconds: as long as it may
/// take to begin. Filler completes the rest, or a channel whose machine is too slow would never begin.
const CATCHES_UP_WITHIN: i64 = 10_000_000_000;

impl Packaging {
    /// Notes that the encoder is gone. The run goes on with filler.
    pub(in crate::channel) fn lose_encoder(&mut self) {
        self.coming = None;
        if let Some(current) = &mut self.current {
            current.segmenter.lose();
            current.catching_up = false;
        }
    }

    /// Notes that the encoder does not make a rendition from the boundary at `at` on, in video ticks, or
    /// makes it again from there on.
    pub(in crate::channel) fn switch(&mut self, rendition: usize, on: bool, at: i64) {
        let Some(current) = &mut self.current else { return };
        if on {
            current.segmenter.switch_on(rendition);
        } else {
            current.segmenter.switch_off(rendition, at);
            // What it was behind with may never come, and every rendition would wait for it.
            current.catching_up = false;
        }
    }

    /// When [`Self::fill`] has to be called, unless a sample comes before.
    pub(in crate::channel) fn fill_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let patience = self.patience();
        let current = self.current.as_mut()?;
        let due = current.segmenter.due(patience)?;
        if current.catching_up {
            let latest =
                Timestamp::new(nanos(now).saturating_add(CATCHES_UP_WITHIN), Timescale::NANOS);
            let by = *current.caught_up_by.get_or_insert(latest);
            current.catching_up = nanos(due) <= nanos(now) && nanos(now) < nanos(by);
        }
        (!current.catching_up).then_some(due)
    }

    /// Completes with filler what should be there at `now`. Gives the rungs whose encoder is alive and
    /// should make a key frame for them, and from when on in video ticks.
    pub(in crate::channel) async fn fill(&mut self, now: Timestamp) -> Vec<(usize, i64)> {
        if self.current.as_ref().is_none_or(|current| current.catching_up) {
            return Vec::new();
        }
        self.fill_until(now).await;
        self.current.as_ref().map_or_else(Vec::new, |current| current.segmenter.overtaken())
    }

    /// Makes filler until none is due at `now`. Of a long time it is stored piece by piece, and shown when
    /// all is there.
    pub(super) async fn fill_until(&mut self, now: Timestamp) {
        let (patience, began) = (self.patience(), Instant::now());
        let (mut before, mut all) = (None, Made::default());
        while let Some(current) = &mut self.current
            && let Some(due) = current.segmenter.due(patience).map(nanos)
            // What can't be filled is due for ever.
            && due <= nanos(now) && before < Some(due)
        {
            before = Some(due);
            current.segmenter.fill(now, patience);
            let made = self.store_ready(began).await;
            all = Made { changed: all.changed | made.changed, parts: all.parts + made.parts };
        }
        self.show(all, began).await;
    }

    /// How long after its end a part of a living encoder, or of a source, may come.
    fn patience(&self) -> Span {
        self.format.grid.patience(self.format.publish_delay)
    }
}

fn nanos(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::NANOS, Rounding::Ceil)
}
