//! NAL units: where they begin and end in an access unit, and how many there may be.
//!
//! Two framings exist. A length before each unit (ISO/IEC 14496-15 §5.3.2) is what RTMP carries
//! and what CMAF stores; start codes (ISO/IEC 14496-10 annex B) are what MPEG-TS carries and what
//! encoders write. [`Units`] walks the first, [`AnnexB`] the second, and [`from_annex_b`] turns
//! the second into the first. The contents of a unit are never looked at, its first byte excepted.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;

use crate::media::VideoCodec;

/// Largest NAL unit, in bytes: an IDR picture at 20 Mb/s and one picture a second stays below.
pub const MAX_NAL: usize = 4 * 1024 * 1024;
/// Most NAL units in an access unit: real encoders stay below 100 slices, and a decoder spends
/// time on each.
pub const MAX_NALS: usize = 512;
/// Most SEI bytes in an access unit: captions, timecodes and encoder banners are below 4 KiB.
pub const MAX_SEI: usize = 64 * 1024;

/// Why an access unit is not taken. Offsets are from the start of the access unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The access unit ends before the NAL unit does.
    #[error("access unit ends within the NAL unit of {len} bytes at byte {offset}")]
    Incomplete {
        /// Where the unit's length field begins.
        offset: usize,
        /// Length the unit claims; 0 where the length field itself is cut.
        len: usize,
    },
    /// A unit of no bytes: not even a header.
    #[error("empty NAL unit at byte {offset}")]
    Empty {
        /// Where the unit's length field begins.
        offset: usize,
    },
    /// A unit above [`MAX_NAL`].
    #[error("NAL unit of {len} bytes at byte {offset} is above {MAX_NAL}")]
    TooLong {
        /// Where the unit begins.
        offset: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// More than [`MAX_NALS`] units.
    #[error("more than {MAX_NALS} NAL units in an access unit, at byte {offset}")]
    TooMany {
        /// Where the first unit too many begins.
        offset: usize,
    },
    /// More than [`MAX_SEI`] bytes of SEI.
    #[error("more than {MAX_SEI} bytes of SEI in an access unit, at byte {offset}")]
    TooMuchSei {
        /// Where the unit that is too much begins.
        offset: usize,
    },
    /// Bytes before the first start code.
    #[error("no start code at byte {offset}")]
    NoStartCode {
        /// Where a start code was expected.
        offset: usize,
    },
}

/// How long the length before each NAL unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LengthSize {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes: what every encoder writes.
    #[default]
    Four,
}

impl LengthSize {
    /// From the lengthSizeMinusOne of a configuration record; `None` for the forbidden 2.
    pub fn from_minus_one(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::One),
            1 => Some(Self::Two),
            3 => Some(Self::Four),
            _ => None,
        }
    }

    /// Length in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// A NAL unit and where its framing (length field or payload after a start code) begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Offset in the access unit.
    pub offset: usize,
    /// Header and payload, with emulation prevention; never empty.
    pub bytes: &'a [u8],
}

impl Unit<'_> {
    /// nal_unit_type.
    pub fn kind(&self, codec: VideoCodec) -> u8 {
        let first = self.bytes.first().copied().unwrap_or(0);
        match codec {
            VideoCodec::H264 => first & 0x1f,
            VideoCodec::H265 => (first >> 1) & 0x3f,
        }
    }
}

/// Walks length-prefixed NAL units. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    bytes: &'a [u8],
    length: LengthSize,
    at: usize,
    count: usize,
}

impl<'a> Units<'a> {
    /// Walks the units of one access unit.
    pub fn new(access_unit: &'a [u8], length: LengthSize) -> Self {
        Self { bytes: access_unit, length, at: 0, count: 0 }
    }

    fn read(&mut self) -> Result<Unit<'a>, Error> {
        let offset = self.at;
        if self.count >= MAX_NALS {
            return Err(Error::TooMany { offset });
        }
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let Some((prefix, rest)) = rest.split_at_checked(self.length.bytes()) else {
            return Err(Error::Incomplete { offset, len: 0 });
        };
        let len = prefix.iter().fold(0usize, |len, byte| (len << 8) | usize::from(*byte));
        if len == 0 {
            return Err(Error::Empty { offset });
        }
        if len > MAX_NAL {
            return Err(Error::TooLong { offset, len });
        }
        let bytes = rest.get(..len).ok_or(Error::Incomplete { offset, len })?;
        self.count = self.count.saturating_add(1);
        self.at = offset.saturating_add(self.length.bytes()).saturating_add(len);
        Ok(Unit { offset, bytes })
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<Unit<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let unit = self.read();
        if unit.is_err() {
            self.at = self.bytes.len();
        }
        Some(unit)
    }
}

/// What an access unit holds, as far as packaging is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AccessUnit {
    /// Number of NAL units.
    pub nals: usize,
    /// Bytes of SEI.
    pub sei: usize,
    /// Whether decoding can start here: an IDR (H.264) or IRAP picture (H.265).
    pub random_access: bool,
    /// Whether there is a sequence parameter set, which a decoder would follow.
    pub sequence: bool,
}

/// Walks a whole length-prefixed access unit and holds it against the limits.
pub fn check(
    access_unit: &[u8],
    length: LengthSize,
    codec: VideoCodec,
) -> Result<AccessUnit, Error> {
    let mut found = AccessUnit::default();
    for unit in Units::new(access_unit, length) {
        let unit = unit?;
        let kind = unit.kind(codec);
        found.nals = found.nals.saturating_add(1);
        if is_sei(codec, kind) {
            found.sei = found.sei.saturating_add(unit.bytes.len());
            if found.sei > MAX_SEI {
                return Err(Error::TooMuchSei { offset: unit.offset });
            }
        }
        found.random_access |= is_random_access(codec, kind);
        found.sequence |= is_sequence(codec, kind);
    }
    Ok(found)
}

fn is_sei(codec: VideoCodec, kind: u8) -> bool {
    match codec {
        VideoCodec::H264 => kind == 6,
        VideoCodec::H265 => matches!(kind, 39 | 40),
    }
}

/// Whether a NAL unit of this type is a sequence parameter set.
pub(super) fn is_sequence(codec: VideoCodec, kind: u8) -> bool {
    match codec {
        VideoCodec::H264 => kind == 7,
        VideoCodec::H265 => kind == 33,
    }
}

/// Whether a NAL unit of this type is a slice that decoding can start with.
fn is_random_access(codec: VideoCodec, kind: u8) -> bool {
    match codec {
        VideoCodec::H264 => kind == 5,
        // BLA, IDR, CRA and the two reserved IRAP types (table 7-1).
        VideoCodec::H265 => (16..=23).contains(&kind),
    }
}

/// Whether an access unit is a leading picture that can't be decoded where decoding starts with the
/// random access picture before it: RASL of H.265 (table 7-1). H.264 has no mark for them.
pub fn is_skipped_leading(access_unit: &[u8], codec: VideoCodec) -> bool {
    codec == VideoCodec::H265
        && Units::new(access_unit, LengthSize::Four)
            .map_while(Result::ok)
            .map(|unit| unit.kind(codec))
            .find(|kind| *kind < 32)
            .is_some_and(|kind| matches!(kind, 8 | 9))
}

/// Walks NAL units between start codes; zero bytes around them belong to no unit (B.1.1).
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    bytes: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> AnnexB<'a> {
    /// Walks the units of a byte stream.
    pub fn new(stream: &'a [u8]) -> Self {
        Self { bytes: stream, at: 0, count: 0 }
    }

    fn read(&mut self) -> Result<Option<Unit<'a>>, Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if zeros == rest.len() {
            self.at = self.bytes.len();
            return Ok(None);
        }
        let mark = self.at.saturating_add(zeros);
        if zeros < 2 || self.bytes.get(mark) != Some(&1) {
            return Err(Error::NoStartCode { offset: self.at });
        }
        let offset = mark.saturating_add(1);
        let rest = self.bytes.get(offset..).unwrap_or_default();
        // A unit never holds 000000 or 000001: either is the end of it.
        let end = end_of_unit(rest);
        let unit = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at = offset.saturating_add(unit.len());
        let trailing = unit.iter().rev().take_while(|byte| **byte == 0).count();
        let bytes = unit.get(..unit.len().saturating_sub(trailing)).unwrap_or_default();
        if bytes.is_empty() {
            return Err(Error::Empty { offset });
        }
        if bytes.len() > MAX_NAL {
            return Err(Error::TooLong { offset, len: bytes.len() });
        }
        if self.count >= MAX_NALS {
            return Err(Error::TooMany { offset });
        }
        self.count = self.count.saturating_add(1);
        Ok(Some(Unit { offset, bytes }))
    }
}

/// Where 000000 or 000001 begins.
fn end_of_unit(bytes: &[u8]) -> Option<usize> {
    // Two zeros are rare in coded pictures: what follows them decides. Matches do not overlap, and
    // need not: three zeros are found by their first two.
    memmem::find_iter(bytes, &[0, 0])
        .find(|at| matches!(bytes.get(at.saturating_add(2)), Some(0 | 1)))
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = Result<Unit<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let unit = self.read();
        if unit.is_err() {
            self.at = self.bytes.len();
        }
        unit.transpose()
    }
}

/// Rewrites a byte stream with start codes as NAL units with four-byte lengths.
pub fn from_annex_b(stream: &[u8]) -> Result<Bytes, Error> {
    // Start codes have three bytes and lengths four: exact unless there are hundreds of units.
    let mut out = BytesMut::with_capacity(stream.len().saturating_add(64));
    for unit in AnnexB::new(stream) {
        let unit = unit?;
        let len = u32::try_from(unit.bytes.len())
            .map_err(|_| Error::TooLong { offset: unit.offset, len: unit.bytes.len() })?;
        out.put_u32(len);
        out.put_slice(unit.bytes);
    }
    Ok(out.freeze())
}

/// Takes emulation prevention (ISO/IEC 14496-10 §7.4.1) out of a NAL unit.
pub(super) fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0u8;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros.saturating_add(1) } else { 0 };
        out.push(*byte);
    }
    out
}

/// Puts emulation prevention into a NAL unit.
pub(super) fn escape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len().saturating_add(unit.len() / 64));
    let mut zeros = 0u8;
    for byte in unit {
        if zeros >= 2 && *byte <= 3 {
            zeros = 0;
            out.push(3);
        }
        zeros = if *byte == 0 { zeros.saturating_add(1) } else { 0 };
        out.push(*byte);
    }
    // A unit never ends with a zero: those after it would be a start code's.
    if zeros > 0 {
        out.push(3);
    }
    out
}

#[cfg(test)]
mod tests;
