use proptest::prelude::*;

use super::*;
use crate::time::{Span, Timescale};

fn grid(rate: FrameRate) -> Grid {
    Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300))
}

const FREE: Made = Made { until: 0, first_k: 0 };

#[test]
fn a_splice_moves_the_nearest_boundary_and_no_number() {
    let grid = grid(FrameRate::new(30, 1));
    let (length, frame) = (grid.segment_ticks as i64, i64::from(grid.rate.frame_ticks()));
    for (offset, k) in [
        (frame, 100),
        (length / 2 - frame, 100),
        (length / 2, 101),
        (length - frame, 101),
        (0, 100),
    ] {
        let mut splices = Splices::default();
        let at = grid.boundary(100) + offset;
        assert_eq!(splices.accept(&grid, at, FREE), Place { at, k, moved: None });
        assert_eq!(splices.boundary(&grid, k), at);
        for other in [k - 2, k - 1, k + 1, k + 2] {
            assert_eq!(splices.boundary(&grid, other), grid.boundary(other));
        }
        assert!(splices.is_boundary(&grid, at));
        assert_eq!(splices.is_boundary(&grid, grid.boundary(k)), offset == 0);
    }
}

#[test]
fn a_splice_that_is_too_close_to_another_goes_to_the_next_boundary() {
    let grid = grid(FrameRate::new(25, 1));
    let (length, frame) = (grid.segment_ticks as i64, i64::from(grid.rate.frame_ticks()));
    let mut splices = Splices::default();
    let first = grid.boundary(100) + 10 * frame;
    splices.accept(&grid, first, FREE);
    let close = splices.accept(&grid, first + 2 * length - frame, FREE);
    let moved = Some(Moved::Close);
    assert_eq!(close, Place { at: grid.boundary(103), k: 103, moved });
    // It has its own distance there.
    let third = splices.accept(&grid, grid.boundary(103) + 2 * length - frame, FREE);
    assert_eq!(third, Place { at: grid.boundary(105), k: 105, moved });
    let fourth = splices.accept(&grid, grid.boundary(105) + 2 * length + frame, FREE);
    assert_eq!(fourth.moved, None);
    // The same frame again is the same splice.
    assert_eq!(splices.accept(&grid, first, FREE), Place { at: first, k: 100, moved: None });
}

#[test]
fn a_splice_whose_boundary_is_made_is_late() {
    let grid = grid(FrameRate::new(30, 1));
    let frame = i64::from(grid.rate.frame_ticks());
    let nominal = grid.boundary(100);
    let accept = |wish, until| Splices::default().accept(&grid, wish, Made { until, first_k: 0 });
    let late = Some(Moved::Late);
    // The frame of the boundary it takes the place of is the encoder's already.
    let next = Place { at: grid.boundary(101), k: 101, moved: late };
    assert_eq!(accept(nominal + 5 * frame, nominal + frame), next);
    assert_eq!(accept(nominal + 5 * frame, nominal).moved, None);
    // Its own is.
    let place = Place { at: nominal, k: 100, moved: late };
    assert_eq!(accept(nominal - 5 * frame, nominal - 4 * frame), place);
    assert_eq!(accept(nominal - 5 * frame, nominal - 5 * frame).moved, None);
    // Long ago.
    assert_eq!(accept(grid.boundary(50), nominal + 1), next);
    // On a boundary that comes nothing is late.
    assert_eq!(accept(nominal, nominal), Place { at: nominal, k: 100, moved: None });
}

#[test]
fn the_boundary_that_a_run_begins_with_stays() {
    let grid = grid(FrameRate::new(30, 1));
    let frame = i64::from(grid.rate.frame_ticks());
    let mut splices = Splices::default();
    let made = Made { until: 0, first_k: 100 };
    let moved = Some(Moved::RunStart);
    let place = splices.accept(&grid, grid.boundary(100) + frame, made);
    assert_eq!(place, Place { at: grid.boundary(101), k: 101, moved });
    let place = splices.accept(&grid, grid.boundary(97), made);
    assert_eq!(place, Place { at: grid.boundary(100), k: 100, moved });
    // A run begins where a splice has been accepted.
    let wish = grid.boundary(110) + frame;
    splices.accept(&grid, wish, made);
    assert_eq!(splices.begin_run(&grid, 110), [wish]);
    assert_eq!(splices.boundary(&grid, 110), grid.boundary(110));
}

#[test]
fn a_splice_is_given_up_while_nothing_is_made_for_it() {
    let grid = grid(FrameRate::new(30, 1));
    let wish = grid.boundary(100) + 3_000;
    let mut splices = Splices::default();
    splices.accept(&grid, wish, FREE);
    let made = Made { until: grid.boundary(100) + 1, first_k: 0 };
    assert!(!splices.withdraw(&grid, wish, made));
    assert!(splices.withdraw(&grid, wish, Made { until: grid.boundary(100), first_k: 0 }));
    assert!(!splices.withdraw(&grid, wish, FREE));
    assert_eq!(splices.boundary(&grid, 100), grid.boundary(100));
}

#[test]
fn the_closest_frame_is_the_later_one_on_a_tie() {
    let rate = FrameRate::new(25, 1);
    for (millis, frame) in [(0, 0), (19, 0), (20, 1), (59, 1), (60, 2), (-20, 0), (-21, -1)] {
        let at = Timestamp::new(millis, Timescale::MILLIS);
        assert_eq!(nearest_frame(rate, at), frame * 3_600, "{millis}");
    }
    let rate = FrameRate::new(60_000, 1001);
    let at = Timestamp::new(1_795_633_201_600_000, Timescale::MICROS);
    let ticks = nearest_frame(rate, at);
    assert_eq!(ticks % 1001, 0);
    let micros = Timestamp::new(ticks, rate.timescale());
    let micros = micros.ticks_in(Timescale::MICROS, crate::time::Rounding::Nearest);
    assert!((micros - at.ticks).abs() <= 8_342);
}

proptest! {
    /// Whatever is wished, whenever: every splice is the boundary that it was said to be, for good,
    /// numbers stay, lengths stay within their limits, and what is made is never made otherwise.
    #[test]
    fn any_list_of_cues_leaves_the_grid_whole(
        rate in prop::sample::select(FrameRate::STANDARD.to_vec()),
        cues in prop::collection::vec((0i64..400, -100i64..300, any::<bool>()), 1..40),
        first in 100u64..110,
    ) {
        let grid = grid(rate);
        let (length, frame) = (grid.segment_ticks as i64, i64::from(rate.frame_ticks()));
        let mut splices = Splices::default();
        let mut made = Made { until: grid.boundary(100), first_k: first };
        let mut accepted: Vec<Place> = Vec::new();
        for (passes, ahead, withdraw) in cues {
            let before = splices.clone();
            made.until += passes * frame;
            if withdraw && let Some(last) = accepted.last().copied() {
                if splices.withdraw(&grid, last.at, made) {
                    accepted.retain(|place| place.at != last.at);
                }
            } else {
                let wish = made.until / frame * frame + ahead * frame;
                let place = splices.accept(&grid, wish, made);
                prop_assert!(place.at >= wish && place.at % frame == 0);
                prop_assert!(place.at == wish || place.moved.is_some());
                // The next boundary, and not a later one.
                let free = wish.max(made.until).max(grid.boundary(first));
                prop_assert!(place.at < free + 2 * length);
                accepted.push(place);
            }
            let k = grid.number_at(made.until);
            for k in 90..k + 10 {
                let (at, next) = (splices.boundary(&grid, k), splices.boundary(&grid, k + 1));
                prop_assert!(2 * (next - at) >= length && 2 * (next - at) <= 3 * length);
                let moved = 2 * (at - grid.boundary(k));
                prop_assert!(-length <= moved && moved < length);
                if at.min(grid.boundary(k)) < made.until {
                    prop_assert_eq!(at, before.boundary(&grid, k), "made already");
                }
                if k == first {
                    prop_assert_eq!(at, grid.boundary(k));
                }
            }
            for place in &accepted {
                prop_assert_eq!(splices.boundary(&grid, place.k), place.at);
                prop_assert!(splices.is_boundary(&grid, place.at));
                prop_assert_eq!(splices.next_boundary(&grid, place.at), (place.k, place.at));
            }
        }
        let again = Splices::restore(splices.iter());
        prop_assert_eq!(again, splices);
    }
}
