//! The SRT door: takes callers, and drives a [`Feed`] for each.
//!
//! A caller is asked for its stream identifier in the handshake, before there is a connection
//! (`doorman`). One whose handshake is through, passphrase and all, is published by a task of its own. The
//! channel's queue sets the pace, as at every door; one log line per event, never a key.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packager::media::Name;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::engine::{Connection, Engine};
use super::library::Caller;
use super::sieve::{self, Sieve};
use super::{LATENCY, Link};
use crate::door::Stats;
use crate::hub::{Closed, Hub, Publication};
use crate::secret::Secret;
use crate::ts::feed::{self, Feed};

mod doorman;

use doorman::{Denial, Doorman, first_granted, read, request};

/// Longest time without a byte of a publisher whose connection is there. Encoders send all the time;
/// one whose machine is gone is noticed by the library, sooner.
const DEADLINE_BYTES: Duration = Duration::from_secs(10);
/// How often it is looked whether the callers that were let in have come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    let sieve = match udp.try_clone() {
        Ok(port) => Sieve::new(port.into(), Instant::now()),
        Err(error) => {
            error!(%error, "srt callers can't be taken");
            return engine.stop().await;
        }
    };
    let (passphrases, counts) = (options.passphrases, Arc::clone(&stats));
    let doorman = Arc::new(Doorman::new(hub.clone(), passphrases, Arc::clone(&sieve), counts));
    let asked = Arc::clone(&doorman);
    let hook = Arc::new(move |caller: Caller<'_>| asked.decide(caller, Instant::now()));
    let mut connections = engine.listen(udp, options.latency, hook);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut ease = tokio::time::interval(sieve::WINDOW);
    ease.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            connection = connections.recv() => {
                let Some(connection) = connection else { break };
                doorman.arrived(connection.peer);
                stats.connected();
                attend(&tasks, connection, hub.clone(), Arc::clone(&stats), cancel.clone());
            }
            _ = look.tick() => doorman.miss(Instant::now()),
            _ = ease.tick(), if sieve.is_tight() => sieve.ease(),
        }
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
                end.note(&hub);
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
#[non_exhaustive]
pub enum End {
    /// The connection is not there any more.
    #[error("the peer closed the connection, or its line was cut")]
    Over,
    /// What came was of no use, or the channel takes no more.
    #[error("{0}")]
    Feed(#[from] feed::Error),
    /// The channel takes no more.
    #[error("{0}")]
    Closed(#[from] Closed),
    /// The connection is there, and nothing comes.
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
