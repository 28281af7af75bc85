//! The signals that the program heeds: which they are, [`Signals`] for a thread that waits for them
//! without a runtime, and [`die_with_parent`] for processes that must not be left behind.
//!
//! SIGTERM and SIGINT mean the same: end in order. SIGHUP has two meanings. Sent by a terminal that goes
//! away it means that too; sent by an operator or a tool that renews certificates it asks to read them
//! again. Which it was is told by whether the [`Terminal`] is still there. One that was ignored when the
//! process was started, as `nohup` does, stays ignored.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use signal_hook::low_level::pipe;
use tokio::time::Instant;

/// Bits of `SigIgn` in `/proc/self/status`: signal n is bit n - 1.
const HANGUP_BIT: u64 = 1;

/// What is heeded.
pub fn heeded() -> impl Iterator<Item = Signal> {
    let hangup = (!hangup_is_ignored()).then_some(Signal::HUP);
    [Signal::TERM, Signal::INT].into_iter().chain(hangup)
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To end in order.
    End,
    /// To read certificates again.
    Reread,
}

/// The terminal that a process was started at, if it was.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    was_there: bool,
}

impl Terminal {
    /// This process's.
    pub fn of_this_process() -> Self {
        Self { was_there: has_terminal() }
    }

    /// What one of [`heeded`] asks for now.
    pub fn wish(self, signal: Signal) -> Wish {
        match signal {
            Signal::HUP if !self.was_there || has_terminal() => Wish::Reread,
            _ => Wish::End,
        }
    }
}

/// Whether the process has a terminal. One that has gone away can't be opened.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether whoever started this process wants it to live on without a terminal.
fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANGUP_BIT != 0)
}

/// What people call one of [`heeded`].
pub fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        Signal::HUP => "SIGHUP",
        _ => "another",
    }
}

/// The exit code of a process that a signal ended, as shells tell it.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}

/// Lets the kernel send a signal to the command's process when the thread that starts it is gone, and
/// so when this process is.
pub fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    let bind = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // It may have died before it was asked for.
        match rustix::process::getppid() {
            Some(id) if id == parent => Ok(()),
            _ => Err(rustix::io::Errno::CHILD.into()),
        }
    };
    // SAFETY: between fork and exec this makes system calls only, without allocation or locks.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(bind);
    }
}

/// Signals that have arrived: those that are heeded, and the ends of children.
#[derive(Debug)]
pub struct Signals {
    woken: UnixStream,
    came: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses a socket pair or a handler.
    pub fn listen() -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let mut came = Vec::new();
        for signal in heeded() {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: whoever is woken finds it.
            signal_hook::flag::register(signal.as_raw(), Arc::clone(&flag))?;
            pipe::register(signal.as_raw(), wake.try_clone()?)?;
            came.push((signal, flag));
        }
        pipe::register(Signal::CHILD.as_raw(), wake)?;
        Ok(Self { woken, came })
    }

    /// Waits for a signal, until `deadline` at the longest.
    pub fn wait(&mut self, deadline: Option<Instant>) {
        let left = deadline.map(|at| {
            // Rounded up, so that the deadline has passed when this returns.
            at.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        });
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut woken = [PollFd::new(&self.woken, PollFlags::IN)];
        // A wait that fails, by an interruption say, is a wait that ends early.
        let _ = poll(&mut woken, left.as_ref());
        let mut bytes = [0; 64];
        while self.woken.read(&mut bytes).is_ok_and(|read| read > 0) {}
    }

    /// The signals that are heeded and have come since the last call.
    pub fn take(&mut self) -> Vec<Signal> {
        let came = |(signal, flag): &(Signal, Arc<AtomicBool>)| {
            flag.swap(false, Ordering::SeqCst).then_some(*signal)
        };
        self.came.iter().filter_map(came).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_was_ignored_at_the_start_is_found() {
        let status = |mask: &str| format!("Name:\theadwater\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert!(ignores_hangup(&status("0000000000000001")));
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup(""));
    }

    #[test]
    fn a_hangup_without_a_terminal_that_went_away_asks_for_certificates() {
        let never = Terminal { was_there: false };
        assert_eq!(never.wish(Signal::HUP), Wish::Reread);
        assert_eq!(never.wish(Signal::TERM), Wish::End);
        let here = Terminal { was_there: true };
        let wish = if has_terminal() { Wish::Reread } else { Wish::End };
        assert_eq!(here.wish(Signal::HUP), wish);
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!((exit_code(15), exit_code(9), exit_code(-1)), (143, 137, 255));
    }
}
