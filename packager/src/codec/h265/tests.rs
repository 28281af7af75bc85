#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;
use crate::codec::fixtures::{self, bytes};

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
