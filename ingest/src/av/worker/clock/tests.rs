use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000_000 * MS;
const FPS30: FrameRate = FrameRate::new(30, 1);

/// Output times of video samples given by (dts, received) in ms after the start.
fn mapped(mapper: &mut Mapper, samples: impl IntoIterator<Item = (i64, i64)>) -> Vec<Option<i64>> {
    samples
        .into_iter()
        .map(|(dts, received)| {
            let offset = mapper.place(Track::Video, true, dts * MS, NOW + received * MS)?;
            Some((dts * MS + offset - NOW) / MS)
        })
        .collect()
}

#[test]
fn nothing_has_a_place_before_the_first_picture_that_can_be_decoded() {
    let mut mapper = Mapper::default();
    assert_eq!(mapper.place(Track::Audio, true, 0, NOW), None);
    assert_eq!(mapper.place(Track::Video, false, 0, NOW), None);
    assert_eq!(mapper.place(Track::Video, true, 40, NOW), Some(NOW - 40));
    assert_eq!(mapper.place(Track::Audio, true, 10, NOW), Some(NOW - 40), "one offset for both");
}

#[test]
fn a_jump_forward_back_or_to_zero_goes_on_as_if_nothing_had_happened() {
    for jump in [10_000, -3_600_000, -90_000, 4_294_967_296] {
        let mut mapper = Mapper::default();
        let before = (0..30).map(|n| (100_000 + n * 33, n * 33));
        let after = (30..60).map(|n| (100_000 + n * 33 + jump, n * 33 + 4));
        let places = mapped(&mut mapper, before.chain(after));
        let expected: Vec<_> = (0..60).map(|n| Some(n * 33)).collect();
        assert_eq!(places, expected, "jump {jump}");
        assert_eq!((mapper.jumps, mapper.replaced), (1, 0));
    }
}

#[test]
fn a_jump_that_sound_sees_first_moves_the_picture_once_and_alike() {
    let mut mapper = Mapper::default();
    let mut both = |n: i64, jump: i64| {
        let at = n * 20 * MS;
        let sound = mapper.place(Track::Audio, true, at + jump, NOW + at);
        let video = mapper.place(Track::Video, true, at + jump, NOW + at);
        (sound, video)
    };
    both(0, 0);
    for n in 1..50 {
        both(n, 0);
    }
    for n in 50..100 {
        let jump = -77_000 * MS;
        assert_eq!(both(n, jump), (Some(NOW - jump), Some(NOW - jump)));
    }
    assert_eq!(mapper.jumps, 1);
}

#[test]
fn a_pause_of_the_link_that_is_caught_up_changes_nothing() {
    let mut mapper = Mapper::default();
    // Two seconds of silence, then everything at once.
    let samples = (0..120).map(|n| (n * 33, if (30..90).contains(&n) { 90 * 33 } else { n * 33 }));
    let places = mapped(&mut mapper, samples);
    assert_eq!(places, (0..120).map(|n| Some(n * 33)).collect::<Vec<_>>());
    assert_eq!((mapper.jumps, mapper.replaced), (0, 0));
}

#[test]
fn a_source_whose_clock_stood_still_is_placed_anew() {
    let mut mapper = Mapper::default();
    let samples = (0..120).map(|n| (n * 33, if n >= 30 { n * 33 + 2_000 } else { n * 33 }));
    let places = mapped(&mut mapper, samples);
    assert_eq!(mapper.replaced, 1);
    assert_eq!(places.last(), Some(&Some(119 * 33 + 2_000)));
}

#[test]
fn a_clock_that_runs_off_is_followed_slowly() {
    // 200 ppm slow for an hour is 720 ms; the place stays within the tolerance.
    let mut mapper = Mapper::default();
    let mut worst = 0;
    for n in 0..(3_600 * 25) {
        let (dts, received) = (n * 40_000_000, NOW + n * 40_008_000);
        let offset = mapper.place(Track::Video, true, dts, received).expect("a place");
        worst = worst.max((dts + offset - received).abs());
    }
    assert!(worst < TOLERANCE + 5 * MS, "{} ms", worst / MS);
    assert_eq!((mapper.jumps, mapper.replaced), (0, 0));
}

/// Plays picture and sound every 20 ms for `steps` steps, each with its source time moved by what
/// the functions say (`None`: not sent); returns how far each sample of sound and of picture lies
/// from its arrival, in ms.
fn played(
    mapper: &mut Mapper,
    steps: std::ops::Range<i64>,
    video: impl Fn(i64) -> Option<i64>,
    audio: impl Fn(i64) -> Option<i64>,
) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for n in steps {
        let at = n * 20;
        let mut place = |track, moved: i64| {
            let dts = (at + moved) * MS;
            let offset = mapper.place(track, true, dts, NOW + at * MS)?;
            Some((dts + offset - NOW) / MS - at)
        };
        if let Some(moved) = video(n) {
            pictures.push(place(Track::Video, moved));
        }
        if let Some(moved) = audio(n) {
            sounds.push(place(Track::Audio, moved));
        }
    }
    (pictures, sounds)
}

#[test]
fn sound_on_another_clock_than_the_picture_is_placed_by_its_arrival() {
    for apart in [-1_000_000, -2_000, 4_000, 3_600_000] {
        let mut mapper = Mapper::default();
        let (pictures, sounds) =
            played(&mut mapper, 0..200, |_| Some(1_000_000), |_| Some(1_000_000 + apart));
        assert!(pictures.iter().all(|place| *place == Some(0)));
        let silent = sounds.iter().take_while(|place| place.is_none()).count();
        assert!((1..=17).contains(&silent), "{apart}: {silent}");
        assert!(sounds[silent..].iter().all(|place| *place == Some(0)), "{apart}: {sounds:?}");
    }
}

#[test]
fn sound_well_ahead_of_its_picture_waits_for_it() {
    let mut mapper = Mapper::default();
    let (_, sounds) = played(&mut mapper, 0..100, |_| Some(0), |_| Some(1_500));
    assert!(sounds.iter().all(|place| *place == Some(1_500)), "the two stay in step");
    assert_eq!(mapper.replaced, 0);
}

#[test]
fn a_jump_of_one_track_alone_leaves_the_other_in_place() {
    for jump in [-3_600_000, -2_000, 2_000, 3_600_000] {
        let from = |begin: i64| move |n: i64| Some(if n >= begin { jump } else { 0 });
        let mut mapper = Mapper::default();
        let (pictures, sounds) = played(&mut mapper, 0..300, |_| Some(0), from(100));
        assert!(pictures.iter().chain(&sounds).all(|place| *place == Some(0)), "sound by {jump}");
        let mut mapper = Mapper::default();
        let (pictures, sounds) = played(&mut mapper, 0..300, from(100), |_| Some(0));
        assert!(pictures.iter().chain(&sounds).all(|place| *place == Some(0)), "picture by {jump}");
    }
}

#[test]
fn single_samples_stamped_hours_away_are_put_where_they_belong() {
    // Every second a picture an hour ahead, and another sound sample an hour back.
    let mut mapper = Mapper::default();
    let (pictures, sounds) = played(
        &mut mapper,
        0..500,
        |n| Some(if n % 50 == 10 { 3_600_000 } else { 0 }),
        |n| Some(if n % 50 == 30 { -3_600_000 } else { 0 }),
    );
    assert!(pictures.iter().chain(&sounds).all(|place| *place == Some(0)));
    assert_eq!(mapper.video.offset, mapper.audio.offset, "one clock again");
}

#[test]
fn sound_goes_on_when_the_picture_stops_and_when_it_is_back_with_another_clock() {
    let mut mapper = Mapper::default();
    let video = |n| match n {
        0..100 => Some(0),
        100..1_000 => None,
        _ => Some(-20_000),
    };
    let (pictures, sounds) = played(&mut mapper, 0..1_200, video, |_| Some(0));
    assert!(sounds.iter().all(|place| *place == Some(0)), "never out of place");
    assert!(pictures.iter().all(|place| *place == Some(0)));
}

#[test]
fn sound_that_comes_after_the_picture_has_jumped_is_in_step_with_it() {
    let mut mapper = Mapper::default();
    let (_, sounds) = played(
        &mut mapper,
        0..300,
        |n| Some(if n >= 100 { 50_000 } else { 0 }),
        |n| (n >= 200).then_some(50_000),
    );
    assert!(sounds.iter().all(|place| *place == Some(0)));
    assert_eq!(mapper.jumps, 1);
}

#[test]
fn a_long_hiccup_that_is_caught_up_slowly_does_not_leave_the_picture_late() {
    // Four seconds of nothing, then the backlog at five times the speed.
    let mut mapper = Mapper::default();
    let arrival = |n: i64| (n * 33).max(if n > 60 { 6_000 + (n - 60) * 33 / 5 } else { 0 });
    let places = mapped(&mut mapper, (0..600).map(|n| (n * 33, arrival(n))));
    let behind = places.last().copied().flatten().expect("a place") - 599 * 33;
    assert!(behind.abs() <= 40, "{behind} ms behind");
    assert_eq!(mapper.replaced, 2);
}

#[test]
fn another_publisher_is_placed_by_its_own_first_picture() {
    let mut mapper = Mapper::default();
    mapped(&mut mapper, (0..10).map(|n| (n * 33, n * 33)));
    let generation = mapper.generation();
    mapper.source_lost();
    assert_eq!(mapper.place(Track::Audio, true, 5, NOW), None);
    assert_eq!(mapped(&mut mapper, [(77, 5_000)]), [Some(5_000)]);
    assert_ne!(mapper.generation(), generation);
}

/// Slots of pictures at the given output times in ms.
fn slots(rate: FrameRate, millis: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut slots = Slots::new(rate);
    millis.into_iter().map(|ms| slots.slot(NOW + ms * MS, 1)).collect()
}

#[test]
fn sources_of_another_rate_skip_and_share_slots_in_a_steady_cadence() {
    let from24 = slots(FPS30, (0..25).map(|n| n * 1_000 / 24));
    assert_eq!(from24[..6], [0, 1, 2, 3, 5, 6].map(|n| n + from24[0]));
    assert_eq!(from24[24] - from24[0], 30);
    let from60 = slots(FPS30, (0..61).map(|n| n * 1_000 / 60));
    assert_eq!(from60[60] - from60[0], 30);
    assert!(from60.windows(2).all(|pair| pair[1] - pair[0] <= 1));
}

#[test]
fn slots_begin_when_their_number_says() {
    for rate in FrameRate::STANDARD {
        let second = i64::from(rate.num) / i64::from(rate.den);
        for n in [0, 1, second, 53_850_000_000 / 60 * second] {
            let nanos = Slots::nanos(rate, n);
            assert_eq!(Slots::new(rate).slot(nanos, 0), n, "{rate}");
        }
    }
}

#[test]
fn patience_grows_at_once_and_comes_back_slowly_within_its_limits() {
    let second = 1_000 * MS;
    let mut patience = Patience::new();
    patience.missed(250 * MS, second);
    assert_eq!(patience.nanos(), 270 * MS);
    patience.missed(9_000 * MS, second);
    assert_eq!(patience.nanos(), MAX_PATIENCE);
    patience.relax(11 * second);
    assert_eq!(patience.nanos(), MAX_PATIENCE - 10 * MS);
    patience.relax(10_000 * second);
    assert_eq!(patience.nanos(), MIN_PATIENCE);
}

proptest! {
    #[test]
    fn a_source_of_our_rate_maps_one_to_one_whatever_its_phase_and_jitter(
        rate in 0usize..FrameRate::STANDARD.len(),
        phase in 0i64..1_000,
        jitter in proptest::collection::vec(-3i64..=3, 300),
    ) {
        let rate = FrameRate::STANDARD[rate];
        let times = jitter.iter().enumerate().map(|(n, jitter)| {
            phase + n as i64 * 1_000 * i64::from(rate.den) / i64::from(rate.num) + jitter
        });
        let slots = slots(rate, times);
        prop_assert!(slots.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", slots);
    }

    #[test]
    fn any_times_are_placed_without_a_panic(
        samples in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<i32>(), any::<i32>()), 0..100),
    ) {
        let mut mapper = Mapper::default();
        let mut slots = Slots::new(FPS30);
        for (video, sync, dts, received) in samples {
            let track = if video { Track::Video } else { Track::Audio };
            let (dts, received) = (i64::from(dts) * MS, NOW + i64::from(received) * MS);
            if let Some(offset) = mapper.place(track, sync, dts, received) {
                slots.slot(dts + offset, mapper.generation());
            }
        }
    }
}
