use super::*;

const MS: i64 = MILLISECOND;
const BEGIN: i64 = 1_700_000_000 * SECOND;

fn frames(scale: u32, length: u32) -> Frames {
    Frames { scale: Timescale::new(scale).unwrap(), length }
}

/// 30 frames a second and 44.1 kHz, whose source began a while before we saw it.
fn repair() -> Repair {
    Repair::new(frames(90_000, 3_000), frames(44_100, 1_024), BEGIN)
}

/// A picture stamped `ms`, arriving `at` milliseconds after the source's zero.
fn arrived(ms: i64, at: i64) -> Arrived {
    Arrived { dts: ms * MS, pts: ms * MS, at: BEGIN + at * MS }
}

fn ticks(ms: i64) -> i64 {
    rescale(BEGIN + ms * MS, Timescale::NANOS, Timescale::MPEG, Rounding::Nearest)
}

/// Places pictures one after the other: stamps and arrivals in milliseconds.
fn places(repair: &mut Repair, pictures: impl IntoIterator<Item = (i64, i64)>) -> Vec<Place> {
    let mut next = None;
    let mut place = |(ms, at)| {
        let place = repair.picture(arrived(ms, at), next, false);
        next = Some(place.dts + i64::from(place.duration));
        place
    };
    pictures.into_iter().map(&mut place).collect()
}

/// Stamps of 30 frames a second in milliseconds, as RTMP has them.
fn stamps(from: i64, to: i64) -> impl Iterator<Item = i64> {
    (from..to).map(|n| (n * 1_000 + 15) / 30)
}

#[test]
fn milliseconds_become_frames_of_the_standard_rate() {
    let mut repair = repair();
    let places = places(&mut repair, stamps(0, 9_000).map(|ms| (ms, ms)));
    assert!(places.iter().all(|place| place.duration == 3_000));
    assert_eq!(places[8_999].dts, ticks(0) + 8_999 * 3_000);
    assert_eq!(repair.counts(), Counts::default());
}

#[test]
fn pictures_that_come_a_little_unevenly_are_even() {
    let mut repair = repair();
    let uneven = stamps(0, 900).enumerate().map(|(n, ms)| (ms + [0, 5, -4, 2][n % 4], ms));
    let places = places(&mut repair, uneven);
    assert!(places.iter().all(|place| place.duration.abs_diff(3_000) <= 4));
    assert_eq!(repair.counts(), Counts::default());
}

/// Field failure 1: a frame stamped hours away every few seconds.
#[test]
fn a_frame_stamped_hours_away_costs_nothing() {
    let mut repair = repair();
    let wild = stamps(0, 900)
        .enumerate()
        .map(|(n, ms)| (if n % 100 == 50 { ms + 7_200_000 } else { ms }, ms));
    let places = places(&mut repair, wild);
    assert!(places.iter().all(|place| place.duration.abs_diff(3_000) <= 4));
    assert_eq!(places[899].dts.abs_diff(ticks(0) + 899 * 3_000) / 90, 0, "to the millisecond");
    assert_eq!(repair.counts().jumps, 18);
}

/// Field failures 2 and 3: equal and falling decoding times.
#[test]
fn times_that_stand_still_or_go_back_never_come_out() {
    let mut repair = repair();
    let stuck = stamps(0, 300).enumerate().map(|(n, ms)| {
        (
            match n % 50 {
                20 => ms - 33,
                21 => ms - 67,
                40 => ms - 100,
                _ => ms,
            },
            ms,
        )
    });
    let places = places(&mut repair, stuck);
    let late = places[299].dts - (ticks(0) + 299 * 3_000);
    assert!(late.abs() <= 3_000, "{late}");
    assert!(places.iter().all(|place| place.duration >= 1_500 && place.duration <= 6_000));
    assert!(repair.counts().backwards > 0);
}

#[test]
fn a_picture_shown_before_it_is_decoded_is_shown_then_and_counted() {
    let mut repair = repair();
    let early = Arrived { pts: -40 * MS, ..arrived(0, 0) };
    let place = repair.picture(early, None, false);
    assert_eq!((place.pts, repair.counts().reordered), (place.dts, 1));
}

#[test]
fn composition_offsets_are_whole_frames() {
    let mut repair = repair();
    for (offset, expected) in
        [(0, 0), (33, 3_000), (34, 3_000), (67, 6_000), (100, 9_000), (50, 4_500)]
    {
        let picture = Arrived { pts: offset * MS, ..arrived(0, 0) };
        let place = repair.picture(picture, None, false);
        assert_eq!(place.pts - place.dts, expected, "{offset} ms");
    }
}

#[test]
fn a_picture_stands_for_those_that_are_missing() {
    let mut repair = repair();
    let lossy = stamps(0, 300).enumerate().filter(|(n, _)| !(100..103).contains(n));
    let places = places(&mut repair, lossy.map(|(_, ms)| (ms, ms)));
    assert_eq!(places.iter().filter(|place| place.duration == 4 * 3_000).count(), 1);
    assert_eq!(places.last().unwrap().dts, ticks(0) + 299 * 3_000);
    assert_eq!(repair.counts().holes, 1);
}

/// Field failure 5: the source's clock begins anew.
#[test]
fn a_clock_that_begins_anew_goes_on_where_it_was_in_both_tracks() {
    let mut repair = repair();
    let mut video = None;
    for at in stamps(0, 600) {
        let ms = if at < 10_000 { at + 3_000_000 } else { at - 10_000 };
        let place = repair.picture(arrived(ms, at), video, false);
        video = Some(place.dts + i64::from(place.duration));
        // Arrives unevenly, which must not show where the other track tells what happened.
        let sound = repair.sound(arrived(ms, at + at % 90), None).unwrap();
        let apart = sound.dts * 1_000 / 44_100 - place.dts / 90;
        assert!(apart.abs() <= 2, "{apart} ms at {at} ms");
    }
    assert_eq!(repair.counts().jumps, 2, "one in each track");
}

/// Field failure 6: the tracks begin at different values.
#[test]
fn tracks_that_begin_apart_are_brought_together_by_their_arrival() {
    let mut repair = repair();
    let place = repair.picture(arrived(0, 0), None, false);
    let sound = repair.sound(arrived(90_000_000, 10), None).unwrap();
    assert_eq!(sound.dts * 1_000 / 44_100 - place.dts / 90, 10);
}

#[test]
fn a_source_that_pauses_pauses_and_does_not_jump() {
    let mut repair = repair();
    let paused = stamps(0, 60).map(|ms| if ms < 1_000 { ms } else { ms + 3_000 });
    places(&mut repair, paused.map(|ms| (ms, ms)));
    assert_eq!(repair.counts().jumps, 0);
}

#[test]
fn a_network_that_stops_and_catches_up_is_no_jump() {
    let mut repair = repair();
    let late = stamps(0, 300).map(|ms| (ms, if (2_000..5_000).contains(&ms) { 5_000 } else { ms }));
    let places = places(&mut repair, late);
    assert!(places.iter().all(|place| place.duration.abs_diff(3_000) <= 4));
    assert_eq!(repair.counts(), Counts::default());
    assert!(repair.error().abs() < MAX_ERROR);
}

#[test]
fn a_clock_that_is_far_too_fast_is_an_error_that_grows() {
    let mut repair = repair();
    // 2000 ppm: 500 are steered, 1500 remain, 400 ms of them after five minutes.
    let fast = stamps(0, 30 * 400).map(|ms| (ms, ms - ms * 2 / 1_000));
    places(&mut repair, fast);
    assert!(repair.error() < -MAX_ERROR, "{}", repair.error());
}

#[test]
fn behind_filler_a_late_picture_takes_the_sound_with_it() {
    let mut repair = repair();
    let place = repair.picture(arrived(0, 0), None, false);
    let filled = place.dts + 9_000;
    let back = repair.picture(arrived(33, 150), Some(filled), true);
    assert_eq!(back.dts, filled);
    let sound = repair.sound(arrived(33, 150), None).unwrap();
    assert!((sound.dts * 1_000 / 44_100 - back.dts / 90).abs() <= 1);
}

#[test]
fn filler_up_to_a_picture_is_shown_for_half_a_frame_at_the_least() {
    for early in [1, 1_000, 1_499, 1_500, 2_000] {
        let mut repair = repair();
        let place = repair.picture(arrived(0, 0), None, false);
        let back = repair.picture(arrived(1_000, 1_000), Some(place.dts + 90_000 - early), true);
        let filler = back.dts - (place.dts + 90_000 - early);
        assert_eq!(filler, if early < 1_500 { 0 } else { early });
    }
}

#[test]
fn sound_behind_a_hole_is_whole_frames_later_and_surplus_is_left_out() {
    let mut repair = repair();
    let first = repair.sound(arrived(0, 0), None).unwrap();
    let next = first.dts + 1_024;
    let second = repair.sound(arrived(200, 200), Some(next)).unwrap();
    assert_eq!((second.dts - next) % 1_024, 0);
    assert!(second.dts > next);
    let filled = second.dts + 44_100;
    assert_eq!(repair.sound(arrived(223, 223), Some(filled)), None);
    assert_eq!(repair.counts().surplus, 1);
}

/// Where sound of this time belongs, in its ticks.
fn sound_ticks(ms: i64) -> i64 {
    rescale(BEGIN + ms * MS, Timescale::NANOS, Timescale::new(44_100).unwrap(), Rounding::Nearest)
}

/// Stamps of sound in milliseconds.
fn sound_stamps() -> impl Iterator<Item = i64> {
    (0..).map(|n| (n * 1_024_000 + 22_050) / 44_100)
}

/// Only pictures and sound apart by more than 60 ms were brought together: the rest took a minute.
#[test]
fn sound_behind_filler_is_with_its_pictures_to_half_a_frame() {
    for silent in 1..40 {
        let mut repair = repair();
        let mut next = sound_ticks(0) + 1_024;
        repair.sound(arrived(0, 0), None).unwrap();
        next += silent * 1_024;
        let mut heard = 0;
        for ms in sound_stamps().skip(1).take(100) {
            let Some(place) = repair.sound(arrived(ms, ms + 900), Some(next)) else { continue };
            let off = place.dts - sound_ticks(ms);
            assert!(off.abs() <= 512 + 45, "{off} ticks after {silent} frames of silence");
            next = place.dts + i64::from(place.duration);
            heard += 1;
        }
        assert!(heard >= 100 - silent - 1, "{heard} after {silent}");
    }
}

#[test]
fn sound_goes_at_once_with_pictures_that_were_moved_behind_filler() {
    for late in 1..60 {
        let mut repair = repair();
        let first = repair.picture(arrived(0, 0), None, false);
        let sound = repair.sound(arrived(0, 0), None).unwrap();
        let filled = first.dts + 90_000 + late * 90;
        let back = repair.picture(arrived(1_000, 1_000), Some(filled), true);
        assert_eq!(back.dts, filled);
        let mut next = sound.dts + 1_024;
        for ms in sound_stamps().skip(1).take(60) {
            let Some(place) = repair.sound(arrived(ms, ms.max(1_000)), Some(next)) else {
                continue;
            };
            let off = place.dts - sound_ticks(ms + late);
            assert!(off.abs() <= 512 + 45, "{off} ticks, {late} ms late");
            next = place.dts + i64::from(place.duration);
        }
    }
}
