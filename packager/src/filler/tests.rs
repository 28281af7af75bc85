use proptest::prelude::*;

use super::*;
use crate::codec::fixtures::{self, bytes};
use crate::media::{Name, Track};
use crate::time::Timescale;

fn rendition(config: Config) -> Rendition {
    Rendition {
        name: Name::parse("r").unwrap(),
        track: Track { timescale: Timescale::MPEG, config },
        rate: None,
        average_bitrate: 1,
        peak_bitrate: 1,
    }
}

fn pictures() -> Filler {
    let config = h264::config(bytes(fixtures::AVC_720P30)).unwrap();
    Filler::new(&rendition(Config::Video(config)))
}

fn sample(data: &'static [u8], sync: bool) -> Sample {
    Sample { dts: 1_000, pts: 7_000, duration: 3_000, sync, data: Bytes::from_static(data) }
}

/// An IDR slice of AVC_720P30: header, first_mb_in_slice 0, slice_type 7, set 0, frame_num of 4 bits,
/// idr_pic_id 0, picture order of 6 bits, marking, delta 0, deblocking on, then two bytes of data.
const IDR: &[u8] = &[0, 0, 0, 7, 0x65, 0x88, 0x80, 0x41, 0x7f, 0xde, 0xad];

#[test]
fn there_is_no_filler_before_the_first_picture_decoding_can_start_with() {
    let mut filler = pictures();
    assert_eq!(filler.sample(0, 9), None);
    filler.note(&sample(b"\0\0\0\x01\x41", false));
    assert_eq!(filler.sample(0, 9), None);
}

#[test]
fn a_picture_keeps_its_composition_offset_and_decoding_can_start_with_it() {
    let mut filler = pictures();
    filler.note(&sample(IDR, true));
    filler.note(&sample(b"\0\0\0\x01\x41", false));
    let made = filler.sample(90_000, 24_000).unwrap();
    assert_eq!((made.dts, made.pts, made.duration), (90_000, 96_000, 24_000));
    assert!(made.sync);
}

#[test]
fn pictures_take_turns_and_are_made_once_for_a_hole() {
    let mut filler = pictures();
    filler.note(&sample(IDR, true));
    let made: Vec<_> = (0..4).map(|n| filler.sample(n, 1).unwrap().data).collect();
    assert_ne!(made[0], made[1]);
    assert_ne!(made[0], IDR);
    assert_eq!(made[0].as_ptr(), made[2].as_ptr(), "shared, not made again");
    assert_eq!(made[1].as_ptr(), made[3].as_ptr());
}

#[test]
fn a_picture_that_can_not_be_read_is_repeated_as_it_is() {
    let mut filler = pictures();
    // A P slice under the type of an IDR slice.
    let broken = sample(&[0, 0, 0, 4, 0x65, 0xc0, 1, 2], true);
    filler.note(&broken);
    assert_eq!(filler.sample(0, 1).unwrap().data, broken.data);
    assert_eq!(filler.sample(1, 1).unwrap().data, broken.data);
}

#[test]
fn sound_is_silence_from_the_start() {
    let config = aac::config(bytes(fixtures::AAC_48000_STEREO)).unwrap();
    let mut filler = Filler::new(&rendition(Config::Audio(config)));
    let made = filler.sample(1_024, 1_024).unwrap();
    assert!(made.sync && made.pts == 1_024 && !made.data.is_empty());
}

proptest! {
    #[test]
    fn no_access_unit_and_no_record_makes_it_panic(
        record in prop::collection::vec(any::<u8>(), 0..80),
        unit in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut au = u32::try_from(unit.len() + 1).unwrap().to_be_bytes().to_vec();
        au.push(0x65);
        au.extend(unit);
        let _ = h264::repeats(&record, &au);
        let _ = h264::repeats(&bytes(fixtures::AVC_720P30), &au);
        let _ = h264::repeats(&bytes(fixtures::AVC_1080I25_JVT_MATRICES), &au);
    }
}
