//! The thread's own side: which sockets there are, and what happens to them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc as commands;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::{BACKLOG, Call, CallError, Chunk, Command, Connection, SILENCE, Shared};
use crate::receive_buffer;
use crate::srt::library::{
    Event, Hook, Interest, Library, Listener, PAYLOAD, Poll, Read, Socket, Wishes,
};
use crate::srt::sieve;

/// How long the thread waits for sockets while there are connections, whose tasks may have made room
/// or gone; libsrt itself looks every 10 ms.
const TURN: Duration = Duration::from_millis(10);
/// The same while there is nobody. Whoever has something for the thread wakes it.
const IDLE_TURN: Duration = Duration::from_secs(1);
/// How long a caller may take from the hook's yes to a connection: the rest of its handshake.
const EXPECTED_FOR: Duration = Duration::from_secs(5);
/// How often the figures of connections are taken.
const FIGURES_EVERY: Duration = Duration::from_millis(500);
/// Bytes handed on at once at the most: what a 40 Mb/s stream sends in 13 ms.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for a connection's task: 2 MiB.
const QUEUE_CHUNKS: usize = 32;
/// Pause before a listener that has failed is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// A listener, and what it takes to open it again.
struct Door {
    /// `None` while it can't be opened.
    listener: Option<Listener>,
    udp: OwnedFd,
    latency: Duration,
    hook: Arc<Hook>,
    to: mpsc::Sender<Connection>,
    retry_at: Instant,
}

/// A connection as the thread has it.
struct Line {
    socket: Socket,
    chunks: mpsc::Sender<Chunk>,
    /// What the task had no room for.
    waiting: Option<Chunk>,
    shared: Arc<Shared>,
}

/// A call that nobody has taken yet.
struct Calling {
    socket: Socket,
    call: Call,
    reply: oneshot::Sender<Result<Connection, CallError>>,
}

/// The thread's state.
pub(super) struct Turns {
    library: Arc<Library>,
    poll: Poll,
    door: Option<Door>,
    calls: HashMap<i32, Calling>,
    lines: HashMap<i32, Line>,
    expected: Arc<Mutex<Option<Instant>>>,
    figures_at: Instant,
    scratch: Vec<u8>,
}

impl Turns {
    /// The state of a thread that is to wait with `poll`; `expected` is when the hook last let somebody in.
    pub(super) fn new(
        library: Arc<Library>,
        poll: Poll,
        expected: Arc<Mutex<Option<Instant>>>,
    ) -> Self {
        Self {
            library,
            poll,
            door: None,
            calls: HashMap::new(),
            lines: HashMap::new(),
            expected,
            figures_at: Instant::now(),
            scratch: vec![0; CHUNK],
        }
    }

    /// Serves until told to stop, or until nobody is left who could.
    pub(super) fn run(mut self, commands: &commands::Receiver<Command>) {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(Command::Stop) | Err(commands::TryRecvError::Disconnected) => return,
                    Err(commands::TryRecvError::Empty) => break,
                    Ok(Command::Listen { udp, latency, hook, to }) => {
                        let retry_at = Instant::now();
                        let door = Door { listener: None, udp, latency, hook, to, retry_at };
                        self.door = Some(door);
                    }
                    Ok(Command::Call { call, reply }) => self.begin(call, reply),
                }
            }
            self.open_door();
            // The library looks around 100 times a second while it is asked to wait.
            let turn = if self.is_idle() {
                std::thread::park_timeout(IDLE_TURN);
                Duration::ZERO
            } else {
                TURN
            };
            match self.poll.wait(turn) {
                Ok(events) => events.into_iter().for_each(|event| self.happened(event)),
                Err(error) => {
                    error!(%error, "srt sockets can't be waited for");
                    std::thread::sleep(TURN);
                }
            }
            self.sweep();
        }
    }

    /// Whether nobody is there and nobody is about to be.
    fn is_idle(&self) -> bool {
        let expected = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = expected.is_some_and(|since| since.elapsed() < EXPECTED_FOR);
        self.lines.is_empty() && self.calls.is_empty() && !expected
    }

    /// Opens the listener if there is to be one and none is open.
    fn open_door(&mut self) {
        let now = Instant::now();
        let Some(door) = self.door.as_mut().filter(|d| d.listener.is_none() && d.retry_at <= now)
        else {
            return;
        };
        door.retry_at = now + REOPEN_AFTER;
        let hook = Arc::clone(&door.hook);
        let opened = door.udp.as_fd().try_clone_to_owned().map_err(|error| error.to_string());
        let opened = opened.and_then(|udp| {
            let times = (door.latency, SILENCE);
            let listener = Listener::open(&self.library, udp, times, BACKLOG, hook);
            let listener = listener.map_err(|error| error.to_string())?;
            let watched = self.poll.add(listener.socket(), Interest::Read);
            watched.map_err(|error| error.to_string()).map(|()| listener)
        });
        match opened {
            Ok(listener) => {
                // Behind the library, which has just set it to what anybody may have.
                receive_buffer::enlarge(&door.udp, "srt");
                door.listener = Some(listener);
            }
            Err(reason) => error!(reason, "srt callers can't be taken; trying again"),
        }
    }

    /// Begins a call.
    fn begin(&mut self, call: Call, reply: oneshot::Sender<Result<Connection, CallError>>) {
        let wishes = Wishes {
            stream_id: &call.stream_id,
            passphrase: call.passphrase.as_ref(),
            latency: call.latency,
            connect_within: call.within,
            silence: SILENCE,
        };
        let called = own_port(call.address).and_then(|udp| {
            Ok(Socket::call(&self.library, udp, call.address, &wishes, &self.poll)?)
        });
        match called {
            Ok(socket) => drop(self.calls.insert(socket.id(), Calling { socket, call, reply })),
            // Whoever asked may have gone, here and below.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn happened(&mut self, event: Event) {
        if let Some(calling) = self.calls.remove(&event.id) {
            return self.end_call(calling, event.failed);
        }
        if self.lines.contains_key(&event.id) {
            return self.read(event);
        }
        let Some(door) = &mut self.door else { return };
        let Some(listener) = door.listener.take_if(|l| l.socket().id() == event.id) else { return };
        if event.failed {
            warn!("the srt listener broke; opening it again");
            self.poll.remove(listener.socket());
            return;
        }
        let to = door.to.clone();
        let accepted: Vec<_> = std::iter::from_fn(|| listener.accept()).collect();
        door.listener = Some(listener);
        for (socket, peer) in accepted {
            if let Some(connection) = self.connect(socket, peer) {
                // Whoever finds no room is turned away by being dropped.
                let _ = to.try_send(connection);
            }
        }
    }

    /// A call has been taken, or not.
    fn end_call(&mut self, calling: Calling, failed: bool) {
        let Calling { socket, call, reply } = calling;
        self.poll.remove(&socket);
        let result = if failed {
            Err(CallError::Rejected(socket.reject()))
        } else {
            self.connect(socket, call.address).ok_or(CallError::Stopped)
        };
        let _ = reply.send(result);
    }

    /// Watches a connection from now on.
    fn connect(&mut self, socket: Socket, peer: SocketAddr) -> Option<Connection> {
        let latency = socket.latency().ok()?;
        let stream_id = socket.stream_id();
        self.poll.add(&socket, Interest::Read).ok()?;
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let shared = Arc::new(Shared::default());
        let line = Line { socket, chunks: sender, waiting: None, shared: Arc::clone(&shared) };
        self.lines.insert(line.socket.id(), line);
        Some(Connection { peer, stream_id, latency, chunks, shared })
    }

    /// Reads what is due on a connection, up to a chunk: the rest is told of again.
    fn read(&mut self, Event { id, failed }: Event) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.waiting.is_some() {
            if failed {
                self.hang_up(id);
            }
            return;
        }
        let mut filled = 0;
        let over = loop {
            let Some(room) = self.scratch.get_mut(filled..).filter(|room| room.len() >= PAYLOAD)
            else {
                break false;
            };
            match line.socket.read(room) {
                Read::Packet(count) => filled += count,
                Read::Nothing => break failed,
                Read::Over => break true,
            }
        };
        if let Some(bytes) = self.scratch.get(..filled).filter(|bytes| !bytes.is_empty()) {
            let bytes = Bytes::copy_from_slice(bytes);
            let chunk = Chunk { bytes, received: Instant::now() };
            if let Err(mpsc::error::TrySendError::Full(chunk)) = line.chunks.try_send(chunk) {
                line.waiting = Some(chunk);
                self.poll.change(&line.socket, Interest::End);
            }
        }
        if over {
            self.hang_up(id);
        }
    }

    /// Lets go of a connection. Its task reads what is in its channel, and then its end.
    fn hang_up(&mut self, id: i32) {
        if let Some(line) = self.lines.remove(&id) {
            self.poll.remove(&line.socket);
        }
    }

    /// What is to be done of time to time: figures, tasks that have made room, tasks that have gone.
    fn sweep(&mut self) {
        let now = Instant::now();
        let figures = self.figures_at <= now;
        if figures {
            self.figures_at = now + FIGURES_EVERY;
        }
        let (poll, mut broken) = (&self.poll, Vec::new());
        self.calls.retain(|_, calling| {
            let wanted = !calling.reply.is_closed();
            if !wanted {
                poll.remove(&calling.socket);
            }
            wanted
        });
        self.lines.retain(|_, line| {
            if let Some(chunk) = line.waiting.take() {
                match line.chunks.try_send(chunk) {
                    Err(mpsc::error::TrySendError::Full(chunk)) => line.waiting = Some(chunk),
                    _ => poll.change(&line.socket, Interest::Read),
                }
            }
            if figures {
                match line.socket.figures() {
                    Some(link) => {
                        *line.shared.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
                    }
                    // Over; one that was so before it was watched is not told of.
                    None => broken.push(line.socket.id()),
                }
            }
            let left = line.shared.left.load(Ordering::Relaxed);
            if left {
                poll.remove(&line.socket);
            }
            !left
        });
        for id in broken {
            self.read(Event { id, failed: true });
        }
    }
}

/// A port of the system's for one call. Whoever is called may be as hostile as a caller.
fn own_port(to: SocketAddr) -> Result<OwnedFd, CallError> {
    let udp = match to {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let port = udp.map_err(|error| CallError::Port(error.to_string()))?.into();
    sieve::guard(&port);
    Ok(port)
}
