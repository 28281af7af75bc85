use packager::time::Span;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000_000 * MS;
const FPS30: FrameRate = FrameRate::new(30, 1);

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
    let grid = |part| Grid::choose(FPS30, 48_000, Span::millis(2_000), Span::millis(part));
    let mut patience = Patience::of(&grid(800));
    patience.missed(250 * MS, second);
    assert_eq!(patience.nanos(), 270 * MS);
    patience.missed(9_000 * MS, second);
    assert_eq!(patience.nanos(), MAX_PATIENCE);
    patience.relax(11 * second);
    assert_eq!(patience.nanos(), MAX_PATIENCE - 10 * MS);
    patience.relax(10_000 * second);
    assert_eq!(patience.nanos(), MIN_PATIENCE);
    let mut patience = Patience::of(&grid(300));
    patience.missed(9_000 * MS, second);
    assert_eq!(patience.nanos() / MS, 266, "a part, or it would be filled");
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
    fn any_times_have_a_slot_without_a_panic(
        samples in proptest::collection::vec((any::<i64>(), any::<u32>()), 0..100),
    ) {
        let mut slots = Slots::new(FPS30);
        for (nanos, generation) in samples {
            slots.slot(nanos / 4, generation);
        }
    }
}
