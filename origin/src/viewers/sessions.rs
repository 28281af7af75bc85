//! The sessions of one channel's viewers and what is summed over them.
//!
//! A session is what its last report said, under a hash of its id, for as long as it goes on
//! reporting. Times between reports are the server's: a player's own clock is not asked.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::report::{Report, State};
use super::{Audience, Protocol};
use crate::telemetry::metrics::AudienceMetrics;

/// A session that has not reported for so long is over: two and a half of the intervals that players
/// report in (CTA-5004-B: 30 s unless told otherwise).
const EXPIRE_AFTER: Duration = Duration::from_secs(75);
/// Sessions kept for a channel, about 5 MB. Beyond them newcomers are not counted.
const MAX_SESSIONS: usize = 50_000;
/// Longest time between two reports that is counted as watched.
const LONGEST_INTERVAL: Duration = Duration::from_secs(45);
/// After this long half of a wait is forgotten in the ratio.
const HALF_LIFE: Duration = Duration::from_secs(120);

/// A channel's sessions by the hash of their id.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<u64, Session>,
    watched: Fading,
    starved: Fading,
}

#[derive(Debug)]
struct Session {
    seen: Instant,
    protocol: Protocol,
    state: Option<State>,
    latency_ms: Option<u32>,
    bitrate: Option<u64>,
}

/// A sum of seconds in which what is older weighs less.
#[derive(Debug, Default)]
struct Fading {
    seconds: f64,
    at: Option<Instant>,
}

impl Fading {
    fn add(&mut self, more: Duration, now: Instant) {
        self.seconds = self.now(now) + more.as_secs_f64();
        self.at = Some(now);
    }

    fn now(&self, now: Instant) -> f64 {
        let age = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.seconds * 0.5f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64())
    }
}

impl Sessions {
    pub(super) fn knows(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether another session has room.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() >= MAX_SESSIONS {
            self.expire(now);
        }
        self.sessions.len() < MAX_SESSIONS
    }

    /// Notes a report of a session, which is new if it is not known.
    pub(super) fn take(
        &mut self,
        id: u64,
        report: &Report,
        metrics: &AudienceMetrics,
        now: Instant,
    ) {
        let session = self.sessions.entry(id).or_insert(Session {
            seen: now,
            protocol: Protocol::Other,
            state: None,
            latency_ms: None,
            bitrate: None,
        });
        session.protocol = report.protocol.unwrap_or(session.protocol);
        let interval = now.saturating_duration_since(session.seen).min(LONGEST_INTERVAL);
        session.seen = now;
        // What it did since the report before is what it said then.
        let was = session.state;
        let (mut watched, mut starved) = (Duration::ZERO, Duration::ZERO);
        if matches!(was, Some(State::Playing | State::Rebuffering)) {
            watched = interval;
            starved = match report.starved_ms {
                Some(ms) => Duration::from_millis(ms).min(interval),
                None if was == Some(State::Rebuffering) => interval,
                None => Duration::ZERO,
            };
        }
        self.watched.add(watched, now);
        self.starved.add(starved, now);
        let metrics = metrics.of(session.protocol.word());
        metrics.watched.inc_by(watched.as_secs_f64());
        metrics.rebuffered.inc_by(starved.as_secs_f64());
        let again = was == Some(State::Rebuffering);
        let starts = report.starved || report.state == Some(State::Rebuffering);
        if starts && !again {
            metrics.starved.inc();
        }
        if let Some(ms) = report.latency_ms {
            metrics.latency.observe(f64::from(ms) / 1_000.0);
        }
        session.state = report.state.or(session.state);
        session.latency_ms = report.latency_ms.or(session.latency_ms);
        session.bitrate = report.bitrate.or(session.bitrate);
        if session.state == Some(State::Gone) {
            self.sessions.remove(&id);
        }
    }

    /// Forgets the sessions that have gone silent.
    pub(super) fn expire(&mut self, now: Instant) {
        self.sessions.retain(|_, session| session.is_there(now));
    }

    /// Those who are there.
    pub(super) fn audience(&self, now: Instant) -> Audience {
        let mut by_protocol = BTreeMap::new();
        let (mut latencies, mut rates) = (Vec::new(), Vec::new());
        for session in self.sessions.values().filter(|session| session.is_there(now)) {
            *by_protocol.entry(session.protocol).or_default() += 1;
            latencies.extend(session.latency_ms);
            rates.extend(session.bitrate);
        }
        latencies.sort_unstable();
        let rank = |percent: usize| {
            latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
        };
        Audience {
            viewers: by_protocol.values().sum(),
            by_protocol,
            rebuffer_ratio: self.rebuffer_ratio(now),
            latency_p50_ms: rank(50).copied(),
            latency_p95_ms: rank(95).copied(),
            bitrate: rates.iter().sum::<u64>().checked_div(rates.len() as u64),
        }
    }

    fn rebuffer_ratio(&self, now: Instant) -> Option<f64> {
        let watched = self.watched.now(now);
        (watched > 1.0).then(|| (self.starved.now(now) / watched).clamp(0.0, 1.0))
    }

    /// Sets the metrics of those who are there.
    pub(super) fn measure(&self, metrics: &AudienceMetrics, now: Instant) {
        for protocol in Protocol::ALL {
            let of = self.sessions.values().filter(|session| session.protocol == protocol);
            let (mut viewers, mut rates, mut rated) = (0i64, 0u64, 0u64);
            for session in of.filter(|session| session.is_there(now)) {
                viewers += 1;
                if let Some(rate) = session.bitrate {
                    rates += rate;
                    rated += 1;
                }
            }
            let metrics = metrics.of(protocol.word());
            metrics.viewers.set(viewers);
            metrics.bitrate.set(rates.checked_div(rated).unwrap_or(0) as f64);
        }
        metrics.rebuffer_ratio.set(self.rebuffer_ratio(now).unwrap_or(0.0));
    }
}

impl Session {
    fn is_there(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < EXPIRE_AFTER
    }
}
