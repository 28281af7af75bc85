//! Rows of media playlists.

use super::*;

#[test]
fn hp_01_no_segment_is_longer_than_the_target() {
    media_breaks("HP-01", LIVE, "#EXT-X-TARGETDURATION:2\n", "");
    media_breaks("HP-01", LIVE, "#EXTINF:1.60000", "#EXTINF:2.50000");
    media_breaks("HP-01", LIVE, "#EXTINF:1.60000", "#EXTINF:x");
    media_breaks("HP-01", LIVE, "#EXTM3U", "#EXTM3U8");
    assert_clean("HP-01", &check_media(&mutated(LIVE, "#EXTINF:1.60000", "#EXTINF:2.49999")));
}

#[test]
fn hp_02_the_target_never_changes() {
    sequence_breaks("HP-02", LIVE, "#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3");
}

/// A playlist without its last whole segment and all that follows it.
fn without_the_last(text: &str) -> &str {
    let whole = text.rfind("#EXTINF").unwrap();
    text[..whole].rsplit_once("#EXT-X-PROGRAM").unwrap().0
}

#[test]
fn hp_03_the_media_sequence_never_goes_back() {
    sequence_breaks("HP-03", LIVE, "#EXT-X-MEDIA-SEQUENCE:1122270751", "#EXT-X-MEDIA-SEQUENCE:1");
    let shorter = without_the_last(LIVE);
    assert_finds("HP-03", &check_sequence(LIVE, shorter));
    assert_clean("HP-03", &check_sequence(shorter, LIVE));
}

#[test]
fn hp_04_what_is_published_stays() {
    sequence_breaks("HP-04", LIVE, "720p/1122270753.m4s", "720p/1122270753-2.m4s");
    sequence_breaks("HP-04", LIVE, "#EXTINF:1.60000", "#EXTINF:1.60001");
    sequence_breaks("HP-04", LIVE, "19:00:03.200Z", "19:00:03.201Z");
    let second = "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:03.200Z";
    let inserted = format!("#EXTINF:1.60000,\n../1a200000001/720p/new.m4s\n{second}");
    sequence_breaks("HP-04", LIVE, second, &inserted);
}

#[test]
fn hp_05_six_segments_and_three_targets_stay_in_the_list() {
    assert_clean("HP-05", &check_sequence(TWO_RUNS, &slid(TWO_RUNS, 2)));
    assert_finds("HP-05", &check_sequence(TWO_RUNS, &slid(TWO_RUNS, 3)));
}

#[test]
fn hp_07_a_segment_follows_within_one_and_a_half_targets() {
    let shorter = without_the_last(LIVE);
    let second = |at: u64, text| Arrival { at: at * 1_000_000_000, text };
    let good = [second(0, shorter), second(1, shorter), second(3, LIVE), second(6, LIVE)];
    assert_eq!(check_pace(&good, 0), []);
    let late = [second(0, shorter), second(1, shorter), second(4, LIVE)];
    assert_finds("HP-07", &check_pace(&late, 0));
    let stuck = [second(0, LIVE), second(2, LIVE), second(5, LIVE)];
    assert_finds("HP-07", &check_pace(&stuck, 0));
    assert_eq!(check_pace(&[second(0, ENDED), second(99, ENDED)], 0), []);
}

#[test]
fn hp_08_a_live_playlist_has_dates() {
    media_breaks("HP-08", LIVE, "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T19:00:01.600Z\n", "");
    media_breaks("HP-08", LIVE, "2026-11-25T19:00:03.200Z", "yesterday");
    assert_clean("HP-08", &check_media(LONG));
}

#[test]
fn hp_09_dates_follow_from_durations_and_agree_between_renditions() {
    media_breaks("HP-09", LIVE, "19:00:04.800Z", "19:00:04.900Z");
    media_breaks("HP-09", LONG, "19:00:24.000Z", "19:00:24.100Z");
    assert_clean("HP-09", &check_renditions(&[LIVE, LIVE]));
    let shifted = mutated(LIVE, "19:00:04.800Z", "19:00:04.900Z");
    assert_finds("HP-09", &check_renditions(&[LIVE, &shifted]));
}

#[test]
fn hp_10_durations_are_exact() {
    media_breaks("HP-10", LIVE, "#EXTINF:1.60000", "#EXTINF:1.6");
    let start = 1_122_270_751i64 * 144_000;
    let starts: BTreeMap<u64, i64> =
        (0..6u64).map(|n| (1_122_270_751 + n, start + 144_000 * n.cast_signed())).collect();
    assert_eq!(check_times(LIVE, &starts, 90_000), []);
    let off = mutated(LIVE, "#EXTINF:1.60000", "#EXTINF:1.60003");
    assert_finds("HP-10", &check_times(&off, &starts, 90_000));
    let dated = mutated(LIVE, "19:00:03.200Z", "19:00:03.20003Z");
    assert_finds("HP-10", &check_times(&dated, &starts, 90_000));
}

#[test]
fn hp_11_all_renditions_cover_the_same_time() {
    assert_clean("HP-11", &check_renditions(&[LIVE, LIVE, LIVE]));
    for (from, to) in [
        ("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3"),
        ("#EXT-X-MEDIA-SEQUENCE:1122270751", "#EXT-X-MEDIA-SEQUENCE:1122270752"),
        ("#EXTINF:1.60000", "#EXTINF:1.66000"),
    ] {
        assert_finds("HP-11", &check_renditions(&[LIVE, LIVE, &mutated(LIVE, from, to)]));
    }
}

#[test]
fn hp_12_all_renditions_have_their_discontinuities_together() {
    assert_clean("HP-12", &check_renditions(&[TWO_RUNS, TWO_RUNS]));
    let none = mutated(TWO_RUNS, "#EXT-X-DISCONTINUITY\n", "");
    assert_finds("HP-12", &check_renditions(&[TWO_RUNS, &none]));
    let other = mutated(TWO_RUNS, "DISCONTINUITY-SEQUENCE:7891", "DISCONTINUITY-SEQUENCE:1");
    assert_finds("HP-12", &check_renditions(&[TWO_RUNS, &other]));
}

#[test]
fn hp_13_the_discontinuity_sequence_counts_the_tags_that_left() {
    let line = "#EXT-X-DISCONTINUITY-SEQUENCE:7891\n";
    media_breaks("HP-13", LIVE, line, "");
    let uri = "../1a200000001/720p/1122270751.m4s\n";
    let behind = mutated(&mutated(LIVE, line, ""), uri, &format!("{uri}{line}"));
    assert_finds("HP-13", &check_media(&behind));
    for left in 1..7 {
        let after = slid(TWO_RUNS, left);
        assert_clean("HP-13", &check_sequence(TWO_RUNS, &after));
        let (wrong, right) = (7_891 + u64::from(left < 4), 7_891 + u64::from(left >= 4));
        let bad = mutated(
            &after,
            &format!("SEQUENCE:{right}\n#EXT-X-MAP"),
            &format!("SEQUENCE:{wrong}\n#EXT-X-MAP"),
        );
        assert_finds("HP-13", &check_sequence(TWO_RUNS, &bad));
    }
}

#[test]
fn hp_14_another_init_segment_comes_with_a_discontinuity() {
    media_breaks("HP-14", TWO_RUNS, "#EXT-X-DISCONTINUITY\n", "");
}

#[test]
fn hp_15_every_segment_has_the_init_segment_of_its_run() {
    media_breaks("HP-15", LIVE, "#EXT-X-MAP:", "#EXT-X-NO-MAP:");
    let map = "#EXT-X-MAP:URI=\"../1a200000002/720p/init.mp4\"\n";
    media_breaks("HP-15", TWO_RUNS, map, "");
    media_breaks("HP-15", LIVE, "1a200000001/720p/init.mp4", "720p/init.mp4");
}

#[test]
fn hp_16_the_version_is_as_high_as_the_tags_need() {
    media_breaks("HP-16", LIVE, "#EXT-X-VERSION:6", "#EXT-X-VERSION:5");
    media_breaks("HP-16", LIVE, "#EXT-X-VERSION:6\n", "");
    media_breaks("HP-16", LIVE, "#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-MAP");
}

#[test]
fn hp_17_a_gap_has_an_address_and_a_duration_and_stays_a_gap() {
    media_breaks("HP-17", TWO_RUNS, "#EXTINF:1.60000,\n#EXT-X-GAP", "#EXTINF:0.00000,\n#EXT-X-GAP");
    let addressless = mutated(TWO_RUNS, "#EXT-X-GAP", "#EXT-X-GAP\n#EXT-X-GAP");
    assert_finds("HP-17", &check_media(&addressless));
    sequence_breaks("HP-17", TWO_RUNS, "#EXT-X-GAP\n", "");
}

#[test]
fn hp_18_the_end_comes_last_and_once_and_is_the_end() {
    media_breaks("HP-18", ENDED, "#EXT-X-ENDLIST", "#EXT-X-ENDLIST\n#EXT-X-ENDLIST");
    media_breaks("HP-18", LIVE, "#EXT-X-MAP", "#EXT-X-ENDLIST\n#EXT-X-MAP");
    sequence_breaks("HP-18", ENDED, "#EXT-X-ENDLIST\n", "");
    let more = "#EXTINF:1.60000,\n../1a200000002/audio/1122270758.m4s\n#EXT-X-ENDLIST";
    sequence_breaks("HP-18", ENDED, "#EXT-X-ENDLIST", more);
}

#[test]
fn hp_24_a_start_is_not_within_three_targets_of_the_end() {
    for offset in ["-5.9", "3.7"] {
        let start = format!("#EXT-X-START:TIME-OFFSET={offset}\n#EXT-X-MAP");
        media_breaks("HP-24", LIVE, "#EXT-X-MAP", &start);
    }
    let good = mutated(LIVE, "#EXT-X-MAP", "#EXT-X-START:TIME-OFFSET=-6.0\n#EXT-X-MAP");
    assert_clean("HP-24", &check_media(&good));
}

#[test]
fn hp_25_a_variable_is_defined_once() {
    let define = "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n";
    let once = mutated(LIVE, "#EXT-X-MAP", &format!("{define}#EXT-X-MAP"));
    media_breaks("HP-25", &once, define, &format!("{define}{define}"));
    media_breaks("HP-25", LIVE, "#EXT-X-MAP", "#EXT-X-DEFINE:VALUE=\"b\"\n#EXT-X-MAP");
}

#[test]
fn hp_20_key_frames_are_listed_as_their_segments_are() {
    media_breaks("HP-20", KEYS, "#EXT-X-BYTERANGE:9000@0\n", "");
    media_breaks("HP-20", KEYS, "#EXT-X-SERVER-CONTROL", "#EXT-X-SERVER");
    media_breaks("HP-20", KEYS, "#EXTINF", "#EXT-X-PART:DURATION=1.0,URI=\"a\"\n#EXTINF");
    assert_eq!(check_key_frames(KEYS, LOW, |_, _, _| Some(true)), []);
    for (from, to) in [
        ("TARGETDURATION:2", "TARGETDURATION:3"),
        ("19:00:04.800Z", "19:00:04.900Z"),
        ("#EXT-X-DISCONTINUITY\n", ""),
        ("#EXT-X-I-FRAMES-ONLY\n", ""),
        ("#EXTINF:1.60000,\n", "#EXTINF:1.60000,\n#EXT-X-GAP\n"),
    ] {
        let bad = mutated(KEYS, from, to);
        assert_finds("HP-20", &check_key_frames(&bad, LOW, |_, _, _| Some(true)));
    }
}

#[test]
fn hp_21_a_byte_range_is_one_key_frame_which_stands_until_the_next() {
    assert_clean("HP-21", &check_key_frames(KEYS, LOW, |_, length, _| Some(length == 9_000)));
    assert_finds("HP-21", &check_key_frames(KEYS, LOW, |_, length, _| Some(length == 9_001)));
    assert_finds("HP-21", &check_key_frames(KEYS, LOW, |_, _, _| None));
    let bad = mutated(KEYS, "#EXTINF:1.60000", "#EXTINF:1.50000");
    assert_finds("HP-21", &check_key_frames(&bad, LOW, |_, _, _| Some(true)));
}
