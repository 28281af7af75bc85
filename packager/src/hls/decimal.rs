//! Numbers as playlists print them: seconds with decimals, and dates. Integers all the way.

use crate::time::{Rounding, Span, Timescale, Timestamp};

/// Fewest decimals of a duration: one more than a tick of 1/90000 s needs to be told apart
/// (HP-10).
const MIN_DECIMALS: usize = 5;

/// A duration in seconds, to the nanosecond, with at least [`MIN_DECIMALS`] decimals. The one
/// formatter of every duration in a playlist, so that two tags never print one length in two ways.
pub(super) fn seconds(span: Span, rounding: Rounding) -> String {
    let nanos = span.ticks_in(Timescale::NANOS, rounding);
    let mut decimals = format!("{:09}", nanos % 1_000_000_000);
    while decimals.len() > MIN_DECIMALS && decimals.ends_with('0') {
        decimals.pop();
    }
    format!("{}.{decimals}", nanos / 1_000_000_000)
}

/// An instant since the Unix epoch as ISO 8601 in UTC: milliseconds where they are exact, else
/// microseconds, which are finer than a tick of any track.
pub(super) fn date(at: Timestamp) -> String {
    let micros = at.ticks_in(Timescale::MICROS, Rounding::Nearest);
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction =
        if micros % 1000 == 0 { format!("{:03}", micros / 1000) } else { format!("{micros:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

/// The Gregorian date `days` after 1970-01-01. Counts in years that begin in March, so that the
/// leap day is the last of its year, and in cycles of 400 years, which all have the same length.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_CYCLE: i64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH: i64 = 719_468;
    let days = days.saturating_add(EPOCH);
    let (cycle, day) = (days.div_euclid(DAYS_PER_CYCLE), days.rem_euclid(DAYS_PER_CYCLE));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(ticks: i64) -> String {
        date(Timestamp::new(ticks, Timescale::MICROS))
    }

    #[test]
    fn a_duration_has_five_decimals_or_as_many_as_it_takes() {
        let at = |ticks, scale| Span::new(ticks, Timescale::new(scale).unwrap());
        assert_eq!(seconds(at(144_000, 90_000), Rounding::Nearest), "1.60000");
        assert_eq!(seconds(at(2_002, 1_000), Rounding::Nearest), "2.00200");
        assert_eq!(seconds(at(1024, 48_000), Rounding::Nearest), "0.021333333");
        assert_eq!(seconds(at(1024, 48_000), Rounding::Ceil), "0.021333334");
        assert_eq!(seconds(at(0, 48_000), Rounding::Ceil), "0.00000");
    }

    #[test]
    fn a_date_has_milliseconds_or_microseconds() {
        assert_eq!(micros(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(micros(1_795_633_201_600_000), "2026-11-25T19:00:01.600Z");
        assert_eq!(micros(1_795_633_201_600_021), "2026-11-25T19:00:01.600021Z");
        assert_eq!(micros(951_782_400_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(micros(4_107_542_399_999_000), "2100-02-28T23:59:59.999Z");
        assert_eq!(micros(4_107_542_400_000_000), "2100-03-01T00:00:00.000Z");
    }
}
