//! Chunks: `moof`, `mdat` and what stands before them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::boxes::{Reader, brands};
use super::event::{Event, event};
use super::{Chunk, Error, MAX_SAMPLES, ProducerReferenceTime, Sample};

/// Reads all chunks of a part, a segment or a concatenation of them. Bytes behind the last `mdat`
/// that hold no chunk are passed over.
pub fn chunks(bytes: &[u8]) -> Result<Vec<Chunk>, Error> {
    let mut input = Reader::new(bytes);
    let mut chunks = Vec::new();
    while let Some(chunk) = next_chunk(&mut input)? {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Reads chunks up to the first that is torn or broken: what a writer that died has left. A chunk is
/// whole if all of its samples lie in its `mdat`.
pub fn whole_chunks(bytes: &[u8]) -> Vec<Chunk> {
    let mut input = Reader::new(bytes);
    let next = || next_chunk(&mut input).ok().flatten();
    std::iter::from_fn(next).take_while(Chunk::holds_its_samples).collect()
}

/// The next chunk, or `None` where none follows.
fn next_chunk(input: &mut Reader<'_>) -> Result<Option<Chunk>, Error> {
    let mut open = Open::default();
    while let Some(found) = input.next_box()? {
        let start = *open.start.get_or_insert(found.offset);
        open.boxes.push(found.kind);
        match &found.kind {
            b"styp" => open.brands = brands(found.body)?,
            b"prft" => open.prft = Some(producer_reference_time(found.body)?),
            b"emsg" => open.events.push(event(found.body)?),
            b"moof" => open.moof = Some(moof(found.body, found.offset)?),
            b"mdat" => {
                let missing = Error::Invalid { what: "mdat without moof", offset: found.offset };
                let moof = open.moof.ok_or(missing)?;
                let data = found.body.offset()..input.offset();
                let traf = moof.first;
                return Ok(Some(Chunk {
                    range: start..input.offset(),
                    boxes: open.boxes,
                    brands: open.brands,
                    prft: open.prft,
                    events: open.events,
                    sequence: moof.sequence,
                    track_fragments: moof.track_fragments,
                    track_id: traf.header.track_id,
                    default_base_is_moof: traf.header.flags & DEFAULT_BASE_IS_MOOF != 0,
                    tfdt_version: traf.decode_time.0,
                    base_decode_time: traf.decode_time.1,
                    trun_version: traf.run_version,
                    samples: traf.samples,
                    data,
                }));
            }
            _ => {}
        }
    }
    if open.moof.is_some() {
        return Err(Error::Incomplete { what: "mdat", offset: input.offset() });
    }
    Ok(None)
}

const BASE_DATA_OFFSET: u32 = 0x01;
const SAMPLE_DESCRIPTION_INDEX: u32 = 0x02;
const DEFAULT_DURATION: u32 = 0x08;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;

const DATA_OFFSET: u32 = 0x01;
const FIRST_SAMPLE_FLAGS: u32 = 0x04;
const SAMPLE_DURATION: u32 = 0x0100;
const SAMPLE_SIZE: u32 = 0x0200;
const SAMPLE_FLAGS: u32 = 0x0400;
const SAMPLE_OFFSET: u32 = 0x0800;

/// A chunk whose `mdat` has not come yet.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    boxes: Vec<super::FourCc>,
    brands: Vec<super::FourCc>,
    prft: Option<ProducerReferenceTime>,
    events: Vec<Event>,
    moof: Option<MovieFragment>,
}

struct MovieFragment {
    sequence: u32,
    track_fragments: usize,
    first: TrackFragment,
}

struct TrackFragment {
    header: TrackFragmentHeader,
    /// Version of `tfdt`, and the time.
    decode_time: (u8, u64),
    run_version: u8,
    samples: Vec<Sample>,
}

#[derive(Default)]
struct TrackFragmentHeader {
    flags: u32,
    track_id: u32,
    base_data_offset: Option<u64>,
    duration: Option<u32>,
    size: Option<u32>,
    sample_flags: Option<u32>,
}

fn producer_reference_time(mut body: Reader<'_>) -> Result<ProducerReferenceTime, Error> {
    let (version, flags) = body.full("prft")?;
    body.u32("reference_track_ID")?;
    let ntp = body.u64("ntp_timestamp")?;
    Ok(ProducerReferenceTime { flags, ntp, media_time: body.versioned(version, "media_time")? })
}

/// Reads a `moof` that begins at `offset` of the input.
fn moof(body: Reader<'_>, offset: usize) -> Result<MovieFragment, Error> {
    let mut mfhd = body.child(b"mfhd", "moof without mfhd")?;
    mfhd.full("mfhd")?;
    let sequence = mfhd.u32("sequence_number")?;
    let (mut first, mut track_fragments) = (None, 0usize);
    let mut children = body;
    while let Some(found) = children.next_box()? {
        if &found.kind == b"traf" {
            track_fragments = track_fragments.saturating_add(1);
            if first.is_none() {
                first = Some(traf(found.body, offset)?);
            }
        }
    }
    let first = first.ok_or(Error::Invalid { what: "moof without traf", offset })?;
    Ok(MovieFragment { sequence, track_fragments, first })
}

fn traf(body: Reader<'_>, moof: usize) -> Result<TrackFragment, Error> {
    let header = tfhd(body.child(b"tfhd", "traf without tfhd")?)?;
    let mut tfdt = body.child(b"tfdt", "traf without tfdt")?;
    let (version, _) = tfdt.full("tfdt")?;
    let time = tfdt.versioned(version, "baseMediaDecodeTime")?;
    let base = match header.base_data_offset {
        Some(base) => i64::try_from(base).unwrap_or(i64::MAX),
        None => i64::try_from(moof).unwrap_or(i64::MAX),
    };
    let mut fragment =
        TrackFragment { header, decode_time: (version, time), run_version: 0, samples: Vec::new() };
    let mut next = base;
    let mut children = body;
    while let Some(found) = children.next_box()? {
        if &found.kind == b"trun" {
            next = trun(found.body, base, next, &mut fragment)?;
        }
    }
    Ok(fragment)
}

fn tfhd(mut body: Reader<'_>) -> Result<TrackFragmentHeader, Error> {
    let (_, flags) = body.full("tfhd")?;
    let track_id = body.u32("track_ID")?;
    let mut header = TrackFragmentHeader { flags, track_id, ..TrackFragmentHeader::default() };
    if flags & BASE_DATA_OFFSET != 0 {
        header.base_data_offset = Some(body.u64("base_data_offset")?);
    }
    if flags & SAMPLE_DESCRIPTION_INDEX != 0 {
        body.u32("sample_description_index")?;
    }
    if flags & DEFAULT_DURATION != 0 {
        header.duration = Some(body.u32("default_sample_duration")?);
    }
    if flags & DEFAULT_SIZE != 0 {
        header.size = Some(body.u32("default_sample_size")?);
    }
    if flags & DEFAULT_FLAGS != 0 {
        header.sample_flags = Some(body.u32("default_sample_flags")?);
    }
    Ok(header)
}

/// Reads a `trun` whose data begins at `next` of the input unless it says where, and says where the
/// data of the one behind it would begin. Values that only `trex` could give are an error: `cmf2`
/// forbids to lean on it.
fn trun(
    mut body: Reader<'_>,
    base: i64,
    next: i64,
    fragment: &mut TrackFragment,
) -> Result<i64, Error> {
    let start = body.offset();
    let (version, flags) = body.full("trun")?;
    let count = usize::try_from(body.u32("sample_count")?).unwrap_or(usize::MAX);
    if count > MAX_SAMPLES.saturating_sub(fragment.samples.len()) {
        return Err(Error::Invalid { what: "sample_count", offset: start });
    }
    let mut at = next;
    if flags & DATA_OFFSET != 0 {
        let offset = body.u32("data_offset")?.cast_signed();
        at = base.saturating_add(i64::from(offset));
    }
    let mut first_flags = None;
    if flags & FIRST_SAMPLE_FLAGS != 0 {
        first_flags = Some(body.u32("first_sample_flags")?);
    }
    fragment.run_version = version;
    let default = |value: Option<u32>, what| value.ok_or(Error::Invalid { what, offset: start });
    for _ in 0..count {
        let mut field = |flag, what, inherited| {
            if flags & flag != 0 { body.u32(what) } else { default(inherited, what) }
        };
        let header = &fragment.header;
        let duration = field(SAMPLE_DURATION, "sample_duration", header.duration)?;
        let size = field(SAMPLE_SIZE, "sample_size", header.size)?;
        let inherited = first_flags.take().or(header.sample_flags);
        let sample_flags = field(SAMPLE_FLAGS, "sample_flags", inherited)?;
        let offset = field(SAMPLE_OFFSET, "sample_composition_time_offset", Some(0))?;
        let composition_offset =
            if version == 0 { i64::from(offset) } else { i64::from(offset.cast_signed()) };
        fragment.samples.push(Sample {
            offset: at,
            size,
            duration,
            flags: sample_flags,
            composition_offset,
        });
        at = at.saturating_add(i64::from(size));
    }
    Ok(at)
}
