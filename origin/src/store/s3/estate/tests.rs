use packager::grid::Grid;
use packager::time::{FrameRate, Span};

use super::*;
use crate::store::journal::StoredFormat;
use crate::store::outbox::ChannelRecord;
use crate::store::outbox::tests::{run, segment};

const RUN: &str = "0190c0ffee0";
const NEXT: &str = "0190c0ffee1";

/// A head with two runs of 2 s segments, of which S3 has number 9 last.
fn head(cut: Cut) -> Head {
    let grid = Grid::choose(FrameRate::new(25, 1), 48_000, Span::millis(2_000), Span::millis(400));
    let format = StoredFormat {
        grid: Grid { cut, ..grid },
        publish_delay: Span::millis(150),
        window: Span::millis(600_000),
        wishes: Vec::new(),
        renditions: Vec::new(),
    };
    let runs = [run(RUN, 7), run(NEXT, 9)].map(|run| (run.id.clone(), run)).into_iter().collect();
    let mut head = Head::default();
    let channel =
        ChannelRecord { format: Some(format), runs, live: true, ..ChannelRecord::default() };
    head.tell(&channel);
    for (run, k) in [(RUN, 7), (RUN, 8), (NEXT, 9)] {
        head.add(k, segment(run, "720p", k));
        head.add(k, segment(run, "audio", k));
    }
    head
}

fn heir(head: &Head, now_ms: i64) -> State {
    let mut state = begun(head).unwrap();
    for run in &head.runs {
        state.apply(Record::Run(run.clone()));
        add(&mut state, head, run, head.recent.iter().cloned());
    }
    finish(&mut state, head, now_ms);
    state
}

#[test]
fn an_heir_knows_what_the_head_names_and_goes_on_with_no_run_of_it() {
    let head = head(Cut::Source);
    let state = heir(&head, 20_000);
    assert_eq!(state.format, head.format);
    assert_eq!(state.runs.keys().collect::<Vec<_>>(), [RUN, NEXT]);
    assert_eq!(state.segments.records().count(), 6);
    assert_eq!((state.drained, state.last_discontinuity), (Some(9), Some(9)));
    assert_eq!(state.last_run.as_deref(), Some(NEXT));
    assert!(state.live && state.went_down());
    let mut again = State::default();
    state.records().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}

#[test]
fn numbers_that_s3_has_not_heard_of_are_not_used_again() {
    // Number 9 ends at 20 s.
    let source = head(Cut::Source);
    let length = source.format.as_ref().unwrap().grid.segment();
    let length = length.ticks_in(Timescale::MILLIS, Rounding::Floor).cast_signed();
    assert_eq!(heir(&source, 20_000).last_k, Some(9));
    assert_eq!(heir(&source, 20_000 + 3 * length).last_k, Some(12));
    // A clock that is behind.
    assert_eq!(heir(&source, 5_000).last_k, Some(9));
    // The clock's numbers.
    let of_grid = head(Cut::Grid);
    let grid = of_grid.format.as_ref().unwrap().grid;
    let at = Timestamp::new(1_700_000_000_000, Timescale::MILLIS);
    let k = grid.number_at(at.ticks_in(grid.video_scale(), Rounding::Floor));
    assert_eq!(heir(&of_grid, at.ticks).last_k, Some(k));
    // One that has ended makes no more.
    let ended = Head { live: false, ..source };
    let state = heir(&ended, 1_000_000);
    assert_eq!((state.last_k, state.live), (Some(9), false));
}

#[test]
fn of_a_channel_that_never_ran_nothing_is_left() {
    assert!(begun(&Head::default()).is_none());
}
