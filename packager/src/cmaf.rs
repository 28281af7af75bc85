//! CMAF bytes: init segments and chunks.

use bytes::Bytes;

use crate::media::{Rendition, Sample};

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
    /// The samples, at least one, in decoding order without a hole.
    pub samples: &'a [Sample],
}

/// Writes the init segment of a rendition.
pub fn init(rendition: &Rendition) -> Bytes {
    let _ = rendition;
    Bytes::new()
}

/// Writes a chunk.
pub fn chunk(spec: &ChunkSpec<'_>) -> Chunk {
    let _ = spec;
    Chunk { head: Bytes::new(), samples: Vec::new() }
}
