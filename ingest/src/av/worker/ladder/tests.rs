use packager::time::{FrameRate, Span};
use proptest::prelude::*;

use super::*;

fn begin(rate: FrameRate, first_k_min: u64, resume: bool) -> Begin {
    let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300));
    Begin { grid, first_k_min, resume }
}

#[test]
fn a_run_begins_three_whole_segments_before_its_first_picture_where_their_numbers_are_free() {
    let fresh = begin(FrameRate::new(30, 1), 0, false);
    let first = fresh.grid.boundary(1_000) + 3_000;
    assert_eq!(fresh.at(first, first + 90_000), fresh.grid.boundary(997));
    let used = begin(FrameRate::new(30, 1), 1_002, false);
    assert_eq!(used.at(first, first), used.grid.boundary(1_002));
}

#[test]
fn a_run_goes_on_with_the_next_part() {
    let again = begin(FrameRate::new(30, 1), 0, true);
    let (grid, part) = (again.grid, again.grid.part_ticks as i64);
    let start = grid.boundary(1_000);
    assert_eq!(again.at(start, start), start, "a boundary is the next part");
    assert_eq!(again.at(start - 9_000, start + 3_000), start + part, "not before now");
    assert_eq!(again.at(start + part + 3_000, start), start + 2 * part, "nor before its picture");
    let used = begin(FrameRate::new(30, 1), 1_001, true);
    assert_eq!(used.at(start, start), grid.boundary(1_001), "nor in a segment that is closed");
}

proptest! {
    #[test]
    fn a_run_goes_on_within_a_part_and_on_a_frame(
        rate in 0usize..FrameRate::STANDARD.len(),
        frames in 53_000_000_000i64..54_000_000_000,
    ) {
        let again = begin(FrameRate::STANDARD[rate], 0, true);
        let (grid, frame) = (again.grid, i64::from(again.grid.rate.frame_ticks()));
        let (now, at) = (frames * frame, again.at(0, frames * frame));
        prop_assert!((now..now + grid.part_ticks as i64).contains(&at));
        prop_assert_eq!(at % frame, 0);
        let into = at - grid.boundary(grid.number_at(at));
        prop_assert_eq!(into % grid.part_ticks as i64, 0);
    }
}
