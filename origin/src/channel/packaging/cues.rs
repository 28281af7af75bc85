//! Cues in the packaging: what is heard goes to the state machine of breaks, and what that decides to
//! the segmenter, the journal and the timeline, in this order.

use bytes::Bytes;
use packager::grid::splices::{Made, Splices};
use packager::scte35::breaks::Outcome;
use packager::scte35::{Cue, Signal};
use packager::time::{Rounding, Span, Timestamp};

use super::Packaging;
use crate::store::CuesRecord;

/// How long before its frame a worker has to hear of a splice: frames are encoded when they are due, and
/// the message passes the coded pictures on its way.
const LEAD: Span = Span::millis(250);

/// When something is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum When {
    /// At this frame, in video ticks.
    At(i64),
    /// At once.
    Now,
}

impl Packaging {
    /// Obeys a signal of `section` at `now`. `None` where nothing is on the air: there is nothing to cut.
    pub(in crate::channel) async fn hear(
        &mut self,
        signal: &Signal,
        section: &Bytes,
        when: When,
        now: Timestamp,
    ) -> Option<Outcome> {
        let mut made = self.made()?;
        let scale = self.format.grid.video_scale();
        let lead = LEAD.ticks_in(scale, Rounding::Ceil).cast_signed();
        let now = now.ticks_in(scale, Rounding::Floor);
        made.until = made.until.max(now.saturating_add(lead));
        let wish = match when {
            When::At(at) => at,
            When::Now => self.breaks.at_once(now),
        };
        let outcome = self.breaks.take(signal, section, wish, made);
        self.follow_cues().await;
        self.publish();
        Some(outcome)
    }

    /// The cue called `id`.
    pub(in crate::channel) fn cue(&self, id: &str) -> Option<&Cue> {
        self.breaks.cue(id)
    }

    /// The cues, by acceptance.
    pub(in crate::channel) fn cues(&self) -> &[Cue] {
        self.breaks.cues()
    }

    /// Where a message without a time is obeyed whose place in the stream is `at`.
    pub(in crate::channel) fn at_once(&self, at: i64) -> i64 {
        self.breaks.at_once(at)
    }

    /// Which boundaries lie elsewhere.
    pub(in crate::channel) fn splices(&self) -> &Splices {
        self.breaks.splices()
    }

    /// What is made of the run on the air.
    fn made(&self) -> Option<Made> {
        let current = self.current.as_ref()?;
        let until = current.segmenter.furthest().unwrap_or(current.run.start);
        Some(Made { until, first_k: current.run.first_k })
    }

    /// Moves cues on to what has been made since. Whether one has changed.
    pub(super) async fn advance_cues(&mut self) -> bool {
        if self.breaks.cues().is_empty() {
            return false;
        }
        let Some(made) = self.made() else { return false };
        let mut changed = self.breaks.advance(made);
        let first = self.timeline.as_ref().and_then(|timeline| timeline.first_start());
        if let Some(first) = first {
            changed |= !self.breaks.forget_before(first).is_empty();
        }
        if changed {
            self.follow_cues().await;
        }
        changed
    }

    /// A run is to begin with segment `first_k`, where cues may have moved the boundary.
    pub(super) async fn clear_way_for_run(&mut self, first_k: u64) {
        if self.breaks.cues().is_empty() {
            return;
        }
        let until = self.made().map_or(i64::MIN, |made| made.until);
        self.breaks.begin_run(Made { until, first_k });
        self.follow_cues().await;
    }

    /// Carries out what has been decided.
    async fn follow_cues(&mut self) {
        let (cues, splices) = (self.breaks.cues(), self.breaks.splices());
        if let Some(current) = &mut self.current {
            current.segmenter.follow(splices);
        }
        let is_there = |id: &String| cues.iter().any(|cue| cue.id == *id);
        let known = |cue: &&Cue| self.told.iter().any(|told| told == *cue);
        let record = CuesRecord {
            splices: splices.clone(),
            told: cues.iter().filter(|cue| !known(cue)).cloned().collect(),
            gone: self.told.iter().map(|cue| cue.id.clone()).filter(|id| !is_there(id)).collect(),
        };
        self.told = cues.to_vec();
        self.store.remember_cues(record).await;
        self.tell_cues();
    }

    /// Puts the cues on the timeline.
    pub(super) fn tell_cues(&mut self) {
        let listed = self.breaks.cues().iter().filter(|cue| cue.is_listed()).cloned();
        if let Some(timeline) = &mut self.timeline {
            timeline.tell_cues(listed.collect());
        }
    }
}
