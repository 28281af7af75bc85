//! RTMP's sockets: accepts connections and drives a [`Session`] on each.
//!
//! One task per connection. A connection has little time and memory until it is authenticated
//! ([`DEADLINE_HELLO`] and below, [`super::chunk`]'s budgets) and there are few such connections at
//! once. After that the channel's queue sets the pace: while it is full nothing is read, and TCP
//! slows the broadcaster down. One log line per event, so many a second of those who do not get to publish
//! (`door`), never a key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::session::{self, Event, Session, Stage, Target};
use crate::door::{Gate, Pass, Publishing, Stats, Talk};
use crate::hub::{Closed, Hub, Publication, Refusal, Request};
use crate::source::{Protocol, Unit};
use crate::text::printable_name;

/// From accept to C1, whole. Real peers send it at once.
pub const DEADLINE_HELLO: Duration = Duration::from_secs(3);
/// From accept to C2.
pub const DEADLINE_HANDSHAKE: Duration = Duration::from_secs(5);
/// From accept, or from the end of the last publication, to an accepted `publish`.
pub const DEADLINE_PUBLISH: Duration = Duration::from_secs(10);
/// Longest time a publisher may send things other than audio and video.
pub const DEADLINE_MEDIA: Duration = Duration::from_secs(10);
/// Longest time without a byte of a publisher. Broadcasters send sound 40 times a second; a peer
/// that is silent for so long is gone, whatever its connection says.
pub const DEADLINE_SILENCE: Duration = Duration::from_secs(5);
/// How often the kernel asks again after a peer that has been silent for [`DEADLINE_SILENCE`].
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take to read a reply; replies are a few hundred bytes.
const DEADLINE_WRITE: Duration = Duration::from_secs(5);
/// How long a closed connection is still read, so that the reason reaches the peer before a reset.
const LINGER: Duration = Duration::from_secs(1);
/// Room made for each read of a publisher. At 20 Mb/s about 40 reads a second.
const READ: usize = 64 * 1024;
/// Room made for each read of a peer that is not authenticated: commands are small, and there may
/// be thousands of such peers.
const READ_UNKNOWN: usize = 4 * 1024;
/// Pause after a failed accept: the usual cause is that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts publishers until `cancel` fires, then ends them and returns when all are gone.
pub async fn serve(listener: TcpListener, hub: Hub, stats: Arc<Stats>, cancel: CancellationToken) {
    let tasks = TaskTracker::new();
    let gate = Gate::default();
    let refusals = Arc::<Talk>::default();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "rtmp accept failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        stats.connected();
        let pass = match gate.enter(peer.ip(), Instant::now()) {
            Ok(pass) => pass,
            Err(shut) => {
                stats.refused(shut.label());
                debug!(%peer, reason = shut.label(), "rtmp connection refused");
                continue;
            }
        };
        prepare(&stream);
        let connection =
            Connection::new(peer, hub.clone(), stats.clone(), refusals.clone(), Some(pass));
        attend(&tasks, connection, stream, cancel.clone());
    }
    tasks.close();
    tasks.wait().await;
}

/// Serves a connection in a task of its own. A bug that one stream triggers must not end the
/// others, nor go unseen.
fn attend<S>(tasks: &TaskTracker, connection: Connection, stream: S, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, stats) = (connection.peer, Arc::clone(&connection.stats));
    let task = tasks.spawn(connection.run(stream, cancel));
    tasks.spawn(async move {
        if task.await.is_err_and(|end| end.is_panic()) {
            stats.crashed();
            error!(%peer, "rtmp connection crashed");
        }
    });
}

/// Socket options; a failure of any changes nothing that matters.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    use rustix::net::sockopt;
    let millis = u32::try_from(DEADLINE_SILENCE.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
    // While a channel takes nothing, nothing is read, and only the kernel can tell a peer that
    // waits from one that is gone.
    let _ = sockopt::set_tcp_keepidle(stream, DEADLINE_SILENCE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY);
    let _ = sockopt::set_socket_keepalive(stream, true);
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the peer closed the connection")]
    Eof,
    #[error("the peer ended its publication")]
    Unpublished,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Session(#[from] session::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Closed(#[from] Closed),
    #[error("nothing read for {} s", DEADLINE_WRITE.as_secs())]
    SlowReader,
    #[error("{what} within {} s", within.as_secs())]
    Late { what: &'static str, within: Duration },
}

impl End {
    /// A label for metrics: one of a few.
    fn label(&self) -> &'static str {
        match self {
            Self::Eof | Self::Unpublished => "closed",
            Self::Io(_) | Self::SlowReader => "io",
            Self::Session(session::Error::Handshake) => "handshake",
            Self::Session(session::Error::Media(_)) => "media",
            Self::Session(_) => "protocol",
            Self::Refused(refusal) => refusal.label(),
            Self::Closed(closed) => closed.label(),
            Self::Late { .. } => "deadline",
        }
    }
}

/// A publication in progress.
struct Live {
    publication: Publication,
    /// Counted as going on for as long as this lives.
    _counted: Publishing,
    since: Instant,
    bytes_before: u64,
}

/// One connection.
struct Connection {
    peer: SocketAddr,
    hub: Hub,
    stats: Arc<Stats>,
    /// What is said of those who do not get to publish.
    refusals: Arc<Talk>,
    pass: Option<Pass>,
    session: Session,
    live: Option<Live>,
    /// Since when the present stage's deadline runs.
    since: tokio::time::Instant,
}

impl Connection {
    fn new(
        peer: SocketAddr,
        hub: Hub,
        stats: Arc<Stats>,
        refusals: Arc<Talk>,
        pass: Option<Pass>,
    ) -> Self {
        let since = tokio::time::Instant::now();
        Self { peer, hub, stats, refusals, pass, session: Session::new(), live: None, since }
    }

    /// Serves the connection to its end.
    async fn run<S>(mut self, mut stream: S, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let end = tokio::select! {
            () = cancel.cancelled() => End::Closed(Closed::ShuttingDown),
            Err(end) = self.converse(&mut stream) => end,
        };
        match &end {
            End::Session(error) => self.session.end(error),
            End::Closed(reason) if self.session.stage() == Stage::Publishing => {
                self.session.close(reason);
            }
            // It may still listen.
            End::Late { .. } if self.session.stage() == Stage::Publishing => {
                self.session.refuse("NetStream.Publish.Rejected", &end.to_string());
            }
            _ => {}
        }
        self.report(&end);
        self.live = None;
        if !matches!(end, End::Eof | End::Io(_) | End::SlowReader) {
            self.say_goodbye(&mut stream).await;
        }
        self.pass = None;
    }

    /// Reads, obeys and answers until there is a reason to end.
    async fn converse<S>(&mut self, stream: &mut S) -> Result<std::convert::Infallible, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let room = if self.live.is_some() { READ } else { READ_UNKNOWN };
            self.session.input().reserve(room);
            let (late, deadline) = self.next_deadline();
            let closed = async {
                match &self.live {
                    Some(live) => live.publication.closed().await,
                    None => std::future::pending().await,
                }
            };
            let count = tokio::select! {
                biased;
                reason = closed => return Err(reason.into()),
                count = stream.read_buf(self.session.input()) => count?,
                () = sleep_until(deadline) => return Err(late),
            };
            if count == 0 {
                return Err(End::Eof);
            }
            self.session.received(count);
            self.stats.received(count);
            let now = Instant::now();
            while let Some(event) = self.session.poll(now)? {
                self.obey(event).await?;
            }
            self.flush(stream).await?;
            // A peer that never stops sending what does not count is as late as a silent one.
            let (late, deadline) = self.deadline();
            if tokio::time::Instant::now() >= deadline {
                return Err(late);
            }
        }
    }

    /// When a read that begins now ends without a byte, and what to say then. The time in which
    /// the channel took nothing is not the peer's silence.
    fn next_deadline(&self) -> (End, tokio::time::Instant) {
        let stage = self.deadline();
        let silent = tokio::time::Instant::now() + DEADLINE_SILENCE;
        if self.live.is_some() && silent < stage.1 {
            return (End::Late { what: "not a byte", within: DEADLINE_SILENCE }, silent);
        }
        stage
    }

    /// When the present stage is over, and what to say then.
    fn deadline(&self) -> (End, tokio::time::Instant) {
        let (what, within) = match self.session.stage() {
            Stage::Hello => ("no RTMP handshake", DEADLINE_HELLO),
            Stage::Handshake => ("RTMP handshake not completed", DEADLINE_HANDSHAKE),
            Stage::Commands | Stage::Decision | Stage::Ended => {
                ("nothing published", DEADLINE_PUBLISH)
            }
            Stage::Publishing => ("no audio or video", DEADLINE_MEDIA),
        };
        (End::Late { what, within }, self.since + within)
    }

    async fn obey(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Publish(target) => self.publish(&target)?,
            Event::Unpublished => {
                self.report(&End::Unpublished);
                self.live = None;
                self.since = tokio::time::Instant::now();
            }
            Event::Unit(unit) => {
                let media = matches!(unit, Unit::Video(_) | Unit::Audio(_));
                if let Some(live) = &self.live {
                    live.publication.push(unit).await?;
                }
                if media {
                    self.since = tokio::time::Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Asks the hub, and answers the peer.
    fn publish(&mut self, target: &Target) -> Result<(), End> {
        let request = Request {
            channel: &target.channel,
            key: target.key.as_ref().map(|key| key.expose()),
            peer: self.peer.into(),
            protocol: Protocol::Rtmp,
        };
        match self.hub.publish(&request) {
            Ok(publication) => {
                info!(peer = %self.peer, channel = %publication.channel(), "publisher connected");
                self.session.accept();
                let _counted = self.stats.publishing();
                self.pass = None;
                self.since = tokio::time::Instant::now();
                let bytes_before = self.session.bytes();
                self.live =
                    Some(Live { publication, _counted, since: Instant::now(), bytes_before });
                Ok(())
            }
            Err(refusal) => {
                let code = match &refusal {
                    Refusal::BadName(_) => "NetStream.Publish.BadName",
                    Refusal::Denied | Refusal::LoopbackOnly => "NetStream.Publish.Denied",
                    _ => "NetStream.Publish.Rejected",
                };
                self.session.refuse(code, &refusal.to_string());
                self.hub.turned_away(&target.channel, refusal.label());
                let channel = printable_name(&target.channel);
                if let Some(unsaid) = self.refusals.may_say(Instant::now()) {
                    info!(peer = %self.peer, channel, reason = %refusal, unsaid, "publish refused");
                }
                Err(refusal.into())
            }
        }
    }

    /// Writes the session's output.
    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), End> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        timeout(DEADLINE_WRITE, stream.write_all(&output)).await.map_err(|_| End::SlowReader)??;
        Ok(())
    }

    /// Logs and counts the end of a publication or, before one, of the connection.
    fn report(&self, end: &End) {
        let peer = self.peer;
        let Some(live) = &self.live else {
            if !matches!(end, End::Eof | End::Unpublished) {
                self.stats.refused(end.label());
            }
            if !matches!(end, End::Refused(_) | End::Eof)
                && let Some(unsaid) = self.refusals.may_say(Instant::now())
            {
                let bytes = self.session.bytes();
                info!(%peer, reason = %end, bytes, unsaid, "rtmp connection ended");
            }
            return;
        };
        self.stats.unpublished(end.label());
        let counts = self.session.media().counts();
        info!(
            %peer,
            channel = %live.publication.channel(),
            reason = %end,
            bytes = self.session.bytes().saturating_sub(live.bytes_before),
            seconds = live.since.elapsed().as_secs(),
            pictures = counts.video,
            broken = counts.broken,
            "publisher gone"
        );
    }

    /// Sends what is left, then reads for a moment: closing with unread input would reset the
    /// connection and might destroy the reason on its way.
    async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) {
        let goodbye = async {
            if self.flush(stream).await.is_err() || stream.shutdown().await.is_err() {
                return;
            }
            let mut sink = vec![0; 4096];
            while matches!(stream.read(&mut sink).await, Ok(count) if count > 0) {}
        };
        let _ = timeout(LINGER, goodbye).await;
    }
}

#[cfg(test)]
mod tests;
