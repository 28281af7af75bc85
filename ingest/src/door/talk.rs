//! How much a door says in the log of those it turns away: a flood must not fill the disk, nor cost
//! its writer the time.

use std::time::{Duration, Instant};

/// Lines within [`WITHIN`]; what is more is counted.
const MOST: u32 = 20;
/// A person who reads along follows that many lines a second.
const WITHIN: Duration = Duration::from_secs(1);

/// What has been said lately.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Talk {
    /// Whether there may be a line now, and how many there were not before it.
    pub(crate) fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= WITHIN) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said >= MOST {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_twenty_lines_a_second_and_the_next_one_tells_of_the_rest() {
        let (mut talk, now) = (Talk::default(), Instant::now());
        let said: Vec<_> = (0..1_000).filter_map(|_| talk.may_say(now)).collect();
        assert_eq!(said, [0; MOST as usize]);
        assert_eq!(talk.may_say(now + WITHIN), Some(1_000 - u64::from(MOST)));
        assert_eq!(talk.may_say(now + WITHIN), Some(0));
    }
}
