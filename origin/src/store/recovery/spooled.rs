//! A segment as its file has it: chunks, up to the first that is torn or out of place.

use std::path::Path;

use bytes::Bytes;
use packager::cmaf::{self, read};
use packager::media::{Name, RunId, Sample};
use packager::timeline::Part;

use crate::store::fs::Directory;
use crate::store::journal::{Closed, SegmentKey, SegmentRecord};

/// See the module's page.
#[derive(Debug)]
pub(in crate::store) struct Spooled {
    pub(super) k: u64,
    /// Decode time of the first sample, in ticks of the rendition.
    pub(super) start: i64,
    /// At least one.
    parts: Vec<(Part, Bytes)>,
    picture: Option<Sample>,
}

impl Spooled {
    /// Reads a segment's file; `None` if there is no whole part in it.
    pub(super) fn read(
        directory: &Directory,
        run: &RunId,
        rendition: &Name,
        k: u64,
    ) -> Option<Self> {
        Self::read_file(&directory.segment(run, rendition, k), k)
    }

    /// The same of any file.
    pub(in crate::store) fn read_file(path: &Path, k: u64) -> Option<Self> {
        Self::parse(k, &Bytes::from(std::fs::read(path).ok()?))
    }

    /// The same of a file's bytes.
    pub(super) fn parse(k: u64, bytes: &Bytes) -> Option<Self> {
        let mut spooled = Self { k, start: 0, parts: Vec::new(), picture: None };
        let mut next = None;
        let mut offset = 0;
        for (number, chunk) in (0..).zip(read::whole_chunks(bytes)) {
            let at = i64::try_from(chunk.base_decode_time).ok()?;
            let in_place = chunk.range.start == offset
                && chunk.sequence == cmaf::sequence(k, number)
                && next.is_none_or(|next| next == at);
            if !in_place {
                break;
            }
            offset = chunk.range.end;
            if number == 0 {
                spooled.start = at;
            }
            let duration = u32::try_from(chunk.duration()).ok()?;
            next = Some(at.saturating_add(i64::from(duration)));
            let independent = chunk.samples.first().is_some_and(read::Sample::is_sync);
            let size = u32::try_from(chunk.range.len()).ok()?;
            let first = chunk.samples.first().and_then(|sample| chunk.bytes_of(sample))?;
            let first_sample = u32::try_from(first.end.checked_sub(chunk.range.start)?).ok()?;
            let part = Part { duration, bytes: size, independent, first_sample };
            spooled.picture = newest_sync(&chunk, at, bytes).or(spooled.picture);
            spooled.parts.push((part, bytes.slice(chunk.range)));
        }
        (!spooled.parts.is_empty()).then_some(spooled)
    }

    /// Where its parts end.
    pub(in crate::store) fn end(&self) -> i64 {
        let length = self.parts.iter().map(|(part, _)| i64::from(part.duration)).sum();
        self.start.saturating_add(length)
    }

    /// How long its last part is, in ticks.
    pub(super) fn last_part(&self) -> Option<u32> {
        self.parts.last().map(|(part, _)| part.duration)
    }

    /// Its newest sample that decoding can start with.
    pub(super) fn picture(&self) -> Option<Sample> {
        self.picture.clone()
    }

    /// Its parts and the bytes of each.
    pub(in crate::store) fn into_parts(self) -> (Vec<Part>, Vec<Bytes>) {
        self.parts.into_iter().unzip()
    }

    /// What the journal would say of it if it is closed.
    pub(super) fn record(&self, run: &RunId, rendition: &Name) -> SegmentRecord {
        let key = SegmentKey { run: run.to_string(), rendition: rendition.to_string(), k: self.k };
        let parts = self.parts.iter().map(|(part, _)| *part).collect();
        let duration = self.end().abs_diff(self.start);
        SegmentRecord { key, closed: Closed { start: self.start, duration, parts, gap: false } }
    }
}

/// The newest sample of a chunk that decoding can start with; the first decodes at `start`.
fn newest_sync(chunk: &read::Chunk, start: i64, bytes: &Bytes) -> Option<Sample> {
    let mut dts = start;
    let mut newest = None;
    for sample in &chunk.samples {
        if sample.is_sync() {
            newest = Some((dts, sample));
        }
        dts = dts.saturating_add(i64::from(sample.duration));
    }
    let (dts, sample) = newest?;
    let data = bytes.slice(chunk.bytes_of(sample)?);
    let pts = dts.saturating_add(sample.composition_offset);
    Some(Sample { dts, pts, duration: sample.duration, sync: true, data })
}
