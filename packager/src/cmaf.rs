//! CMAF bytes (ISO/IEC 23000-19, over ISO/IEC 14496-12): init segments and chunks, reading
//! both back, and the rules that hold for them.
//!
//! ```text
//! Rendition ──────────────► init:  ftyp moov
//! Rendition, [Sample], k ─► chunk: [styp] [prft] emsg* moof mdat-header │ samples, by refcount
//! first part of a segment ─► key frame: a chunk of one sample
//! scheme, time, message ──► event: emsg
//! ```
//!
//! One chunk is one part; a segment is the concatenation of its chunks, byte for byte. Times are
//! what the samples say: an edit list is never written, composition offsets may be negative
//! (structural brand `cmf2`). The same input gives the same bytes on every node.
//!
//! Nothing here decides where a part or a segment ends, encrypts, or looks into a sample.

use bytes::Bytes;

use crate::media::{Rendition, Sample};

mod chunk;
mod emsg;
mod init;
mod key_frame;
pub mod read;
pub mod rules;

pub use chunk::{chunk, sequence};
pub use emsg::{EventSpec, emsg};
pub use init::init;
pub use key_frame::key_frame;

/// The one track in every init segment and chunk.
const TRACK_ID: u32 = 1;

/// One CMAF chunk: a head of boxes, then the samples' own bytes, never joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// `styp? prft? emsg* moof` and the header of `mdat`.
    pub head: Bytes,
    /// The samples' bytes in order: the body of `mdat`.
    pub samples: Vec<Bytes>,
}

impl Chunk {
    /// Size of the chunk in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.samples.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there is nothing in it; a chunk always has a head.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// What a chunk is written from.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSpec<'a> {
    /// The rendition, for its timescale and kind.
    pub rendition: &'a Rendition,
    /// Number of the segment.
    pub k: u64,
    /// Number of the part in the segment, from 0.
    pub part: u32,
    /// The samples, at least one, in decoding order without a hole. A sample is below 4 GiB, which
    /// the limits of [`crate::codec::nal`] see to.
    pub samples: &'a [Sample],
    /// `emsg` boxes, ready-made and whole, to stand before the `moof`.
    pub events: &'a [Bytes],
}

#[cfg(test)]
pub(crate) mod tests;
