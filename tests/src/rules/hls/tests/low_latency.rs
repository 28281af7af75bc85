//! Rows of playlists of low latency, and of their updates.

use super::*;

#[test]
fn hl_27_the_first_media_sequence_is_one_at_least() {
    media_breaks("HL-27", LIVE, "#EXT-X-MEDIA-SEQUENCE:1122270751", "#EXT-X-MEDIA-SEQUENCE:0");
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
