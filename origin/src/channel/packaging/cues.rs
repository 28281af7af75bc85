//! Cues in the packaging: what is heard goes to the state machine of breaks, and what that decides to
//! the segmenter, the journal and the timeline, in this order.

use bytes::Bytes;
use packager::dash::Events;
use packager::grid::Cut;
use packager::grid::splices::{Made, Splices};
use packager::scte35::breaks::Outcome;
use packager::scte35::{Cue, Phase, Signal};
use packager::time::{Rounding, Span, Timestamp};
use packager::timeline::{Beginning, Lengths, Timeline};

use super::Packaging;
use crate::channel::cutting::Cutting;
use crate::config::{self, Periods};
use crate::store::CuesRecord;

/// How long before its frame a worker has to hear of a splice: frames are encoded when they are due, and
/// the message passes the coded pictures on its way.
const LEAD: Span = Span::millis(250);

/// How cues are told, as far as packaging has a part in that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// Whether they stand in the segments.
    inband: bool,
    periods: Periods,
}

impl Telling {
    pub(super) fn of(cues: &config::Cues) -> Self {
        Self { inband: cues.dash == Events::Inband, periods: cues.periods }
    }

    /// Tells the segmenter, where cues stand in segments.
    pub(super) fn announce(self, segmenter: &mut Cutting, cues: &[Cue]) {
        if self.inband {
            segmenter.announce(cues);
        }
    }

    /// Where a stretch begins. Where breaks begin Periods, segments are named one by one from the first
    /// run on: no Period changes its kind of addressing.
    pub(super) fn beginning(self, beginning: Beginning) -> Beginning {
        match self.periods {
            Periods::Runs => beginning,
            Periods::Breaks => Beginning { lengths: Lengths::Uneven, ..beginning },
        }
    }

    /// Begins another stretch, and so a Period, with segment `k` if it is the first of a break or the
    /// first behind one, and nothing of it is there yet.
    pub(super) fn begin_period(self, timeline: &mut Timeline, cues: &[Cue], k: u64) {
        if self.periods == Periods::Runs || timeline.newest_run().is_none_or(|run| run.first_k >= k)
        {
            return;
        }
        let breaks = cues.iter().filter(|cue| cue.is_break && cue.is_listed());
        let cut = breaks.flat_map(Cue::cuts).find_map(|(of, at)| (of == k).then_some(at));
        if let Some(start) = cut {
            timeline.shift(self.beginning(Beginning { first_k: k, start, lengths: Lengths::Even }));
        }
    }
}

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
        if self.format.grid.cut == Cut::Grid {
            made.until = made.until.max(now.saturating_add(lead));
        }
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
        self.breaks.advance(made);
        let first = self.timeline.as_ref().and_then(|timeline| timeline.first_start());
        if let Some(first) = first {
            self.breaks.forget_before(first);
        }
        // Where a source was cut is told in between.
        let changed = self.breaks.cues() != self.told;
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
            self.telling.announce(&mut current.segmenter, cues);
        }
        let is_there = |id: &String| cues.iter().any(|cue| cue.id == *id);
        let known = |cue: &&Cue| self.told.iter().any(|told| told == *cue);
        let record = CuesRecord {
            splices: splices.clone(),
            told: cues.iter().filter(|cue| !known(cue)).cloned().collect(),
            gone: self.told.iter().map(|cue| cue.id.clone()).filter(|id| !is_there(id)).collect(),
        };
        let on = |cue: &Cue| cue.is_break && cue.phase == Phase::Active;
        self.metrics.cues.on.set(cues.iter().any(on).into());
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
