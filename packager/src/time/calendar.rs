//! Instants as people and players read them: the Gregorian calendar in UTC.

use super::{Rounding, Timescale, Timestamp};

/// An instant since the Unix epoch as ISO 8601 in UTC, which is an `xs:dateTime` too: milliseconds
/// where they are exact, else microseconds, which are finer than a tick of any track.
pub fn iso(at: Timestamp) -> String {
    let micros = at.ticks_in(Timescale::MICROS, Rounding::Nearest);
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction =
        if micros % 1000 == 0 { format!("{:03}", micros / 1000) } else { format!("{micros:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

/// Reads an instant as [`iso`] writes it, with as many decimals as there are, or none, to the
/// microsecond. `None` for anything else.
pub fn parse_iso(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let number = |text: &str, digits: usize, range: std::ops::RangeInclusive<i64>| {
        let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| plain && range.contains(number))
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4, 1970..=9999)?;
    let month = number(parts.next()?, 2, 1..=12)?;
    let day = number(parts.next()?, 2, 1..=31)?;
    let mut times = time.split(':');
    let hour = number(times.next()?, 2, 0..=23)?;
    let minute = number(times.next()?, 2, 0..=59)?;
    let second = number(times.next()?, 2, 0..=59)?;
    if parts.next().is_some() || times.next().is_some() || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos = number(fraction, fraction.len(), 0..=999_999_999)?;
    let missing = u32::try_from(9usize.checked_sub(fraction.len())?).ok()?;
    let micros = nanos.checked_mul(10i64.checked_pow(missing)?)? / 1_000;
    let days = days_to(year, month, day);
    // A day that its month does not have is none.
    (civil(days) == (year, month, day)).then(|| {
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        Timestamp::new(seconds * 1_000_000 + micros, Timescale::MICROS)
    })
}

/// Days from 1970-01-01 to a Gregorian date: the way back of [`civil`].
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * month + 2) / 5 + day - 1 + 365 * year + year / 4 - year / 100;
    cycle * 146_097 + day - 719_468
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

    #[test]
    fn an_instant_is_written_as_a_calendar_reads_it() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999_000, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_007_000, "2024-02-29T00:00:00.007Z"),
            (1_795_633_201_600_000, "2026-11-25T19:00:01.600Z"),
            (1_795_633_201_600_021, "2026-11-25T19:00:01.600021Z"),
            (4_107_542_399_999_000, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(Timestamp::new(micros, Timescale::MICROS)), text);
            assert_eq!(parse_iso(text), Some(Timestamp::new(micros, Timescale::MICROS)));
        }
    }

    #[test]
    fn what_is_no_instant_is_not_read_as_one() {
        assert_eq!(parse_iso("1970-01-01T00:00:01Z").map(|at| at.ticks), Some(1_000_000));
        assert_eq!(parse_iso("1970-01-01T00:00:01.5Z").map(|at| at.ticks), Some(1_500_000));
        for text in [
            "",
            "Z",
            "2026-11-25",
            "2026-11-25T19:00:01.600",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-25T24:00:00Z",
            "2026-11-25T19:00:+1Z",
            "2026-11-25T19:00:01.Z",
            "2026-11-25T19:00:01.1234567890Z",
            "2026-11-25T19:00Z",
            "2026-11-25T19:00:00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}
