//! Rows of multivariant playlists.

use super::*;

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
