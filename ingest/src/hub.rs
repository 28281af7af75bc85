//! The hub: where a publisher meets its channel.
//!
//! A protocol server asks [`Hub::publish`] with a name and a key and gets a [`Publication`] to push
//! units into, or a [`Refusal`] to tell its peer. The channel reads them from its one
//! [`Subscription`]. The newest publisher with the right key wins: the one before finds its
//! publication closed; who does so again and again is slowed (`takeover`). A channel that nobody
//! publishes to yet costs the machine something new, which [`Admit`] may refuse. A publication's
//! queue is bounded in units and bytes; when it is full `push` waits, so that back pressure reaches
//! the broadcaster's socket and memory does not grow. A source far above its channel's bit rate is
//! told to go (`contract`), and one that crashes its session again and again is not let in for a while
//! (`quarantine`).
//!
//! The hub knows nothing of sockets, and does not look into the samples.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use packager::media::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::secret::Secret;
use crate::source::{Peer, Protocol, Report, Unit};
use crate::ts::Want;

mod contract;
mod doorway;
mod quarantine;
mod takeover;
use contract::Contract;
pub use doorway::Doorway;

/// Units a publication may have waiting for its channel. About 4 s of 60 fps video with audio:
/// enough to ride out a busy second, little enough to feel it at once.
const QUEUE_UNITS: usize = 512;

/// Bytes a publication may have waiting, in KiB: about 4 s at 30 Mb/s. The unit that would pass the
/// bound waits, and one larger than the bound waits until nothing else is queued.
const QUEUE_KIB: u32 = 16 * 1024;

/// Publishers a channel may have waiting to be picked up. They supersede each other, so the queue
/// only has to outlast the channel's current turn.
const QUEUE_SESSIONS: usize = 16;

/// Who may publish to a channel.
#[derive(Clone, Debug)]
pub struct Access {
    /// The channel.
    pub channel: Name,
    /// Its key. Without one the channel takes publishers from loopback only.
    pub key: Option<Secret>,
    /// Bits per second that a publisher may send, with some patience; `None` for no bound.
    pub max_bitrate: Option<u32>,
    /// The program that is read of a transport stream; `None`: its first.
    pub program: Option<u16>,
    /// Whether it can begin where decoding only recovers: a decoder can, the segments of a passed source
    /// can't.
    pub open_groups: bool,
    /// Whether its configuration names its source, which no publisher may take the place of.
    pub has_source: bool,
}

/// A wish to publish.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The channel's name as the peer wrote it; checked here, by the one rule of [`Name`].
    pub channel: &'a str,
    /// The key the peer offered.
    pub key: Option<&'a str>,
    /// Where the peer is.
    pub peer: Peer,
    /// How it came.
    pub protocol: Protocol,
}

/// Why a wish to publish is not granted. The text is meant for the peer and tells no secret: an
/// unknown channel and a wrong key read the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The name breaks the naming rule.
    #[error("bad channel name: {0}")]
    BadName(#[from] packager::media::InvalidName),
    /// No such channel, or the key is not its key.
    #[error("unknown channel or wrong key")]
    Denied,
    /// The channel has no key and the peer is not on this machine.
    #[error("this channel has no key and takes publishers from loopback only")]
    LoopbackOnly,
    /// The channel's configuration names its source.
    #[error("this channel has a source of its own and takes no publisher")]
    HasSource,
    /// The channel has changed hands too often of late.
    #[error(
        "another publisher is live and the channel has changed hands too often; try again in {} s",
        wait.as_secs_f64().ceil()
    )]
    TooOften {
        /// How long until it may again.
        wait: Duration,
    },
    /// What came through the channel's door of late has crashed the sessions that read it.
    #[error(
        "what was sent has crashed the server's session several times; try again in {} s, and \
         please report it",
        wait.as_secs_f64().ceil()
    )]
    Quarantined {
        /// How long until a publisher may come.
        wait: Duration,
    },
    /// The machine has no room for one more channel; the text says how much there is.
    #[error("{0}")]
    NoCapacity(String),
    /// More publishers have come than the channel has picked up.
    #[error("the channel is busy; try again")]
    Busy,
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// A label for metrics: one of a few.
    pub fn label(&self) -> &'static str {
        match self {
            Self::BadName(_) => "bad name",
            Self::TooOften { .. } | Self::Busy => "too often",
            Self::Quarantined { .. } => "quarantined",
            Self::NoCapacity(_) => "no capacity",
            Self::ShuttingDown => "shutdown",
            _ => "denied",
        }
    }
}

/// Why a publication ended from the channel's side; told to the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// A newer publisher with the right key took over.
    #[error("a newer publisher took over the channel")]
    TakenOver,
    /// The channel can't use this source; the text says why.
    #[error("{0}")]
    Rejected(String),
    /// It sent far more than agreed.
    #[error("the source sends far more than the {} kb/s that the channel takes", agreed / 1_000)]
    TooMuch {
        /// Bits per second agreed.
        agreed: u64,
    },
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Closed {
    /// A label for metrics: one of a few.
    pub fn label(&self) -> &'static str {
        match self {
            Self::TakenOver => "taken over",
            Self::Rejected(_) => "rejected",
            Self::TooMuch { .. } => "too much",
            Self::ShuttingDown => "shutdown",
        }
    }
}

/// Says whether the machine can take a channel on. Asked for every publisher with the right key,
/// also for one whose channel is being made already.
pub trait Admit: std::fmt::Debug + Send + Sync {
    /// Takes the channel on.
    ///
    /// # Errors
    /// Says why not, in words for the publisher.
    fn admit(&self, channel: &Name) -> Result<(), String>;

    /// Says whether it would, and takes nothing on.
    ///
    /// # Errors
    /// As [`Self::admit`].
    fn would_admit(&self, channel: &Name) -> Result<(), String>;
}

/// Takes every channel on.
#[derive(Debug)]
struct Everybody;

impl Admit for Everybody {
    fn admit(&self, _: &Name) -> Result<(), String> {
        Ok(())
    }

    fn would_admit(&self, _: &Name) -> Result<(), String> {
        Ok(())
    }
}

/// All channels' doors. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    doors: Arc<HashMap<Name, Door>>,
    admission: Arc<dyn Admit>,
    /// Cancelled when nobody may begin to publish any more.
    closed: CancellationToken,
}

#[derive(Debug)]
struct Door {
    access: Access,
    sessions: mpsc::Sender<Session>,
    occupant: Mutex<Occupant>,
    doorway: Arc<Mutex<Doorway>>,
}

/// Who publishes to a channel.
#[derive(Debug, Default)]
struct Occupant {
    /// The newest publication, which may be over.
    newest: Option<Ending>,
    takeovers: takeover::Limit,
    crashes: quarantine::Crashes,
}

/// How a publication is told that it is over.
#[derive(Clone, Debug)]
struct Ending {
    token: CancellationToken,
    reason: Arc<Mutex<Option<Closed>>>,
}

impl Ending {
    fn new() -> Self {
        Self { token: CancellationToken::new(), reason: Arc::new(Mutex::new(None)) }
    }

    /// Ends the publication; the first reason stands.
    fn end(&self, reason: Closed) {
        lock(&self.reason).get_or_insert(reason);
        self.token.cancel();
    }

    /// Whether the publication is over, from either side.
    fn is_over(&self) -> bool {
        self.token.is_cancelled()
    }

    fn reason(&self) -> Closed {
        lock(&self.reason).clone().unwrap_or(Closed::ShuttingDown)
    }
}

impl Occupant {
    /// Whether somebody may publish at `now`: the account of takeovers as it is then.
    fn make_way(&self, now: Instant) -> Result<takeover::Limit, Refusal> {
        self.crashes.allow(now).map_err(|wait| Refusal::Quarantined { wait })?;
        let mut takeovers = self.takeovers;
        if self.newest.as_ref().is_some_and(|newest| !newest.is_over()) {
            takeovers.pay(now).map_err(|wait| Refusal::TooOften { wait })?;
        }
        Ok(takeovers)
    }
}

impl Hub {
    /// Opens a door for every channel, through which everybody with the key may come; the channels
    /// take their [`Subscription`]s by name.
    pub fn new(channels: impl IntoIterator<Item = Access>) -> (Self, HashMap<Name, Subscription>) {
        Self::with_admission(channels, Arc::new(Everybody))
    }

    /// As [`Self::new`], with somebody who says what the machine can take on.
    pub fn with_admission(
        channels: impl IntoIterator<Item = Access>,
        admission: Arc<dyn Admit>,
    ) -> (Self, HashMap<Name, Subscription>) {
        let mut doors = HashMap::new();
        let mut subscriptions = HashMap::new();
        for access in channels {
            let (sessions, arrivals) = mpsc::channel(QUEUE_SESSIONS);
            let name = access.channel.clone();
            let doorway = Arc::<Mutex<Doorway>>::default();
            let subscription = Subscription { arrivals, doorway: Arc::clone(&doorway) };
            subscriptions.insert(name.clone(), subscription);
            doors.insert(name, Door { access, sessions, occupant: Mutex::default(), doorway });
        }
        (
            Self { doors: Arc::new(doors), admission, closed: CancellationToken::new() },
            subscriptions,
        )
    }

    /// Refuses every publication from now on; those that go on are not touched.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Tells a channel why the source that its configuration names is not there; `None`: nothing keeps
    /// it away. A source that comes says so by itself.
    pub fn absent(&self, channel: &Name, why: Option<String>) {
        if let Some(door) = self.doors.get(channel) {
            lock(&door.doorway).absent = why;
        }
    }

    /// Counts somebody who wanted to publish to a channel and was turned away, by one of a few words
    /// for the reason.
    pub fn turned_away(&self, channel: &str, why: &'static str) {
        if let Some(door) = self.doors.get(channel) {
            lock(&door.doorway).turned_away(why);
        }
    }

    /// Grants or refuses a wish to publish. A granted one ends the channel's current publication.
    ///
    /// # Errors
    /// Says why not, in words for the peer.
    pub fn publish(&self, request: &Request<'_>) -> Result<Publication, Refusal> {
        self.publish_at(request, Instant::now())
    }

    /// Whether a wish would be granted now, for a door that has to say so before its peer is there.
    /// Takes nothing and ends nobody's publication.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn ask(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let door = self.door(request)?;
        self.admission.would_admit(&door.access.channel).map_err(Refusal::NoCapacity)?;
        lock(&door.occupant).make_way(Instant::now()).map(drop)
    }

    /// The door of the channel that is asked for, to whoever may come through it.
    fn door(&self, request: &Request<'_>) -> Result<&Door, Refusal> {
        Name::parse(request.channel)?;
        let door = self.doors.get(request.channel).ok_or(Refusal::Denied)?;
        match (&request.peer, &door.access.key) {
            (Peer::Configured(_), _) => {}
            (_, Some(key)) if key.matches(request.key.unwrap_or_default()) => {}
            (_, Some(_)) => return Err(Refusal::Denied),
            (Peer::At(peer), None) if peer.ip().to_canonical().is_loopback() => {}
            (_, None) => return Err(Refusal::LoopbackOnly),
        }
        if door.access.has_source && matches!(request.peer, Peer::At(_)) {
            return Err(Refusal::HasSource);
        }
        if self.closed.is_cancelled() { Err(Refusal::ShuttingDown) } else { Ok(door) }
    }

    fn publish_at(&self, request: &Request<'_>, now: Instant) -> Result<Publication, Refusal> {
        let door = self.door(request)?;
        self.admission.admit(&door.access.channel).map_err(Refusal::NoCapacity)?;
        let ending = Ending::new();
        let (units, queue) = mpsc::channel(QUEUE_UNITS);
        let report = Arc::default();
        let session = Session {
            peer: request.peer.clone(),
            protocol: request.protocol,
            units: queue,
            report: Arc::clone(&report),
            ending: ending.clone(),
        };
        let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        // Locked across both, so that of two who come at once the later in the queue is the one who
        // stays.
        let mut occupant = lock(&door.occupant);
        occupant.takeovers = occupant.make_way(now)?;
        door.sessions.try_send(session).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::ShuttingDown,
        })?;
        if let Some(before) = occupant.newest.replace(ending.clone()) {
            before.end(Closed::TakenOver);
        }
        drop(occupant);
        lock(&door.doorway).absent = None;
        let contract = door.access.max_bitrate.map(|bits| Mutex::new(Contract::new(bits.into())));
        let channel = door.access.channel.clone();
        let Access { program, open_groups, .. } = door.access;
        let doors = Arc::downgrade(&self.doors);
        let wants = Want { program, open_groups };
        Ok(Publication { doors, channel, wants, units, room, contract, report, ending })
    }
}

/// A unit on its way, with the room it takes up in the queue.
#[derive(Debug)]
struct Queued {
    unit: Unit,
    _room: OwnedSemaphorePermit,
}

/// The publisher's end of a session. Dropping it tells the channel that the source is gone.
#[derive(Debug)]
pub struct Publication {
    /// Where a crash is noted. It keeps no door open.
    doors: Weak<HashMap<Name, Door>>,
    channel: Name,
    wants: Want,
    units: mpsc::Sender<Queued>,
    /// One permit per KiB of queue that is free.
    room: Arc<Semaphore>,
    contract: Option<Mutex<Contract>>,
    report: Arc<Mutex<Report>>,
    ending: Ending,
}

impl Publication {
    /// The channel published to.
    pub fn channel(&self) -> &Name {
        &self.channel
    }

    /// What the channel wants of a transport stream.
    pub fn wants(&self) -> Want {
        self.wants
    }

    /// Brings the figures of how the source arrives up to date.
    pub fn report(&self, change: impl FnOnce(&mut Report)) {
        change(&mut lock(&self.report));
    }

    /// Hands a unit on; waits while the channel's queue is full.
    ///
    /// # Errors
    /// Says why the channel takes no more.
    pub async fn push(&self, unit: Unit) -> Result<(), Closed> {
        if let Some(contract) = &self.contract {
            lock(contract)
                .take(unit.size(), Instant::now())
                .map_err(|broken| Closed::TooMuch { agreed: broken.agreed })?;
        }
        let kib = u32::try_from(unit.size() / 1024 + 1).unwrap_or(QUEUE_KIB).min(QUEUE_KIB);
        let queue = async {
            let _room = self.room.clone().acquire_many_owned(kib).await.ok()?;
            self.units.send(Queued { unit, _room }).await.ok()
        };
        tokio::select! {
            biased;
            () = self.ending.token.cancelled() => Err(self.ending.reason()),
            sent = queue => sent.ok_or_else(|| self.ending.reason()),
        }
    }

    /// Resolves when the channel ends this publication, with the reason.
    pub async fn closed(&self) -> Closed {
        self.ending.token.cancelled().await;
        self.ending.reason()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(doors) = self.doors.upgrade()
            && let Some(door) = doors.get(&self.channel)
        {
            lock(&door.occupant).crashes.note(Instant::now());
        }
        self.ending.token.cancel();
    }
}

/// A channel's end of its door: publishers arrive here, one after the other.
#[derive(Debug)]
pub struct Subscription {
    arrivals: mpsc::Receiver<Session>,
    doorway: Arc<Mutex<Doorway>>,
}

impl Subscription {
    /// The next publisher; `None` when the hub is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<Session> {
        self.arrivals.recv().await
    }

    /// What there is to tell of the door beside those who came through it.
    pub fn doorway(&self) -> Doorway {
        lock(&self.doorway).clone()
    }
}

/// The channel's end of one publisher's session.
#[derive(Debug)]
pub struct Session {
    /// Where the publisher is.
    pub peer: Peer,
    /// How it came.
    pub protocol: Protocol,
    units: mpsc::Receiver<Queued>,
    report: Arc<Mutex<Report>>,
    ending: Ending,
}

impl Session {
    /// The next unit; `None` when the publisher is gone or was taken over. Safe to cancel.
    pub async fn next(&mut self) -> Option<Unit> {
        self.units.recv().await.map(|queued| queued.unit)
    }

    /// How the source has been arriving, as far as its way can tell.
    pub fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Ends the session from this side and tells the publisher why.
    pub fn close(&self, reason: Closed) {
        self.ending.end(reason);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ending.end(Closed::ShuttingDown);
    }
}

/// Locks a mutex that holds plain data: a panic elsewhere can't have left it half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
