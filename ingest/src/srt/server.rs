//! The SRT door: takes callers, and drives a [`Feed`] for each.
//!
//! A caller is asked for its stream identifier in the handshake, before there is a connection
//! ([`Doorman`]): the gate for callers that come too fast, the name, the key, and the passphrase that
//! the channel wants. One whose handshake is through, passphrase and all, is published by a task of
//! its own. The channel's queue sets the pace, as at every door; one log line per event, never a key.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packager::media::Name;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use super::engine::{Connection, Engine};
use super::library::Caller;
use super::reject::Reject;
use super::stream_id::{self, Target};
use super::{LATENCY, Link};
use crate::door::{Gate, Stats};
use crate::hub::{Closed, Hub, Publication, Refusal, Request};
use crate::secret::Secret;
use crate::source::Protocol;
use crate::text::printable_name;
use crate::ts::feed::{self, Feed};

/// Longest time without a byte of a publisher whose connection is there. Encoders send all the time;
/// one whose machine is gone is noticed by the library, sooner.
const DEADLINE_BYTES: Duration = Duration::from_secs(10);
/// How often a channel is told of its publisher's figures.
const FIGURES_EVERY: Duration = Duration::from_millis(500);

/// How the door is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least latency a connection gets; a caller may ask for more.
    pub latency: Duration,
    /// Passphrases of channels whose streams are encrypted.
    pub passphrases: HashMap<Name, Secret>,
}

/// Takes callers on a bound socket until `cancel` fires, then ends them, and the engine with them, and
/// returns when all are gone.
pub async fn serve(
    engine: Engine,
    udp: UdpSocket,
    hub: Hub,
    options: Options,
    stats: Arc<Stats>,
    cancel: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let latency = options.latency;
    let (passphrases, gate) = (options.passphrases, Gate::default());
    let doorman = Doorman { hub: hub.clone(), passphrases, gate, stats: Arc::clone(&stats) };
    let hook = Arc::new(move |caller: Caller<'_>| doorman.decide(caller, Instant::now()));
    let mut connections = engine.listen(udp, latency, hook);
    while let Some(Some(connection)) = cancel.run_until_cancelled(connections.recv()).await {
        stats.connected();
        attend(&tasks, connection, hub.clone(), Arc::clone(&stats), cancel.clone());
    }
    tasks.close();
    tasks.wait().await;
    engine.stop().await;
}

/// Serves a connection in a task of its own. A bug that one stream triggers must not end the
/// others, nor go unseen.
fn attend(
    tasks: &TaskTracker,
    connection: Connection,
    hub: Hub,
    stats: Arc<Stats>,
    cancel: CancellationToken,
) {
    let (peer, counted) = (connection.peer, Arc::clone(&stats));
    let task = tasks.spawn(async move {
        let publication = match admit(&connection, &hub) {
            Ok(publication) => publication,
            Err(end) => {
                stats.refused(end.label());
                info!(%peer, reason = %end, "publish refused");
                return;
            }
        };
        publish(connection, publication, &stats, &cancel).await;
    });
    tasks.spawn(async move {
        if task.await.is_err_and(|end| end.is_panic()) {
            counted.crashed();
            error!(%peer, "srt connection crashed");
        }
    });
}

/// Decides about callers while their handshake waits.
struct Doorman {
    hub: Hub,
    passphrases: HashMap<Name, Secret>,
    gate: Gate,
    stats: Arc<Stats>,
}

impl Doorman {
    /// The passphrase that a caller's connection needs, or why there will be none.
    fn decide(&self, caller: Caller<'_>, now: Instant) -> Result<Option<Secret>, Reject> {
        let peer = caller.peer;
        if let Err(shut) = self.gate.enter(peer.ip(), now) {
            self.stats.refused(shut.label());
            debug!(%peer, reason = shut.label(), "srt caller refused");
            return Err(Reject::OVERLOAD);
        }
        let decided = read(caller.stream_id).and_then(|target| {
            self.ask(&target, peer).map_err(|refusal| (target.channel, refusal).into())
        });
        let decided = decided.map(|channel| {
            let passphrase = self.passphrases.get(channel.as_str()).cloned();
            if passphrase.is_some() {
                // With a wrong one nothing more is heard: the library turns the caller away itself.
                info!(%peer, channel, "srt caller has the key; its passphrase is looked at");
            }
            passphrase
        });
        decided.map_err(|end| {
            self.stats.refused(end.label());
            let channel = end.channel();
            info!(%peer, channel, reason = %end, code = end.reject().code(), "srt caller refused");
            end.reject()
        })
    }

    fn ask(&self, target: &Target, peer: SocketAddr) -> Result<String, Refusal> {
        first_granted(target, |key| self.hub.ask(&request(target, key, peer)))?;
        Ok(target.channel.clone())
    }
}

/// Asks with each key that an identifier may mean, and gives the first answer that is not a plain no.
fn first_granted<T>(
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

fn request<'a>(target: &'a Target, key: Option<&'a str>, peer: SocketAddr) -> Request<'a> {
    Request { channel: &target.channel, key, peer: peer.into(), protocol: Protocol::Srt }
}

fn read(stream_id: Option<&str>) -> Result<Target, Denial> {
    let target = stream_id.ok_or(stream_id::Error::NoText).and_then(stream_id::parse);
    target.map_err(Denial::StreamId)
}

/// Why there is no connection with a caller, or no publication with its connection.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error("{0}")]
    StreamId(stream_id::Error),
    #[error("{refusal}")]
    Hub { channel: String, refusal: Refusal },
    #[error("a latency of {} ms; the most is {} ms", .0.as_millis(), LATENCY.end().as_millis())]
    Latency(Duration),
}

impl From<(String, Refusal)> for Denial {
    fn from((channel, refusal): (String, Refusal)) -> Self {
        Self::Hub { channel, refusal }
    }
}

impl Denial {
    /// A label for metrics: one of a few.
    fn label(&self) -> &'static str {
        match self {
            Self::StreamId(_) => "bad name",
            Self::Hub { refusal, .. } => refusal.label(),
            Self::Latency(_) => "protocol",
        }
    }

    /// The channel that was asked for, fit for a log line.
    fn channel(&self) -> Option<String> {
        match self {
            Self::Hub { channel, .. } => Some(printable_name(channel)),
            _ => None,
        }
    }

    fn reject(&self) -> Reject {
        match self {
            Self::StreamId(error) => error.into(),
            Self::Hub { refusal, .. } => refusal.into(),
            Self::Latency(_) => Reject::BAD_REQUEST,
        }
    }
}

/// Begins to publish on a connection that is there. What was granted in its handshake may not be any
/// more.
fn admit(connection: &Connection, hub: &Hub) -> Result<Publication, Denial> {
    if connection.latency > *LATENCY.end() {
        return Err(Denial::Latency(connection.latency));
    }
    let target = read(connection.stream_id.as_deref())?;
    let granted =
        first_granted(&target, |key| hub.publish(&request(&target, key, connection.peer)));
    granted.map_err(|refusal| (target.channel, refusal).into())
}

/// Why a publication ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the peer closed the connection, or its line was cut")]
    Over,
    #[error("{0}")]
    Feed(#[from] feed::Error),
    #[error("{0}")]
    Closed(#[from] Closed),
    #[error("not a byte within {} s", DEADLINE_BYTES.as_secs())]
    Silent,
}

impl End {
    /// A label for metrics: one of a few.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Over => "closed",
            Self::Feed(error) => error.label(),
            Self::Closed(closed) => closed.label(),
            Self::Silent => "deadline",
        }
    }
}

/// Publishes what a connection brings, to its end.
pub(super) async fn publish(
    mut connection: Connection,
    publication: Publication,
    stats: &Arc<Stats>,
    cancel: &CancellationToken,
) -> End {
    let (peer, since) = (connection.peer, Instant::now());
    let channel = publication.channel().clone();
    let latency_ms = connection.latency.as_millis();
    info!(%peer, %channel, latency_ms, "publisher connected");
    let _counted = stats.publishing();
    let mut feed = Feed::new(publication);
    let mut bytes = 0_u64;
    let end = tokio::select! {
        () = cancel.cancelled() => End::Closed(Closed::ShuttingDown),
        end = hand_on(&mut connection, &mut feed, stats, &mut bytes) => end,
    };
    stats.unpublished(end.label());
    let Link { rtt_ms, lost, dropped, .. } = connection.link();
    let seconds = since.elapsed().as_secs();
    info!(%peer, %channel, reason = %end, bytes, seconds, rtt_ms, lost, dropped, "publisher gone");
    end
}

/// Hands bytes on until there is a reason to end.
async fn hand_on(
    connection: &mut Connection,
    feed: &mut Feed,
    stats: &Stats,
    bytes: &mut u64,
) -> End {
    let mut figures = tokio::time::interval(FIGURES_EVERY);
    let mut last_bytes = tokio::time::Instant::now();
    loop {
        tokio::select! {
            biased;
            reason = feed.closed() => return reason.into(),
            chunk = connection.next() => {
                let Some(chunk) = chunk else {
                    // The last picture is whole; whether it is taken does not matter any more.
                    let _ = timeout(FIGURES_EVERY, feed.finish()).await;
                    return End::Over;
                };
                stats.received(chunk.bytes.len());
                *bytes = bytes.saturating_add(chunk.bytes.len() as u64);
                if let Err(error) = feed.push(&chunk.bytes, chunk.received).await {
                    return error.into();
                }
                last_bytes = tokio::time::Instant::now();
            }
            _ = figures.tick() => {
                let link = connection.link();
                feed.publication().report(|report| report.link = Some(link));
                if last_bytes.elapsed() > DEADLINE_BYTES {
                    return End::Silent;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
