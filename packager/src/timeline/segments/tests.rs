use proptest::prelude::*;

use super::*;
use crate::timeline::example::{Example, FIRST_K};

/// A segment with this number, of one run.
fn segment(k: u64) -> Segment {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 1);
    Segment { k, ..example.snapshot().tracks[0].segments[0].clone() }
}

fn numbers(list: &Segments) -> Vec<u64> {
    list.iter().map(|segment| segment.k).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// So many more, after a hole of so many.
    Add(usize, u64),
    Leave(usize),
    Keep,
    Rest(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1usize..150, prop_oneof![4 => Just(0u64), 1 => 1u64..100]).prop_map(|(n, hole)| Step::Add(n, hole)),
        3 => (0usize..150).prop_map(Step::Leave),
        2 => Just(Step::Keep),
        1 => (0usize..200).prop_map(Step::Rest),
    ];
    proptest::collection::vec(step, 1..12)
}

proptest! {
    #[test]
    fn a_list_is_what_a_plain_one_is(first in 1_000u64..1_200, steps in steps()) {
        let template = segment(0);
        let (mut list, mut plain) = (Segments::default(), Vec::<u64>::new());
        let mut kept: Vec<(Segments, Vec<u64>)> = Vec::new();
        let mut next = first;
        for step in steps {
            match step {
                Step::Add(count, hole) => {
                    next += hole;
                    for _ in 0..count {
                        list.push(Segment { k: next, ..template.clone() });
                        plain.push(next);
                        next += 1;
                    }
                }
                Step::Leave(count) => {
                    let left = list.take_first(|segment| segment.k < first + count as u64);
                    let gone = plain.iter().take_while(|k| **k < first + count as u64).count();
                    let gone: Vec<_> = plain.drain(..gone).collect();
                    prop_assert_eq!(left.iter().map(|s| s.k).collect::<Vec<_>>(), gone);
                }
                Step::Keep => kept.push((list.clone(), plain.clone())),
                Step::Rest(position) => {
                    let rest = plain.get(position..).unwrap_or_default();
                    kept.push((list.rest(position), rest.to_vec()));
                }
            }
            kept.push((list.clone(), plain.clone()));
        }
        // What was shared before has not changed since.
        for (list, plain) in kept {
            prop_assert_eq!(numbers(&list), plain.clone());
            prop_assert_eq!(list.len(), plain.len());
            let backwards: Vec<_> = list.iter().rev().map(|segment| segment.k).collect();
            prop_assert_eq!(backwards, plain.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(list.first().map(|s| s.k), plain.first().copied());
            prop_assert_eq!(list.last().map(|s| s.k), plain.last().copied());
            for k in [first, first + 63, first + 100, next] {
                prop_assert_eq!(list.number(k).is_some(), plain.contains(&k));
                let before = list.all().partition_point(|segment| segment.k < k);
                prop_assert_eq!(before, plain.partition_point(|number| *number < k));
            }
            let (from, to) = (plain.len() / 3, plain.len() / 2);
            let within: Vec<_> = list.all().within(from..to).iter().map(|s| s.k).collect();
            prop_assert_eq!(&within[..], &plain[from..to]);
            for at in 0..plain.len() {
                prop_assert_eq!(list.get(at).map(|s| s.k), Some(plain[at]));
                if let Some(page) = list.page(at) {
                    let page: Vec<_> = page.segments().iter().map(|s| s.k).collect();
                    prop_assert_eq!(page.len() as u64, PAGE);
                    prop_assert!(page[0].is_multiple_of(PAGE));
                    prop_assert_eq!(&plain[at..at + page.len()], &page[..]);
                }
            }
        }
    }
}

#[test]
fn a_page_is_written_once_however_long_it_stays() {
    let mut list: Segments = (0..3 * PAGE).map(segment).collect();
    let text = |list: &Segments, kind: &str, text: &str| {
        list.page(64).unwrap().text(kind, || text.to_owned()).to_string()
    };
    assert_eq!(text(&list, "a", "first"), "first");
    list.take_first(|segment| segment.k < 10);
    list.push(segment(3 * PAGE));
    let at = |list: &Segments| list.page(54).unwrap().text("a", || "again".to_owned()).to_string();
    assert_eq!(at(&list), "first");
    assert_eq!(list.page(54).unwrap().text("b", || "other".to_owned()).to_string(), "other");
    // Not of segments that are others now.
    list.iter_mut().for_each(|segment| segment.gap = true);
    assert_eq!(at(&list), "again");
}

#[test]
fn what_is_not_all_there_is_no_page() {
    let mut list: Segments = (10..2 * PAGE + 5).map(segment).collect();
    let pages = |list: &Segments| (0..list.len()).filter(|at| list.page(*at).is_some()).count();
    assert_eq!(pages(&list), 1);
    list.take_first(|segment| segment.k <= PAGE);
    assert_eq!(pages(&list), 0);
    let hole: Segments = (0..2 * PAGE).filter(|k| *k != 70).map(segment).collect();
    assert_eq!(pages(&hole), 1);
}
