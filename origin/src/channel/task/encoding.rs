//! The task of a channel with a ladder: its encoder, what comes of it, and what replaces it when it is
//! late or gone.

use std::sync::Arc;
use std::time::Duration;

use ingest::av::protocol::{ClockBase, Stats};
use ingest::av::supervisor::{LadderConfig, Output};
use packager::media::{Rendition, Sample};
use packager::time::{Rounding, Timescale, Timestamp};
use tokio::time::Instant;
use tracing::info;

use super::report::describe;
use super::{AHEAD, Task, now, until};
use crate::channel::encoder::{Encoder, Event};
use crate::channel::incidents::{Cause, Happening};
use crate::channel::overload::{Load, Overload, RungLoad};
use crate::channel::packaging::Begun;
use crate::channel::status::{Health, PictureFault, RepairKind};
use crate::clock::Clock as _;

/// A picture received this long after its place has been put there to fill a run's beginning.
const LEAD_IN: Duration = Duration::from_secs(1);

impl Task {
    /// Starts an encoder and hands it the backlog. Without a source it goes on from there.
    pub(super) fn start_encoder(&mut self) {
        (self.restart_at, self.slate_at) = (None, None);
        let Some((making, packaging)) = &self.making else { return };
        self.context.admission.planned(&self.context.config.name, making.work());
        // In a run that is on the air a worker goes on inside the open segment, unless another run has
        // to begin: filler must not get there before that.
        let on_air = packaging.is_on_air() && !self.encoding;
        let resume = on_air && !self.next_run;
        // Numbers of a source's run are not those of the grid, times are.
        let behind = packaging.source_end().map_or(0, |end| {
            let end = end.ticks_in(making.grid.video_scale(), Rounding::Ceil);
            making.grid.number_at(end) + 1
        });
        let first_k_min = match (self.encoding, on_air, resume) {
            (true, ..) => behind,
            (false, true, true) => packaging.next_k().saturating_sub(1),
            (false, true, false) => packaging.next_k().saturating_add(1),
            (false, false, _) => packaging.next_k(),
        };
        let config = LadderConfig {
            program: self.context.program.clone(),
            channel: self.context.config.name.to_string(),
            slate: self.context.config.slate.as_ref().map(|slate| slate.image.clone()),
            slate_after: self.context.config.slate_after,
            rungs: making.plan.rungs.clone(),
            grid: making.grid,
            first_k_min,
            resume,
            clock: ClockBase {
                utc_minus_monotonic_nanos: self.context.clock.utc_minus_monotonic_nanos(),
            },
        };
        match Encoder::start(config) {
            Ok(mut encoder) => {
                if !packaging.splices().is_empty() {
                    encoder.set_splices(packaging.splices());
                }
                self.backlog.hand_over().iter().for_each(|unit| encoder.feed(unit));
                if self.source.is_none() {
                    encoder.lose_source();
                }
                if self.context.preview.viewers() > 0 {
                    encoder.set_opus(true);
                }
                self.encoder = Some(encoder);
                if let Some(overload) = &mut self.overload {
                    overload.restart(now());
                    if !overload.is_whole() {
                        self.set_rungs();
                    }
                }
            }
            Err(error) => {
                self.fail(Cause::Encoder, format!("the encoder does not start: {error}"));
                self.schedule_restart();
            }
        }
    }

    /// Notes that the encoder must start again, when it may.
    pub(super) fn schedule_restart(&mut self) {
        self.status.worker_restarts += 1;
        self.context.metrics.worker_restarts.inc();
        self.restart_at = Some(Instant::now() + self.backoff.after_death(Instant::now()));
    }

    /// Something came of the encoder.
    pub(super) async fn take_event(&mut self, event: Event) {
        match event {
            Event::Output(Output::Started { renditions, first_k, start }) => {
                self.begin_run(renditions, first_k, start).await;
            }
            Event::Output(Output::Sample { rendition, sample, captured, received, .. }) => {
                self.measure_stages(rendition, &sample, captured);
                self.preview(rendition, &sample);
                self.package(rendition, sample, received).await;
            }
            Event::Output(Output::Opus { at, data }) => self.context.preview.heard(at, data),
            Event::Output(Output::Located { id, at }) => self.take_located(id, at).await,
            Event::Output(Output::Stats(stats)) => self.take_stats(stats),
            // A ladder reads no file.
            Event::Output(Output::Film(_)) => {}
            Event::Output(Output::Rung { rendition, on, at }) => {
                self.switch_rung(rendition, on, at)
            }
            Event::Output(Output::Exited { reason }) | Event::Lost(reason) => {
                self.lose_encoder(&reason);
            }
        }
    }

    /// Counters run from the worker's start; what they grew by since the last report is new.
    pub(super) fn take_stats(&mut self, stats: Stats) {
        let metrics = &self.context.metrics;
        metrics.encoder_lag.set(f64::from(stats.lag_ms) / 1000.0);
        let Some(encoder) = &mut self.encoder else { return };
        let (before, elapsed) = encoder.note_stats(stats.clone());
        if let Some((making, _)) = &self.making
            && kept_up(&before, &stats)
        {
            let cpu = Duration::from_millis(stats.cpu_ms.saturating_sub(before.cpu_ms));
            self.context.admission.report(making.work(), cpu, elapsed);
        }
        let load = load(&stats, self.context.preview.viewers() > 0);
        if let Some(change) = self.overload.as_mut().and_then(|o| o.observe(now(), &load)) {
            info!(channel = %self.context.config.name, ?change, ?load, "the machine's load");
            let shed = self.overload.as_ref().is_some_and(Overload::sheds);
            self.context.preview.set_shed(shed);
            self.set_rungs();
        }
        let jumps = stats.jumps.saturating_sub(before.jumps);
        let ahead = stats.taken_back.saturating_sub(before.taken_back);
        let late = stats.replaced.saturating_sub(before.replaced).saturating_sub(ahead);
        self.count_repairs([
            (RepairKind::Jump, jumps),
            (RepairKind::Late, late),
            (RepairKind::Ahead, ahead),
        ]);
        self.count_picture_faults([
            (PictureFault::Repeated, stats.repeated.saturating_sub(before.repeated)),
            (PictureFault::Dropped, stats.dropped.saturating_sub(before.dropped)),
            (PictureFault::Skipped, stats.skipped.saturating_sub(before.skipped)),
        ]);
    }

    /// Somebody began to watch by WebRTC, or the last one left.
    pub(super) fn take_viewers(&mut self, viewers: u32) {
        if let Some(encoder) = &mut self.encoder {
            encoder.set_opus(viewers > 0);
        }
    }

    /// Tells the encoder which rungs the machine can bear.
    pub(super) fn set_rungs(&mut self) {
        let (Some((making, _)), Some(overload), Some(encoder)) =
            (&self.making, &self.overload, &mut self.encoder)
        else {
            return;
        };
        let on = (0..making.plan.rungs.len()).filter(|rung| overload.is_on(*rung));
        encoder.set_rungs(on.fold(0, |rungs, rung| rungs | 1 << rung));
    }

    /// The encoder has switched a rung off or on, from the boundary at `at` on.
    pub(super) fn switch_rung(&mut self, rendition: usize, on: bool, at: i64) {
        let Some((making, packaging)) = &mut self.making else { return };
        packaging.switch(rendition, on, at);
        let Some(rung) = making.plan.rungs.get(rendition) else { return };
        let cause = Cause::RungOff(rung.name.clone());
        if on {
            self.over(&cause);
        } else {
            let from = Timestamp::new(at, making.grid.video_scale());
            self.context.preview.switched_off(rendition, from);
            let words = format!("{} is off: the machine can't keep up with it", rung.name);
            self.fail(cause, words);
        }
    }

    pub(super) async fn begin_run(&mut self, renditions: Vec<Rendition>, first_k: u64, start: i64) {
        let now = self.context.clock.now();
        let (Some((making, packaging)), Some(encoder)) = (&mut self.making, &mut self.encoder)
        else {
            return;
        };
        let renditions: Arc<[Rendition]> = renditions.into();
        let millis = self.context.clock.now_millis();
        let start = Timestamp::new(start, making.grid.video_scale());
        let ahead = until(now, start);
        encoder.begin(ahead);
        let begun = if self.encoding {
            self.begin_encoded(Arc::clone(&renditions), start.ticks).await
        } else {
            match packaging.begin(Arc::clone(&renditions), first_k, millis).await {
                Ok(begun) => begun,
                Err(error) => {
                    self.next_run = true;
                    return self.lose_encoder(&error.to_string());
                }
            }
        };
        self.next_run = false;
        self.context.preview.begin(&renditions);
        self.status.renditions = renditions.iter().map(describe).collect();
        let (what, words) = match begun {
            Begun::New => (Happening::RunBegan, "a run began"),
            Begun::Resumed => (Happening::RunResumed, "the run goes on"),
        };
        info!(channel = %self.context.config.name, first_k, resumed = matches!(what, Happening::RunResumed), "run began");
        self.happened(what, format!("{words} with segment {first_k}"));
        self.over(&Cause::Encoder);
        if ahead > AHEAD {
            self.ahead_until = Some(Instant::now() + ahead);
            let seconds = ahead.as_secs();
            self.fail(
                Cause::Clock,
                format!(
                    "the clock is {seconds} s behind the channel's last segment; nothing is made \
                     until then"
                ),
            );
        }
        if self.source.is_some() {
            self.enter(Health::Live);
        }
        self.report();
    }

    pub(super) async fn package(
        &mut self,
        rendition: usize,
        sample: Sample,
        received: std::time::Instant,
    ) {
        let Some((_, packaging)) = &mut self.making else { return };
        if let Err(error) = packaging.push(rendition, sample, received).await {
            // The run is broken: the encoder's clock or its key frames are not what they must be.
            self.lose_encoder(&error.to_string());
        }
        // Told at once when the channel becomes playable; later segments wait for the next look.
        let listed = self.context.snapshots.borrow().as_ref().and_then(|s| s.first_k());
        if self.status.first_segment.is_none() && listed.is_some() {
            self.report();
        }
    }

    /// Shows a picture to those who watch by WebRTC.
    fn preview(&self, rendition: usize, sample: &Sample) {
        let Some((making, _)) = &self.making else { return };
        let grid = &making.grid;
        if rendition < making.plan.rungs.len() {
            self.context.preview.encoded(rendition, grid.video_scale(), sample);
        }
    }

    /// Notes how long a coded picture took whose source was received at `captured`, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    fn measure_stages(&mut self, rendition: usize, sample: &Sample, captured: i64) {
        let Some((making, _)) = &self.making else { return };
        if rendition >= making.plan.rungs.len() {
            return;
        }
        let clock = &self.context.clock;
        let now = clock.now().ticks_in(Timescale::NANOS, Rounding::Nearest);
        let received = captured.saturating_add(clock.utc_minus_monotonic_nanos());
        let due = Timestamp::new(sample.pts, making.grid.video_scale());
        let due = due.ticks_in(Timescale::NANOS, Rounding::Nearest);
        let span = |from: i64, to: i64| {
            Duration::from_nanos(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
        };
        // What a run's first picture fills before itself took no time to get there.
        if span(due, received) > LEAD_IN {
            return;
        }
        self.stages.ingest.add(span(received, due));
        self.stages.encode.add(span(due.max(received), now));
    }

    /// When filler is due, if a run is on the air.
    pub(super) fn fill_at(&mut self) -> Option<Instant> {
        let (_, packaging) = self.making.as_mut()?;
        let now = self.context.clock.now();
        packaging.fill_at(now).map(|at| Instant::now() + until(now, at))
    }

    /// Completes what the encoder has not made in time. One that is alive is asked for key frames:
    /// without them all that it makes up to the next boundary would be dropped.
    pub(super) async fn fill(&mut self) {
        let now = self.context.clock.now();
        let Some((_, packaging)) = &mut self.making else { return };
        let overtaken = packaging.fill(now).await;
        if let Some(encoder) = &mut self.encoder {
            encoder.ask_key_frames(&overtaken);
        }
    }

    /// The encoder is of no use any more: another one goes on, and filler until then.
    pub(super) fn lose_encoder(&mut self, reason: &str) {
        self.encoder = None;
        if let Some((_, packaging)) = &mut self.making {
            packaging.lose_encoder();
        }
        self.fail(Cause::Encoder, format!("the encoder stopped: {reason}"));
        self.schedule_restart();
    }

    pub(super) fn tell_encoder_source_lost(&mut self) {
        if let Some(encoder) = &mut self.encoder {
            encoder.lose_source();
        }
        if self.context.config.pass_through && !self.encoding {
            self.count_passing_repairs();
            self.passing.lose();
            if let Some((_, packaging)) = &mut self.making {
                packaging.lose_encoder();
            }
        }
    }
}

/// Whether a worker made everything between two reports, in real time and of a source's pictures:
/// what it took for that is what its ladder costs.
fn kept_up(before: &Stats, now: &Stats) -> bool {
    let real_time = (90..=110).contains(&now.speed_percent);
    let whole = now.skipped == before.skipped && now.rungs.iter().all(|rung| rung.on);
    real_time && whole && now.decoded > before.decoded && before.cpu_ms > 0
}

/// What a worker says of its load, beside previews that are watched or not.
fn load(stats: &Stats, previewed: bool) -> Load {
    let rungs = stats.rungs.iter().map(|rung| RungLoad {
        lag: Duration::from_millis(rung.lag_ms.into()),
        frozen_percent: rung.frozen_percent,
    });
    Load { rungs: rungs.collect(), speed_percent: stats.speed_percent, previewed }
}
