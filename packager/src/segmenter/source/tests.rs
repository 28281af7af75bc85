use bytes::Bytes;

use super::*;
use crate::media::{Config, VideoCodec};
use crate::segmenter::PartChunk;
use crate::segmenter::tests::renditions;
use crate::time::{FrameRate, Span, Timescale};

mod filling;
mod hints;
mod sound;
mod splices;

const FIRST_K: u64 = 900_000_000;
const F: i64 = 3_000;

/// None, so that times in tests are those of the media.
const PATIENCE: Span = Span::millis(0);

fn grid(gop_frames: u64) -> Grid {
    let gop = gop_frames * 3_000;
    Grid::of_source(FrameRate::new(30, 1), 48_000, gop, Span::millis(2_000), Span::millis(300))
}

struct Fixture {
    segmenter: SourceSegmenter,
    start: i64,
    outputs: Vec<Output>,
    /// How many outputs there were each time that playlists could have been written.
    shown: Vec<usize>,
}

impl Fixture {
    fn new(gop_frames: u64) -> Self {
        Self::on(grid(gop_frames))
    }

    fn on(grid: Grid) -> Self {
        let start = 1_700_000_000i64 * 90_000 + 4_321;
        let both = renditions(FrameRate::new(30, 1));
        let lengths = Lengths::Even;
        let at = Start { first_k: FIRST_K, at: start, lengths, mute: false };
        let mut segmenter = SourceSegmenter::new(grid, both[0].clone(), both[1].clone(), at);
        while segmenter.poll().is_some() {}
        Self { segmenter, start, outputs: Vec::new(), shown: Vec::new() }
    }

    fn picture(&mut self, frame: i64, sync: bool) -> Result<(), Error> {
        let dts = self.start + frame * F;
        let data = Bytes::from_static(b"\0\0\0\x01\x65");
        let sample = Sample { dts, pts: dts, duration: 3_000, sync, data };
        self.segmenter.push(PICTURES, sample)?;
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.segmenter.poll()));
        self.shown.push(self.outputs.len());
    }

    /// Frames `from..to` with key frames where `sync` says, and sound that keeps up.
    fn play(&mut self, from: i64, to: i64, sync: impl Fn(i64) -> bool) {
        for frame in from..to {
            self.picture(frame, sync(frame)).unwrap();
            self.sound_before(frame + 1);
        }
    }

    /// Sound up to the beginning of a frame.
    fn sound_before(&mut self, frame: i64) {
        let (video, audio) = (Timescale::MPEG, self.segmenter.sound_scale());
        let end = rescale(self.start + frame * F, video, audio, Rounding::Ceil);
        while let dts = self.segmenter.next(SOUND).unwrap_or(self.segmenter.held.start)
            && dts < end
        {
            let data = Bytes::from_static(b"a");
            let sample = Sample { dts, pts: dts, duration: 1_024, sync: true, data };
            self.segmenter.push(SOUND, sample).unwrap();
            self.drain();
        }
    }

    /// Parts that players were told of and that never came: whenever playlists could be written, the part
    /// that comes next is another of the open segment, or the first of the next one.
    fn broken_hints(&self, rendition: usize) -> Vec<(u64, u32)> {
        let came: Vec<_> = self.chunks(rendition).iter().map(|c| (c.k, c.part)).collect();
        let (mut next, mut hints) = ((FIRST_K, 0), Vec::new());
        for (at, output) in self.outputs.iter().enumerate() {
            hints.extend(self.shown.contains(&at).then_some(next));
            match output {
                Output::Chunk(chunk) if chunk.rendition == rendition => {
                    next = (chunk.k, chunk.part + 1);
                }
                Output::SegmentClosed { rendition: of, k } if *of == rendition => next = (k + 1, 0),
                _ => {}
            }
        }
        hints.dedup();
        let closed = self.outputs.iter().filter_map(|output| match output {
            Output::SegmentClosed { rendition: of, k } if *of == rendition => Some(*k),
            _ => None,
        });
        let last_closed = closed.last();
        let is_over = |(k, part): (u64, u32)| {
            came.last().is_some_and(|last| *last > (k, part))
                || (part > 0 && last_closed.is_some_and(|last| last >= k))
        };
        hints.retain(|hint| !came.contains(hint) && is_over(*hint));
        hints
    }

    fn chunks(&self, rendition: usize) -> Vec<&PartChunk> {
        let chunks = self.outputs.iter().filter_map(|output| match output {
            Output::Chunk(chunk) => Some(chunk),
            _ => None,
        });
        chunks.filter(|chunk| chunk.rendition == rendition).collect()
    }

    /// Beginnings of stretches: number, start in frames, and what they are.
    fn shifts(&self) -> Vec<(u64, i64, Lengths)> {
        let shifts = self.outputs.iter().filter_map(|output| match output {
            Output::Shifted(Beginning { first_k, start, lengths }) => {
                Some((*first_k, (start - self.start) / F, *lengths))
            }
            _ => None,
        });
        shifts.collect()
    }

    /// Starts of the pictures' segments in frames, by number.
    fn segments(&self) -> Vec<(u64, i64)> {
        let chunks = self.chunks(PICTURES);
        let first = chunks.iter().filter(|chunk| chunk.part == 0);
        first.map(|chunk| (chunk.k, (chunk.start - self.start) / F)).collect()
    }

    /// What holds for everything that came out.
    fn check(&self) {
        let grid = &self.segmenter.grid;
        for (rendition, scale) in
            [(PICTURES, grid.video_scale()), (SOUND, self.segmenter.sound_scale())]
        {
            let chunks = self.chunks(rendition);
            let target = grid.part_target().ticks_in(scale, Rounding::Floor);
            for pair in chunks.windows(2).filter(|pair| pair[0].k == pair[1].k) {
                let length = u64::from(pair[0].duration);
                assert!(length * 100 >= target * 85, "a part of {length} under {target}");
            }
            for pair in chunks.windows(2) {
                let end = pair[0].start + i64::from(pair[0].duration);
                assert_eq!(end, pair[1].start, "no hole");
                assert!(u64::from(pair[0].duration) <= target);
                let (same, next) = (pair[0].k == pair[1].k, pair[0].k + 1 == pair[1].k);
                assert!(if pair[1].part == 0 { next } else { same });
            }
            assert_eq!(self.broken_hints(rendition), [], "of {rendition}");
            if rendition == PICTURES {
                assert!(chunks.iter().all(|chunk| chunk.part > 0 || chunk.independent));
            }
        }
        for sound in self.chunks(SOUND).iter().filter(|chunk| chunk.part == 0) {
            let pictures = self.chunks(PICTURES);
            let Some(picture) = pictures.iter().find(|c| c.part == 0 && c.k == sound.k) else {
                continue;
            };
            let cut = rescale(
                picture.start,
                Timescale::MPEG,
                self.segmenter.sound_scale(),
                Rounding::Ceil,
            );
            let early = if sound.k == FIRST_K { 1_024 } else { 0 };
            assert!(
                (cut - early..cut + 1_024).contains(&sound.start),
                "the first frame at the cut or after, and the one that contains a run's start"
            );
        }
    }
}

#[test]
fn a_regular_source_is_cut_every_d_from_its_first_picture() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 301, |frame| frame % 60 == 0);
    fixture.check();
    let expected: Vec<_> = (0..5).map(|n| (FIRST_K + n, 60 * n.cast_signed())).collect();
    assert_eq!(fixture.segments(), expected);
}

#[test]
fn of_several_key_frames_the_nearest_to_the_boundary_ends_a_segment() {
    let mut fixture = Fixture::new(60);
    let keys = [0, 50, 66, 118, 140, 185, 230];
    fixture.play(0, 260, |frame| keys.contains(&frame));
    fixture.check();
    let starts: Vec<_> = fixture.segments().iter().map(|(_, frame)| *frame).collect();
    // 50 is nearer to 60 than the next would be if it came as late as 50 did; so it goes on.
    assert_eq!(starts, [0, 50, 118, 185, 230]);
}

#[test]
fn a_part_closes_with_the_first_frame_that_ends_at_p_or_later() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 61, |frame| frame % 60 == 0);
    let lengths: Vec<_> =
        fixture.chunks(PICTURES).iter().map(|chunk| chunk.duration / 3_000).collect();
    assert_eq!(lengths, [9, 9, 9, 9, 9, 9, 6], "what remains is in the last one");
}

/// Pictures that last for those that are missing, at every place of a part.
#[test]
fn a_picture_that_lasts_long_makes_no_part_too_short_or_too_long() {
    for missing in 1..=5 {
        for place in 1..40 {
            let mut fixture = Fixture::new(60);
            fixture.play(0, place, |frame| frame % 60 == 0);
            let dts = fixture.start + place * F;
            let duration = u32::try_from((1 + missing) * F).unwrap();
            let data = Bytes::from_static(b"\0\0\0\x01\x41");
            let sample = Sample { dts, pts: dts, duration, sync: false, data };
            fixture.segmenter.push(PICTURES, sample).unwrap();
            fixture.play(place + 1 + missing, 121, |frame| frame % 60 == 0);
            fixture.check();
        }
    }
}

/// H.265 slices: a random access picture that is no IDR, a leading picture that leans on what is before
/// it, another picture.
const CRA: &[u8] = &[0, 0, 0, 3, 21 << 1, 1, 0];
const RASL: &[u8] = &[0, 0, 0, 3, 8 << 1, 1, 0];
const TRAIL: &[u8] = &[0, 0, 0, 3, 1 << 1, 1, 0];

#[test]
fn leading_pictures_are_left_out_behind_a_cut_and_kept_behind_other_key_frames() {
    let mut fixture = Fixture::new(60);
    if let Config::Video(video) = &mut fixture.segmenter.pictures.rendition.track.config {
        video.codec = VideoCodec::H265;
    }
    // Open groups of 30, two pictures of which come before the key frame in the order of showing.
    for frame in 0..150 {
        let dts = fixture.start + frame * F;
        let (data, later) = match frame % 30 {
            0 => (CRA, 2 * F),
            1 | 2 => (RASL, -F),
            _ => (TRAIL, 0),
        };
        let sample = Sample {
            dts,
            pts: dts + later,
            duration: 3_000,
            sync: frame % 30 == 0,
            data: Bytes::from_static(data),
        };
        fixture.segmenter.push(PICTURES, sample).unwrap();
    }
    fixture.drain();
    fixture.check();
    let samples = |k: u64| -> usize {
        let chunks = fixture.chunks(PICTURES);
        chunks.iter().filter(|chunk| chunk.k == k).map(|chunk| chunk.chunk.samples.len()).sum()
    };
    assert_eq!(fixture.segments()[1], (FIRST_K + 1, 60));
    assert_eq!(samples(FIRST_K), 58, "two behind the cut, none in the middle");
    let first = fixture.chunks(PICTURES)[0];
    assert_eq!((first.duration, first.chunk.samples.len()), (9 * 3_000, 7));
}

#[test]
fn a_run_that_is_expected_leaves_no_short_segment_behind() {
    for left_at in 61..120 {
        let mut fixture = Fixture::new(60);
        fixture.play(0, left_at, |frame| frame % 60 == 0);
        fixture.segmenter.lose();
        fixture.segmenter.expect();
        // Its key frames, as far apart as the one before it had them.
        let mut key = left_at + 17;
        loop {
            let at = Timestamp::new(fixture.start + key * F, Timescale::MPEG);
            fixture.segmenter.fill(at, PATIENCE);
            if fixture.segmenter.may_end_at(at, Remnant::Long) {
                fixture.segmenter.end_at(at);
                break;
            }
            key += 60;
        }
        assert!(key <= left_at + 17 + 60, "one group later at most");
        fixture.drain();
        fixture.check();
        let mut edges: Vec<_> = fixture.segments().iter().map(|(_, frame)| *frame).collect();
        edges.push(key);
        edges.dedup();
        let lengths: Vec<_> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(lengths.iter().all(|length| (30..=90).contains(length)), "{left_at}: {lengths:?}");
    }
}

#[test]
fn drift_shifts_the_boundaries_and_renumbers_nothing() {
    let mut fixture = Fixture::new(60);
    // A group of 61 frames under a D of 60.
    fixture.play(0, 61 * 40, |frame| frame % 61 == 0);
    fixture.check();
    let segments = fixture.segments();
    assert!(segments.windows(2).all(|pair| pair[1] == (pair[0].0 + 1, pair[0].1 + 61)));
    let shifts = fixture.shifts();
    assert_eq!(shifts.len(), 4, "one every 8 frames: {shifts:?}");
    assert!(shifts.iter().all(|(k, frame, _)| segments.contains(&(*k, *frame))));
    assert!(shifts.iter().all(|(.., lengths)| *lengths == Lengths::Even));
}

/// Key frames 30, 45 and 35 frames apart, again and again.
fn comes_as_it_pleases(frame: i64) -> bool {
    [0, 30, 75].contains(&(frame % 110))
}

#[test]
fn key_frames_that_come_as_they_please_make_segments_uneven() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 110 * 20, comes_as_it_pleases);
    fixture.check();
    let shifts = fixture.shifts();
    let [.., (k, frame, Lengths::Uneven)] = shifts[..] else { panic!("{shifts:?}") };
    assert!(k <= FIRST_K + 6 && fixture.segments().contains(&(k, frame)), "{shifts:?}");
    assert!(shifts.len() <= 3, "{shifts:?}");
    // The key frame nearest to D after the cut before.
    let starts: Vec<_> = fixture.segments().iter().map(|(_, frame)| *frame).collect();
    assert!(starts.windows(2).all(|pair| (30..=80).contains(&(pair[1] - pair[0]))), "{starts:?}");
}

#[test]
fn segments_are_even_again_when_key_frames_have_kept_to_d_for_a_minute() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 1_100, comes_as_it_pleases);
    let uneven = fixture.shifts().len();
    fixture.play(1_100, 1_100 + 60 * 31, |frame| (frame - 1_100) % 60 == 0);
    assert_eq!(fixture.shifts().len(), uneven);
    fixture.play(1_100 + 60 * 31, 1_100 + 60 * 60, |frame| (frame - 1_100) % 60 == 0);
    fixture.check();
    let shifts = fixture.shifts();
    assert_eq!(shifts.len(), uneven + 1);
    assert_eq!(shifts.last().unwrap().2, Lengths::Even);
}

#[test]
fn one_odd_key_frame_and_a_hole_make_nothing_uneven() {
    let mut fixture = Fixture::new(60);
    // A scene change in the third group, a minute after which comes another.
    let sync = |frame: i64| match frame {
        ..140 => frame % 60 == 0,
        140..1_900 => (frame - 140) % 60 == 0,
        _ => (frame - 1_900) % 60 == 0,
    };
    fixture.play(0, 2_510, sync);
    let until = Timestamp::new(fixture.start + 2_600 * F, Timescale::MPEG);
    fixture.segmenter.fill(until, PATIENCE);
    fixture.play(2_615, 3_000, |frame| (frame - 2_615) % 60 == 0);
    fixture.check();
    let shifts = fixture.shifts();
    assert!(shifts.iter().all(|(.., lengths)| *lengths == Lengths::Even), "{shifts:?}");
}
