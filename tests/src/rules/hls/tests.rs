//! Each row passes the packager's own playlists and finds the fault planted in them.

use std::collections::BTreeMap;

use super::*;
use crate::rules::proof::{assert_clean, assert_finds, mutated};

mod dateranges;
mod low_latency;
mod media;
mod multivariant;

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
