//! From the 33 bits of a section to a line of time.

use super::section::TIME_MASK;
use crate::time::Timestamp;

/// A time further than this from the pictures beside its section is suspicious: somebody has stamped
/// the pictures anew and not the sections. In ticks of 1/90000 s: 60 s, and real messages are below 30 s
/// ahead.
pub const FAR: i64 = 60 * 90_000;
/// One that is further is not believed: an hour.
pub const TOO_FAR: i64 = 3_600 * 90_000;

/// A section's time is too far from its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is {seconds} s from where the message stands in the stream")]
pub struct OffTheClock {
    /// How far, to the future where positive.
    pub seconds: i64,
}

/// The reading of a 33-bit time that is closest to `reference`: the unrolled time of the picture beside
/// the section, in ticks of 1/90000 s. The clock may wrap in between, either way.
///
/// # Errors
/// It is further than [`TOO_FAR`].
pub fn unroll(time: u64, reference: i64) -> Result<Timestamp, OffTheClock> {
    let period = TIME_MASK.cast_signed().saturating_add(1);
    let ahead = (time & TIME_MASK).cast_signed().saturating_sub(reference.rem_euclid(period));
    let ahead = ahead.rem_euclid(period);
    let distance = if ahead >= period / 2 { ahead.saturating_sub(period) } else { ahead };
    if distance.saturating_abs() > TOO_FAR {
        return Err(OffTheClock { seconds: distance / 90_000 });
    }
    Ok(Timestamp::new(reference.saturating_add(distance), super::CLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let at = unroll(time, reference).map(|at| at.ticks);
            assert_eq!(at, Ok(expected), "{time} beside {reference}");
        }
    }

    #[test]
    fn a_time_hours_away_is_not_believed() {
        assert_eq!(unroll(0, 2 * 3_600 * 90_000), Err(OffTheClock { seconds: -7_200 }));
        assert!(unroll(TOO_FAR.unsigned_abs(), 0).is_ok());
        assert!(unroll(TOO_FAR.unsigned_abs() + 1, 0).is_err());
    }
}
