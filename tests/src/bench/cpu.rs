//! CPU time of processes, as the kernel counts it.

use std::time::Duration;

use crate::{Context, Failure, Result};

/// Ticks in a second of the times in `/proc`: fixed by the kernel's interface on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of a process, with all its threads and those of its children it has waited
/// for.
///
/// # Errors
/// If the process is gone.
pub fn of(id: u32) -> Result<Duration> {
    let fields = stat(id)?;
    // After the name: state is field 0, utime 11, stime 12, cutime 13, cstime 14.
    let ticks: u64 =
        [11, 12, 13, 14].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// User and system time of the calling thread.
pub fn of_thread() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(now.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}

fn stat(id: u32) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))
        .context(format!("CPU time of process {id}"))?;
    // The name may hold spaces and brackets.
    let (_, rest) =
        text.rsplit_once(')').ok_or_else(|| Failure::new("/proc stat without a name"))?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}
