//! What a channel knows of its source: configurations, rate, key-frame distance.
//!
//! Pure bookkeeping over the units as they arrive; it keeps and changes none, and decides nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ingest::source::{SourceSample, Unit};
use packager::media::{AudioConfig, VideoConfig};
use packager::time::{Rounding, Timescale};

use super::status::SourceStatus;

/// Over how long bit rate and frame rate are averaged.
const AVERAGE_OVER: Duration = Duration::from_secs(4);
/// Arrivals remembered for it: those of 120 fps with sound, three times over.
const MAX_ARRIVALS: usize = 2_048;

/// The source as seen so far.
#[derive(Debug)]
pub(super) struct Intake {
    video: Option<VideoConfig>,
    audio: Option<AudioConfig>,
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
        while self.arrivals.len() > MAX_ARRIVALS
            || self.arrivals.front().is_some_and(|a| at.duration_since(a.at) > AVERAGE_OVER)
        {
            self.arrivals.pop_front();
        }
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
}
