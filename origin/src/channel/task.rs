//! The channel's task: one loop that owns everything about a channel.
//!
//! ```text
//! publisher ─► intake ─► worker ─► packaging ─► store, snapshot
//!                │ (rate and ladder decided once, then stored as the channel's format)
//! ```
//! The loop waits for four things: a new publisher (who takes over at once), the publisher's next
//! unit, what the worker makes, and the end of `hold`. Without a source the worker goes on by
//! itself, so the output never waits. A worker that dies is started again, slower each time it dies
//! young; the segments it did not make are gaps.
//!
//! It cuts nothing and encodes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingest::av::ladder::{self, Plan, Wish};
use ingest::av::protocol::{ClockBase, Stats};
use ingest::av::rate::RateFinder;
use ingest::av::supervisor::{self, Input, LadderConfig, Output};
use ingest::hub::{Closed, Session, Subscription};
use ingest::source::{DataMessage, Unit};
use packager::grid::Grid;
use packager::media::{AudioConfig, Rendition, VideoConfig};
use packager::time::{FrameRate, Rounding, Span, Timescale};
use packager::timeline::{Format, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::intake::Intake;
use super::packaging::Packaging;
use super::restart::Backoff;
use super::status::{Health, LeftOut, RenditionStatus, SourceStatus, Status};
use crate::clock::Clock;
use crate::config;
use crate::store::ChannelStore;
use crate::telemetry::metrics::ChannelMetrics;

/// Sample rate of a ladder's audio.
const AUDIO_RATE: u32 = 48_000;
/// Upper bound of the time from the end of a part to its being fetchable (DESIGN §4).
const PUBLISH_DELAY: Span = Span::millis(150);
/// 1/10^6 s: what the frame rate is found in.
const MICROS: Timescale = match Timescale::new(1_000_000) {
    Some(scale) => scale,
    None => panic!("a million is not zero"),
};
/// How often the status is brought up to date without an event.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// What a channel's task is made of.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: config::Channel,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<ChannelStore>,
    pub(crate) metrics: ChannelMetrics,
    /// The program to run as a worker.
    pub(crate) program: PathBuf,
    pub(crate) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(crate) status: watch::Sender<Arc<Status>>,
}

/// Everything about one channel.
struct Task {
    context: Context,
    source: Option<Source>,
    /// Configurations of the newest source, for a worker that starts in its midst.
    last_video: Option<VideoConfig>,
    last_audio: Option<AudioConfig>,
    /// What the channel makes, once it is fixed.
    making: Option<Making>,
    worker: Option<Worker>,
    backoff: Backoff,
    /// When a worker that died may start again.
    restart_at: Option<Instant>,
    /// When a channel without a source ends, or an ended one goes off the air.
    deadline: Option<Instant>,
    status: Status,
}

/// A publisher who is there.
struct Source {
    session: Session,
    intake: Intake,
    rate: RateFinder,
    /// The frame rate, once it is found.
    found: Option<FrameRate>,
    status: SourceStatus,
}

/// The channel's format and ladder, and the packaging that follows from them.
struct Making {
    grid: Grid,
    plan: Plan,
    packaging: Packaging,
}

/// A running worker.
struct Worker {
    input: Input,
    outputs: mpsc::Receiver<Output>,
    /// Whether it has begun its run.
    started: bool,
    /// What it last said of itself.
    stats: Stats,
}

/// Runs a channel until cancelled.
pub(crate) async fn run(
    context: Context,
    mut subscription: Subscription,
    cancelled: CancellationToken,
) {
    let mut task = Task::new(context);
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => break,
            output = next_output(&mut task.worker) => task.take_output(output).await,
            session = subscription.next() => match session {
                Some(session) => task.take_source(session).await,
                None => break,
            },
            unit = next_unit(&mut task.source) => match unit {
                Some(unit) => task.take_unit(unit).await,
                None => task.lose_source().await,
            },
            () = at(task.restart_at) => task.start_worker(),
            () = at(task.deadline) => task.pass_deadline().await,
            _ = tick.tick() => task.report(),
        }
    }
    task.stop().await;
}

/// The worker's next output, or never while there is none.
async fn next_output(worker: &mut Option<Worker>) -> Option<Output> {
    match worker {
        Some(worker) => worker.outputs.recv().await,
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

/// Resolves at an instant, or never.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl Task {
    fn new(context: Context) -> Self {
        let status = Status { since: context.clock.now_millis(), ..Status::default() };
        Self {
            context,
            source: None,
            last_video: None,
            last_audio: None,
            making: None,
            worker: None,
            backoff: Backoff::default(),
            restart_at: None,
            deadline: None,
            status,
        }
    }

    /// A new publisher: the newest with the right key wins.
    async fn take_source(&mut self, session: Session) {
        info!(channel = %self.context.config.name, peer = %session.peer, "source arrived");
        if let Some(old) = self.source.take() {
            old.session.close(Closed::TakenOver);
            self.tell_worker_source_lost();
        }
        let status = SourceStatus {
            protocol: "rtmp".into(),
            peer: session.peer.to_string(),
            ..SourceStatus::default()
        };
        let rate = RateFinder::new(self.context.config.fps);
        self.source = Some(Source { session, intake: Intake::new(), rate, found: None, status });
        if self.status.state == Health::Ended
            && let Some(making) = &mut self.making
        {
            making.packaging.forget_window();
        }
        self.deadline = None;
        self.enter(if self.encoding() { Health::Live } else { Health::Starting });
        self.report();
    }

    /// Whether a worker has begun its run.
    fn encoding(&self) -> bool {
        self.worker.as_ref().is_some_and(|w| w.started)
    }

    /// One unit of the source.
    async fn take_unit(&mut self, unit: Unit) {
        let Some(source) = &mut self.source else { return };
        source.intake.observe(&unit);
        match &unit {
            Unit::VideoConfig(config) => {
                if let Some(rate) = config.rate {
                    source.rate.claim(rate);
                }
                self.last_video = Some(config.clone());
            }
            Unit::AudioConfig(config) => self.last_audio = Some(config.clone()),
            Unit::Video(sample) => {
                let at = sample.dts.ticks_in(MICROS, Rounding::Nearest);
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
        if let Some(worker) = &mut self.worker {
            // A worker that lags drops up to the next key frame; it never slows the source down.
            worker.input.send(&unit);
            return;
        }
        source.intake.wait(unit);
        if self.restart_at.is_none() && self.decide_format() {
            self.start_worker();
        }
    }

    /// Fixes what the channel makes, as soon as enough is known; true once it is fixed.
    fn decide_format(&mut self) -> bool {
        if self.making.is_some() {
            return true;
        }
        let Some(source) = &self.source else { return false };
        let stored = self.context.store.recovered().format.as_ref();
        let stored_rate = stored.map(|format| format.grid.rate);
        let rate = self.context.config.fps.or(stored_rate).or(source.found);
        let (Some(video), Some(rate)) = (source.intake.video(), rate) else { return false };
        let size = (video.width, video.height);
        let making = self.make(size, rate);
        info!(
            channel = %self.context.config.name,
            fps = %rate,
            source = %format_args!("{}x{}", size.0, size.1),
            rungs = making.plan.rungs.len(),
            left_out = making.plan.left_out.len(),
            "format decided"
        );
        self.making = Some(making);
        true
    }

    /// What the channel makes of a source of this size at this rate.
    fn make(&self, size: (u16, u16), rate: FrameRate) -> Making {
        let config = &self.context.config;
        let wishes: Vec<Wish> = config
            .ladder
            .iter()
            .map(|rung| Wish {
                name: rung.name.clone(),
                height: rung.height,
                bitrate: rung.bitrate,
            })
            .collect();
        // A channel that ran before keeps its rungs, whatever this source's size: players read the
        // multivariant playlist once.
        let stored = self.context.store.recovered().format.as_ref();
        let plan = stored
            .and_then(|format| {
                format.renditions.iter().find_map(|r| r.size.map(|top| (format, top)))
            })
            .map(|(format, top)| (format, ladder::plan(top, &wishes, rate)))
            .filter(|(format, plan)| {
                let names = format.renditions.iter().filter(|r| r.size.is_some()).map(|r| &*r.name);
                names.eq(plan.rungs.iter().map(|rung| rung.name.as_str()))
            })
            .map_or_else(|| ladder::plan(size, &wishes, rate), |(_, plan)| plan);
        let grid = Grid::choose(rate, AUDIO_RATE, config.segment, config.part);
        let format = Format { grid, window: config.window, publish_delay: PUBLISH_DELAY };
        let packaging = Packaging::new(
            Arc::new(format),
            Arc::clone(&self.context.store),
            self.context.snapshots.clone(),
            self.context.metrics.clone(),
        );
        Making { grid, plan, packaging }
    }

    /// Starts a worker and hands it what the source has sent so far.
    fn start_worker(&mut self) {
        self.restart_at = None;
        let Some(making) = &self.making else { return };
        let config = LadderConfig {
            program: self.context.program.clone(),
            rungs: making.plan.rungs.clone(),
            grid: making.grid,
            first_k_min: making.packaging.next_k(),
            clock: ClockBase {
                utc_minus_monotonic_nanos: self.context.clock.utc_minus_monotonic_nanos(),
            },
        };
        let (input, outputs) = match supervisor::spawn(config) {
            Ok(ends) => ends,
            Err(error) => {
                self.fail(format!("the encoder does not start: {error}"));
                return self.schedule_restart();
            }
        };
        let mut worker = Worker { input, outputs, started: false, stats: Stats::default() };
        if let Some(source) = &mut self.source {
            let waiting = source.intake.take_waiting();
            let has_config = waiting.iter().any(|u| matches!(u, Unit::VideoConfig(_)));
            if !has_config {
                if let Some(video) = &self.last_video {
                    worker.input.send(&Unit::VideoConfig(video.clone()));
                }
                if let Some(audio) = &self.last_audio {
                    worker.input.send(&Unit::AudioConfig(audio.clone()));
                }
            }
            for unit in &waiting {
                worker.input.send(unit);
            }
        }
        self.worker = Some(worker);
    }

    /// Notes that the worker must start again, when it may.
    fn schedule_restart(&mut self) {
        self.status.worker_restarts += 1;
        self.context.metrics.worker_restarts.inc();
        self.restart_at = Some(Instant::now() + self.backoff.after_death(Instant::now()));
    }

    /// Something the worker made or said.
    async fn take_output(&mut self, output: Option<Output>) {
        match output {
            Some(Output::Started { renditions, first_k }) => {
                self.begin_run(renditions, first_k).await
            }
            Some(Output::Sample { rendition, sample, .. }) => self.package(rendition, sample).await,
            Some(Output::Stats(stats)) => self.take_stats(stats),
            Some(Output::Exited { reason }) => self.lose_worker(&reason).await,
            None => self.lose_worker("its outputs ended").await,
        }
    }

    /// Counters run from the worker's start; what they grew by since the last report is new.
    fn take_stats(&mut self, stats: Stats) {
        self.status.latency.ingest_ms = f64::from(stats.ingest_us) / 1000.0;
        self.status.latency.encode_ms = f64::from(stats.encode_us) / 1000.0;
        let metrics = &self.context.metrics;
        metrics.encoder_lag.set(f64::from(stats.lag_ms) / 1000.0);
        let Some(worker) = &mut self.worker else { return };
        for (kind, now, before) in [
            ("jump", stats.jumps, worker.stats.jumps),
            ("late", stats.replaced, worker.stats.replaced),
        ] {
            let new = now.saturating_sub(before);
            metrics.repaired(kind, new);
            self.status.timestamp_repairs += new;
        }
        worker.stats = stats;
    }

    async fn begin_run(&mut self, renditions: Vec<Rendition>, first_k: u64) {
        let now = self.context.clock.now_millis();
        let (Some(making), Some(worker)) = (&mut self.making, &mut self.worker) else { return };
        worker.started = true;
        let renditions: Arc<[Rendition]> = renditions.into();
        making.packaging.begin_run(Arc::clone(&renditions), first_k, now).await;
        self.status.renditions = renditions.iter().map(describe).collect();
        info!(channel = %self.context.config.name, first_k, "run began");
        if self.source.is_some() {
            self.enter(Health::Live);
        }
        self.report();
    }

    async fn package(&mut self, rendition: usize, sample: packager::media::Sample) {
        let Some(making) = &mut self.making else { return };
        if let Err(error) = making.packaging.push(rendition, sample).await {
            // The run is broken: the worker's clock or its key frames are not what they must be.
            self.lose_worker(&error.to_string()).await;
        }
    }

    async fn lose_worker(&mut self, reason: &str) {
        // Dropping its input ends a worker that still runs.
        self.worker = None;
        if let Some(making) = &mut self.making {
            making.packaging.finish_run().await;
        }
        self.fail(format!("the encoder stopped: {reason}"));
        self.schedule_restart();
    }

    /// The source is gone; the worker goes on without it until `hold` has passed.
    async fn lose_source(&mut self) {
        self.source = None;
        self.tell_worker_source_lost();
        info!(channel = %self.context.config.name, "source lost");
        if self.encoding() {
            self.enter(Health::Holding);
            self.deadline = Some(Instant::now() + self.context.config.hold);
        } else {
            self.end().await;
        }
        self.report();
    }

    fn tell_worker_source_lost(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.input.source_lost();
        }
    }

    /// The end of `hold`, or of an ended channel's window.
    async fn pass_deadline(&mut self) {
        self.deadline = None;
        if self.status.state == Health::Ended {
            if let Some(making) = &mut self.making {
                making.packaging.forget_window();
            }
            self.enter(Health::Idle);
        } else {
            self.end().await;
        }
        self.report();
    }

    /// Ends the channel: ENDLIST, and off the air after `window`.
    async fn end(&mut self) {
        self.worker = None;
        self.restart_at = None;
        let window = Duration::from_millis(
            self.context.config.window.ticks_in(Timescale::MILLIS, Rounding::Ceil),
        );
        let listed = self.context.snapshots.borrow().is_some();
        match &mut self.making {
            Some(making) if listed => {
                making.packaging.end().await;
                info!(channel = %self.context.config.name, "channel ended");
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
        self.worker = None;
        if let Some(making) = &mut self.making {
            making.packaging.finish_run().await;
        }
        self.context.store.flush().await;
    }

    fn fail(&mut self, what: String) {
        warn!(channel = %self.context.config.name, error = %what, "channel trouble");
        self.status.last_error = Some(what);
    }

    fn enter(&mut self, state: Health) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = self.context.clock.now_millis();
        }
    }

    /// Publishes the status as of now.
    fn report(&mut self) {
        self.status.source = self.source.as_mut().map(|source| {
            source.intake.describe(&mut source.status);
            source.status.clone()
        });
        if let Some(making) = &self.making {
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
            self.status.latency.package_ms = making.packaging.mean_publish_ms();
        }
        let listed = self.context.snapshots.borrow().clone();
        self.status.first_segment = listed.as_ref().and_then(|s| s.first_k());
        self.status.last_segment = listed.as_ref().and_then(|s| s.last_k());
        self.context.metrics.state(self.status.state.word());
        self.context.status.send_replace(Arc::new(self.status.clone()));
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
