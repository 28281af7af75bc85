//! The channel's task: one loop that owns everything about a channel.
//!
//! ```text
//! publisher ─► intake, backlog ─► encoder ─► packaging ─► store, snapshot
//!                 │ (rate and ladder decided once, then stored as the channel's format)
//! ```
//! The loop waits for four things: a new publisher (who takes over at once), the publisher's next
//! unit, what the encoder makes, and the end of `hold`. Without a source the encoder goes on by
//! itself, so the output never waits. One that dies or hangs is started again with the backlog,
//! slower each time it fails young; what it did not make in time is filled. A pass-through channel
//! has no encoder: the source's own samples go to the packaging by way of [`super::passing`].
//!
//! It cuts nothing and encodes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingest::av::protocol::{ClockBase, Stats};
use ingest::av::rate::RateFinder;
use ingest::av::supervisor::{LadderConfig, Output};
use ingest::hub::{Closed, Session, Subscription};
use ingest::source::{DataMessage, Protocol, SourceSample, Unit};
use packager::media::Rendition;
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, rescale};
use packager::timeline::{Format, Snapshot, State};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backlog::Backlog;
use super::encoder::{Encoder, Event, at};
use super::incidents::{Cause, Happening, Incidents};
use super::intake::Intake;
use super::making::{self, Making};
use super::overload::{Load, Overload, RungLoad};
use super::packaging::{Begun, Packaging};
use super::passing::{Known, Passing, Queued};
use super::status::{Health, LeftOut, RenditionStatus, RepairKind, SourceStatus, Status};
use crate::admission::{Admission, Admitted, pixels_per_second};
use crate::backoff::Backoff;
use crate::clock::{Ahead, Clock as _};
use crate::config;
use crate::store::ChannelStore;
use crate::telemetry::metrics::ChannelMetrics;

/// Upper bound of the time from the end of a part to its being fetchable (DESIGN §4).
const PUBLISH_DELAY: Span = Span::millis(150);
/// How often the status is brought up to date without an event.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// A source without a picture for so long is told to people: some send sound for seconds first.
const PICTURE_WITHIN: Duration = Duration::from_secs(10);
/// The longest pause before an encoder that died is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A run that begins later than this lies ahead of the clock: its channel's numbers were used by a
/// clock that was wrong.
const AHEAD: Duration = Duration::from_secs(10);

/// What a channel's task is made of.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: config::Channel,
    pub(crate) clock: Arc<Ahead>,
    pub(crate) store: Arc<ChannelStore>,
    pub(crate) metrics: ChannelMetrics,
    /// Where the channel's work counts for as long as it is on the air.
    pub(crate) admission: Arc<Admission>,
    /// The program to run as a worker.
    pub(crate) program: PathBuf,
    pub(crate) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(crate) status: watch::Sender<Arc<Status>>,
}

/// Everything about one channel.
struct Task {
    context: Context,
    source: Option<Source>,
    /// What an encoder needs to begin with the newest source, also after that has gone.
    backlog: Backlog,
    /// What the channel makes, once it is fixed, and the packaging that follows from it.
    making: Option<(Making, Packaging)>,
    encoder: Option<Encoder>,
    /// Which rungs the machine can bear.
    overload: Option<Overload>,
    /// The source of a pass-through channel, which has no encoder.
    passing: Passing,
    backoff: Backoff,
    /// When an encoder that was lost may start again.
    restart_at: Option<Instant>,
    /// When a channel without a source ends, or an ended one goes off the air.
    deadline: Option<Instant>,
    incidents: Incidents,
    /// When the clock will have reached a run that lies ahead of it.
    ahead_until: Option<Instant>,
    status: Status,
}

/// A publisher who is there.
struct Source {
    session: Session,
    intake: Intake,
    rate: RateFinder,
    /// The frame rate, once it is found.
    found: Option<FrameRate>,
    /// By when it should have sent a picture.
    picture_by: Option<Instant>,
    status: SourceStatus,
}

/// Runs a channel until cancelled. Its status is right when this returns, before anything runs: a
/// viewer who comes first must not be sent away.
pub(crate) fn run(
    context: Context,
    subscription: Subscription,
    cancelled: CancellationToken,
) -> impl Future<Output = ()> {
    let mut task = Task::new(context);
    task.report();
    attend(task, subscription, cancelled)
}

async fn attend(mut task: Task, mut subscription: Subscription, cancelled: CancellationToken) {
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let fill_at = task.fill_at();
        tokio::select! {
            biased;
            () = cancelled.cancelled() => break,
            event = next_event(&mut task.encoder) => task.take_event(event).await,
            session = subscription.next() => match session {
                Some(session) => task.take_source(session).await,
                None => break,
            },
            unit = next_unit(&mut task.source) => match unit {
                Some(unit) => task.take_unit(unit).await,
                None => task.lose_source().await,
            },
            () = at(fill_at) => task.fill().await,
            () = at(task.restart_at) => task.start_encoder(),
            () = at(task.deadline) => task.pass_deadline().await,
            _ = tick.tick() => task.look_around(),
        }
    }
    task.stop().await;
}

/// What comes next of the encoder, or never while there is none.
async fn next_event(encoder: &mut Option<Encoder>) -> Event {
    match encoder {
        Some(encoder) => encoder.next().await,
        None => std::future::pending().await,
    }
}

/// The source's next unit, or never while there is none.
async fn next_unit(source: &mut Option<Source>) -> Option<Unit> {
    match source {
        Some(source) => source.session.next().await,
        None => std::future::pending().await,
    }
}

impl Task {
    fn new(context: Context) -> Self {
        let mut status = Status { since: context.clock.now_millis(), ..Status::default() };
        let mut incidents = Incidents::default();
        let left = left_of_hold(&context);
        if let Some(left) = left {
            info!(
                channel = %context.config.name,
                seconds = left.as_secs(),
                "the channel was on the air; it waits for its source"
            );
            (status.state, status.interrupted) = (Health::Holding, true);
            let words = "the server was started again; the source has not come back yet";
            incidents.open(Cause::SourceLost, status.since, words);
        }
        Self {
            context,
            source: None,
            backlog: Backlog::default(),
            making: None,
            encoder: None,
            overload: None,
            passing: Passing::default(),
            backoff: Backoff::up_to(LONGEST_PAUSE),
            restart_at: None,
            deadline: left.map(|left| Instant::now() + left),
            incidents,
            ahead_until: None,
            status,
        }
    }

    /// A new publisher: the newest with the right key wins.
    async fn take_source(&mut self, session: Session) {
        info!(channel = %self.context.config.name, peer = %session.peer, "source arrived");
        let from = format!("{} from {}", protocol_word(session.protocol), session.peer);
        if let Some(old) = self.source.take() {
            old.session.close(Closed::TakenOver);
            self.tell_encoder_source_lost();
            self.context.metrics.takeovers.inc();
            self.happened(Happening::TakenOver, format!("a newer source took over: {from}"));
        } else {
            self.happened(Happening::SourceArrived, format!("a source came: {from}"));
        }
        self.over(&Cause::SourceLost);
        self.over(&Cause::NoPicture);
        let status = SourceStatus {
            protocol: protocol_word(session.protocol).into(),
            peer: session.peer.to_string(),
            ..SourceStatus::default()
        };
        self.backlog = Backlog::new(self.encoder.is_some());
        self.source = Some(Source {
            session,
            intake: Intake::new(),
            rate: RateFinder::new(self.context.config.fps),
            found: None,
            picture_by: Some(Instant::now() + PICTURE_WITHIN),
            status,
        });
        if self.status.state == Health::Ended
            && let Some((_, packaging)) = &mut self.making
        {
            packaging.forget_window();
        }
        self.deadline = None;
        self.enter(if self.on_air() { Health::Live } else { Health::Starting });
        self.report();
    }

    /// Whether viewers have something that goes on: a run, or segments that another will follow.
    fn on_air(&self) -> bool {
        self.encoder.as_ref().is_some_and(Encoder::has_begun)
            || self.context.snapshots.borrow().as_ref().is_some_and(|s| s.state == State::Live)
    }

    /// One unit of the source.
    async fn take_unit(&mut self, unit: Unit) {
        let Some(source) = &mut self.source else { return };
        source.intake.observe(&unit);
        self.backlog.keep(&unit);
        match &unit {
            Unit::VideoConfig(config) => {
                if let Some(rate) = config.rate {
                    source.rate.claim(rate);
                }
            }
            Unit::AudioConfig(_) => {}
            Unit::Video(sample) => {
                source.picture_by = None;
                self.incidents.close(&Cause::NoPicture, self.context.clock.now_millis());
                let at = sample.dts.ticks_in(Timescale::MICROS, Rounding::Nearest);
                if source.found.is_none()
                    && let Some(decision) = source.rate.push(at)
                {
                    source.found = Some(decision.rate);
                }
                self.context.metrics.ingest_frames.inc();
                self.context.metrics.ingest_bytes.inc_by(sample.data.len() as u64);
            }
            Unit::Audio(sample) => {
                self.context.metrics.ingest_bytes.inc_by(sample.data.len() as u64);
            }
            Unit::Data(data) => {
                if let Some(rate) = claimed_rate(data) {
                    source.rate.claim_thousandths(rate);
                }
                debug!(channel = %self.context.config.name, name = %data.name, "data message");
            }
        }
        if self.context.config.pass_through {
            self.pass(&unit).await;
        } else if let Some(encoder) = &mut self.encoder {
            encoder.feed(&unit);
        } else if self.restart_at.is_none() && self.decide_format() {
            self.start_encoder();
        }
    }

    /// One unit of a source that is packaged as it is.
    async fn pass(&mut self, unit: &Unit) {
        if self.passing.configure(unit) {
            info!(channel = %self.context.config.name, "the source has another configuration");
            self.rejoin();
        }
        let (Unit::Video(SourceSample { received, .. })
        | Unit::Audio(SourceSample { received, .. })) = unit
        else {
            return;
        };
        let ago = i64::try_from(received.elapsed().as_nanos()).unwrap_or(0);
        let now = self.context.clock.now().ticks_in(Timescale::NANOS, Rounding::Nearest);
        let Some(sample) = self.passing.sample(unit, now.saturating_sub(ago)) else { return };
        if self.passing.is_on() {
            self.pass_sample(sample).await;
            if self.passing.is_off() {
                info!(channel = %self.context.config.name, "the source's clock is too far off");
                self.rejoin();
            }
        } else {
            self.passing.wait(sample);
            self.join().await;
        }
    }

    /// Begins a run of the source's own samples, once there is enough of them.
    async fn join(&mut self) {
        let Context { config, store, snapshots, metrics, .. } = &self.context;
        let packaging = self.making.as_ref().map(|(_, packaging)| packaging);
        let end = packaging.and_then(Packaging::source_end);
        let on_air = snapshots.borrow().clone().filter(|s| s.state == State::Live);
        let known = Known {
            grid: self.making.as_ref().map(|(making, _)| &making.grid),
            codec: on_air.as_ref().and_then(|s| s.renditions.first()?.video().map(|v| v.codec)),
            end: end.map(|end| end.ticks_in(Timescale::NANOS, Rounding::Ceil)),
            found: self.source.as_ref().and_then(|source| source.found),
        };
        let joined = match self.passing.join(known) {
            Ok(Some(joined)) => joined,
            Ok(None) => return,
            Err(refusal) => return self.refuse(refusal.to_string()).await,
        };
        if self.making.is_none() {
            let scale = joined.rate().timescale();
            let gop = rescale(joined.gop, Timescale::NANOS, scale, Rounding::Nearest);
            let gop = gop.max(1).unsigned_abs();
            let (rate, audio_rate) = (joined.rate(), joined.audio_rate());
            let making = Making::of_source(config, store.recovered(), rate, audio_rate, gop);
            info!(channel = %config.name, fps = %rate, gop_ns = joined.gop, "format decided");
            let format =
                Format { grid: making.grid, window: config.window, publish_delay: PUBLISH_DELAY };
            let packaging = Packaging::new(
                Arc::new(format),
                making::wishes(config),
                Arc::clone(store),
                snapshots.clone(),
                metrics.clone(),
            );
            self.making = Some((making, packaging));
        }
        let millis = self.context.clock.now_millis();
        let Some((making, packaging)) = &mut self.making else { return };
        let grid = making.grid;
        let renditions = joined.renditions(&grid);
        let at = rescale(joined.start, Timescale::NANOS, grid.video_scale(), Rounding::Nearest);
        // Rounding must not put it before what is there.
        let at = at.max(end.map_or(at, |end| end.ticks_in(grid.video_scale(), Rounding::Ceil)));
        packaging.begin_source(Arc::clone(&renditions), (at, joined.mute), millis).await;
        self.status.renditions = renditions.iter().map(describe).collect();
        info!(channel = %self.context.config.name, mute = joined.mute, "run began");
        self.happened(Happening::RunBegan, "a new run began".to_owned());
        self.over(&Cause::Refused);
        self.enter(Health::Live);
        for sample in self.passing.begin(joined, &grid) {
            self.pass_sample(sample).await;
        }
        self.report();
    }

    /// Packages a sample of the source.
    async fn pass_sample(&mut self, sample: Queued) {
        let Some((_, packaging)) = &mut self.making else { return };
        let Some(segmenter) = packaging.source_segmenter() else { return };
        let Some((rendition, sample)) = self.passing.place(sample, segmenter) else { return };
        if let Err(error) = packaging.push(rendition, sample).await {
            return self.refuse(error.to_string()).await;
        }
        let listed = self.context.snapshots.borrow().as_ref().and_then(|s| s.first_k());
        if self.status.first_segment.is_none() && listed.is_some() {
            self.report();
        }
    }

    /// The source's run has ended; it begins another. Filler goes on until then.
    fn rejoin(&mut self) {
        self.count_passing_repairs();
        self.passing.rejoin();
        if let Some((_, packaging)) = &mut self.making {
            packaging.lose_encoder();
        }
    }

    /// Tells the publisher why its source is not taken, and goes on without it.
    async fn refuse(&mut self, reason: String) {
        if let Some(source) = &self.source {
            source.session.close(Closed::Rejected(reason.clone()));
            self.lose_source().await;
            self.fail(Cause::Refused, format!("the source was refused: {reason}"));
            self.report();
        }
    }

    /// Counts what was repaired since this was done last.
    fn count_passing_repairs(&mut self) {
        let repairs = self.passing.repairs();
        self.count_repairs(repairs);
    }

    /// Fixes what the channel makes, as soon as enough is known; true once it is fixed.
    fn decide_format(&mut self) -> bool {
        if self.making.is_some() {
            return true;
        }
        let Some(source) = &self.source else { return false };
        let Context { config, store, snapshots, metrics, admission, .. } = &self.context;
        let rate = making::rate(config, store.recovered(), source.found);
        let (Some(video), Some(rate)) = (source.intake.video(), rate) else { return false };
        let size = (video.width, video.height);
        let making = Making::decide(config, store.recovered(), size, rate);
        info!(
            channel = %config.name,
            fps = %rate,
            source = %format_args!("{}x{}", size.0, size.1),
            rungs = making.plan.rungs.len(),
            left_out = making.plan.left_out.len(),
            "format decided"
        );
        let format =
            Format { grid: making.grid, window: config.window, publish_delay: PUBLISH_DELAY };
        let packaging = Packaging::new(
            Arc::new(format),
            making::wishes(config),
            Arc::clone(store),
            snapshots.clone(),
            metrics.clone(),
        );
        let costs = making.plan.rungs.iter().map(|r| pixels_per_second((r.width, r.height), rate));
        let mut overload = Overload::new(&costs.collect::<Vec<_>>(), now());
        if admission.admitted(&config.name) == Some(Admitted::Reduced) {
            overload.reduce();
        }
        self.overload = Some(overload);
        self.making = Some((making, packaging));
        true
    }

    /// Starts an encoder and hands it the backlog. Without a source it goes on from there.
    fn start_encoder(&mut self) {
        self.restart_at = None;
        let Some((making, packaging)) = &self.making else { return };
        self.context.admission.planned(&self.context.config.name, making.work());
        // In a run that is on the air a worker goes on inside the open segment.
        let resume = packaging.is_on_air();
        let config = LadderConfig {
            program: self.context.program.clone(),
            channel: self.context.config.name.to_string(),
            slate: self.context.config.slate.as_ref().map(|slate| slate.image.clone()),
            rungs: making.plan.rungs.clone(),
            grid: making.grid,
            first_k_min: if resume {
                packaging.next_k().saturating_sub(1)
            } else {
                packaging.next_k()
            },
            resume,
            clock: ClockBase {
                utc_minus_monotonic_nanos: self.context.clock.utc_minus_monotonic_nanos(),
            },
        };
        match Encoder::start(config) {
            Ok(mut encoder) => {
                self.backlog.hand_over().iter().for_each(|unit| encoder.feed(unit));
                if self.source.is_none() {
                    encoder.lose_source();
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
    fn schedule_restart(&mut self) {
        self.status.worker_restarts += 1;
        self.context.metrics.worker_restarts.inc();
        self.restart_at = Some(Instant::now() + self.backoff.after_death(Instant::now()));
    }

    /// Something came of the encoder.
    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Output(Output::Started { renditions, first_k, start }) => {
                self.begin_run(renditions, first_k, start).await;
            }
            Event::Output(Output::Sample { rendition, sample, .. }) => {
                self.package(rendition, sample).await;
            }
            Event::Output(Output::Stats(stats)) => self.take_stats(stats),
            Event::Output(Output::Rung { rendition, on, at }) => {
                self.switch_rung(rendition, on, at)
            }
            Event::Output(Output::Exited { reason }) | Event::Lost(reason) => {
                self.lose_encoder(&reason);
            }
        }
    }

    /// Counters run from the worker's start; what they grew by since the last report is new.
    fn take_stats(&mut self, stats: Stats) {
        self.status.latency.ingest_ms = f64::from(stats.ingest_us) / 1000.0;
        self.status.latency.encode_ms = f64::from(stats.encode_us) / 1000.0;
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
        if let Some(change) = self.overload.as_mut().and_then(|o| o.observe(now(), &load(&stats))) {
            info!(channel = %self.context.config.name, ?change, "the machine's load");
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
    }

    /// Tells the encoder which rungs the machine can bear.
    fn set_rungs(&mut self) {
        let (Some((making, _)), Some(overload), Some(encoder)) =
            (&self.making, &self.overload, &mut self.encoder)
        else {
            return;
        };
        let on = (0..making.plan.rungs.len()).filter(|rung| overload.is_on(*rung));
        encoder.set_rungs(on.fold(0, |rungs, rung| rungs | 1 << rung));
    }

    /// The encoder has switched a rung off or on, from the boundary at `at` on.
    fn switch_rung(&mut self, rendition: usize, on: bool, at: i64) {
        let Some((making, packaging)) = &mut self.making else { return };
        packaging.switch(rendition, on, at);
        let Some(rung) = making.plan.rungs.get(rendition) else { return };
        let cause = Cause::RungOff(rung.name.clone());
        if on {
            self.over(&cause);
        } else {
            let words = format!("{} is off: the machine can't keep up with it", rung.name);
            self.fail(cause, words);
        }
    }

    /// Counts repairs made to the source's timestamps.
    fn count_repairs(&mut self, new: impl IntoIterator<Item = (RepairKind, u64)>) {
        for (kind, new) in new.into_iter().filter(|(_, new)| *new > 0) {
            self.context.metrics.repaired(kind.word(), new);
            self.status.timestamp_repairs += new;
            *self.status.repairs.entry(kind).or_default() += new;
        }
    }

    async fn begin_run(&mut self, renditions: Vec<Rendition>, first_k: u64, start: i64) {
        let now = self.context.clock.now();
        let (Some((making, packaging)), Some(encoder)) = (&mut self.making, &mut self.encoder)
        else {
            return;
        };
        let renditions: Arc<[Rendition]> = renditions.into();
        let millis = self.context.clock.now_millis();
        let begun = match packaging.begin(Arc::clone(&renditions), first_k, millis).await {
            Ok(begun) => begun,
            Err(error) => return self.lose_encoder(&error.to_string()),
        };
        let start = Timestamp::new(start, making.grid.video_scale());
        let ahead = until(now, start);
        encoder.begin(ahead);
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

    async fn package(&mut self, rendition: usize, sample: packager::media::Sample) {
        let Some((_, packaging)) = &mut self.making else { return };
        if let Err(error) = packaging.push(rendition, sample).await {
            // The run is broken: the encoder's clock or its key frames are not what they must be.
            self.lose_encoder(&error.to_string());
        }
        // Told at once when the channel becomes playable; later segments wait for the next look.
        let listed = self.context.snapshots.borrow().as_ref().and_then(|s| s.first_k());
        if self.status.first_segment.is_none() && listed.is_some() {
            self.report();
        }
    }

    /// When filler is due, if a run is on the air.
    fn fill_at(&mut self) -> Option<Instant> {
        let (_, packaging) = self.making.as_mut()?;
        let now = self.context.clock.now();
        packaging.fill_at(now).map(|at| Instant::now() + until(now, at))
    }

    /// Completes what the encoder has not made in time.
    async fn fill(&mut self) {
        let now = self.context.clock.now();
        if let Some((_, packaging)) = &mut self.making {
            packaging.fill(now).await;
        }
    }

    /// The encoder is of no use any more: another one goes on, and filler until then.
    fn lose_encoder(&mut self, reason: &str) {
        self.encoder = None;
        if let Some((_, packaging)) = &mut self.making {
            packaging.lose_encoder();
        }
        self.fail(Cause::Encoder, format!("the encoder stopped: {reason}"));
        self.schedule_restart();
    }

    /// The source is gone; what is on the air goes on without it until `hold` has passed.
    async fn lose_source(&mut self) {
        self.source = None;
        self.tell_encoder_source_lost();
        info!(channel = %self.context.config.name, "source lost");
        self.over(&Cause::NoPicture);
        let at = self.context.clock.now_millis();
        self.incidents.open(Cause::SourceLost, at, "the source is gone");
        if self.on_air() || self.status.interrupted {
            self.enter(Health::Holding);
            self.deadline = Some(Instant::now() + self.context.config.hold);
        } else {
            self.end().await;
        }
        self.report();
    }

    fn tell_encoder_source_lost(&mut self) {
        if let Some(encoder) = &mut self.encoder {
            encoder.lose_source();
        }
        if self.context.config.pass_through {
            self.count_passing_repairs();
            self.passing.lose();
            if let Some((_, packaging)) = &mut self.making {
                packaging.lose_encoder();
            }
        }
    }

    /// The end of `hold`, or of an ended channel's window.
    async fn pass_deadline(&mut self) {
        self.deadline = None;
        if self.status.state == Health::Ended {
            if let Some((_, packaging)) = &mut self.making {
                packaging.forget_window();
            }
            self.status.renditions.clear();
            self.enter(Health::Idle);
        } else {
            self.end().await;
        }
        self.report();
    }

    /// Ends the channel: ENDLIST, and off the air after `window`.
    async fn end(&mut self) {
        self.encoder = None;
        self.restart_at = None;
        self.ahead_until = None;
        self.context.admission.release(&self.context.config.name);
        self.incidents.close_all(self.context.clock.now_millis());
        self.backlog = Backlog::default();
        self.status.interrupted = false;
        self.context.store.end().await;
        let window = Duration::from_millis(
            self.context.config.window.ticks_in(Timescale::MILLIS, Rounding::Ceil),
        );
        let listed = self.context.snapshots.borrow().is_some();
        match &mut self.making {
            Some((_, packaging)) if listed => {
                packaging.end().await;
                info!(channel = %self.context.config.name, "channel ended");
                self.happened(Happening::Ended, "the channel ended".to_owned());
                self.enter(Health::Ended);
                self.deadline = Some(Instant::now() + window);
            }
            _ => self.enter(Health::Idle),
        }
    }

    /// The server is going down.
    async fn stop(&mut self) {
        if let Some(source) = self.source.take() {
            source.session.close(Closed::ShuttingDown);
        }
        self.encoder = None;
        if let Some((_, packaging)) = &mut self.making {
            packaging.finish_run().await;
        }
        self.context.store.flush().await;
    }

    /// Something is wrong from now on, until it is [`over`](Self::over).
    fn fail(&mut self, cause: Cause, what: String) {
        warn!(channel = %self.context.config.name, error = %what, "channel trouble");
        self.incidents.open(cause, self.context.clock.now_millis(), what);
    }

    fn over(&mut self, cause: &Cause) {
        self.incidents.close(cause, self.context.clock.now_millis());
    }

    fn happened(&mut self, what: Happening, text: String) {
        self.incidents.note(what, self.context.clock.now_millis(), text);
    }

    fn enter(&mut self, state: Health) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = self.context.clock.now_millis();
        }
    }

    /// What is done now and then.
    fn look_around(&mut self) {
        let late = |by: &mut Instant| *by <= Instant::now();
        if self.source.as_mut().is_some_and(|source| source.picture_by.take_if(late).is_some()) {
            let seconds = PICTURE_WITHIN.as_secs();
            self.fail(
                Cause::NoPicture,
                format!(
                    "the source has sent no picture for {seconds} s; the channel waits for one"
                ),
            );
        }
        if self.ahead_until.take_if(late).is_some() {
            self.over(&Cause::Clock);
        }
        self.count_passing_repairs();
        self.report();
    }

    /// Publishes the status as of now.
    fn report(&mut self) {
        let segment = self.making.as_ref().map(|(making, _)| making.grid.segment());
        let segment = segment
            .map(|s| Duration::from_millis(s.ticks_in(Timescale::MILLIS, Rounding::Nearest)));
        let found = self.source.as_mut().map(|source| source.intake.take_found());
        self.count_repairs(found.into_iter().flatten());
        self.status.source = self.source.as_mut().map(|source| {
            source.intake.describe(&mut source.status, segment, std::time::Instant::now());
            source.status.clone()
        });
        if let Some((making, packaging)) = &self.making {
            let millis = |span: Span| span.ticks as f64 * 1000.0 / f64::from(span.scale.get());
            self.status.segment_ms = Some(millis(making.grid.segment()).round() as u64);
            self.status.part_ms = Some((millis(making.grid.part()) * 10.0).round() / 10.0);
            self.status.fps = Some(making.grid.rate.to_string());
            self.status.left_out = making
                .plan
                .left_out
                .iter()
                .map(|l| LeftOut { name: l.name.to_string(), reason: l.reason.clone() })
                .collect();
            self.status.latency.package_ms = packaging.mean_publish_ms();
        }
        self.status.clock_ahead_ms = self.context.clock.nanos().unsigned_abs() / 1_000_000;
        let listed = self.context.snapshots.borrow().clone();
        self.status.first_segment = listed.as_ref().and_then(|s| s.first_k());
        self.status.last_segment = listed.as_ref().and_then(|s| s.last_k());
        self.status.interrupted &= self.status.last_segment.is_none();
        self.status.last_error = self.incidents.trouble().map(str::to_owned);
        self.status.events = self.incidents.events().to_vec();
        let source = self.status.source.as_ref();
        let gop = source.and_then(|source| source.gop_seconds);
        let skew_ms = source.and_then(|source| source.av_skew_ms);
        self.context.metrics.gop.set(gop.unwrap_or(0.0));
        self.context.metrics.av_skew.set(skew_ms.unwrap_or(0.0) / 1_000.0);
        self.context.metrics.state(self.status.state.word());
        self.context.status.send_replace(Arc::new(self.status.clone()));
    }
}

/// Whether a worker made everything between two reports, in real time and of a source's pictures:
/// what it took for that is what its ladder costs.
fn kept_up(before: &Stats, now: &Stats) -> bool {
    let real_time = (90..=110).contains(&now.speed_percent);
    let whole = now.skipped == before.skipped && now.rungs.iter().all(|rung| rung.on);
    real_time && whole && now.decoded > before.decoded && before.cpu_ms > 0
}

/// What a worker says of its load.
fn load(stats: &Stats) -> Load {
    let rungs = stats.rungs.iter().map(|rung| RungLoad {
        lag: Duration::from_millis(rung.lag_ms.into()),
        frozen_percent: rung.frozen_percent,
    });
    Load { rungs: rungs.collect(), speed_percent: stats.speed_percent }
}

/// The monotonic clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// How long a channel that was on the air when an earlier process ended still waits for its source,
/// as if it had lost it then; `None` if it does not.
fn left_of_hold(context: &Context) -> Option<Duration> {
    let recovered = context.store.recovered();
    let begun = recovered.newest_start().filter(|_| recovered.live)?;
    context.config.hold.checked_sub(until(begun, context.clock.now()))
}

/// How long from one instant to another; nothing if that has passed.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
    Duration::from_nanos(u64::try_from(nanos(then).saturating_sub(nanos(now))).unwrap_or(0))
}

/// A protocol as the status names it.
fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtmp => "rtmp",
    }
}

/// The frame rate that a metadata message claims, in thousandths of a frame per second.
fn claimed_rate(data: &DataMessage) -> Option<u32> {
    let rate = data.values.iter().find_map(|value| value.get("framerate")?.as_f64())?;
    (data.name == "onMetaData" && rate > 0.0 && rate < 1000.0)
        .then(|| (rate * 1000.0).round() as u32)
}

fn describe(rendition: &Rendition) -> RenditionStatus {
    RenditionStatus {
        name: rendition.name.to_string(),
        codec: rendition.track.config.codec_string().to_owned(),
        size: rendition.video().map(|video| (video.width, video.height)),
        bitrate: rendition.average_bitrate,
    }
}

#[cfg(test)]
mod tests;
