//! How often a channel may change hands.
//!
//! Two encoders that both hold the key and both reconnect would take a channel from each other for
//! ever, and viewers would see neither. A takeover is therefore paid for with time: the first few
//! are free, then one every [`INTERVAL`] (a generic cell rate algorithm: one instant of memory).
//! Whoever is refused is told when to come again; the publisher that is there stays.
//!
//! A publisher who finds the channel empty pays nothing: one who lost his line and comes back is
//! never kept waiting, however often that happens.

use std::time::{Duration, Instant};

/// What a takeover costs: six a minute go on for ever. Nobody changes encoders more often on
/// purpose, and a publisher whose dead connection still holds the channel is let go within 5 s.
const INTERVAL: Duration = Duration::from_secs(10);
/// Takeovers that may come at once: a hand that tries two encoders, a line that breaks in both.
const BURST: u32 = 6;

/// A channel's account of takeovers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    /// When the takeovers so far will be paid for.
    paid_at: Option<Instant>,
}

impl Limit {
    /// Pays for a takeover at `now`.
    ///
    /// # Errors
    /// There have been too many: how long until the next one is free.
    pub(super) fn pay(&mut self, now: Instant) -> Result<(), Duration> {
        let paid_at = self.paid_at.map_or(now, |paid_at| paid_at.max(now)) + INTERVAL;
        let most = now + INTERVAL * BURST;
        if paid_at > most {
            return Err(paid_at - most);
        }
        self.paid_at = Some(paid_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn six_takeovers_are_free_and_the_seventh_is_told_when_to_come() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        for _ in 0..6 {
            limit.pay(now).unwrap();
        }
        assert_eq!(limit.pay(now), Err(INTERVAL));
        let later = now + Duration::from_secs(4);
        assert_eq!(limit.pay(later), Err(Duration::from_secs(6)));
        limit.pay(later + Duration::from_secs(6)).unwrap();
        assert_eq!(limit.pay(later + Duration::from_secs(6)), Err(INTERVAL));
    }

    #[test]
    fn a_refusal_costs_nothing_and_a_quiet_minute_forgives_everything() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        for _ in 0..1_000 {
            let _ = limit.pay(now);
        }
        assert_eq!(limit.pay(now), Err(INTERVAL));
        for _ in 0..6 {
            limit.pay(now + MINUTE).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_twelve_and_no_hour_more_than_six_a_minute_and_the_burst(
            waits in proptest::collection::vec(0u64..15_000, 1..800),
        ) {
            let (mut limit, mut now) = (Limit::default(), Instant::now());
            let begin = now;
            let mut granted = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                match limit.pay(now) {
                    Ok(()) => granted.push(now),
                    // What it says is true to the nanosecond.
                    Err(wait) => {
                        let mut copy = limit;
                        prop_assert!(copy.pay(now + wait - Duration::from_nanos(1)).is_err());
                        prop_assert!(limit.clone().pay(now + wait).is_ok());
                    }
                }
            }
            for (at, first) in granted.iter().enumerate() {
                let within = granted[at..].iter().take_while(|t| **t - *first < MINUTE).count();
                prop_assert!(within <= 12, "{within} within a minute");
            }
            let minutes = (now - begin).as_secs_f64() / 60.0;
            prop_assert!(granted.len() as f64 <= minutes * 6.0 + 7.0);
        }
    }
}
