//! Durations as playlists print them: seconds with decimals. Integers all the way.

use crate::time::{Rounding, Span, Timescale};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_five_decimals_or_as_many_as_it_takes() {
        let at = |ticks, scale| Span::new(ticks, Timescale::new(scale).unwrap());
        assert_eq!(seconds(at(144_000, 90_000), Rounding::Nearest), "1.60000");
        assert_eq!(seconds(at(2_002, 1_000), Rounding::Nearest), "2.00200");
        assert_eq!(seconds(at(1024, 48_000), Rounding::Nearest), "0.021333333");
        assert_eq!(seconds(at(1024, 48_000), Rounding::Ceil), "0.021333334");
        assert_eq!(seconds(at(0, 48_000), Rounding::Ceil), "0.00000");
    }
}
