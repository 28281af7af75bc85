use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{AudioConfig, Config, Name, Track, VideoCodec, VideoConfig};
use crate::time::{FrameRate, Timescale, Timestamp};

mod lateness;

const VIDEO: usize = 0;
const AUDIO: usize = 1;
/// None, so that times in tests are those of the media.
const PATIENCE: Span = Span::millis(0);

pub(super) fn renditions(rate: FrameRate) -> Arc<[Rendition]> {
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
                    length.ticks_in(Timescale::NANOS, Rounding::Floor)
                        <= target.ticks_in(Timescale::NANOS, Rounding::Ceil).max(
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

/// A segmenter that has been fed video and audio from the start of segment 100 for `frames` frames
/// of video, and the sound with them.
fn begun(rate: FrameRate, frames: i64) -> (Grid, Segmenter) {
    let grid = grid(rate);
    let mut segmenter = Segmenter::new(grid, renditions(rate), 100);
    feed(&grid, &mut segmenter, grid.boundary(100), frames);
    (grid, segmenter)
}

/// Pushes `frames` frames of video from `start` on, the first a sync sample, as are those at
/// boundaries; and the sound from the same instant on.
fn feed(grid: &Grid, segmenter: &mut Segmenter, start: i64, frames: i64) {
    let frame = grid.rate.frame_ticks();
    let end = start + frames * i64::from(frame);
    for dts in (start..end).step_by(frame as usize) {
        let sync = dts == start || dts % grid.segment_ticks.cast_signed() == 0;
        segmenter.push(VIDEO, sample(dts, frame, sync)).unwrap();
    }
    let (start, end) = (grid.audio_frame_at_or_after(start), grid.audio_frame_at_or_after(end));
    for dts in (start..end).step_by(1024) {
        segmenter.push(AUDIO, sample(dts, 1024, true)).unwrap();
    }
}

fn video_time(grid: &Grid, ticks: i64) -> Timestamp {
    Timestamp::new(ticks, grid.video_scale())
}

/// Parts of both renditions go on without a hole and end where the segmenter's clock is; segments
/// have whole numbers. Gives the ticks of filler of each rendition.
fn whole(outputs: &[Output]) -> [u64; 2] {
    [VIDEO, AUDIO].map(|rendition| {
        let chunks = chunks(outputs, rendition);
        for pair in chunks.windows(2) {
            assert_eq!(pair[0].start + i64::from(pair[0].duration), pair[1].start);
            assert!(
                (pair[1].k, pair[1].part) == (pair[0].k, pair[0].part + 1)
                    || (pair[1].k, pair[1].part) == (pair[0].k + 1, 0)
            );
        }
        assert!(
            chunks.iter().all(|c| c.part > 0 || c.independent),
            "a segment no one can start at"
        );
        chunks.iter().map(|c| u64::from(c.filler)).sum()
    })
}

fn outputs(segmenter: &mut Segmenter) -> Vec<Output> {
    std::iter::from_fn(|| segmenter.poll()).collect()
}

#[test]
fn a_hole_is_filled_part_by_part_up_to_the_clock() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    let until = grid.boundary(102) + 1;
    segmenter.fill(video_time(&grid, until), PATIENCE);
    let out = outputs(&mut segmenter);
    let [video, audio] = whole(&out);
    // 11 of the two segments' 96 frames were there.
    assert_eq!(video, (96 - 11) * 3_000);
    assert_eq!(audio / 1_024, (2 * 75 - 18) as u64);
    assert_eq!(closed(&out, VIDEO), [100, 101]);
    let lengths: Vec<u32> = chunks(&out, VIDEO).iter().map(|c| c.duration).collect();
    assert!(lengths.iter().all(|length| u64::from(*length) == grid.part_ticks), "{lengths:?}");
}

fn closed(outputs: &[Output], wanted: usize) -> Vec<u64> {
    let ks = outputs.iter().filter_map(|o| match o {
        Output::SegmentClosed { rendition, k, .. } if *rendition == wanted => Some(*k),
        _ => None,
    });
    ks.collect()
}

#[test]
fn what_is_not_due_yet_is_not_filled() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    while segmenter.poll().is_some() {}
    let due = segmenter.due(PATIENCE).unwrap();
    let end = video_time(&grid, grid.boundary(100) + 2 * grid.part_ticks.cast_signed());
    assert_eq!(due.ticks, end.ticks_in(Timescale::NANOS, Rounding::Ceil));
    segmenter.fill(video_time(&grid, end.ticks - 1), PATIENCE);
    assert!(segmenter.poll().is_none());
    segmenter.fill(due, PATIENCE);
    assert_eq!(whole(&outputs(&mut segmenter))[VIDEO], (16 - 11) * 3_000);
}

#[test]
fn another_encoder_goes_on_at_its_first_key_frame_inside_a_part() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    segmenter.lose();
    let at = grid.boundary(100) + 21 * 3_000;
    feed(&grid, &mut segmenter, at, 60);
    segmenter.fill(video_time(&grid, at), PATIENCE);
    let out = outputs(&mut segmenter);
    let [video, audio] = whole(&out);
    assert_eq!(video, 10 * 3_000);
    assert!((15..=17).contains(&(audio / 1_024)), "{audio}");
}

#[test]
fn what_comes_late_for_a_filled_part_is_dropped_up_to_the_next_key_frame() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    segmenter.fill(video_time(&grid, grid.boundary(100) + 24 * 3_000), PATIENCE);
    // The encoder goes on as if nothing had been, and is a part behind.
    for n in 11..60 {
        let dts = grid.boundary(100) + n * 3_000;
        segmenter.push(VIDEO, sample(dts, 3_000, n == 48)).unwrap();
    }
    let filler = chunks(&outputs(&mut segmenter), VIDEO).iter().map(|c| c.filler).sum::<u32>();
    assert_eq!(filler, (48 - 11) * 3_000);
}

#[test]
fn sound_that_is_late_for_a_filled_part_goes_on_with_its_first_free_frame() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    let start = grid.audio_boundary(100);
    segmenter.fill(video_time(&grid, grid.boundary(100) + 24 * 3_000), PATIENCE);
    for n in 18..60 {
        segmenter.push(AUDIO, sample(start + n * 1_024, 1_024, true)).unwrap();
    }
    let out = outputs(&mut segmenter);
    // The part that 0.8 s lie in ends half a frame of sound later: it is not due.
    assert_eq!(whole(&out)[AUDIO], (25 - 18) * 1_024);
    let end = chunks(&out, AUDIO).last().map(|c| c.start + i64::from(c.duration)).unwrap();
    assert_eq!(end, start + 50 * 1_024);
}

#[test]
fn sound_that_is_off_its_own_grid_after_a_hole_is_refused() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    segmenter.lose();
    let at = grid.audio_boundary(101) + 5;
    let error = segmenter.push(AUDIO, sample(at, 1_024, true)).unwrap_err();
    assert!(matches!(error, Error::Hole { rendition: AUDIO, .. }), "{error}");
}

#[test]
fn a_sample_from_a_far_future_is_refused_and_not_filled_up_to() {
    for (rendition, far) in [(VIDEO, 3_000 << 40), (AUDIO, 1_024 << 40)] {
        let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
        while segmenter.poll().is_some() {}
        segmenter.expect();
        let start = [grid.boundary(101), grid.audio_boundary(101)][rendition];
        let error = segmenter.push(rendition, sample(start + far, 1_024, true)).unwrap_err();
        assert!(matches!(error, Error::Hole { .. }), "{error}");
        assert!(segmenter.poll().is_none());
        segmenter.push(rendition, sample(start, 1_024, true)).unwrap();
    }
}

#[test]
fn a_run_that_ends_is_filled_up_to_the_next_ones_boundary() {
    let (_, mut segmenter) = begun(FrameRate::new(25, 1), 11);
    segmenter.fill_before(103);
    let out = outputs(&mut segmenter);
    whole(&out);
    assert_eq!(closed(&out, VIDEO), [100, 101, 102]);
    assert_eq!(closed(&out, AUDIO), [100, 101, 102]);
    segmenter.finish();
    assert!(segmenter.poll().is_none());
}

#[test]
fn a_rendition_that_has_not_begun_is_neither_due_nor_filled() {
    let grid = grid(FrameRate::new(30, 1));
    let mut segmenter = Segmenter::new(grid, renditions(grid.rate), 100);
    while segmenter.poll().is_some() {}
    assert_eq!(segmenter.due(PATIENCE), None);
    segmenter.fill(video_time(&grid, grid.boundary(200)), PATIENCE);
    assert!(segmenter.poll().is_none());
}

#[test]
fn only_an_encoder_that_is_there_is_waited_for() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    while segmenter.poll().is_some() {}
    let second = Span::millis(1_000);
    let end = grid.boundary(100) + 2 * grid.part_ticks.cast_signed();
    let due = |segmenter: &Segmenter| {
        let nanos = segmenter.due(second).unwrap();
        nanos.ticks_in(grid.video_scale(), Rounding::Floor)
    };
    assert_eq!(due(&segmenter), end + 90_000);
    segmenter.fill(video_time(&grid, end + 89_999), second);
    assert!(segmenter.poll().is_none());
    segmenter.lose();
    assert_eq!(due(&segmenter), end);
    segmenter.fill(video_time(&grid, end + 1), second);
    assert!(matches!(segmenter.poll(), Some(Output::Chunk(_))));
    segmenter.expect();
    assert!(due(&segmenter) >= end + 90_000);
}

#[test]
fn what_is_switched_off_is_filled_on_time_and_its_segments_say_so_when_they_begin() {
    let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
    // Told ahead of what its encoder has still to give.
    segmenter.switch_off(VIDEO, grid.boundary(101));
    for dts in (grid.boundary(100) + 11 * 3_000..grid.boundary(101)).step_by(3_000) {
        segmenter.push(VIDEO, sample(dts, 3_000, false)).unwrap();
    }
    segmenter.fill(video_time(&grid, grid.boundary(102) - 1), Span::millis(60_000));
    segmenter.switch_on(VIDEO);
    for dts in (grid.boundary(102)..grid.boundary(103)).step_by(3_000) {
        segmenter.push(VIDEO, sample(dts, 3_000, dts == grid.boundary(102))).unwrap();
    }
    let out = outputs(&mut segmenter);
    assert_eq!(whole(&out)[VIDEO], grid.segment_ticks);
    assert_eq!(closed(&out, VIDEO), [100, 101, 102]);
    let off = out.iter().position(|o| matches!(o, Output::Off { .. })).unwrap();
    assert!(
        matches!(out[off], Output::Off { rendition: VIDEO, k: 101, start } if start == grid.boundary(101))
    );
    assert!(matches!(out[off - 1], Output::SegmentClosed { rendition: VIDEO, k: 100 }));
    assert!(matches!(&out[off + 1], Output::Chunk(chunk) if (chunk.k, chunk.part) == (101, 0)));
    assert_eq!(out.iter().filter(|o| matches!(o, Output::Off { .. })).count(), 1);
    assert_eq!(closed(&out, AUDIO), [0_u64; 0]);
}

proptest! {
    /// Whatever mixture of samples, losses and fillings a run meets, its timeline has no hole, no
    /// overlap and no segment without a key frame.
    #[test]
    fn a_run_of_any_history_has_no_hole(steps in prop::collection::vec((0u8..4, 1i64..70), 1..40)) {
        let (grid, mut segmenter) = begun(FrameRate::new(30, 1), 11);
        let mut now = 11;
        for (kind, frames) in steps {
            let at = grid.boundary(100) + now * 3_000;
            match kind {
                0 => segmenter.lose(),
                1 => segmenter.fill(video_time(&grid, at), PATIENCE),
                // An encoder that begins anew.
                2 => {
                    segmenter.lose();
                    feed(&grid, &mut segmenter, at, frames);
                }
                _ => {}
            }
            now += frames;
        }
        segmenter.fill(video_time(&grid, grid.boundary(100) + now * 3_000), PATIENCE);
        let out = outputs(&mut segmenter);
        whole(&out);
        let end = chunks(&out, VIDEO).last().map(|c| c.start + i64::from(c.duration)).unwrap();
        let behind = grid.boundary(100) + now * 3_000 - end;
        prop_assert!((0..grid.part_ticks.cast_signed()).contains(&behind) || end % 3_000 == 0);
    }
}
