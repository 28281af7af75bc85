use proptest::prelude::*;

use super::*;

const RATE: FrameRate = FrameRate::new(25, 1);

fn name(n: u32) -> Name {
    Name::parse(&format!("c{n}")).unwrap()
}

/// The ladder of the bench: 720p, 480p and 360p at 25 fps.
fn ladder() -> Work {
    Work::ladder([(1280, 720), (854, 480), (640, 360)], (1280, 720), RATE)
}

/// So many cores' worth of work, at the stand-in's price.
fn worth(cores: f64) -> Work {
    Work { encoded: (cores / ENCODE * 1e6) as u64, decoded: 0 }
}

#[test]
fn the_stand_in_is_a_little_dearer_than_what_the_bench_measured() {
    let cores = ladder().cores(1.0);
    assert!((0.97..1.3).contains(&cores), "{cores}");
}

#[test]
fn ladders_are_taken_on_whole_then_reduced_and_then_refused_with_the_figures() {
    let admission = Admission::new(Some(10.0));
    for n in 0..8 {
        assert_eq!(admission.admit(&name(n), worth(0.99)), Ok(Admitted::Whole), "{n}");
    }
    assert_eq!(admission.admit(&name(8), worth(0.99)), Ok(Admitted::Reduced));
    assert_eq!(admission.admitted(&name(8)), Some(Admitted::Reduced));
    let refusal = admission.admit(&name(9), worth(0.99)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "this machine is used up: its channels take 8.9 of 10.0 cores and this one would take 1.0"
    );
    assert_eq!(admission.admitted(&name(9)), None);
    assert_eq!(admission.admit(&name(9), worth(0.3)), Ok(Admitted::Reduced), "a smaller one fits");
    let capacity = admission.capacity();
    assert_eq!(capacity.refused, 1);
    assert_eq!(capacity.last_refusal, Some(("c9".to_owned(), refusal.to_string())));
}

#[test]
fn a_channel_that_is_on_is_never_refused_its_reconnect() {
    let admission = Admission::new(Some(1.0));
    admission.admit(&name(0), worth(0.7)).unwrap();
    admission.planned(&name(0), worth(40.0));
    assert_eq!(admission.admit(&name(0), worth(0.7)), Ok(Admitted::Whole));
    assert!(admission.admit(&name(1), worth(0.1)).is_err());
    assert_eq!(admission.admit(&name(0), worth(0.7)), Ok(Admitted::Whole));
}

#[test]
fn a_machine_with_nothing_to_do_takes_the_channel_there_is() {
    let admission = Admission::new(Some(0.5));
    assert_eq!(admission.admit(&name(0), worth(9.0)), Ok(Admitted::Whole));
    assert!(admission.admit(&name(1), worth(0.01)).is_err());
    admission.release(&name(0));
    assert_eq!(admission.admit(&name(1), worth(9.0)), Ok(Admitted::Whole));
}

#[test]
fn what_costs_nothing_is_always_taken_on() {
    let admission = Admission::new(Some(1.0));
    admission.admit(&name(0), worth(5.0)).unwrap();
    assert_eq!(admission.admit(&name(1), Work::default()), Ok(Admitted::Whole));
    admission.release(&name(0));
    // Nor does it stand in the way of what does cost something.
    assert_eq!(admission.admit(&name(2), worth(5.0)), Ok(Admitted::Whole));
}

#[test]
fn where_cores_are_not_counted_everything_is_taken_on() {
    let admission = Admission::new(None);
    for n in 0..100 {
        assert_eq!(admission.admit(&name(n), worth(10.0)), Ok(Admitted::Whole));
    }
    assert_eq!(admission.capacity().cores, None);
}

#[test]
fn what_workers_used_tells_what_a_picture_costs_here() {
    let admission = Admission::new(Some(4.0));
    admission.admit(&name(0), ladder()).unwrap();
    assert!(!admission.capacity().measured);
    // This machine is half as dear as the stand-in.
    let second = Duration::from_secs(1);
    let cpu = Duration::from_secs_f64(ladder().cores(0.5));
    for _ in 0..100 {
        admission.report(ladder(), cpu, second);
    }
    let capacity = admission.capacity();
    assert!(capacity.measured);
    assert!((capacity.used - ladder().cores(0.5)).abs() < 1e-6, "{}", capacity.used);
    // A busy scene for a moment moves it a little; if it stays, all the way.
    admission.report(ladder(), cpu * 2, second);
    let moved = admission.capacity().used / ladder().cores(0.5);
    assert!((1.05..1.15).contains(&moved), "{moved}");
    for _ in 0..100 {
        admission.report(ladder(), cpu * 2, second);
    }
    assert!((admission.capacity().used - ladder().cores(1.0)).abs() < 1e-3);
}

#[test]
fn a_measurement_that_can_not_be_is_not_believed() {
    let admission = Admission::new(Some(4.0));
    let second = Duration::from_secs(1);
    admission.report(ladder(), Duration::ZERO, second);
    admission.report(ladder(), second * 1_000, second);
    admission.report(Work::default(), second, second);
    admission.report(ladder(), second, Duration::from_millis(1));
    assert!(!admission.capacity().measured);
}

proptest! {
    #[test]
    fn more_than_the_tight_share_is_taken_on_only_where_one_is_alone(
        cores in 0.5f64..32.0,
        wishes in proptest::collection::vec((0u32..12, 0.0f64..6.0, any::<bool>()), 1..60),
    ) {
        let admission = Admission::new(Some(cores));
        for (n, wanted, stays) in wishes {
            let before = admission.capacity();
            let known = before.channels.contains_key(name(n).as_str());
            let verdict = admission.admit(&name(n), worth(wanted));
            let after = admission.capacity();
            if known {
                prop_assert!(verdict.is_ok());
                prop_assert_eq!(before.used, after.used);
            } else if verdict.is_ok() && worth(wanted).encoded > 0 && before.used > 0.0 {
                prop_assert!(after.used <= cores * TIGHT + 1e-6);
            } else if verdict.is_err() {
                prop_assert!(before.used + worth(wanted).cores(1.0) > cores * TIGHT);
                prop_assert_eq!(before.channels, after.channels);
            }
            if !stays {
                admission.release(&name(n));
            }
        }
    }
}
