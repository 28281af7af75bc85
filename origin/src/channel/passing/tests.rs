use ingest::source::ForeignPictures;
use packager::segmenter::Start;
use packager::time::{Span, Timestamp};

use super::*;

const MS: i64 = 1_000_000;
const BEGIN: i64 = 1_790_000_000_000 * MS;
const RATE: FrameRate = FrameRate::new(25, 1);

fn video(record: u8) -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from(vec![record]),
        codec_string: "avc1.64001f".into(),
        width: 320,
        height: 180,
        rate: Some(RATE),
    }
}

fn audio(record: &'static [u8]) -> AudioConfig {
    aac::config(Bytes::from_static(record)).unwrap()
}

fn sample(ms: i64, sync: bool) -> SourceSample {
    let at = Timestamp::new(ms, Timescale::MILLIS);
    let received = std::time::Instant::now();
    SourceSample { dts: at, pts: at, sync, data: Bytes::from_static(&[0; 500]), received }
}

fn grid() -> Grid {
    Grid::of_source(RATE, 48_000, 180_000, Span::millis(2_000), Span::millis(300))
}

/// Nothing is known of the channel, the rate of the source is.
const FRESH: Known<'_> = Known {
    grid: None,
    codec: None,
    on_air: None,
    found: Some(RATE),
    segment: 2_000 * MS,
    lengths: Lengths::Even,
};

/// A source, each frame of which comes when it should.
struct Fixture {
    passing: Passing,
}

impl Fixture {
    fn new(audio: Option<AudioConfig>) -> Self {
        let mut passing = Passing::default();
        passing.configure(&Unit::VideoConfig(video(1).into()));
        if let Some(audio) = audio {
            passing.configure(&Unit::AudioConfig(SoundConfig::Aac(audio)));
        }
        Self { passing }
    }

    /// Lets pictures of `from..to` ms wait, with a key frame each `gop` ms, until it joins.
    fn wait(
        &mut self,
        (from, to): (i64, i64),
        gop: i64,
        known: Known<'_>,
    ) -> Result<Option<Joined>, Refusal> {
        self.wait_for((from, to), |ms| ms % gop == 0, known)
    }

    /// The same with key frames where `sync` says.
    fn wait_for(
        &mut self,
        (from, to): (i64, i64),
        sync: impl Fn(i64) -> bool,
        known: Known<'_>,
    ) -> Result<Option<Joined>, Refusal> {
        for ms in (from..to).step_by(40) {
            let unit = Unit::Video(sample(ms, sync(ms)));
            let queued = self.passing.sample(&unit, BEGIN + ms * MS).unwrap();
            self.passing.wait(queued);
            if let Some(joined) = self.passing.join(known)? {
                return Ok(Some(joined));
            }
        }
        Ok(None)
    }
}

#[test]
fn a_channels_first_source_joins_with_its_first_key_frame_when_the_second_is_there() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    assert!(fixture.wait((40, 2_000), 2_000, FRESH).unwrap().is_none(), "no key frame yet");
    assert!(fixture.wait((2_000, 4_000), 2_000, FRESH).unwrap().is_none());
    let joined = fixture.wait((4_000, 4_040), 2_000, FRESH).unwrap().unwrap();
    assert_eq!((joined.start, joined.gop, joined.mute), (BEGIN + 2_000 * MS, 2_000 * MS, false));
    assert_eq!(joined.samples.len(), 51);
    let grid = grid();
    let renditions = joined.renditions(&grid);
    assert_eq!(renditions[0].name.as_str(), "source");
    // 500 bytes, 25 times a second.
    assert!(renditions[0].average_bitrate.abs_diff(100_000) <= 4_000);
}

/// Field failure 1, while the source joins: its run would begin minutes from where it goes on.
#[test]
fn a_frame_stamped_hours_away_does_not_move_where_a_run_begins() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let mut joined = None;
    for ms in (0..2_040).step_by(40) {
        let stamp = if ms == 1_960 { ms + 7_200_000 } else { ms };
        let unit = Unit::Video(sample(stamp, ms % 1_000 == 0));
        let queued = fixture.passing.sample(&unit, BEGIN + ms * MS).unwrap();
        fixture.passing.wait(queued);
        joined = fixture.passing.join(FRESH).unwrap();
    }
    assert_eq!(joined.unwrap().start, BEGIN);
}

#[test]
fn key_frames_are_measured_for_as_long_as_a_first_segment_takes() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    assert!(fixture.wait((0, 2_000), 1_000, FRESH).unwrap().is_none(), "one group is not enough");
    let joined = fixture.wait((2_000, 2_040), 1_000, FRESH).unwrap().unwrap();
    assert_eq!((joined.gop, joined.lengths), (1_000 * MS, Lengths::Even));
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let keys = |ms: i64| [0, 1_200, 2_000].contains(&ms);
    let joined = fixture.wait_for((0, 2_040), keys, FRESH).unwrap().unwrap();
    assert_eq!((joined.gop, joined.lengths), (2_000 * MS, Lengths::Uneven));
    // A group longer than the wish is a segment.
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let keys = |ms: i64| [0, 1_200, 4_200].contains(&ms);
    let joined = fixture.wait_for((0, 4_240), keys, FRESH).unwrap().unwrap();
    assert_eq!((joined.gop, joined.lengths), (3_000 * MS, Lengths::Uneven));
}

#[test]
fn a_channel_waits_three_seconds_for_sound_and_goes_on_with_silence() {
    let mut fixture = Fixture::new(None);
    assert!(fixture.wait((0, 3_000), 1_000, FRESH).unwrap().is_none());
    let joined = fixture.wait((3_000, 3_040), 1_000, FRESH).unwrap().unwrap();
    assert!(joined.mute);
    let sound = joined.renditions(&grid())[1].audio().cloned().unwrap();
    assert_eq!((sound.sample_rate, sound.channels), (48_000, 2));
}

#[test]
fn a_returning_source_joins_with_the_first_key_frame_behind_what_is_there() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let grid = grid();
    let on_air = on_air(&grid, 0, 1_480);
    let codec = Some(VideoCodec::H264);
    let known = Known { grid: Some(&grid), codec, on_air: Some(&on_air), found: None, ..FRESH };
    let joined = fixture.wait((0, 9_000), 1_000, known).unwrap().unwrap();
    assert_eq!(joined.start, BEGIN + 2_000 * MS);
    // What it sent before is of no use any more.
    assert_eq!(joined.samples.len(), 1);
}

#[test]
fn a_returning_source_leaves_no_short_segment_behind_unless_that_takes_too_long() {
    let grid = grid();
    let codec = Some(VideoCodec::H264);
    // A segment began at 1.48 s; a run may begin a second later.
    let on_air = on_air(&grid, 1_480, 1_600);
    let known = Known { grid: Some(&grid), codec, on_air: Some(&on_air), found: None, ..FRESH };
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let joined = fixture.wait((0, 9_000), 1_000, known).unwrap().unwrap();
    assert_eq!(joined.start, BEGIN + 3_000 * MS, "not with the one at 2 s");
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let keys = |ms: i64| [2_000, 8_000].contains(&ms);
    let joined = fixture.wait_for((0, 9_000), keys, known).unwrap().unwrap();
    assert_eq!(joined.start, BEGIN + 2_000 * MS, "when it has waited for three seconds");
}

/// A run that began at a moment and has pictures up to another.
fn on_air(grid: &Grid, from: i64, to: i64) -> SourceSegmenter {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let joined = fixture.wait((0, 2_040), 2_000, FRESH).unwrap().unwrap();
    let renditions = joined.renditions(grid);
    let ticks =
        |ms| rescale(BEGIN + ms * MS, Timescale::NANOS, grid.video_scale(), Rounding::Nearest);
    let start = Start { first_k: 7, at: ticks(from), lengths: Lengths::Even, mute: false };
    let [pictures, sound] = [renditions[0].clone(), renditions[1].clone()];
    let mut segmenter = SourceSegmenter::new(*grid, pictures, sound, start);
    for ms in (from..to).step_by(40) {
        let (dts, data) = (ticks(ms), Bytes::from_static(&[0; 500]));
        let sample = Sample { dts, pts: dts, duration: 3_600, sync: ms == from, data };
        segmenter.push(PICTURES, sample).unwrap();
    }
    segmenter
}

#[test]
fn another_configuration_ends_a_run_and_before_one_empties_the_queue() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    assert!(!fixture.passing.configure(&Unit::VideoConfig(video(1).into())));
    fixture.wait((0, 1_000), 2_000, FRESH).unwrap();
    assert!(!fixture.passing.configure(&Unit::VideoConfig(video(2).into())), "there is no run yet");
    assert!(fixture.wait((1_000, 2_000), 2_000, FRESH).unwrap().is_none());
    let joined = fixture.wait((2_000, 4_040), 2_000, FRESH).unwrap().unwrap();
    assert_eq!((joined.start, joined.video.record[0]), (BEGIN + 2_000 * MS, 2));
    fixture.passing.begin(joined, &grid());
    assert!(fixture.passing.is_on());
    assert!(!fixture.passing.configure(&Unit::VideoConfig(video(2).into())), "the same once more");
    assert!(fixture.passing.configure(&Unit::VideoConfig(video(3).into())));
    assert!(fixture.passing.configure(&Unit::AudioConfig(SoundConfig::Aac(audio(&[0x12, 0x10])))));
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let refused = fixture.wait((0, 9_000), 60_000, FRESH).unwrap_err();
    assert_eq!(refused, Refusal::LongGop);
    assert_eq!(refused.to_string(), "no key frame within 6 s: set a key frame interval of 2 s");
    let grid = grid();
    let known = Known { grid: Some(&grid), codec: Some(VideoCodec::H265), ..FRESH };
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let refused = fixture.wait((0, 9_000), 1_000, known).unwrap_err();
    assert_eq!(refused.to_string(), "the channel's pictures are H.265, these are H.264");
    // 8 kHz: a frame is 128 ms.
    let mut fixture = Fixture::new(Some(audio(&[0x15, 0x90])));
    let refused = fixture.wait((0, 9_000), 1_000, FRESH).unwrap_err();
    assert!(matches!(refused, Refusal::LongAudioFrame { samples: 1_024, rate: 8_000 }));
    let foreign = ForeignPictures { codec: PictureCodec::Vp8, width: 320, height: 180 };
    let mut fixture = Fixture::new(None);
    fixture.passing.configure(&Unit::VideoConfig(PictureConfig::Foreign(foreign)));
    let refused = fixture.wait((0, 9_000), 1_000, FRESH).unwrap_err();
    let words = "pictures in VP8 can't be packaged as they are: send H.264";
    assert_eq!(refused.to_string(), words);
    let known = Known { grid: Some(&grid), found: Some(FrameRate::new(1, 1)), ..FRESH };
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    fixture.passing.configure(&Unit::VideoConfig(VideoConfig { rate: None, ..video(1) }.into()));
    let refused = fixture.wait((0, 9_000), 1_000, known).unwrap_err();
    assert!(matches!(refused, Refusal::Slow { .. }));
}

#[test]
fn what_waits_is_bounded() {
    let mut waiting = Waiting::default();
    let queued = |ms: i64, sync| Queued {
        rendition: PICTURES,
        arrived: Arrived { dts: ms * MS, pts: ms * MS, at: BEGIN },
        sync,
        data: Bytes::from(vec![0; 100_000]),
    };
    (0..10_000).for_each(|ms| waiting.push(queued(ms, ms % 50 == 0)));
    assert!(waiting.bytes <= MAX_BYTES && waiting.samples.len() <= MAX_UNITS);
    assert!(waiting.samples[0].sync);
    (10_000..20_000).for_each(|ms| waiting.push(queued(ms, false)));
    assert!(waiting.bytes <= MAX_BYTES);
}

#[test]
fn samples_are_placed_where_their_rendition_is() {
    let mut fixture = Fixture::new(Some(audio(&[0x11, 0x90])));
    let joined = fixture.wait((0, 2_040), 2_000, FRESH).unwrap().unwrap();
    let grid = grid();
    let renditions = joined.renditions(&grid);
    let at = rescale(joined.start, Timescale::NANOS, grid.video_scale(), Rounding::Nearest);
    let start = Start { first_k: 7, at, lengths: joined.lengths, mute: joined.mute };
    let [pictures, sound] = [renditions[0].clone(), renditions[1].clone()];
    let mut segmenter = SourceSegmenter::new(grid, pictures, sound, start);
    let mut next = at;
    for queued in fixture.passing.begin(joined, &grid) {
        let (rendition, sample) = fixture.passing.place(queued, &segmenter).unwrap();
        assert_eq!((rendition, sample.dts, sample.duration), (PICTURES, next, 3_600));
        next += 3_600;
        segmenter.push(rendition, sample).unwrap();
    }
    assert!(!fixture.passing.is_off());
    assert!(fixture.passing.repairs().iter().all(|(_, times)| *times == 0));
}
