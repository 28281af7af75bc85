//! MPEG audio: layers I to III of MPEG-1 (ISO/IEC 11172-3 §2.4.1.3), MPEG-2 (ISO/IEC 13818-3) and its
//! half rates. Free format, whose frames don't say how long they are, is not read.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::{Frame, Key, Read};
use crate::source::{AudioCodec, ForeignSound};

/// Kilobits per second by bitrate_index 1 to 14.
const LAYER_1: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const LAYER_2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const LAYER_3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LOW_1: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const LOW_2_3: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// By sampling_frequency of MPEG-1.
const RATES: [u32; 3] = [44_100, 48_000, 32_000];

/// Reads the frame at the beginning of some bytes.
pub(super) fn read(bytes: &Bytes) -> Read {
    let [a, b, c, d, ..] = bytes.as_ref() else { return Read::Short };
    let Some(head) = head(*a, *b, *c, *d) else { return Read::Nothing };
    if bytes.len() < head.length {
        return Read::Short;
    }
    let sound = ForeignSound { codec: head.codec, sample_rate: head.rate, channels: head.channels };
    Read::Frame(Frame {
        length: head.length,
        config: Key::Foreign(sound),
        data: bytes.slice(..head.length),
        samples: head.samples,
        rate: head.rate,
    })
}

struct Head {
    codec: AudioCodec,
    length: usize,
    samples: u32,
    rate: u32,
    channels: u8,
}

fn head(a: u8, b: u8, c: u8, d: u8) -> Option<Head> {
    if a != 0xff || b & 0xe0 != 0xe0 {
        return None;
    }
    // 0: the unofficial MPEG-2.5; 1 is reserved.
    let (low, halvings) = match b >> 3 & 3 {
        3 => (false, 0),
        2 => (true, 1),
        0 => (true, 2),
        _ => return None,
    };
    let rate = RATES.get(usize::from(c >> 2 & 3))? >> halvings;
    let padding = u32::from(c >> 1 & 1);
    let index = usize::from(c >> 4).checked_sub(1)?;
    let (table, samples, slot) = match (b >> 1 & 3, low) {
        (3, false) => (LAYER_1, 384u32, 4),
        (3, true) => (LOW_1, 384, 4),
        (2, false) => (LAYER_2, 1152, 1),
        (2, true) => (LOW_2_3, 1152, 1),
        (1, false) => (LAYER_3, 1152, 1),
        (1, true) => (LOW_2_3, 576, 1),
        _ => return None,
    };
    let codec = if b >> 1 & 3 == 1 { AudioCodec::Mp3 } else { AudioCodec::Mp2 };
    let bits_per_second = table.get(index)?.checked_mul(1_000)?;
    // §2.4.3.1: whole slots of one or four bytes.
    let bytes_per_sample = 8u32.checked_mul(slot)?;
    let per_slot = samples.checked_div(bytes_per_sample)?;
    let slots = per_slot.checked_mul(bits_per_second)?.checked_div(rate)?;
    let length = slots.checked_add(padding)?.checked_mul(slot)?;
    let channels = if d >> 6 == 3 { 1 } else { 2 };
    Some(Head { codec, length: usize::try_from(length).ok()?, samples, rate, channels })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_standard() {
        for (bytes, length, samples, rate, codec, channels) in [
            // Layer II, 192 kb/s, 48 kHz, stereo: what broadcasting sends.
            ([0xff, 0xfd, 0xa4, 0x00], 576, 1152, 48_000, AudioCodec::Mp2, 2),
            // Layer III, 128 kb/s, 44.1 kHz, padded, mono.
            ([0xff, 0xfb, 0x92, 0xc0], 418, 1152, 44_100, AudioCodec::Mp3, 1),
            // Layer I, 384 kb/s, 44.1 kHz, padded.
            ([0xff, 0xff, 0xc2, 0x00], 420, 384, 44_100, AudioCodec::Mp2, 2),
            // MPEG-2 layer III, 64 kb/s, 24 kHz.
            ([0xff, 0xf3, 0x84, 0x00], 192, 576, 24_000, AudioCodec::Mp3, 2),
            // MPEG-2 layer II, 64 kb/s, 16 kHz.
            ([0xff, 0xf5, 0x88, 0x00], 576, 1152, 16_000, AudioCodec::Mp2, 2),
        ] {
            let [a, b, c, d] = bytes;
            let head = head(a, b, c, d).unwrap();
            let found = (head.length, head.samples, head.rate, head.codec, head.channels);
            assert_eq!(found, (length, samples, rate, codec, channels), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_reserved_or_does_not_say_its_length_is_no_frame() {
        for [b, c] in [[0xed, 0xa4], [0xf9, 0xa4], [0xfd, 0x04], [0xfd, 0xf4], [0xfd, 0xac]] {
            assert!(head(0xff, b, c, 0).is_none(), "{b:02x} {c:02x}");
        }
        assert!(head(0xfe, 0xfd, 0xa4, 0).is_none());
    }
}
