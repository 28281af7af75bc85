//! When a viewer is given a lower track, and when a higher one is tried: by the loss that it reports.
//!
//! Loss of a few percent is made good by sending again. What stays high is a way that is too narrow: then the
//! next lower track is sent. After a while without loss the next higher one is tried, and after twice as long
//! if that was no good.

use std::time::{Duration, Instant};

use super::whep::Wish;

/// Loss that is too much, in 256ths: a tenth.
const MUCH: u8 = 26;
/// Loss that is none, in 256ths.
const LITTLE: u8 = 5;
/// How long it has to be too much: browsers report every second.
const FOR: Duration = Duration::from_secs(2);
/// How long there has to be none before a higher track is tried, at first and at the most.
const CALM: Duration = Duration::from_secs(20);
const LONGEST_CALM: Duration = Duration::from_secs(320);

#[derive(Debug)]
pub(super) struct Steps {
    /// Since when loss has been too much.
    much_since: Option<Instant>,
    /// Since when there has been none.
    calm_since: Option<Instant>,
    calm: Duration,
    raised_at: Option<Instant>,
    changed_at: Instant,
}

impl Steps {
    pub(super) fn new(now: Instant) -> Self {
        Self { much_since: None, calm_since: None, calm: CALM, raised_at: None, changed_at: now }
    }

    /// A report of so much loss.
    pub(super) fn take(&mut self, fraction: u8, now: Instant) -> Option<Wish> {
        let since = |then: Instant| now.saturating_duration_since(then);
        if fraction >= MUCH {
            self.calm_since = None;
            let much = *self.much_since.get_or_insert(now);
            if since(much) < FOR || since(self.changed_at) < FOR {
                return None;
            }
            self.much_since = None;
            // A higher track that was tried for nothing is not tried again soon.
            if self.raised_at.is_some_and(|at| since(at) < self.calm) {
                self.calm = (self.calm * 2).min(LONGEST_CALM);
            }
            return Some(Wish::Lower);
        }
        self.much_since = None;
        if fraction > LITTLE {
            self.calm_since = None;
            return None;
        }
        let calm = *self.calm_since.get_or_insert(now);
        if since(calm) < self.calm {
            return None;
        }
        self.calm_since = None;
        self.raised_at = Some(now);
        Some(Wish::Higher)
    }

    /// Another track is sent.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed_at = now;
        (self.much_since, self.calm_since) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One report a second, for so many seconds.
    fn reports(steps: &mut Steps, from: Instant, seconds: u64, fraction: u8) -> Vec<(u64, Wish)> {
        let report = |second| {
            let now = from + Duration::from_secs(second);
            let wish = steps.take(fraction, now)?;
            steps.changed(now);
            Some((second, wish))
        };
        (0..seconds).filter_map(report).collect()
    }

    #[test]
    fn a_lossy_way_gets_less_and_a_bit_of_loss_is_borne() {
        let now = Instant::now();
        let mut steps = Steps::new(now);
        assert_eq!(reports(&mut steps, now, 60, 8), []);
        let lossy = reports(&mut steps, now + Duration::from_secs(60), 6, 60);
        assert_eq!(lossy, [(2, Wish::Lower), (5, Wish::Lower)]);
    }

    #[test]
    fn what_was_tried_for_nothing_is_tried_later() {
        let now = Instant::now();
        let mut steps = Steps::new(now);
        assert_eq!(reports(&mut steps, now, 21, 0), [(20, Wish::Higher)]);
        let then = now + Duration::from_secs(21);
        assert_eq!(reports(&mut steps, then, 3, 60), [(2, Wish::Lower)]);
        let then = then + Duration::from_secs(3);
        assert_eq!(reports(&mut steps, then, 41, 0), [(40, Wish::Higher)]);
    }
}
