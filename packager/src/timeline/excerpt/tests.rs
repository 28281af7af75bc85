use super::*;
use crate::timeline::example::{self, Example, FIRST_K};

/// The instant at `eighths` of a segment behind the start of segment `k` of the example.
fn at(k: u64, eighths: i64) -> Timestamp {
    // D is 1.6 s.
    let millis = i64::try_from(k).unwrap() * 1_600 + eighths * 200;
    Timestamp::new(millis, Timescale::MILLIS)
}

fn numbers(snapshot: &Snapshot, index: usize) -> Vec<u64> {
    snapshot.tracks[index].segments.iter().map(|segment| segment.k - FIRST_K).collect()
}

#[test]
fn an_excerpt_begins_and_ends_with_the_segments_that_are_on_at_its_ends() {
    let live = example::live();
    for (from, to, expected) in [
        (at(FIRST_K + 1, 0), at(FIRST_K + 3, 0), vec![1, 2]),
        (at(FIRST_K + 1, 7), at(FIRST_K + 3, 1), vec![1, 2, 3]),
        (at(FIRST_K + 4, 1), at(FIRST_K + 4, 2), vec![4]),
        (at(FIRST_K, -8), at(FIRST_K + 1, 0), vec![0]),
    ] {
        let excerpt = live.excerpt(from, Some(to)).unwrap();
        assert_eq!(excerpt.state, State::Whole);
        for index in 0..4 {
            assert_eq!(numbers(&excerpt, index), expected, "{from:?} to {to:?}");
            assert!(excerpt.tracks[index].open.is_none());
        }
    }
}

#[test]
fn one_whose_end_is_to_come_goes_on_as_the_channel_does() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 6);
    example.push_some_parts(0, FIRST_K + 6, 2);
    let live = example.snapshot();
    for to in [None, Some(at(FIRST_K + 9, 0))] {
        let excerpt = live.excerpt(at(FIRST_K + 2, 3), to).unwrap();
        assert_eq!((excerpt.state, excerpt.version), (State::Live, live.version));
        assert_eq!(numbers(&excerpt, 3), [2, 3, 4, 5]);
        assert_eq!(excerpt.tracks[0].open, live.tracks[0].open);
        let begins = excerpt.listed_runs()[0].clone();
        assert_eq!(
            (begins.first_k, begins.start),
            (FIRST_K + 2, example.grid.boundary(FIRST_K + 2))
        );
    }
    example.push_all(FIRST_K + 6..FIRST_K + 10);
    let later = example.snapshot();
    let whole = later.excerpt(at(FIRST_K + 2, 3), Some(at(FIRST_K + 9, 0))).unwrap();
    assert_eq!((whole.state, numbers(&whole, 0).last()), (State::Whole, Some(&8)));
}

#[test]
fn what_is_not_there_is_refused_with_the_reason() {
    // Seven segments fit.
    let mut example = Example::new(11);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 9);
    let live = example.snapshot();
    assert_eq!(live.first_k(), Some(FIRST_K + 2));
    let excerpt = |from, to| live.excerpt(from, to).map(|excerpt| numbers(&excerpt, 0));
    let (early, there, late) = (at(FIRST_K + 1, 0), at(FIRST_K + 4, 0), at(FIRST_K + 9, 0));
    assert_eq!(excerpt(there, Some(there)), Err(NoExcerpt::Backwards));
    assert_eq!(excerpt(there, Some(early)), Err(NoExcerpt::Backwards));
    assert_eq!(excerpt(late, None), Err(NoExcerpt::ToCome));
    assert_eq!(excerpt(early, Some(there)), Err(NoExcerpt::Gone), "a part of it is");
    assert_eq!(excerpt(at(FIRST_K, 0), Some(early)), Err(NoExcerpt::Gone));
    assert_eq!(excerpt(early, None), Ok(vec![2, 3, 4, 5, 6, 7, 8]), "what is left of it");
}

#[test]
fn where_an_excerpt_begins_stays_when_its_first_segments_leave_the_window() {
    let mut example = Example::new(11);
    example.run(FIRST_K);
    let from = at(FIRST_K + 3, 2);
    let mut seen = Vec::new();
    for k in FIRST_K..FIRST_K + 16 {
        example.push_all(k..k + 1);
        if let Ok(excerpt) = example.snapshot().excerpt(from, None) {
            seen.push((excerpt.listed_runs()[0].first_k, excerpt.listed_runs()[0].start));
        }
    }
    assert_eq!(seen.len(), 13);
    assert!(seen.iter().all(|begins| *begins == seen[0]), "{seen:?}");
    assert_eq!(seen[0].0, FIRST_K + 3);
}

#[test]
fn a_hole_of_all_renditions_is_closed_up_and_one_of_some_is_not() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    // One rung has nothing of the next, nobody of the one behind it.
    for rendition in [0, 2, 3] {
        example.push(rendition, FIRST_K + 2);
    }
    example.run(FIRST_K + 4);
    example.push_all(FIRST_K + 4..FIRST_K + 6);
    let live = example.snapshot();
    let whole = live.whole(FIRST_K..FIRST_K + 6).unwrap();
    for index in 0..4 {
        assert_eq!(numbers(&whole, index), [0, 1, 2, 4, 5]);
    }
    assert!(whole.tracks[1].segments[2].gap && !whole.tracks[0].segments[2].gap);
    assert_eq!(live.whole(FIRST_K + 3..FIRST_K + 4), Err(NoExcerpt::Nothing));
    assert_eq!(live.whole(FIRST_K + 2..FIRST_K + 3), Err(NoExcerpt::Nothing), "a rung lacks all");
}
