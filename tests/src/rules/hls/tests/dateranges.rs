//! Rows of date ranges.

use super::*;

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
