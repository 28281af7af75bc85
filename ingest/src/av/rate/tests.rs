use super::*;

/// Decoding times in microseconds of a source at `rate` whose clock ticks in milliseconds.
fn millis(rate: FrameRate) -> impl Iterator<Item = i64> {
    (0..1_000i64).map(move |n| n * 1_000 * i64::from(rate.den) / i64::from(rate.num) * 1_000)
}

fn decide(finder: &mut RateFinder, times: impl IntoIterator<Item = i64>) -> (Decision, i64) {
    let mut first = None;
    for time in times {
        let start = *first.get_or_insert(time);
        if let Some(decision) = finder.push(time) {
            return (decision, time - start);
        }
    }
    panic!("never decided");
}

#[test]
fn every_standard_rate_is_recognised_from_a_millisecond_clock_within_half_a_second() {
    for rate in FrameRate::STANDARD {
        let mut finder = RateFinder::new(None);
        finder.claim(rate);
        let (decision, after) = decide(&mut finder, millis(rate));
        assert_eq!(decision, Decision { rate, basis: Basis::Claimed });
        assert!(after <= 600_000, "{rate} took {after}");
        if rate.den == 1 {
            let (decision, _) = decide(&mut RateFinder::new(None), millis(rate));
            assert_eq!(decision, Decision { rate, basis: Basis::Measured });
        }
    }
}

#[test]
fn metadata_in_decimals_decides_between_neighbours() {
    for (written, rate) in [
        (29_970, FrameRate::new(30_000, 1001)),
        (23_976, FrameRate::new(24_000, 1001)),
        (30_000, FrameRate::new(30, 1)),
    ] {
        let mut finder = RateFinder::new(None);
        finder.claim_thousandths(written);
        assert_eq!(decide(&mut finder, millis(rate)).0, Decision { rate, basis: Basis::Claimed });
    }
}

#[test]
fn a_claim_that_the_timestamps_refute_is_ignored_and_a_field_rate_is_halved() {
    let mut finder = RateFinder::new(None);
    finder.claim(FrameRate::new(1_000, 1));
    finder.claim(FrameRate::new(0, 0));
    let (decision, _) = decide(&mut finder, millis(FrameRate::new(25, 1)));
    assert_eq!(decision, Decision { rate: FrameRate::new(25, 1), basis: Basis::Measured });
    let mut finder = RateFinder::new(None);
    finder.claim(FrameRate::new(60_000, 1001));
    let (decision, _) = decide(&mut finder, millis(FrameRate::new(30_000, 1001)));
    assert_eq!(decision, Decision { rate: FrameRate::new(30_000, 1001), basis: Basis::Claimed });
}

#[test]
fn a_lost_picture_and_jitter_do_not_change_the_rate() {
    let times = millis(FrameRate::new(30, 1))
        .enumerate()
        .filter(|(n, _)| *n != 4)
        .map(|(n, time)| time + [0, 1_000, -1_000][n % 3]);
    assert_eq!(decide(&mut RateFinder::new(None), times).0.rate, FrameRate::new(30, 1));
}

#[test]
fn a_jump_starts_the_measurement_again() {
    let first = millis(FrameRate::new(50, 1)).take(3);
    let second = millis(FrameRate::new(25, 1)).map(|time| time + 90_000_000);
    assert_eq!(
        decide(&mut RateFinder::new(None), first.chain(second)).0.rate,
        FrameRate::new(25, 1)
    );
}

#[test]
fn the_configuration_needs_no_measurement() {
    let rate = FrameRate::new(50, 1);
    assert_eq!(
        RateFinder::new(Some(rate)).push(0),
        Some(Decision { rate, basis: Basis::Configured })
    );
}

#[test]
fn pictures_without_any_time_are_decided_and_do_not_divide_by_zero() {
    let (decision, _) = decide(&mut RateFinder::new(None), std::iter::repeat_n(7, 100));
    assert_eq!(decision.rate, FrameRate::new(30, 1));
}
