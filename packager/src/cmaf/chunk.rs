//! Writing a chunk.
//!
//! This runs for every part of every rendition, so the head is written once, front to back, into
//! one allocation of exactly its size: every box here has a size that follows from the number of
//! samples. Own code instead of a box library, which would build a tree of vectors first; the tests
//! read it back with one.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Chunk, ChunkSpec, TRACK_ID};
use crate::media::Sample;
use crate::time::Timescale;

const BOX_HEADER: usize = 8;
pub(super) const FULL_BOX_HEADER: usize = BOX_HEADER + 4;
/// A segment's first part says that here begins a segment (`msdh`), a CMAF segment (`cmfs`) with
/// whole fragments (`cmff`), made of chunks (`cmfl`). Later parts need no `styp`. `lmsg` (the last
/// segment of all) is not written: when a part is made, nobody knows.
const SEGMENT_BRANDS: [&[u8; 4]; 4] = [b"msdh", b"cmfs", b"cmff", b"cmfl"];
const STYP: usize = BOX_HEADER + 8 + 4 * SEGMENT_BRANDS.len();
const PRFT: usize = FULL_BOX_HEADER + 4 + 8 + 8;
const MFHD: usize = FULL_BOX_HEADER + 4;
const TFHD: usize = FULL_BOX_HEADER + 4;
const TFDT: usize = FULL_BOX_HEADER + 8;
const TRUN: usize = FULL_BOX_HEADER + 4 + 4;

/// tfhd: offsets count from the start of the moof (CMAF §7.5.16).
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// trun: data offset, then duration, size and flags of every sample. `cmf2` forbids leaning on the
/// defaults of `trex`, so that a chunk can be read without its init segment.
const TRUN_EXPLICIT: u32 = 0x0001 | 0x0100 | 0x0200 | 0x0400;
/// trun: a composition time offset too.
const TRUN_OFFSETS: u32 = 0x0800;
/// Sample flags: depends on no other sample, a sync sample.
const SYNC: u32 = 0x0200_0000;
/// Sample flags: depends on others, not a sync sample.
const NON_SYNC: u32 = 0x0101_0000;
/// Parts a segment's sequence numbers leave room for: `mfhd` is `k · 64 + part`, modulo 2^32.
const SEQUENCES_PER_SEGMENT: u64 = 64;
/// Seconds from the NTP epoch (1900) to the Unix epoch.
const NTP_TO_UNIX: i64 = 2_208_988_800;

/// Writes a chunk. The samples' bytes are shared, not copied.
pub fn chunk(spec: &ChunkSpec<'_>) -> Chunk {
    let video = spec.rendition.track.config.is_video();
    let entry = if video { 16 } else { 12 };
    let trun = TRUN + entry * spec.samples.len();
    let traf = BOX_HEADER + TFHD + TFDT + trun;
    let moof = BOX_HEADER + MFHD + traf;
    let media: usize = spec.samples.iter().map(|sample| sample.data.len()).sum();
    let mdat = BOX_HEADER + media;
    let events: usize = spec.events.iter().map(Bytes::len).sum();
    let first = spec.part == 0;
    let segment = if first { STYP + PRFT } else { 0 };

    let mut out = BytesMut::with_capacity(segment + events + moof + BOX_HEADER);
    let start = spec.samples.first().map_or(0, |sample| sample.dts);
    if first {
        segment_type(&mut out);
        producer_reference_time(&mut out, start, spec.rendition.track.timescale);
    }
    for event in spec.events {
        out.put_slice(event);
    }

    header(&mut out, moof, b"moof");
    full_header(&mut out, MFHD, b"mfhd", 0, 0);
    out.put_u32(sequence(spec.k, spec.part));

    header(&mut out, traf, b"traf");
    full_header(&mut out, TFHD, b"tfhd", 0, DEFAULT_BASE_IS_MOOF);
    out.put_u32(TRACK_ID);
    full_header(&mut out, TFDT, b"tfdt", 1, 0);
    out.put_u64(unsigned(start));

    let flags = if video { TRUN_EXPLICIT | TRUN_OFFSETS } else { TRUN_EXPLICIT };
    full_header(&mut out, trun, b"trun", 1, flags);
    out.put_u32(saturated(spec.samples.len()));
    // The samples begin behind the header of mdat, which follows the moof.
    out.put_u32(saturated(moof + BOX_HEADER));
    for sample in spec.samples {
        out.put_u32(sample.duration);
        out.put_u32(saturated(sample.data.len()));
        out.put_u32(if sample.sync { SYNC } else { NON_SYNC });
        if video {
            out.put_i32(composition_offset(sample));
        }
    }

    header(&mut out, mdat, b"mdat");
    let samples = spec.samples.iter().map(|sample| sample.data.clone()).collect();
    Chunk { head: out.freeze(), samples }
}

fn header(out: &mut BytesMut, size: usize, kind: &[u8; 4]) {
    out.put_u32(saturated(size));
    out.put_slice(kind);
}

pub(super) fn full_header(
    out: &mut BytesMut,
    size: usize,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
) {
    header(out, size, kind);
    out.put_u32(u32::from(version) << 24 | flags);
}

fn segment_type(out: &mut BytesMut) {
    header(out, STYP, b"styp");
    out.put_slice(SEGMENT_BRANDS[0]);
    out.put_u32(0);
    for brand in SEGMENT_BRANDS {
        out.put_slice(brand);
    }
}

/// Says which UTC instant a media time is: the same one, since media time counts from the Unix
/// epoch. Flags 0 mean "when the frame went into the encoder", which is what the manifest's
/// ProducerReferenceTime of type `encoder` stands for (ISO/IEC 23009-1 §5.12); the two must agree.
fn producer_reference_time(out: &mut BytesMut, ticks: i64, scale: Timescale) {
    full_header(out, PRFT, b"prft", 1, 0);
    out.put_u32(TRACK_ID);
    out.put_u64(ntp(ticks, scale));
    out.put_u64(unsigned(ticks));
}

/// An instant of media time as an NTP timestamp: 32 bits of seconds since 1900, which wrap in 2036,
/// and 32 bits of fraction.
fn ntp(ticks: i64, scale: Timescale) -> u64 {
    let per_second = i64::from(scale.get());
    let seconds = ticks.div_euclid(per_second).saturating_add(NTP_TO_UNIX);
    let rest = ticks.rem_euclid(per_second).unsigned_abs();
    let fraction = (rest << 32) / u64::from(scale.get());
    (seconds.cast_unsigned() << 32) | fraction
}

/// Number in the `mfhd` of a part: tells which part of which segment a chunk is.
pub fn sequence(k: u64, part: u32) -> u32 {
    let sequence = k.wrapping_mul(SEQUENCES_PER_SEGMENT).wrapping_add(u64::from(part));
    (sequence & u64::from(u32::MAX)) as u32
}

fn composition_offset(sample: &Sample) -> i32 {
    let offset = sample.pts.saturating_sub(sample.dts);
    offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Decode times are unsigned; nothing lies before the epoch.
pub(super) fn unsigned(ticks: i64) -> u64 {
    ticks.max(0).cast_unsigned()
}

fn saturated(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
