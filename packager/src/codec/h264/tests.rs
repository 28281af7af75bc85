#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::codec::fixtures::{self, bytes};
use crate::codec::{Aspect, Colour};

#[test]
fn records_of_x264_are_read_as_ffprobe_reads_them() {
    let rate = FrameRate::new;
    for (hex, codec, size, fps) in [
        (fixtures::AVC_720P30, "avc1.64001f", (1280, 720), rate(30, 1)),
        (fixtures::AVC_BASELINE_360P25, "avc1.42c01e", (640, 360), rate(25, 1)),
        (fixtures::AVC_MAIN_1080P29_97, "avc1.4d4028", (1920, 1080), rate(30_000, 1001)),
        (fixtures::AVC_642X362_23_976, "avc1.64001e", (642, 362), rate(24_000, 1001)),
        (fixtures::AVC_576P25_WIDE, "avc1.64001e", (720, 576), rate(25, 1)),
        (fixtures::AVC_1080I25_JVT_MATRICES, "avc1.640028", (1920, 1080), rate(25, 1)),
        (fixtures::AVC_720P59_94_BT709, "avc1.640020", (1280, 720), rate(60_000, 1001)),
        (fixtures::AVC_HIGH_422_10, "avc1.7a000d", (320, 180), rate(30, 1)),
    ] {
        let config = config(bytes(hex)).unwrap();
        assert_eq!(config.codec_string, codec);
        assert_eq!((config.width, config.height), size, "{codec}");
        assert_eq!(config.rate, Some(fps), "{codec}");
        assert_eq!(config.record, bytes(hex));
        assert_eq!(length_size(&config.record), Ok(LengthSize::Four));
    }
}

#[test]
fn shape_colour_and_depth_come_from_the_sps() {
    let wide = picture(&bytes(fixtures::AVC_576P25_WIDE)).unwrap();
    assert_eq!(wide.aspect, Some(Aspect { horizontal: 64, vertical: 45 }));
    let bt470bg = Colour { primaries: 5, transfer: 5, matrix: 5, full_range: false };
    assert_eq!(wide.colour, Some(bt470bg));
    let plain = picture(&bytes(fixtures::AVC_720P30)).unwrap();
    assert_eq!(plain.aspect, Some(Aspect { horizontal: 1, vertical: 1 }));
    assert_eq!((plain.colour, plain.chroma_format, plain.bit_depth), (None, 1, 8));
    let deep = picture(&bytes(fixtures::AVC_HIGH_422_10)).unwrap();
    assert_eq!((deep.chroma_format, deep.bit_depth, deep.chroma_bit_depth), (2, 10, 10));
}

/// Parameter sets of a record, without their lengths.
fn sets(record: &Bytes) -> (Bytes, Bytes) {
    let len = usize::from(record[7]);
    (
        record.slice(8..8 + len),
        record.slice(8 + len + 3..8 + len + 3 + usize::from(record[8 + len + 2])),
    )
}

#[test]
fn a_record_written_from_parameter_sets_is_the_one_ffmpeg_wrote() {
    for hex in [
        fixtures::AVC_720P30,
        fixtures::AVC_BASELINE_360P25,
        fixtures::AVC_MAIN_1080P29_97,
        fixtures::AVC_HIGH_422_10,
    ] {
        let (sps, pps) = sets(&bytes(hex));
        assert_eq!(record(&sps, &[&pps]).unwrap(), bytes(hex));
        let extradata =
            [&[0, 0, 0, 1][..], &sps, &[0, 0, 1, 6, 5, 0x80, 0, 0, 0, 1], &pps].concat();
        assert_eq!(config_from_annex_b(&extradata).unwrap().record, bytes(hex));
    }
}

#[test]
fn parameter_sets_that_are_missing_are_incomplete() {
    let (sps, pps) = sets(&bytes(fixtures::AVC_720P30));
    assert!(matches!(record(&sps, &[]), Err(Error::Incomplete { .. })));
    let only_pps = [&[0, 0, 1][..], &pps].concat();
    assert!(matches!(config_from_annex_b(&only_pps), Err(Error::Incomplete { .. })));
    assert!(matches!(config_from_annex_b(&[1, 2, 3]), Err(Error::Invalid { .. })));
}

#[test]
fn a_record_cut_anywhere_before_its_tail_is_incomplete() {
    for (hex, tail) in [(fixtures::AVC_720P30, 4), (fixtures::AVC_MAIN_1080P29_97, 0)] {
        let whole = bytes(hex);
        for end in 0..whole.len() - tail {
            let cut = config(whole.slice(..end));
            assert!(matches!(cut, Err(Error::Incomplete { .. })), "{end}: {cut:?}");
        }
        for end in whole.len() - tail..=whole.len() {
            config(whole.slice(..end)).unwrap();
        }
    }
}

/// Writes bits and Exp-Golomb codes.
#[derive(Default)]
struct BitWriter(Vec<bool>);

impl BitWriter {
    fn bits(&mut self, count: u32, value: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn ue(&mut self, value: u32) -> &mut Self {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.bits(length - 1, 0).bits(length, code)
    }

    fn se(&mut self, value: i32) -> &mut Self {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 { magnitude * 2 - 1 } else { magnitude * 2 })
    }

    fn nal(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for bits in self.0.chunks(8) {
            let byte = bits
                .iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at));
            if byte <= 3 && out.ends_with(&[0, 0]) {
                out.push(3);
            }
            out.push(byte);
        }
        out
    }
}

/// A high-profile SPS of `width`x`height` macroblocks with the given reference pictures and crop.
fn sps(width: u32, height: u32, references: u32, crop: Option<[u32; 4]>) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.bits(8, 0x67).bits(8, 100).bits(8, 0).bits(8, 31).ue(0);
    bits.ue(1).ue(0).ue(0).bits(1, 0).bits(1, 1);
    for list in 0..8 {
        bits.bits(1, list % 2);
        if list % 2 == 1 {
            // The first delta leads to 0, which ends the list; the second list is written whole.
            if list == 1 {
                bits.se(-8);
            } else {
                (0..if list < 6 { 16 } else { 64 }).for_each(|_| {
                    bits.se(1);
                });
            }
        }
    }
    // Picture order by a cycle of two.
    bits.ue(0).ue(1).bits(1, 0).se(-3).se(2).ue(2).se(1).se(-1);
    bits.ue(references).bits(1, 0).ue(width - 1).ue(height - 1).bits(1, 1).bits(1, 1);
    bits.bits(1, u32::from(crop.is_some()));
    for offset in crop.into_iter().flatten() {
        bits.ue(offset);
    }
    bits.bits(1, 0).bits(1, 1);
    bits.nal()
}

fn config_of(sps: &[u8]) -> Result<VideoConfig, Error> {
    let mut out = vec![1, 100, 0, 31, 0xff, 0xe1];
    out.extend(u16::try_from(sps.len()).unwrap().to_be_bytes());
    out.extend(sps);
    out.extend([1, 0, 1, 0x68]);
    config(out.into())
}

#[test]
fn scaling_lists_and_picture_order_cycles_are_walked() {
    let config = config_of(&sps(40, 23, 4, Some([0, 0, 0, 4]))).unwrap();
    assert_eq!((config.width, config.height, config.rate), (640, 360, None));
}

#[test]
fn sizes_out_of_bounds_are_refused_with_the_size() {
    let refused = |width, height| Err(Error::PictureSize { width, height });
    assert_eq!(config_of(&sps(1024, 1024, 1, None)), refused(16_384, 16_384));
    assert_eq!(
        config_of(&sps(1024, 1024, 1, None)).unwrap_err().to_string(),
        "picture of 16384x16384 is not within 1x1 and 3840x2160"
    );
    assert_eq!(config_of(&sps(241, 135, 1, None)), refused(3_856, 2_160));
    assert_eq!(config_of(&sps(1 << 28, 1 << 28, 1, None)), refused(u32::MAX, u32::MAX));
    config_of(&sps(240, 135, 1, None)).unwrap();
    // Cropped to nothing, to less than nothing, and a large picture behind a small window.
    assert_eq!(config_of(&sps(2, 2, 1, Some([8, 8, 0, 0]))), refused(0, 32));
    assert_eq!(config_of(&sps(2, 2, 1, Some([0, 0, 60_000, 60_000]))), refused(32, 0));
    assert_eq!(config_of(&sps(1024, 4, 1, Some([7_000, 0, 0, 0]))), refused(16_384, 64));
}

#[test]
fn a_17th_reference_picture_and_an_sps_above_1_kib_are_refused() {
    config_of(&sps(40, 30, 16, None)).unwrap();
    assert_eq!(config_of(&sps(40, 30, 17, None)), Err(Error::References { references: 17 }));
    let mut long = sps(40, 30, 1, None);
    long.resize(1025, 0x80);
    assert_eq!(config_of(&long), Err(Error::TooLong { what: "SPS", len: 1025, max: 1024 }));
}

#[test]
fn a_second_sps_is_held_against_the_limits_too() {
    let (small, huge) = (sps(40, 30, 1, None), sps(1024, 1024, 1, None));
    let mut out = vec![1, 100, 0, 31, 0xff, 0xe2];
    for set in [&small, &huge] {
        out.extend(u16::try_from(set.len()).unwrap().to_be_bytes());
        out.extend(set);
    }
    out.extend([1, 0, 1, 0x68]);
    assert_eq!(config(out.into()), Err(Error::PictureSize { width: 16_384, height: 16_384 }));
}

#[test]
fn errors_name_the_byte() {
    let mut wrong = bytes(fixtures::AVC_720P30).to_vec();
    wrong[0] = 2;
    let version = Error::Invalid { what: "configurationVersion", offset: 0 };
    assert_eq!(config(wrong.clone().into()), Err(version));
    (wrong[0], wrong[4]) = (1, 0xfe);
    let length = Error::Invalid { what: "lengthSizeMinusOne", offset: 4 };
    assert_eq!(config(wrong.clone().into()), Err(length));
    (wrong[4], wrong[8]) = (0xff, 0x68);
    let header = Error::Invalid { what: "SPS header", offset: 8 };
    assert_eq!(config(wrong.into()), Err(header));
}

#[test]
fn a_vui_that_is_cut_costs_its_own_values_only() {
    let (sps, _) = sets(&bytes(fixtures::AVC_720P30));
    let config = config_of(&sps[..sps.len() - 10]).unwrap();
    assert_eq!((config.width, config.height, config.rate), (1280, 720, None));
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_config_and_never_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = config(garbage.clone().into());
        let _ = config_from_annex_b(&garbage);
        let _ = record(&garbage, &[&garbage]);
    }

    #[test]
    fn a_record_with_changed_bytes_stays_within_the_limits(
        which in 0usize..4,
        changes in prop::collection::vec((0usize..60, any::<u8>()), 1..6),
    ) {
        let all = [
            fixtures::AVC_720P30,
            fixtures::AVC_576P25_WIDE,
            fixtures::AVC_1080I25_JVT_MATRICES,
            fixtures::AVC_HIGH_422_10,
        ];
        let mut record = bytes(all[which]).to_vec();
        for (at, value) in changes {
            let at = at % record.len();
            record[at] = value;
        }
        if let Ok(config) = config(record.into()) {
            prop_assert!((1..=3840).contains(&config.width) && (1..=2160).contains(&config.height));
        }
    }
}

#[test]
fn a_record_longer_than_any_real_one_is_refused() {
    let mut long = vec![0; crate::codec::MAX_RECORD + 1];
    long[0] = 1;
    let error = config(Bytes::from(long)).unwrap_err();
    assert!(matches!(error, Error::TooLong { what: "AVCDecoderConfigurationRecord", .. }));
}

#[test]
fn a_recovery_point_is_found_among_other_messages() {
    for (sei, is_one) in [
        // Alone, behind a picture timing with an emulation prevention byte in it, and behind a long one.
        (vec![0x06, 0x06, 0x01, 0xc4, 0x80], true),
        (vec![0x06, 0x01, 0x04, 0x00, 0x00, 0x03, 0x01, 0x09, 0x06, 0x01, 0xc4, 0x80], true),
        ([&[0x06, 0x05, 0xff, 0x01][..], &[7; 256], &[0x06, 0x01, 0xc4, 0x80]].concat(), true),
        (vec![0x06, 0x01, 0x02, 0x06, 0x01, 0x80], false),
        (vec![0x06, 0x05, 0xff, 0xff, 0xff], false),
        (vec![0x06], false),
        (vec![], false),
        // A slice.
        (vec![0x41, 0x06, 0x01, 0xc4, 0x80], false),
    ] {
        assert_eq!(is_recovery_point(&sei), is_one, "{sei:02x?}");
    }
}
