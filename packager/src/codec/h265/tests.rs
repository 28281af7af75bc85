#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::codec::fixtures::{self, bytes};
use crate::codec::{Aspect, Colour};

const ALL: [&str; 4] = [
    fixtures::HEVC_1080P25,
    fixtures::HEVC_642X362_59_94,
    fixtures::HEVC_MAIN10_360P30,
    fixtures::HEVC_640X362P50_EVERYTHING,
];

#[test]
fn records_of_x265_are_read_as_ffprobe_reads_them() {
    let rate = FrameRate::new;
    let expected = [
        ("hvc1.1.6.L120.90", (1920, 1080), rate(25, 1)),
        ("hvc1.1.6.L90.90", (642, 362), rate(60_000, 1001)),
        ("hvc1.2.4.L63.90", (640, 360), rate(30, 1)),
        ("hvc1.1.6.L90.90", (640, 362), rate(50, 1)),
    ];
    for (hex, (codec, size, fps)) in ALL.iter().zip(expected) {
        let config = config(bytes(hex)).unwrap();
        assert_eq!(config.codec_string, codec);
        assert_eq!((config.width, config.height), size, "{codec}");
        assert_eq!(config.rate, Some(fps), "{codec}");
        assert_eq!(length_size(&config.record), Ok(LengthSize::Four));
    }
}

#[test]
fn shape_colour_and_depth_come_from_the_sps() {
    let full = picture(&bytes(fixtures::HEVC_640X362P50_EVERYTHING)).unwrap();
    let bt709 = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: true };
    assert_eq!(full.colour, Some(bt709));
    assert_eq!(full.aspect, Some(Aspect { horizontal: 16, vertical: 11 }));
    assert!((1..=6).contains(&full.references), "{}", full.references);
    let deep = picture(&bytes(fixtures::HEVC_MAIN10_360P30)).unwrap();
    assert_eq!((deep.chroma_format, deep.bit_depth, deep.chroma_bit_depth), (1, 10, 10));
}

#[test]
fn codec_strings_are_those_of_annex_e() {
    let text = |bytes: [u8; 12]| codec_string(&bytes);
    // The examples of the annex: main 10, main tier, level 3.1; and one with everything.
    let main10 = [0x02, 0x20, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
    assert_eq!(text(main10), "hvc1.2.4.L93.B0");
    let all = [0x40 | 0x20 | 4, 0x08, 0, 0, 1, 0x9d, 0, 8, 0, 0, 0, 153];
    assert_eq!(text(all), "hvc1.A4.80000010.H153.9D.0.8");
    assert_eq!(text([0x01, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120]), "hvc1.1.6.L120");
}

/// Parameter sets of a record by their kind.
fn sets(record: &[u8], wanted: u8) -> Vec<&[u8]> {
    let mut reader = ByteReader::new(record);
    reader.take(22, "record").unwrap();
    let mut found = Vec::new();
    for _ in 0..reader.u8("arrays").unwrap() {
        let kind = reader.u8("kind").unwrap() & 0x3f;
        for _ in 0..reader.u16("count").unwrap() {
            let len = usize::from(reader.u16("length").unwrap());
            let unit = reader.take(len, "unit").unwrap();
            if kind == wanted {
                found.push(unit);
            }
        }
    }
    found
}

#[test]
fn a_record_written_from_parameter_sets_is_read_alike() {
    for hex in ALL {
        let original = bytes(hex);
        let (vps, sps, pps) = (sets(&original, VPS), sets(&original, SPS), sets(&original, PPS));
        let written = record(&vps, &sps, &pps).unwrap();
        // Profile, tier and level, chroma format and depths as FFmpeg wrote them; it leaves
        // completeness of the arrays to the sample entry.
        assert_eq!(written[..13], original[..13]);
        assert_eq!(written[16..19], original[16..19]);
        for kind in [VPS, SPS, PPS] {
            assert_eq!(sets(&written, kind), sets(&original, kind));
        }
        assert_eq!(picture(&written), picture(&original));
        let mut extradata = Vec::new();
        for set in [&vps, &sps, &pps].into_iter().flatten() {
            extradata.extend([0, 0, 0, 1]);
            extradata.extend(*set);
        }
        assert_eq!(config_from_annex_b(&extradata).unwrap().record, written);
        assert!(matches!(record(&vps, &sps, &[]), Err(Error::Incomplete { .. })));
        assert!(matches!(record(&vps, &[], &pps), Err(Error::Incomplete { .. })));
    }
}

#[test]
fn a_record_cut_anywhere_is_incomplete() {
    for hex in ALL {
        let whole = bytes(hex);
        for end in 0..whole.len() {
            let cut = config(whole.slice(..end));
            assert!(matches!(cut, Err(Error::Incomplete { offset, .. }) if offset <= end), "{end}");
        }
    }
}

#[test]
fn an_sps_cut_before_its_vui_is_incomplete() {
    let record = bytes(fixtures::HEVC_640X362P50_EVERYTHING);
    let sps = sets(&record, SPS)[0];
    let whole = sequence_parameter_set(sps, 0).unwrap();
    let mut seen_without_vui = false;
    for end in 0..sps.len() {
        match sequence_parameter_set(&sps[..end], 0) {
            Err(Error::Incomplete { offset, .. }) => assert!(offset == end && !seen_without_vui),
            Err(other) => panic!("{other}"),
            Ok(picture) => {
                seen_without_vui = true;
                assert_eq!((picture.width, picture.height), (whole.width, whole.height));
            }
        }
    }
    assert!(seen_without_vui);
}

#[test]
fn a_picture_out_of_bounds_is_refused_with_the_size() {
    let mut bits = Vec::new();
    let mut put = |count: u32, value: u64| {
        bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    };
    put(16, u64::from(SPS) << 9 | 1);
    put(8, 1);
    put(8, 1);
    put(32, 0x6000_0000);
    put(48, 0x9000_0000_0000);
    put(8, 186);
    // Set 0, 4:2:0, then the size.
    put(1, 1);
    put(3, 0b010);
    put(29, 16_385);
    put(29, 16_385);
    put(1, 0);
    put(64, u64::MAX);
    let mut sps: Vec<u8> = Vec::new();
    for byte in bits.chunks(8) {
        let byte =
            byte.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at));
        if byte <= 3 && sps.ends_with(&[0, 0]) {
            sps.push(3);
        }
        sps.push(byte);
    }
    let refused = Err(Error::PictureSize { width: 16_384, height: 16_384 });
    assert_eq!(sequence_parameter_set(&sps, 0), refused);
    let long = Error::TooLong { what: "SPS", len: 1025, max: 1024 };
    assert_eq!(sequence_parameter_set(&[0x42; 1025], 0), Err(long));
}

#[test]
fn errors_name_the_byte() {
    let with = |at: usize, value: u8| {
        let mut wrong = bytes(fixtures::HEVC_1080P25).to_vec();
        wrong[at] = value;
        config(wrong.into())
    };
    assert_eq!(with(0, 0), Err(Error::Invalid { what: "configurationVersion", offset: 0 }));
    assert_eq!(with(21, 0x0e), Err(Error::Invalid { what: "lengthSizeMinusOne", offset: 21 }));
    assert_eq!(with(22, 200), Err(Error::Invalid { what: "numOfArrays", offset: 22 }));
    assert_eq!(with(22, 0), Err(Error::Invalid { what: "numOfArrays", offset: 22 }));
    let bomb = Error::TooLong {
        what: "HEVCDecoderConfigurationRecord",
        len: 20_000,
        max: crate::codec::MAX_RECORD,
    };
    assert_eq!(config(vec![1; 20_000].into()), Err(bomb));
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_config_and_never_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = config(garbage.clone().into());
        let _ = config_from_annex_b(&garbage);
        let _ = record(&[&garbage], &[&garbage], &[&garbage]);
        let _ = sequence_parameter_set(&garbage, 0);
    }

    #[test]
    fn a_record_with_changed_bytes_stays_within_the_limits(
        which in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut record = bytes(ALL[which]).to_vec();
        for (at, value) in changes {
            let at = at.index(record.len());
            record[at] = value;
        }
        if let Ok(config) = config(record.into()) {
            prop_assert!((1..=3840).contains(&config.width) && (1..=2160).contains(&config.height));
        }
    }
}
