//! The one clock: UTC read from the system, carried by the monotonic clock.
//!
//! Everything that says what time it is (segment times, `/time`, the MPD, program dates) asks a
//! [`Clock`]. [`SystemClock`] reads UTC at the start and again every few seconds, and follows it by
//! slewing at most 500 ppm: its time never jumps and never goes back, whatever happens to the
//! system's. A step of the system's clock beyond a second is an alarm for a person, not for us.
//!
//! It does not sleep and wakes nobody: waiting is tokio's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packager::time::{Rounding, Timescale, Timestamp};
use tokio_util::sync::CancellationToken;

/// How fast the clock may approach UTC, in millionths. NTP's own bound: no encoder or player
/// notices a clock this far off its rate.
const MAX_SLEW_PPM: i64 = 500;

/// How often UTC is read again. A drift of 50 ppm, bad for a computer, makes 0.25 ms in it.
const RESYNC_EVERY: Duration = Duration::from_secs(5);

/// A difference to UTC that no drift explains: somebody or something set the system's clock.
const STEP_NANOS: i64 = 1_000_000_000;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Nanoseconds of UTC minus nanoseconds of `CLOCK_MONOTONIC`: for workers, which carry the
    /// monotonic clock on their own.
    fn utc_minus_monotonic_nanos(&self) -> i64;

    /// Now, in [`Timescale::NANOS`] since the Unix epoch. Never goes back.
    fn now(&self) -> Timestamp;

    /// Now, in milliseconds since the Unix epoch.
    fn now_millis(&self) -> u64 {
        (self.now().ticks.max(0) / 1_000_000).unsigned_abs()
    }
}

/// A clock that is ahead of another one: of a channel whose numbers were used by a clock that has
/// been set back since (ARCHITECTURE, "When something breaks").
#[derive(Debug)]
pub struct Ahead {
    clock: Arc<dyn Clock>,
    /// What it was ahead by, in nanoseconds, at this reading of `CLOCK_MONOTONIC`.
    nanos: i64,
    since: i64,
}

impl Ahead {
    /// How far ahead a clock may be that comes back to the other one by itself. What is further
    /// ahead would take days, and is for a person to decide.
    pub const COMES_BACK_WITHIN: Duration = Duration::from_secs(60);

    /// A clock that shows `least` now, or what `clock` shows if that is later.
    pub fn of(clock: Arc<dyn Clock>, least: Timestamp) -> Self {
        let least = least.ticks_in(Timescale::NANOS, Rounding::Ceil);
        let nanos = least.saturating_sub(clock.now().ticks).max(0);
        Self { clock, nanos, since: monotonic_nanos() }
    }

    /// Nanoseconds it is ahead by.
    pub fn nanos(&self) -> i64 {
        ahead_after(self.nanos, monotonic_nanos().saturating_sub(self.since))
    }
}

impl Clock for Ahead {
    fn utc_minus_monotonic_nanos(&self) -> i64 {
        self.clock.utc_minus_monotonic_nanos().saturating_add(self.nanos())
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::new(now.ticks.saturating_add(self.nanos()), now.scale)
    }
}

/// What is left of a lead of `nanos` after `elapsed` nanoseconds.
fn ahead_after(nanos: i64, elapsed: i64) -> i64 {
    if nanos.unsigned_abs() > Ahead::COMES_BACK_WITHIN.as_nanos() as u64 {
        return nanos;
    }
    // Slower than the other clock may slew, so that both together never stand still.
    let made_up = i128::from(elapsed.max(0)) * i128::from(MAX_SLEW_PPM) / 1_000_000;
    nanos.saturating_sub(i64::try_from(made_up).unwrap_or(i64::MAX)).max(0)
}

/// UTC minus monotonic as a line: `offset` at the instant `since`, moving to `target` at
/// [`MAX_SLEW_PPM`].
#[derive(Clone, Copy, Debug)]
struct Anchor {
    since: i64,
    offset: i64,
    target: i64,
}

impl Anchor {
    fn offset_at(self, monotonic: i64) -> i64 {
        let elapsed = monotonic.saturating_sub(self.since).max(0);
        let reach = i128::from(elapsed) * i128::from(MAX_SLEW_PPM) / 1_000_000;
        let reach = i64::try_from(reach).unwrap_or(i64::MAX);
        self.offset + self.target.saturating_sub(self.offset).clamp(-reach, reach)
    }

    /// The line from `monotonic` on, towards a freshly read offset.
    fn retarget(self, monotonic: i64, target: i64) -> Self {
        Self { since: monotonic, offset: self.offset_at(monotonic), target }
    }
}

/// The real clock.
#[derive(Debug)]
pub struct SystemClock {
    anchor: RwLock<Anchor>,
}

impl SystemClock {
    /// Reads UTC.
    pub fn new() -> Self {
        let (monotonic, utc) = read_both();
        let offset = utc - monotonic;
        Self { anchor: RwLock::new(Anchor { since: monotonic, offset, target: offset }) }
    }

    /// Reads UTC again every few seconds until cancelled.
    pub async fn keep(&self, cancelled: CancellationToken) {
        let mut stepped = false;
        let mut tick = tokio::time::interval(RESYNC_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while cancelled.run_until_cancelled(tick.tick()).await.is_some() {
            let error = self.resync();
            let step = error.abs() > STEP_NANOS;
            if step && !stepped {
                tracing::error!(
                    seconds = error / 1_000_000_000,
                    "the system's clock was stepped; ours goes on and follows by 500 ppm"
                );
            } else if stepped && !step {
                tracing::info!("the system's clock and ours agree again");
            }
            stepped = step;
        }
    }

    /// Reads UTC and steers towards it. Gives how far UTC is ahead of this clock, in nanoseconds.
    fn resync(&self) -> i64 {
        let (monotonic, utc) = read_both();
        let mut anchor = self.anchor.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *anchor = anchor.retarget(monotonic, utc - monotonic);
        anchor.target - anchor.offset
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn utc_minus_monotonic_nanos(&self) -> i64 {
        let anchor = *self.anchor.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        anchor.offset_at(monotonic_nanos())
    }

    fn now(&self) -> Timestamp {
        let anchor = *self.anchor.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let monotonic = monotonic_nanos();
        Timestamp::new(monotonic + anchor.offset_at(monotonic), Timescale::NANOS)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
fn monotonic_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Both clocks at one instant: of three readings the one that took the shortest.
fn read_both() -> (i64, i64) {
    let reading = || {
        let before = monotonic_nanos();
        let utc = utc_nanos();
        let after = monotonic_nanos();
        (after - before, before + (after - before) / 2, utc)
    };
    let (_, monotonic, utc) = [reading(), reading(), reading()]
        .into_iter()
        .min_by_key(|(took, ..)| *took)
        .unwrap_or_else(reading);
    (monotonic, utc)
}

/// The system's UTC in nanoseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
fn utc_nanos() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// A clock that stands still until it is told.
#[derive(Debug, Default)]
pub struct ManualClock {
    nanos: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `millis` since the Unix epoch.
    pub fn at_millis(millis: i64) -> Self {
        Self { nanos: AtomicI64::new(millis * 1_000_000) }
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn utc_minus_monotonic_nanos(&self) -> i64 {
        self.nanos.load(Ordering::Relaxed) - monotonic_nanos()
    }

    fn now(&self) -> Timestamp {
        Timestamp::new(self.nanos.load(Ordering::Relaxed), Timescale::NANOS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_step_of_utc_moves_the_clock_by_500_ppm_only() {
        let start = Anchor { since: 0, offset: 100 * SECOND, target: 100 * SECOND };
        let stepped = start.retarget(10 * SECOND, 3_700 * SECOND);
        assert_eq!(stepped.offset_at(10 * SECOND), 100 * SECOND, "no jump");
        assert_eq!(stepped.offset_at(20 * SECOND), 100 * SECOND + 5_000_000, "500 ppm of 10 s");
        let back = stepped.retarget(20 * SECOND, -3_700 * SECOND);
        assert_eq!(back.offset_at(30 * SECOND), 100 * SECOND, "and back the same way");
    }

    #[test]
    fn a_lead_of_seconds_is_made_up_slowly_and_one_of_an_hour_stays() {
        assert_eq!(ahead_after(2 * SECOND, 0), 2 * SECOND);
        assert_eq!(ahead_after(2 * SECOND, 2_000 * SECOND), SECOND);
        assert_eq!(ahead_after(2 * SECOND, 9_000 * SECOND), 0);
        assert_eq!(ahead_after(3_600 * SECOND, 9_000_000 * SECOND), 3_600 * SECOND);
    }

    #[test]
    fn a_clock_is_ahead_only_as_far_as_its_channel_was() {
        let manual = Arc::new(ManualClock::at_millis(10_000));
        let at = |millis| Timestamp::new(millis, Timescale::MILLIS);
        let level = Ahead::of(Arc::clone(&manual) as Arc<dyn Clock>, at(4_000));
        assert_eq!((level.nanos(), level.now_millis()), (0, 10_000));
        let hour = Ahead::of(Arc::clone(&manual) as Arc<dyn Clock>, at(3_610_000));
        assert_eq!(hour.now_millis(), 3_610_000);
        manual.advance(Duration::from_secs(5));
        assert_eq!(hour.now_millis(), 3_615_000);
        assert_eq!(
            hour.utc_minus_monotonic_nanos() / SECOND,
            manual.utc_minus_monotonic_nanos() / SECOND + 3_600
        );
    }

    #[test]
    fn the_clock_arrives_at_utc_and_stays_there() {
        let start = Anchor { since: 0, offset: 0, target: 0 }.retarget(0, 1_000_000);
        assert_eq!(start.offset_at(2 * SECOND), 1_000_000);
        assert_eq!(start.offset_at(200 * SECOND), 1_000_000);
    }

    #[test]
    fn time_never_goes_back_under_any_steering() {
        let mut anchor = Anchor { since: 0, offset: 0, target: 0 };
        let mut last = 0;
        for step in 1..1_000i64 {
            let monotonic = step * 1_000_003;
            if step % 7 == 0 {
                let target = if step % 2 == 0 { i64::MIN / 4 } else { i64::MAX / 4 };
                anchor = anchor.retarget(monotonic, target);
            }
            let now = monotonic + anchor.offset_at(monotonic);
            assert!(now > last, "{now} after {last}");
            last = now;
        }
    }

    #[test]
    fn the_system_clock_shows_utc() {
        let clock = SystemClock::new();
        let error = clock.resync();
        assert!(error.abs() < SECOND / 10, "{error} ns off");
        let (monotonic, utc) = read_both();
        let ours = monotonic + clock.utc_minus_monotonic_nanos();
        assert!((ours - utc).abs() < SECOND / 10);
        assert!(clock.now_millis() > 1_700_000_000_000);
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::at_millis(5);
        clock.advance(Duration::from_millis(7));
        assert_eq!(clock.now_millis(), 12);
    }
}
