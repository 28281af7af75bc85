//! From the 33 bits of a section to a line of time.

use super::section::TIME_MASK;
use crate::time::{Rounding, Timestamp};

/// A time further than this from the pictures beside its message is suspicious: somebody has stamped
/// the pictures anew and not the messages. In ticks of 1/90000 s: 60 s, and real ones are below 30 s
/// ahead.
const FAR: i64 = 60 * 90_000;
/// One that is further is not believed: an hour.
const TOO_FAR: i64 = 3_600 * 90_000;

/// A section's time is too far from its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is {seconds} s from where the message stands in the stream")]
pub struct OffTheClock {
    /// How far, to the future where positive.
    pub seconds: i64,
}

/// How far a time is from where its message stands in the stream, both on the source's clock, where that
/// is suspicious.
///
/// # Errors
/// It is further than an hour.
pub fn check(at: Timestamp, beside: Timestamp) -> Result<Option<OffTheClock>, OffTheClock> {
    let ticks = |at: Timestamp| at.ticks_in(super::CLOCK, Rounding::Nearest);
    let distance = ticks(at).saturating_sub(ticks(beside));
    let off = OffTheClock { seconds: distance / 90_000 };
    match distance.saturating_abs() {
        distance if distance > TOO_FAR => Err(off),
        distance if distance > FAR => Ok(Some(off)),
        _ => Ok(None),
    }
}

/// The reading of a 33-bit time that is closest to `reference`: the unrolled time of the picture beside
/// the section, in ticks of 1/90000 s. The clock may wrap in between, either way.
pub fn unroll(time: u64, reference: i64) -> Timestamp {
    let period = TIME_MASK.cast_signed().saturating_add(1);
    let ahead = (time & TIME_MASK).cast_signed().saturating_sub(reference.rem_euclid(period));
    let ahead = ahead.rem_euclid(period);
    let distance = if ahead >= period / 2 { ahead.saturating_sub(period) } else { ahead };
    Timestamp::new(reference.saturating_add(distance), super::CLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timescale;

    #[test]
    fn a_time_is_found_on_either_side_of_a_wrap() {
        let period = 1i64 << 33;
        for (time, reference, expected) in [
            (900_000, 540_000, 900_000),
            (8_589_889_592, 8_589_529_592, 8_589_889_592),
            // Behind the wrap, seen from before it.
            (2_655_000, 8_589_889_592, period + 2_655_000),
            // Before the wrap, seen from behind it: late.
            (8_589_889_592, period + 10, 8_589_889_592),
            // On the third turn of the clock.
            (100, 3 * period - 100, 3 * period + 100),
        ] {
            assert_eq!(unroll(time, reference).ticks, expected, "{time} beside {reference}");
        }
    }

    #[test]
    fn a_time_hours_away_is_not_believed() {
        let seconds = |s: i64| Timestamp::new(s, Timescale::ONE);
        let beside = seconds(100_000);
        let off = |seconds| OffTheClock { seconds };
        for (at, expected) in [
            (100_060, Ok(None)),
            (100_061, Ok(Some(off(61)))),
            (96_400, Ok(Some(off(-3_600)))),
            (96_399, Err(off(-3_601))),
            (103_601, Err(off(3_601))),
        ] {
            assert_eq!(check(seconds(at), beside), expected, "{at}");
        }
    }
}
