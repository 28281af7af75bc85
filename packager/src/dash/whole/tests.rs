use std::time::Duration;

use dash_mpd_core::MPD;

use crate::dash::{Options, manifest};
use crate::time::{FrameRate, Rounding, Span, Timescale, Timestamp};
use crate::timeline::Snapshot;
use crate::timeline::example::{self, Example, FIRST_K, assert_golden};

fn parse(snapshot: &Snapshot) -> MPD {
    dash_mpd_core::parse(&manifest(snapshot, &Options::default())).unwrap()
}

/// Two runs with a hole of two segments, of which the first and the last segment are left out.
fn excerpt() -> Snapshot {
    example::two_runs().whole(FIRST_K + 1..FIRST_K + 8).unwrap()
}

#[test]
fn the_manifest_is_the_golden_one() {
    let options = Options { base: "../../live/demo/".into(), ..Options::default() };
    let text = manifest(&excerpt(), &options).replace("><", ">\n<");
    assert_golden("whole.mpd", &text);
}

#[test]
fn it_begins_at_nought_and_closes_holes_up() {
    let mpd = parse(&excerpt());
    assert_eq!(mpd.mpdtype.as_deref(), Some("static"));
    // Three segments, and two behind the hole.
    let lengths = [Duration::from_millis(4_800), Duration::from_millis(3_200)];
    assert_eq!(mpd.mediaPresentationDuration, Some(lengths[0] + lengths[1]));
    let periods: Vec<_> =
        mpd.periods.iter().map(|p| (p.start.unwrap(), p.duration.unwrap())).collect();
    assert_eq!(periods, [(Duration::ZERO, lengths[0]), (lengths[0], lengths[1])]);
    for (period, first_k) in mpd.periods.iter().zip([FIRST_K + 1, FIRST_K + 6]) {
        for set in &period.adaptations {
            let template = set.SegmentTemplate.as_ref().unwrap();
            let rows = &template.SegmentTimeline.as_ref().unwrap().segments;
            assert_eq!((template.startNumber, rows.len()), (Some(first_k), 1), "{rows:?}");
            // The offset is where the first segment begins, or its sound less than a frame later.
            let late = rows[0].t.unwrap() - template.presentationTimeOffset.unwrap();
            assert!(late < 1_024, "{late}");
        }
    }
    let seam = &mpd.periods[1].adaptations[0].supplemental_property[0];
    assert_eq!(seam.schemeIdUri, "urn:mpeg:dash:period-connectivity:2015");
    assert_eq!(seam.value, mpd.periods[0].id);
}

#[test]
fn it_ends_with_the_last_of_its_renditions() {
    let mut example = Example::with(FrameRate::new(24_000, 1001), 44_100, Span::millis(2_000), 600);
    let run = example.run(500);
    example.push_all(500..504);
    let mut sound_is_last = 0;
    for last in 501..504 {
        let snapshot = example.snapshot().whole(500..last).unwrap();
        let seconds = |index: usize, ticks: i64| {
            Timestamp::new(ticks, run.scale(index)).ticks_in(Timescale::MICROS, Rounding::Nearest)
        };
        let begins = seconds(0, snapshot.tracks[0].segments.first().unwrap().start);
        let ends = snapshot.tracks.iter().enumerate();
        let ends = ends.map(|(index, t)| seconds(index, t.segments.last().unwrap().end()) - begins);
        let ends: Vec<_> = ends.collect();
        let mpd = parse(&snapshot);
        let whole = mpd.mediaPresentationDuration.unwrap().as_micros() as i64;
        assert!((whole - ends.iter().max().unwrap()).abs() <= 1, "{whole} {ends:?}");
        assert_eq!(mpd.periods.last().unwrap().duration, mpd.mediaPresentationDuration);
        sound_is_last += i32::from(ends[3] > ends[0]);
    }
    assert!(sound_is_last > 0);
}

#[test]
fn a_hole_of_one_rung_is_closed_up_for_all() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 2);
    for rendition in [0, 2, 3] {
        example.push(rendition, FIRST_K + 2);
    }
    example.push_all(FIRST_K + 3..FIRST_K + 5);
    let mpd = parse(&example.snapshot().whole(FIRST_K..FIRST_K + 5).unwrap());
    let starts: Vec<_> = mpd.periods.iter().map(|p| p.start.unwrap().as_millis()).collect();
    assert_eq!(starts, [0, 3_200]);
    let ids: Vec<_> = mpd.periods.iter().map(|p| p.id.clone().unwrap()).collect();
    assert_ne!(ids[0], ids[1], "both are of one run");
}
