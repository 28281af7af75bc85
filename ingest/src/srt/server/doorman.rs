//! Who may publish over SRT: asked in the handshake, while the caller waits.
//!
//! The sieve counts them, the gate turns away who comes too fast; the name, the key; then the passphrase that the channel
//! wants, which the library itself holds against the caller's. Of one that does not match it says
//! nothing: no connection comes of that handshake, which is how it is found out and told. (The caller
//! itself is told the code, as in every refusal.)

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use packager::media::Name;
use tracing::{debug, info};

use crate::door::{Gate, Stats, Talk};
use crate::hub::{Hub, Refusal, Request};
use crate::secret::Secret;
use crate::source::Protocol;
use crate::srt::LATENCY;
use crate::srt::library::Caller;
use crate::srt::reject::Reject;
use crate::srt::sieve::Sieve;
use crate::srt::stream_id::{self, Target};
use crate::text::printable_name;

/// How long the connection of a caller that is let in may take to be there. The handshake's last
/// message is the one that was asked about: nothing of the caller's is missing any more.
const ARRIVES_WITHIN: Duration = Duration::from_secs(3);
/// Callers that are waited for at one time; of more it is not found out that they did not come.
const MAX_EXPECTED: usize = 1_024;

/// Decides about callers while their handshake waits.
pub(super) struct Doorman {
    hub: Hub,
    passphrases: HashMap<Name, Secret>,
    gate: Gate,
    sieve: Arc<Sieve>,
    stats: Arc<Stats>,
    /// What is said of callers who are refused.
    refusals: Talk,
    /// Callers that were let in, and have not come yet.
    expected: Mutex<HashMap<SocketAddr, Expected>>,
}

/// A caller that was let in.
#[derive(Debug)]
struct Expected {
    channel: String,
    has_passphrase: bool,
    since: Instant,
}

impl Doorman {
    pub(super) fn new(
        hub: Hub,
        passphrases: HashMap<Name, Secret>,
        sieve: Arc<Sieve>,
        stats: Arc<Stats>,
    ) -> Self {
        let (gate, refusals, expected) = (Gate::default(), Talk::default(), Mutex::default());
        Self { hub, passphrases, gate, sieve, stats, refusals, expected }
    }

    /// The passphrase that a caller's connection needs, or why there will be none.
    pub(super) fn decide(
        &self,
        caller: Caller<'_>,
        now: Instant,
    ) -> Result<Option<Secret>, Reject> {
        let peer = caller.peer;
        self.sieve.asked(peer.ip(), now);
        if let Err(shut) = self.gate.enter(peer.ip(), now) {
            self.stats.refused(shut.label());
            debug!(%peer, reason = shut.label(), "srt caller refused");
            return Err(Reject::OVERLOAD);
        }
        match read(caller.stream_id).and_then(|target| self.ask(target, peer)) {
            Ok(channel) => {
                let passphrase = self.passphrases.get(channel.as_str()).cloned();
                self.expect(peer, channel, passphrase.is_some(), now);
                Ok(passphrase)
            }
            Err(denial) => {
                self.refuse(peer, &denial, now);
                Err(denial.reject().unwrap_or(Reject::FAILED))
            }
        }
    }

    fn ask(&self, target: Target, peer: SocketAddr) -> Result<String, Denial> {
        match first_granted(&target, |key| self.hub.ask(&request(&target, key, peer))) {
            Ok(()) => Ok(target.channel),
            Err(refusal) => Err((target.channel, refusal).into()),
        }
    }

    fn refuse(&self, peer: SocketAddr, denial: &Denial, now: Instant) {
        self.stats.refused(denial.label());
        denial.note(&self.hub);
        let code = denial.reject().map(|reject| reject.code());
        let channel = denial.channel();
        if let Some(unsaid) = self.refusals.may_say(now) {
            info!(%peer, channel, reason = %denial, code, unsaid, "srt caller refused");
        }
    }

    fn expect(&self, peer: SocketAddr, channel: String, has_passphrase: bool, since: Instant) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.len() < MAX_EXPECTED {
            expected.insert(peer, Expected { channel, has_passphrase, since });
        }
    }

    /// The connection of a caller is there.
    pub(super) fn arrived(&self, peer: SocketAddr) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    /// Tells of the callers that should be there by now.
    pub(super) fn miss(&self, now: Instant) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = expected.extract_if(|_, one| now.duration_since(one.since) > ARRIVES_WITHIN);
        let missed: Vec<_> = missed.collect();
        drop(expected);
        for (peer, Expected { channel, has_passphrase, .. }) in missed {
            self.refuse(peer, &Denial::Unmatched { channel, has_passphrase }, now);
        }
    }
}

/// Asks with each key that an identifier may mean, and gives the first answer that is not a plain no.
pub(super) fn first_granted<T>(
    target: &Target,
    mut ask: impl FnMut(Option<&str>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut last = Err(Refusal::Denied);
    for key in target.keys() {
        last = ask(key);
        if !matches!(last, Err(Refusal::Denied)) {
            break;
        }
    }
    last
}

pub(super) fn request<'a>(
    target: &'a Target,
    key: Option<&'a str>,
    peer: SocketAddr,
) -> Request<'a> {
    Request { channel: &target.channel, key, peer: peer.into(), protocol: Protocol::Srt }
}

pub(super) fn read(stream_id: Option<&str>) -> Result<Target, Denial> {
    let target = stream_id.ok_or(stream_id::Error::NoText).and_then(stream_id::parse);
    target.map_err(Denial::StreamId)
}

/// Why there is no connection with a caller, or no publication with its connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denial {
    #[error("{0}")]
    StreamId(stream_id::Error),
    #[error("{refusal}")]
    Hub { channel: String, refusal: Refusal },
    #[error("a latency of {} ms; the most is {} ms", .0.as_millis(), LATENCY.end().as_millis())]
    Latency(Duration),
    #[error("no connection came of its handshake: {}", .has_passphrase
        .then_some("its passphrase is wrong, or it has none")
        .unwrap_or("it has a passphrase and the channel has none, or is older than SRT 1.3"))]
    Unmatched { channel: String, has_passphrase: bool },
}

impl From<(String, Refusal)> for Denial {
    fn from((channel, refusal): (String, Refusal)) -> Self {
        Self::Hub { channel, refusal }
    }
}

impl Denial {
    /// A label for metrics: one of a few.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::StreamId(_) => "bad name",
            Self::Hub { refusal, .. } => refusal.label(),
            Self::Latency(_) => "protocol",
            Self::Unmatched { .. } => "passphrase",
        }
    }

    /// Counts it for the channel that was asked for.
    pub(super) fn note(&self, hub: &Hub) {
        if let Self::Hub { channel, .. } | Self::Unmatched { channel, .. } = self {
            hub.turned_away(channel, self.label());
        }
    }

    /// The channel that was asked for, fit for a log line.
    fn channel(&self) -> Option<String> {
        match self {
            Self::Hub { channel, .. } | Self::Unmatched { channel, .. } => {
                Some(printable_name(channel))
            }
            _ => None,
        }
    }

    /// What the caller is told; `None`: the library has told it already.
    fn reject(&self) -> Option<Reject> {
        match self {
            Self::StreamId(error) => Some(error.into()),
            Self::Hub { refusal, .. } => Some(refusal.into()),
            Self::Latency(_) => Some(Reject::BAD_REQUEST),
            Self::Unmatched { .. } => None,
        }
    }
}
