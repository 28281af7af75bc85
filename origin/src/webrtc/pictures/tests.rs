use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use ingest::source::{SourceSample, Unit};
use packager::codec::h264;
use packager::time::{Timescale, Timestamp};

use super::super::packets;
use super::*;
use crate::channel::preview::{Picture, Preview};

/// Parameter sets of 320x180 by x264.
const SETS: [&[u8]; 2] = [
    &[
        0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x6c, 0x80, 0x00, 0x00,
        0x03, 0x00, 0x80, 0x00, 0x00, 0x1e, 0x07, 0x8a, 0x14, 0xcb,
    ],
    &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0],
];

/// A key frame as a viewer is sent it: sets together, a unit in fragments, a small one.
fn payloads() -> (Arc<[Bytes]>, Bytes) {
    let record = h264::record(SETS[0], &[SETS[1]]).unwrap();
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(h264::config(record).unwrap().into()));
    let mut data = BytesMut::new();
    for unit in [[&[0x65, 0x88][..], &[7; 4_000]].concat(), vec![0x65, 1, 2]] {
        data.put_u32(u32::try_from(unit.len()).unwrap());
        data.put_slice(&unit);
    }
    let data = data.freeze();
    let at = Timestamp::new(0, Timescale::MILLIS);
    let received = std::time::Instant::now();
    let sample = SourceSample { dts: at, pts: at, sync: true, data: data.clone(), received };
    preview.passed(&Unit::Video(sample));
    let group: Vec<Arc<Picture>> = preview.tracks().borrow()[0].group();
    (Arc::clone(group[0].payloads(packets::cut)), data)
}

fn packets(payloads: &[Bytes], timestamp: u32) -> Vec<Packet> {
    let last = payloads.len() - 1;
    let packet = |(index, payload): (usize, &Bytes)| Packet {
        payload_type: 102,
        marker: index == last,
        sequence: u16::try_from(index).unwrap(),
        timestamp,
        ssrc: 7,
        payload: payload.clone(),
    };
    payloads.iter().enumerate().map(packet).collect()
}

#[test]
fn what_is_cut_for_viewers_is_put_together_again() {
    let (payloads, data) = payloads();
    assert_eq!(payloads.len(), 6, "sets, four fragments, a unit");
    let mut pictures = Pictures::new(Coding::H264);
    let whole: Vec<_> =
        packets(&payloads, 9).iter().filter_map(|packet| pictures.take(packet)).collect();
    let [whole] = &whole[..] else { panic!("{whole:?}") };
    assert_eq!((whole.timestamp, whole.sync, &whole.data), (9, true, &data));
    assert_eq!(whole.config.as_ref().map(PictureConfig::size), Some((320, 180)));
    // Told once.
    let again: Vec<_> =
        packets(&payloads, 10).iter().filter_map(|packet| pictures.take(packet)).collect();
    assert_eq!(again[0].config, None);
}

#[test]
fn whatever_is_missing_costs_pictures_up_to_the_next_key_frame_and_nothing_more() {
    let (payloads, _) = payloads();
    for missing in 0..payloads.len() {
        let mut pictures = Pictures::new(Coding::H264);
        for (index, packet) in packets(&payloads, 9).iter().enumerate() {
            if index == missing {
                pictures.lose();
            } else {
                assert_eq!(pictures.take(packet), None, "without {missing}");
            }
        }
        let delta = packet(10, true, &[0x41, 0x81]);
        assert_eq!(pictures.take(&delta), None, "without {missing}");
        assert!(pictures.wants_key_frame());
        let whole = packets(&payloads, 11).iter().filter_map(|p| pictures.take(p)).count();
        assert_eq!((whole, pictures.wants_key_frame()), (1, false), "without {missing}");
    }
}

fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Packet {
    let payload = Bytes::copy_from_slice(payload);
    Packet { payload_type: 102, marker, sequence: 0, timestamp, ssrc: 7, payload }
}

/// A stream whose parameter sets are known, and that stands after a whole key frame.
fn begun() -> Pictures {
    let (payloads, _) = payloads();
    let mut pictures = Pictures::new(Coding::H264);
    let whole = packets(&payloads, 1).iter().filter_map(|p| pictures.take(p)).count();
    assert_eq!((whole, pictures.wants_key_frame()), (1, false));
    pictures
}

#[test]
fn a_key_frame_whose_first_slice_was_lost_is_none() {
    let mut pictures = begun();
    pictures.lose();
    assert_eq!(pictures.take(&packet(2, true, &[0x65, 0x20, 2])), None);
    assert!(pictures.wants_key_frame());
    pictures.take(&packet(3, false, &[0x65, 0x88, 2]));
    let whole = pictures.take(&packet(3, true, &[0x65, 0x20, 2])).unwrap();
    assert_eq!((whole.sync, whole.data.len()), (true, 14));
}

#[test]
fn a_unit_without_an_end_breaks_its_picture() {
    for next in [&[0x7c, 0x85, 0x88, 1][..], &[0x65, 0x88, 1], &[0x78, 0, 2, 0x65, 0x88]] {
        let mut pictures = begun();
        assert_eq!(pictures.take(&packet(2, false, &[0x7c, 0x85, 0x88, 1])), None);
        assert_eq!(pictures.take(&packet(2, true, next)), None, "{next:x?}");
        assert!(pictures.wants_key_frame());
    }
}

#[test]
fn packets_within_packets_are_no_units() {
    for payload in [&[0x78, 0, 2, 0x78, 0x88][..], &[0x7c, 0x9c, 0x88, 1], &[0x60, 0x88]] {
        let mut pictures = begun();
        assert_eq!(pictures.take(&packet(2, true, payload)), None, "{payload:x?}");
        assert!(pictures.wants_key_frame());
    }
}

#[test]
fn a_packet_that_only_fills_the_line_changes_nothing() {
    let mut pictures = begun();
    assert_eq!(pictures.take(&packet(1, false, &[])), None);
    assert!(!pictures.wants_key_frame());
    assert!(pictures.take(&packet(2, true, &[0x41, 0x88])).is_some());
}

/// A packet of a frame of VP8: its descriptor, then what of the frame it has.
fn vp8(timestamp: u32, marker: bool, descriptor: &[u8], data: &[u8]) -> Packet {
    packet(timestamp, marker, &[descriptor, data].concat())
}

/// The beginning of a key frame of 320x180, by RFC 6386 §9.1.
const KEY: [u8; 12] = [0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 7, 7];
/// Descriptors of a first payload and a later one, with a number of 15 bits and a temporal layer.
const FIRST: [u8; 5] = [0x90, 0xe0, 0x81, 0x23, 0x01];
const LATER: [u8; 1] = [0x00];

fn begun_vp8() -> Pictures {
    let mut pictures = Pictures::new(Coding::Vp8);
    assert_eq!(pictures.take(&vp8(1, false, &[0x90, 0xb0, 0x81, 0x23, 0x01], &KEY)), None);
    let whole = pictures.take(&vp8(1, true, &LATER, &[8; 30])).unwrap();
    assert_eq!((whole.sync, whole.data.len()), (true, 42));
    let Some(PictureConfig::Foreign(pictures_are)) = whole.config else { panic!("{whole:?}") };
    assert_eq!((pictures_are.width, pictures_are.height), (320, 180));
    pictures
}

#[test]
fn frames_of_vp8_are_their_payloads_and_are_told_of_when_they_change() {
    let mut pictures = begun_vp8();
    let delta = pictures.take(&vp8(2, true, &[0x10], &[0x31, 2, 0, 9])).unwrap();
    assert_eq!((delta.sync, &delta.data[..], delta.config), (false, &[0x31, 2, 0, 9][..], None));
    let same = pictures.take(&vp8(3, true, &[0x80 | 0x10, 0x80, 0x05], &KEY)).unwrap();
    assert_eq!((same.sync, same.config), (true, None));
    let mut larger = KEY;
    larger[6] = 0x80;
    let other = pictures.take(&vp8(4, true, &[0x10], &larger)).unwrap();
    assert_eq!(other.config.map(|c| c.size()), Some((384, 180)));
}

#[test]
fn a_frame_of_vp8_that_lacks_a_piece_costs_all_up_to_the_next_key_frame() {
    let whole = [
        vp8(2, false, &FIRST[..1], &[0x31]),
        vp8(2, false, &[0x10], &[0x31, 2, 0]),
        vp8(2, false, &LATER, &[3; 9]),
        vp8(2, true, &LATER, &[4; 9]),
    ];
    for missing in 1..whole.len() {
        let mut pictures = begun_vp8();
        for (index, packet) in whole.iter().enumerate().skip(1) {
            if index == missing {
                pictures.lose();
            } else {
                assert_eq!(pictures.take(packet), None, "without {missing}");
            }
        }
        assert_eq!(pictures.take(&vp8(3, true, &[0x10], &[0x31, 2, 0, 9])), None);
        assert!(pictures.wants_key_frame());
        assert!(pictures.take(&vp8(4, true, &[0x10], &KEY)).is_some());
        assert!(!pictures.wants_key_frame());
    }
}

#[test]
fn what_is_no_frame_of_vp8_is_a_gap() {
    // No start code, no size, a descriptor that is cut, a second beginning, nothing behind it.
    let mut nothing = KEY;
    nothing[3] = 0;
    let mut flat = KEY;
    flat[8] = 0;
    for (descriptor, data) in [
        (&[0x10][..], &nothing[..]),
        (&[0x10], &flat),
        (&[0x10], &KEY[..9]),
        (&[0x90, 0x80], &[]),
        (&[0x00], &[1, 2, 3]),
        (&[0x11], &[1, 2, 3]),
    ] {
        let mut pictures = begun_vp8();
        assert_eq!(pictures.take(&vp8(2, true, descriptor, data)), None, "{descriptor:x?}");
        assert!(pictures.wants_key_frame(), "{descriptor:x?}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_read_panics(
        payloads in proptest::collection::vec((proptest::collection::vec(0u8.., 0..40), 0u32..3, proptest::bool::ANY), 0..60)
    ) {
        for coding in [Coding::H264, Coding::Vp8] {
            let mut pictures = Pictures::new(coding);
            for (payload, timestamp, marker) in &payloads {
                let _ = pictures.take(&packet(*timestamp, *marker, payload));
            }
        }
    }
}
