use packager::media::{Name, RunId};
use packager::time::Timescale;
use packager::timeline::Lengths;

use super::*;
use crate::store::journal::{Closed, SegmentKey, StoredRendition, StretchRecord};

pub(in crate::store) fn run(id: &str, first_k: u64) -> RunRecord {
    let rendition = |name: &str, size| StoredRendition {
        name: name.into(),
        timescale: Timescale::MILLIS,
        rate: None,
        codec: "mp4a.40.2".into(),
        size,
        average_bitrate: 1,
        peak_bitrate: 1,
    };
    RunRecord {
        id: id.into(),
        discontinuity: first_k,
        fresh: false,
        stretches: vec![StretchRecord {
            stretch: 0,
            left_out: Vec::new(),
            lengths: Lengths::Even,
            first_k,
            start: 0,
        }],
        renditions: vec![rendition("720p", Some((1280, 720))), rendition("audio", None)],
    }
}

pub(in crate::store) fn segment(run: &str, rendition: &str, k: u64) -> SegmentRecord {
    SegmentRecord {
        key: SegmentKey { run: run.into(), rendition: rendition.into(), k },
        closed: Closed {
            start: k.cast_signed() * 2_000,
            duration: 2_000,
            parts: [(1_000, 100, true, 10).into(), (1_000, 100, false, 10).into()]
                .into_iter()
                .collect(),
            gap: false,
        },
    }
}

const RUN: &str = "0190c0ffee0";
const NEXT: &str = "0190c0ffee1";

fn close(outbox: &Outbox, rendition: &str, k: u64) {
    outbox.note(&Record::Segment(segment(RUN, rendition, k)));
}

fn begun() -> Outbox {
    let outbox = Outbox::of(&State::default());
    outbox.note(&Record::Run(run(RUN, 7)));
    outbox
}

/// The numbers that are ready now.
async fn ready(outbox: &Outbox) -> Vec<u64> {
    let batch = tokio::time::timeout(Duration::ZERO, outbox.batch(8)).await;
    let batch = batch.ok().flatten();
    batch.map(|batch| batch.numbers.iter().map(|(k, _)| *k).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_number_is_ready_when_every_rendition_has_closed_it_and_numbers_leave_in_order() {
    let outbox = begun();
    close(&outbox, "720p", 7);
    assert_eq!(ready(&outbox).await, [0u64; 0]);
    close(&outbox, "720p", 8);
    close(&outbox, "audio", 8);
    assert_eq!(ready(&outbox).await, [0u64; 0], "7 is not whole");
    close(&outbox, "audio", 7);
    assert_eq!(ready(&outbox).await, [7, 8]);
    assert_eq!(ready(&outbox).await, [7, 8], "until somebody says that S3 has it");
    assert!(!outbox.may_leave(7));
    outbox.drained(7);
    assert_eq!((outbox.position(), ready(&outbox).await), (Some(7), vec![8]));
    assert!(outbox.may_leave(7) && !outbox.may_leave(8));
    let waiting = outbox.waiting();
    assert_eq!((waiting.segments, waiting.bytes, waiting.oldest_ms), (2, 400, Some(18_000)));
}

#[tokio::test]
async fn a_rendition_that_never_closes_a_number_is_not_waited_for() {
    let outbox = begun();
    for k in 7..=9 {
        close(&outbox, "720p", k);
    }
    assert_eq!(ready(&outbox).await, [0u64; 0]);
    close(&outbox, "720p", 10);
    assert_eq!(ready(&outbox).await, [7], "two numbers behind the newest");
    outbox.note(&Record::Ended);
    assert_eq!(ready(&outbox).await, [7, 8, 9, 10], "nothing follows an end");
}

#[tokio::test]
async fn the_end_of_a_channel_and_its_cues_are_told_without_a_segment() {
    let outbox = begun();
    assert!(tokio::time::timeout(Duration::ZERO, outbox.batch(8)).await.is_err());
    outbox.note(&Record::Ended);
    let batch = outbox.batch(8).await.unwrap();
    assert!(!batch.channel.live && batch.numbers.is_empty());
    outbox.close();
    assert!(outbox.batch(8).await.is_none(), "all is told");
}

#[tokio::test]
async fn a_journal_says_what_waits_and_up_to_where_s3_has_everything() {
    let mut state = State::default();
    state.apply(Record::Run(run(RUN, 7)));
    for k in 7..=9 {
        state.apply(Record::Segment(segment(RUN, "720p", k)));
        state.apply(Record::Segment(segment(RUN, "audio", k)));
    }
    state.apply(Record::Drained { k: 7 });
    let mut again = State::default();
    state.records().for_each(|record| again.apply(record));
    assert_eq!(again.drained, Some(7), "a journal that is written anew keeps it");
    let outbox = Outbox::of(&again);
    assert_eq!((outbox.position(), ready(&outbox).await), (Some(7), vec![8, 9]));
    // The index in S3 was written, and then the process died before the journal knew.
    outbox.reconcile(Some(8), |segment| segment.key.k <= 8);
    assert_eq!((outbox.position(), ready(&outbox).await), (Some(8), vec![9]));
    // An index of somebody else's says nothing about what waits here.
    outbox.reconcile(Some(1_000), |_| false);
    assert_eq!((outbox.position(), ready(&outbox).await), (Some(8), vec![9]));
}

#[tokio::test]
async fn what_is_given_up_stays_a_number_and_is_a_hole_that_is_told_once() {
    let outbox = begun();
    close(&outbox, "720p", 7);
    close(&outbox, "audio", 7);
    let (id, name) = (RunId::parse(RUN).unwrap(), Name::parse("720p").unwrap());
    outbox.give_up(&id, &name, 7);
    outbox.give_up(&id, &name, 99);
    let waiting = outbox.waiting();
    assert_eq!((waiting.given_up, waiting.bytes), (1, 200));
    let batch = outbox.batch(8).await.unwrap();
    assert_eq!(batch.holes, [segment(RUN, "720p", 7).key]);
    let (_, segments) = &batch.numbers[0];
    let gaps: Vec<_> = segments.iter().map(|s| (s.key.rendition.as_str(), s.closed.gap)).collect();
    assert_eq!(gaps, [("720p", true), ("audio", false)]);
    assert!(outbox.batch(8).await.unwrap().holes.is_empty());
}

#[test]
fn runs_are_forgotten_when_nothing_of_them_is_listed_or_waits() {
    let outbox = begun();
    close(&outbox, "720p", 7);
    outbox.note(&Record::Run(run(NEXT, 8)));
    outbox.note(&Record::Removed(segment(NEXT, "720p", 8).key));
    let runs = |outbox: &Outbox| outbox.lock().channel.runs.keys().cloned().collect::<Vec<_>>();
    assert_eq!(runs(&outbox), [RUN, NEXT], "7 waits");
    outbox.drained(7);
    outbox.note(&Record::Removed(segment(NEXT, "audio", 8).key));
    assert_eq!(runs(&outbox), [NEXT]);
}
