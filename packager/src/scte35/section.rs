//! Splice information sections (§9.6), decoded and encoded.
//!
//! Every field that means something is a field here, so that a section which is decoded and encoded
//! again is the same bytes, as long as its reserved bits are ones as they should be. Descriptors that
//! are of no use here, or make no sense, are kept as bytes (§10.1).
//!
//! Own code, since the `scte35` crate (0.2) can't be given what an attacker may send (a length of 0 and
//! a descriptor that reaches beyond its loop are subtractions below zero in it), prints to standard
//! error, refuses a whole section for one foreign descriptor, and writes cancellations, components and
//! schedules otherwise than it read them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};

mod descriptor;
mod insert;
mod reader;

pub use descriptor::{Delivery, Descriptor, Segment, Segmentation};
pub use insert::{BreakDuration, Component, Insert, Splice, SpliceTime};
use reader::{Reader, put_time, time};

/// The first byte of every section.
const TABLE_ID: u8 = 0xfc;
/// `splice_command_length` of writers from before it was there: the command says where it ends.
const LEGACY_LENGTH: u16 = 0xfff;
/// Bytes up to and with `section_length`.
const HEAD: usize = 3;
/// Bytes of the checksum.
const CRC: usize = 4;
/// Largest section: `section_length` has 12 bits, of which the standard allows 4093.
pub const MAX_SECTION: usize = 4096;
/// What times count up to: they have 33 bits.
pub const TIME_MASK: u64 = 0x1_ffff_ffff;

/// Why bytes are no section that can be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the structure does.
    #[error("section ends at byte {offset}, in {what}")]
    Incomplete {
        /// Field or structure.
        what: &'static str,
        /// Where the bytes end.
        offset: usize,
    },
    /// A field has a value that it can't have.
    #[error("{what} at byte {offset} is not that of a splice information section")]
    Invalid {
        /// Field.
        what: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// The checksum is wrong: what stands in the section may be anything.
    #[error("wrong checksum: {found:#010x} is written, {computed:#010x} is right")]
    Checksum {
        /// What stands there.
        found: u32,
        /// What should.
        computed: u32,
    },
    /// The section is encrypted.
    #[error("the section is encrypted, with algorithm {algorithm}")]
    Encrypted {
        /// `encryption_algorithm`.
        algorithm: u8,
    },
}

/// A splice information section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The four bits before `section_length`: syntax, private, and `sap_type` in the lower two.
    pub flags: u8,
    /// Added to every time in the section, modulo 2^33.
    pub pts_adjustment: u64,
    /// Which key would decrypt it; 0 or 255 in the clear.
    pub cw_index: u8,
    /// Who may see it, 12 bits; 0xfff is everyone.
    pub tier: u16,
    /// What is asked for.
    pub command: Command,
    /// Whether the command's length is not told, as writers from before 2013 do.
    pub legacy_length: bool,
    /// What is said about it.
    pub descriptors: Vec<Descriptor>,
    /// Bytes between the descriptors and the checksum.
    pub stuffing: Bytes,
}

/// What a section asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: the path is alive.
    Null,
    /// A break begins or ends (§9.7.3).
    Insert(Insert),
    /// The descriptors are about this time; `None` means now (§9.7.4).
    TimeSignal(Option<u64>),
    /// A command that is not acted upon: a schedule, a bandwidth reservation, a private one.
    Other {
        /// `splice_command_type`.
        kind: u8,
        /// Its bytes.
        bytes: Bytes,
    },
}

impl Section {
    /// A section in the clear for everyone, made here.
    pub fn new(command: Command, descriptors: Vec<Descriptor>) -> Self {
        Self {
            // sap_type 3: not specified.
            flags: 0b0011,
            pts_adjustment: 0,
            cw_index: 0xff,
            tier: 0xfff,
            command,
            legacy_length: false,
            descriptors,
            stuffing: Bytes::new(),
        }
    }

    /// Reads a section: all of `bytes`, from `table_id` to the checksum.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decode(bytes: &Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        if reader.u8("table_id")? != TABLE_ID {
            return Err(reader.invalid("table_id", 1));
        }
        let word = reader.u16("section_length")?;
        let length = usize::from(word & 0xfff);
        if bytes.len() > MAX_SECTION || length.checked_add(HEAD) != Some(bytes.len()) {
            return Err(reader.invalid("section_length", 2));
        }
        let body = length.checked_sub(CRC);
        let mut reader = reader.take(body.unwrap_or(usize::MAX), "the section")?;
        let found = bytes.last_chunk().map_or(0, |crc| u32::from_be_bytes(*crc));
        let checked = bytes.get(..bytes.len().saturating_sub(CRC)).unwrap_or_default();
        let computed = checksum(checked);
        if found != computed {
            return Err(Error::Checksum { found, computed });
        }
        if reader.u8("protocol_version")? != 0 {
            return Err(reader.invalid("protocol_version", 1));
        }
        let adjustment = reader.u40("pts_adjustment")?;
        if adjustment >> 39 == 1 {
            let algorithm = u8::try_from((adjustment >> 33) & 0x3f).unwrap_or(0);
            return Err(Error::Encrypted { algorithm });
        }
        let cw_index = reader.u8("cw_index")?;
        let lengths = reader.u24("splice_command_length")?;
        let tier = u16::try_from(lengths >> 12).unwrap_or(0);
        let told = u16::try_from(lengths & 0xfff).unwrap_or(0);
        let kind = reader.u8("splice_command_type")?;
        let legacy_length = told == LEGACY_LENGTH;
        let command = if legacy_length {
            Command::decode(kind, &mut reader)?
        } else {
            let mut within = reader.take(told.into(), "splice_command_length")?;
            let command = Command::decode(kind, &mut within)?;
            if within.remaining() > 0 {
                return Err(within.invalid("splice_command_length", 0));
            }
            command
        };
        let length = reader.u16("descriptor_loop_length")?;
        let mut within = reader.take(length.into(), "descriptor_loop_length")?;
        let mut descriptors = Vec::new();
        while within.remaining() > 0 {
            descriptors.push(Descriptor::decode(&mut within)?);
        }
        Ok(Self {
            flags: u8::try_from(word >> 12).unwrap_or(0),
            pts_adjustment: adjustment & TIME_MASK,
            cw_index,
            tier,
            command,
            legacy_length,
            descriptors,
            stuffing: reader.rest(),
        })
    }

    /// Writes the section, with its checksum. `None` where it is longer than a section can be.
    pub fn encode(&self) -> Option<Bytes> {
        let mut command = BytesMut::new();
        let kind = self.command.encode(&mut command);
        let mut descriptors = BytesMut::new();
        for descriptor in &self.descriptors {
            descriptor.encode(&mut descriptors)?;
        }
        let told = if self.legacy_length {
            LEGACY_LENGTH
        } else {
            u16::try_from(command.len()).ok().filter(|length| *length < LEGACY_LENGTH)?
        };
        // Version, adjustment, cw_index, tier and lengths, type; and the length of the loop.
        let fixed = 1usize.saturating_add(5 + 1 + 3 + 1).saturating_add(2);
        let length = [command.len(), descriptors.len(), self.stuffing.len(), CRC]
            .iter()
            .fold(fixed, |sum, more| sum.saturating_add(*more));
        if length.saturating_add(HEAD) > MAX_SECTION {
            return None;
        }
        let length = u16::try_from(length).ok()?;
        let mut out = BytesMut::with_capacity(usize::from(length).saturating_add(HEAD));
        out.put_u8(TABLE_ID);
        out.put_u16(u16::from(self.flags & 0xf) << 12 | length);
        out.put_u8(0);
        out.put_uint(self.pts_adjustment & TIME_MASK, 5);
        out.put_u8(self.cw_index);
        out.put_uint(u64::from(self.tier & 0xfff) << 12 | u64::from(told), 3);
        out.put_u8(kind);
        out.put_slice(&command);
        out.put_u16(u16::try_from(descriptors.len()).ok()?);
        out.put_slice(&descriptors);
        out.put_slice(&self.stuffing);
        out.put_u32(checksum(&out));
        Some(out.freeze())
    }

    /// A time of the section as it is meant: 33 bits, without carry (§9.6.1).
    pub fn effective(&self, pts_time: u64) -> u64 {
        pts_time.wrapping_add(self.pts_adjustment) & TIME_MASK
    }
}

impl Command {
    const NULL: u8 = 0x00;
    const INSERT: u8 = 0x05;
    const TIME_SIGNAL: u8 = 0x06;

    fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match kind {
            Self::NULL => Self::Null,
            Self::INSERT => Self::Insert(Insert::decode(reader)?),
            Self::TIME_SIGNAL => Self::TimeSignal(time(reader)?),
            // Where it ends is not known unless its length is told; then the rest is not to be found.
            kind => Self::Other { kind, bytes: reader.rest() },
        })
    }

    /// Writes the command; gives its type.
    fn encode(&self, out: &mut BytesMut) -> u8 {
        match self {
            Self::Null => Self::NULL,
            Self::Insert(insert) => {
                insert.encode(out);
                Self::INSERT
            }
            Self::TimeSignal(time) => {
                put_time(out, *time);
                Self::TIME_SIGNAL
            }
            Self::Other { kind, bytes } => {
                out.put_slice(bytes);
                *kind
            }
        }
    }
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1 annex A).
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            let shifted = crc << 1;
            if crc >> 31 == 1 { shifted ^ 0x04c1_1db7 } else { shifted }
        })
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(crate) mod tests;
