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

#[test]
fn sound_on_another_clock_than_the_picture_is_left_out() {
    let mut mapper = Mapper::default();
    mapper.place(Track::Video, true, 1_000_000 * MS, NOW);
    assert_eq!(mapper.place(Track::Audio, true, 0, NOW), None);
    assert!(mapper.place(Track::Audio, true, 1_000_020 * MS, NOW).is_some());
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
