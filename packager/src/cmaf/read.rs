//! Reading init segments and chunks back: for what a process that died has left, for tests, for
//! the witness that watches our output, and for tools.
//!
//! [`init`] tells what a player learns from an init segment, [`chunks`] what it learns from a part, a
//! segment or any run of them; [`whole_chunks`] stops where a writer has died. What is read is reported
//! as it stands, also where it breaks a rule of CMAF, so that rules can be checked on it; an [`Error`]
//! is only what can't be read at all. No sample's bytes are looked at, encryption and sample groups are
//! passed over, and boxes of unknown kinds are skipped.
//!
//! The input may be anything: sizes are checked before they are used, and nothing is allocated by a
//! number found in the input beyond [`MAX_SAMPLES`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::ops::Range;

use crate::codec;
use crate::media::Config;

mod boxes;
mod event;
mod fragment;
mod movie;

pub use event::Event;
pub use fragment::{chunks, whole_chunks};
pub use movie::init;

/// Four characters that name a box or a brand.
pub type FourCc = [u8; 4];

/// Most samples that one chunk may list; a second of 120 fps video or 96 kHz audio has 120.
pub const MAX_SAMPLES: usize = 16_384;

/// Why bytes can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end before the box does.
    #[error("input ends at byte {offset}, in {what}")]
    Incomplete {
        /// The box or field that is cut.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
    },
    /// A value that can't be.
    #[error("invalid {what} at byte {offset}")]
    Invalid {
        /// The box or field that is wrong.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
    },
    /// The decoder's configuration is not one we know.
    #[error("configuration at byte {offset}: {source}")]
    Config {
        /// Where the configuration begins, from the start of the input.
        offset: usize,
        /// What is wrong with it; its offsets count from there.
        source: codec::Error,
    },
}

/// An init segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Brands of `ftyp`, the major one first.
    pub brands: Vec<FourCc>,
    /// Number of `trak` boxes; what follows is of the first.
    pub tracks: usize,
    /// Track ID.
    pub track_id: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// The longest duration that any header claims, in ticks; 0 in a live presentation.
    pub duration: u64,
    /// ISO 639-2 language of `mdhd`.
    pub language: String,
    /// Values of the `kind` boxes of the track.
    pub roles: Vec<String>,
    /// Whether there is an edit list.
    pub edit_list: bool,
    /// Track IDs with a `trex`: the tracks that go on in fragments.
    pub extended: Vec<u32>,
    /// Kind of the sample entry.
    pub sample_entry: FourCc,
    /// Peak and average bits per second by `btrt`.
    pub bitrates: Option<(u32, u32)>,
    /// Decoder configuration: its record, and what our parsers make of it.
    pub config: Config,
}

/// A chunk: one `moof` and `mdat` with what stands before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it lies in the input.
    pub range: Range<usize>,
    /// Kinds of its boxes in order.
    pub boxes: Vec<FourCc>,
    /// Brands of `styp`, the major one first; empty without one.
    pub brands: Vec<FourCc>,
    /// Producer reference time.
    pub prft: Option<ProducerReferenceTime>,
    /// Event messages.
    pub events: Vec<Event>,
    /// Sequence number of `mfhd`.
    pub sequence: u32,
    /// Number of `traf` boxes; what follows is of the first.
    pub track_fragments: usize,
    /// Track ID.
    pub track_id: u32,
    /// Whether offsets count from the start of the `moof`.
    pub default_base_is_moof: bool,
    /// Version of `tfdt`: 1 has 64 bits.
    pub tfdt_version: u8,
    /// Decode time of the first sample, in ticks.
    pub base_decode_time: u64,
    /// Version of `trun`: 1 has signed composition offsets.
    pub trun_version: u8,
    /// The samples.
    pub samples: Vec<Sample>,
    /// Where the body of `mdat` lies in the input.
    pub data: Range<usize>,
}

impl Chunk {
    /// Length of all samples, in ticks.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    /// Where a sample's bytes lie in the input; `None` if that is outside of this chunk's `mdat`.
    pub fn bytes_of(&self, sample: &Sample) -> Option<Range<usize>> {
        let from = usize::try_from(sample.offset).ok()?;
        let to = from.checked_add(usize::try_from(sample.size).ok()?)?;
        (from >= self.data.start && to <= self.data.end).then_some(from..to)
    }

    /// Whether there are samples, and the bytes of all of them.
    fn holds_its_samples(&self) -> bool {
        !self.samples.is_empty() && self.samples.iter().all(|s| self.bytes_of(s).is_some())
    }
}

/// A `prft` box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerReferenceTime {
    /// Which moment the UTC time is of: 0 for a frame's entering the encoder.
    pub flags: u32,
    /// Seconds since 1900 and their fraction, 32 bits each.
    pub ntp: u64,
    /// The media time that it belongs to, in ticks.
    pub media_time: u64,
}

/// A sample as its `trun` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where its bytes begin in the input; may lie outside of it.
    pub offset: i64,
    /// Size in bytes.
    pub size: u32,
    /// Length in ticks.
    pub duration: u32,
    /// Sample flags (ISO/IEC 14496-12 §8.8.3.1).
    pub flags: u32,
    /// Presentation minus decode time, in ticks.
    pub composition_offset: i64,
}

impl Sample {
    /// Whether decoding can start here.
    pub fn is_sync(&self) -> bool {
        self.flags & 0x0001_0000 == 0
    }

    /// Whether it is said not to depend on other samples.
    pub fn is_independent(&self) -> bool {
        self.flags & 0x0300_0000 == 0x0200_0000
    }
}

#[cfg(test)]
mod tests;
