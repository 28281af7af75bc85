//! Reading and writing bits and Exp-Golomb codes (ISO/IEC 14496-10 §9.1), and reading bytes.
//!
//! [`BitReader`] removes emulation prevention (§7.4.1) while it reads, so nothing is copied and an
//! error's offset is that of the byte in the record, as a hex dump shows it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::Error;

/// Reads bits, most significant first.
#[derive(Clone, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes` in the input, for errors.
    base: usize,
    /// The next byte to load.
    next: usize,
    /// The byte being read.
    current: u8,
    /// Bits of `current` not read yet.
    left: u8,
    /// Whether 0x000003 stands for 0x0000.
    escaped: bool,
    /// Zero bytes loaded in a row.
    zeros: u8,
    /// Bytes of emulation prevention passed over.
    removed: usize,
}

impl<'a> BitReader<'a> {
    /// Reads plain bytes that start at `base` of the input.
    pub(super) fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, base, next: 0, current: 0, left: 0, escaped: false, zeros: 0, removed: 0 }
    }

    /// Reads the payload of a NAL unit (its header included) that starts at `base` of the input.
    pub(super) fn nal(bytes: &'a [u8], base: usize) -> Self {
        Self { escaped: true, ..Self::new(bytes, base) }
    }

    /// An [`Error::Invalid`] about the field just read.
    pub(super) fn invalid(&self, what: &'static str) -> Error {
        let last = self.base.saturating_add(self.next.saturating_sub(1));
        Error::Invalid { what, offset: last }
    }

    /// Bits read so far, emulation prevention not counted.
    pub(super) fn position(&self) -> usize {
        let loaded = self.next.saturating_sub(self.removed).saturating_mul(8);
        loaded.saturating_sub(usize::from(self.left))
    }

    fn load(&mut self, what: &'static str) -> Result<(), Error> {
        let mut byte = self.byte(what)?;
        if self.escaped && self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            self.removed = self.removed.saturating_add(1);
            byte = self.byte(what)?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        self.current = byte;
        self.left = 8;
        Ok(())
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, Error> {
        let end = Error::Incomplete { what, offset: self.base.saturating_add(self.next) };
        let byte = *self.bytes.get(self.next).ok_or(end)?;
        self.next = self.next.saturating_add(1);
        Ok(byte)
    }

    /// One bit.
    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, Error> {
        if self.left == 0 {
            self.load(what)?;
        }
        self.left = self.left.saturating_sub(1);
        Ok(self.current.checked_shr(u32::from(self.left)).unwrap_or(0) & 1 == 1)
    }

    /// `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: u32, what: &'static str) -> Result<u32, Error> {
        let mut value = 0u32;
        for _ in 0..count {
            value = (value << 1) | u32::from(self.flag(what)?);
        }
        Ok(value)
    }

    /// `count` bits that nobody needs.
    pub(super) fn skip(&mut self, count: u32, what: &'static str) -> Result<(), Error> {
        for _ in 0..count {
            self.flag(what)?;
        }
        Ok(())
    }

    /// ue(v), at most `max`.
    pub(super) fn ue(&mut self, max: u32, what: &'static str) -> Result<u32, Error> {
        let mut zeros = 0u32;
        while !self.flag(what)? {
            zeros = zeros.saturating_add(1);
            if zeros > 31 {
                return Err(self.invalid(what));
            }
        }
        let tail = self.bits(zeros, what)?;
        let value = 1u32.checked_shl(zeros).unwrap_or(0).wrapping_sub(1).saturating_add(tail);
        if value > max {
            return Err(self.invalid(what));
        }
        Ok(value)
    }

    /// se(v).
    pub(super) fn se(&mut self, what: &'static str) -> Result<i32, Error> {
        let code = self.ue(u32::MAX.wrapping_sub(1), what)?;
        let magnitude = i32::try_from(code.div_ceil(2)).map_err(|_| self.invalid(what))?;
        Ok(if code % 2 == 1 { magnitude } else { magnitude.saturating_neg() })
    }
}

/// Writes bits, most significant first. There is no emulation prevention in what it writes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that do not fill a byte yet, in the low end.
    rest: u32,
    /// How many those are: 0 to 7.
    count: u32,
}

impl BitWriter {
    /// Room for `bytes` bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// The low `count` bits of `value`, at most 24.
    pub(super) fn bits(&mut self, count: u32, value: u32) {
        let mask = 1u32.checked_shl(count).unwrap_or(0).wrapping_sub(1);
        self.rest = self.rest.checked_shl(count).unwrap_or(0) | (value & mask);
        self.count = self.count.saturating_add(count);
        while self.count >= 8 {
            self.count = self.count.saturating_sub(8);
            let byte = self.rest.checked_shr(self.count).unwrap_or(0);
            self.bytes.push(byte.to_le_bytes()[0]);
        }
    }

    /// ue(v) of 16 bits.
    pub(super) fn ue(&mut self, value: u16) {
        let code = u32::from(value).saturating_add(1);
        let tail = 31u32.saturating_sub(code.leading_zeros());
        self.bits(tail, 0);
        self.bits(tail.saturating_add(1), code);
    }

    /// Bits `range` of `bytes`; what lies beyond their end is not written.
    pub(super) fn copy(&mut self, bytes: &[u8], range: std::ops::Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let Some(byte) = bytes.get(at / 8) else { return };
            let (skipped, left) = (at % 8, range.end.saturating_sub(at));
            let count = 8usize.saturating_sub(skipped).min(left);
            let below = 8usize.saturating_sub(skipped).saturating_sub(count);
            let value = u32::from(*byte).checked_shr(u32::try_from(below).unwrap_or(0));
            self.bits(u32::try_from(count).unwrap_or(0), value.unwrap_or(0));
            at = at.saturating_add(count);
        }
    }

    /// Fills the last byte with ones or zeros.
    pub(super) fn align(&mut self, one: bool) {
        while self.count != 0 {
            self.bits(1, u32::from(one));
        }
    }

    /// The bytes written; a last one that is not full is filled with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.align(false);
        self.bytes
    }
}

/// Reads big-endian bytes of a record and remembers where it is.
#[derive(Clone, Debug)]
pub(super) struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    /// Reads from the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(Error::Incomplete { what, offset: self.bytes.len() });
        };
        self.at = self.at.saturating_add(len);
        Ok(taken)
    }

    /// One byte.
    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.take(1, what).map(|bytes| bytes.first().copied().unwrap_or(0))
    }

    /// Two bytes.
    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        let high = self.u8(what)?;
        Ok(u16::from_be_bytes([high, self.u8(what)?]))
    }
}

#[cfg(test)]
mod tests;
