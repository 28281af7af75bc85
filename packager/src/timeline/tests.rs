//! Runs, gaps, the window and what a snapshot promises.

use std::sync::Arc;

use bytes::Bytes;

use super::example::{Example, FIRST_DISCONTINUITY, FIRST_K};
use super::{Beginning, Format, Lengths, Part, Snapshot, State, Timeline};
use crate::grid::{Cut, Grid};
use crate::media::RunId;
use crate::time::{FrameRate, Span};

const PART: Part = Part { duration: 36_000, bytes: 1000, independent: true, first_sample: 400 };

/// Number, run and whether it is a gap, of every segment of a rendition.
fn rows(snapshot: &Snapshot, rendition: usize) -> Vec<(u64, RunId, bool)> {
    let segments = &snapshot.tracks[rendition].segments;
    segments.iter().map(|s| (s.k, s.run.id.clone(), s.gap)).collect()
}

/// Numbers counted from [`FIRST_K`].
fn numbers(snapshot: &Snapshot, rendition: usize) -> Vec<u64> {
    snapshot.tracks[rendition].segments.iter().map(|s| s.k - FIRST_K).collect()
}

#[test]
fn numbers_between_two_runs_are_gaps_of_the_new_one() {
    let mut example = Example::new(600);
    let old = example.run(FIRST_K).id.clone();
    example.push_all(FIRST_K..FIRST_K + 2);
    let new = example.run(FIRST_K + 4).id.clone();
    example.push_all(FIRST_K + 4..FIRST_K + 5);
    let snapshot = example.snapshot();
    for rendition in 0..4 {
        assert_eq!(
            rows(&snapshot, rendition),
            [
                (FIRST_K, old.clone(), false),
                (FIRST_K + 1, old.clone(), false),
                (FIRST_K + 2, new.clone(), true),
                (FIRST_K + 3, new.clone(), true),
                (FIRST_K + 4, new.clone(), false),
            ]
        );
    }
}

#[test]
fn what_may_have_been_listed_of_a_run_that_broke_off_are_gaps_of_it() {
    let mut example = Example::new(600);
    let old = example.run(FIRST_K).id.clone();
    example.push_all(FIRST_K..FIRST_K + 2);
    example.push(1, FIRST_K + 2);
    let start = example.grid.boundary(FIRST_K + 6);
    let gaps = example.timeline.lose(FIRST_K + 4, start);
    assert_eq!(gaps.len(), 3 * 3 + 2);
    let new = example.run(FIRST_K + 6).id.clone();
    let snapshot = example.snapshot();
    for rendition in 0..4 {
        let there = if rendition == 1 { 3 } else { 2 };
        let rows = rows(&snapshot, rendition);
        let runs: Vec<_> = (0..6).map(|k| if k < 5 { &old } else { &new }).collect();
        assert_eq!(rows.iter().map(|(_, run, _)| run).collect::<Vec<_>>(), runs);
        assert_eq!(rows.iter().filter(|(_, _, gap)| !gap).count(), there);
        let new = gaps.iter().filter(|(of, _)| *of == rendition).map(|(_, gap)| gap.k);
        assert!(new.eq(FIRST_K + there as u64..FIRST_K + 5));
        let segments: Vec<_> = snapshot.tracks[rendition].segments.iter().collect();
        assert!(segments.windows(2).all(|pair| pair[0].end() == pair[1].start));
    }
}

#[test]
fn lost_segments_of_a_source_end_before_the_next_run_begins() {
    let mut example = Example::new(600);
    let (renditions, start) =
        (example.snapshot().renditions.clone(), example.grid.boundary(FIRST_K));
    let format = Format {
        grid: Grid { cut: Cut::Source, ..example.grid },
        window: Span::millis(600_000),
        publish_delay: Span::millis(150),
    };
    example.timeline = Timeline::new(Arc::new(format), renditions.clone(), None);
    let inits = renditions.iter().map(|_| Bytes::from_static(b"init")).collect();
    let beginning = Beginning { first_k: FIRST_K, start, lengths: Lengths::Uneven };
    let id = RunId::from_millis(0x1a2_0000_0000);
    example.timeline.begin_run_at(id, beginning, renditions, inits);
    example.push_all(FIRST_K..FIRST_K + 1);
    // There is room for one and a half.
    let length = example.grid.segment_ticks.cast_signed();
    let next = start + length + length * 3 / 2;
    let gaps = example.timeline.lose(FIRST_K + 3, next);
    for rendition in 0..3 {
        let lengths = gaps.iter().filter(|(of, _)| *of == rendition);
        let lengths: Vec<_> = lengths.map(|(_, gap)| gap.duration.cast_signed()).collect();
        assert_eq!(lengths, [length / 2; 3]);
        let last = example.snapshot().tracks[rendition].segments.last().cloned().unwrap();
        assert_eq!((last.k, last.end()), (FIRST_K + 3, next));
    }
    // A clock that is behind leaves none.
    let gaps = example.timeline.lose(FIRST_K + 4, start);
    assert_eq!(gaps.len(), 4);
    assert_eq!(gaps[0].1.duration.cast_signed(), length);
}

#[test]
fn a_gap_with_media_is_listed_as_one_and_its_run_goes_on() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 1);
    for rendition in 0..4 {
        if rendition == 1 {
            example.open_gap(rendition, FIRST_K + 1);
        }
        example.push(rendition, FIRST_K + 1);
    }
    let snapshot = example.snapshot();
    let gaps: Vec<bool> = (0..4).map(|r| rows(&snapshot, r)[1].2).collect();
    assert_eq!(gaps, [false, true, false, false]);
    assert!(snapshot.tracks[1].segments[1].has_media());
    let runs = snapshot.listed_runs();
    assert_eq!((runs.len(), runs[0].last_k), (1, FIRST_K + 1));
}

#[test]
fn an_open_gap_is_as_long_as_it_is_going_to_be_and_stays_one_without_a_part() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 1);
    example.open_gap(0, FIRST_K + 1);
    let (start, end) = example.bounds(true, FIRST_K + 1);
    let open = example.snapshot().tracks[0].open.clone().unwrap();
    assert_eq!((open.start, open.end(), open.parts.len()), (start, end, 0));
    example.push_some_parts(0, FIRST_K + 1, 1);
    assert_eq!(example.snapshot().tracks[0].open.as_ref().unwrap().end(), end);
    example.open_gap(1, FIRST_K + 1);
    for rendition in [0, 1] {
        example.timeline.close(rendition);
        let closed = example.snapshot().tracks[rendition].segments[1].clone();
        assert!(closed.gap && closed.end() == end, "{closed:?}");
    }
}

#[test]
fn gaps_lie_on_the_grid_without_a_hole() {
    for (rate, audio) in [(FrameRate::new(30, 1), 48_000), (FrameRate::new(24_000, 1001), 44_100)] {
        let mut example = Example::with(rate, audio, Span::millis(2_000), 600);
        example.run(500);
        example.push_all(500..502);
        example.run(505);
        example.push_all(505..507);
        let snapshot = example.snapshot();
        for track in &snapshot.tracks {
            let segments: Vec<_> = track.segments.iter().collect();
            for pair in segments.windows(2) {
                assert_eq!(pair[0].end(), pair[1].start, "{rate} {audio}: segment {}", pair[1].k);
            }
        }
    }
}

#[test]
fn a_run_begins_at_the_same_number_in_every_rendition() {
    let mut example = Example::new(600);
    let old = example.run(FIRST_K).id.clone();
    example.push_all(FIRST_K..FIRST_K + 2);
    // The video had begun the next segment when the encoder went, the sound had not.
    let start = example.grid.boundary(FIRST_K + 2);
    example.timeline.push_part(0, FIRST_K + 2, start, PART);
    assert_eq!(example.timeline.next_k(), FIRST_K + 3);
    let new = example.run(FIRST_K + 3).id.clone();
    example.push_all(FIRST_K + 3..FIRST_K + 4);
    let snapshot = example.snapshot();
    for rendition in 0..4 {
        let rows = rows(&snapshot, rendition);
        assert_eq!(rows[2], (FIRST_K + 2, old.clone(), rendition != 0));
        assert_eq!(rows[3], (FIRST_K + 3, new.clone(), false));
    }
    assert_eq!(snapshot.tracks[0].segments[2].duration, 36_000, "closed as it was");
}

#[test]
fn numbers_left_out_within_a_run_are_gaps_of_it() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push(0, FIRST_K);
    example.push(0, FIRST_K + 3);
    example.push(1, FIRST_K + 2);
    let snapshot = example.snapshot();
    let gaps = |r: usize| snapshot.tracks[r].segments.iter().map(|s| s.gap).collect::<Vec<_>>();
    assert_eq!(gaps(0), [false, true, true, false]);
    assert_eq!(gaps(1), [true, true, false], "a rendition that began late");
}

#[test]
fn a_part_that_comes_too_late_is_dropped() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    let before = example.snapshot();
    example.timeline.push_part(0, FIRST_K, 0, PART);
    example.timeline.push_part(0, FIRST_K + 1, 0, PART);
    assert_eq!(example.snapshot().tracks, before.tracks, "of a finished segment");
    example.timeline.push_part(0, FIRST_K + 2, 0, PART);
    let before = example.snapshot();
    example.timeline.push_part(0, FIRST_K + 1, 0, PART);
    assert_eq!(example.snapshot().tracks, before.tracks, "of the one before the open one");
    example.run(FIRST_K + 5);
    let before = example.snapshot();
    example.timeline.push_part(0, FIRST_K + 4, 0, PART);
    assert_eq!(example.snapshot().tracks, before.tracks, "of an earlier run");
    example.timeline.push_part(9, FIRST_K + 5, 0, PART);
    assert_eq!(example.snapshot().tracks, before.tracks, "of a rendition that is not there");
}

#[test]
fn the_shortest_window_lists_six_segments_whole_and_the_newest_by_its_parts() {
    let mut example = Example::new(1);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 20);
    let (_, snapshot) = example.trimmed();
    for rendition in 0..4 {
        let (whole, closing) = snapshot.listed_whole(rendition);
        assert!(closing.is_some());
        assert_eq!(
            whole.iter().map(|s| s.k - FIRST_K).collect::<Vec<_>>(),
            [13, 14, 15, 16, 17, 18]
        );
    }
}

#[test]
fn the_window_drops_the_same_numbers_in_every_rendition() {
    let mut example = Example::new(16);
    assert_eq!(example.snapshot().format.window_segments(), 10);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 10);
    assert_eq!(example.trimmed().0, []);
    // One rendition alone is ahead: nothing leaves before the others have followed.
    example.push(2, FIRST_K + 10);
    assert_eq!(example.trimmed().0, []);
    for rendition in [0, 1, 3] {
        example.push(rendition, FIRST_K + 10);
    }
    let (removed, snapshot) = example.trimmed();
    assert_eq!(
        removed.iter().map(|r| (r.rendition, r.segment.k)).collect::<Vec<_>>(),
        (0..4).map(|rendition| (rendition, FIRST_K)).collect::<Vec<_>>()
    );
    for rendition in 0..4 {
        assert_eq!(numbers(&snapshot, rendition), (1..11).collect::<Vec<_>>());
    }
}

#[test]
fn a_rendition_that_stopped_does_not_make_the_others_grow_for_ever() {
    let mut example = Example::new(16);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 3);
    for k in FIRST_K + 3..FIRST_K + 500 {
        example.push(0, k);
        let (_, snapshot) = example.trimmed();
        assert!(snapshot.tracks[0].segments.len() <= 20);
    }
}

#[test]
fn what_only_some_renditions_have_finished_is_not_listed() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    example.push(0, FIRST_K + 2);
    let snapshot = example.snapshot();
    assert_eq!(snapshot.last_k(), Some(FIRST_K + 1));
    for rendition in 0..4 {
        assert_eq!(snapshot.listed(rendition).len(), 2);
    }
    assert!(snapshot.listed(4).is_empty());
}

#[test]
fn nothing_is_listed_until_every_rendition_has_something() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    for rendition in 0..3 {
        example.push(rendition, FIRST_K);
    }
    let snapshot = example.snapshot();
    assert_eq!(snapshot.last_k(), None);
    assert!((0..4).all(|rendition| snapshot.listed(rendition).is_empty()));
}

#[test]
fn the_first_run_counts_discontinuities_from_the_hours_since_2026_and_later_ones_by_one() {
    let mut example = Example::new(600);
    assert_eq!(example.run(FIRST_K).discontinuity, FIRST_DISCONTINUITY);
    example.push_all(FIRST_K..FIRST_K + 1);
    assert_eq!(example.run(FIRST_K + 1).discontinuity, FIRST_DISCONTINUITY + 1);
    example.push_all(FIRST_K + 1..FIRST_K + 2);
    assert_eq!(example.run(FIRST_K + 9).discontinuity, FIRST_DISCONTINUITY + 2);
}

#[test]
fn a_run_that_nobody_saw_leaves_its_discontinuity_number_to_the_next() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 1);
    assert_eq!(example.run(FIRST_K + 1).discontinuity, FIRST_DISCONTINUITY + 1);
    assert_eq!(example.run(FIRST_K + 1).discontinuity, FIRST_DISCONTINUITY + 1);
    // This one shows up as a gap, and so counts.
    assert_eq!(example.run(FIRST_K + 2).discontinuity, FIRST_DISCONTINUITY + 1);
    assert_eq!(example.run(FIRST_K + 2).discontinuity, FIRST_DISCONTINUITY + 2);
}

#[test]
fn a_timeline_that_starts_again_goes_on_from_the_journals_discontinuity_number() {
    let example = Example::new(600);
    let snapshot = { example }.snapshot();
    let (format, renditions) = (snapshot.format.clone(), snapshot.renditions.clone());
    let mut timeline = Timeline::new(format, renditions, Some(41));
    assert_eq!(timeline.begin_run(RunId::from_millis(1), FIRST_K, Vec::new()).discontinuity, 42);
}

#[test]
fn a_snapshot_never_changes() {
    let mut example = Example::new(16);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 8);
    example.timeline.push_part(0, FIRST_K + 8, example.grid.boundary(FIRST_K + 8), PART);
    let snapshot = example.snapshot();
    let copy = Snapshot::clone(&snapshot);
    example.push_all(FIRST_K + 8..FIRST_K + 20);
    example.run(FIRST_K + 30);
    example.timeline.end();
    let later = example.snapshot();
    assert_eq!(*snapshot, copy);
    assert!(later.version > snapshot.version);
}

#[test]
fn snapshots_share_their_segments() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 40);
    let before = example.snapshot();
    example.push_all(FIRST_K + 40..FIRST_K + 41);
    let after = example.snapshot();
    // Those of a page that nothing was added to.
    assert!(std::ptr::eq(&before.tracks[0].segments[0], &after.tracks[0].segments[0]));
}

#[test]
fn an_ended_channel_takes_nothing_until_a_run_begins() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    example.timeline.end();
    let ended = example.snapshot();
    assert_eq!(ended.state, State::Ended);
    example.push_all(FIRST_K + 2..FIRST_K + 3);
    assert_eq!(example.snapshot().tracks, ended.tracks);
    example.run(FIRST_K + 2);
    assert_eq!(example.snapshot().state, State::Live);
}

#[test]
fn a_new_presentation_has_a_fresh_window_and_higher_numbers() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 3);
    example.timeline.end();
    assert_eq!(example.timeline.clear().len(), 12);
    assert_eq!(example.timeline.next_k(), FIRST_K + 3);
    example.run(FIRST_K + 10);
    example.push_all(FIRST_K + 10..FIRST_K + 11);
    let snapshot = example.snapshot();
    assert_eq!(numbers(&snapshot, 0), [10]);
    assert_eq!(snapshot.tracks[0].segments[0].run.discontinuity, FIRST_DISCONTINUITY + 1);
}

#[test]
fn a_hole_longer_than_the_window_is_listed_for_one_window_at_most() {
    let mut example = Example::new(16);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 3);
    example.run(FIRST_K + 1_000_000_000);
    let (_, snapshot) = example.trimmed();
    for rendition in 0..4 {
        assert_eq!(numbers(&snapshot, rendition), (999_999_990..1_000_000_000).collect::<Vec<_>>());
    }
}

#[test]
fn a_snapshot_is_revised_exactly_when_the_listed_runs_change() {
    let mut example = Example::new(16);
    let mut revisions = Vec::new();
    let mut note = |example: &mut Example| {
        let revised = example.snapshot().revised.ticks;
        let changed = revisions.last() != Some(&revised);
        assert!(revisions.last().is_none_or(|last| revised >= *last));
        revisions.push(revised);
        changed
    };
    example.run(FIRST_K);
    note(&mut example);
    example.push_all(FIRST_K..FIRST_K + 1);
    assert!(note(&mut example), "the first segment");
    example.push_all(FIRST_K + 1..FIRST_K + 5);
    assert!(!note(&mut example), "more of the same run");
    example.run(FIRST_K + 5);
    assert!(!note(&mut example), "a run that has nothing yet");
    example.push_all(FIRST_K + 5..FIRST_K + 6);
    assert!(note(&mut example), "its first segment");
    example.push_all(FIRST_K + 6..FIRST_K + 14);
    assert!(!note(&mut example), "the window moves within the old run");
    example.push_all(FIRST_K + 14..FIRST_K + 15);
    assert!(note(&mut example), "the old run leaves");
    example.timeline.end();
    assert!(note(&mut example), "the end");
    assert!(!note(&mut example), "nothing");
}

/// The stretches of the newest run: first number and what is left out.
fn stretches(snapshot: &Snapshot) -> Vec<(u64, Vec<usize>)> {
    let listed = snapshot.listed_runs();
    listed.iter().map(|l| (l.run.first_k, l.run.left_out.clone())).collect()
}

/// Segments of 1.6 s after which a rendition is left out: 40 s.
const LONG: u64 = 25;

#[test]
fn what_is_off_for_long_is_left_out_from_the_next_segment_on_and_offered_again_when_it_is_back() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    let off = FIRST_K + 2;
    example.push_off(off..off + LONG - 1, &[0]);
    example.push_off(off + LONG - 1..off + LONG, &[0]);
    assert_eq!(stretches(&example.snapshot()), [(FIRST_K, vec![])], "nobody has begun the next");
    example.push_off(off + LONG..off + LONG + 3, &[0]);
    let without = (off + LONG, vec![0]);
    assert_eq!(stretches(&example.snapshot()), [(FIRST_K, vec![]), without.clone()]);
    let back = off + LONG + 3;
    example.push_all(back..back + 3);
    // That it is back is known when its first segment is whole.
    let again = (back + 1, vec![]);
    assert_eq!(stretches(&example.snapshot()), [(FIRST_K, vec![]), without, again]);
    let snapshot = example.snapshot();
    let ids: Vec<_> = snapshot.listed(0).iter().map(|s| (&s.run.id, s.run.discontinuity)).collect();
    assert!(ids.windows(2).all(|w| w[0] == w[1]), "the same run all along");
}

#[test]
fn what_is_off_for_a_shorter_time_is_never_left_out() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    for round in 0..4 {
        let k = FIRST_K + round * LONG;
        example.push_off(k..k + LONG - 1, &[0, 1]);
        example.push_all(k + LONG - 1..k + LONG);
    }
    assert_eq!(stretches(&example.snapshot()), [(FIRST_K, vec![])]);
}

#[test]
fn rungs_that_go_one_after_the_other_are_left_out_one_after_the_other() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_off(FIRST_K..FIRST_K + 5, &[0]);
    example.push_off(FIRST_K + 5..FIRST_K + 5 + LONG + 1, &[0, 1]);
    let found = stretches(&example.snapshot());
    let expected = [(FIRST_K, vec![]), (FIRST_K + LONG, vec![0]), (FIRST_K + 5 + LONG, vec![0, 1])];
    assert_eq!(found, expected);
    // Another run begins with all it has.
    example.run(FIRST_K + 5 + LONG + 1);
    example.push_all(FIRST_K + 5 + LONG + 1..FIRST_K + 5 + LONG + 2);
    assert_eq!(stretches(&example.snapshot())[3], (FIRST_K + 5 + LONG + 1, vec![]));
}
