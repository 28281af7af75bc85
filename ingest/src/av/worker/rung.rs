//! One rung: a thread that scales and encodes the pictures it is given, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ffmpeg_next::frame;
use packager::grid::Grid;
use packager::media::{Config, Rendition, Sample, Track};
use packager::time::FrameRate;

use super::Error;
use super::encode::{VideoEncoder, VideoSettings};
use super::link::Link;
use super::meter::Meter;
use super::scale::Scaler;
use crate::av::ladder::Rung;
use crate::av::protocol::{ClockBase, FromWorker, monotonic_nanos};

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
    pub(super) idr: bool,
    /// When the frame begins, UTC nanoseconds.
    pub(super) due: i64,
    /// `CLOCK_MONOTONIC` nanoseconds at which its picture was received, or repeated.
    pub(super) captured: i64,
}

/// The way to a rung's thread.
pub(super) struct Lane {
    queue: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// An IDR was left out and the next picture is one instead.
    owes_idr: bool,
    /// Frames given and not yet encoded.
    pending: Arc<AtomicUsize>,
    /// Until this `CLOCK_MONOTONIC` time the rung may still be busy with the backfill of the first
    /// segment, and is waited for.
    catching_up: Option<i64>,
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
        let worker = Worker {
            pending: Arc::clone(&pending),
            encoder,
            size: (rung.width, rung.height),
            index,
            frame_ticks: grid.rate.frame_ticks(),
            clock,
            link: link.clone(),
            meter: Arc::clone(meter),
        };
        let thread = std::thread::Builder::new()
            .name(format!("rung {}", rung.name))
            .spawn(move || worker.run(&jobs))?;
        let lane = Self { queue, thread, owes_idr: false, pending, catching_up: Some(i64::MAX) };
        Ok((lane, rendition))
    }

    /// Gives the rung a frame. A frame of the first segment's backfill waits for room, and so do the
    /// next ones until the rung has caught up; after that, a frame without room is left out.
    /// Returns whether the rung is alive.
    pub(super) fn give(&mut self, mut job: Job, backfill: bool, meter: &Meter) -> bool {
        job.idr |= self.owes_idr;
        let idr = job.idr;
        if !backfill && let Some(until) = self.catching_up {
            let now = monotonic_nanos();
            self.catching_up = (self.pending.load(Relaxed) > 1 && now < until)
                .then(|| until.min(now.saturating_add(CATCH_UP)));
        }
        self.pending.fetch_add(1, Relaxed);
        let result = if self.catching_up.is_some() {
            self.queue.send(job).map_err(|error| TrySendError::Disconnected(error.0))
        } else {
            self.queue.try_send(job)
        };
        self.owes_idr = match result {
            Ok(()) => false,
            Err(TrySendError::Full(_)) => {
                self.pending.fetch_sub(1, Relaxed);
                meter.skipped.fetch_add(1, Relaxed);
                idr
            }
            Err(TrySendError::Disconnected(_)) => return false,
        };
        true
    }

    /// Lets the rung finish what it has.
    pub(super) fn close(self) {
        drop(self.queue);
        // A panic in there has been told on standard error already.
        let _ = self.thread.join();
    }
}

/// Frames that may wait for an encoder: half a second; beyond, they are left out.
fn half_a_second(rate: FrameRate) -> usize {
    (rate.num / rate.den.max(1) / 2).max(2) as usize
}

/// What the thread owns.
struct Worker {
    encoder: VideoEncoder,
    pending: Arc<AtomicUsize>,
    size: (u16, u16),
    index: u8,
    frame_ticks: u32,
    clock: ClockBase,
    link: Link,
    meter: Arc<Meter>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut scaler = Scaler::new(self.size.0, self.size.1);
        // The last picture as scaled: a repeated one is not scaled again.
        let mut last: Option<(Arc<Shown>, frame::Video)> = None;
        for job in jobs {
            let released = monotonic_nanos();
            if last.as_ref().is_none_or(|(shown, _)| !Arc::ptr_eq(shown, &job.shown)) {
                // Let go of first, so that the scaler may write where it wrote before.
                drop(last.take());
                match scaler.run(&job.shown.picture) {
                    Ok(scaled) => last = Some((Arc::clone(&job.shown), scaled)),
                    Err(error) => return self.fail(&error),
                }
            }
            let Some((_, scaled)) = &mut last else { continue };
            let ticks = i64::from(self.frame_ticks);
            let (link, meter, clock) = (&self.link, &self.meter, self.clock);
            let (index, duration) = (self.index, self.frame_ticks);
            let result = self.encoder.encode(scaled, job.n, job.idr, |n, sync, data| {
                let encoded = monotonic_nanos();
                meter.encoded(encoded - released, clock.utc_nanos() - job.due);
                let at = n * ticks;
                let sample = Sample { dts: at, pts: at, duration, sync, data };
                link.send(&FromWorker::Sample {
                    rendition: index,
                    sample,
                    captured: job.captured,
                    encoded,
                });
            });
            self.pending.fetch_sub(1, Relaxed);
            if let Err(error) = result {
                return self.fail(&error);
            }
        }
    }

    /// An encoder that fails leaves a hole that only a new worker closes.
    fn fail(&self, error: &Error) {
        self.link.send(&FromWorker::Failed { reason: error.to_string() });
    }
}
