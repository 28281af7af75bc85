//! What a channel knows of its source: configurations, rate, key-frame distance, and the units that
//! wait until the encoder can start.
//!
//! Pure bookkeeping over the units as they arrive; it changes none and decides nothing about the
//! output except whether enough is known to begin.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ingest::source::{SourceSample, Unit};
use packager::media::{AudioConfig, VideoConfig};
use packager::time::{Rounding, Timescale};

use super::status::SourceStatus;

/// Units kept while the frame rate is being found out: about 3 s of 60 fps with audio.
const MAX_WAITING_UNITS: usize = 400;
/// Bytes kept for the same: 3 s at 40 Mb/s.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// Over how long bit rate and frame rate are averaged.
const AVERAGE_OVER: Duration = Duration::from_secs(4);

/// The source as seen so far.
#[derive(Debug)]
pub(super) struct Intake {
    video: Option<VideoConfig>,
    audio: Option<AudioConfig>,
    waiting: VecDeque<Unit>,
    waiting_bytes: usize,
    started: bool,
    arrivals: VecDeque<Arrival>,
    last_sync_ms: Option<i64>,
    gop_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    bytes: usize,
    picture: bool,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            video: None,
            audio: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            started: false,
            arrivals: VecDeque::new(),
            last_sync_ms: None,
            gop_ms: None,
        }
    }

    /// Notes a unit for the statistics.
    pub(super) fn observe(&mut self, unit: &Unit) {
        match unit {
            Unit::VideoConfig(config) => self.video = Some(config.clone()),
            Unit::AudioConfig(config) => self.audio = Some(config.clone()),
            Unit::Video(sample) => {
                self.arrive(sample, true);
                if sample.sync {
                    let at = sample.dts.ticks_in(Timescale::MILLIS, Rounding::Nearest);
                    self.gop_ms = self.last_sync_ms.map(|last| at.saturating_sub(last));
                    self.last_sync_ms = Some(at);
                }
            }
            Unit::Audio(sample) => self.arrive(sample, false),
            Unit::Data(_) => {}
        }
    }

    fn arrive(&mut self, sample: &SourceSample, picture: bool) {
        let at = sample.received;
        self.arrivals.push_back(Arrival { at, bytes: sample.data.len(), picture });
        while self.arrivals.front().is_some_and(|first| at.duration_since(first.at) > AVERAGE_OVER)
        {
            self.arrivals.pop_front();
        }
    }

    /// Keeps a unit until the encoder starts. Before the first key frame nothing can be decoded, so
    /// only configurations are kept; when the store is full the oldest sound goes first, since the
    /// output starts with a picture.
    pub(super) fn wait(&mut self, unit: Unit) {
        match &unit {
            Unit::Video(sample) if !self.started && !sample.sync => return,
            Unit::Video(_) => self.started = true,
            Unit::Audio(_) if !self.started => return,
            Unit::VideoConfig(_) | Unit::AudioConfig(_) | Unit::Audio(_) | Unit::Data(_) => {}
        }
        self.waiting_bytes += bytes_of(&unit);
        self.waiting.push_back(unit);
        while self.waiting.len() > MAX_WAITING_UNITS || self.waiting_bytes > MAX_WAITING_BYTES {
            let sound = self.waiting.iter().position(|u| matches!(u, Unit::Audio(_)));
            let Some(dropped) = self.waiting.remove(sound.unwrap_or(0)) else { break };
            self.waiting_bytes -= bytes_of(&dropped);
        }
    }

    /// The units kept so far, in order; the intake keeps none from here on.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Unit> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// The video configuration, once it is known.
    pub(super) fn video(&self) -> Option<&VideoConfig> {
        self.video.as_ref()
    }

    /// Fills in what a person wants to know of the source.
    pub(super) fn describe(&self, status: &mut SourceStatus) {
        status.video = self.video.as_ref().map(|v| v.codec_string.clone());
        status.size = self.video.as_ref().map(|v| (v.width, v.height));
        status.audio = self.audio.as_ref().map(|a| a.codec_string.clone());
        status.gop_seconds = self.gop_ms.map(|ms| ms as f64 / 1000.0);
        let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back()) else {
            return;
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds > 0.5 {
            let bytes: usize = self.arrivals.iter().map(|a| a.bytes).sum();
            let pictures = self.arrivals.iter().filter(|a| a.picture).count();
            status.bitrate = (bytes as f64 * 8.0 / seconds) as u64;
            status.fps = (pictures as f64 / seconds * 10.0).round() / 10.0;
        }
    }
}

fn bytes_of(unit: &Unit) -> usize {
    match unit {
        Unit::Video(sample) | Unit::Audio(sample) => sample.data.len(),
        Unit::VideoConfig(_) | Unit::AudioConfig(_) | Unit::Data(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use packager::time::Timestamp;

    fn sample(ms: i64, sync: bool, bytes: usize, received: Instant) -> SourceSample {
        let at = Timestamp::new(ms, Timescale::MILLIS);
        SourceSample { dts: at, pts: at, sync, data: Bytes::from(vec![0; bytes]), received }
    }

    #[test]
    fn rates_and_key_frame_distance_are_those_of_the_last_seconds() {
        let (mut intake, begin) = (Intake::new(), Instant::now());
        for n in 0u32..250 {
            let at = begin + Duration::from_millis(u64::from(n) * 40);
            intake.observe(&Unit::Video(sample(i64::from(n) * 40, n % 50 == 0, 5_000, at)));
        }
        let mut status = SourceStatus::default();
        intake.describe(&mut status);
        assert_eq!(status.gop_seconds, Some(2.0));
        assert!((status.fps - 25.0).abs() < 0.5, "{}", status.fps);
        assert!(status.bitrate.abs_diff(1_000_000) < 20_000, "{}", status.bitrate);
    }

    #[test]
    fn nothing_is_kept_before_the_first_key_frame() {
        let (mut intake, now) = (Intake::new(), Instant::now());
        intake.wait(Unit::Audio(sample(0, true, 10, now)));
        intake.wait(Unit::Video(sample(0, false, 10, now)));
        assert!(intake.take_waiting().is_empty());
        intake.wait(Unit::Video(sample(40, true, 10, now)));
        intake.wait(Unit::Audio(sample(41, true, 10, now)));
        assert_eq!(intake.take_waiting().len(), 2);
    }

    #[test]
    fn what_waits_is_bounded_and_the_pictures_stay() {
        let (mut intake, now) = (Intake::new(), Instant::now());
        intake.wait(Unit::Video(sample(0, true, 10, now)));
        for n in 0..2_000 {
            intake.wait(Unit::Audio(sample(n, true, 10, now)));
        }
        let kept = intake.take_waiting();
        assert!(kept.len() <= MAX_WAITING_UNITS);
        assert!(matches!(kept.front(), Some(Unit::Video(_))));
    }
}
