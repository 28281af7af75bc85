//! The signals that ask a process to end: which they are, [`Signals`] for a thread that waits for
//! them without a runtime, and [`die_with_parent`] for processes that must not be left behind.
//!
//! SIGTERM, SIGINT and SIGHUP mean the same to the program: end in order. A SIGHUP that was ignored
//! when the process was started, as `nohup` does, stays ignored.

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

/// What asks a process to end.
pub fn asking_to_end() -> impl Iterator<Item = Signal> {
    let hangup = (!hangup_is_ignored()).then_some(Signal::HUP);
    [Signal::TERM, Signal::INT].into_iter().chain(hangup)
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

/// What people call one of [`asking_to_end`].
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

/// Signals that have arrived: those that ask to end, and the ends of children.
#[derive(Debug)]
pub struct Signals {
    woken: UnixStream,
    asked: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses a socket pair or a handler.
    pub fn listen() -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let mut asked = Vec::new();
        for signal in asking_to_end() {
            let flag = Arc::new(AtomicBool::new(false));
            // The flag first: whoever is woken finds it.
            signal_hook::flag::register(signal.as_raw(), Arc::clone(&flag))?;
            pipe::register(signal.as_raw(), wake.try_clone()?)?;
            asked.push((signal, flag));
        }
        pipe::register(Signal::CHILD.as_raw(), wake)?;
        Ok(Self { woken, asked })
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

    /// The signals that ask to end and have come since the last call.
    pub fn take(&mut self) -> Vec<Signal> {
        let came = |(signal, flag): &(Signal, Arc<AtomicBool>)| {
            flag.swap(false, Ordering::SeqCst).then_some(*signal)
        };
        self.asked.iter().filter_map(came).collect()
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
    fn exit_codes_are_those_of_shells() {
        assert_eq!((exit_code(15), exit_code(9), exit_code(-1)), (143, 137, 255));
    }
}
