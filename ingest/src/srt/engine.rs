//! The one thread that waits for all sockets of the library, and its connections to the tasks.
//!
//! ```text
//! Poll ─► accept ─► Connection ─► the listener's channel
//!      ─► read   ─► Chunk      ─► the connection's channel (full: the socket is left unread)
//! ```
//! A connection's task reads [`Chunk`]s and drops the [`Connection`] to close it. While its channel is
//! full its socket is not read: the library holds what comes, and lets go of what is too old.
//! Figures are taken while the connection is there, as it gives none afterwards. While nobody is there
//! the thread sleeps: whoever is let in by the listener's hook wakes it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as commands;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::library::{Caller, Error, Hook, Library, Poll};
use super::link::Link;
use super::reject::Reject;
use crate::secret::Secret;

mod turns;

use turns::Turns;

/// Callers whose handshake is through and that nobody has picked up; more are turned away.
const BACKLOG: u16 = 128;
/// Commands that may wait for the thread.
const QUEUE_COMMANDS: usize = 64;
/// A caller that shuts up is gone after this, whatever it last said.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Bytes of a stream, as they came.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Payloads of packets, joined.
    pub(super) bytes: Bytes,
    /// When the last of them was handed out by the library.
    pub(super) received: Instant,
}

/// A connection as its task has it. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// The stream identifier; `None` if it is no text.
    pub(super) stream_id: Option<String>,
    /// How long packets are held for those before them.
    pub(super) latency: Duration,
    chunks: mpsc::Receiver<Chunk>,
    shared: Arc<Shared>,
}

/// What the thread and a connection's task share.
#[derive(Debug, Default)]
struct Shared {
    /// The task wants no more.
    left: AtomicBool,
    link: Mutex<Link>,
}

impl Connection {
    /// The next bytes; `None` when the connection is over. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }

    /// The newest figures.
    pub(super) fn link(&self) -> Link {
        *self.shared.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.left.store(true, Ordering::Relaxed);
    }
}

/// Whom to call and how.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) address: SocketAddr,
    pub(super) stream_id: String,
    pub(super) passphrase: Option<Secret>,
    pub(super) latency: Duration,
    pub(super) within: Duration,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other end does not take the call.
    #[error("{0}")]
    Rejected(Reject),
    /// The system has no port for it.
    #[error("no port to call from: {0}")]
    Port(String),
    /// The library does not even begin.
    #[error(transparent)]
    Library(#[from] Error),
    /// The program is going down.
    #[error("the server is shutting down")]
    Stopped,
}

enum Command {
    Listen { udp: OwnedFd, latency: Duration, hook: Arc<Hook>, to: mpsc::Sender<Connection> },
    Call { call: Call, reply: oneshot::Sender<Result<Connection, CallError>> },
    Stop,
}

/// The library, with the thread that waits for its sockets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: commands::SyncSender<Command>,
    thread: Thread,
    /// When the hook last let somebody in.
    expected: Arc<Mutex<Option<Instant>>>,
    ended: CancellationToken,
}

impl Engine {
    /// Starts the library and the thread.
    ///
    /// # Errors
    /// The system gives no thread, or the library does not start.
    pub fn start() -> io::Result<Self> {
        let library = Library::start().map_err(io::Error::other)?;
        let poll = Poll::new(&library).map_err(io::Error::other)?;
        let (sender, receiver) = commands::sync_channel(QUEUE_COMMANDS);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let expected = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&expected);
        let thread = std::thread::Builder::new().name("srt".to_owned());
        let thread = thread.spawn(move || {
            let _guard = guard;
            Turns::new(library, poll, heard).run(&receiver);
        })?;
        let thread = thread.thread().clone();
        Ok(Self { commands: sender, thread, expected, ended })
    }

    /// Gives the thread something to do; false if it is gone or has more to do than it can.
    fn tell(&self, command: Command) -> bool {
        let told = self.commands.try_send(command).is_ok();
        self.thread.unpark();
        told
    }

    /// Takes callers on a bound UDP socket, the one door there is: `hook` decides about each, on a
    /// thread that waits for it. Connections come out in the order in which they were made.
    pub(super) fn listen(
        &self,
        udp: UdpSocket,
        latency: Duration,
        hook: Arc<Hook>,
    ) -> mpsc::Receiver<Connection> {
        let (to, connections) = mpsc::channel(usize::from(BACKLOG));
        let (expected, thread) = (Arc::clone(&self.expected), self.thread.clone());
        let hook = Arc::new(move |caller: Caller<'_>| {
            let decided = hook(caller);
            if decided.is_ok() {
                *expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                thread.unpark();
            }
            decided
        });
        // A thread that has ended shows as a channel that has.
        self.tell(Command::Listen { udp: udp.into(), latency, hook, to });
        connections
    }

    /// Calls somebody.
    pub(super) async fn call(&self, call: Call) -> Result<Connection, CallError> {
        let (reply, answer) = oneshot::channel();
        if !self.tell(Command::Call { call, reply }) {
            return Err(CallError::Stopped);
        }
        answer.await.map_err(|_| CallError::Stopped)?
    }

    /// Ends the thread: every connection is closed and every peer told. Resolves when that is done.
    pub(super) async fn stop(&self) {
        self.tell(Command::Stop);
        self.ended.cancelled().await;
    }
}
