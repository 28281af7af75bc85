//! The guardian: holds the listening sockets and keeps a server running behind them.
//!
//! ```text
//! headwater serve ─► guardian ── sockets, LISTEN_FDS ──► headwater serve --guarded (the server)
//!        signals ──────┴─────── passed on ─────────────────┘        └ workers
//! ```
//! A server that dies is started again at once, and connections wait in the sockets' queues until
//! then: a viewer sees a late answer and no refused one. One that dies young again and again is
//! started more and more slowly. What only needs saying once ends the guardian too: a first server
//! that gives up by itself has told why, and its code becomes the guardian's. SIGTERM, SIGINT and the
//! SIGHUP of a terminal that goes away are passed on, and when the server then ends, so does the
//! guardian. Any other SIGHUP is the server's, which reads its certificates again.
//!
//! A server that is told to end itself ends with 0 and is followed by one that runs what is there now: another
//! program, another configuration, or the one before where that can't be used ([`Legacy`]).
//!
//! The server dies with the guardian (`PR_SET_PDEATHSIG`). The guardian waits for every child it is
//! given, as the first process of a container must. It opens no file, runs no other thread, and
//! does nothing else.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::cli;
use crate::config::Config;
use crate::crash;
use crate::legacy::Legacy;
use crate::signals::{self, Signals, Terminal, Wish};
use crate::sockets::{self, Sockets};

/// The longest pause before a server is started again: stock players wait 9 s for a playlist.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A first server that ends with an error within this has not come up: it opens a store and reads a
/// journal, on a disk that may be slow.
const COMES_UP_WITHIN: Duration = Duration::from_secs(10);
/// A server that ends with 0 after this was told to, by somebody who wants another one now.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Why nothing can be guarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No sockets to hold.
    #[error(transparent)]
    Sockets(#[from] sockets::Error),
    /// The operating system refuses something basic.
    #[error("{what}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::System { what, source }
}

/// Holds the sockets of `config` and keeps a server running on them, until told to end.
///
/// # Errors
/// There can't be a first server; the message says which address is the trouble.
pub fn run(config: &Config) -> Result<ExitCode, Error> {
    let sockets = Sockets::open(config)?;
    let signals = Signals::listen().map_err(system("can't listen for signals"))?;
    let program = std::env::current_exe().map_err(system("can't find my own program file"))?;
    let legacy = Legacy::new().map_err(system("can't keep a configuration in memory"))?;
    let (terminal, policy) = (Terminal::of_this_process(), Policy::default());
    let mut guardian =
        Guardian { program, sockets, legacy, signals, terminal, policy, server: None };
    guardian.start().map_err(system("can't start the server"))?;
    loop {
        if let Some(code) = guardian.turn() {
            return Ok(code);
        }
    }
}

/// A server that runs.
#[derive(Clone, Copy, Debug)]
struct Server {
    id: Pid,
    since: Instant,
}

#[derive(Debug)]
struct Guardian {
    program: PathBuf,
    sockets: Sockets,
    legacy: Legacy,
    signals: Signals,
    terminal: Terminal,
    policy: Policy,
    /// `None` while the next one may not start yet.
    server: Option<Server>,
}

impl Guardian {
    /// Waits for something to happen and acts on it. Gives the code to end with.
    fn turn(&mut self) -> Option<ExitCode> {
        self.signals.wait(self.policy.start_at);
        for signal in self.signals.take() {
            let wish = self.terminal.wish(signal);
            self.policy.told_to_end |= wish == Wish::End;
            match (self.server, wish) {
                // It may just have ended, which is found below.
                (Some(server), _) => drop(rustix::process::kill_process(server.id, signal)),
                (None, Wish::End) => return Some(ExitCode::SUCCESS),
                (None, Wish::Reread) => {}
            }
        }
        while let Some((id, status)) = reap() {
            if let Some(server) = self.server.take_if(|server| server.id == id)
                && let Some(code) = self.mourn(server, status)
            {
                return Some(code);
            }
        }
        if self.policy.start_at.take_if(|at| *at <= Instant::now()).is_some()
            && let Err(error) = self.start()
        {
            error!(%error, "the server can't be started");
            self.policy.again(Instant::now());
        }
        None
    }

    /// A server has ended.
    fn mourn(&mut self, server: Server, status: WaitStatus) -> Option<ExitCode> {
        let end = End::of(status);
        let now = Instant::now();
        let lived = now.duration_since(server.since);
        let (pid, seconds) = (server.id.as_raw_nonzero(), lived.as_secs());
        let next = self.policy.after(end, lived, now);
        match (next, end) {
            (Next::End(code), _) => return Some(ExitCode::from(code)),
            (Next::Again, End::Signal(signal)) => warn!(%pid, signal, seconds, "the server died"),
            (Next::Again, End::Code(0)) => info!(%pid, seconds, "the server ended, as it was told"),
            (Next::Again, End::Code(code)) => warn!(%pid, code, seconds, "the server ended"),
        }
        None
    }

    fn start(&mut self) -> std::io::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(arguments()).stdin(self.legacy.to_hand()?);
        // A Ctrl-C at the terminal is for the guardian, which passes it on: the server gets it once.
        command.process_group(0);
        self.sockets.hand_to(&mut command)?;
        crash::hand_on(&mut command, self.policy.started);
        signals::die_with_parent(&mut command, Signal::KILL);
        let id = i32::try_from(command.spawn()?.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| std::io::Error::other("a process without an id"))?;
        self.policy.started += 1;
        self.server = Some(Server { id, since: Instant::now() });
        if self.policy.started > 1 {
            info!(pid = %id.as_raw_nonzero(), "the server was started again");
        }
        Ok(())
    }
}

/// Arguments of the server: those of this process, and the role.
fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1).chain([cli::GUARDED.into()])
}

/// A child that has ended. Besides servers there may be their workers, where this is the first
/// process of its container.
fn reap() -> Option<(Pid, WaitStatus)> {
    rustix::process::wait(WaitOptions::NOHANG).ok().flatten()
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Code(u8),
    Signal(i32),
}

impl End {
    fn of(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(signal)) => Self::Signal(signal),
            // Stopped and continued ones are not asked for.
            (None, None) => Self::Code(u8::MAX),
        }
    }

    /// As shells tell it.
    fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signals::exit_code(signal),
        }
    }
}

/// What follows the end of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The guardian ends too, with this code.
    End(u8),
    /// Another one is started at [`Policy::start_at`].
    Again,
}

/// Decides what follows the end of a server. Knows no process.
#[derive(Debug)]
struct Policy {
    backoff: Backoff,
    /// How many servers there have been.
    started: usize,
    /// Whether one has come up.
    came_up: bool,
    told_to_end: bool,
    start_at: Option<Instant>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff::up_to(LONGEST_PAUSE),
            started: 0,
            came_up: false,
            told_to_end: false,
            start_at: None,
        }
    }
}

impl Policy {
    /// What follows when a server that lived for `lived` has ended.
    fn after(&mut self, end: End, lived: Duration, now: Instant) -> Next {
        let gave_up = matches!(end, End::Code(1..)) && lived < COMES_UP_WITHIN && !self.came_up;
        if self.told_to_end || gave_up {
            return Next::End(end.code());
        }
        self.came_up = true;
        match end {
            End::Code(0) if lived >= TOLD_AFTER => self.start_at = Some(now),
            _ => self.again(now),
        }
        Next::Again
    }

    /// Another one is started as soon as it may.
    fn again(&mut self, now: Instant) {
        self.start_at = Some(now + self.backoff.after_death(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: End = End::Signal(9);
    const MINUTE: Duration = Duration::from_secs(60);

    fn pause(policy: &Policy, now: Instant) -> Duration {
        policy.start_at.unwrap().duration_since(now)
    }

    #[test]
    fn a_server_that_dies_is_started_again_at_once() {
        let (mut policy, now) = (Policy::default(), Instant::now());
        for end in [KILLED, End::Code(101), End::Code(0)] {
            assert_eq!(policy.after(end, MINUTE, now), Next::Again);
            assert_eq!(pause(&policy, now), Duration::ZERO);
        }
    }

    #[test]
    fn a_first_server_that_gives_up_ends_the_guardian_with_its_code() {
        let now = Instant::now();
        let young = Duration::from_millis(50);
        assert_eq!(Policy::default().after(End::Code(2), young, now), Next::End(2));
        // One that crashes may do better the next time, and one that was up has come up.
        assert_eq!(Policy::default().after(KILLED, young, now), Next::Again);
        assert_eq!(Policy::default().after(End::Code(2), MINUTE, now), Next::Again);
        let mut policy = Policy::default();
        policy.after(KILLED, MINUTE, now);
        assert_eq!(policy.after(End::Code(2), young, now), Next::Again);
    }

    #[test]
    fn a_server_that_dies_again_and_again_is_started_more_slowly_up_to_a_bound() {
        let (mut policy, now) = (Policy::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            policy.after(KILLED, Duration::ZERO, now);
            pauses.push(pause(&policy, now).as_secs());
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 5, 5]);
    }

    #[test]
    fn servers_that_are_ended_for_another_one_cost_no_pause() {
        let (mut policy, now) = (Policy::default(), Instant::now());
        for _ in 0..8 {
            policy.after(End::Code(0), TOLD_AFTER, now);
            assert_eq!(pause(&policy, now), Duration::ZERO);
        }
        // Those that end by themselves as soon as they are there do.
        for _ in 0..8 {
            policy.after(End::Code(0), Duration::ZERO, now);
        }
        assert_eq!(pause(&policy, now), LONGEST_PAUSE);
    }

    #[test]
    fn a_server_that_was_told_to_end_takes_the_guardian_with_it() {
        let now = Instant::now();
        for (end, code) in [(End::Code(0), 0), (End::Code(3), 3), (KILLED, 137)] {
            let mut policy = Policy { told_to_end: true, ..Policy::default() };
            assert_eq!(policy.after(end, MINUTE, now), Next::End(code));
        }
    }
}
