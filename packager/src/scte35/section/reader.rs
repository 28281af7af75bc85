//! Reading the fields of a section, and the times that stand in several of them.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Error, TIME_MASK};

/// Reads fields in order and knows where it is in the whole section.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    section: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(section: &'a Bytes) -> Self {
        Self { section, at: 0, end: section.len() }
    }

    /// An [`Error::Invalid`] about what stands `back` bytes before here.
    pub(super) fn invalid(&self, what: &'static str, back: usize) -> Error {
        Error::Invalid { what, offset: self.at.saturating_sub(back) }
    }

    pub(super) fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// A reader of the next `len` bytes.
    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<Self, Error> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end);
        let end = end.ok_or(Error::Incomplete { what, offset: self.end })?;
        let taken = Self { section: self.section, at: self.at, end };
        self.at = end;
        Ok(taken)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.section.slice(self.at.min(self.end)..self.end);
        self.at = self.end;
        rest
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<Bytes, Error> {
        Ok(self.take(len, what)?.rest())
    }

    fn uint(&mut self, len: usize, what: &'static str) -> Result<u64, Error> {
        let bytes = self.bytes(len, what)?;
        Ok(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        Ok(u8::try_from(self.uint(1, what)?).unwrap_or(0))
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::try_from(self.uint(2, what)?).unwrap_or(0))
    }

    pub(super) fn u24(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::try_from(self.uint(3, what)?).unwrap_or(0))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::try_from(self.uint(4, what)?).unwrap_or(0))
    }

    pub(super) fn u40(&mut self, what: &'static str) -> Result<u64, Error> {
        self.uint(5, what)
    }
}

/// `splice_time()` (§9.8.1): 33 bits, if there are any.
pub(super) fn time(reader: &mut Reader<'_>) -> Result<Option<u64>, Error> {
    let first = reader.clone().u8("splice_time")?;
    if first & 0x80 == 0 {
        reader.u8("splice_time")?;
        return Ok(None);
    }
    Ok(Some(reader.u40("splice_time")? & TIME_MASK))
}

pub(super) fn put_time(out: &mut BytesMut, time: Option<u64>) {
    match time {
        // The time is there, and six reserved bits are ones.
        Some(time) => out.put_uint((time & TIME_MASK) | 0xfe << 32, 5),
        None => out.put_u8(0x7f),
    }
}
