//! How much a door says in the log of those it turns away: a flood must not fill the disk, nor cost
//! its writer the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines within [`WITHIN`]; what is more is counted.
const MOST: u32 = 20;
/// A person who reads along follows that many lines a second.
const WITHIN: Duration = Duration::from_secs(1);

/// What has been said lately.
#[derive(Debug, Default)]
pub(crate) struct Talk(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Talk {
    /// Whether there may be a line now, and how many there were not before it, if any.
    pub(crate) fn may_say(&self, now: Instant) -> Option<Option<u64>> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| now.duration_since(since) >= WITHIN) {
            said.since = Some(now);
            said.lines = 0;
        }
        if said.lines >= MOST {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        let unsaid = std::mem::take(&mut said.unsaid);
        Some((unsaid > 0).then_some(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_twenty_lines_a_second_and_the_next_one_tells_of_the_rest() {
        let (talk, now) = (Talk::default(), Instant::now());
        let said: Vec<_> = (0..1_000).filter_map(|_| talk.may_say(now)).collect();
        assert_eq!(said, [None; MOST as usize]);
        assert_eq!(talk.may_say(now + WITHIN), Some(Some(1_000 - u64::from(MOST))));
        assert_eq!(talk.may_say(now + WITHIN), Some(None));
    }
}
