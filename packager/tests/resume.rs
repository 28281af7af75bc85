//! A process stops anywhere in a run and another goes on with it: what comes out has no hole, and every
//! part and segment stands where it would have stood.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use packager::codec::aac;
use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::media::{Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig};
use packager::segmenter::{
    Output, PICTURES, PartChunk, Position, SOUND, Segmenter, SourceSegmenter, Start,
};
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, rescale};
use packager::timeline::{Beginning, Lengths};

const RATE: FrameRate = FrameRate::new(25, 1);
const FIRST_K: u64 = 895_000_000;
const LATE: Span = Span::millis(1_000);
/// Seconds of samples before the process stops.
const SECONDS: i64 = 7;

fn renditions(grid: &Grid) -> Arc<[Rendition]> {
    let video = Config::Video(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0, 0]),
        codec_string: "avc1.64001f".into(),
        width: 320,
        height: 180,
        rate: None,
    });
    let audio = Config::Audio(aac::config(Bytes::from_static(&[0x11, 0x90])).unwrap());
    let rendition = |name: &str, timescale, config, rate| Rendition {
        name: Name::parse(name).unwrap(),
        track: Track { timescale, config },
        rate,
        average_bitrate: 1,
        peak_bitrate: 1,
    };
    [
        rendition("source", grid.video_scale(), video, Some(RATE)),
        rendition("audio", grid.audio_scale(), audio, None),
    ]
    .into()
}

/// The samples of both renditions from `start` in video ticks on, in the order of their times; a key
/// frame every `gop` pictures.
fn samples(grid: &Grid, start: i64, gop: i64) -> Vec<(usize, Sample)> {
    let frame = RATE.frame_ticks();
    let mut all = Vec::new();
    for n in 0..SECONDS * 25 {
        let dts = start + n * i64::from(frame);
        let data = Bytes::from(format!("picture {n}"));
        let sample = Sample { dts, pts: dts, duration: frame, sync: n % gop == 0, data };
        all.push((dts, (PICTURES, sample)));
    }
    let scale = grid.audio_scale();
    let mut dts = grid.audio_frame_at_or_after(start);
    let end = rescale(start, grid.video_scale(), scale, Rounding::Ceil) + SECONDS * 48_000;
    while dts < end {
        let data = Bytes::from(format!("sound {dts}"));
        let sample = Sample { dts, pts: dts, duration: 1_024, sync: true, data };
        all.push((rescale(dts, scale, grid.video_scale(), Rounding::Floor), (SOUND, sample)));
        dts += 1_024;
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, sample)| sample).collect()
}

/// What a disk has of a rendition.
#[derive(Clone, Default)]
struct Disk {
    parts: Vec<(u64, u32, i64, i64)>,
    closed: Vec<u64>,
    picture: Option<Sample>,
}

impl Disk {
    fn take(&mut self, part: &PartChunk) {
        let end = part.start + i64::from(part.duration);
        self.parts.push((part.k, part.part, part.start, end));
    }

    fn position(&self) -> Option<Position> {
        let (k, part, _, next) = *self.parts.last()?;
        let picture = self.picture.clone();
        if self.closed.contains(&k) {
            return Some(Position { k: k + 1, part: 0, segment: next, next, picture });
        }
        let (.., segment, _) = *self.parts.iter().find(|p| p.0 == k).unwrap();
        Some(Position { k, part: part + 1, segment, next, picture })
    }
}

fn store(disks: &mut [Disk; 2], output: Output) {
    match output {
        Output::Init { .. } => panic!("the init segments are there"),
        Output::Shifted { .. } | Output::Spliced { .. } | Output::Off { .. } => {}
        Output::Chunk(part) => disks[part.rendition].take(&part),
        Output::SegmentClosed { rendition, k } => disks[rendition].closed.push(k),
    }
}

/// Every state a disk may be in: after each output of a run.
fn states(mut outputs: impl FnMut() -> Vec<Output>, keys: &[Sample]) -> Vec<[Disk; 2]> {
    let mut disks = [Disk::default(), Disk::default()];
    let mut states = Vec::new();
    loop {
        let outputs = outputs();
        if outputs.is_empty() {
            return states;
        }
        for output in outputs {
            if matches!(output, Output::Init { .. }) {
                continue;
            }
            store(&mut disks, output);
            let end = disks[PICTURES].parts.last().map_or(i64::MIN, |part| part.3);
            disks[PICTURES].picture = keys.iter().rev().find(|key| key.dts < end).cloned();
            states.push(disks.clone());
        }
    }
}

/// Parts follow each other without a hole in time or numbers, and segments end one after the other.
fn check(disk: &Disk) {
    for pair in disk.parts.windows(2) {
        let ((k, part, _, end), (next_k, next_part, start, _)) = (pair[0], pair[1]);
        assert_eq!(end, start, "at {k}.{part}");
        if next_k == k {
            assert_eq!(next_part, part + 1, "in {k}");
            assert!(!disk.closed.contains(&k) || disk.parts.last().unwrap().0 >= k);
        } else {
            assert_eq!((next_k, next_part), (k + 1, 0), "after {k}.{part}");
        }
    }
    assert!(disk.closed.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", disk.closed);
    let last = disk.parts.last().unwrap().0;
    assert!(*disk.closed.last().unwrap() + 1 >= last, "{:?}", disk.closed);
}

#[test]
fn a_run_on_the_grid_goes_on_from_any_part() {
    let grid = Grid::choose(RATE, 48_000, Span::millis(2_000), Span::millis(300));
    let all = renditions(&grid);
    let gop = i64::try_from(grid.segment_ticks).unwrap() / i64::from(RATE.frame_ticks());
    let samples = samples(&grid, grid.boundary(FIRST_K), gop);
    let keys: Vec<_> =
        samples.iter().filter(|(r, s)| *r == PICTURES && s.sync).map(|(_, s)| s.clone()).collect();
    let mut segmenter = Segmenter::new(grid, Arc::clone(&all), FIRST_K);
    let mut rest = samples.into_iter();
    let states = states(
        || {
            for (rendition, sample) in rest.by_ref() {
                segmenter.push(rendition, sample).unwrap();
                let ready: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
                if !ready.is_empty() {
                    return ready;
                }
            }
            Vec::new()
        },
        &keys,
    );
    let begun = |disks: &&[Disk; 2]| disks.iter().all(|disk| disk.position().is_some());
    // Behind nearly every part of either rendition.
    assert!(states.len() > 40, "{}", states.len());
    for before in states.iter().filter(begun) {
        let positions: Vec<_> = before.iter().filter_map(Disk::position).collect();
        // The next process fills what has passed, another encoder comes, and leaves in turn.
        let mut disks = before.clone();
        let mut segmenter =
            Segmenter::resume(grid, Splices::default(), Arc::clone(&all), &positions);
        let now = grid.boundary(FIRST_K) + (SECONDS + 3) * i64::from(grid.video_scale().get());
        segmenter.fill(Timestamp::new(now, grid.video_scale()), LATE);
        std::iter::from_fn(|| segmenter.poll()).for_each(|output| store(&mut disks, output));
        assert!(disks[PICTURES].parts.last().unwrap().3 > now - 40_000, "filled up to now");
        segmenter.expect();
        let frame = i64::from(RATE.frame_ticks());
        let at = grid.boundary(grid.number_at(now) + 1);
        let data = Bytes::from_static(b"back");
        let sample = Sample { dts: at, pts: at, duration: 3_600, sync: true, data };
        assert_eq!(frame, 3_600);
        segmenter.push(PICTURES, sample).unwrap();
        segmenter.lose();
        segmenter.complete();
        std::iter::from_fn(|| segmenter.poll()).for_each(|output| store(&mut disks, output));
        for (disk, video) in disks.iter().zip([true, false]) {
            check(disk);
            let bound = |k| if video { grid.boundary(k) } else { grid.audio_boundary(k) };
            for (k, part, start, end) in &disk.parts {
                assert!(*part > 0 || *start == bound(*k), "{k} begins at its boundary");
                assert!(*end <= bound(k + 1), "{k}.{part} ends within its segment");
            }
            assert_eq!(disk.closed.last(), Some(&disk.parts.last().unwrap().0), "completed");
        }
        assert_eq!(disks[0].closed.last(), disks[1].closed.last());
    }
}

#[test]
fn a_sources_run_goes_on_from_any_part() {
    let wish = (Span::millis(2_000), Span::millis(300));
    let grid = Grid::of_source(RATE, 48_000, 50 * 3_600, wish.0, wish.1);
    let all = renditions(&grid);
    let start = 1_790_000_000 * 90_000 + 1_234;
    let samples = samples(&grid, start, 50);
    let keys: Vec<_> =
        samples.iter().filter(|(r, s)| *r == PICTURES && s.sync).map(|(_, s)| s.clone()).collect();
    let lengths = Lengths::Even;
    let begin = Start { first_k: FIRST_K, at: start, lengths, mute: false };
    let base = Beginning { first_k: FIRST_K, start, lengths };
    let mut segmenter = SourceSegmenter::new(grid, all[0].clone(), all[1].clone(), begin);
    let mut rest = samples.into_iter();
    let states = states(
        || {
            for (rendition, sample) in rest.by_ref() {
                segmenter.push(rendition, sample).unwrap();
                let ready: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
                if !ready.is_empty() {
                    return ready;
                }
            }
            Vec::new()
        },
        &keys,
    );
    let begun = |disks: &&[Disk; 2]| disks.iter().all(|disk| disk.position().is_some());
    // Behind nearly every part of either rendition.
    assert!(states.len() > 50, "{}", states.len());
    let go_on = |before: &[Disk; 2], seconds: i64| {
        let at = |rendition: usize| (all[rendition].clone(), before[rendition].position().unwrap());
        let starts = before[PICTURES].parts.iter().filter(|p| p.1 == 0).map(|p| (p.0, p.2));
        let starts: Vec<_> = starts.filter(|p| before[PICTURES].closed.contains(&p.0)).collect();
        let mut segmenter = SourceSegmenter::resume(grid, at(PICTURES), at(SOUND), &starts, base);
        let now = start + (SECONDS + seconds) * 90_000;
        segmenter.fill(Timestamp::new(now, grid.video_scale()), LATE);
        let filler: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
        segmenter.end_at(Timestamp::new(now + 7_000, grid.video_scale()));
        let last: Vec<_> = std::iter::from_fn(|| segmenter.poll()).collect();
        (filler, last, now)
    };
    for (number, before) in states.iter().filter(begun).enumerate() {
        let (filler, last, now) = go_on(before, 3);
        let mut disks = before.clone();
        filler.iter().cloned().for_each(|output| store(&mut disks, output));
        assert!(disks[PICTURES].parts.last().unwrap().3 > now - 40_000, "filled up to now");
        last.into_iter().for_each(|output| store(&mut disks, output));
        whole(&grid, &disks);
        // The next process dies too, while it fills: of several segments the pictures are made first.
        for made in (1..filler.len()).filter(|made| (made + number) % 9 == 0) {
            let mut disks = before.clone();
            filler[..made].iter().cloned().for_each(|output| store(&mut disks, output));
            let (filler, last, _) = go_on(&disks, 5);
            filler.into_iter().chain(last).for_each(|output| store(&mut disks, output));
            whole(&grid, &disks);
        }
    }
}

/// Both renditions of a source's run are there without a hole, and end together; sound is cut where the
/// pictures are.
fn whole(grid: &Grid, disks: &[Disk; 2]) {
    disks.iter().for_each(check);
    assert_eq!(disks[0].closed.last(), disks[1].closed.last());
    let first = |disk: &Disk, k| disk.parts.iter().find(|p| p.0 == k).map(|p| p.2);
    for k in FIRST_K + 1..=*disks[0].closed.last().unwrap() {
        let cut = first(&disks[PICTURES], k).unwrap();
        let cut = rescale(cut, grid.video_scale(), Timescale::new(48_000).unwrap(), Rounding::Ceil);
        let sound = first(&disks[SOUND], k).unwrap();
        assert!((cut..cut + 1_024).contains(&sound), "segment {k}: {cut} and {sound}");
    }
}
