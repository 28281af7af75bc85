//! AC-3 and enhanced AC-3 (ETSI TS 102 366): frames by their headers. Of enhanced AC-3 the first
//! independent substream is read: it is whole without the others, which hold further programs and
//! channels beyond 5.1.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::{Frame, Key, Read};
use crate::source::{AudioCodec, ForeignSound};

/// By fscod (table 4.1).
const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Kilobits per second by frmsizecod / 2 (table 4.13).
const BIT_RATES: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
/// Channels by acmod (table 4.3), without the one for low frequencies.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
/// Samples of a block.
const BLOCK: u32 = 256;
/// The last bsid of AC-3; 9 and 10 are of half and a quarter of the rate.
const LAST_AC3: u8 = 10;

/// Reads the frame at the beginning of some bytes.
pub(super) fn read(bytes: &Bytes) -> Read {
    let [a, b, c, d, e, f, g, _, ..] = bytes.as_ref() else { return Read::Short };
    if [*a, *b] != [0x0b, 0x77] {
        return Read::Nothing;
    }
    let head = match f >> 3 {
        bsid @ 0..=LAST_AC3 => ac3(bsid, *e, *g),
        11..=16 => enhanced(*c, *d, *e),
        _ => None,
    };
    let Some(Head { sound, length, samples, is_first }) = head else { return Read::Nothing };
    if bytes.len() < length {
        return Read::Short;
    }
    if !is_first {
        return Read::Passed(length);
    }
    Read::Frame(Frame {
        length,
        config: Key::Foreign(sound),
        data: bytes.slice(..length),
        samples,
        rate: sound.sample_rate,
    })
}

struct Head {
    sound: ForeignSound,
    length: usize,
    samples: u32,
    /// Whether it belongs to the substream that is read.
    is_first: bool,
}

/// §4.3.1 and §4.4.1.
fn ac3(bsid: u8, e: u8, g: u8) -> Option<Head> {
    let rate = *RATES.get(usize::from(e >> 6))?;
    let size = e & 0x3f;
    let bit_rate = *BIT_RATES.get(usize::from(size >> 1))?;
    // A frame has six blocks; 44.1 kHz does not divide and alternates.
    let words = match rate {
        48_000 => bit_rate.checked_mul(2)?,
        32_000 => bit_rate.checked_mul(3)?,
        _ => bit_rate.checked_mul(96_000)?.checked_div(44_100)?.checked_add(u32::from(size & 1))?,
    };
    let halvings = bsid.saturating_sub(8);
    let mode = g >> 5;
    // Fields that are there for some modes lie before the flag.
    let before = [mode & 1 != 0 && mode != 1, mode & 4 != 0, mode == 2];
    let skipped = before.into_iter().filter(|there| *there).count().checked_mul(2)?;
    let low = u32::from(g & 0x1f) >> 4usize.saturating_sub(skipped) & 1;
    let channels = CHANNELS.get(usize::from(mode))?.checked_add(u8::from(low == 1))?;
    Some(Head {
        sound: ForeignSound { codec: AudioCodec::Ac3, sample_rate: rate >> halvings, channels },
        length: usize::try_from(words.checked_mul(2)?).ok()?,
        samples: BLOCK.checked_mul(6)?,
        is_first: true,
    })
}

/// §E.1.2 and §E.1.3.
fn enhanced(c: u8, d: u8, e: u8) -> Option<Head> {
    let (kind, substream) = (c >> 6, c >> 3 & 7);
    let words = (u32::from(c & 7) << 8 | u32::from(d)).checked_add(1)?;
    let (rate, blocks) = match e >> 6 {
        // Half the rate, always six blocks.
        3 => (RATES.get(usize::from(e >> 4 & 3))? >> 1, 6),
        code => {
            let blocks = [1, 2, 3, 6];
            (*RATES.get(usize::from(code))?, *blocks.get(usize::from(e >> 4 & 3))?)
        }
    };
    let channels = CHANNELS.get(usize::from(e >> 1 & 7))?.checked_add(e & 1)?;
    Some(Head {
        sound: ForeignSound { codec: AudioCodec::Eac3, sample_rate: rate, channels },
        length: usize::try_from(words.checked_mul(2)?).ok()?,
        samples: BLOCK.checked_mul(blocks)?,
        // Type 1 depends on the one before; 3 is reserved.
        is_first: (kind == 0 || kind == 2) && substream == 0,
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn of(head: &[u8]) -> Read {
        let mut bytes = vec![0; 4_000];
        bytes[..head.len()].copy_from_slice(head);
        read(&bytes.into())
    }

    #[test]
    fn frames_are_as_long_as_their_headers_say() {
        for (head, length, rate, channels, samples, codec) in [
            // 192 kb/s, 48 kHz, stereo: bsid 8, acmod 2, dsurmod, no LFE.
            (&[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x40, 0][..], 768, 48_000, 2, 1536, AudioCodec::Ac3),
            // 448 kb/s, 48 kHz, 5.1: acmod 7, cmixlev, surmixlev, LFE.
            (&[0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0], 1792, 48_000, 6, 1536, AudioCodec::Ac3),
            // 128 kb/s, 44.1 kHz, mono, the longer of two.
            (&[0x0b, 0x77, 0, 0, 0x51, 0x40, 0x20, 0], 558, 44_100, 1, 1536, AudioCodec::Ac3),
            // Enhanced, 48 kHz, six blocks, 5.1, 768 bytes.
            (&[0x0b, 0x77, 0x01, 0x7f, 0x3f, 0x80, 0, 0], 768, 48_000, 6, 1536, AudioCodec::Eac3),
            // Enhanced, half of 48 kHz, stereo.
            (&[0x0b, 0x77, 0x00, 0x7f, 0xc4, 0x80, 0, 0], 256, 24_000, 2, 1536, AudioCodec::Eac3),
        ] {
            let Read::Frame(frame) = of(head) else { panic!("{head:02x?}") };
            let sound = ForeignSound { codec, sample_rate: rate, channels };
            assert_eq!((frame.length, frame.samples), (length, samples), "{head:02x?}");
            assert_eq!(frame.config, Key::Foreign(sound));
        }
    }

    #[test]
    fn substreams_that_are_not_the_first_are_passed_over() {
        // A dependent one, and the second program's.
        for c in [0x40, 0x08] {
            let found = of(&[0x0b, 0x77, c, 0x7f, 0x3f, 0x80, 0, 0]);
            assert!(matches!(found, Read::Passed(256)), "{found:?}");
        }
    }

    #[test]
    fn what_is_reserved_is_no_frame() {
        for head in [
            [0x0b, 0x77, 0, 0, 0xc0, 0x40, 0, 0],
            [0x0b, 0x77, 0, 0, 0x26, 0x40, 0, 0],
            [0x0b, 0x77, 0, 0, 0x14, 0xf8, 0, 0],
            [0x0b, 0x78, 0, 0, 0x14, 0x40, 0, 0],
        ] {
            assert!(matches!(of(&head), Read::Nothing), "{head:02x?}");
        }
    }
}
