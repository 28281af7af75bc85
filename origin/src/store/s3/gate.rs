//! How many requests S3 gets at a time, how long each may take, and when it is left alone.
//!
//! Concurrency adapts: one more after as many successes as there are places, half as many after a
//! failure, between 1 and [`MOST`]. An attempt may take four times the 95th percentile of the last
//! successes. A *breaker* opens where most of what was tried lately has failed: then one attempt at a
//! time is let through, after growing waits, until one succeeds. Waits are drawn evenly from nothing to
//! their bound, so that channels do not come back in step.
//!
//! It does no I/O: whoever has a [`Place`] says what became of it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests at one time: a few dozen megabits per second over any distance, and no more than a store
/// takes from one client without slowing it down.
const MOST: f64 = 16.0;
/// Successes that the percentile is taken of.
const REMEMBERED: usize = 64;
/// The least an attempt may take: a connection, its handshake and a slow answer.
const LEAST_DEADLINE: Duration = Duration::from_secs(2);
/// The most: a segment of 6 s at 40 Mb/s over 10 Mb/s takes 24 s.
const LONGEST_DEADLINE: Duration = Duration::from_secs(30);
/// Before anything is known.
const FIRST_DEADLINE: Duration = Duration::from_secs(10);
/// Times the percentile.
const DEADLINE_RATIO: u32 = 4;
/// The breaker opens where half of so many attempts, or as many in a row as a quarter of them, failed.
const JUDGED: usize = 20;
/// Between tries while the breaker is open.
const PROBE_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Before a failed attempt is made again, at the most: the first time, and in the end.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Lets requests through.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    places: f64,
    taken: usize,
    /// Times of successes, oldest first.
    times: VecDeque<Duration>,
    /// What became of the last attempts: true for a success.
    outcomes: VecDeque<bool>,
    /// While the breaker is open: failures in a row since, and when the next attempt may be made.
    open: Option<(u32, Instant)>,
}

/// Leave for one attempt.
#[derive(Debug)]
pub(super) struct Place<'a> {
    gate: &'a Gate,
    began: Instant,
    told: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The store answered as it should.
    Good,
    /// It refused, failed or did not answer in time.
    Bad,
}

impl Default for Gate {
    fn default() -> Self {
        let state = State {
            places: 4.0,
            taken: 0,
            times: VecDeque::new(),
            outcomes: VecDeque::new(),
            open: None,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place.
    pub(super) async fn enter(&self) -> Place<'_> {
        loop {
            // Before the look, so that what changes in between wakes it.
            let changed = self.changed.notified();
            let wait = {
                let mut state = self.lock();
                match state.open {
                    Some((_, at)) if state.taken > 0 || at > Instant::now() => {
                        Some(at.max(Instant::now() + PROBE_WAITS.0))
                    }
                    _ if (state.taken as f64) < state.places.floor() => {
                        state.taken += 1;
                        return Place { gate: self, began: Instant::now(), told: false };
                    }
                    _ => None,
                }
            };
            match wait {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// How long an attempt may take now.
    pub(super) fn deadline(&self) -> Duration {
        let state = self.lock();
        let mut times: Vec<_> = state.times.iter().copied().collect();
        if times.len() < JUDGED {
            return FIRST_DEADLINE;
        }
        times.sort_unstable();
        let p95 = times.get(times.len() * 95 / 100).copied().unwrap_or(FIRST_DEADLINE);
        (p95 * DEADLINE_RATIO).clamp(LEAST_DEADLINE, LONGEST_DEADLINE)
    }

    /// Whether the breaker is open.
    pub(super) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }
}

impl Place<'_> {
    /// Says what became of the attempt.
    pub(super) fn done(mut self, outcome: Outcome) {
        self.told = true;
        self.tell(outcome);
    }

    fn tell(&self, outcome: Outcome) {
        let took = self.began.elapsed();
        {
            let mut state = self.gate.lock();
            state.taken = state.taken.saturating_sub(1);
            state.note(outcome, took, Instant::now());
        }
        self.gate.changed.notify_waiters();
    }
}

impl Drop for Place<'_> {
    /// An attempt that nobody waits for any more says nothing about the store.
    fn drop(&mut self) {
        if !self.told {
            let mut state = self.gate.lock();
            state.taken = state.taken.saturating_sub(1);
            drop(state);
            self.gate.changed.notify_waiters();
        }
    }
}

impl State {
    fn note(&mut self, outcome: Outcome, took: Duration, now: Instant) {
        let good = outcome == Outcome::Good;
        push(&mut self.outcomes, good, JUDGED);
        if good {
            push(&mut self.times, took, REMEMBERED);
            self.places = (self.places + 1.0 / self.places).min(MOST);
            if self.open.take().is_some() {
                self.outcomes.clear();
                self.places = 1.0;
            }
            return;
        }
        self.places = (self.places / 2.0).max(1.0);
        match &mut self.open {
            Some((failures, at)) => {
                *failures = failures.saturating_add(1);
                *at = now + jittered(PROBE_WAITS, *failures);
            }
            None => {
                let failed = self.outcomes.iter().filter(|good| !**good).count();
                let row = self.outcomes.iter().rev().take_while(|good| !**good).count();
                if row >= JUDGED / 4 || self.outcomes.len() >= JUDGED && failed * 2 >= JUDGED {
                    self.open = Some((0, now + jittered(PROBE_WAITS, 0)));
                }
            }
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(value);
}

/// A wait before attempt `n` is made again (full jitter).
pub(super) fn retry_wait(n: u32) -> Duration {
    jittered(RETRY_WAITS, n)
}

fn jittered((least, most): (Duration, Duration), n: u32) -> Duration {
    let bound = least.saturating_mul(1 << n.min(16)).min(most);
    bound.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tried(gate: &Gate, outcomes: impl IntoIterator<Item = Outcome>) {
        for outcome in outcomes {
            gate.enter().await.done(outcome);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_grow_with_successes_and_halve_with_a_failure() {
        let gate = Gate::default();
        tried(&gate, [Outcome::Good; 300]).await;
        assert!(gate.lock().places > MOST - 0.1);
        tried(&gate, [Outcome::Bad]).await;
        assert!(gate.lock().places <= MOST / 2.0);
        let held: Vec<_> = [gate.enter().await, gate.enter().await].into();
        assert_eq!(gate.lock().taken, 2);
        drop(held);
        assert_eq!(gate.lock().taken, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_asked_once_in_a_while_and_opened_again_by_one_success() {
        let gate = Gate::default();
        tried(&gate, [Outcome::Bad; JUDGED / 4]).await;
        assert!(gate.is_open());
        let began = Instant::now();
        tried(&gate, [Outcome::Bad; 20]).await;
        let took = began.elapsed();
        assert!(took > Duration::from_secs(30), "{took:?}");
        // One at a time, while it is open.
        let probe = gate.enter().await;
        let other = tokio::time::timeout(Duration::from_secs(60), gate.enter()).await;
        assert!(other.is_err());
        probe.done(Outcome::Good);
        assert!(!gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_errors_in_a_hundred_do_not_open_it() {
        let gate = Gate::default();
        for n in 0..1_000 {
            let outcome = if n % 20 == 7 { Outcome::Bad } else { Outcome::Good };
            gate.enter().await.done(outcome);
            assert!(!gate.is_open());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_follows_the_times_that_successes_took() {
        let gate = Gate::default();
        assert_eq!(gate.deadline(), FIRST_DEADLINE);
        for _ in 0..REMEMBERED {
            let place = gate.enter().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            place.done(Outcome::Good);
        }
        assert_eq!(gate.deadline().as_secs(), 4);
        for _ in 0..REMEMBERED {
            gate.enter().await.done(Outcome::Good);
        }
        assert_eq!(gate.deadline(), LEAST_DEADLINE);
    }

    #[test]
    fn waits_are_drawn_from_nothing_to_a_bound_that_grows() {
        for n in 0..40 {
            assert!(retry_wait(n) <= RETRY_WAITS.1);
        }
        let first: Vec<_> = (0..100).map(|_| retry_wait(0)).collect();
        assert!(first.iter().all(|wait| *wait <= RETRY_WAITS.0));
        assert!(first.iter().any(|wait| *wait > RETRY_WAITS.0 / 2));
        assert!(first.iter().any(|wait| *wait < RETRY_WAITS.0 / 2));
    }
}
