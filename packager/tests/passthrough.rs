//! A source that is packaged as it is, for a day of virtual time: its clock wraps and is off by as
//! much as encoders' clocks are, and nobody notices.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use packager::codec::aac;
use packager::grid::Grid;
use packager::media::{Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig};
use packager::repair::{Arrived, Counts, Frames, Repair};
use packager::segmenter::{Output, PICTURES, PartChunk, SOUND, SourceSegmenter, Start};
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, Unroller, rescale};
use packager::timeline::Lengths;

const SECOND: i64 = 1_000_000_000;
const BEGIN: i64 = 1_790_000_000 * SECOND;
const FIRST_K: u64 = 895_000_000;
const HOUR: i64 = 3_600;

/// How a source is.
#[derive(Clone, Copy)]
struct Source {
    rate: FrameRate,
    /// Frames from one key frame to the next.
    gop: i64,
    /// AudioSpecificConfig.
    sound: &'static [u8],
    /// What its milliseconds begin with, before they wrap at 2^`bits`.
    first_stamp: u64,
    /// Bits and ticks per second of its clock.
    bits: u32,
    clock: u32,
    /// How much faster than ours its clock is.
    ppm: i64,
    /// Pictures that are reordered: presentation lies so many frames behind, by turns.
    bframes: bool,
    /// Wished length of a part in milliseconds.
    part: u64,
}

const LC_48000: &[u8] = &[0x11, 0x90];
const LC_44100: &[u8] = &[0x12, 0x10];
const HE_48000: &[u8] = &[0x2b, 0x11, 0x88, 0x00];
const HE_44100: &[u8] = &[0x2b, 0x92, 0x08, 0x00];

const PLAIN: Source = Source {
    rate: FrameRate::new(25, 1),
    gop: 50,
    sound: LC_48000,
    first_stamp: 0,
    bits: 32,
    clock: 1_000,
    ppm: 0,
    bframes: false,
    part: 300,
};

/// What came out, held against what must be true of it as it comes.
struct Check {
    renditions: [Rendition; 2],
    grid: Grid,
    /// Where each rendition is: number, next part, end, start of the segment.
    at: [Option<(u64, u32, i64, i64)>; 2],
    /// Length of the part before.
    part: [u64; 2],
    start: [i64; 2],
    /// Start of each of the last segments of pictures, by number.
    cuts: std::collections::VecDeque<(u64, i64)>,
    segments: u64,
    shifts: u64,
    /// Whether a stretch of uneven segments has begun.
    uneven: bool,
    total: [u64; 2],
}

impl Check {
    fn output(&mut self, output: Output) {
        match output {
            Output::Init { .. } | Output::Spliced { .. } | Output::Off { .. } => {}
            Output::Chunk(part) => self.part(&part),
            Output::SegmentClosed { rendition, .. } => {
                self.segments += u64::from(rendition == PICTURES);
            }
            Output::Shifted(beginning) => {
                self.shifts += 1;
                self.uneven |= beginning.lengths == Lengths::Uneven;
            }
        }
    }

    fn part(&mut self, part: &PartChunk) {
        let PartChunk { rendition, k, part: number, start, duration, filler, .. } = *part;
        assert_eq!(filler, 0, "a hole in rendition {rendition} at {k}.{number}");
        let scale = self.renditions[rendition].track.timescale;
        let target = self.grid.part_target().ticks_in(scale, Rounding::Floor);
        assert!(u64::from(duration) <= target, "part {k}.{number} of {duration} is above {target}");
        let before = std::mem::replace(&mut self.part[rendition], duration.into());
        assert!(
            number == 0 || before * 100 >= target * 85,
            "a part before {k}.{number}, of {before}, is below 85 % of {target}"
        );
        let end = start + i64::from(duration);
        self.total[rendition] += u64::from(duration);
        let Some((at_k, at_part, at_end, segment)) = self.at[rendition] else {
            assert_eq!((k, number), (FIRST_K, 0));
            self.start[rendition] = start;
            self.at[rendition] = Some((k, 1, end, start));
            self.cut(rendition, k, start);
            return;
        };
        assert_eq!(start, at_end, "rendition {rendition} is without a hole");
        if number == 0 {
            assert_eq!(k, at_k + 1);
            let longest = self.grid.longest_segment() * u64::from(scale.get())
                / u64::from(self.grid.video_scale().get());
            assert!((start - segment).unsigned_abs() <= longest + 2_048);
            self.cut(rendition, k, start);
            self.at[rendition] = Some((k, 1, end, start));
        } else {
            assert_eq!((k, number), (at_k, at_part));
            self.at[rendition] = Some((k, number + 1, end, segment));
        }
        assert!(rendition == SOUND || number > 0 || part.independent);
    }

    /// Sound is cut with its first frame at or after the pictures' cut.
    fn cut(&mut self, rendition: usize, k: u64, start: i64) {
        if rendition == PICTURES {
            self.cuts.push_back((k, start));
            return;
        }
        while let Some((number, at)) = self.cuts.pop_front() {
            if number == k {
                let scale = self.renditions[SOUND].track.timescale;
                let at = rescale(at, self.grid.video_scale(), scale, Rounding::Ceil);
                // A frame may be a tick more or less.
                assert!((at..at + 2_049).contains(&start), "segment {k}: {at} and {start}");
                return;
            }
        }
        panic!("sound is ahead of the pictures at {k}");
    }
}

/// Runs a source for so many seconds; what came out, and what was repaired.
fn run(source: Source, seconds: i64) -> (Check, Counts, i64) {
    let sound = aac::config(Bytes::from_static(source.sound)).unwrap();
    let frame_samples = sound.frame_samples;
    let sample_rate = sound.sample_rate;
    let ticks = u64::from(source.rate.frame_ticks());
    let gop = source.gop.unsigned_abs() * ticks;
    let wish = (Span::millis(2_000), Span::millis(source.part));
    let grid = Grid::of_source(source.rate, sample_rate, gop, wish.0, wish.1);
    let video = Config::Video(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0, 0]),
        codec_string: "avc1.64001f".into(),
        width: 320,
        height: 180,
        rate: None,
    });
    let rendition = |name: &str, timescale, config, rate| Rendition {
        name: Name::parse(name).unwrap(),
        track: Track { timescale, config },
        rate,
        average_bitrate: 1,
        peak_bitrate: 1,
    };
    let scale = grid.video_scale();
    let sound_scale = Timescale::new(sample_rate).unwrap();
    let renditions = [
        rendition("source", scale, video, Some(source.rate)),
        rendition("audio", sound_scale, Config::Audio(sound), None),
    ];
    // The source's time of its frame n, and ours when it gets here.
    let stamp = |nanos: i64| {
        let ticks = i128::from(nanos) * i128::from(source.clock) / i128::from(SECOND);
        (u64::try_from(ticks).unwrap() + source.first_stamp) % (1 << source.bits)
    };
    let ours = |nanos: i64| {
        let slow = i128::from(nanos) * i128::from(1_000_000 - source.ppm) / 1_000_000;
        BEGIN + i64::try_from(slow).unwrap()
    };
    let clock = Timescale::new(source.clock).unwrap();
    let mut unroller = Unroller::new(source.bits);
    let mut unrolled = |nanos: i64| {
        rescale(unroller.unroll(stamp(nanos)), clock, Timescale::NANOS, Rounding::Nearest)
    };
    let first = unrolled(0);
    let pictures = Frames { scale, length: source.rate.frame_ticks() };
    let sounds = Frames { scale: sound_scale, length: frame_samples };
    let mut repair = Repair::new(pictures, sounds, BEGIN - first);
    let at = rescale(BEGIN, Timescale::NANOS, scale, Rounding::Nearest);
    let [video, audio] = renditions.clone();
    let start = Start { first_k: FIRST_K, at, lengths: Lengths::Even, mute: false };
    let mut segmenter = SourceSegmenter::new(grid, video, audio, start);
    let mut check = Check {
        renditions,
        grid,
        at: [None; 2],
        part: [0; 2],
        start: [0; 2],
        cuts: std::collections::VecDeque::new(),
        segments: 0,
        shifts: 0,
        uneven: false,
        total: [0; 2],
    };
    let (num, den) = (i64::from(source.rate.num), i64::from(source.rate.den));
    let nanos_of = |n: i64| {
        i64::try_from(i128::from(n) * i128::from(den) * i128::from(SECOND) / i128::from(num))
            .unwrap()
    };
    let frames = seconds * num / den;
    let mut sound_frame = 0i64;
    let late = Span::millis(1_000);
    for n in 0..frames {
        let time = nanos_of(n);
        let (dts, at) = (unrolled(time), ours(time) + n % 7 * 1_000_000);
        let reordered =
            if source.bframes { [2, 4, 0, 0][usize::try_from(n % 4).unwrap()] } else { 0 };
        let pts = dts
            + rescale(
                rescale(nanos_of(reordered), Timescale::NANOS, clock, Rounding::Nearest),
                clock,
                Timescale::NANOS,
                Rounding::Nearest,
            );
        let place = repair.picture(Arrived { dts, pts, at }, segmenter.next(PICTURES), false);
        assert!(place.pts >= place.dts);
        let sample = Sample {
            dts: place.dts,
            pts: place.pts,
            duration: place.duration,
            sync: n % source.gop == 0,
            data: Bytes::new(),
        };
        segmenter.push(PICTURES, sample).unwrap();
        loop {
            let samples = i128::from(sound_frame) * i128::from(frame_samples) * i128::from(SECOND);
            let time = i64::try_from(samples / i128::from(sample_rate)).unwrap();
            if time > nanos_of(n) {
                break;
            }
            let dts = unrolled(time);
            let arrived = Arrived { dts, pts: dts, at: at + 2_000_000 };
            let place = repair.sound(arrived, segmenter.next(SOUND)).unwrap();
            let sample = Sample {
                dts: place.dts,
                pts: place.dts,
                duration: place.duration,
                sync: true,
                data: Bytes::new(),
            };
            segmenter.push(SOUND, sample).unwrap();
            sound_frame += 1;
        }
        // What a channel does by its timer: nothing may ever be that late.
        segmenter.fill(Timestamp::new(at, Timescale::NANOS), late);
        while let Some(output) = segmenter.poll() {
            check.output(output);
        }
    }
    for rendition in [PICTURES, SOUND] {
        let (.., end, _) = check.at[rendition].unwrap();
        let sum = i64::try_from(check.total[rendition]).unwrap();
        assert_eq!(check.start[rendition] + sum, end, "the sum of all lengths is exact");
        // Our clock says the same, to what a part, the picture that it waits for and steering may be behind.
        let scale = check.renditions[rendition].track.timescale;
        let end = rescale(end, scale, Timescale::NANOS, Rounding::Nearest);
        let behind = ours(nanos_of(frames)) - end;
        assert!(
            (-SECOND / 5..=SECOND + nanos_of(2)).contains(&behind),
            "rendition {rendition}: {behind} ns behind"
        );
    }
    (check, repair.counts(), repair.error())
}

fn day(source: Source) -> Check {
    let (check, counts, error) = run(source, 24 * HOUR);
    assert_eq!(counts, Counts::default());
    assert!(error.abs() < SECOND / 10, "{error} ns");
    let length = source.gop * i64::from(source.rate.den);
    let expected = 24 * HOUR * i64::from(source.rate.num) / length;
    assert!(check.segments.abs_diff(expected.unsigned_abs()) <= 2);
    check
}

#[test]
fn a_day_of_a_source_whose_clock_is_ours_is_cut_every_d() {
    assert_eq!(day(PLAIN).shifts, 0);
}

#[test]
fn a_day_of_a_source_500_ppm_fast_has_no_hole_and_no_new_run() {
    let check = day(Source { ppm: 500, sound: LC_44100, ..PLAIN });
    // 43 s in a day, an eighth of a segment at a time.
    assert!((150..200).contains(&check.shifts), "{}", check.shifts);
}

#[test]
fn a_day_of_a_source_500_ppm_slow_has_no_hole_and_no_new_run() {
    let slow = Source { ppm: -500, rate: FrameRate::new(30_000, 1_001), gop: 60, ..PLAIN };
    let check = day(Source { bframes: true, ..slow });
    assert!((150..200).contains(&check.shifts), "{}", check.shifts);
}

/// Field failures 7 and 8: milliseconds wrap at 2^31 for those who read them as signed, and at 2^32;
/// MPEG's clock wraps at 2^33 after a day and a half.
#[test]
fn nothing_happens_where_a_clock_wraps() {
    let hour_before = |bits: u32, clock: u64| (1u64 << bits) - 1_800 * clock;
    for source in [
        Source { first_stamp: hour_before(31, 1_000), ..PLAIN },
        Source { first_stamp: hour_before(32, 1_000), bframes: true, ..PLAIN },
        Source { first_stamp: hour_before(24, 1_000), sound: LC_44100, ..PLAIN },
        Source { first_stamp: hour_before(33, 90_000), bits: 33, clock: 90_000, ..PLAIN },
        Source {
            first_stamp: hour_before(32, 1_000),
            ppm: 500,
            gop: 48,
            rate: FrameRate::new(24_000, 1_001),
            ..PLAIN
        },
    ] {
        let (_, counts, _) = run(source, HOUR);
        assert_eq!(counts, Counts::default());
    }
}

/// HL-02 for what broadcasters send: no part is longer than PART-TARGET, and none but a segment's last
/// one below 85 % of it.
#[test]
fn every_part_is_as_long_as_players_were_told() {
    for rate in FrameRate::STANDARD {
        let gop = 2 * i64::from(rate.num.div_ceil(rate.den));
        for (n, sound) in [LC_48000, LC_44100, HE_48000, HE_44100].into_iter().enumerate() {
            for (m, part) in [200, 250, 300, 400, 1_000].into_iter().enumerate() {
                let (bframes, ppm) = ((n + m) % 2 == 0, [-500, 0, 500][(n + m) % 3]);
                run(Source { rate, gop, sound, part, bframes, ppm, ..PLAIN }, 120);
            }
        }
    }
}
