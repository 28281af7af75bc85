//! Each row passes the packager's own manifests and finds the fault planted in them.

use super::*;
use crate::rules::proof::{assert_clean, assert_finds, mutated};

const LIVE: &str = include_str!("../../../../packager/tests/golden/live.mpd");
const TWO_RUNS: &str = include_str!("../../../../packager/tests/golden/two-runs.mpd");
const BREAKS: &str = include_str!("../../../../packager/tests/golden/breaks.mpd");
const ENDED: &str = include_str!("../../../../packager/tests/golden/ended.mpd");

const UNEVEN: &str = include_str!("../../../../packager/tests/golden/uneven.mpd");
const UNEVEN_LATER: &str = include_str!("../../../../packager/tests/golden/uneven-later.mpd");

const FIRST_K: u64 = 1_122_270_751;
const SEGMENT: i64 = 144_000;

/// A manifest with one change breaks the row.
#[track_caller]
fn breaks(row: &str, good: &str, from: &str, to: &str) {
    assert_clean(row, &check(good));
    assert_finds(row, &check(&mutated(good, from, to)));
}

/// The manifest with one change does not follow on the good one, even when it is published later.
#[track_caller]
fn sequence_breaks(row: &str, good: &str, from: &str, to: &str) {
    assert_clean(row, &check_sequence(good, &later(good)));
    assert_finds(row, &check_sequence(good, &later(&mutated(good, from, to))));
}

/// The same manifest, published a century later.
fn later(text: &str) -> String {
    mutated(text, "publishTime=\"20", "publishTime=\"21")
}

/// The manifest without the whole element of that name at its first place.
fn without(text: &str, name: &str) -> String {
    let start = text.find(&format!("<{name} ")).unwrap();
    let (end, length) = match text[start..].find(&format!("</{name}>")) {
        Some(end) => (start + end, name.len() + 3),
        None => (start + text[start..].find("/>").unwrap(), 2),
    };
    format!("{}{}", &text[..start], &text[end + length..])
}

#[test]
fn the_packagers_manifests_break_no_rule() {
    for text in [LIVE, TWO_RUNS, ENDED, UNEVEN, UNEVEN_LATER, BREAKS] {
        assert_eq!(check(text), []);
        assert_eq!(check_sequence(text, text), []);
    }
    assert_eq!(check_sequence(UNEVEN, UNEVEN_LATER), []);
    assert_clean("DM-02", &check_sequence(LIVE, &later(TWO_RUNS)));
}

#[test]
fn dm_01_a_live_manifest_says_what_it_is_and_when_it_changed() {
    breaks("DM-01", LIVE, "type=\"dynamic\"", "type=\"static\"");
    breaks("DM-01", LIVE, "availabilityStartTime", "x");
    breaks("DM-01", LIVE, "publishTime", "x");
    breaks("DM-01", LIVE, "minBufferTime", "x");
    breaks("DM-01", LIVE, "isoff-live", "isoff-main");
    assert_clean("DM-01", &check_sequence(LIVE, LIVE));
    let changed = mutated(LIVE, "maxWidth=\"1280\"", "maxWidth=\"1281\"");
    assert_finds("DM-01", &check_sequence(LIVE, &changed));
    assert_clean("DM-01", &check_sequence(LIVE, &later(&changed)));
    assert_finds("DM-01", &check_sequence(&later(LIVE), LIVE));
}

#[test]
fn dm_02_what_has_an_id_keeps_it_and_its_place() {
    breaks("DM-02", LIVE, "<Period id=\"1a200000001\"", "<Period");
    breaks("DM-02", LIVE, "<AdaptationSet id=\"1\"", "<AdaptationSet");
    breaks("DM-02", LIVE, "<Representation id=\"480p\"", "<Representation");
    breaks("DM-02", LIVE, " start=\"PT498787H0M1.6S\"", "");
    for (from, to) in [
        (
            "availabilityStartTime=\"1970-01-01T00:00:00.150Z\"",
            "availabilityStartTime=\"1970-01-01T00:00:00.151Z\"",
        ),
        ("timeShiftBufferDepth=\"PT10M\"", "timeShiftBufferDepth=\"PT9M\""),
        ("start=\"PT498787H0M1.6S\"", "start=\"PT498787H0M1.7S\""),
        ("<AdaptationSet id=\"1\"", "<AdaptationSet id=\"3\""),
        ("<Representation id=\"480p\"", "<Representation id=\"540p\""),
        ("startNumber=\"1122270751\"", "startNumber=\"1122270752\""),
        (
            "presentationTimeOffset=\"161606988144000\"",
            "presentationTimeOffset=\"161606988144001\"",
        ),
    ] {
        sequence_breaks("DM-02", LIVE, from, to);
    }
    sequence_breaks("DM-02", ENDED, "duration=\"PT4.8S\"", "duration=\"PT6.4S\"");
    assert_finds("DM-02", &check_sequence(LIVE, &later(&without(LIVE, "Representation"))));
}

#[test]
fn dm_03_there_is_a_clock_that_players_can_read() {
    // The manifest's own stands behind the Periods.
    let clock =
        "</Period>\n<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/";
    for (from, to) in
        [("http-xsdate", "sntp"), ("value=\"/", "value=\"\" x=\""), ("UTCTiming", "x")]
    {
        breaks("DM-03", LIVE, clock, &clock.replace(from, to));
    }
}

#[test]
fn dm_05_the_newest_segment_is_as_old_as_the_clock_says() {
    let (second, delay) = (1_000_000_000, 150_000_000);
    let end = 1_795_633_203_200_000_000;
    assert_eq!(check_clock(LIVE, end + delay, end, delay), []);
    assert_eq!(check_clock(LIVE, end + delay + 17 * second / 10, end, delay), []);
    assert_finds("DM-05", &check_clock(LIVE, end + delay + 18 * second / 10, end, delay));
    assert_finds("DM-05", &check_clock(LIVE, end, end, delay));
    let off = mutated(LIVE, "1970-01-01T00:00:00.150Z", "1970-01-01T07:18:00.150Z");
    assert_finds("DM-05", &check_clock(&off, end + delay, end, delay));
}

#[test]
fn dm_06_an_open_manifest_says_when_to_look_again_and_covers_the_time_till_then() {
    breaks("DM-06", LIVE, " minimumUpdatePeriod=\"PT2S\"", "");
    breaks("DM-06", LIVE, "minimumUpdatePeriod=\"PT2S\"", "minimumUpdatePeriod=\"2\"");
    breaks("DM-06", LIVE, "startNumber=", "endNumber=\"1122270752\" startNumber=");
}

#[test]
fn dm_08_segments_are_addressed_in_one_way_and_whole() {
    breaks("DM-08", LIVE, "$Number$", "$Nummer$");
    breaks("DM-08", LIVE, " timescale=\"90000\"", "");
    breaks("DM-08", LIVE, " duration=\"144000\"", "");
    breaks("DM-08", LIVE, " startNumber=\"1122270751\"", "");
    breaks("DM-08", LIVE, "startNumber=", "eptDelta=\"1\" startNumber=");
    let bare = " availabilityTimeOffset=\"2.133\" availabilityTimeComplete=\"false\"/>";
    let timeline = "><SegmentTimeline><S d=\"1\" n=\"2\"/></SegmentTimeline></SegmentTemplate>";
    breaks("DM-08", LIVE, bare, timeline);
    let only = mutated(&mutated(LIVE, " duration=\"144000\"", ""), bare, timeline);
    assert_finds("DM-08", &check(&only));
    assert_clean("DM-08", &check(&mutated(&only, " n=\"2\"", "")));
    assert_finds("DM-08", &check(&without(LIVE, "SegmentTemplate")));
    breaks("DM-08", UNEVEN, "t=\"161606988216000\"", "t=\"161606988216001\"");
    breaks("DM-08", UNEVEN, "d=\"86016\"", "d=\"86017\"");
    breaks("DM-08", UNEVEN, "d=\"126000\"", "d=\"0\"");
}

/// The manifest without the first segment of its pictures, `seconds` after it was published.
fn first_left(seconds: i64) -> String {
    let first = "<S t=\"161606988108000\" d=\"108000\"/>\n";
    let fewer = mutated(UNEVEN, first, "");
    let fewer = mutated(&fewer, "startNumber=\"897816600\"", "startNumber=\"897816601\"");
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let later = format!("publishTime=\"2026-11-25T19:{minutes:02}:{seconds:02}.600Z\"");
    mutated(&fewer, "publishTime=\"2026-11-25T19:00:08.600Z\"", &later)
}

#[test]
fn dm_07_a_segment_leaves_when_nobody_acts_on_its_name_any_more() {
    // It ended at 2.4 s; the window is ten minutes, the update period a second, and zero is 150 ms late.
    assert_clean("DM-07", &check_sequence(UNEVEN, &first_left(603)));
    assert_finds("DM-07", &check_sequence(UNEVEN, &first_left(602)));
    assert_finds("DM-07", &check_sequence(UNEVEN, &first_left(9)));
    let gone = mutated(UNEVEN, "Period id=\"1a200000001\"", "Period id=\"1a200000002\"");
    assert_finds("DM-07", &check_sequence(UNEVEN, &later_by_a_second(&gone)));
    // An `S` that stands for two segments stays until the second may leave.
    let two = ("d=\"162000\"/>", "d=\"81000\" r=\"1\"/>");
    let repeated = mutated(UNEVEN, two.0, two.1);
    let early = mutated(&first_left(604), "<S t=\"161606988216000\" d=\"162000\"/>\n", "");
    assert_clean("DM-07", &check_sequence(&repeated, &mutated(&first_left(604), two.0, two.1)));
    assert_finds("DM-07", &check_sequence(&repeated, &early));
}

fn later_by_a_second(text: &str) -> String {
    mutated(text, "T19:00:08.600Z", "T19:00:09.600Z")
}

#[test]
fn dm_09_what_is_named_stays_and_new_segments_come_last() {
    assert_clean("DM-09", &check_sequence(UNEVEN, UNEVEN_LATER));
    assert_clean("DM-09", &check_sequence(UNEVEN, &first_left(604)));
    for (from, to) in [
        ("t=\"161606988378000\" d=\"126000\"", "t=\"161606988378000\" d=\"126001\""),
        ("t=\"161606988378000\" d=\"126000\"", "t=\"161606988378001\" d=\"126000\""),
        // The numbers, and so the addresses, of all that follow.
        ("startNumber=\"897816600\"", "startNumber=\"897816601\""),
        (
            "<S t=\"161606988108000\"",
            "<S t=\"161606988100000\" d=\"8000\"/><S t=\"161606988108000\"",
        ),
    ] {
        let bad = mutated(UNEVEN_LATER, from, to);
        assert_finds("DM-09", &check_sequence(UNEVEN, &bad));
    }
    // Another Period is the last one now: the one before it gains nothing any more.
    let start = UNEVEN.find("<Period").unwrap();
    let end = UNEVEN.find("</Period>").unwrap() + "</Period>".len();
    let next = mutated(&UNEVEN[start..end], "1a200000001", "1a200000002");
    let followed = |text: &str| mutated(text, "</Period>", &format!("</Period>{next}"));
    assert_clean("DM-09", &check_sequence(UNEVEN, &followed(UNEVEN_LATER)));
    assert_finds("DM-09", &check_sequence(&followed(UNEVEN), &followed(UNEVEN_LATER)));
}

#[test]
fn dm_10_lengths_have_no_months_and_numbers_fit_a_double() {
    breaks("DM-10", LIVE, "minBufferTime=\"PT1.6S\"", "minBufferTime=\"P1M\"");
    breaks("DM-10", LIVE, "start=\"PT498787H0M1.6S\"", "start=\"P56Y\"");
    breaks("DM-10", LIVE, "=\"161606988144000\"", "=\"9007199254740992\"");
    breaks("DM-10", ENDED, "duration=\"PT4.8S\"", "duration=\"P1Y\"");
}

#[test]
fn dm_11_the_window_is_longer_than_the_delay() {
    breaks("DM-11", LIVE, "timeShiftBufferDepth=\"PT10M\"", "timeShiftBufferDepth=\"PT4.8S\"");
    breaks("DM-11", LIVE, " timeShiftBufferDepth=\"PT10M\"", "");
}

/// Number, start and end of the first segments of the live manifest's pictures.
fn segments() -> Vec<(u64, i64, i64)> {
    (0..4)
        .map(|n| {
            let start = (FIRST_K.cast_signed() + n) * SEGMENT;
            (FIRST_K + n.unsigned_abs(), start, start + SEGMENT)
        })
        .collect()
}

#[test]
fn dm_12_segments_lie_within_half_a_length_of_their_number() {
    assert_eq!(check_media(LIVE, "720p", &segments(), 90_000), []);
    let mut displaced = segments();
    (displaced[1].2, displaced[2].1) = (displaced[1].2 - 60_000, displaced[2].1 - 60_000);
    assert_clean("DM-12", &check_media(LIVE, "720p", &displaced, 90_000));
    let mut far = segments();
    (far[1].2, far[2].1) = (far[1].2 - 75_000, far[2].1 - 75_000);
    assert_finds("DM-12", &check_media(LIVE, "720p", &far, 90_000));
    // Errors that add up: every segment a little too long.
    let creeping = mutated(LIVE, "duration=\"144000\"", "duration=\"110000\"");
    assert_finds("DM-12", &check_media(&creeping, "720p", &segments(), 90_000));
    assert_finds("DM-12", &check_media(LIVE, "1080p", &segments(), 90_000));
}

#[test]
fn dm_13_all_representations_of_a_set_are_aligned() {
    breaks("DM-13", LIVE, " segmentAlignment=\"true\"", "");
    breaks("DM-13", LIVE, "startWithSAP=\"1\"", "startWithSAP=\"3\"");
    let closed = "codecs=\"avc1.64001f\"/>";
    let own =
        "codecs=\"avc1.64001f\"><SegmentTemplate availabilityTimeOffset=\"1\"/></Representation>";
    breaks("DM-13", LIVE, closed, own);
}

#[test]
fn dm_14_a_period_starts_exactly_at_its_media() {
    breaks("DM-14", LIVE, "start=\"PT498787H0M1.6S\"", "start=\"PT498787H0M1.59S\"");
    breaks("DM-14", LIVE, "\"161606988144000\"", "\"161606988144003\"");
    breaks("DM-14", TWO_RUNS, "duration=\"PT6.4S\"", "duration=\"PT0S\"");
    breaks("DM-14", TWO_RUNS, "duration=\"PT6.4S\"", "duration=\"PT10S\"");
    assert_clean("DM-14", &check_media(LIVE, "720p", &segments(), 90_000));
    let mut late = segments();
    late[0].1 += 2;
    assert_finds("DM-14", &check_media(LIVE, "720p", &late, 90_000));
}

#[test]
fn dm_15_a_set_is_continuous_or_connected_but_not_both() {
    let property = |kind: &str| {
        format!("<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:{kind}:2015\" value=\"a\"/>")
    };
    let (one, two) = (property("period-connectivity"), property("period-continuity"));
    let connected = mutated(TWO_RUNS, "<Role", &format!("{one}<Role"));
    breaks("DM-15", &connected, &one, &format!("{one}{two}"));
}

#[test]
fn dm_16_periods_leave_at_the_front_and_come_at_the_back() {
    let old_left = later(&without(TWO_RUNS, "Period"));
    assert_clean("DM-16", &check_sequence(TWO_RUNS, &old_left));
    assert_clean("DM-16", &check_sequence(LIVE, &later(TWO_RUNS)));
    assert_finds("DM-16", &check_sequence(&old_left, TWO_RUNS));
    assert_finds("DM-16", &check_sequence(TWO_RUNS, &later(LIVE)));
}

#[test]
fn dm_17_missing_segments_are_not_announced_by_tricks() {
    // In low latency the trick is none.
    breaks("DM-17", LIVE, " availabilityTimeOffset=\"2.133\"", "");
    let bare = "availabilityTimeComplete=\"false\"/>";
    let failover = "availabilityTimeComplete=\"false\"><FailoverContent/></SegmentTemplate>";
    breaks("DM-17", LIVE, bare, failover);
}

#[test]
fn dm_18_the_end_is_a_length_and_a_last_number() {
    breaks("DM-18", ENDED, " duration=\"PT4.8S\"", "");
    breaks("DM-18", ENDED, " endNumber=\"1122270757\"", "");
    breaks("DM-18", ENDED, "minBufferTime", "mediaPresentationDuration=\"PT1H\" minBufferTime");
    let again =
        later(&mutated(ENDED, "minBufferTime", "minimumUpdatePeriod=\"PT2S\" minBufferTime"));
    assert_finds("DM-18", &check_sequence(ENDED, &again));
}

#[test]
fn dm_20_a_manifest_is_valid_and_no_id_is_there_twice() {
    breaks("DM-20", LIVE, "</MPD>", "");
    breaks("DM-20", LIVE, "<Representation id=\"480p\"", "<Representation id=\"720p\"");
    breaks("DM-20", LIVE, "<AdaptationSet id=\"2\"", "<AdaptationSet id=\"1\"");
    breaks("DM-20", TWO_RUNS, "<Period id=\"1a200000002\"", "<Period id=\"1a200000001\"");
    let Some(schema) = Schema::find() else {
        println!("skipped: no schema");
        return;
    };
    for text in [LIVE, TWO_RUNS, ENDED, UNEVEN] {
        assert_eq!(check_schema(&schema, text).unwrap(), []);
    }
    let bad = mutated(LIVE, "startWithSAP=\"1\"", "startWithSAP=\"9\"");
    assert_finds("DM-20", &check_schema(&schema, &bad).unwrap());
}

#[test]
fn dl_01_the_service_says_what_latency_and_rates_it_is_meant_for() {
    assert_finds("DL-01", &check(&without(LIVE, "ServiceDescription")));
    breaks("DL-01", LIVE, "<PlaybackRate", "<x");
    for (from, to) in [
        (" target=\"950\"", ""),
        ("target=\"950\"", "target=\"0\""),
        ("target=\"950\"", "target=\"5000\""),
        ("target=\"950\"", "target=\"600\""),
        ("PlaybackRate min=\"0.95\"", "PlaybackRate min=\"1.01\""),
        (" max=\"1.1\"", ""),
    ] {
        breaks("DL-01", LIVE, from, to);
    }
}

#[test]
fn dl_02_segments_are_announced_early_and_incomplete_by_their_set() {
    breaks("DL-02", LIVE, " availabilityTimeOffset=\"2.133\"", "");
    breaks("DL-02", LIVE, " availabilityTimeComplete=\"false\"", "");
    let closed = "codecs=\"avc1.64001f\"/>";
    let own = "codecs=\"avc1.64001f\"><SegmentTemplate availabilityTimeOffset=\"1\" \
               availabilityTimeComplete=\"false\"/></Representation>";
    breaks("DL-02", LIVE, closed, own);
}

#[test]
fn dl_03_segments_are_announced_when_their_first_chunk_can_be_there() {
    for early in ["1.6", "1.0", "x"] {
        let to = format!("availabilityTimeOffset=\"{early}\"");
        breaks("DL-03", LIVE, "availabilityTimeOffset=\"2.133\"", &to);
    }
    breaks("DL-03", LIVE, "<Resync", "<x");
}

#[test]
fn dl_06_the_producers_clock_is_told_and_latency_counts_from_it() {
    assert_finds("DL-06", &check(&without(LIVE, "ProducerReferenceTime")));
    for (from, to) in [
        ("<ProducerReferenceTime id=\"1\"", "<ProducerReferenceTime id=\"a\""),
        ("inband=\"true\"", "inband=\"false\""),
        ("type=\"encoder\"", "type=\"application\""),
        (" wallClockTime=\"1970-01-01T00:00:00Z\"", ""),
        (" presentationTime=\"0\"", ""),
        ("value=\"/time\"", "value=\"/other\""),
        ("referenceId=\"1\"", "referenceId=\"7\""),
    ] {
        breaks("DL-06", LIVE, from, to);
    }
}

#[test]
fn dl_13_a_list_of_whole_segments_announces_none_early() {
    let open = "availabilityTimeComplete=\"false\"/>";
    let listed = "availabilityTimeComplete=\"false\"><SegmentTimeline><S d=\"1\"/></SegmentTimeline></SegmentTemplate>";
    breaks("DL-13", LIVE, open, listed);
}

#[test]
fn de_01_events_carry_sections_under_a_scheme_that_is_known() {
    breaks("DE-01", BREAKS, "urn:scte:scte35:2014:xml+bin", "urn:scte:scte35:2014:xml-bin");
    breaks("DE-01", BREAKS, "<Binary>/DA", "<Binary>/");
}

#[test]
fn de_02_every_event_has_a_time_that_counts_as_the_segments_do() {
    breaks("DE-02", BREAKS, "xml+bin\" timescale=\"90000\"", "xml+bin\"");
    breaks(
        "DE-02",
        BREAKS,
        "timescale=\"90000\" presentationTimeOffset=\"16",
        "timescale=\"90000\" presentationTimeOffset=\"15",
    );
    breaks("DE-02", BREAKS, " presentationTime=\"", " presentationTime=\"-");
}

#[test]
fn de_03_events_are_what_dvb_allows() {
    breaks("DE-03", BREAKS, "<EventStream ", "<EventStream value=\"1\" ");
    breaks("DE-03", BREAKS, "duration=\"2700000\"", "duration=\"4294967295\"");
    breaks("DE-03", BREAKS, "<Event ", "<Event messageData=\"x\" ");
}

#[test]
fn de_04_an_event_has_an_id_of_its_own_for_good() {
    let id = BREAKS.split("<Event id=\"").nth(1).unwrap().split('"').next().unwrap();
    let other = BREAKS.split("<Event id=\"").nth(2).unwrap().split('"').next().unwrap();
    breaks("DE-04", BREAKS, &format!("<Event id=\"{other}"), &format!("<Event id=\"{id}"));
    sequence_breaks(
        "DE-04",
        BREAKS,
        &format!("<Event id=\"{id}\" presentationTime=\"1"),
        &format!("<Event id=\"{id}\" presentationTime=\"2"),
    );
}

#[test]
fn de_09_an_event_is_in_the_period_it_happens_in() {
    let streams: Vec<_> = BREAKS.match_indices("<EventStream ").map(|(at, _)| at).collect();
    let element = |at: usize| {
        let end = BREAKS[at..].find("</EventStream>").unwrap() + "</EventStream>".len();
        &BREAKS[at..at + end]
    };
    let event = |stream: &str| {
        let start = stream.find("<Event ").unwrap();
        stream[start..stream.rfind("</EventStream>").unwrap()].to_owned()
    };
    let late = event(element(streams[1]));
    let first = element(streams[0]);
    breaks(
        "DE-09",
        BREAKS,
        first,
        &first.replace(
            "</EventStream>",
            &format!("{}</EventStream>", late.replace("id=\"", "id=\"1")),
        ),
    );
}
