//! When pieces of a recorded stream are due: as far apart as its clock says.

use std::time::{Duration, Instant};

use packager::time::{Rounding, Timescale, Timestamp};

/// A clock reference further from the one before, either way, is a jump of the clock and no wait:
/// §2.7.2 has them at most 0.1 s apart, and recordings with holes exist.
const LONGEST_STEP: Duration = Duration::from_secs(2);
/// Further behind than this (the machine was suspended, the channel took nothing), what was missed is
/// not made up for in a burst.
const LATEST: Duration = Duration::from_secs(1);

/// The pace of a stream. See the module's page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When a time of the stream's clock was due; and its newest time.
    base: Option<(Instant, i64, i64)>,
}

impl Pace {
    /// When what follows the clock reference `at` is due; `None` if it is now.
    pub(super) fn due(&mut self, at: Timestamp, now: Instant) -> Option<Instant> {
        let at = at.ticks_in(Timescale::MICROS, Rounding::Nearest);
        let due = self.base.and_then(|(begun, first, last)| {
            let step = Duration::from_micros(at.abs_diff(last));
            let since = u64::try_from(at.checked_sub(first)?).ok()?;
            let due = begun.checked_add(Duration::from_micros(since))?;
            (step <= LONGEST_STEP && now.saturating_duration_since(due) <= LATEST).then_some(due)
        });
        match (due, &mut self.base) {
            (Some(due), Some((_, _, last))) => {
                *last = at;
                (due > now).then_some(due)
            }
            _ => {
                self.base = Some((now, at, at));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::new(ms * 90, Timescale::MPEG)
    }

    #[test]
    fn pieces_are_as_far_apart_as_the_clock_says() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(pace.due(ms(5_000), now), None);
        assert_eq!(pace.due(ms(5_040), now), Some(after(40)));
        assert_eq!(pace.due(ms(5_080), after(50)), Some(after(80)));
        assert_eq!(pace.due(ms(5_120), after(130)), None, "a little late, and the pace stays");
        assert_eq!(pace.due(ms(5_160), after(130)), Some(after(160)));
    }

    #[test]
    fn a_jump_of_the_clock_and_a_pause_begin_the_pace_anew() {
        for jump in [-3_000, 600_000] {
            let (mut pace, now) = (Pace::default(), Instant::now());
            pace.due(ms(5_000), now);
            assert_eq!(pace.due(ms(5_000 + jump), now), None, "{jump}");
            let next = pace.due(ms(5_040 + jump), now);
            assert_eq!(next, Some(now + Duration::from_millis(40)), "{jump}");
        }
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.due(ms(0), now);
        let late = now + Duration::from_secs(60);
        assert_eq!(pace.due(ms(40), late), None);
        assert_eq!(pace.due(ms(80), late), Some(late + Duration::from_millis(40)));
    }
}
