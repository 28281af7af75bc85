//! The output clock of the picture: decoded pictures in, one frame per slot out, in real time.
//!
//! The clock never waits for the source. A slot shows its own picture; if that is missing, the one
//! before again, as soon as a later picture proves it missing, or [`Patience`] has run out. When
//! none has come for seconds, a slate is shown until one does.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ffmpeg_next::frame;
use packager::grid::Grid;

use super::cuts::Cuts;
use super::link::Link;
use super::meter::Meter;
use super::rung::{Asked, Job, Lane, Shown};
use super::slots::{Patience, Slots};
use crate::av::protocol::{ClockBase, FromWorker, monotonic_nanos};

/// Pictures that may wait for their slots, in seconds of frames: what a source is ahead (the reader
/// waits beyond that) plus the longest patience.
const WAITING_SECONDS: u32 = 2;
/// Time between reports, in nanoseconds.
const REPORT: i64 = 1_000_000_000;

/// Where decoded pictures wait for their slots.
pub(super) struct Board {
    grid: Grid,
    clock: ClockBase,
    meter: Arc<Meter>,
    /// What the rungs are asked for, in the ladder's order.
    asked: Vec<Arc<Asked>>,
    cuts: Arc<Cuts>,
    /// How long the last picture stands before the slate is shown, in nanoseconds.
    slate_after: i64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: BTreeMap<i64, Arc<Shown>>,
    /// The newest picture that waited for a slot which has gone by.
    passed: Option<Arc<Shown>>,
    /// The rungs that are made from the next boundary on, by bit.
    rungs: u64,
    slate: Option<Arc<Shown>>,
    first: Option<(i64, Arc<Shown>)>,
    /// The slot shown next; what belongs to an earlier one is late.
    next: i64,
    patience: Patience,
    closed: bool,
}

/// What a slot shows.
enum Choice {
    Picture(Arc<Shown>),
    Repeat,
    Closed,
}

impl Board {
    pub(super) fn new(
        grid: Grid,
        clock: ClockBase,
        meter: Arc<Meter>,
        asked: Vec<Arc<Asked>>,
        cuts: Arc<Cuts>,
        slate_after: Duration,
    ) -> Self {
        let slate_after = i64::try_from(slate_after.as_nanos()).unwrap_or(i64::MAX);
        let state = State {
            waiting: BTreeMap::new(),
            passed: None,
            rungs: u64::MAX,
            slate: None,
            first: None,
            next: i64::MIN,
            patience: Patience::of(&grid),
            closed: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { grid, clock, meter, asked, cuts, slate_after, state, changed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most `nanos` for a change.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, nanos: i64) -> MutexGuard<'a, State> {
        let time = Duration::from_nanos(nanos.max(0).unsigned_abs());
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Puts a picture into its slot. How late it is tells how long to wait for the next ones, if it
    /// was read as `prompt`ly as it came.
    pub(super) fn put(&self, slot: i64, shown: Shown, prompt: bool) {
        let shown = Arc::new(shown);
        let mut state = self.lock();
        if slot < state.next {
            let now = self.clock.utc_nanos();
            if prompt {
                state.patience.missed(now - Slots::nanos(self.grid.rate, slot), now);
            }
            self.meter.dropped.fetch_add(1, Relaxed);
            return;
        }
        let limit = (WAITING_SECONDS * self.grid.rate.num / self.grid.rate.den.max(1)) as usize;
        if state.waiting.contains_key(&slot) || state.waiting.len() >= limit {
            self.meter.dropped.fetch_add(1, Relaxed);
            return;
        }
        state.first.get_or_insert_with(|| (slot, Arc::clone(&shown)));
        state.waiting.insert(slot, shown);
        drop(state);
        self.changed.notify_all();
    }

    /// Says what is shown when no picture has come for long.
    pub(super) fn set_slate(&self, picture: frame::Video) {
        let shown = Shown { picture, received: monotonic_nanos() };
        self.lock().slate = Some(Arc::new(shown));
    }

    /// Begins with the slate, if there is no picture to begin with.
    pub(super) fn begin_without_source(&self) {
        let next = self.next_frame();
        let mut state = self.lock();
        if state.first.is_none() {
            state.first = state.slate.clone().map(|slate| (next, slate));
            self.changed.notify_all();
        }
    }

    /// Says which rungs are made from the next boundary on, by bit.
    pub(super) fn set_rungs(&self, on: u64) {
        self.lock().rungs = on;
    }

    /// Asks rungs, by bit, for an IDR at the first frame at or after `at` that they have not coded yet.
    pub(super) fn ask_key_frames(&self, rungs: u64, at: i64) {
        for (index, asked) in (0u32..).zip(&self.asked) {
            if rungs.checked_shr(index).is_some_and(|bits| bits & 1 == 1) {
                asked.at(at);
            }
        }
    }

    /// The first frame that begins after now.
    pub(super) fn next_frame(&self) -> i64 {
        let (rate, now) = (self.grid.rate, i128::from(self.clock.utc_nanos()));
        let frames = now * i128::from(rate.num) / (i128::from(rate.den.max(1)) * 1_000_000_000);
        i64::try_from(frames).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Ends the output.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The first picture and its slot; `None` when the worker ends before there is one.
    pub(super) fn first(&self) -> Option<(i64, Arc<Shown>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(first) = &state.first {
                return Some(first.clone());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Shows slot after slot from frame `start` on, until closed. What lies before the first picture
    /// shows that picture, so that the first segment is whole.
    pub(super) fn run(&self, start: i64, first: Arc<Shown>, lanes: &mut [Lane], link: &Link) {
        let frame = i64::from(self.grid.rate.frame_ticks());
        let began = self.clock.utc_nanos();
        let mut current = first;
        let mut shown_at = Slots::nanos(self.grid.rate, start).max(began);
        let mut reported = monotonic_nanos();
        for n in start.. {
            let due = Slots::nanos(self.grid.rate, n);
            let backfill = due < began;
            let (shown, captured) = match self.choose(n, due) {
                Choice::Closed => return,
                Choice::Picture(picture) => {
                    shown_at = due;
                    current = picture;
                    (Arc::clone(&current), current.received)
                }
                Choice::Repeat => {
                    if n > start && !backfill {
                        self.meter.repeated.fetch_add(1, Relaxed);
                    }
                    if due - shown_at >= self.slate_after
                        && let Some(slate) = self.lock().slate.clone()
                    {
                        self.meter.slated.fetch_add(1, Relaxed);
                        current = slate;
                    }
                    (Arc::clone(&current), monotonic_nanos())
                }
            };
            if self.cuts.is_boundary(n * frame) {
                let rungs = self.lock().rungs;
                for (index, lane) in (0u8..).zip(lanes.iter_mut()) {
                    let on = rungs.checked_shr(index.into()).is_some_and(|bits| bits & 1 == 1);
                    if lane.switch(on) {
                        let at = n * frame;
                        link.send(&FromWorker::Rung { rendition: index, on, at });
                    }
                }
            }
            for lane in lanes.iter_mut() {
                let job = Job { n, shown: Arc::clone(&shown), due, captured, fresh: false };
                if !lane.give(job, backfill, &self.meter) {
                    return;
                }
            }
            self.meter.released(Slots::nanos(self.grid.rate, n + 1) - due);
            let now = monotonic_nanos();
            if now - reported >= REPORT {
                // What should be coded by now: what the rungs were given, or more if giving it to
                // them takes too long.
                let wait = self.lock().patience.nanos();
                let should = due.max(self.clock.utc_nanos() - wait);
                let rungs = lanes.iter_mut().map(|lane| lane.report(should)).collect();
                link.send(&FromWorker::Stats(self.meter.report(now - reported, rungs)));
                reported = now;
            }
        }
    }

    /// Waits for slot `n` to begin and for its picture.
    fn choose(&self, n: i64, due: i64) -> Choice {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Choice::Closed;
            }
            let now = self.clock.utc_nanos();
            if now < due {
                state = self.wait(state, due - now);
                continue;
            }
            let later = state.waiting.split_off(&n);
            let before = std::mem::replace(&mut state.waiting, later);
            // Left over from before the first segment, or while the output was behind.
            self.meter.dropped.fetch_add(before.len() as u64, Relaxed);
            if let Some((_, newest)) = before.into_iter().next_back() {
                state.passed = Some(newest);
            }
            state.patience.relax(now);
            self.meter.buffer_nanos.store(state.patience.nanos(), Relaxed);
            if let Some(shown) = state.waiting.remove(&n) {
                state.next = n + 1;
                state.passed = None;
                return Choice::Picture(shown);
            }
            let deadline = due + state.patience.nanos();
            if !state.waiting.is_empty() || now >= deadline {
                state.next = n + 1;
                return state.passed.take().map_or(Choice::Repeat, Choice::Picture);
            }
            state = self.wait(state, deadline - now);
        }
    }
}
