//! The rule checker: judges playlists, manifests and segments by rows of a conformance list.
//!
//! It reads text and bytes as a player gets them and shares no code with the writers it judges.
//! One function per row; `tests/CONFORMANCE.md` says which rows there are, what proves each, and
//! why some have none. Rules about one document, about two states of it (`check_sequence`) and
//! about several documents of one moment (`check_renditions`) are separate entries.
//!
//! It fetches nothing and knows no clock: that is the witness's part.

pub mod cmaf;
pub mod dash;
pub mod events;
pub mod hls;
pub mod http;

/// A rule that something broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The row of the list, such as `HP-01`.
    pub row: &'static str,
    /// What is wrong, with the place.
    pub text: String,
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, row: &'static str, text: impl Into<String>) {
        self.0.push(Violation { row, text: text.into() });
    }

    /// Notes `text` unless `holds`.
    fn expect(&mut self, row: &'static str, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.add(row, text());
        }
    }
}

/// Nanoseconds of a decimal number of seconds.
fn nanos(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 9 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(decimals)
}

/// Nanoseconds since the epoch of an ISO 8601 date in UTC.
pub fn date_nanos(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|field| field.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hour, minute) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    let second = nanos(time.next()?)?;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = months.get(..usize::try_from(month.checked_sub(1)?).ok()?)?;
    let days: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum::<u64>()
        + before.iter().sum::<u64>()
        + day.checked_sub(1)?;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000_000 + second)
}

#[cfg(test)]
mod proof {
    //! How a row is proven: nothing is found in the good, and the row in the mutated.

    use super::Violation;

    /// The text with one thing in it changed; the change must be one.
    pub(super) fn mutated(good: &str, from: &str, to: &str) -> String {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "nothing to mutate: {from:?}");
        bad
    }

    /// `row` is among the findings.
    #[track_caller]
    pub(super) fn assert_finds(row: &str, findings: &[Violation]) {
        assert!(findings.iter().any(|v| v.row == row), "{row} is not among {findings:?}");
    }

    /// `row` is not among the findings.
    #[track_caller]
    pub(super) fn assert_clean(row: &str, findings: &[Violation]) {
        assert!(findings.iter().all(|v| v.row != row), "{row} is among {findings:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_list_names_is_there() {
        let sources = [
            include_str!("rules/hls/tests.rs"),
            include_str!("rules/hls/tests/dateranges.rs"),
            include_str!("rules/hls/tests/low_latency.rs"),
            include_str!("rules/hls/tests/media.rs"),
            include_str!("rules/hls/tests/multivariant.rs"),
            include_str!("rules/hls/cue_out/tests.rs"),
            include_str!("rules/dash/tests.rs"),
            include_str!("rules/cmaf.rs"),
            include_str!("rules/events/tests.rs"),
            include_str!("rules/http/asked.rs"),
            include_str!("../../packager/src/cmaf/tests/rows.rs"),
            include_str!("../../packager/tests/splices.rs"),
            include_str!("../../origin/src/http/tests.rs"),
            include_str!("../../origin/src/http/tests/blocking.rs"),
            include_str!("../../origin/src/http/tests/held.rs"),
            include_str!("../../origin/src/http/tests/open.rs"),
            include_str!("../../origin/src/http/serve/streams/tests.rs"),
            include_str!("../it/edges.rs"),
            include_str!("../it/faults.rs"),
            include_str!("../it/rows.rs"),
            include_str!("../it/parts.rs"),
        ];
        let rows = include_str!("../CONFORMANCE.md").lines().filter_map(|line| {
            let (row, proof) = line.strip_prefix("| ")?.split_once(" | ")?;
            Some((row, proof.strip_prefix('`')?.split_once('`')?.0))
        });
        let mut proven = 0;
        for (row, test) in rows {
            assert!(test.starts_with(&row.to_lowercase().replace('-', "_")), "{row}: {test}");
            let declared = format!("fn {test}(");
            assert!(sources.iter().any(|source| source.contains(&declared)), "no test {test}");
            proven += 1;
        }
        assert!(proven > 50, "{proven} rows are proven");
    }

    #[test]
    fn seconds_and_dates_are_read_to_the_nanosecond() {
        assert_eq!(nanos("1.6"), Some(1_600_000_000));
        assert_eq!(nanos("2"), Some(2_000_000_000));
        assert_eq!(nanos("x"), None);
        assert_eq!(nanos("1.1234567890"), None);
        assert_eq!(date_nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(date_nanos("2026-11-25T19:00:01.600Z"), Some(1_795_633_201_600_000_000));
        assert_eq!(date_nanos("2000-03-01T00:00:00.5Z"), Some(951_868_800_500_000_000));
        assert_eq!(date_nanos("2026-11-25 19:00"), None);
    }
}
