//! What a segmenter makes, why it can't, and where one goes on that an earlier process has left.

use bytes::Bytes;

use crate::cmaf::{self, Chunk, ChunkSpec};
use crate::media::{Rendition, Sample};
use crate::timeline::Beginning;

/// What the segmenter makes.
#[derive(Clone, Debug)]
pub enum Output {
    /// The init segment of a rendition; once, before its first chunk.
    Init {
        /// Position of the rendition.
        rendition: usize,
        /// `ftyp` and `moov`.
        bytes: Bytes,
    },
    /// A part.
    Chunk(PartChunk),
    /// No further part of this segment follows.
    SegmentClosed {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
    },
    /// This segment begins, and its rendition is switched off: nothing worth playing comes of it. Comes
    /// before its first chunk.
    Off {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
        /// Where it begins, in ticks of the rendition.
        start: i64,
    },
    /// This cut of a source is the one nearest to a splice. Comes before the first chunk of its segment.
    Spliced {
        /// The splice, in video ticks.
        splice: i64,
        /// Number of the segment that begins with the cut.
        k: u64,
        /// The cut, in video ticks.
        at: i64,
    },
    /// Another stretch of the run begins: boundaries have drifted away from the source's key frames
    /// and are counted from here, or segments are uneven from here on, or even again. Comes before
    /// the first chunk of its first segment.
    Shifted(Beginning),
}

/// A part with its place on the timeline.
#[derive(Clone, Debug)]
pub struct PartChunk {
    /// Position of the rendition.
    pub rendition: usize,
    /// Number of the segment.
    pub k: u64,
    /// Number of the part in the segment, from 0.
    pub part: u32,
    /// Decode time of its first sample, in ticks of the rendition.
    pub start: i64,
    /// Length in the same ticks.
    pub duration: u32,
    /// Whether decoding can start with its first sample.
    pub independent: bool,
    /// How much of it is filler, in the same ticks.
    pub filler: u32,
    /// Bytes up to the end of its first sample.
    pub first_sample: u32,
    /// The bytes.
    pub chunk: Chunk,
}

/// Why a sample can't be part of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such rendition.
    #[error("rendition {rendition} does not exist")]
    NoRendition {
        /// The position asked for.
        rendition: usize,
    },
    /// The sample does not follow the one before, or is too far behind a hole.
    #[error("rendition {rendition}: expected a sample at {expected}, got one at {got}")]
    Hole {
        /// Position of the rendition.
        rendition: usize,
        /// Where the next sample has to be, in ticks.
        expected: i64,
        /// Where it is.
        got: i64,
    },
    /// A sample of no length.
    #[error("rendition {rendition}: the sample at {at} has no length")]
    Empty {
        /// Position of the rendition.
        rendition: usize,
        /// Its decode time.
        at: i64,
    },
    /// A video segment that no decoder could start with.
    #[error("rendition {rendition}: segment {k} does not begin with a sync sample")]
    NotSync {
        /// Position of the rendition.
        rendition: usize,
        /// Number of the segment.
        k: u64,
    },
    /// A source without a key frame for two segments in a row.
    #[error(
        "no key frame within {seconds} s twice in a row: set a key frame interval of {seconds} s or less"
    )]
    NoKeyFrame {
        /// TARGETDURATION.
        seconds: u32,
    },
}

/// Where a rendition of a run stands that an earlier process has cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Number of the segment that is open, or the next one to be.
    pub k: u64,
    /// The parts it has.
    pub part: u32,
    /// Its start, in ticks of the rendition.
    pub segment: i64,
    /// Where its parts end, in the same ticks.
    pub next: i64,
    /// The newest picture that decoding can start with.
    pub picture: Option<Sample>,
}

/// Where a part stands, and how much of it is filler.
pub(super) struct Place {
    pub(super) rendition: usize,
    pub(super) k: u64,
    pub(super) part: u32,
    pub(super) filler: u32,
}

/// Writes samples as a part, behind the events that it carries; nothing of none.
pub(super) fn part_chunk(
    rendition: &Rendition,
    place: Place,
    samples: &[Sample],
    events: &[Bytes],
) -> Option<PartChunk> {
    let first = samples.first()?;
    let Place { rendition: position, k, part, filler } = place;
    let chunk = cmaf::chunk(&ChunkSpec { rendition, k, part, samples, events });
    let first_sample = chunk.head.len().saturating_add(first.data.len());
    Some(PartChunk {
        rendition: position,
        k,
        part,
        start: first.dts,
        duration: samples.iter().map(|s| s.duration).fold(0, u32::saturating_add),
        independent: first.sync,
        filler,
        first_sample: u32::try_from(first_sample).unwrap_or(u32::MAX),
        chunk,
    })
}
