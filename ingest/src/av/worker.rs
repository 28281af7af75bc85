//! What runs inside a worker process: the only place where FFmpeg is named.
//!
//! ```text
//! socket ─► main thread: decode ─► pictures (output clock) ─► a thread per rung ─┐
//!                 └──────────────► sound (sample clock) ────► AAC thread ────────┴► link ─► socket
//! ```
//! A worker reads one socket and writes it back; it can open no file and no other socket, and where it reads a
//! film, has opened that before. It ends
//! when the socket closes or one of its threads does, and dies with its parent at the latest. Threads
//! never wait for each other without a limit: a peer that does not read for `link`'s patience ends
//! the worker.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::process::Signal;

use crate::av::protocol::{self, FromWorker, HEAD, Role, ToWorker};

mod broadcast;
mod canvas;
mod clock;
mod confine;
mod cuts;
mod decode;
mod encode;
mod film;
mod ladder;
mod link;
mod meter;
mod opus;
mod pictures;
mod rung;
mod scale;
mod slate;
mod slots;
mod sound;
mod still;

use link::Link;

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the socket to the server: {0}")]
    Socket(#[from] std::io::Error),
    #[error("the server's message: {0}")]
    Protocol(#[from] protocol::Error),
    #[error("the first message is not a start")]
    NotStarted,
    #[error("there is no file to read")]
    NoFilm,
    #[error("a part of the ladder stopped working")]
    Crippled,
    #[error("{what}: {error}")]
    Media { what: &'static str, error: ffmpeg_next::Error },
    #[error("{what}: {error}")]
    Codec { what: &'static str, error: String },
}

impl Error {
    /// Says what was being done when FFmpeg failed.
    fn media(what: &'static str) -> impl Fn(ffmpeg_next::Error) -> Self {
        move |error| Self::Media { what, error }
    }
}

/// Runs a worker on standard input, which must be a socket to the supervisor. The exit code is 0
/// after an orderly end.
pub fn main() -> ExitCode {
    with(None)
}

/// The same for a worker that reads a file, which it opens before it gives files up.
pub fn main_with_film(path: &Path) -> ExitCode {
    with(Some(path))
}

fn with(film: Option<&Path>) -> ExitCode {
    dies_with_parent();
    panics_end_it();
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => UnixStream::from(fd),
        Err(_) => return ExitCode::FAILURE,
    };
    let Ok(writing) = socket.try_clone() else { return ExitCode::FAILURE };
    let Ok((link, writer)) = link::open(writing) else { return ExitCode::FAILURE };
    let film = film.map(film::Film::open).transpose();
    if let Err(reason) = confine() {
        link.log(true, reason);
    }
    let messages = Messages { socket: Arc::new(socket) };
    let result = film.and_then(|film| run(messages, &link, film));
    if let Err(error) = &result {
        link.send(&FromWorker::Failed { reason: error.to_string() });
    }
    drop(link);
    // What was sent is written out before the process ends; the writer has its own patience.
    let _ = writer.join();
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Has the kernel end this process when the server is gone.
fn dies_with_parent() {
    // Failing to is no reason not to run: the socket's end is noticed too.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Has a panic of any thread end the process at once, with a line that says where. A worker is there anew in
/// a moment, while one of which a part goes on shows viewers a still picture for as long as that lasts: a
/// backtrace, read from the program's symbols where memory has run out, takes many seconds.
fn panics_end_it() {
    std::panic::set_hook(Box::new(|panic| {
        use std::io::Write as _;
        let thread = std::thread::current();
        // Standard error may be gone with the server.
        let _ = writeln!(std::io::stderr(), "{} {panic}", thread.name().unwrap_or("a thread"));
        std::process::abort();
    }));
}

/// Gives up what a worker needs no more once it has its socket: files, sockets, other programs and
/// processes, memory without end. For workers, and for programs that prove it.
///
/// # Errors
/// Says why not everything is given up, in words for the log.
pub fn confine() -> Result<(), String> {
    confine::confine().map_err(|error| error.to_string())
}

fn run(messages: Messages, link: &Link, film: Option<film::Film>) -> Result<(), Error> {
    ffmpeg_next::init().map_err(Error::media("starting FFmpeg"))?;
    let Some(ToWorker::Start(start)) = messages.next()? else { return Err(Error::NotStarted) };
    match start.role {
        Role::Ladder { name, rungs, grid, first_k_min, resume, slate_after_ms } => {
            let begin = ladder::Begin { grid, first_k_min, resume };
            let slate = ladder::Slate { name: &name, after: Duration::from_millis(slate_after_ms) };
            ladder::run(&messages, link, start.clock, (slate, &rungs), begin)
        }
        Role::Film => film::run(messages, link, start.clock, film.ok_or(Error::NoFilm)?),
        Role::Opus => opus::run(&messages, link),
        Role::Stills => still::run(&messages, link),
        Role::Broadcast(scene) => broadcast::run(messages, link, start.clock, &scene),
    }
}

/// The messages on the socket, in order.
struct Messages {
    socket: Arc<UnixStream>,
}

impl Messages {
    /// What they come from, for those who may have to end them.
    fn socket(&self) -> Arc<UnixStream> {
        Arc::clone(&self.socket)
    }

    /// The next one; `None` when the server has closed the socket.
    fn next(&self) -> Result<Option<ToWorker>, Error> {
        let mut head = [0; HEAD];
        match (&*self.socket).read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (length, kind) = protocol::read_head(head)?;
        let mut body = BytesMut::zeroed(length);
        (&*self.socket).read_exact(&mut body)?;
        let body: Bytes = body.freeze();
        Ok(Some(ToWorker::from_body(kind, body)?))
    }
}
