//! Harm to running processes: signals, too little CPU, no more memory.
//!
//! A [`Squeeze`] lasts until it is dropped. It uses the kernel's CPU controller where a test may (as
//! root, cgroup v1), and stops and continues the processes in turns where it may not; both give a
//! tree of processes the same share of one core, in periods of 100 ms.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::tree;
use crate::{Context, Failure, Result};

/// Over how long a share of the CPU is counted: the kernel's own default.
const PERIOD: Duration = Duration::from_millis(100);
/// Where cgroup v1 has its CPU controller.
const CPU_CONTROLLER: &str = "/sys/fs/cgroup/cpu";

/// Sends a signal to one process.
///
/// # Errors
/// If there is no such process any more.
pub fn signal(id: u32, signal: Signal) -> Result {
    kill_process(pid(id)?, signal).context(format!("{signal:?} to process {id}"))
}

/// Gives a running process no more memory: from now on every request for new memory fails, as on a
/// machine that has none left. What it has it keeps, so it lives until it asks for more.
///
/// # Errors
/// If there is no such process any more.
pub fn starve(id: u32) -> Result {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    for resource in [Resource::As, Resource::Data] {
        prlimit(Some(pid(id)?), resource, nothing).context(format!("limit of process {id}"))?;
    }
    Ok(())
}

fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).context(format!("process {id}"))
}

/// A tree of processes that gets a share of one core only.
#[derive(Debug)]
pub struct Squeeze {
    by: By,
}

#[derive(Debug)]
enum By {
    Controller(Group),
    Turns { stop: Arc<AtomicBool>, thread: Option<JoinHandle<()>> },
}

impl Squeeze {
    /// Gives `root` and its descendants, together, at most `percent` of one core. Children that
    /// they start meanwhile are among them.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn start(root: u32, percent: u32) -> Result<Self> {
        if !tree::is_there(root) {
            return Err(Failure::new(format!("no process {root}")));
        }
        let by = match Group::create(percent) {
            Ok(group) => {
                group.take(root)?;
                By::Controller(group)
            }
            Err(_) => Self::in_turns(root, percent),
        };
        Ok(Self { by })
    }

    /// The way for those who may not use the controller.
    fn in_turns(root: u32, percent: u32) -> By {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let on = PERIOD * percent.min(100) / 100;
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                each(root, Signal::STOP);
                std::thread::sleep(PERIOD - on);
                each(root, Signal::CONT);
                std::thread::sleep(on);
            }
        });
        By::Turns { stop, thread: Some(thread) }
    }
}

impl Drop for Squeeze {
    fn drop(&mut self) {
        match &mut self.by {
            By::Controller(group) => group.release(),
            By::Turns { stop, thread } => {
                stop.store(true, Ordering::Relaxed);
                if let Some(thread) = thread.take() {
                    // It ends with everything continued, and has nothing to tell.
                    let _ = thread.join();
                }
            }
        }
    }
}

fn each(root: u32, what: Signal) {
    for id in tree::members(root) {
        // One that has ended meanwhile needs no signal.
        let _ = signal(id, what);
    }
}

/// A group of the CPU controller. Its members go to the parent group when it is released.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
}

impl Group {
    fn create(percent: u32) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("headwater-it-{}-{number}", std::process::id());
        let folder = Path::new(CPU_CONTROLLER).join(name);
        fs::create_dir(&folder).context("group of the CPU controller")?;
        let mut group = Self { folder };
        let period = PERIOD.as_micros();
        let set = group
            .write("cpu.cfs_period_us", &period.to_string())
            .and_then(|()| group.write("cpu.cfs_quota_us", &share(percent).to_string()));
        if set.is_err() {
            group.release();
        }
        set.map(|()| group)
    }

    /// Takes a tree of processes in: twice, for children born while it was walked.
    fn take(&self, root: u32) -> Result {
        for _ in 0..2 {
            for id in tree::members(root) {
                if let Err(failure) = self.write("cgroup.procs", &id.to_string())
                    && tree::is_there(id)
                {
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> Result {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
    }

    fn release(&mut self) {
        let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for id in members.lines() {
            // Those that have ended are in no group any more.
            let _ = fs::write(Path::new(CPU_CONTROLLER).join("cgroup.procs"), id);
        }
        // A group that can't be removed has no members and costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Microseconds of CPU per period.
fn share(percent: u32) -> u128 {
    PERIOD.as_micros() * u128::from(percent) / 100
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::Instant;

    use super::*;
    use crate::wait::{Look, until};

    /// A process that turns CPU into heat until it is dropped.
    struct Burner(Child);

    impl Burner {
        fn start() -> Self {
            Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
        }
    }

    impl Drop for Burner {
        fn drop(&mut self) {
            let _ = (self.0.kill(), self.0.wait());
        }
    }

    /// CPU time that a process has used, in clock ticks of 10 ms.
    fn ticks(id: u32) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Share of one core that a process uses within a second, in percent.
    fn used(id: u32) -> u64 {
        let (before, begun) = (ticks(id), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        (ticks(id) - before) * 1000 / begun.elapsed().as_millis() as u64
    }

    /// It was let go, whatever else this machine does.
    fn goes_on(id: u32) {
        let before = ticks(id);
        let moved = until("CPU for the process", Duration::from_secs(10), || {
            Ok(Look::at((ticks(id) > before + 10).then_some(()), "it stands"))
        });
        moved.unwrap();
    }

    #[test]
    fn a_squeezed_process_gets_its_share_and_no_more() {
        let burner = Burner::start();
        let squeeze = Squeeze::start(burner.0.id(), 30).unwrap();
        let held = used(burner.0.id());
        drop(squeeze);
        assert!(held <= 36, "{held} % of a core");
        goes_on(burner.0.id());
    }

    #[test]
    fn turns_give_the_same_share() {
        let burner = Burner::start();
        let squeeze = Squeeze { by: Squeeze::in_turns(burner.0.id(), 30) };
        let held = used(burner.0.id());
        drop(squeeze);
        assert!(held <= 40, "{held} % of a core");
        goes_on(burner.0.id());
    }

    #[test]
    fn a_starved_process_fails_at_its_next_request_for_memory() {
        // Doubles a string for ever once it is told to.
        let grow = "read go; s=xxxxxxxxxxxxxxxx; while :; do s=$s$s; done";
        let mut child = Command::new("sh")
            .args(["-c", grow])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        starve(child.id()).unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "{status}");
    }

    #[test]
    fn a_signal_to_nobody_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(signal(child.id(), Signal::KILL).is_err());
    }
}
