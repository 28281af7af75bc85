//! When packets of sound are sent: as evenly as they are heard.
//!
//! Sound comes in lumps. Broadcasters write it between pictures, and frames of AAC (21.3 ms) are not packets of
//! Opus (10 ms), so that now two come and now three. A browser measures that, holds so much of the sound in
//! store that it never runs out, and shows the picture late to fit. Sent evenly, sound is heard earlier though
//! each packet waits here for as long as the latest of late did.
//!
//! Pure: instants are nanoseconds of the session.

/// For how long the earliest and the latest are remembered, at least.
const REMEMBERED: i64 = 4_000_000_000;
/// Longest wait: what comes later than by so much is a gap and no lump.
const LONGEST: i64 = 60_000_000;

/// By how much packets were late, of their own time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    least: i64,
    most: i64,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Of the time before, and of now.
    before: Option<Seen>,
    now: Option<Seen>,
    /// When `now` began.
    since: i64,
}

impl Pace {
    /// When a packet is sent whose time is `at` and that is here at `now`.
    pub(super) fn due(&mut self, at: i64, now: i64) -> i64 {
        if now.saturating_sub(self.since) >= REMEMBERED {
            (self.before, self.now, self.since) = (self.now.take(), None, now);
        }
        let late = now.saturating_sub(at);
        let seen = self.now.get_or_insert(Seen { least: late, most: late });
        (seen.least, seen.most) = (seen.least.min(late), seen.most.max(late));
        let before = self.before.unwrap_or(*seen);
        let least = seen.least.min(before.least);
        let most = seen.most.max(before.most).min(least.saturating_add(LONGEST));
        at.saturating_add(most).clamp(now, now.saturating_add(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn lumps_are_spread_and_wait_no_longer_than_the_latest() {
        let mut pace = Pace::default();
        let mut due = Vec::new();
        for packet in 0..200i64 {
            // Two at a time, the first of them 20 ms late.
            let at = packet * 20 * MS;
            let here = (packet / 2 * 40 + 25) * MS;
            due.push(pace.due(at, here));
        }
        let settled = due.get(2..).unwrap_or_default();
        assert!(settled.windows(2).all(|pair| pair[1] - pair[0] == 20 * MS), "{settled:?}");
        assert_eq!(due.last(), Some(&((199 * 20 + 25) * MS)));
    }

    #[test]
    fn a_gap_delays_nothing_for_good() {
        let mut pace = Pace::default();
        for packet in 0..1_000i64 {
            let at = packet * 20 * MS;
            // Half a second of it comes at once, much too late.
            let here = if (100..125).contains(&packet) { 2_500 * MS } else { at };
            let due = pace.due(at, here);
            assert!(due >= here && due - here <= LONGEST, "{packet}");
            if packet >= 525 {
                assert_eq!(due, here, "{packet}");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_costs_the_longest_wait_and_no_more() {
        let mut pace = Pace::default();
        for (at, now) in [(0, 0), (i64::MAX, 20 * MS), (i64::MIN, 40 * MS), (60 * MS, 60 * MS)] {
            let due = pace.due(at, now);
            assert!(due >= now && due <= now + LONGEST, "{at} {due}");
        }
    }
}
