use bytes::Bytes;
use packager::media::{VideoCodec, VideoConfig};

use super::*;

const SEGMENT: Option<Duration> = Some(Duration::from_millis(1_600));

/// A source under construction, and its clock.
struct Feed {
    intake: Intake,
    begin: Instant,
    now: Instant,
}

impl Feed {
    fn new() -> Self {
        let now = Instant::now();
        Self { intake: Intake::new(), begin: now, now }
    }

    fn sample(&self, dts: i64, pts: i64, sync: bool, bytes: usize) -> SourceSample {
        let at = |ms| Timestamp::new(ms, Timescale::MILLIS);
        let data = Bytes::from(vec![0; bytes]);
        SourceSample { dts: at(dts), pts: at(pts), sync, data, received: self.now }
    }

    /// Moves the clock to so many milliseconds after the beginning.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.begin + Duration::from_millis(ms);
        self
    }

    fn picture(&mut self, dts: i64, pts: i64, sync: bool) {
        let sample = self.sample(dts, pts, sync, 5_000);
        self.intake.observe(&Unit::Video(sample));
    }

    fn sound(&mut self, dts: i64) {
        let sample = self.sample(dts, dts, true, 100);
        self.intake.observe(&Unit::Audio(sample));
    }

    /// Ten seconds of 25 fps with a key frame every `gop` pictures, and sound `skew` ms ahead.
    fn steady(gop: u64, skew: i64) -> Self {
        let mut feed = Self::new();
        for n in 0..250u64 {
            let ms = n.cast_signed() * 40;
            feed.at(n * 40).picture(ms, ms, n % gop == 0);
            feed.sound(ms + skew);
            feed.sound(ms + skew + 20);
        }
        feed
    }

    fn status(&self) -> SourceStatus {
        let mut status = SourceStatus::default();
        self.intake.describe(&mut status, SEGMENT, self.now);
        status
    }

    fn found(&mut self) -> Vec<(RepairKind, u64)> {
        self.intake.take_found().into_iter().collect()
    }
}

#[test]
fn rates_and_key_frame_distance_are_those_of_the_last_seconds() {
    let mut feed = Feed::steady(50, 0);
    let status = feed.status();
    assert_eq!(status.gop_seconds, Some(2.0));
    assert!((status.fps - 25.0).abs() < 0.01, "{}", status.fps);
    assert!(status.bitrate.abs_diff(1_040_000) < 20_000, "{}", status.bitrate);
    assert_eq!(status.b_frames, Some(false));
    assert_eq!(status.warnings, [] as [&str; 0]);
    assert_eq!(feed.found(), []);
}

#[test]
fn pictures_sent_out_of_their_order_are_b_frames_and_a_mere_delay_is_none() {
    for (delays, b_frames) in [([80, 80, 80, 80], false), ([40, 120, 40, 0], true)] {
        let mut feed = Feed::new();
        for n in 0..200u64 {
            let dts = n.cast_signed() * 40;
            feed.at(n * 40).picture(dts, dts + delays[(n % 4) as usize], n % 40 == 0);
        }
        assert_eq!(feed.status().b_frames, Some(b_frames));
    }
    let mut young = Feed::new();
    young.picture(0, 0, true);
    assert_eq!(young.status().b_frames, None);
}

#[test]
fn skew_is_how_far_sound_lies_ahead_of_the_pictures_it_comes_with() {
    for (skew, words) in [
        (0, None),
        (400, None),
        (1_500, Some("the sound's times are 1.5 s ahead of the pictures'")),
        (-5_000, Some("the sound's times are 5.0 s behind the pictures'")),
    ] {
        let status = Feed::steady(50, skew).status();
        let measured = status.av_skew_ms.unwrap();
        // The second of two frames that come with a picture lies 20 ms ahead of it.
        assert!((measured - skew as f64 - 20.0).abs() < 1.0, "{measured}");
        assert_eq!(status.warnings.first().map(String::as_str), words);
    }
}

#[test]
fn long_and_irregular_key_frames_are_warned_of() {
    let long = Feed::steady(100, 0).status().warnings;
    assert_eq!(long.len(), 1);
    assert!(long[0].starts_with("key frames are 4.0 s apart and segments 1.6 s long"), "{long:?}");
    let mut feed = Feed::new();
    for n in 0..250u64 {
        let ms = n.cast_signed() * 40;
        feed.at(n * 40).picture(ms, ms, [0, 50, 75, 125, 150, 200].contains(&n));
        feed.sound(ms);
    }
    assert_eq!(feed.status().warnings, ["key frames come irregularly, 1.0 to 2.0 s apart"]);
}

#[test]
fn a_clock_that_jumps_moves_no_key_frames_apart() {
    for jump in [-9_000, 3_600_000] {
        let mut feed = Feed::steady(50, 0);
        for n in 250..500u64 {
            let ms = n.cast_signed() * 40 + jump;
            feed.at(n * 40).picture(ms, ms, n % 50 == 0);
            feed.sound(ms);
        }
        let status = feed.status();
        assert_eq!(status.gop_seconds, Some(2.0));
        assert_eq!(status.warnings, [] as [&str; 0], "{jump}");
    }
}

#[test]
fn a_source_without_key_frames_or_sound_is_told_how_long() {
    let mut feed = Feed::new();
    for n in 0..500u64 {
        let ms = n.cast_signed() * 40;
        feed.at(n * 40).picture(ms, ms, n == 0);
        if n < 250 {
            feed.sound(ms);
        }
    }
    let expected = ["there has been no key frame for 19 s", "there has been no sound for 10 s"];
    assert_eq!(feed.status().warnings, expected);
    let mut mute = Feed::new();
    mute.picture(0, 0, true);
    assert_eq!(mute.status().warnings, [] as [&str; 0]);
    mute.at(6_000);
    assert_eq!(mute.status().warnings, ["there is no sound"]);
}

#[test]
fn a_rate_that_varies_is_told_and_one_rounded_to_milliseconds_is_not() {
    let mut phone = Feed::new();
    let mut ms = 0;
    for n in 0..120u64 {
        ms += if n % 3 == 0 { 33 } else { 66 };
        phone.at(ms).picture(ms.cast_signed(), ms.cast_signed(), n % 30 == 0);
        phone.sound(ms.cast_signed());
    }
    let warnings = phone.status().warnings;
    assert_eq!(warnings, ["the frame rate varies, pictures are 33 to 66 ms apart"]);
    let mut steady = Feed::new();
    for n in 0..300u64 {
        let ms = n * 1_001 / 60;
        steady.at(ms).picture(ms.cast_signed(), ms.cast_signed(), n % 60 == 0);
        steady.sound(ms.cast_signed());
    }
    assert_eq!(steady.status().warnings, [] as [&str; 0]);
}

#[test]
fn what_is_wrong_with_times_is_counted_by_kind_and_told_once() {
    let mut feed = Feed::new();
    for (n, dts) in [0, 40, 40, 20, 60].into_iter().enumerate() {
        feed.picture(dts, dts, n == 0);
    }
    feed.picture(100, 90, false);
    assert_eq!(feed.found(), [(RepairKind::Composition, 1), (RepairKind::Order, 2)]);
    assert_eq!(feed.found(), []);
    // A jump is counted where it is closed.
    feed.picture(3_600_000, 3_600_000, false);
    feed.picture(0, 0, false);
    assert_eq!(feed.found(), []);
}

#[test]
fn a_clock_that_runs_over_its_32_bits_is_counted_once_for_both_tracks() {
    let mut feed = Feed::new();
    feed.intake.observe(&Unit::VideoConfig(PictureConfig::Packaged(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::new(),
        codec_string: String::new(),
        width: 2,
        height: 2,
        rate: None,
    })));
    for n in 0..50 {
        feed.picture(WRAP - 1_000 + n * 40, WRAP - 1_000 + n * 40, n == 0);
        feed.sound(WRAP - 990 + n * 40);
    }
    assert_eq!(feed.found(), [(RepairKind::Wrap, 1)]);
}
