//! A channel that another server makes: its timeline as S3 tells it.
//!
//! ```text
//! mirror (S3) ─► timeline ─► snapshot ─► http
//! ```
//! The head of the index is looked at twice a second. Playlists have the primary's head and the same
//! lines for every segment that is whole in S3, and nothing of the one that is being made. Where S3 does
//! not answer, the last snapshot stays. It makes nothing and takes no publisher.

use std::sync::Arc;
use std::time::Duration;

use packager::time::{Rounding, Timescale};
use packager::timeline::{Format, Snapshot, Timeline};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::incidents::{Cause, Incidents};
use super::status::{Health, Status};
use super::task::describe;
use crate::clock::Clock;
use crate::config;
use crate::store::s3::{FarError, Mirror, Mirrored};
use crate::telemetry::metrics::ChannelMetrics;

/// A segment is listed by so much later than it is in S3; players wait that long behind the edge anyway.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a replica's channel is made of.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: config::Channel,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mirror: Mirror,
    pub(crate) metrics: ChannelMetrics,
    pub(crate) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(crate) status: watch::Sender<Arc<Status>>,
}

/// Follows the channel until cancelled.
pub(crate) async fn run(mut context: Context, cancelled: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut following = Following::default();
    // Whoever comes before the first look waits for it.
    following.status.interrupted = true;
    following.status.state = Health::Starting;
    while cancelled.run_until_cancelled(tick.tick()).await.is_some() {
        let look = context.mirror.look();
        let Some(looked) = cancelled.run_until_cancelled(look).await else { break };
        following.take(&context, looked);
    }
}

#[derive(Debug, Default)]
struct Following {
    timeline: Option<Timeline>,
    status: Status,
    incidents: Incidents,
}

impl Following {
    /// Takes what a look has given.
    fn take(&mut self, context: &Context, looked: Result<Option<Mirrored>, FarError>) {
        let (name, now) = (&context.config.name, context.clock.now_millis());
        match looked {
            Ok(mirrored) => {
                if self.incidents.trouble().is_some() {
                    info!(channel = %name, "S3 answers again");
                }
                self.incidents.close(&Cause::Upstream, now);
                if let Some(mirrored) = mirrored {
                    self.mirror(context, mirrored);
                }
            }
            // The primary has sent nothing yet, or its channel has left the air.
            Err(FarError::Missing) => {
                self.incidents.close(&Cause::Upstream, now);
                self.enter(Health::Idle, now);
                if self.timeline.take().is_some() {
                    context.snapshots.send_replace(None);
                }
            }
            Err(error) => {
                if self.incidents.trouble().is_none() {
                    warn!(channel = %name, %error, "S3 does not answer: the playlists stand still");
                }
                let words = "S3 does not answer: the playlists stand still".to_owned();
                self.incidents.open(Cause::Upstream, now, words);
            }
        }
        self.status.interrupted &= self.status.state == Health::Starting;
        self.status.last_error = self.incidents.trouble().map(str::to_owned);
        self.status.events = self.incidents.events().to_vec();
        context.metrics.state(self.status.state.word());
        context.status.send_replace(Arc::new(self.status.clone()));
    }

    fn enter(&mut self, state: Health, now: u64) {
        if self.status.state != state {
            (self.status.state, self.status.since) = (state, now);
        }
    }

    fn mirror(&mut self, context: &Context, mirrored: Mirrored) {
        let Mirrored { format: stored, stretches, tracks, cues, ended } = mirrored;
        let grid = stored.grid;
        let (window, publish_delay) = (stored.window, stored.publish_delay);
        let renditions = stretches.last().map(|run| Arc::clone(&run.renditions));
        let format = Arc::new(Format { grid, window, publish_delay });
        let mut timeline =
            Timeline::restore(format, stretches, tracks).mirrored(self.timeline.take());
        timeline.trim();
        timeline.tell_cues(cues);
        if ended {
            timeline.end();
        }
        let snapshot = timeline.snapshot();
        self.timeline = Some(timeline);
        let state = if ended { Health::Ended } else { Health::Live };
        self.enter(state, context.clock.now_millis());
        let millis =
            |span: packager::time::Span| span.ticks as f64 * 1_000.0 / f64::from(span.scale.get());
        let status = &mut self.status;
        status.renditions = renditions.iter().flat_map(|r| r.iter()).map(describe).collect();
        status.segment_ms = Some(grid.segment().ticks_in(Timescale::MILLIS, Rounding::Nearest));
        status.part_ms = Some((millis(grid.part()) * 10.0).round() / 10.0);
        status.fps = Some(grid.rate.to_string());
        status.first_segment = snapshot.first_k();
        status.last_segment = snapshot.last_k();
        status.dash_low_latency = Some(false);
        context.snapshots.send_replace(Some(snapshot));
    }
}
