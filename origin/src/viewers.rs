//! What viewers say of themselves: the sum of their players' reports, never one viewer.
//!
//! ```text
//! POST /live/{channel}/cmcd ─► limit: rate per address ─► report: CMCD v2, event mode (CTA-5004-B)
//!                                                             │
//!             metrics, operator's page ◄─ sums ◄─ sessions: bounded, expiring, ids hashed
//! ```
//! Reports are claims of strangers. They are bounded in size, rate and memory, none becomes a label
//! or a line in the log, and a session's id is kept as a hash under a key that dies with the process.
//!
//! It does not speak HTTP: that is [`crate::http`]'s.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use packager::media::Name;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

mod limit;
mod report;
mod sessions;

use limit::Limits;
pub use report::{Error, MAX_REPORTS};
use sessions::Sessions;

use crate::telemetry::metrics::{AudienceMetrics, ViewerMetrics};

/// How often sessions that have gone silent are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// A family of players by what they play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HLS, low latency or not.
    Hls,
    /// DASH, low latency or not.
    Dash,
    /// What a player did not say, or something else.
    Other,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hls, Self::Dash, Self::Other];

    /// As a metric label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Dash => "dash",
            Self::Other => "other",
        }
    }
}

/// Those of a channel's viewers who report, as of now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audience {
    /// Sessions that have reported lately and have not ended.
    pub viewers: u64,
    /// The same by protocol; those without a viewer are not there.
    pub by_protocol: BTreeMap<Protocol, u64>,
    /// Time spent waiting for data over time spent watching, of the last minutes.
    pub rebuffer_ratio: Option<f64>,
    /// Median of what the viewers last said of their distance to the live edge, in milliseconds.
    pub latency_p50_ms: Option<u32>,
    /// The same, 95th percentile.
    pub latency_p95_ms: Option<u32>,
    /// Mean of the bit rates that are played, in bits per second.
    pub bitrate: Option<u64>,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is no such channel.
    #[error("no such channel")]
    NoChannel,
    /// The address reports, or opens sessions, faster than viewers do.
    #[error("too many reports from one address")]
    TooMany,
    /// It is no report.
    #[error(transparent)]
    Malformed(#[from] Error),
}

/// All channels' viewers.
#[derive(Debug)]
pub struct Viewers {
    channels: BTreeMap<Name, Channel>,
    limits: Mutex<Limits>,
    metrics: ViewerMetrics,
    /// Its key is random and of this process: a hash can't be led back to an id.
    hasher: RandomState,
}

#[derive(Debug)]
struct Channel {
    sessions: Mutex<Sessions>,
    metrics: AudienceMetrics,
}

impl Viewers {
    /// No viewers yet. Only these channels are reported on.
    pub fn new<'a>(channels: impl Iterator<Item = &'a Name>, metrics: ViewerMetrics) -> Self {
        let channel = |name: &Name| {
            let metrics = metrics.channel(name.as_str());
            (name.clone(), Channel { sessions: Mutex::default(), metrics })
        };
        Self {
            channels: channels.map(channel).collect(),
            limits: Mutex::default(),
            metrics,
            hasher: RandomState::new(),
        }
    }

    /// Takes one player's reports, the body of its request, which comes from an address, or through a
    /// trusted proxy that does not say from where.
    ///
    /// # Errors
    /// [`Refused`]; then nothing of it is counted, except that it was refused.
    pub fn take(
        &self,
        channel: &Name,
        from: Option<IpAddr>,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        let taken = self.take_uncounted(channel, from, body, now);
        self.metrics.reported(match &taken {
            Ok(()) => "taken",
            Err(Refused::NoChannel) => "no_channel",
            Err(Refused::TooMany) => "too_many",
            Err(Refused::Malformed(_)) => "malformed",
        });
        taken
    }

    fn take_uncounted(
        &self,
        channel: &Name,
        from: Option<IpAddr>,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        if !lock(&self.limits).may_report(from, now) {
            return Err(Refused::TooMany);
        }
        let channel = self.channels.get(channel).ok_or(Refused::NoChannel)?;
        let reports = report::parse(body)?;
        let Some(first) = reports.first() else { return Ok(()) };
        let session = self.hasher.hash_one(&first.session);
        let mut sessions = lock(&channel.sessions);
        let may_join = || lock(&self.limits).may_join(from, now);
        if !sessions.knows(session) && (!sessions.has_room(now) || !may_join()) {
            return Err(Refused::TooMany);
        }
        for report in &reports {
            sessions.take(session, report, &channel.metrics, now);
        }
        Ok(())
    }

    /// A channel's viewers as of now.
    pub fn audience(&self, channel: &Name, now: Instant) -> Audience {
        let channel = self.channels.get(channel);
        channel.map(|channel| lock(&channel.sessions).audience(now)).unwrap_or_default()
    }

    /// Forgets sessions that have gone silent, and keeps the metrics of those there are.
    pub async fn keep(&self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EXPIRE_EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => self.expire(Instant::now()),
            }
        }
    }

    fn expire(&self, now: Instant) {
        lock(&self.limits).expire(now);
        for channel in self.channels.values() {
            let mut sessions = lock(&channel.sessions);
            sessions.expire(now);
            sessions.measure(&channel.metrics, now);
        }
    }
}

/// A panic while it was held would be a bug of ours; the sums in it are still sums.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
