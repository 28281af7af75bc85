//! Windows of a day, in virtual time: how large their playlists are, how long they take to be written, and
//! what a channel keeps in memory for them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use packager::dash;
use packager::grid::Grid;
use packager::hls::{self, Skip};
use packager::media::{
    AudioConfig, Config, Name, Rendition, RunId, Track, VideoCodec, VideoConfig,
};
use packager::time::{FrameRate, Rounding, Span, Timescale};
use packager::timeline::{Format, Part, Timeline};

use super::Measure;
use crate::{Context, Result};

/// Hours of the window.
const HOURS: u64 = 24;
/// A number whose segment began in 2026.
const FIRST_K: u64 = 1_122_270_751;
/// Parts that are listed while time is taken: about half an hour.
const PARTS: usize = 6_000;
/// How playlists are compressed for viewers.
const LEVEL: Compression = Compression::new(4);

/// Counts what is allocated.
#[derive(Debug)]
pub struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; only sizes are added up.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A channel whose segments come as fast as they are asked for.
struct Channel {
    timeline: Timeline,
    grid: Grid,
    renditions: usize,
}

impl Channel {
    fn new() -> Result<Self> {
        let rate = FrameRate::new(30, 1);
        let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300));
        let window = Span::millis(HOURS * 3_600_000);
        let format = Format { grid, window, publish_delay: Span::millis(150) };
        let heights = [("720p", 1_280, 720), ("480p", 854, 480), ("360p", 640, 360)];
        let mut renditions = Vec::new();
        for (name, width, height) in heights {
            renditions.push(picture(name, (width, height), rate)?);
        }
        renditions.push(sound()?);
        let count = renditions.len();
        let mut timeline = Timeline::new(Arc::new(format), renditions.into(), None);
        let inits = vec![Bytes::from_static(b"init"); count];
        timeline.begin_run(RunId::from_millis(0x1a2_0000_0001), FIRST_K, inits);
        Ok(Self { timeline, grid, renditions: count })
    }

    /// Adds a segment to every rendition, and calls `each` behind each of its parts.
    fn segment(&mut self, k: u64, mut each: impl FnMut(&mut Timeline)) {
        let parts = self.grid.segment_ticks / self.grid.part_ticks;
        for n in 0..parts {
            for rendition in 0..self.renditions {
                let sound = rendition + 1 == self.renditions;
                let (start, length) = match sound {
                    true => (self.grid.audio_boundary(k), 76_800 / parts),
                    false => (self.grid.boundary(k), self.grid.part_ticks),
                };
                let part = Part {
                    duration: u32::try_from(length).unwrap_or(u32::MAX),
                    bytes: 40_000 + u32::try_from(k % 1_000).unwrap_or(0),
                    independent: n == 0,
                    first_sample: 9_000,
                };
                self.timeline.push_part(rendition, k, start, part);
                if n + 1 == parts {
                    self.timeline.close(rendition);
                }
            }
            drop(self.timeline.trim());
            each(&mut self.timeline);
        }
    }
}

fn picture(name: &str, (width, height): (u16, u16), rate: FrameRate) -> Result<Rendition> {
    let config = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(b"avcC"),
        codec_string: "avc1.64001f".into(),
        width,
        height,
        rate: Some(rate),
    };
    Ok(Rendition {
        name: Name::parse(name).context("a name")?,
        track: Track { timescale: rate.timescale(), config: Config::Video(config) },
        rate: Some(rate),
        average_bitrate: 2_800_000,
        peak_bitrate: 3_500_000,
    })
}

fn sound() -> Result<Rendition> {
    let config = AudioConfig {
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1_024,
    };
    let timescale = Timescale::new(48_000).context("a timescale")?;
    Ok(Rendition {
        name: Name::parse("audio").context("a name")?,
        track: Track { timescale, config: Config::Audio(config) },
        rate: None,
        average_bitrate: 128_000,
        peak_bitrate: 128_000,
    })
}

/// The percentile of some durations, in hundredths.
fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or_default()
}

fn gzip(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), LEVEL);
    // Writing to memory can't fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().map_or(0, |bytes| bytes.len())
}

/// Measures them.
///
/// # Errors
/// If a channel can't be set up.
pub fn measure() -> Result<Vec<Measure>> {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut channel = Channel::new()?;
    let segments = Span::millis(HOURS * 3_600_000).ticks_in(Timescale::MILLIS, Rounding::Nearest)
        / channel.grid.segment().ticks_in(Timescale::MILLIS, Rounding::Nearest);
    for k in FIRST_K..FIRST_K + segments {
        channel.segment(k, |_| {});
    }
    let snapshot = channel.timeline.snapshot();
    let bare = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before);
    let options = hls::Options::default();
    drop(snapshot);

    let (mut snapshots, mut whole, mut updates, mut manifests) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut plain, mut update, mut mpd) = (String::new(), String::new(), String::new());
    let mut k = FIRST_K + segments;
    while snapshots.len() < PARTS {
        channel.segment(k, |timeline| {
            let began = Instant::now();
            let snapshot = timeline.snapshot();
            snapshots.push(began.elapsed());
            let began = Instant::now();
            plain = hls::media(&snapshot, 0, Skip::Nothing, &options);
            whole.push(began.elapsed());
            let began = Instant::now();
            update = hls::media(&snapshot, 0, Skip::Segments, &options);
            updates.push(began.elapsed());
            let began = Instant::now();
            mpd = dash::manifest(&snapshot, &dash::Options::default());
            manifests.push(began.elapsed());
        });
        k += 1;
    }
    let with_lines = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before);
    let packed = gzip(&plain);
    let millis = |times: &mut Vec<Duration>| percentile(times, 99).as_secs_f64() * 1_000.0;
    let (list, delta, manifest, shot) =
        (millis(&mut whole), millis(&mut updates), millis(&mut manifests), millis(&mut snapshots));
    let megabytes = |bytes: usize| bytes as f64 / 1_000_000.0;
    let per_hour = megabytes(bare) / HOURS as f64;
    let method = "A timeline of 24 h in virtual time: segments of 1.6 s in six parts, three rungs and \
                  sound. From then on each part is listed, and everything is written again, 6,000 times";
    Ok(vec![
        Measure {
            name: "window of 24 h: plain media playlist".into(),
            ours: format!(
                "{:.2} MB, {:.0} kB in gzip",
                megabytes(plain.len()),
                packed as f64 / 1e3
            ),
            bar: "≤ 3 MB, ≤ 250 kB".into(),
            met: plain.len() <= 3 << 20 && packed <= 250_000,
            method: format!("{method}. Megabytes of the bar are binary."),
            ..Measure::without_peer()
        },
        Measure {
            name: "window of 24 h: delta update".into(),
            ours: format!("{:.2} kB", update.len() as f64 / 1e3),
            bar: "≤ 4 kB".into(),
            met: update.len() <= 4_096,
            method: format!("{method}."),
            ..Measure::without_peer()
        },
        Measure {
            name: "window of 24 h: rendering, p99".into(),
            ours: format!(
                "playlist {list:.2} ms, delta {delta:.3} ms, manifest {manifest:.2} ms, snapshot {shot:.3} ms"
            ),
            bar: "≤ 2 ms".into(),
            met: list <= 2.0 && delta <= 2.0 && manifest <= 2.0 && shot <= 2.0,
            method: format!(
                "{method}. A snapshot is taken for each part, and a page of segments copied for each of them."
            ),
            ..Measure::without_peer()
        },
        Measure {
            name: "window of 24 h: memory of the timeline per channel-hour".into(),
            ours: format!(
                "{per_hour:.2} MB; {:.2} MB with one rendition's lines kept",
                megabytes(with_lines) / HOURS as f64
            ),
            bar: "≤ 1 MB".into(),
            met: per_hour <= 1.0,
            method: format!(
                "{method}. What is allocated with the timeline and a snapshot of it less what was before. \
                 The store's index and journal come on top."
            ),
            ..Measure::without_peer()
        },
    ])
}
