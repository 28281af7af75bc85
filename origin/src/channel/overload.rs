//! Which rungs of a ladder are on while the machine can't keep up with all of them, and whether it has room for
//! previews beside them.
//!
//! ```text
//! report of the worker (about once a second) ─► Pressure ─► hysteresis ─► previews and rungs off, and on
//! ```
//! Previews go first: those who watch one have the playlists, where a rung that goes takes its viewers' picture
//! away. Only if that was not enough, if it is very bad or nobody watches one, a rung goes. Previews are back
//! soon, of the rungs that are left: they cost next to nothing beside a rung.
//!
//! A lag that will be gone within seconds is left to shrink: a worker that begins, or that was held up for a
//! moment, makes good what it missed, and nothing has to go for that.
//!
//! A rung costs what its pictures cost, so the dearest goes first and comes back last; the cheapest
//! and the sound are never off. Switching off is quick, because viewers freeze meanwhile; switching
//! on is slow, because every change makes players switch. A rung that did not last is given longer
//! the next time.
//!
//! Pure: time comes in with the reports. What happens to a rung that is off is the task's business.

use std::time::{Duration, Instant};

/// A rung lies so far behind its time that viewers near the edge starve.
const LAG_HIGH: Duration = Duration::from_millis(1_500);
/// So far that one rung less will not do.
const LAG_SEVERE: Duration = Duration::from_millis(2_500);
/// So little that there may be room for one more.
const LAG_CALM: Duration = Duration::from_millis(500);
/// A lag that will be no more than [`LAG_HIGH`] within so long, at the rate it shrinks, is let be.
const RECOVERY: Duration = Duration::from_secs(5);
/// Percent of its pictures a rung could not take: viewers see it stutter.
const FROZEN_HIGH: u32 = 10;
/// They see a slide show.
const FROZEN_SEVERE: u32 = 50;
/// Media per real time, in percent, below which the worker as a whole is late.
const SPEED_HIGH: u32 = 90;
/// It makes little more than half of what it should.
const SPEED_SEVERE: u32 = 60;

/// How long it must be bad before a rung goes: a second of it is a hiccup.
const DOWN_AFTER: Duration = Duration::from_secs(1);
/// How long it must be good before a rung returns.
const UP_AFTER: Duration = Duration::from_secs(30);
/// How long it must be good before there is room for previews: a program that starts is over by then. They do
/// not make players switch, and who watched one asks again and again.
const PREVIEWS_AFTER: Duration = Duration::from_secs(8);
/// Longest wait for what does not last: an operator's second look finds it tried again.
const UP_AFTER_MOST: Duration = Duration::from_secs(8 * 60);
/// A rung that goes again this soon after its return has not lasted.
const RELAPSE: Duration = Duration::from_secs(2 * 60);
/// A worker begins with segments that lie before its first picture, and catches up: it has at least so long.
const SETTLE: Duration = Duration::from_secs(5);
/// And at most so long, beside other programs that start: it leaves out pictures meanwhile, and has time for
/// all of them then.
const SETTLE_MOST: Duration = Duration::from_secs(12);
/// Reports further apart than this say nothing of the time between them.
const SILENCE: Duration = Duration::from_secs(5);

/// How one rung has been doing since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RungLoad {
    /// How far its newest coded picture lies behind its time.
    pub(crate) lag: Duration,
    /// Percent of its pictures that it could not take, and showed the one before again.
    pub(crate) frozen_percent: u32,
}

/// How a worker has been doing since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// By rung, in the ladder's order. What is said of a rung that is off counts for nothing, and a
    /// rung that is not there counts as doing well.
    pub(crate) rungs: Vec<RungLoad>,
    /// Media made per second of real time, in percent.
    pub(crate) speed_percent: u32,
    /// Whether anybody watches a preview.
    pub(crate) previewed: bool,
}

/// How much too much it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pressure {
    Calm,
    Some,
    High,
    Severe,
}

/// What a report led to. Rungs by their place in the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These go off.
    Off(Vec<usize>),
    /// This one comes back.
    On(usize),
    /// Previews end, and the rungs stay as they are.
    Shed,
    /// There is room for previews again.
    Admit,
}

/// A ladder under load.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    /// Places in the ladder, cheapest first.
    by_cost: Vec<usize>,
    /// How many of them are on, from the cheapest; at least one.
    on: usize,
    /// Whether there is no room for previews.
    shed: bool,
    /// When its worker began; `None` once that has caught up. Nothing goes off before.
    settling_since: Option<Instant>,
    last_report: Option<Instant>,
    /// The least that each rung lay behind since it lies too far behind, in the ladder's order. A lag that
    /// goes up and down is no recovery.
    least: Vec<Option<Duration>>,
    high_since: Option<Instant>,
    severe_since: Option<Instant>,
    calm_since: Option<Instant>,
    returned_at: Option<Instant>,
    admitted_at: Option<Instant>,
    up_after: Duration,
    admit_after: Duration,
}

impl Overload {
    /// A ladder whose worker begins at `now`, with every rung on. `costs` are in the ladder's order
    /// and in any unit: pixels per second do.
    pub(crate) fn new(costs: &[u64], now: Instant) -> Self {
        let mut by_cost: Vec<usize> = (0..costs.len()).collect();
        // Of two that cost the same the later one in the ladder is the cheaper.
        by_cost.sort_by_key(|&rung| (costs.get(rung).copied(), std::cmp::Reverse(rung)));
        Self {
            on: by_cost.len(),
            by_cost,
            shed: false,
            settling_since: Some(now),
            last_report: None,
            least: Vec::new(),
            high_since: None,
            severe_since: None,
            calm_since: None,
            returned_at: None,
            admitted_at: None,
            up_after: UP_AFTER,
            admit_after: PREVIEWS_AFTER,
        }
    }

    /// Leaves the cheapest rung on only, for a machine that is nearly used up; the others come back
    /// as it bears them. Gives the rungs that go.
    pub(crate) fn reduce(&mut self) -> Vec<usize> {
        self.shed = true;
        self.keep(1)
    }

    /// A new worker begins at `now` with the rungs that are on.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.settling_since = Some(now);
        self.forget();
    }

    /// Whether every rung is on.
    pub(crate) fn is_whole(&self) -> bool {
        self.on == self.by_cost.len()
    }

    /// Whether there is no room for previews.
    pub(crate) fn sheds(&self) -> bool {
        self.shed
    }

    /// Whether a rung is on.
    pub(crate) fn is_on(&self, rung: usize) -> bool {
        self.by_cost.iter().take(self.on).any(|&on| on == rung)
    }

    /// Takes a report of the worker, made at `now`.
    pub(crate) fn observe(&mut self, now: Instant, load: &Load) -> Option<Change> {
        let since = self.last_report.replace(now).map(|last| now.duration_since(last));
        if since.is_some_and(|since| since > SILENCE) {
            self.forget();
        }
        let pressure = self.pressure(load, since.unwrap_or_default());
        self.note_lags(load);
        if let Some(begun) = self.settling_since {
            let age = now.duration_since(begun);
            if age < SETTLE || (age < SETTLE_MOST && pressure >= Pressure::High) {
                return None;
            }
            self.settling_since = None;
        }
        let since = |begin: &mut Option<Instant>, holds: bool| {
            *begin = if holds { begin.or(Some(now)) } else { None };
            begin.map_or(Duration::ZERO, |begin| now.duration_since(begin))
        };
        let severe = since(&mut self.severe_since, pressure == Pressure::Severe);
        let high = since(&mut self.high_since, pressure >= Pressure::High);
        let calm = since(&mut self.calm_since, pressure == Pressure::Calm);
        let keep = match (severe >= DOWN_AFTER, high >= DOWN_AFTER) {
            (true, _) => 1,
            (false, true) => self.on.saturating_sub(1).max(1),
            (false, false) => self.on,
        };
        let enough = severe < DOWN_AFTER || keep == self.on;
        let shed = high >= DOWN_AFTER && load.previewed && !self.shed && enough;
        if shed || keep < self.on {
            let (back, wait, least) = match shed {
                true => (self.admitted_at, &mut self.admit_after, PREVIEWS_AFTER),
                false => (self.returned_at, &mut self.up_after, UP_AFTER),
            };
            let relapse = back.is_some_and(|at| now.duration_since(at) < RELAPSE);
            *wait = if relapse { (*wait * 2).min(UP_AFTER_MOST) } else { least };
            if !shed {
                // That they went was not enough, so they were not what was too much.
                self.admit_after = PREVIEWS_AFTER;
            }
            self.forget();
            self.shed = true;
            return Some(if shed { Change::Shed } else { Change::Off(self.keep(keep)) });
        }
        if self.shed && calm >= self.admit_after {
            // A rung need not wait longer for that.
            self.shed = false;
            self.admitted_at = Some(now);
            return Some(Change::Admit);
        }
        let rung = *self.by_cost.get(self.on).filter(|_| calm >= self.up_after)?;
        self.on += 1;
        self.returned_at = Some(now);
        self.forget();
        Some(Change::On(rung))
    }

    /// Switches off all but the `keep` cheapest; gives those that go, dearest first.
    fn keep(&mut self, keep: usize) -> Vec<usize> {
        let gone = self.by_cost.get(keep..self.on).unwrap_or_default();
        let gone = gone.iter().rev().copied().collect();
        self.on = self.on.min(keep);
        gone
    }

    /// Begins every measure of time anew.
    fn forget(&mut self) {
        (self.high_since, self.severe_since, self.calm_since) = (None, None, None);
        self.least.clear();
    }

    fn note_lags(&mut self, load: &Load) {
        self.least.resize(load.rungs.len(), None);
        for (least, rung) in self.least.iter_mut().zip(&load.rungs) {
            let too_far = rung.lag > LAG_HIGH;
            *least = too_far.then(|| least.map_or(rung.lag, |before| before.min(rung.lag)));
        }
    }

    /// Whether a lag that is too large becomes less fast enough: `since` has passed since the report before.
    fn shrinks(&self, place: usize, lag: Duration, since: Duration) -> bool {
        let least = self.least.get(place).copied().flatten();
        let shrunk = least.and_then(|least| least.checked_sub(lag)).unwrap_or_default();
        let rest = lag.saturating_sub(LAG_HIGH);
        !shrunk.is_zero()
            && rest.as_millis() * since.as_millis() <= shrunk.as_millis() * RECOVERY.as_millis()
    }

    /// What a report made `since` after the one before it says.
    fn pressure(&self, load: &Load, since: Duration) -> Pressure {
        let of_rung = |place: usize| {
            let rung = load.rungs.get(place)?;
            let (lag, frozen) = (rung.lag, rung.frozen_percent);
            let of_lag = match lag {
                lag if lag > LAG_HIGH && self.shrinks(place, lag, since) => Pressure::Some,
                lag if lag > LAG_SEVERE => Pressure::Severe,
                lag if lag > LAG_HIGH => Pressure::High,
                lag if lag > LAG_CALM => Pressure::Some,
                _ => Pressure::Calm,
            };
            let of_frozen = match frozen {
                FROZEN_SEVERE.. => Pressure::Severe,
                FROZEN_HIGH.. => Pressure::High,
                1.. => Pressure::Some,
                0 => Pressure::Calm,
            };
            Some(of_lag.max(of_frozen))
        };
        let of_worker = match load.speed_percent {
            speed if speed < SPEED_SEVERE => Pressure::Severe,
            speed if speed < SPEED_HIGH => Pressure::High,
            _ => Pressure::Calm,
        };
        let on = self.by_cost.iter().take(self.on);
        on.filter_map(|&place| of_rung(place)).fold(of_worker, Pressure::max)
    }
}

#[cfg(test)]
mod tests;
