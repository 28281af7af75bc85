//! AAC in LATM with its sync layer, LOAS (ISO/IEC 14496-3 §1.7): what DVB sends. One program of one
//! layer, one frame in each element, as ETSI TS 101 154 §6.4 has it. The frame lies at any bit and is
//! moved to a byte.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};
use packager::codec::{Error, aac};

use super::{Frame, Key, MAX_FRAME, Read};

/// The sync layer's head: 11 bits of sync word, 13 of length.
const HEAD: usize = 3;

/// Bytes of otherDataLenBits behind its first, at the most. Nobody sends other data; without a bound, frames
/// of nothing but this number, one in the other, would be read to their end again and again.
const OTHER_DATA_BYTES: usize = 3;

/// What a multiplex has said of itself.
#[derive(Debug, Default)]
pub(super) struct Mux {
    config: Option<Config>,
}

/// StreamMuxConfig (§1.7.3), as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Config {
    /// AudioSpecificConfig.
    record: Bytes,
    /// Samples per second and in a frame, as its core codes them.
    rate: u32,
    samples: u32,
}

impl Mux {
    /// Reads the element at the beginning of some bytes.
    pub(super) fn read(&mut self, bytes: &Bytes) -> Read {
        let [a, b, c, ..] = bytes.as_ref() else { return Read::Short };
        if *a != 0x56 || b & 0xe0 != 0xe0 {
            return Read::Nothing;
        }
        let length = (usize::from(b & 0x1f) << 8 | usize::from(*c)).saturating_add(HEAD);
        if length > MAX_FRAME {
            return Read::Nothing;
        }
        let Some(element) = bytes.get(HEAD..length) else { return Read::Short };
        let mut bits = Bits::new(element);
        let Some(is_same) = bits.flag() else { return Read::Nothing };
        if !is_same {
            self.config = config(&mut bits);
            if self.config.is_none() {
                let what = "form of LATM (one program, layer and frame are read)";
                return Read::Unusable(length, Error::Unsupported { what, value: 0 });
            }
        }
        // It comes with the first of every few.
        let Some(config) = &self.config else { return Read::Passed(length) };
        let Some(data) = payload(&mut bits) else { return Read::Nothing };
        Read::Frame(Frame {
            length,
            config: Key::Long(config.record.clone()),
            data,
            samples: config.samples,
            rate: config.rate,
        })
    }
}

/// PayloadLengthInfo and PayloadMux: the frame.
fn payload(bits: &mut Bits<'_>) -> Option<Bytes> {
    let mut length = 0usize;
    loop {
        let more = bits.take(8)?;
        length = length.checked_add(usize::try_from(more).ok()?).filter(|l| *l <= MAX_FRAME)?;
        if more < 255 {
            return bits.bytes(length);
        }
    }
}

/// Reads StreamMuxConfig; `None` for a multiplex of another form.
fn config(bits: &mut Bits<'_>) -> Option<Config> {
    let version = bits.flag()?;
    if version && bits.flag()? {
        return None;
    }
    if version {
        bits.value()?;
    }
    let _same_framing = bits.flag()?;
    let (subframes, programs, layers) = (bits.take(6)?, bits.take(4)?, bits.take(3)?);
    if (subframes, programs, layers) != (0, 0, 0) {
        return None;
    }
    let record = if version {
        let length = bits.value()?;
        let record = bits.clone().copy(length)?;
        bits.skip(length)?;
        record
    } else {
        let (before, begins) = (bits.clone(), bits.at);
        skip_specific_config(bits)?;
        before.copy(bits.at.checked_sub(begins)?)?
    };
    // frameLengthType 0: as long as stated before each frame.
    if bits.take(3)? != 0 {
        return None;
    }
    bits.skip(8)?;
    if bits.flag()? {
        if version {
            bits.value()?;
        } else {
            let mut left = OTHER_DATA_BYTES;
            while bits.take(9)? & 0x100 != 0 {
                left = left.checked_sub(1)?;
            }
        }
    }
    if bits.flag()? {
        bits.skip(8)?;
    }
    let rate = core_rate(&record)?;
    // With SBR a frame is twice as long at twice the rate, which is the same time.
    let samples = aac::config(record.clone()).ok().map_or(1024, |config| {
        if config.sample_rate > rate { config.frame_samples / 2 } else { config.frame_samples }
    });
    Some(Config { record, rate, samples })
}

/// Goes over an AudioSpecificConfig (§1.6.2.1) of AAC, whose length nothing says. A rate, extension or
/// channel layout that is written out makes it longer.
fn skip_specific_config(bits: &mut Bits<'_>) -> Option<()> {
    let mut object = object_type(bits)?;
    sample_rate(bits)?;
    let channels = bits.take(4)?;
    // SBR, and parametric stereo.
    if object == 5 || object == 29 {
        sample_rate(bits)?;
        object = object_type(bits)?;
    }
    // Main, LC, SSR, LTP, and their layouts; others have other forms.
    if !(1..=4).contains(&object) || channels == 0 {
        return None;
    }
    bits.flag()?;
    if bits.flag()? {
        bits.skip(14)?;
    }
    bits.flag()?;
    Some(())
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => bits.take(6)?.checked_add(32),
        object => Some(object),
    }
}

/// The sample rate, or `Some(0)` for an index that has none.
fn sample_rate(bits: &mut Bits<'_>) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    match bits.take(4)? {
        15 => bits.take(24),
        index => RATES.get(usize::try_from(index).ok()?).copied(),
    }
}

/// The rate that stands first in an AudioSpecificConfig.
fn core_rate(record: &[u8]) -> Option<u32> {
    let mut bits = Bits::new(record);
    object_type(&mut bits)?;
    sample_rate(&mut bits).filter(|rate| *rate > 0)
}

/// Bits, most significant first.
#[derive(Clone, Debug)]
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// The next `count` bits, at most 32.
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            let bit = u32::from(byte) >> 7usize.saturating_sub(self.at % 8) & 1;
            value = value << 1 | bit;
            self.at = self.at.checked_add(1)?;
        }
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        let at = self.at.checked_add(count)?;
        (at <= self.bytes.len().checked_mul(8)?).then(|| self.at = at)
    }

    /// LatmGetValue().
    fn value(&mut self) -> Option<usize> {
        let more = self.take(2)?.checked_add(1)?;
        let bits = usize::try_from(more.checked_mul(8)?).ok()?;
        usize::try_from(self.take(bits)?).ok()
    }

    /// The next `length` bytes, moved to where a byte begins.
    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        let (first, shift) = (self.at / 8, self.at % 8);
        let end = first.checked_add(length)?;
        let found = if shift == 0 {
            Bytes::copy_from_slice(self.bytes.get(first..end)?)
        } else {
            let whole = self.bytes.get(first..end.checked_add(1)?)?;
            let mut moved = BytesMut::with_capacity(length);
            let pairs = whole.iter().zip(whole.iter().skip(1));
            let back = 8usize.saturating_sub(shift);
            moved.extend(pairs.map(|(high, low)| high << shift | low >> back));
            moved.freeze()
        };
        self.skip(length.checked_mul(8)?)?;
        Some(found)
    }

    /// The next `count` bits, filled up with zeros to whole bytes.
    fn copy(mut self, count: usize) -> Option<Bytes> {
        let mut copied = BytesMut::new();
        let mut left = count;
        while left > 0 {
            let some = left.min(8);
            let byte = u8::try_from(self.take(some)?).ok()?;
            copied.put_u8(byte << 8usize.saturating_sub(some));
            left = left.saturating_sub(some);
        }
        Some(copied.freeze())
    }
}
