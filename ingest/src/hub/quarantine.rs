//! Sources that crash the session which reads them.
//!
//! A parser's panic is a bug of ours, and it ends its own session only. But an encoder that sends what
//! brings it about comes back at once, and would have its channel flap for as long as it likes. After
//! a few crashes in a minute the channel's door stays shut for another, so that viewers see the slate
//! and the operator the reason.

use std::time::{Duration, Instant};

/// Crashes within [`WITHIN`] that shut the door.
const CRASHES: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// For how long it is shut after the last of them.
const SHUT: Duration = Duration::from_secs(60);

/// A channel's crashes, the newest last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crashes {
    at: [Option<Instant>; CRASHES],
}

impl Crashes {
    /// Notes one.
    pub(super) fn note(&mut self, now: Instant) {
        self.at.rotate_left(1);
        if let Some(newest) = self.at.last_mut() {
            *newest = Some(now);
        }
    }

    /// Whether a publisher may come at `now`.
    ///
    /// # Errors
    /// There have been too many: how long until one may.
    pub(super) fn allow(&self, now: Instant) -> Result<(), Duration> {
        let [Some(oldest), .., Some(newest)] = self.at else { return Ok(()) };
        let left = (newest + SHUT).saturating_duration_since(now);
        if newest.duration_since(oldest) > WITHIN || left.is_zero() {
            return Ok(());
        }
        Err(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_crashes_within_a_minute_shut_the_door_for_one() {
        let (mut crashes, begin) = (Crashes::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        crashes.note(at(0));
        crashes.note(at(10));
        assert_eq!(crashes.allow(at(10)), Ok(()));
        crashes.note(at(60));
        assert_eq!(crashes.allow(at(61)), Err(Duration::from_secs(59)));
        assert_eq!(crashes.allow(at(120)), Ok(()));
        crashes.note(at(121));
        crashes.note(at(130));
        assert_eq!(crashes.allow(at(130)), Ok(()), "three in more than a minute");
        crashes.note(at(131));
        assert!(crashes.allow(at(131)).is_err());
    }
}
