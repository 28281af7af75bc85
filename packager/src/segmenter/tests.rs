use super::*;
use crate::media::{AudioConfig, Config, Name, Track, VideoCodec, VideoConfig};
use crate::time::{FrameRate, Span, Timescale};
use proptest::prelude::*;

const VIDEO: usize = 0;
const AUDIO: usize = 1;

fn renditions(rate: FrameRate) -> Arc<[Rendition]> {
    let video = Config::Video(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0, 0]),
        codec_string: "avc1.64001f".into(),
        width: 320,
        height: 180,
        rate: Some(rate),
    });
    let audio = Config::Audio(AudioConfig {
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
    });
    let rendition = |name: &str, timescale, config, rate| Rendition {
        name: Name::parse(name).unwrap(),
        track: Track { timescale, config },
        rate,
        average_bitrate: 500_000,
        peak_bitrate: 700_000,
    };
    Arc::new([
        rendition("180p", rate.timescale(), video, Some(rate)),
        rendition("audio", Timescale::new(48_000).unwrap(), audio, None),
    ])
}

fn grid(rate: FrameRate) -> Grid {
    Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300))
}

fn sample(dts: i64, duration: u32, sync: bool) -> Sample {
    Sample { dts, pts: dts, duration, sync, data: Bytes::from_static(b"\0\0\0\x01\x65") }
}

/// Pushes `segments` whole segments of video and audio and returns everything that came out.
fn run(rate: FrameRate, first_k: u64, segments: u64) -> (Grid, Vec<Output>) {
    let grid = grid(rate);
    let mut segmenter = Segmenter::new(grid, renditions(rate), first_k);
    let frame = rate.frame_ticks();
    let mut dts = grid.boundary(first_k);
    let end = grid.boundary(first_k + segments);
    while dts < end {
        let sync = (dts - grid.boundary(grid.number_at(dts))) == 0;
        segmenter.push(VIDEO, sample(dts, frame, sync)).unwrap();
        dts += i64::from(frame);
    }
    // An encoder may begin its audio a frame early.
    let mut dts = grid.audio_boundary(first_k) - 1024;
    while dts < grid.audio_boundary(first_k + segments) {
        segmenter.push(AUDIO, sample(dts, 1024, true)).unwrap();
        dts += 1024;
    }
    let outputs = std::iter::from_fn(|| segmenter.poll()).collect();
    (grid, outputs)
}

fn chunks(outputs: &[Output], rendition: usize) -> Vec<&PartChunk> {
    outputs
        .iter()
        .filter_map(|o| match o {
            Output::Chunk(c) if c.rendition == rendition => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn init_segments_come_first() {
    let (_, outputs) = run(FrameRate::new(30, 1), 7, 1);
    assert!(matches!(outputs[0], Output::Init { rendition: VIDEO, .. }));
    assert!(matches!(outputs[1], Output::Init { rendition: AUDIO, .. }));
}

#[test]
fn a_part_leaves_with_its_last_sample() {
    let rate = FrameRate::new(30, 1);
    let grid = grid(rate);
    let mut segmenter = Segmenter::new(grid, renditions(rate), 10);
    while segmenter.poll().is_some() {}
    for n in 0..8 {
        assert!(segmenter.poll().is_none(), "before frame {n}");
        segmenter.push(VIDEO, sample(grid.boundary(10) + 3000 * n, 3000, n == 0)).unwrap();
    }
    assert!(matches!(segmenter.poll(), Some(Output::Chunk(PartChunk { part: 0, k: 10, .. }))));
    assert!(segmenter.poll().is_none());
}

#[test]
fn a_hole_a_missing_sync_and_an_empty_sample_are_named() {
    let rate = FrameRate::new(30, 1);
    let grid = grid(rate);
    let start = grid.boundary(10);
    let mut segmenter = Segmenter::new(grid, renditions(rate), 10);
    assert_eq!(
        segmenter.push(VIDEO, sample(start, 3000, false)),
        Err(Error::NotSync { rendition: VIDEO, k: 10 })
    );
    assert_eq!(
        segmenter.push(VIDEO, sample(start, 0, true)),
        Err(Error::Empty { rendition: VIDEO, at: start })
    );
    segmenter.push(VIDEO, sample(start, 3000, true)).unwrap();
    assert_eq!(
        segmenter.push(VIDEO, sample(start + 6000, 3000, false)),
        Err(Error::Hole { rendition: VIDEO, expected: start + 3000, got: start + 6000 })
    );
    assert_eq!(segmenter.push(9, sample(0, 1, true)), Err(Error::NoRendition { rendition: 9 }));
}

#[test]
fn finishing_closes_the_open_segment_with_what_is_there() {
    let rate = FrameRate::new(30, 1);
    let grid = grid(rate);
    let mut segmenter = Segmenter::new(grid, renditions(rate), 10);
    while segmenter.poll().is_some() {}
    segmenter.push(VIDEO, sample(grid.boundary(10), 3000, true)).unwrap();
    segmenter.finish();
    assert!(matches!(segmenter.poll(), Some(Output::Chunk(PartChunk { duration: 3000, .. }))));
    assert!(matches!(segmenter.poll(), Some(Output::SegmentClosed { rendition: VIDEO, k: 10 })));
    assert!(segmenter.poll().is_none());
}

proptest! {
    #[test]
    fn every_rate_is_cut_on_the_grid(
        rate in prop::sample::select(FrameRate::STANDARD.to_vec()), first_k in 1u64..1_800_000_000,
    ) {
        let (grid, outputs) = run(rate, first_k, 3);
        for rendition in [VIDEO, AUDIO] {
            let start = |k| if rendition == VIDEO { grid.boundary(k) } else { grid.audio_boundary(k) };
            let chunks = chunks(&outputs, rendition);
            let mut expected = start(first_k);
            for chunk in &chunks {
                prop_assert_eq!(chunk.start, expected);
                expected += i64::from(chunk.duration);
                prop_assert!(chunk.start >= start(chunk.k) && expected <= start(chunk.k + 1));
                prop_assert_eq!(chunk.part == 0, chunk.start == start(chunk.k));
                let target = grid.part_target();
                let scale = if rendition == VIDEO { grid.video_scale() } else { grid.audio_scale() };
                let length = Span::new(u64::from(chunk.duration), scale);
                prop_assert!(
                    length.ticks_in(Timescale::NANOS, crate::time::Rounding::Floor)
                        <= target.ticks_in(Timescale::NANOS, crate::time::Rounding::Ceil).max(
                            u64::from(rate.frame_ticks()) * 1_000_000_000 / u64::from(rate.timescale().get())),
                    "part of {:?} above the target {:?}", length, target
                );
            }
            prop_assert_eq!(expected, start(first_k + 3));
            let closed = outputs.iter().filter(|o| matches!(o, Output::SegmentClosed { rendition: r, .. } if *r == rendition)).count();
            prop_assert_eq!(closed, 3);
        }
    }
}
