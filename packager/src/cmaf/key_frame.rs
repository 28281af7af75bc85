//! A segment's key frame alone, for searching: a chunk of one sample, which stands until the segment
//! ends. Made of the segment's first part when it is asked for, by reference, so that it costs nothing
//! until then and is the same bytes on every node.

use bytes::Bytes;

use super::read::{self, Error};
use super::{Chunk, ChunkSpec, chunk};
use crate::media::{Rendition, Sample};

/// The key frame that `part`, the first part of segment `k`, begins with; `duration` is the segment's,
/// in ticks of the rendition. `None` if it begins with none.
///
/// # Errors
/// The bytes are no chunk.
pub fn key_frame(
    rendition: &Rendition,
    k: u64,
    part: &Bytes,
    duration: u32,
) -> Result<Option<Chunk>, Error> {
    let chunks = read::chunks(part)?;
    Ok(chunks.first().and_then(|chunk| {
        let first = chunk.samples.first().filter(|first| first.is_sync())?;
        let data = part.slice(chunk.bytes_of(first)?);
        let dts = i64::try_from(chunk.base_decode_time).ok()?;
        let pts = dts.saturating_add(first.composition_offset);
        let samples = [Sample { dts, pts, duration, sync: true, data }];
        Some(self::chunk(&ChunkSpec { rendition, k, part: 0, samples: &samples, events: &[] }))
    }))
}
