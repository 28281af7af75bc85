use super::*;
use proptest::prelude::*;

#[test]
fn rescale_rounds_as_its_name_says_on_both_sides_of_zero() {
    let (ms, mpeg) = (Timescale::MILLIS, Timescale::MPEG);
    assert_eq!(rescale(1, ms, mpeg, Rounding::Floor), 90);
    for (ticks, floor, nearest, ceil) in
        [(89, 0, 1, 1), (44, 0, 0, 1), (-1, -1, 0, 0), (-89, -1, -1, 0)]
    {
        assert_eq!(rescale(ticks, mpeg, ms, Rounding::Floor), floor, "floor of {ticks}");
        assert_eq!(rescale(ticks, mpeg, ms, Rounding::Nearest), nearest, "nearest of {ticks}");
        assert_eq!(rescale(ticks, mpeg, ms, Rounding::Ceil), ceil, "ceil of {ticks}");
    }
}

#[test]
fn instants_of_different_scales_do_not_mix() {
    let a = Timestamp::new(1, Timescale::MILLIS);
    let b = Timestamp::new(90, Timescale::MPEG);
    assert_eq!(a.since(b), None);
    assert_eq!(
        a.rescale(Timescale::MPEG, Rounding::Floor).since(b),
        Some(Delta::new(0, Timescale::MPEG))
    );
}

#[test]
fn every_standard_rate_has_whole_frames_in_its_timescale() {
    for rate in FrameRate::STANDARD {
        let frame = u64::from(rate.frame_ticks());
        assert_eq!(
            frame * u64::from(rate.num),
            u64::from(rate.timescale().get()) * u64::from(rate.den)
        );
    }
    assert_eq!(FrameRate::new(24_000, 1001).timescale().get(), 24_000);
    assert_eq!(FrameRate::new(30_000, 1001).timescale().get(), 90_000);
    assert_eq!(FrameRate::new(60_000, 1001).timescale().get(), 60_000);
}

#[test]
fn rates_print_as_the_field_writes_them() {
    assert_eq!(FrameRate::new(30, 1).to_string(), "30");
    assert_eq!(FrameRate::new(30_000, 1001).to_string(), "29.97");
    assert_eq!(FrameRate::new(24_000, 1001).to_string(), "23.976");
}

#[test]
fn standard_rates_are_sorted_and_recognised_within_a_thousandth() {
    let value = |rate: &FrameRate| f64::from(rate.num) / f64::from(rate.den);
    assert!(FrameRate::STANDARD.is_sorted_by(|a, b| value(a) < value(b)));
    for (frames, seconds, expected) in [
        (30, 1, Some((30, 1))),
        (2_997, 100, Some((30_000, 1001))),
        (5_994, 100, Some((60_000, 1001))),
        (23_976, 1_000, Some((24_000, 1001))),
        (60_000, 1_001, Some((60_000, 1001))),
        (10_000_000, 333_333, Some((30, 1))),
        (30_029, 1_000, Some((30, 1))),
        (30_031, 1_000, None),
        (18, 1, None),
        (30, 0, None),
        (0, 0, None),
        (u64::MAX, 1, None),
    ] {
        let expected = expected.map(|(num, den)| FrameRate::new(num, den));
        assert_eq!(FrameRate::standard(frames, seconds), expected, "{frames}/{seconds}");
    }
}

#[test]
fn a_32_bit_clock_unrolls_over_its_wrap_and_back() {
    let mut clock = Unroller::new(32);
    let wrap = 1u64 << 32;
    assert_eq!(clock.unroll(wrap - 10), (1 << 32) - 10);
    assert_eq!(clock.unroll(5), (1 << 32) + 5);
    assert_eq!(clock.unroll(wrap - 3), (1 << 32) - 3);
    assert_eq!(clock.unroll(40), (1 << 32) + 40);
}

proptest! {
    #[test]
    fn unrolling_follows_any_line_of_small_steps(start in 0u64..(1 << 33), steps in prop::collection::vec(-50_000i64..900_000, 1..200)) {
        let mut clock = Unroller::new(33);
        let mut truth = clock.unroll(start);
        for step in steps {
            truth += step;
            let raw = truth.rem_euclid(1 << 33).unsigned_abs();
            prop_assert_eq!(clock.unroll(raw), truth);
        }
    }
}
