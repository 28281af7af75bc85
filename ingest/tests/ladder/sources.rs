//! Sources that are odd, or go wrong: codecs, tracks that come and go, clocks that jump.

use super::*;

/// Whether a unit is of the sound.
fn is_sound(unit: &Unit) -> bool {
    matches!(unit, Unit::Audio(_) | Unit::AudioConfig(_))
}

/// Moves a sample's times by `millis`.
fn shift(timed: &mut Timed, millis: i64) {
    timed.unit = fixture::moved(&timed.unit, millis);
}

/// Seconds (modulo 64) of the ticks that were heard.
fn ticks(made: &Made) -> Vec<u8> {
    let sound = made.samples.last().unwrap();
    mark::read_ticks(&fixture::sound(sound), 48_000).iter().map(|tick| tick.second_mod_64).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h265_of_8_and_10_bits_is_shown_picture_by_picture() {
    for video in [&[][..], &["-pix_fmt", "yuv420p10le"]] {
        let source =
            fixture::h265_source(Recipe { seconds: 3, rate: (25, 1), video, sound: None, ..SMALL });
        let Ladder { mut input, outputs, grid, .. } =
            start(&["180p", "96p"], (320, 180), FrameRate::new(25, 1));
        let gathering = gather(outputs, grid);
        play(&mut input, &source, 0).await;
        let made = finish(input, gathering).await;

        assert_on_the_grid(&made);
        assert_eq!(made.stats.damaged, 0);
        let marks = marks(&made, 0);
        let start = marks.iter().rposition(|mark| *mark == Some(0)).expect("the first picture");
        let expected: Vec<_> = (0..50).map(|n| Some(n * 40)).collect();
        assert_eq!(marks[start..start + 50], expected[..], "{video:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_goes_on_when_the_picture_stops_and_comes_back_with_its_clock_reset() {
    let mut source = fixture::source(Recipe { seconds: 8, ..SMALL });
    source.retain(|timed| is_sound(&timed.unit) || !(1_500..6_000).contains(&timed.at.as_millis()));
    for timed in &mut source {
        if !is_sound(&timed.unit) && timed.at.as_millis() >= 6_000 {
            shift(timed, -6_000);
        }
    }
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 1_000_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let heard = ticks(&made);
    let zero = (ZERO / 1000 % 64) as u8;
    let expected: Vec<_> = (1..7).map(|second| (zero + second) % 64).collect();
    assert!(heard.windows(6).any(|heard| *heard == expected[..]), "{heard:?}");
    let marks = marks(&made, 0);
    assert!(marks.contains(&Some(7_000)), "the picture is back");
    assert_eq!((made.stats.jumps, made.stats.replaced), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_goes_on_when_the_sound_stops_and_comes_back_an_hour_away() {
    let mut source = fixture::source(Recipe { seconds: 8, ..SMALL });
    source
        .retain(|timed| !is_sound(&timed.unit) || !(1_500..4_500).contains(&timed.at.as_millis()));
    for timed in &mut source {
        if is_sound(&timed.unit) && timed.at.as_millis() >= 4_500 {
            shift(timed, -3_600_000);
        }
    }
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 4_000_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let start = marks.iter().rposition(|mark| *mark == Some(0)).expect("the first picture");
    let shown: Vec<_> = marks[start..].iter().copied().flatten().collect();
    let distinct = (0..210).filter(|n| shown.contains(&(n * 1000 / 30))).count();
    // A busy machine shows some too late.
    assert!(distinct >= 160, "{distinct} of 210 pictures");
    let heard = ticks(&made);
    let zero = (ZERO / 1000 % 64) as u8;
    for second in [1, 5, 6] {
        assert!(heard.contains(&((zero + second) % 64)), "second {second} of {heard:?}");
    }
    assert_ticks_match(&made, &marks, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_stamped_hours_away_twice_or_backwards_do_not_stop_the_rest() {
    let mut source = fixture::source(Recipe { seconds: 6, ..SMALL });
    let mut pictures = 0;
    for timed in &mut source {
        let Unit::Video(sample) = &mut timed.unit else { continue };
        pictures += 1;
        let offset = |millis: i64, at: Timestamp| Timestamp::new(at.ticks + millis, at.scale);
        match pictures % 30 {
            // A composition offset at either end of its 24 bits.
            7 => sample.pts = offset(8_388_607, sample.pts),
            11 => sample.pts = offset(-8_388_608, sample.pts),
            // Shown before it is decoded.
            13 => sample.pts = offset(-40, sample.pts),
            // Decoded before, or together with, the one before.
            17 => (sample.dts, sample.pts) = (offset(-50, sample.dts), offset(-50, sample.pts)),
            19 => (sample.dts, sample.pts) = (offset(-33, sample.dts), offset(-33, sample.pts)),
            23 => {
                let hour = 3_600_000;
                (sample.dts, sample.pts) = (offset(hour, sample.dts), offset(hour, sample.pts));
            }
            _ => {}
        }
    }
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 8_000_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let mut shown: Vec<_> = marks.iter().copied().flatten().collect();
    shown.dedup();
    // A few of the odd ones have no place of their own; all others are shown.
    assert!(shown.len() >= 140, "{} of 180 pictures: {shown:?}", shown.len());
    assert_ticks_match(&made, &marks, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_b_frames_in_a_row_come_out_in_order() {
    let source = fixture::source(Recipe {
        seconds: 6,
        video: &[
            "-preset",
            "veryfast",
            "-bf",
            "16",
            "-g",
            "60",
            "-x264-params",
            "b-adapt=0:b-pyramid=normal:rc-lookahead=20",
        ],
        ..SMALL
    });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let shown: Vec<_> = marks.iter().copied().flatten().collect();
    assert!(shown.is_sorted(), "{shown:?}");
    let start = marks.iter().position(|mark| *mark == Some(2_000)).expect("the third second");
    let expected: Vec<_> = (60..120).map(|n| Some(n * 1000 / 30)).collect();
    assert_eq!(marks[start..start + 60], expected[..]);
}

/// HM-05: a segment's bit rate is at most 125 % of what the manifest promises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_segment_of_a_noisy_picture_is_a_quarter_above_its_peak() {
    let source = fixture::source(Recipe {
        seconds: 8,
        noise: true,
        video: &["-tune", "zerolatency", "-qp", "30"],
        ..SMALL
    });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    for (rendition, samples) in made.renditions.iter().zip(&made.samples) {
        let seconds = grid.segment_ticks as f64 / f64::from(grid.video_scale().get());
        let ticks = (seconds * f64::from(rendition.track.timescale.get())) as i64;
        let mut segments = std::collections::BTreeMap::<_, usize>::new();
        for sample in samples {
            *segments.entry(sample.dts / ticks).or_default() += sample.data.len();
        }
        // The last one is not whole.
        segments.pop_last();
        for (k, bytes) in &segments {
            let rate = *bytes as f64 * 8.0 / seconds;
            let percent = rate * 100.0 / f64::from(rendition.peak_bitrate);
            assert!(percent <= 125.0, "{} {k}: {percent} %", rendition.name);
        }
        assert!(segments.len() >= 4);
    }
}

/// A relay's cache hands over seconds at once: the delay they make is gone a moment later, for one
/// cut in picture and sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_begins_with_a_backlog_of_seconds_is_not_shown_seconds_late() {
    const BACKLOG: u64 = 3_000;
    let mut source = fixture::source(Recipe { seconds: 15, ..SMALL });
    for timed in &mut source {
        timed.at = timed.at.saturating_sub(Duration::from_millis(BACKLOG));
    }
    let Ladder { mut input, outputs, grid, clock } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    let began = clock.utc_nanos() / 1_000_000;
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert_eq!((made.stats.jumps, made.stats.replaced, made.stats.taken_back), (0, 1, 1));
    let marks = marks(&made, 0);
    let moment = |mark: i64| began + mark - BACKLOG as i64;
    let late: Vec<i64> = made.samples[0]
        .iter()
        .zip(&marks)
        .map(|(sample, mark)| sample.pts / 90 - moment(mark.expect("a mark in every picture")))
        .collect();
    let last = late.last().expect("pictures");
    assert!((0..700).contains(last), "{last} ms late at the end: {late:?}");
    let mut shown: Vec<_> = marks.iter().copied().flatten().collect();
    shown.dedup();
    assert!(shown.is_sorted(), "{shown:?}");
    let cuts = shown.windows(2).filter(|pair| pair[1] - pair[0] > 500).count();
    assert_eq!(cuts, 1, "{shown:?}");
    assert!(made.stats.buffer_ms < 200, "the wait for late pictures has learned of it");
    assert_ticks_match(&made, &marks, 5);
}
