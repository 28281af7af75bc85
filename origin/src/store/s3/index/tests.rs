use super::*;
use crate::store::outbox::tests::{run, segment};

const RUN: &str = "0190c0ffee0";
const NEXT: &str = "0190c0ffee1";

fn told(runs: &[RunRecord], first_k: u64) -> ChannelRecord {
    let runs = runs.iter().map(|run| (run.id.clone(), run.clone())).collect();
    ChannelRecord { runs, live: true, first_k, ..ChannelRecord::default() }
}

fn add(head: &mut Head, run: &str, k: u64) {
    head.add(k, segment(run, "720p", k));
    head.add(k, segment(run, "audio", k));
}

#[test]
fn a_page_is_taken_when_it_is_full_and_every_record_is_in_one_place() {
    let mut head = Head::default();
    head.tell(&told(&[run(RUN, 7)], 7));
    for k in 7..7 + PAGE {
        add(&mut head, RUN, k);
        assert_eq!(head.take_page(), None);
    }
    add(&mut head, RUN, 7 + PAGE);
    let (page, content) = head.take_page().unwrap();
    assert_eq!((page.first_k, page.last_k, page.bytes), (7, 6 + PAGE, 400 * PAGE));
    assert_eq!(page.end_ms, (7 + PAGE).cast_signed() * 2_000);
    assert_eq!(content.segments.len() as u64, 2 * PAGE);
    assert_eq!(head.recent.len(), 2);
    assert_eq!(head.take_page(), None);
    assert!(head.names(&segment(RUN, "audio", 7)) && head.names(&segment(RUN, "audio", 7 + PAGE)));
    assert!(!head.names(&segment(RUN, "audio", 8 + PAGE)));
    assert!(!head.names(&segment(NEXT, "audio", 7)), "another run's");
    assert_eq!(Page::read(&content.write()).unwrap(), content);
    assert_eq!(Head::read(&head.write()).unwrap(), head);
}

#[test]
fn a_run_that_is_over_fills_its_last_page_as_far_as_it_goes() {
    let mut head = Head::default();
    head.tell(&told(&[run(RUN, 7), run(NEXT, 10)], 7));
    for (run, k) in [(RUN, 7), (RUN, 8), (NEXT, 10)] {
        add(&mut head, run, k);
    }
    let (page, content) = head.take_page().unwrap();
    assert_eq!((page.run.as_str(), page.first_k, page.last_k), (RUN, 7, 8));
    assert_eq!(content.run.id, RUN);
    assert_eq!(head.take_page(), None);
    assert_eq!(head.recent.len(), 2);
}

#[test]
fn runs_and_pages_are_told_as_long_as_the_window_stands_in_them() {
    let mut head = Head::default();
    head.tell(&told(&[run(RUN, 7)], 7));
    (7..9).for_each(|k| add(&mut head, RUN, k));
    let both = [run(RUN, 7), run(NEXT, 9)];
    head.tell(&told(&both, 7));
    (9..12).for_each(|k| add(&mut head, NEXT, k));
    assert!(head.take_page().is_some());
    let ids = |head: &Head| head.runs.iter().map(|run| run.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&head), head.listed_pages().count()), (vec![RUN.into(), NEXT.into()], 1));
    // The window has left the first run: its page is kept, and read by nobody.
    head.tell(&told(&[run(NEXT, 9)], 9));
    assert_eq!((ids(&head), head.listed_pages().count()), (vec![NEXT.to_owned()], 0));
    assert_eq!(head.pages.len(), 1);
    // A window never goes back.
    head.tell(&told(&[run(NEXT, 9)], 0));
    assert_eq!(head.first_k, 9);
}

#[test]
fn an_index_of_another_version_is_not_read() {
    let text = String::from_utf8(Head::default().write()).unwrap();
    let newer = text.replace("\"version\":1", "\"version\":2");
    assert!(matches!(Head::read(newer.as_bytes()), Err(Unreadable::Version(2))));
    assert!(matches!(Head::read(b"{"), Err(Unreadable::Json(_))));
}

#[test]
fn only_so_many_holes_are_remembered() {
    let mut head = Head::default();
    for k in 0..2 * MOST_HOLES as u64 {
        head.lose(Hole { segment: segment(RUN, "audio", k).key, why: "lost".into() });
    }
    assert_eq!(head.holes.len(), MOST_HOLES);
    assert_eq!(head.holes.first().unwrap().segment.k, MOST_HOLES as u64);
}
