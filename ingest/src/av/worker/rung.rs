//! One rung: a thread that scales and encodes the pictures it is given, in order.
//!
//! A rung that can't keep up gets no new picture while it lies more than a part behind, or its queue
//! is full: the packager fills the place of what comes later ([`Grid::patience`]). It then encodes its
//! last one again in the missing places, which costs next to nothing: it freezes for a moment, and
//! its output stays whole, at a constant rate, with an IDR at every boundary. Asked for another IDR
//! where filler has taken places after all, it makes one.
//!
//! A rung that is switched off gets no frames, and costs nothing but its memory. Its encoder stays
//! open, so that it comes back with the same init segment, and with an IDR.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ffmpeg_next::frame;
use packager::grid::Grid;
use packager::media::{Config, Rendition, Sample, Track};
use packager::time::{FrameRate, Rounding, Timescale};

use super::Error;
use super::cuts::Cuts;
use super::encode::{VideoEncoder, VideoSettings};
use super::link::Link;
use super::meter::{Meter, clamp};
use super::scale::Scaler;
use super::slots::Slots;
use crate::av::ladder::Rung;
use crate::av::protocol::{ClockBase, FromWorker, RungStats, monotonic_nanos};

/// A picture as all rungs get it.
pub(super) struct Shown {
    pub(super) picture: frame::Video,
    /// When it was received, `CLOCK_MONOTONIC` nanoseconds.
    pub(super) received: i64,
}

/// One frame of the output.
pub(super) struct Job {
    /// Frames since the epoch.
    pub(super) n: i64,
    pub(super) shown: Arc<Shown>,
    /// When the frame begins, UTC nanoseconds.
    pub(super) due: i64,
    /// `CLOCK_MONOTONIC` nanoseconds at which its picture was received, or repeated.
    pub(super) captured: i64,
    /// Whether the rung was off before it: nothing leads up to this frame.
    pub(super) fresh: bool,
}

/// An IDR that a rung is asked for, from outside its thread.
#[derive(Debug)]
pub(super) struct Asked(AtomicI64);

impl Asked {
    const NOTHING: i64 = i64::MAX;

    /// Asks for it at the first picture at or after `ticks`.
    pub(super) fn at(&self, ticks: i64) {
        self.0.store(ticks, Relaxed);
    }

    /// Whether the picture at `ticks` is it; if so, it is asked for no more.
    fn is(&self, ticks: i64) -> bool {
        let asked = self.0.load(Relaxed);
        // Asked again meanwhile, for a later one: that still holds.
        asked <= ticks && self.0.compare_exchange(asked, Self::NOTHING, Relaxed, Relaxed).is_ok()
    }
}

/// The way to a rung's thread.
pub(super) struct Lane {
    queue: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// Frames given and not yet encoded.
    pending: Arc<AtomicUsize>,
    /// Until this `CLOCK_MONOTONIC` time the rung may still be busy with the backfill of the first
    /// segment, and is waited for.
    catching_up: Option<i64>,
    on: bool,
    /// Whether the next frame is the first one since the rung was off.
    fresh: bool,
    /// When the newest coded frame was due, UTC nanoseconds; 0 before the first one.
    coded: Arc<AtomicI64>,
    asked: Arc<Asked>,
    /// A rung that lies further behind takes no more pictures, nanoseconds.
    most_lag: i64,
    /// Frames that were to be taken, and those of them that were not, since the last report.
    offered: u32,
    refused: u32,
}

/// How long a rung may take to catch up with the clock after the backfill, in nanoseconds.
const CATCH_UP: i64 = 3_000_000_000;

/// Bits of the rate control's buffer per bit of peak rate, in thousandths: a fifth of a segment, so
/// that no segment exceeds the peak by a quarter, within what an IDR needs and latency bears.
fn buffer_thousandths(grid: &Grid) -> u64 {
    let scale = u64::from(grid.video_scale().get());
    (grid.segment_ticks * 1_000 / scale / 5).clamp(200, 500)
}

impl Lane {
    /// Opens the rung's encoder and starts its thread.
    pub(super) fn open(
        rung: &Rung,
        index: u8,
        grid: Grid,
        clock: ClockBase,
        link: &Link,
        meter: &Arc<Meter>,
        cuts: &Arc<Cuts>,
    ) -> Result<(Self, Rendition), Error> {
        let buffer_bits = u64::from(rung.peak_bitrate) * buffer_thousandths(&grid) / 1_000;
        let encoder = VideoEncoder::open(&VideoSettings {
            width: rung.width,
            height: rung.height,
            rate: grid.rate,
            average_bitrate: rung.average_bitrate,
            peak_bitrate: rung.peak_bitrate,
            buffer_bits: u32::try_from(buffer_bits).unwrap_or(u32::MAX),
            profile: rung.profile,
        })?;
        let config = encoder.config(grid.rate)?;
        let rendition = Rendition {
            name: rung.name.clone(),
            track: Track { timescale: grid.video_scale(), config: Config::Video(config) },
            rate: Some(grid.rate),
            average_bitrate: rung.average_bitrate,
            peak_bitrate: rung.peak_bitrate,
        };
        let (queue, jobs) = sync_channel(half_a_second(grid.rate));
        let pending = Arc::new(AtomicUsize::new(0));
        let coded = Arc::new(AtomicI64::new(0));
        let asked = Arc::new(Asked(AtomicI64::new(Asked::NOTHING)));
        let part = grid.part().ticks_in(Timescale::NANOS, Rounding::Floor);
        let worker = Worker {
            pending: Arc::clone(&pending),
            coded: Arc::clone(&coded),
            asked: Arc::clone(&asked),
            encoder,
            size: (rung.width, rung.height),
            index,
            grid,
            clock,
            link: link.clone(),
            meter: Arc::clone(meter),
            cuts: Arc::clone(cuts),
        };
        let thread = std::thread::Builder::new()
            .name(format!("rung {}", rung.name))
            .spawn(move || worker.run(&jobs))?;
        let lane = Self {
            queue,
            thread,
            pending,
            catching_up: Some(i64::MAX),
            on: true,
            fresh: false,
            coded,
            asked,
            most_lag: i64::try_from(part).unwrap_or(i64::MAX),
            offered: 0,
            refused: 0,
        };
        Ok((lane, rendition))
    }

    /// What it is asked for.
    pub(super) fn asked(&self) -> Arc<Asked> {
        Arc::clone(&self.asked)
    }

    /// Switches the rung on or off; whether that changes anything.
    pub(super) fn switch(&mut self, on: bool) -> bool {
        let changes = self.on != on;
        self.fresh |= changes && on;
        self.on = on;
        changes
    }

    /// How it has been doing since the last report, when it should have coded what was due at `due`.
    pub(super) fn report(&mut self, due: i64) -> RungStats {
        let (offered, refused) = (self.offered.max(1), self.refused);
        (self.offered, self.refused) = (0, 0);
        let coded = self.coded.load(Relaxed);
        let lag = if self.on && coded != 0 { due - coded } else { 0 };
        RungStats {
            on: self.on,
            lag_ms: clamp(lag / 1_000_000),
            frozen_percent: refused.saturating_mul(100) / offered,
        }
    }

    /// Gives the rung a frame. A frame of the first segment's backfill waits for room, and so do the
    /// next ones until the rung has caught up; after that, a frame without room is not given.
    /// Returns whether the rung is alive.
    pub(super) fn give(&mut self, mut job: Job, backfill: bool, meter: &Meter) -> bool {
        if !self.on {
            return true;
        }
        job.fresh = self.fresh;
        self.offered = self.offered.saturating_add(1);
        if !backfill && let Some(until) = self.catching_up {
            let now = monotonic_nanos();
            self.catching_up = (self.pending.load(Relaxed) > 1 && now < until)
                .then(|| until.min(now.saturating_add(CATCH_UP)));
        }
        let waiting = self.pending.fetch_add(1, Relaxed);
        if job.fresh && waiting == 0 {
            // What it coded before it was off is no measure.
            self.coded.store(job.due, Relaxed);
        }
        // What waits is behind as well. With nothing to wait for, the gap is frames not given.
        let lags = waiting > 0 && job.due - self.coded.load(Relaxed) > self.most_lag;
        let result = if self.catching_up.is_some() {
            self.queue.send(job).map_err(|error| TrySendError::Disconnected(error.0))
        } else if lags {
            Err(TrySendError::Full(job))
        } else {
            self.queue.try_send(job)
        };
        match result {
            Ok(()) => {
                self.fresh = false;
                true
            }
            Err(TrySendError::Full(_)) => {
                self.refused = self.refused.saturating_add(1);
                self.pending.fetch_sub(1, Relaxed);
                meter.skipped.fetch_add(1, Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Lets the rung finish what it has.
    pub(super) fn close(self) {
        drop(self.queue);
        // A panic in there has been told on standard error already.
        let _ = self.thread.join();
    }
}

/// Frames that may wait for an encoder: half a second.
fn half_a_second(rate: FrameRate) -> usize {
    (rate.num / rate.den.max(1) / 2).max(2) as usize
}

/// What the thread owns.
struct Worker {
    encoder: VideoEncoder,
    pending: Arc<AtomicUsize>,
    coded: Arc<AtomicI64>,
    asked: Arc<Asked>,
    size: (u16, u16),
    index: u8,
    grid: Grid,
    clock: ClockBase,
    link: Link,
    meter: Arc<Meter>,
    cuts: Arc<Cuts>,
}

/// A picture as this rung has scaled it.
struct Scaled {
    n: i64,
    shown: Arc<Shown>,
    picture: frame::Video,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut scaler = Scaler::new(self.size.0, self.size.1);
        let mut last: Option<Scaled> = None;
        for job in jobs {
            let result = self.frame(&job, &mut scaler, &mut last);
            self.pending.fetch_sub(1, Relaxed);
            if let Err(error) = result {
                // An encoder that fails leaves a hole that only a new worker closes.
                self.link.send(&FromWorker::Failed { reason: error.to_string() });
                return;
            }
        }
    }

    /// Encodes the places that were left out before a frame, and the frame.
    fn frame(
        &mut self,
        job: &Job,
        scaler: &mut Scaler,
        last: &mut Option<Scaled>,
    ) -> Result<(), Error> {
        if job.fresh {
            *last = None;
        }
        if let Some(last) = last {
            for n in last.n + 1..job.n {
                let due = Slots::nanos(self.grid.rate, n);
                self.encode(&mut last.picture, n, false, due, monotonic_nanos())?;
            }
        }
        // A repeated picture is not scaled again.
        let first = last.is_none();
        if last.as_ref().is_none_or(|last| !Arc::ptr_eq(&last.shown, &job.shown)) {
            // Let go of first, so that the scaler may write where it wrote before.
            drop(last.take());
            let picture = scaler.run(&job.shown.picture)?;
            *last = Some(Scaled { n: job.n, shown: Arc::clone(&job.shown), picture });
        }
        let Some(last) = last else { return Ok(()) };
        last.n = job.n;
        self.encode(&mut last.picture, job.n, first, job.due, job.captured)
    }

    /// Encodes a picture as frame `n`; as an IDR if it is the first, at a boundary, or asked for.
    fn encode(
        &mut self,
        picture: &mut frame::Video,
        n: i64,
        first: bool,
        due: i64,
        captured: i64,
    ) -> Result<(), Error> {
        let given = monotonic_nanos();
        let duration = self.grid.rate.frame_ticks();
        let ticks = i64::from(duration);
        let boundary = self.cuts.is_boundary(n * ticks);
        let idr = self.asked.is(n * ticks) || first || boundary;
        let (link, meter, clock, rendition) = (&self.link, &self.meter, self.clock, self.index);
        self.encoder.encode(picture, n, idr, |n, sync, data| {
            let encoded = monotonic_nanos();
            meter.encoded(encoded - given, clock.utc_nanos() - due);
            let at = n * ticks;
            let sample = Sample { dts: at, pts: at, duration, sync, data };
            link.send(&FromWorker::Sample { rendition, sample, captured, encoded });
        })?;
        self.coded.store(due, Relaxed);
        Ok(())
    }
}
