//! AAC in ADTS (ISO/IEC 14496-3 §1.A.2).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::{Frame, Key, Read};

/// samplingFrequencyIndex 0 to 12 (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// Samples of a frame without SBR.
const SAMPLES: u32 = 1024;

/// Reads the frame at the beginning of some bytes. Several blocks in a frame, each with a checksum of
/// its own, are allowed and not seen: they are no frame here.
pub(super) fn read(bytes: &Bytes) -> Read {
    let [sync, flags, b, c, d, e, f, ..] = bytes.as_ref() else { return Read::Short };
    let head = if flags & 1 == 0 { 9 } else { 7 };
    let length = usize::from(c & 3) << 11 | usize::from(*d) << 3 | usize::from(e >> 5);
    let (rate_index, single) = (b >> 2 & 15, f & 3 == 0);
    let is_frame = *sync == 0xff && flags & 0xf6 == 0xf0 && single && length > head;
    let Some(rate) = RATES.get(usize::from(rate_index)).copied().filter(|_| is_frame) else {
        return Read::Nothing;
    };
    if bytes.len() < length {
        return Read::Short;
    }
    let object = (b >> 6).saturating_add(1);
    let channels = (b & 1) << 2 | c >> 6;
    let config = [object << 3 | rate_index >> 1, (rate_index & 1) << 7 | channels << 3];
    Read::Frame(Frame {
        length,
        config: Key::Short(config),
        data: bytes.slice(head..length),
        samples: SAMPLES,
        rate,
    })
}
