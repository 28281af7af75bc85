//! The channel's task: one loop that owns everything about a channel.
//!
//! ```text
//! publisher ─► intake, backlog ─► encoder ─► packaging ─► store, snapshot
//!                 │ (rate and ladder decided once, then stored as the channel's format)
//! ```
//! The loop waits for five things: a new publisher (who takes over at once), the publisher's next
//! unit, what the encoder makes, orders for cues, and the end of `hold`. Without a source the encoder goes on by
//! itself, so the output never waits. One that dies or hangs is started again with the backlog,
//! slower each time it fails young; what it did not make in time is filled. A pass-through channel
//! has no encoder: the source's own samples go to the packaging by way of [`super::passing`].
//!
//! It cuts nothing and encodes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingest::av::rate::RateFinder;
use ingest::hub::{Closed, Session, Subscription};
use ingest::source::{DataMessage, Unit};
use packager::grid::Grid;
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Format, Snapshot, State};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backlog::Backlog;
use super::cues::Order;
use super::encoder::{Encoder, Event, at};
use super::incidents::{Cause, Happening, Incidents};
use super::intake::Intake;
use super::making::{self, Making};
use super::overload::Overload;
use super::packaging::Packaging;
use super::passing::Passing;
use super::preview::Preview;
use super::stages::Stages;
use super::status::{Health, SourceStatus, Status};
use crate::admission::{Admission, Admitted, pixels_per_second};
use crate::backoff::Backoff;
use crate::clock::{Ahead, Clock as _};
use crate::config;
use crate::store::{ChannelStore, Left};
use crate::telemetry::metrics::ChannelMetrics;

mod cues;
mod encoding;
mod pass_through;
mod report;
mod restore;

pub(super) use report::describe;

/// Upper bound of the time from the end of a part to its being fetchable.
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
    /// What is asked of the channel's cues.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// Where pictures are shown as they are made.
    pub(crate) preview: Arc<Preview>,
}

impl Context {
    /// The packaging of a channel whose format has just been fixed.
    fn packaging(&self, grid: Grid) -> Packaging {
        let window = self.config.window;
        Packaging::new(
            Arc::new(Format { grid, window, publish_delay: PUBLISH_DELAY }),
            making::wishes(&self.config),
            Arc::clone(&self.store),
            self.snapshots.clone(),
            self.metrics.clone(),
            &self.config.cues,
        )
    }
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
    /// Whether the source of a pass-through channel goes through an encoder, since it can't be packaged
    /// as it is.
    encoding: bool,
    backoff: Backoff,
    /// When an encoder that was lost may start again.
    restart_at: Option<Instant>,
    /// When an encoder starts without a source, after a restart of the server.
    slate_at: Option<Instant>,
    /// Whether the next encoder can't go on in the run that is on the air.
    next_run: bool,
    /// What an earlier process left, until the channel goes on with it.
    left: Option<Left>,
    /// When a channel without a source ends, or an ended one goes off the air.
    deadline: Option<Instant>,
    incidents: Incidents,
    cues: cues::Cues,
    /// When the clock will have reached a run that lies ahead of it.
    ahead_until: Option<Instant>,
    /// How long pictures take.
    stages: Stages,
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
    let mut viewers = task.context.preview.watching();
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    task.restore().await;
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
            order = next_order(&mut task.context.orders) => task.take_order(order).await,
            unit = next_unit(&mut task.source) => match unit {
                Some(unit) => task.take_unit(unit).await,
                None => task.lose_source().await,
            },
            // The sender lives as long as the task's context.
            _ = viewers.changed() => task.take_viewers(*viewers.borrow()),
            () = at(fill_at) => task.fill().await,
            () = at(task.restart_at) => task.start_encoder(),
            () = at(task.slate_at) => task.start_encoder(),
            () = at(task.deadline) => task.pass_deadline().await,
            _ = tick.tick() => task.look_around(subscription.doorway()),
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

/// What is asked of the channel's cues next, or never where nobody can ask.
async fn next_order(orders: &mut mpsc::Receiver<Order>) -> Order {
    match orders.recv().await {
        Some(order) => order,
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
        let left = restore::restorable(&context);
        let wait = left_of_hold(&context, left.as_ref());
        if left.is_some() || wait.is_some() {
            (status.state, status.interrupted) = (Health::Holding, true);
        }
        if let Some(wait) = wait {
            info!(
                channel = %context.config.name,
                seconds = wait.as_secs(),
                "the channel was on the air; it waits for its source"
            );
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
            encoding: false,
            backoff: Backoff::up_to(LONGEST_PAUSE),
            restart_at: None,
            slate_at: None,
            next_run: false,
            left,
            deadline: wait.map(|wait| Instant::now() + wait),
            incidents,
            cues: cues::Cues::default(),
            ahead_until: None,
            stages: Stages::default(),
            status,
        }
    }

    /// A new publisher: the newest with the right key wins.
    async fn take_source(&mut self, session: Session) {
        info!(channel = %self.context.config.name, peer = %session.peer, "source arrived");
        let from = format!("{} from {}", session.protocol.word(), session.peer);
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
        self.over(&Cause::Absent);
        if self.context.config.pass_through {
            self.expect_source();
        }
        let status = SourceStatus {
            protocol: session.protocol.word().into(),
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
        self.slate_at = None;
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
                if let Some(rate) = config.rate() {
                    source.rate.claim(rate);
                }
                if let Some(rung) = self.outgrown() {
                    warn!(
                        channel = %self.context.config.name,
                        height = config.size().1,
                        %rung,
                        "the ladder was planned for a smaller source: change `ladder` to plan anew"
                    );
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
                self.take_cue_message(data).await;
            }
            Unit::Section(section) => {
                self.context.metrics.ingest_sections.inc();
                self.take_section(section).await;
            }
            Unit::Notice(words) => {
                warn!(channel = %self.context.config.name, notice = %words, "the source is not as it should be");
            }
        }
        if self.context.config.pass_through && !self.encoding {
            self.pass(&unit).await;
        } else if let Some(encoder) = &mut self.encoder {
            encoder.feed(&unit);
        } else if self.restart_at.is_none() && self.decide_format() {
            self.start_encoder();
        }
    }

    /// Fixes what the channel makes, as soon as enough is known; true once it is fixed.
    fn decide_format(&mut self) -> bool {
        if self.making.is_some() {
            return true;
        }
        let Some(source) = &self.source else { return false };
        let Context { config, store, .. } = &self.context;
        let rate = making::rate(config, store.recovered(), source.found);
        let (Some(video), Some(rate)) = (source.intake.video(), rate) else { return false };
        let size = video.size();
        let making = Making::decide(config, store.recovered(), size, rate);
        info!(
            channel = %config.name,
            fps = %rate,
            source = %format_args!("{}x{}", size.0, size.1),
            rungs = making.plan.rungs.len(),
            left_out = making.plan.left_out.len(),
            "format decided"
        );
        let packaging = self.context.packaging(making.grid);
        self.fix(making, packaging);
        true
    }

    /// Fixes what the channel makes.
    fn fix(&mut self, making: Making, packaging: Packaging) {
        let Context { config, admission, .. } = &self.context;
        let rungs = making.plan.rungs.iter();
        let costs = rungs.map(|r| pixels_per_second((r.width, r.height), making.grid.rate));
        let mut overload = Overload::new(&costs.collect::<Vec<_>>(), now());
        if admission.admitted(&config.name) == Some(Admitted::Reduced) {
            overload.reduce();
        }
        self.context.preview.set_shed(overload.sheds());
        self.overload = Some(overload);
        self.making = Some((making, packaging));
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
        self.encoding = false;
        self.context.preview.end();
        (self.restart_at, self.slate_at, self.next_run) = (None, None, false);
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
            packaging.complete().await;
        }
        self.context.store.flush().await;
    }
}

/// The monotonic clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// How long a channel that was on the air when an earlier process ended still waits for its source,
/// as if it had lost it then; `None` if it does not.
fn left_of_hold(context: &Context, left: Option<&Left>) -> Option<Duration> {
    let recovered = context.store.recovered();
    let end = left.and_then(Left::end).or_else(|| recovered.newest_start());
    let end = end.filter(|_| recovered.live)?;
    context.config.hold.checked_sub(until(end, context.clock.now()))
}

/// How long from one instant to another; nothing if that has passed.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
    Duration::from_nanos(u64::try_from(nanos(then).saturating_sub(nanos(now))).unwrap_or(0))
}

/// The frame rate that a metadata message claims, in thousandths of a frame per second.
fn claimed_rate(data: &DataMessage) -> Option<u32> {
    let rate = data.values.iter().find_map(|value| value.get("framerate")?.as_f64())?;
    (data.name == "onMetaData" && rate > 0.0 && rate < 1000.0)
        .then(|| (rate * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests;
