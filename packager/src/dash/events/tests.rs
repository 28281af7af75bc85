use super::*;
use crate::dash::manifest;
use crate::grid::splices::Made;
use crate::scte35::breaks::Breaks;
use crate::scte35::section::tests as vectors;
use crate::scte35::{Section, signals};
use crate::timeline::example::{Example, FIRST_K, assert_golden};

/// Tells a channel of two runs, the second from `FIRST_K + 6` on, of a vector whose splice is at the
/// boundary of segment `k` and 0.1 s; the last segment made is `made - 1`.
fn tell(breaks: &mut Breaks, example: &mut Example, vector: &str, k: u64, made: u64) {
    let raw = vectors::bytes(vector);
    let made = Made { until: example.grid.boundary(made), first_k: FIRST_K };
    for signal in signals(&Section::decode(&raw).unwrap()) {
        breaks.take(&signal, &raw, example.grid.boundary(k) + 9_000, made);
    }
    let listed = breaks.cues().iter().filter(|cue| cue.is_listed());
    example.timeline.tell_cues(listed.cloned().collect());
}

fn example() -> (Breaks, Example) {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 6);
    (Breaks::new(example.grid, Span::millis(600_000)), example)
}

#[test]
fn a_manifest_tells_the_section_at_the_frame_of_the_splice() {
    let (mut breaks, mut example) = example();
    let before = manifest(&example.snapshot(), &Default::default());
    assert!(!before.contains("EventStream"));
    tell(&mut breaks, &mut example, vectors::S1_OUT, FIRST_K + 9, FIRST_K + 6);
    let text = manifest(&example.snapshot(), &Default::default());
    let at = example.grid.boundary(FIRST_K + 9) + 9_000;
    let offset = example.grid.boundary(FIRST_K);
    let stream = format!(
        "<EventStream schemeIdUri=\"urn:scte:scte35:2014:xml+bin\" timescale=\"90000\" \
         presentationTimeOffset=\"{offset}\"><Event id=\""
    );
    assert!(text.contains(&stream), "{text}");
    let event = format!(
        "\" presentationTime=\"{at}\" duration=\"2700000\">\
         <Signal xmlns=\"http://www.scte.org/schemas/35/2016\"><Binary>{}</Binary></Signal></Event>\
         </EventStream>",
        vectors::S1_OUT
    );
    assert!(text.contains(&event), "{text}");
    // What is told is another text, at another time.
    let time = |text: &str| dash_mpd_core::parse(text).unwrap().publishTime;
    assert!(time(&text) > time(&before));
    let again = manifest(&example.snapshot(), &Default::default());
    assert_eq!(again, text);
}

#[test]
fn the_end_of_a_break_has_an_id_of_its_own_and_is_in_the_period_it_is_in() {
    let (mut breaks, mut example) = example();
    tell(&mut breaks, &mut example, vectors::S1_OUT, FIRST_K + 8, FIRST_K + 6);
    example.push_all(FIRST_K + 6..FIRST_K + 10);
    example.run(FIRST_K + 10);
    example.push_all(FIRST_K + 10..FIRST_K + 12);
    tell(&mut breaks, &mut example, vectors::S2_IN_NOW, FIRST_K + 13, FIRST_K + 12);
    example.push_all(FIRST_K + 12..FIRST_K + 16);
    breaks.advance(Made { until: example.grid.boundary(FIRST_K + 16), first_k: FIRST_K + 10 });
    example.timeline.tell_cues(breaks.cues().to_vec());
    let text = manifest(&example.snapshot(), &Default::default());
    assert_golden("breaks.mpd", &text);
    let mpd = dash_mpd_core::parse(&text).unwrap();
    let streams: Vec<_> = mpd.periods.iter().map(|period| &period.event_streams[..]).collect();
    let [[first], [second]] = streams[..] else { panic!("{streams:?}") };
    let offsets = [first, second].map(|stream| stream.presentationTimeOffset.unwrap() as i64);
    assert_eq!(offsets, [FIRST_K, FIRST_K + 10].map(|k| example.grid.boundary(k)));
    let time = |stream: &EventStream| stream.event[0].presentationTime.unwrap() as i64;
    assert_eq!(time(first), example.grid.boundary(FIRST_K + 8) + 9_000);
    assert_eq!(time(second), example.grid.boundary(FIRST_K + 13) + 9_000);
    assert_ne!(first.event[0].id, second.event[0].id);
}

#[test]
fn a_section_is_told_in_words_or_in_the_segments_where_that_is_asked_for() {
    let (mut breaks, mut example) = example();
    tell(&mut breaks, &mut example, vectors::S1_OUT, FIRST_K + 9, FIRST_K + 6);
    let told = |example: &mut Example, events| {
        manifest(&example.snapshot(), &crate::dash::Options { events, ..Default::default() })
    };
    let text = told(&mut example, Events::Xml);
    assert!(text.contains("<EventStream schemeIdUri=\"urn:scte:scte35:2013:xml\""), "{text}");
    assert!(
        text.contains(
            "duration=\"2700000\"><SpliceInfoSection \
             xmlns=\"http://www.scte.org/schemas/35/2016\" sapType=\"3\" protocolVersion=\"0\" \
             ptsAdjustment=\"0\" tier=\"4095\"><SpliceInsert spliceEventId=\"100\""
        ) && text.contains("</SpliceInfoSection></Event>"),
        "{text}"
    );
    assert!(!text.contains("Binary"), "{text}");
    let text = told(&mut example, Events::Inband);
    assert!(!text.contains("<EventStream") && !text.contains("<Event "), "{text}");
    let declared = "<InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\"/>";
    assert_eq!(text.matches(declared).count(), 1, "in the pictures' set: {text}");
    let before = text.split(declared).next().unwrap();
    assert!(before.ends_with(">") && before.rfind("contentType=\"video\"").is_some(), "{text}");
}
