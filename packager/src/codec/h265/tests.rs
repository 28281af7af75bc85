#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::codec::fixtures::{self, BitWriter, bytes};
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

/// An SPS of two sub-layers up to its size.
fn sps_head(width: u32, height: u32) -> BitWriter {
    let mut bits = BitWriter::default();
    bits.bits(16, u32::from(SPS) << 9 | 1).bits(4, 0).bits(3, 1).bits(1, 1);
    // Profile, tier and level; the sub-layer has both of its own.
    bits.bits(8, 1).bits(32, 0x6000_0000).bits(24, 0x90_0000).bits(24, 0).bits(8, 93);
    bits.bits(2, 0b11).bits(14, 0);
    bits.bits(8, 1).bits(32, 0x6000_0000).bits(24, 0x90_0000).bits(24, 0).bits(8, 90);
    bits.ue(0).ue(1).ue(width).ue(height);
    bits
}

#[test]
fn a_picture_out_of_bounds_is_refused_with_the_size() {
    let mut sps = sps_head(16_384, 16_384);
    sps.bits(1, 0).bits(32, u32::MAX);
    let refused = Err(Error::PictureSize { width: 16_384, height: 16_384 });
    assert_eq!(sequence_parameter_set(&sps.nal(), 0), refused);
    // A window that leaves nothing.
    let mut sps = sps_head(640, 360);
    sps.bits(1, 1).ue(160).ue(160).ue(0).ue(0).bits(32, u32::MAX);
    let refused = Err(Error::PictureSize { width: 0, height: 360 });
    assert_eq!(sequence_parameter_set(&sps.nal(), 0), refused);
    let long = Error::TooLong { what: "SPS", len: 1025, max: 1024 };
    assert_eq!(sequence_parameter_set(&[0x42; 1025], 0), Err(long));
}

/// Everything that may stand between the size and the frame rate.
fn long_sps(references: u32) -> Vec<u8> {
    let mut bits = sps_head(640, 368);
    bits.bits(1, 1).ue(0).ue(0).ue(0).ue(4);
    bits.ue(0).ue(0).ue(4);
    bits.bits(1, 1).ue(2).ue(1).ue(0).ue(references).ue(2).ue(0);
    bits.ue(0).ue(3).ue(0).ue(3).ue(0).ue(0);
    // Scaling lists, each size once by reference and once written out.
    bits.bits(1, 1).bits(1, 1);
    for (lists, coefficients, dc) in [(6, 16, false), (6, 64, false), (6, 64, true), (2, 64, true)]
    {
        for list in 0..lists {
            bits.bits(1, list % 2);
            if list % 2 == 0 {
                bits.ue(0);
                continue;
            }
            if dc {
                bits.se(8);
            }
            (0..coefficients).for_each(|at| {
                bits.se(if at % 2 == 0 { 1 } else { -1 });
            });
        }
    }
    bits.bits(1, 1).bits(1, 1);
    // PCM of eight bits.
    bits.bits(1, 1).bits(4, 7).bits(4, 7).ue(0).ue(2).bits(1, 1);
    // Three sets: two pictures before and one behind; predicted from it with one left out; and
    // predicted from that.
    bits.ue(3);
    bits.ue(2).ue(1).ue(0).bits(1, 1).ue(1).bits(1, 1).ue(0).bits(1, 1);
    bits.bits(1, 1).bits(1, 0).ue(0).bits(2, 0b00).bits(1, 1).bits(1, 1).bits(1, 1);
    bits.bits(1, 1).bits(1, 0).ue(0).bits(1, 1).bits(2, 0b01).bits(1, 1).bits(1, 1);
    // Long-term pictures, then the last two tools.
    bits.bits(1, 1).ue(1).bits(8, 5).bits(1, 1);
    bits.bits(1, 1).bits(1, 1);
    // VUI: shape written out, overscan, colour, chroma location, a display window, then timing.
    bits.bits(1, 1);
    bits.bits(1, 1).bits(8, 255).bits(16, 4).bits(16, 3);
    bits.bits(1, 1).bits(1, 0);
    bits.bits(1, 1).bits(3, 5).bits(1, 0).bits(1, 1).bits(8, 9).bits(8, 16).bits(8, 9);
    bits.bits(1, 1).ue(0).ue(0);
    bits.bits(3, 0b000).bits(1, 1).ue(0).ue(0).ue(0).ue(0);
    bits.bits(1, 1).bits(32, 1001).bits(32, 60_000).bits(1, 0).bits(1, 0);
    bits.bits(1, 0).bits(1, 0).bits(1, 1);
    bits.nal()
}

#[test]
fn everything_between_size_and_frame_rate_is_walked() {
    let picture = sequence_parameter_set(&long_sps(4), 0).unwrap();
    let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
    assert_eq!((picture.width, picture.height, picture.references), (640, 360, 4));
    assert_eq!(picture.aspect, Some(Aspect { horizontal: 4, vertical: 3 }));
    assert_eq!(picture.colour, Some(pq));
    assert_eq!(picture.rate, Some(FrameRate::new(60_000, 1001)));
    let refused = Err(Error::References { references: 17 });
    assert_eq!(sequence_parameter_set(&long_sps(17), 0), refused);
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
    let bomb =
        Error::TooLong { what: "HEVCDecoderConfigurationRecord", len: 20_000, max: MAX_RECORD };
    assert_eq!(config(vec![1; 20_000].into()), Err(bomb));
}

#[test]
fn an_irap_picture_is_found_by_its_type() {
    for (kind, starts) in [(1, false), (9, false), (16, true), (19, true), (21, true), (32, false)]
    {
        let sample = [0, 0, 0, 2, 35 << 1, 1, 0, 0, 0, 3, kind << 1, 1, 0x80];
        assert_eq!(is_irap(&sample), starts, "{kind}");
    }
    assert!(!is_irap(&[]));
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
        let _ = is_irap(&garbage);
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
