//! Crash points: named places where a test has the server die as `kill -9` has it, inside of what a
//! kill at random hits once in a thousand times.
//!
//! `CRASH_AT=name:n` ends the process when it comes to the point of that name for the `n`-th time.
//! Points with commas between them are for one server each, in the order in which the guardian starts
//! them, and `-` lets one live. A build without debug assertions, as what ships, has no such points.
//!
//! | point | what is on the disk then |
//! |---|---|
//! | `journal-beside` | a new journal beside the old one, or beside none |
//! | `inits-written` | init segments of a run that the journal does not know |
//! | `run-recorded` | a run without a segment |
//! | `file-created` | an empty file |
//! | `part-torn` | half of a part |
//! | `part-written` | a part that nobody could read yet |
//! | `listed` | all that was listed just now |
//! | `segment-whole` | a segment without its record |
//! | `record-torn` | half of a record |
//! | `segment-recorded` | a segment that is not listed as whole yet |
//! | `promise-torn` | one of several files that answer for a run that is over |
//! | `file-deleted` | the record of a segment whose file is gone |
//! | `recovery-begun` | what an earlier process left, read back and not gone on with |
//! | `segment-reopened` | the same, with the torn end of an open segment cut off |

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

const VARIABLE: &str = "CRASH_AT";

/// Where this process is to die.
static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// Dies here, if that is asked for.
pub(crate) fn point(name: &str) {
    if is_due(name) {
        die();
    }
}

/// Whether the process is to die at this point now, for a caller who does half of something before.
pub(crate) fn is_due(name: &str) -> bool {
    let asked = || Plan::parse(&std::env::var(VARIABLE).ok()?);
    cfg!(debug_assertions) && PLAN.get_or_init(asked).as_ref().is_some_and(|plan| plan.meets(name))
}

/// Dies at once: nothing is flushed, dropped or told.
pub(crate) fn die() -> ! {
    // Whether or not it may, nothing goes on behind this.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

/// Gives the `nth` server, from 0, what is meant for it.
pub(crate) fn hand_on(command: &mut Command, nth: usize) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Ok(points) = std::env::var(VARIABLE) else { return };
    match points.split(',').nth(nth) {
        Some(point) => command.env(VARIABLE, point),
        None => command.env_remove(VARIABLE),
    };
}

#[derive(Debug)]
struct Plan {
    name: String,
    /// How often the process still has to come there.
    left: AtomicU64,
}

impl Plan {
    /// `None` for what is no point.
    fn parse(text: &str) -> Option<Self> {
        let (name, count) = text.split_once(':')?;
        let left = count.parse().ok().filter(|left| *left > 0)?;
        Some(Self { name: name.to_owned(), left: AtomicU64::new(left) })
    }

    fn meets(&self, name: &str) -> bool {
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_met_once_when_it_is_come_to_for_the_nth_time() {
        let plan = Plan::parse("part-torn:3").unwrap();
        let met: Vec<bool> = (0..5).map(|_| plan.meets("part-torn")).collect();
        assert_eq!(met, [false, false, true, false, false]);
        assert!(!plan.meets("listed"));
        for none in ["-", "part-torn", "part-torn:0", "part-torn:x", ""] {
            assert!(Plan::parse(none).is_none(), "{none}");
        }
    }
}
