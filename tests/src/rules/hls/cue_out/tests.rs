use crate::rules::hls::check_media;
use crate::rules::proof::{assert_clean, assert_finds, mutated};

/// A playlist with a break of 30 s that has ended after 9.6 s, in each style.
const STYLES: [&str; 3] = [
    include_str!("../../../../../packager/tests/golden/cue-out-elemental.m3u8"),
    include_str!("../../../../../packager/tests/golden/cue-out-enhanced.m3u8"),
    include_str!("../../../../../packager/tests/golden/cue-out-scte35.m3u8"),
];

/// The line that begins so for the first time.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap()
}

/// The playlist without that line.
fn without(text: &str, line: &str) -> String {
    mutated(text, &format!("{line}\n"), "")
}

#[test]
fn playlists_of_every_style_break_no_rule() {
    for text in STYLES {
        assert_eq!(check_media(text), [], "{text}");
    }
}

#[test]
fn hd_09_a_break_begins_goes_on_and_is_over() {
    let [elemental, enhanced, scte35] = STYLES;
    assert_finds("HD-09", &check_media(&without(elemental, "#EXT-X-CUE-IN")));
    assert_finds("HD-09", &check_media(&mutated(elemental, "CUE-OUT:30.000", "CUE-OUT:30s")));
    let again = mutated(elemental, "#EXT-X-CUE-OUT-CONT:1.600/30.000", "#EXT-X-CUE-OUT:30.000");
    assert_finds("HD-09", &check_media(&again));
    assert_finds("HD-09", &check_media(&mutated(enhanced, "SCTE35:/DA", "SCTE35:DA")));
    assert_finds("HD-09", &check_media(&mutated(enhanced, ",SCTE35=/DA", ",SCTE35=0xFC")));
    let over = line(scte35, "#EXT-X-SCTE35:CUE=\"/DAbAAAA");
    assert_finds("HD-09", &check_media(&without(scte35, over)));
}

#[test]
fn hd_10_who_joins_within_a_break_learns_how_much_of_it_is_over() {
    for text in STYLES {
        assert_clean("HD-10", &check_media(text));
    }
    let [elemental, enhanced, scte35] = STYLES;
    assert_finds("HD-10", &check_media(&without(elemental, "#EXT-X-CUE-OUT:30.000")));
    assert_finds("HD-10", &check_media(&mutated(elemental, "CONT:3.200", "CONT:1.600")));
    assert_finds("HD-10", &check_media(&mutated(enhanced, "ElapsedTime=3.200", "Elapsed=3.200")));
    assert_finds("HD-10", &check_media(&mutated(scte35, ",ELAPSED=3.200", "")));
    // The first segments have left the window, the first of the break among them.
    let (head, rest) = elemental.split_once("#EXT-X-CUE-OUT-CONT:3.200").unwrap();
    let head: String = head
        .lines()
        .filter(|line| line.starts_with("#EXTM3U") || line.starts_with("#EXT-X-V"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let joined = format!("{head}#EXT-X-MAP:URI=\"x\"\n#EXT-X-CUE-OUT-CONT:3.200{rest}");
    assert_clean("HD-10", &check_media(&joined));
}
