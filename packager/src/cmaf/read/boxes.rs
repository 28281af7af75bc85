//! Walking boxes (ISO/IEC 14496-12 §4.2) and the fields in them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::{Error, FourCc};

/// Reads fields in order and knows where it is in the whole input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes` in the input.
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<Self, Error> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            let end = self.offset.saturating_add(self.bytes.len());
            return Err(Error::Incomplete { what, offset: end });
        };
        let taken = Self { bytes: taken, offset: self.offset };
        *self = Self { bytes: rest, offset: self.offset.saturating_add(len) };
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let taken = self.take(N, what)?;
        let end = Error::Incomplete { what, offset: taken.offset };
        taken.bytes.first_chunk().copied().ok_or(end)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// 64 bits in version 1 of a box, 32 in version 0.
    pub(super) fn versioned(&mut self, version: u8, what: &'static str) -> Result<u64, Error> {
        if version == 0 { self.u32(what).map(u64::from) } else { self.u64(what) }
    }

    pub(super) fn four_cc(&mut self, what: &'static str) -> Result<FourCc, Error> {
        self.array(what)
    }

    /// Version and flags of a full box.
    pub(super) fn full(&mut self, what: &'static str) -> Result<(u8, u32), Error> {
        let word = self.u32(what)?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0x00ff_ffff))
    }

    /// The next box, or `None` at the end.
    pub(super) fn next_box(&mut self) -> Result<Option<Child<'a>>, Error> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let mut at = *self;
        let short = at.u32("box size")?;
        let kind = at.four_cc("box kind")?;
        let size = match short {
            // To the end of the input.
            0 => Some(self.bytes.len()),
            1 => usize::try_from(at.u64("box size")?).ok(),
            size => usize::try_from(size).ok(),
        };
        let header = at.offset.saturating_sub(offset);
        let body = size.and_then(|size| size.checked_sub(header));
        let body = body.ok_or(Error::Invalid { what: "box size", offset })?;
        let body = at.take(body, "box")?;
        *self = at;
        Ok(Some(Child { kind, offset, body }))
    }

    /// The first box of a kind among those that are left, which must be there.
    pub(super) fn child(mut self, kind: &FourCc, what: &'static str) -> Result<Self, Error> {
        let start = self.offset;
        while let Some(found) = self.next_box()? {
            if found.kind == *kind {
                return Ok(found.body);
            }
        }
        Err(Error::Invalid { what, offset: start })
    }
}

/// A box within the input or another box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child<'a> {
    pub(super) kind: FourCc,
    /// Where its header begins in the input.
    pub(super) offset: usize,
    pub(super) body: Reader<'a>,
}

/// Major brand and compatible brands of `ftyp` or `styp`.
pub(super) fn brands(mut body: Reader<'_>) -> Result<Vec<FourCc>, Error> {
    let mut brands = vec![body.four_cc("major_brand")?];
    body.u32("minor_version")?;
    while body.remaining() > 0 {
        brands.push(body.four_cc("compatible_brand")?);
    }
    Ok(brands)
}
