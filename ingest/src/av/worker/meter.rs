//! What the threads of a worker count, and the report made of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::av::protocol::{RungStats, Stats};

/// Counters that any thread adds to.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) decoded: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) slated: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) jumps: AtomicU64,
    pub(super) replaced: AtomicU64,
    pub(super) taken_back: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) silenced: AtomicU64,
    pub(super) buffer_nanos: AtomicI64,
    ingest: Mean,
    encode: Mean,
    /// Due → encoded of the newest picture, in nanoseconds.
    lag: AtomicI64,
    encoded_nanos: AtomicI64,
}

/// A mean since the last time it was asked.
#[derive(Debug, Default)]
struct Mean {
    sum: AtomicI64,
    count: AtomicI64,
}

impl Mean {
    fn add(&self, nanos: i64) {
        self.sum.fetch_add(nanos, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    fn take_micros(&self) -> u32 {
        let (sum, count) = (self.sum.swap(0, Relaxed), self.count.swap(0, Relaxed));
        clamp(sum / count.max(1) / 1_000)
    }
}

impl Meter {
    /// A picture was decoded `nanos` after it was received.
    pub(super) fn ingested(&self, nanos: i64) {
        self.decoded.fetch_add(1, Relaxed);
        self.ingest.add(nanos);
    }

    /// A picture left an encoder `after_release` after it was given to it, `after_due` after its
    /// time; both in nanoseconds.
    pub(super) fn encoded(&self, after_release: i64, after_due: i64) {
        self.encode.add(after_release);
        self.lag.store(after_due, Relaxed);
    }

    /// Media of `nanos` was released to the encoders.
    pub(super) fn released(&self, nanos: i64) {
        self.encoded_nanos.fetch_add(nanos, Relaxed);
    }

    /// The report over the last `elapsed` nanoseconds.
    pub(super) fn report(&self, elapsed: i64, rungs: Vec<RungStats>) -> Stats {
        let media = self.encoded_nanos.swap(0, Relaxed);
        Stats {
            lag_ms: clamp(self.lag.load(Relaxed) / 1_000_000),
            speed_percent: clamp(media / (elapsed / 100).max(1)),
            buffer_ms: clamp(self.buffer_nanos.load(Relaxed) / 1_000_000),
            ingest_us: self.ingest.take_micros(),
            encode_us: self.encode.take_micros(),
            decoded: self.decoded.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            slated: self.slated.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            jumps: self.jumps.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            taken_back: self.taken_back.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            silenced: self.silenced.load(Relaxed),
            cpu_ms: cpu_ms(),
            rungs,
        }
    }
}

/// CPU time of this process so far, in milliseconds.
fn cpu_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

pub(super) fn clamp(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}
