//! Rows of the conformance list: each rule holds for what we write, and is seen to fail on a copy
//! with one planted fault.

use super::*;
use crate::cmaf::rules::{self, Broken};

fn rows(broken: &[Broken]) -> Vec<&'static str> {
    let mut rows: Vec<_> = broken.iter().map(|broken| broken.row).collect();
    rows.dedup();
    rows
}

fn init_rows(bytes: &[u8]) -> Vec<&'static str> {
    rows(&rules::init(&read::init(bytes).unwrap()))
}

fn segment_rows(parts: &[Bytes]) -> Vec<&'static str> {
    rows(&rules::segment(K, true, &read::chunks(&parts.concat()).unwrap()))
}

/// Where the body of the `nth` box of a kind begins, wherever it is nested.
fn body(bytes: &[u8], kind: &[u8; 4], nth: usize) -> usize {
    let mut places = bytes.windows(4).enumerate().filter(|(_, window)| window == kind);
    places.nth(nth).unwrap().0 + 4
}

/// A copy with other bytes at a distance from the body of the first box of a kind.
fn planted(bytes: &[u8], kind: &[u8; 4], at: usize, fault: &[u8]) -> Bytes {
    let mut copy = bytes.to_vec();
    let at = body(bytes, kind, 0) + at;
    copy[at..at + fault.len()].copy_from_slice(fault);
    copy.into()
}

fn planted_part(part: usize, kind: &[u8; 4], at: usize, fault: &[u8]) -> Vec<Bytes> {
    let mut parts = segment(K, NOON * 90_000);
    parts[part] = planted(&parts[part], kind, at, fault);
    parts
}

#[test]
fn cb_01_an_init_segment_has_the_brands_one_track_trex_and_no_duration() {
    for rendition in [video(), hevc(), audio()] {
        let whole = init(&rendition);
        assert_eq!(init_rows(&whole), [] as [&str; 0]);
        assert_eq!(rules::media_profile(&read::init(&whole).unwrap()), []);
        for (kind, at, fault) in [
            (b"mvhd", 4 + 8 + 8 + 4, &[0, 0, 0, 0, 0, 0, 0, 9][..]),
            (b"tkhd", 4 + 8 + 8 + 4 + 4, &[0, 0, 0, 0, 0, 0, 0, 9]),
            (b"mdhd", 4 + 8 + 8 + 4, &[0, 0, 0, 0, 0, 0, 0, 9]),
            (b"trex", 4, &[0, 0, 0, 2]),
            (b"mvex", 4, b"free"),
        ] {
            assert_eq!(init_rows(&planted(&whole, kind, at, fault)), ["CB-01"], "{kind:?}");
        }
        let unbranded = planted(&whole, b"ftyp", 0, b"isom\0\0\0\0iso6mp41mp42");
        assert_eq!(init_rows(&unbranded)[0], "CB-01");
    }
    let no_profile = init(&avc(fixtures::AVC_HIGH_422_10));
    assert_eq!(rows(&rules::media_profile(&read::init(&no_profile).unwrap())), ["CB-01"]);
}

#[test]
fn cb_02_a_segment_begins_with_styp_and_its_later_parts_have_none() {
    assert_eq!(segment_rows(&segment(K, NOON * 90_000)), [] as [&str; 0]);
    assert_eq!(segment_rows(&planted_part(0, b"styp", 12, b"dash")), ["CB-02"]);
    let mut parts = segment(K, NOON * 90_000);
    let styp = b"\0\0\0\x14stypmsdh\0\0\0\0cmff";
    parts[2] = [&styp[..], &parts[2]].concat().into();
    assert_eq!(segment_rows(&parts), ["CB-02"]);
}

#[test]
fn cb_03_boxes_stand_in_order_with_one_traf_and_the_sequence_of_k_and_part() {
    let parts = segment(K, NOON * 90_000);
    let read = read::chunks(&parts.concat()).unwrap();
    const { assert!(K * 64 > 1 << 32) };
    assert_eq!(read[3].sequence, ((K * 64 + 3) & 0xffff_ffff) as u32);
    assert_eq!(segment_rows(&planted_part(1, b"mfhd", 4, &[0; 4])), ["CB-03"]);
    // The event behind the moof.
    let mut parts = parts;
    let at = body(&parts[1], b"mdat", 0) - 8;
    parts[1] = [&parts[1][..at], &emsg(), &parts[1][at..]].concat().into();
    assert!(segment_rows(&parts).contains(&"CB-03"));
    assert_eq!(rows(&rules::segment(K, true, &[])), ["CB-03"]);
}

#[test]
fn cb_04_offsets_count_from_the_moof_and_samples_fill_the_mdat() {
    assert_eq!(segment_rows(&planted_part(1, b"tfhd", 1, &[0, 0, 0])), ["CB-04"]);
    // A data offset one off, and a sample a byte longer.
    assert_eq!(segment_rows(&planted_part(1, b"trun", 11, &[0])), ["CB-04"]);
    assert_eq!(segment_rows(&planted_part(1, b"trun", 12 + 7, &[101])), ["CB-04"]);
}

#[test]
fn cb_05_tfdt_is_64_bit_and_continuous() {
    let mut parts = segment(K, NOON * 90_000);
    parts.extend(segment(K + 1, NOON * 90_000 + 144_000));
    let chunks = read::chunks(&parts.concat()).unwrap();
    assert!(chunks[0].base_decode_time > 1 << 32);
    assert_eq!(rules::line(&chunks), []);
    // Longer by a tick, a part missing, and 32 bits.
    assert_eq!(segment_rows(&planted_part(1, b"trun", 12 + 3, &[0xb9])), ["CB-05"]);
    let mut parts = segment(K, NOON * 90_000);
    parts[3] = parts[2].clone();
    assert!(segment_rows(&parts).contains(&"CB-05"));
    assert!(segment_rows(&planted_part(0, b"tfdt", 0, &[0])).contains(&"CB-05"));
}

#[test]
fn cb_06_a_segment_begins_with_a_sync_sample() {
    let flags = 12 + 8;
    assert_eq!(segment_rows(&planted_part(0, b"trun", flags, &[1, 1, 0, 0])), ["CB-06"]);
    assert_eq!(segment_rows(&planted_part(0, b"trun", flags, &[1, 0, 0, 0])), ["CB-06"]);
    let chunks = read::chunks(&segment(K, NOON * 90_000).concat()).unwrap();
    let sync = chunks.iter().flat_map(|chunk| &chunk.samples).filter(|sample| sample.is_sync());
    assert_eq!(sync.count(), 1);
}

#[test]
fn cb_07_video_has_signed_offsets_and_no_edit_list() {
    let chunks = read::chunks(&segment(K, NOON * 90_000).concat()).unwrap();
    assert_eq!(chunks[0].samples[2].composition_offset, -3_000);
    // The earliest presentation time is tfdt.
    assert_eq!(chunks[0].samples[0].composition_offset, 0);
    assert_eq!(segment_rows(&planted_part(1, b"trun", 0, &[0])), ["CB-07"]);
    let whole = init(&video());
    assert_eq!(init_rows(&whole), [] as [&str; 0]);
    assert!(init_rows(&with_edit_list(&whole)).contains(&"CB-07"));
    let bare = planted(&planted(&whole, b"ftyp", 0, b"cmfc"), b"ftyp", 16, b"cmfc");
    assert_eq!(init_rows(&bare), ["CB-07"]);
}

#[test]
fn cb_08_audio_has_no_edit_list() {
    let whole = init(&audio());
    assert_eq!(init_rows(&whole), [] as [&str; 0]);
    assert!(init_rows(&with_edit_list(&whole)).contains(&"CB-08"));
}

/// A copy whose track has an edit list in the place of its user data.
fn with_edit_list(init: &[u8]) -> Bytes {
    let mut copy = init.to_vec();
    let at = body(init, b"udta", 0) - 4;
    copy[at..at + 4].copy_from_slice(b"edts");
    copy.into()
}

#[test]
fn cb_09_renditions_of_a_ladder_are_one_switching_set() {
    let read = |rendition: &Rendition| read::init(&init(rendition)).unwrap();
    let (large, small) = (read(&video()), read(&avc(fixtures::AVC_BASELINE_360P25)));
    assert_eq!(rules::switching_set(&[large.clone(), small.clone()]), []);
    for odd in [read(&hevc()), read(&audio()), read(&avc(fixtures::AVC_642X362_23_976))] {
        let found = rules::switching_set(&[large.clone(), small.clone(), odd]);
        assert_eq!(rows(&found), ["CB-09"]);
    }
    let edited = read::init(&with_edit_list(&init(&video()))).unwrap();
    assert_eq!(rows(&rules::switching_set(&[large, edited])), ["CB-07"]);
}

#[test]
fn cb_15_bit_rates_language_and_role_are_declared() {
    let whole = init(&video());
    let read = read::init(&whole).unwrap();
    assert_eq!(read.bitrates, Some((3_000_000, 2_500_000)));
    assert_eq!((read.language.as_str(), read.roles[0].as_str()), ("und", "main"));
    assert_eq!(init_rows(&planted(&whole, b"btrt", 4, &[0; 4])), ["CB-15"]);
    let language = 4 + 8 + 8 + 4 + 8;
    assert_eq!(init_rows(&planted(&whole, b"mdhd", language, &[0x15, 0xc7])), ["CB-15"]);
    let role = body(&whole, b"kind", 0) - 4;
    let mut copy = whole.to_vec();
    copy[role..role + 4].copy_from_slice(b"free");
    assert_eq!(init_rows(&copy), ["CB-15"]);
}

#[test]
fn cb_16_the_same_input_gives_the_same_bytes() {
    for rendition in [video(), hevc(), audio()] {
        assert_eq!(init(&rendition), init(&rendition.clone()));
    }
    assert_eq!(segment(K, NOON * 90_000), segment(K, NOON * 90_000));
    assert_ne!(segment(K, NOON * 90_000), segment(K + 1, NOON * 90_000));
}

#[test]
fn dl_07_prft_is_there_once_a_segment_and_is_the_identity() {
    let hour = |segments: std::ops::Range<u64>| {
        segments.flat_map(|at| {
            let start = NOON * 90_000 + (at * 144_000).cast_signed();
            read::chunks(&segment(K + at, start).concat()).unwrap()
        })
    };
    let chunks: Vec<_> = hour(0..4).chain(hour(2_246..2_250)).collect();
    assert_eq!(chunks.iter().filter(|chunk| chunk.prft.is_some()).count(), 8);
    assert_eq!(rules::reference_times(90_000, &chunks), []);
    // 12 ms late, another media time, and none at all.
    let mut late = chunks.clone();
    late[4].prft.as_mut().unwrap().ntp += (1 << 32) * 12 / 1_000;
    assert_eq!(rows(&rules::reference_times(90_000, &late)), ["DL-07"]);
    assert_eq!(segment_rows(&planted_part(0, b"prft", 23, &[1])), ["DL-07"]);
    assert_eq!(segment_rows(&planted_part(0, b"prft", 0, &[0, 0, 0, 0]))[0], "DL-07");
    let mut none = segment(K, NOON * 90_000);
    let prft = body(&none[0], b"prft", 0) - 8;
    none[0] = [&none[0][..prft], &none[0][prft + 32..]].concat().into();
    assert_eq!(segment_rows(&none), ["DL-07"]);
}

#[test]
fn reference_times_stay_right_over_the_end_of_the_ntp_era() {
    // 2036-02-07T06:28:16Z, where the 32 bits of seconds wrap.
    let wrap = (1i64 << 32) - 2_208_988_800;
    for start in [wrap - 1, wrap, wrap + 1] {
        let chunks = read::chunks(&segment(K, start * 90_000).concat()).unwrap();
        assert_eq!(rules::reference_times(90_000, &chunks), []);
    }
}
