//! Child processes that never outlive their test: each leads a group that is killed and reaped.
//!
//! [`tree`] tells what a process and its descendants hold, [`harm`] does them harm.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait::{Look, until};
use crate::{Context, Failure, Result};

pub mod harm;
pub mod tree;

use tree::Usage;

/// How long a process may take to end after it was asked to. The server's own bound is 25 s.
const END_WITHIN: Duration = Duration::from_secs(26);

/// A running program. Dropping it kills the whole group and all descendants, and waits for it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where a process's standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// Into its log, with what it says on standard error.
    Log,
    /// To be read by the test.
    Piped,
}

impl Process {
    /// Starts a program in a process group of its own; what it says goes to the file `log`.
    ///
    /// # Errors
    /// If the program can't be started, usually because a Debian package is missing.
    pub fn spawn(name: &str, command: &mut Command, stdout: Stdout, log: &Path) -> Result<Self> {
        let file = File::create(log).context(format!("log of {name}"))?;
        let out = match stdout {
            Stdout::Log => Stdio::from(file.try_clone().context("log of a process")?),
            Stdout::Piped => Stdio::piped(),
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(file)
            .process_group(0)
            .spawn()
            .context(format!("start {name} ({command:?})"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Process id of the program, which is also its group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The writing end of its standard input; once.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context(format!("standard input of {}", self.name))
    }

    /// The reading end of its standard output, if it is piped; once.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context(format!("standard output of {}", self.name))
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// The last lines that it has said.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log();
        let skip = text.lines().count().saturating_sub(lines);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it is still there after `bound`.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        until(&format!("end of {}", self.name), bound, || {
            Ok(Look::at(self.child.try_wait().context("wait for a process")?, "it still runs"))
        })
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A group that is gone already is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks it to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// If it does not end in time; it is killed then.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let ended = self.wait(END_WITHIN);
        self.signal(Signal::KILL);
        ended
    }

    /// Resident memory of the group's leader and its descendants, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        Usage::of(self.child.id()).resident_bytes
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = tree::members(self.child.id());
        self.signal(Signal::KILL);
        for id in family {
            // Those that lead groups of their own, too. One that is gone already is what is wanted.
            let _ = harm::signal(id, Signal::KILL);
        }
        // The group's leader is our child; its children are reaped by init once they are killed.
        let _ = self.child.wait();
    }
}

/// What a program that ran to its end has left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end.
///
/// # Errors
/// If it can't be started or takes longer than `bound`; it is killed then.
pub fn run(name: &str, command: &mut Command, bound: Duration) -> Result<Output> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let mut process = Process::spawn(name, command, Stdout::Piped, &dir.path().join("log"))?;
    drop(process.stdin()?);
    let mut pipe = process.stdout()?;
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    let status = match process.wait(bound) {
        Ok(status) => status,
        Err(failure) => {
            let said = process.log_tail(20);
            return Err(Failure::new(format!("{failure}; it said:\n{said}")));
        }
    };
    let stdout = reading
        .join()
        .map_err(|_| Failure::new("the thread that reads a process's output panicked"))?
        .context(format!("output of {name}"))?;
    Ok(Output { status, stdout, stderr: process.log() })
}
