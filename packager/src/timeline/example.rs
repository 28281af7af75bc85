//! Timelines for the tests of the manifests: a small ladder, fed by the grid as a segmenter would.

use std::sync::Arc;

use bytes::Bytes;

use super::{Format, Part, Removed, Run, Snapshot, Timeline};
use crate::grid::Grid;
use crate::media::{AudioConfig, Config, Name, Rendition, RunId, Track, VideoCodec, VideoConfig};
use crate::time::{FrameRate, Rounding, Span, Timescale};

/// Number of the first segment of [`Example::new`] at D = 1.6 s: 2026-11-25T19:00:01.600Z.
pub(crate) const FIRST_K: u64 = 1_122_270_751;

/// Discontinuity number of a first run there: 328 days and 19 hours after 2026 began.
pub(crate) const FIRST_DISCONTINUITY: u64 = 7_891;

/// A rung of a ladder.
pub(crate) fn rung(name: &str, size: (u16, u16), bitrate: u32, rate: FrameRate) -> Rendition {
    Rendition {
        name: Name::parse(name).unwrap(),
        track: Track {
            timescale: rate.timescale(),
            config: Config::Video(VideoConfig {
                codec: VideoCodec::H264,
                record: Bytes::from_static(b"avcC"),
                codec_string: "avc1.64001f".into(),
                width: size.0,
                height: size.1,
                rate: Some(rate),
            }),
        },
        rate: Some(rate),
        average_bitrate: bitrate,
        peak_bitrate: bitrate * 5 / 4,
    }
}

/// The sound of a ladder.
pub(crate) fn sound(sample_rate: u32) -> Rendition {
    Rendition {
        name: Name::parse("audio").unwrap(),
        track: Track {
            timescale: Timescale::new(sample_rate).unwrap(),
            config: Config::Audio(AudioConfig {
                record: Bytes::from_static(&[0x11, 0x90]),
                codec_string: "mp4a.40.2".into(),
                sample_rate,
                channels: 2,
                frame_samples: 1024,
            }),
        },
        rate: None,
        average_bitrate: 128_000,
        peak_bitrate: 128_000,
    }
}

/// A timeline and what feeds it.
pub(crate) struct Example {
    pub(crate) timeline: Timeline,
    pub(crate) grid: Grid,
    renditions: Arc<[Rendition]>,
    runs: u64,
}

impl Example {
    /// Three rungs at 30 fps and 48 kHz, a window of `window` seconds, nothing in it.
    pub(crate) fn new(window: u64) -> Self {
        Self::with(FrameRate::new(30, 1), 48_000, Span::millis(2_000), window)
    }

    /// The same ladder at other rates.
    pub(crate) fn with(rate: FrameRate, audio: u32, segment: Span, window: u64) -> Self {
        let grid = Grid::choose(rate, audio, segment, Span::millis(300));
        let renditions: Arc<[Rendition]> = [
            rung("720p", (1280, 720), 2_800_000, rate),
            rung("480p", (854, 480), 1_400_000, rate),
            rung("360p", (640, 360), 800_000, rate),
            sound(audio),
        ]
        .into();
        let format = Arc::new(Format {
            grid,
            window: Span::millis(window * 1000),
            publish_delay: Span::millis(150),
        });
        let timeline = Timeline::new(format, Arc::clone(&renditions), None);
        Self { timeline, grid, renditions, runs: 0 }
    }

    /// Begins a run at `first_k`.
    pub(crate) fn run(&mut self, first_k: u64) -> Arc<Run> {
        self.runs += 1;
        let inits = self.renditions.iter().map(|_| Bytes::from_static(b"init")).collect();
        let id = RunId::from_millis(0x1a2_0000_0000 + self.runs);
        self.timeline.begin_run(id, first_k, inits)
    }

    /// Adds a finished segment `k` to one rendition.
    pub(crate) fn push(&mut self, rendition: usize, k: u64) {
        self.push_parts(rendition, k);
        self.timeline.close(rendition);
    }

    /// Adds finished segments to every rendition; those of `off` hold nothing worth playing.
    pub(crate) fn push_off(&mut self, numbers: std::ops::Range<u64>, off: &[usize]) {
        for k in numbers {
            for rendition in 0..self.renditions.len() {
                if off.contains(&rendition) {
                    self.open_gap(rendition, k);
                }
                self.push(rendition, k);
            }
        }
    }

    /// Opens segment `k` of one rendition as a gap.
    pub(crate) fn open_gap(&mut self, rendition: usize, k: u64) {
        let (start, _) = self.bounds(self.renditions[rendition].video().is_some(), k);
        self.timeline.open_gap(rendition, k, start);
    }

    /// Adds the parts that the grid gives segment `k` of one rendition.
    pub(crate) fn push_parts(&mut self, rendition: usize, k: u64) {
        self.push_some_parts(rendition, k, usize::MAX);
    }

    /// Adds the first `count` of them.
    pub(crate) fn push_some_parts(&mut self, rendition: usize, k: u64, count: usize) {
        let video = self.renditions[rendition].video().is_some();
        let (part, frame) = match video {
            true => (self.grid.part_ticks, u64::from(self.grid.rate.frame_ticks())),
            false => {
                let part = self.grid.part().ticks_in(self.grid.audio_scale(), Rounding::Nearest);
                (part, u64::from(self.grid.audio_frame))
            }
        };
        let (start, end) = self.bounds(video, k);
        let part = part.div_ceil(frame) * frame;
        let (mut at, mut parts) = (start, 0);
        while at < end && parts < count {
            let duration = part.min(end.abs_diff(at));
            let duration = u32::try_from(duration).unwrap();
            let independent = !video || at == start;
            let bytes = 40_000 + u32::from(independent);
            let part = Part { duration, bytes, independent, first_sample: 9_000 };
            self.timeline.push_part(rendition, k, start, part);
            at += i64::from(duration);
            parts += 1;
        }
    }

    /// Start and end of segment `k` in ticks of a rendition.
    pub(crate) fn bounds(&self, video: bool, k: u64) -> (i64, i64) {
        match video {
            true => (self.grid.boundary(k), self.grid.boundary(k + 1)),
            false => (self.grid.audio_boundary(k), self.grid.audio_boundary(k + 1)),
        }
    }

    /// Adds finished segments to every rendition.
    pub(crate) fn push_all(&mut self, numbers: std::ops::Range<u64>) {
        for k in numbers {
            for rendition in 0..self.renditions.len() {
                self.push(rendition, k);
            }
        }
    }

    /// Trims the window, and the snapshot after it.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        self.trimmed().1
    }

    /// Trims the window: what left it, and the snapshot after it.
    pub(crate) fn trimmed(&mut self) -> (Vec<Removed>, Arc<Snapshot>) {
        (self.timeline.trim(), self.timeline.snapshot())
    }
}

/// Six segments of one run, live.
pub(crate) fn live() -> Arc<Snapshot> {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 6);
    example.snapshot()
}

/// Two runs with a hole of two segments between them, live.
pub(crate) fn two_runs() -> Arc<Snapshot> {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 4);
    example.run(FIRST_K + 6);
    example.push_all(FIRST_K + 6..FIRST_K + 9);
    example.snapshot()
}

/// Two runs one after the other, the channel ended.
pub(crate) fn ended() -> Arc<Snapshot> {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 4);
    example.run(FIRST_K + 4);
    example.push_all(FIRST_K + 4..FIRST_K + 7);
    example.timeline.end();
    example.snapshot()
}

/// Compares a text with the golden file of that name; writes the file when `UPDATE_GOLDEN` is set.
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{path} differs; UPDATE_GOLDEN=1 accepts this:\n{text}");
}
