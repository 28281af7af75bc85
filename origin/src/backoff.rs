//! How long to wait before a process that died is started again.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Deaths within this time count together.
const MEMORY: Duration = Duration::from_secs(60);
/// Deaths that are answered at once: a crash costs viewers a moment and nothing more.
const FREE: usize = 3;

/// Counts deaths and says how long to wait after each.
#[derive(Debug)]
pub(crate) struct Backoff {
    deaths: VecDeque<Instant>,
    longest: Duration,
}

impl Backoff {
    /// Waits that grow up to `longest`: what kills every process that is started must not keep a
    /// core busy with starting them.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { deaths: VecDeque::new(), longest }
    }

    /// Notes a death at `now` and gives the wait before the next start: none for the first few in a
    /// minute, then 1 s, doubling.
    pub(crate) fn after_death(&mut self, now: Instant) -> Duration {
        while self.deaths.front().is_some_and(|d| now.duration_since(*d) > MEMORY) {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        let beyond = self.deaths.len().saturating_sub(FREE);
        match u32::try_from(beyond) {
            Ok(0) => Duration::ZERO,
            Ok(n) => Duration::from_secs(1).saturating_mul(1 << (n - 1).min(8)).min(self.longest),
            Err(_) => self.longest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_deaths_are_free_and_the_wait_then_doubles_up_to_a_bound() {
        let (mut backoff, now) = (Backoff::up_to(Duration::from_secs(20)), Instant::now());
        let waits: Vec<u64> = (0..10).map(|_| backoff.after_death(now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 20, 20]);
    }

    #[test]
    fn deaths_are_forgotten_after_a_minute() {
        let (mut backoff, now) = (Backoff::up_to(Duration::from_secs(20)), Instant::now());
        for _ in 0..8 {
            backoff.after_death(now);
        }
        assert_eq!(backoff.after_death(now + Duration::from_secs(61)), Duration::ZERO);
    }
}
