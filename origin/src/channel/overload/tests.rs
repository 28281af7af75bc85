use proptest::prelude::*;

use super::*;

/// 720p, 480p, 360p.
const COSTS: [u64; 3] = [27_648_000, 12_297_600, 6_912_000];

fn load(lag_ms: u64, frozen_percent: u32) -> Load {
    let rung = RungLoad { lag: Duration::from_millis(lag_ms), frozen_percent };
    Load { rungs: vec![rung; COSTS.len()], speed_percent: 100, previewed: false }
}

/// A ladder that has settled, and its clock.
struct Bench {
    overload: Overload,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let begin = Instant::now();
        Self { overload: Overload::new(&COSTS, begin), now: begin + SETTLE_MOST }
    }

    fn step(&mut self, load: &Load) -> Option<Change> {
        let change = self.overload.observe(self.now, load);
        self.now += Duration::from_secs(1);
        change
    }

    /// Reports every second for so long; the changes and after how many seconds they came.
    fn run(&mut self, seconds: u64, load: &Load) -> Vec<(u64, Change)> {
        (0..seconds).filter_map(|at| self.step(load).map(|change| (at, change))).collect()
    }

    fn on(&self) -> [bool; 3] {
        [0, 1, 2].map(|rung| self.overload.is_on(rung))
    }
}

#[test]
fn the_dearest_rung_goes_first_and_the_cheapest_stays() {
    let mut bench = Bench::new();
    let changes = bench.run(60, &load(1_600, 0));
    assert_eq!(changes, [(1, Change::Off(vec![0])), (3, Change::Off(vec![1]))]);
    assert_eq!(bench.on(), [false, false, true]);
}

#[test]
fn previews_go_before_any_rung_and_come_back_after_all() {
    let mut bench = Bench::new();
    let watched = |lag| Load { previewed: true, ..load(lag, 0) };
    // Shedding them was enough.
    assert_eq!(bench.run(2, &watched(1_600)), [(1, Change::Shed)]);
    assert!(bench.overload.sheds() && bench.on() == [true; 3]);
    assert_eq!(bench.run(31, &load(0, 0)), [(8, Change::Admit)]);
    assert!(!bench.overload.sheds());
    // It was not.
    let mut bench = Bench::new();
    let changes = bench.run(4, &watched(1_600));
    assert_eq!(changes, [(1, Change::Shed), (3, Change::Off(vec![0]))]);
    let changes = bench.run(62, &load(0, 0));
    assert_eq!(changes, [(8, Change::Admit), (30, Change::On(0))]);
}

/// Seen with the demo beside a browser on two cores: nobody was let in for half a minute and more.
#[test]
fn previews_are_back_before_the_rungs_and_do_not_wait_longer_for_what_a_rung_did() {
    let mut bench = Bench::new();
    let severe = Load { previewed: true, ..load(2_600, 0) };
    bench.run(2, &severe);
    assert_eq!(bench.run(40, &load(0, 0)), [(8, Change::Admit), (30, Change::On(1))]);
    // It is too much again, with a preview or without.
    let changes = bench.run(4, &Load { previewed: true, ..load(1_600, 0) });
    assert_eq!(changes, [(1, Change::Shed), (3, Change::Off(vec![1]))]);
    let changes = bench.run(75, &load(0, 0));
    assert_eq!(changes, [(8, Change::Admit), (60, Change::On(1))], "the rung's fault");
}

#[test]
fn a_severe_lag_takes_previews_and_rungs_together() {
    let severe = Load { previewed: true, ..load(2_600, 0) };
    let mut bench = Bench::new();
    assert_eq!(bench.run(2, &severe), [(1, Change::Off(vec![0, 1]))]);
    assert!(bench.overload.sheds());
}

#[test]
fn a_ladder_of_one_has_previews_to_shed() {
    let begin = Instant::now();
    let mut overload = Overload::new(&[1], begin);
    let at = begin + SETTLE_MOST;
    let watched = Load { previewed: true, ..load(2_600, 0) };
    assert_eq!(overload.observe(at, &watched), None);
    assert_eq!(overload.observe(at + DOWN_AFTER, &watched), Some(Change::Shed));
}

#[test]
fn a_ladder_listed_from_the_bottom_loses_its_dearest_rung_too() {
    let begin = Instant::now();
    let mut overload = Overload::new(&[1, 2, 3], begin);
    let at = begin + SETTLE_MOST;
    assert_eq!(overload.observe(at, &load(2_000, 0)), None);
    let change = overload.observe(at + DOWN_AFTER, &load(2_000, 0));
    assert_eq!(change, Some(Change::Off(vec![2])));
}

#[test]
fn a_severe_lag_leaves_the_cheapest_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(5, &load(2_600, 0)), [(1, Change::Off(vec![0, 1]))]);
}

#[test]
fn a_rung_that_freezes_counts_as_one_that_lags() {
    let mut bench = Bench::new();
    let mut one = load(100, 0);
    one.rungs[1].frozen_percent = 20;
    assert_eq!(bench.run(2, &one), [(1, Change::Off(vec![0]))]);
    assert_eq!(bench.run(2, &load(100, 60)), [(1, Change::Off(vec![1]))]);
}

#[test]
fn a_slow_worker_counts_too() {
    let slow = Load { speed_percent: 80, ..load(0, 0) };
    assert_eq!(Bench::new().run(2, &slow), [(1, Change::Off(vec![0]))]);
    let slower = Load { speed_percent: 30, ..load(0, 0) };
    assert_eq!(Bench::new().run(2, &slower), [(1, Change::Off(vec![0, 1]))]);
}

#[test]
fn a_hiccup_changes_nothing() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        assert_eq!(bench.step(&load(9_000, 100)), None);
        assert_eq!(bench.step(&load(100, 0)), None);
    }
    assert_eq!(bench.on(), [true; 3]);
}

#[test]
fn a_lag_that_shrinks_is_left_to_shrink() {
    // As after a start beside a browser's: late when it has settled, and making good a third of the time.
    let mut bench = Bench::new();
    for lag in [2_400, 2_100, 1_800, 1_400, 900, 400] {
        assert_eq!(bench.step(&load(lag, 0)), None, "{lag}");
    }
    let mut bench = Bench::new();
    for lag in [3_400, 2_900, 2_500, 2_100, 1_700, 1_300] {
        assert_eq!(bench.step(&load(lag, 0)), None, "{lag}");
    }
}

#[test]
fn a_lag_that_shrinks_too_slowly_or_goes_up_and_down_counts() {
    let first_change = |lags: [u64; 4], frozen| {
        let mut bench = Bench::new();
        lags.into_iter().find_map(|lag| bench.step(&load(lag, frozen)))
    };
    assert_eq!(first_change([2_000, 1_950, 1_900, 1_850], 0), Some(Change::Off(vec![0])));
    assert_eq!(first_change([2_400, 1_800, 2_400, 1_800], 0), Some(Change::Off(vec![0])));
    assert_eq!(first_change([9_000, 8_500, 8_000, 7_500], 0), Some(Change::Off(vec![0, 1])));
    // Pictures that are not shown count, whatever the lag does.
    assert_eq!(first_change([2_400, 2_000, 1_600, 1_200], 20), Some(Change::Off(vec![0])));
}

#[test]
fn rungs_return_one_by_one_after_thirty_calm_seconds_each() {
    let mut bench = Bench::new();
    bench.run(2, &load(3_000, 0));
    let changes = bench.run(120, &load(100, 0));
    assert_eq!(changes, [(8, Change::Admit), (30, Change::On(1)), (61, Change::On(0))]);
    assert_eq!(bench.on(), [true; 3]);
}

#[test]
fn what_is_not_calm_brings_nothing_back() {
    let mut bench = Bench::new();
    bench.run(2, &load(3_000, 0));
    assert_eq!(bench.run(300, &load(700, 0)), []);
    assert_eq!(bench.run(300, &load(0, 1)), []);
}

#[test]
fn a_rung_that_is_off_does_not_count() {
    let mut bench = Bench::new();
    bench.run(2, &load(1_600, 0));
    let mut rest = load(100, 0);
    rest.rungs[0] = RungLoad { lag: Duration::from_secs(60), frozen_percent: 100 };
    assert_eq!(bench.run(31, &rest), [(8, Change::Admit), (30, Change::On(0))]);
}

#[test]
fn a_rung_that_does_not_last_is_tried_less_and_less_often() {
    // A machine that bears two rungs, for ever.
    let mut bench = Bench::new();
    let mut tries = Vec::new();
    for at in 0..3_600u64 {
        let all = bench.on()[0];
        if let Some(Change::On(0)) = bench.step(&load(if all { 2_000 } else { 100 }, 0)) {
            tries.push(at);
        }
    }
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!((5..=12).contains(&tries.len()), "{tries:?}");
    assert!(*waits.last().unwrap() >= UP_AFTER_MOST.as_secs(), "{waits:?}");
}

#[test]
fn a_rung_that_lasted_is_tried_soon_again() {
    let mut bench = Bench::new();
    bench.run(2, &load(1_600, 0));
    bench.run(31, &load(0, 0));
    bench.run(RELAPSE.as_secs() + 1, &load(0, 0));
    bench.run(2, &load(1_600, 0));
    assert_eq!(bench.run(40, &load(0, 0)), [(8, Change::Admit), (30, Change::On(0))]);
}

#[test]
fn previews_that_the_machine_does_not_bear_are_tried_less_and_less_often() {
    let mut bench = Bench::new();
    let mut tries = Vec::new();
    for at in 0..3_600u64 {
        let lag = if bench.overload.sheds() { 100 } else { 1_600 };
        if let Some(Change::Admit) =
            bench.step(&Load { previewed: !bench.overload.sheds(), ..load(lag, 0) })
        {
            tries.push(at);
        }
        assert_eq!(bench.on(), [true; 3]);
    }
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!((8..=14).contains(&tries.len()), "{tries:?}");
}

#[test]
fn a_worker_that_begins_is_given_time_to_catch_up() {
    let begin = Instant::now();
    let mut bench = Bench { overload: Overload::new(&COSTS, begin), now: begin };
    assert_eq!(bench.run(SETTLE_MOST.as_secs(), &load(9_000, 100)), []);
    assert_eq!(bench.run(2, &load(9_000, 100)).len(), 1);
    bench.overload.restart(bench.now);
    assert_eq!(bench.run(SETTLE_MOST.as_secs(), &load(9_000, 100)), []);
    assert_eq!(bench.on(), [false, false, true], "a new worker begins where the old one was");
}

/// As the demo's, beside a browser that starts on two cores: it had left out most pictures of a second, eight
/// seconds after its start, and everything but the cheapest rung went.
#[test]
fn a_worker_that_has_caught_up_is_held_to_it() {
    let begin = Instant::now();
    let mut bench = Bench { overload: Overload::new(&COSTS, begin), now: begin };
    assert_eq!(bench.run(8, &load(366, 93)), []);
    assert_eq!(bench.run(1, &load(0, 0)), []);
    assert_eq!(bench.run(2, &load(366, 93)), [(1, Change::Off(vec![0, 1]))]);
}

#[test]
fn a_silence_proves_neither_calm_nor_trouble() {
    let mut bench = Bench::new();
    bench.run(2, &load(1_600, 0));
    assert_eq!(bench.step(&load(0, 0)), None);
    bench.now += Duration::from_secs(3_600);
    assert_eq!(bench.step(&load(0, 0)), None);
    assert_eq!(bench.step(&load(1_600, 0)), None);
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.step(&load(1_600, 0)), None);
    assert_eq!(bench.on(), [false, true, true]);
}

#[test]
fn a_reduced_ladder_begins_with_its_cheapest_rung_and_grows() {
    let mut bench = Bench::new();
    assert_eq!(bench.overload.reduce(), [0, 1]);
    assert_eq!(bench.on(), [false, false, true]);
    let changes = bench.run(62, &load(0, 0));
    assert_eq!(changes, [(8, Change::Admit), (30, Change::On(1)), (61, Change::On(0))]);
}

#[test]
fn a_ladder_of_one_or_none_never_changes() {
    for costs in [&[5][..], &[]] {
        let begin = Instant::now();
        let mut overload = Overload::new(costs, begin);
        assert!(overload.reduce().is_empty());
        for second in 0..100 {
            let at = begin + Duration::from_secs(second);
            let change = overload.observe(at, &load(60_000, 100));
            assert!(matches!(change, None | Some(Change::Admit)), "{change:?}");
        }
        assert_eq!(overload.is_on(0), costs.len() == 1);
    }
}

/// A report, and how many milliseconds after the one before it comes.
fn reports() -> impl Strategy<Value = Vec<(u64, Load)>> {
    let rung = (prop_oneof![0u64..600, 1_000u64..4_000], prop_oneof![Just(0u32), 0u32..100]);
    let one = rung.prop_map(|(ms, frozen_percent)| RungLoad {
        lag: Duration::from_millis(ms),
        frozen_percent,
    });
    let load = (proptest::collection::vec(one, 0..5), prop_oneof![Just(100u32), 0u32..150])
        .prop_map(|(rungs, speed_percent)| Load {
            rungs,
            speed_percent,
            previewed: speed_percent % 2 == 1,
        });
    // Long stretches of one kind, as on a real machine.
    let stretch = (100u64..2_000, load, 1usize..60);
    proptest::collection::vec(stretch, 1..12).prop_map(|stretches| {
        let repeat = |(wait, load, times)| std::iter::repeat_n((wait, load), times);
        stretches.into_iter().flat_map(repeat).collect()
    })
}

proptest! {
    #[test]
    fn the_cheapest_is_always_on_and_nothing_flaps_faster_than_it_may(reports in reports()) {
        let mut now = Instant::now() + SETTLE_MOST;
        let mut overload = Overload::new(&COSTS, now - SETTLE_MOST);
        let mut changed: [Option<Instant>; 3] = [None; 3];
        let mut last_change: Option<Instant> = None;
        for (wait, load) in reports {
            now += Duration::from_millis(wait);
            let before = [0, 1, 2].map(|rung| overload.is_on(rung));
            let shed = overload.sheds();
            let change = overload.observe(now, &load);
            let after = [0, 1, 2].map(|rung| overload.is_on(rung));
            prop_assert!(after[2]);
            // Those that are on are the cheapest ones.
            prop_assert!(after.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(change.is_some(), before != after || shed != overload.sheds());
            // Where a rung goes, previews go.
            let is_less = before != after && after.iter().zip(before).all(|(on, was)| *on <= was);
            prop_assert!(overload.sheds() || !is_less);
            if change.is_some() {
                if let Some(last) = last_change {
                    prop_assert!(now - last >= DOWN_AFTER);
                }
                last_change = Some(now);
            }
            for rung in 0..3 {
                match (before[rung], after[rung]) {
                    (false, true) => {
                        let off_at = changed[rung].replace(now);
                        prop_assert!(off_at.is_some_and(|at| now - at >= UP_AFTER));
                        prop_assert_eq!(&change, &Some(Change::On(rung)));
                    }
                    (true, false) => {
                        changed[rung] = Some(now);
                        let named = matches!(&change, Some(Change::Off(gone)) if gone.contains(&rung));
                        prop_assert!(named, "{:?}", change);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn more_lag_in_the_next_report_never_leaves_more_rungs_on(
        reports in reports(),
        lags in (0u64..5_000, 0u64..5_000),
        wait in 100u64..4_000,
    ) {
        let mut now = Instant::now();
        let mut overload = Overload::new(&COSTS, now);
        for (wait, load) in reports {
            now += Duration::from_millis(wait);
            overload.observe(now, &load);
        }
        now += Duration::from_millis(wait);
        let after = |lag: u64| {
            let mut copy = overload.clone();
            copy.observe(now, &load(lag, 0));
            copy.on
        };
        prop_assert!(after(lags.0.min(lags.1)) >= after(lags.0.max(lags.1)));
    }

    #[test]
    fn a_steady_lag_that_is_higher_never_leaves_more_rungs_on(
        lags in (0u64..5_000, 0u64..5_000),
        seconds in 1u64..200,
    ) {
        let after = |lag: u64| {
            let mut bench = Bench::new();
            bench.overload.reduce();
            bench.run(seconds, &load(lag, 0));
            bench.overload.on
        };
        prop_assert!(after(lags.0.min(lags.1)) >= after(lags.0.max(lags.1)));
    }
}
