//! How much a publisher may send.
//!
//! A source far above what its channel was made for costs its neighbours their share of the machine.
//! Half as much again may come for ever, since scenes differ; more than that fills a bucket, and
//! whoever makes it run over is told to go. At three times the contract that takes
//! [`BURST`].
//!
//! Pure: instants come in from the caller.

use std::time::{Duration, Instant};

/// What may come for ever, in percent of the contract.
const TOLERATED_PERCENT: u64 = 150;
/// How much more than that may come at once, as time at the tolerated rate: what an encoder sends
/// after its line was stuck for a while.
const BURST: Duration = Duration::from_secs(5);

/// A leaky bucket of bits.
#[derive(Debug)]
pub(super) struct Contract {
    /// Bits per second agreed.
    agreed: u64,
    /// Bits that have come and are not yet tolerated, as of `at`.
    level: u64,
    at: Option<Instant>,
}

/// More came than the contract has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Bits per second agreed.
    pub(super) agreed: u64,
}

impl Contract {
    /// A contract over so many bits per second.
    pub(super) fn new(agreed: u64) -> Self {
        Self { agreed, level: 0, at: None }
    }

    /// Takes `bytes` into account that came at `now`.
    ///
    /// # Errors
    /// That is too much.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Result<(), Broken> {
        let tolerated = self.agreed.saturating_mul(TOLERATED_PERCENT) / 100;
        let over = |time: Duration| -> u64 {
            let bits = u128::from(tolerated) * time.as_micros() / 1_000_000;
            u64::try_from(bits).unwrap_or(u64::MAX)
        };
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        let bits = (bytes as u64).saturating_mul(8);
        self.level = self.level.saturating_sub(over(elapsed)).saturating_add(bits);
        if self.level > over(BURST) { Err(Broken { agreed: self.agreed }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGREED: u64 = 20_000_000;

    /// After how many seconds, to the nearest, a source that sends so many bits per second is told to
    /// go, of a minute.
    fn ends_after(bits_per_second: u64) -> Option<u64> {
        let (mut contract, begin) = (Contract::new(AGREED), Instant::now());
        let packets = 100u64;
        let bytes = usize::try_from(bits_per_second / 8 / packets).unwrap();
        (0..60 * packets).find_map(|n| {
            let now = begin + Duration::from_millis(n * 1_000 / packets);
            contract.take(bytes, now).is_err().then_some((n + packets / 2) / packets)
        })
    }

    #[test]
    fn half_as_much_again_goes_on_and_three_times_as_much_ends_after_five_seconds() {
        assert_eq!(ends_after(AGREED), None);
        assert_eq!(ends_after(AGREED * 149 / 100), None);
        assert_eq!(ends_after(AGREED * 3), Some(5));
        assert_eq!(ends_after(AGREED * 10), Some(1));
    }

    #[test]
    fn what_waited_behind_a_stuck_line_may_come_at_once() {
        let (mut contract, begin) = (Contract::new(AGREED), Instant::now());
        let seconds = |bits: u64| usize::try_from(bits / 8).unwrap();
        contract.take(seconds(AGREED), begin).unwrap();
        contract.take(seconds(AGREED * 6), begin + Duration::from_secs(6)).unwrap();
        assert_eq!(
            contract.take(seconds(AGREED * 2), begin + Duration::from_secs(6)),
            Err(Broken { agreed: AGREED })
        );
    }

    proptest! {
        #[test]
        fn it_is_never_broken_by_what_is_tolerated_nor_kept_by_what_is_not(
            agreed in 100_000u64..100_000_000,
            steps in proptest::collection::vec((1u64..500, 0usize..2_000_000), 1..200),
        ) {
            let (mut contract, mut now) = (Contract::new(agreed), Instant::now());
            let begin = now;
            let mut bits = 0u64;
            for (wait, bytes) in steps {
                now += Duration::from_millis(wait);
                bits += bytes as u64 * 8;
                let room = agreed as f64 * 1.5 * ((now - begin).as_secs_f64() + 5.0);
                let verdict = contract.take(bytes, now);
                if verdict.is_ok() {
                    prop_assert!(bits as f64 <= room * 1.001 + 1_000.0);
                } else {
                    break;
                }
            }
        }
    }
}
