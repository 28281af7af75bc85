//! Each row passes the packager's own playlists and finds the fault planted in them.

use std::collections::BTreeMap;

use super::*;
use crate::rules::proof::{assert_clean, assert_finds, mutated};

const MULTIVARIANT: &str = include_str!("../../../../packager/tests/golden/multivariant.m3u8");
const LIVE: &str = include_str!("../../../../packager/tests/golden/live-720p.m3u8");
const TWO_RUNS: &str = include_str!("../../../../packager/tests/golden/two-runs-720p.m3u8");
const ENDED: &str = include_str!("../../../../packager/tests/golden/ended-audio.m3u8");
const LONG: &str = include_str!("../../../../packager/tests/golden/long-window-480p.m3u8");
const NTSC: &str = include_str!("../../../../packager/tests/golden/ntsc-audio.m3u8");
const LOW: &str = include_str!("../../../../packager/tests/golden/low-latency-720p.m3u8");
const LOW_AUDIO: &str = include_str!("../../../../packager/tests/golden/low-latency-audio.m3u8");
const BEFORE: &str = include_str!("../../../../packager/tests/golden/before-update-720p.m3u8");
const UPDATE: &str = include_str!("../../../../packager/tests/golden/update-720p.m3u8");
const UPDATE_V2: &str = include_str!("../../../../packager/tests/golden/update-v2-720p.m3u8");
const BREAKS: &str = include_str!("../../../../packager/tests/golden/breaks-720p.m3u8");
const KEYS: &str = include_str!("../../../../packager/tests/golden/key-frames-720p.m3u8");

/// The multivariant playlist with one change breaks the row.
#[track_caller]
fn multivariant_breaks(row: &str, from: &str, to: &str) {
    assert_clean(row, &check_multivariant(MULTIVARIANT));
    assert_finds(row, &check_multivariant(&mutated(MULTIVARIANT, from, to)));
}

/// A media playlist with one change breaks the row.
#[track_caller]
fn media_breaks(row: &str, good: &str, from: &str, to: &str) {
    assert_clean(row, &check_media(good));
    assert_finds(row, &check_media(&mutated(good, from, to)));
}

/// The playlist with `from` changed does not follow on the good one.
#[track_caller]
fn sequence_breaks(row: &str, good: &str, from: &str, to: &str) {
    assert_clean(row, &check_sequence(good, good));
    assert_finds(row, &check_sequence(good, &mutated(good, from, to)));
}

/// The playlist after its first `count` segments left.
fn slid(text: &str, count: u64) -> String {
    let media = Media::parse(text);
    let first = &media.segments[usize::try_from(count).unwrap()];
    let map = format!("#EXT-X-MAP:URI=\"{}\"", first.map.unwrap());
    let left = media.segments.iter().filter(|s| s.discontinuity && s.k <= first.k).count() as u64;
    let sequence = media.number("EXT-X-DISCONTINUITY-SEQUENCE").unwrap() + left;
    let before_segments = |line: &&str| !line.starts_with("#EXT-X-MAP");
    let mut head: Vec<String> =
        text.lines().take_while(before_segments).map(str::to_owned).collect();
    for line in &mut head {
        if line.starts_with("#EXT-X-MEDIA-SEQUENCE") {
            *line = format!("#EXT-X-MEDIA-SEQUENCE:{}", first.k);
        } else if line.starts_with("#EXT-X-DISCONTINUITY-SEQUENCE") {
            *line = format!("#EXT-X-DISCONTINUITY-SEQUENCE:{sequence}");
        }
    }
    head.push(map);
    let before = media.segments[usize::try_from(count - 1).unwrap()].uri;
    let rest = text.split_once(&format!("{before}\n")).unwrap().1;
    let rest = rest.lines().skip_while(|line| {
        line.starts_with("#EXT-X-MAP") || line.starts_with("#EXT-X-DISCONTINUITY")
    });
    head.into_iter().chain(rest.map(str::to_owned)).map(|line| line + "\n").collect()
}

#[test]
fn the_packagers_playlists_break_no_rule() {
    assert_eq!(check_multivariant(MULTIVARIANT), []);
    let low = [LOW, LOW_AUDIO, BEFORE, UPDATE, UPDATE_V2, KEYS];
    for text in [LIVE, TWO_RUNS, ENDED, LONG, NTSC, BREAKS].into_iter().chain(low) {
        assert_eq!(check_media(text), [], "{text}");
        assert_eq!(check_sequence(text, text), []);
    }
}

#[test]
fn hm_01_a_multivariant_playlist_has_no_tags_of_media_playlists() {
    multivariant_breaks("HM-01", "#EXTM3U", "#EXTM3U8");
    multivariant_breaks("HM-01", "#EXT-X-VERSION:6", "#EXT-X-VERSION:6\n#EXT-X-VERSION:7");
    multivariant_breaks("HM-01", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2");
}

#[test]
fn hm_02_every_variant_has_an_address() {
    multivariant_breaks("HM-02", "480p/index.m3u8\n", "");
    assert_finds("HM-02", &check_multivariant("#EXTM3U\n"));
}

#[test]
fn hm_03_every_variant_has_a_bandwidth_not_below_its_average() {
    multivariant_breaks("HM-03", "INF:BANDWIDTH=", "INF:X-BANDWIDTH=");
    multivariant_breaks("HM-03", "AVERAGE-BANDWIDTH=1", "AVERAGE-BANDWIDTH=9");
}

#[test]
fn hm_04_every_variant_has_codecs_resolution_frame_rate_and_average() {
    for name in ["AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"] {
        multivariant_breaks("HM-04", &format!(",{name}="), &format!(",X-{name}="));
    }
}

#[test]
fn hm_05_measured_rates_keep_the_promise() {
    let uri = "480p/index.m3u8";
    let segment = |bits_per_second: u64| (bits_per_second / 8 * 16 / 10, 1_600_000_000);
    let playlist = Multivariant::parse(MULTIVARIANT);
    let promised: u64 = playlist.variants[0].0["BANDWIDTH"].parse().unwrap();
    let average: u64 = playlist.variants[0].0["AVERAGE-BANDWIDTH"].parse().unwrap();
    let good = [segment(promised * 12 / 10), segment(average / 2)];
    assert_eq!(check_bandwidth(MULTIVARIANT, uri, &good), []);
    let peaky = [segment(promised * 13 / 10), segment(average / 2)];
    assert_finds("HM-05", &check_bandwidth(MULTIVARIANT, uri, &peaky));
    let fat = [segment(average * 12 / 10); 10];
    assert_finds("HM-05", &check_bandwidth(MULTIVARIANT, uri, &fat));
    assert_finds("HM-05", &check_bandwidth(MULTIVARIANT, "none", &good));
}

#[test]
fn hm_06_a_video_range_stands_everywhere_unless_all_is_sdr() {
    multivariant_breaks("HM-06", "FRAME-RATE=30", "FRAME-RATE=30,VIDEO-RANGE=PQ");
    multivariant_breaks("HM-06", "avc1.64001f", "hvc1.2.4.L93.B0");
}

#[test]
fn hm_07_codecs_cover_picture_and_sound() {
    multivariant_breaks("HM-07", "avc1.64001f,mp4a.40.2", "avc1.64001f");
    multivariant_breaks("HM-07", "avc1.64001f,mp4a.40.2", "mp4a.40.2");
    multivariant_breaks("HM-07", "avc1.64001f,", "h264,avc1.64001f,");
}

#[test]
fn hm_08_every_group_that_is_named_is_there() {
    multivariant_breaks("HM-08", "GROUP-ID=\"audio\"", "GROUP-ID=\"sound\"");
    multivariant_breaks("HM-08", ",AUDIO=\"audio\"", ",AUDIO=\"audio\",SUBTITLES=\"subs\"");
}

#[test]
fn hm_09_members_of_a_group_have_a_language_a_name_of_their_own_and_one_default() {
    multivariant_breaks("HM-09", ",LANGUAGE=\"und\"", "");
    multivariant_breaks("HM-09", ",AUTOSELECT=YES", "");
    let line = MULTIVARIANT.lines().find(|line| line.starts_with("#EXT-X-MEDIA:")).unwrap();
    multivariant_breaks("HM-09", line, &format!("{line}\n{line}"));
    let other = line.replace("NAME=\"audio\"", "NAME=\"other\"");
    multivariant_breaks("HM-09", line, &format!("{line}\n{other}"));
}

#[test]
fn hm_10_captions_are_declared_or_denied_on_all_variants() {
    multivariant_breaks("HM-10", "FRAME-RATE=30", "FRAME-RATE=30,CLOSED-CAPTIONS=NONE");
    let captions = "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"cc\",LANGUAGE=\"en\"";
    let version = "#EXT-X-VERSION:6";
    multivariant_breaks("HM-10", version, &format!("{version}\n{captions}"));
    let whole = format!("{version}\n{captions},INSTREAM-ID=\"CC1\"");
    assert_clean("HM-10", &check_multivariant(&mutated(MULTIVARIANT, version, &whole)));
}

#[test]
fn hm_12_segments_are_independent() {
    multivariant_breaks("HM-12", "#EXT-X-INDEPENDENT-SEGMENTS\n", "");
}

#[test]
fn hm_13_a_score_stands_on_all_variants_or_none() {
    multivariant_breaks("HM-13", "FRAME-RATE=30", "FRAME-RATE=30,SCORE=1.0");
    let all = MULTIVARIANT.replace("FRAME-RATE=30", "FRAME-RATE=30,SCORE=1.0");
    assert_clean("HM-13", &check_multivariant(&all));
}

#[test]
fn hm_14_every_pathway_has_the_same_variants() {
    multivariant_breaks("HM-14", "FRAME-RATE=30", "FRAME-RATE=30,PATHWAY-ID=\"b\"");
    let steering = "#EXT-X-VERSION:6\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"/s\"";
    multivariant_breaks("HM-14", "#EXT-X-VERSION:6", steering);
}

#[test]
fn hm_16_the_first_variant_is_the_one_to_start_with() {
    multivariant_breaks("HM-16", "BANDWIDTH=1908336", "BANDWIDTH=9908336");
}

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
    media_breaks("HP-09", LONG, "19:00:16.000Z", "19:00:16.100Z");
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
fn hl_27_the_first_media_sequence_is_one_at_least() {
    media_breaks("HL-27", LIVE, "#EXT-X-MEDIA-SEQUENCE:1122270751", "#EXT-X-MEDIA-SEQUENCE:0");
}

#[test]
fn hd_08_a_playlist_with_date_ranges_has_dates() {
    let range = "#EXT-X-DATERANGE:ID=\"1\",START-DATE=\"2026-11-25T19:00:03.200Z\"\n#EXT-X-MAP";
    let ranged = mutated(LIVE, "#EXT-X-MAP", range);
    assert_clean("HD-08", &check_media(&ranged));
    let undated: String = ranged
        .lines()
        .filter(|line| !line.starts_with("#EXT-X-PROGRAM"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_finds("HD-08", &check_media(&undated));
}

#[test]
fn hm_11_every_rung_has_a_list_of_its_key_frames() {
    for name in ["BANDWIDTH", "CODECS", "RESOLUTION", "URI"] {
        let (before, list) = MULTIVARIANT.split_once("#EXT-X-I-FRAME-STREAM-INF:").unwrap();
        let list = mutated(list, &format!("{name}="), &format!("X-{name}="));
        let bad = format!("{before}#EXT-X-I-FRAME-STREAM-INF:{list}");
        assert_finds("HM-11", &check_multivariant(&bad));
    }
    assert_clean("HM-11", &check_multivariant(MULTIVARIANT));
    let without = MULTIVARIANT.lines().filter(|line| !line.contains("I-FRAME"));
    let without: String = without.flat_map(|line| [line, "\n"]).collect();
    assert_finds("HM-11", &check_multivariant(&without));
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

#[test]
fn hl_01_parts_have_a_target() {
    media_breaks("HL-01", LOW, "#EXT-X-PART-INF", "#EXT-X-PART-INFO");
}

#[test]
fn hl_02_no_part_is_above_the_target_and_only_a_segments_last_well_below() {
    media_breaks("HL-02", LOW, "PART:DURATION=0.266666667", "PART:DURATION=0.277333335");
    media_breaks("HL-02", LOW, "PART:DURATION=0.266666667", "PART:DURATION=0.230000000");
    media_breaks("HL-02", LOW, "PART:DURATION=0.266666667", "PART:DURATION=0.266000000");
    media_breaks("HL-02", LOW_AUDIO, "PART-TARGET=0.277333334", "PART-TARGET=0.277333332");
}

#[test]
fn hl_03_what_players_time_themselves_by_never_changes() {
    for (from, to) in [
        ("PART-TARGET=0.277333334", "PART-TARGET=0.277333335"),
        ("PART-HOLD-BACK=0.832", "PART-HOLD-BACK=0.932"),
        (",HOLD-BACK=6", ",HOLD-BACK=7"),
        ("CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=13"),
    ] {
        sequence_breaks("HL-03", LOW, from, to);
        assert_finds("HL-03", &check_renditions(&[LOW, &mutated(LOW_AUDIO, from, to)]));
    }
    assert_clean("HL-03", &check_renditions(&[LOW, LOW_AUDIO]));
}

#[test]
fn hl_04_players_stay_three_parts_or_three_targets_from_the_end() {
    media_breaks("HL-04", LOW, "PART-HOLD-BACK=0.832000002", "PART-HOLD-BACK=0.832000001");
    media_breaks("HL-04", LOW, ",PART-HOLD-BACK", ",X-PART-HOLD-BACK");
    media_breaks("HL-04", LOW, ",HOLD-BACK=6.00000", ",HOLD-BACK=5.99999");
}

#[test]
fn hl_06_a_playlist_blocks_hints_and_reports_the_others() {
    media_breaks("HL-06", LOW, "CAN-BLOCK-RELOAD=YES", "CAN-BLOCK-RELOAD=NO");
    media_breaks("HL-06", LOW, "TYPE=PART", "TYPE=MAP");
    media_breaks("HL-06", LOW, "3.2.m4s\"", "3.1.m4s\"");
    let others = [
        ("../audio/index.m3u8", LOW_AUDIO),
        ("../480p/index.m3u8", LOW),
        ("../360p/index.m3u8", LOW),
    ];
    assert_eq!(check_reports(LOW, &others), []);
    assert_finds("HL-06", &check_reports(&mutated(LOW, "#EXT-X-RENDITION", "#EXT-X"), &others));
}

#[test]
fn hl_07_a_segment_is_its_parts() {
    assert_eq!(check_parts(b"abcd", &[b"ab", b"", b"cd"]), []);
    assert_finds("HL-07", &check_parts(b"abcd", &[b"ab", b"cx"]));
    assert_finds("HL-07", &check_parts(b"abcd", &[b"cd", b"ab"]));
}

#[test]
fn hl_08_parts_are_listed_while_they_are_new() {
    let first = "#EXTINF:1.60000,\n";
    let part = format!("#EXT-X-PART:DURATION=1.60000,URI=\"x\",INDEPENDENT=YES\n{first}");
    media_breaks("HL-08", LOW, first, &part);
    let parts =
        LOW.lines().filter(|line| !line.contains("1122270761.") || !line.contains("EXT-X-PART"));
    let without: String = parts.flat_map(|line| [line, "\n"]).collect();
    assert_finds("HL-08", &check_media(&without));
}

#[test]
fn hl_09_a_segments_first_part_is_independent_and_its_tags_stand_before_it() {
    media_breaks("HL-09", LOW, ",INDEPENDENT=YES", "");
    media_breaks("HL-09", LOW, ",INDEPENDENT=YES\n", ",INDEPENDENT=YES\n#EXT-X-DISCONTINUITY\n");
}

#[test]
fn hl_17_an_update_leaves_out_what_is_six_targets_old() {
    media_breaks("HL-17", LOW, "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.9");
    media_breaks("HL-17", UPDATE, "#EXT-X-SKIP:", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-SKIP:");
    // One more than may be left out.
    let (head, rest) = UPDATE.split_once("#EXT-X-PROGRAM").unwrap();
    let bad = format!("{head}#EXT-X-PROGRAM{}", rest.split_once("#EXT-X-PROGRAM").unwrap().1);
    assert_finds("HL-17", &check_media(&bad));
    let late = UPDATE.replacen("#EXT-X-MEDIA-SEQUENCE", "#EXT-X-LATER", 1);
    assert_finds("HL-17", &check_media(&format!("{late}#EXT-X-MEDIA-SEQUENCE:1\n")));
}

#[test]
fn hl_18_an_update_on_top_of_what_was_there_is_the_whole() {
    assert_eq!(check_delta(BEFORE, UPDATE, LOW), []);
    for (from, to) in [
        ("#EXT-X-DISCONTINUITY-SEQUENCE:7891", "#EXT-X-DISCONTINUITY-SEQUENCE:7892"),
        ("#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-MAP:URI=\"x\"\n#EXT-X-PROGRAM-DATE-TIME"),
        ("#EXTINF:1.60000", "#EXTINF:1.60001"),
    ] {
        assert_finds("HL-18", &check_delta(BEFORE, &mutated(UPDATE, from, to), LOW));
    }
    // For somebody who has nothing of it.
    let late = mutated(UPDATE, "#EXT-X-MEDIA-SEQUENCE:11222707", "#EXT-X-MEDIA-SEQUENCE:11222709");
    assert_finds("HL-18", &check_delta(BEFORE, &late, LOW));
}

#[test]
fn hl_19_date_ranges_are_left_out_where_that_is_offered() {
    media_breaks("HL-19", UPDATE_V2, ",CAN-SKIP-DATERANGES=YES", "");
    media_breaks("HL-19", UPDATE_V2, "DATERANGES=\"\"", "DATERANGES=\"a\t\tb\"");
}

#[test]
fn hl_20_a_long_playlist_offers_updates() {
    let long = LOW.replace("#EXTINF:1.60000", "#EXTINF:16.0000");
    assert_clean("HL-20", &check_media(&long));
    assert_finds("HL-20", &check_media(&mutated(&long, "CAN-SKIP-UNTIL", "X-SKIP-UNTIL")));
}

#[test]
fn hl_24_a_report_is_the_truth() {
    let others = [
        ("../audio/index.m3u8", LOW_AUDIO),
        ("../480p/index.m3u8", LOW),
        ("../360p/index.m3u8", LOW),
    ];
    assert_clean("HL-24", &check_reports(LOW, &others));
    assert_finds("HL-24", &check_reports(&mutated(LOW, "LAST-PART=0", "LAST-PART=1"), &others));
    assert_finds("HL-24", &check_reports(&mutated(LOW, "LAST-MSN=11", "LAST-MSN=12"), &others));
}

#[test]
fn hl_25_answers_agree_on_every_part() {
    assert_clean("HL-25", &check_sequence(BEFORE, LOW));
    sequence_breaks("HL-25", LOW, ".1.m4s", ".7.m4s");
    let shorter = LOW.lines().filter(|line| !line.contains("1122270761.5."));
    let shorter: String = shorter.flat_map(|line| [line, "\n"]).collect();
    assert_finds("HL-25", &check_sequence(LOW, &shorter));
}

#[test]
fn hd_01_every_range_has_an_id_of_its_own_and_a_date() {
    media_breaks("HD-01", BREAKS, "ID=\"05-100", "X-ID=\"05-100");
    media_breaks("HD-01", BREAKS, ",START-DATE=", ",X-START-DATE=");
    let tag = BREAKS.lines().find(|line| line.starts_with("#EXT-X-DATERANGE")).unwrap();
    media_breaks("HD-01", BREAKS, tag, &format!("{tag}\n{tag}"));
}

#[test]
fn hd_02_a_section_stands_whole_in_hexadecimal() {
    media_breaks("HD-02", BREAKS, "SCTE35-OUT=0xFC", "SCTE35-OUT=FC");
    media_breaks("HD-02", BREAKS, "SCTE35-IN=0xFC30", "SCTE35-IN=0xFC31");
    media_breaks("HD-02", BREAKS, "F778F377", "F778F3");
}

#[test]
fn hd_03_a_break_begins_and_ends_in_one_range() {
    let out = ",SCTE35-OUT=0xFC302500000000000000FFF01405000000647FEFFE007B98A0FE002932E0000100000000346282D1";
    media_breaks("HD-03", BREAKS, out, "");
}

#[test]
fn hd_04_what_a_range_has_said_it_says_for_good() {
    sequence_breaks("HD-04", BREAKS, "PLANNED-DURATION=30.00000", "PLANNED-DURATION=9.60000");
    sequence_breaks("HD-04", BREAKS, ",SCTE35-IN=0x", ",X-IN=0x");
    // More may be said later.
    let before = mutated(BREAKS, ",DURATION=6.40000", "");
    assert_clean("HD-04", &check_sequence(&before, BREAKS));
}

#[test]
fn hd_05_lengths_fit_the_dates_and_the_message() {
    media_breaks("HD-05", BREAKS, ",DURATION=6.40000", ",DURATION=6.50000");
    media_breaks("HD-05", BREAKS, "PLANNED-DURATION=30.00000", "PLANNED-DURATION=29.00000");
    media_breaks("HD-05", BREAKS, "PLANNED-DURATION=30.00000", "PLANNED-DURATION=long");
}

#[test]
fn hd_06_a_range_begins_with_a_segment() {
    media_breaks(
        "HD-06",
        BREAKS,
        "START-DATE=\"2026-11-25T19:00:20.8",
        "START-DATE=\"2026-11-25T19:00:20.7",
    );
}

#[test]
fn hd_07_a_range_stays_while_its_segments_do() {
    let tag = |id: &str| BREAKS.lines().find(|line| line.contains(&format!("ID=\"{id}"))).unwrap();
    let without = |id: &str| mutated(BREAKS, &format!("{}\n", tag(id)), "");
    assert_finds("HD-07", &check_sequence(BREAKS, &without("05-100")));
    // What has not begun may be withdrawn.
    assert_clean("HD-07", &check_sequence(BREAKS, &without("34-")));
}
