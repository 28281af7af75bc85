//! Parts and the hint of the next one (RFC 8216bis §4.4.4.9, §4.4.5.3).
//!
//! A hint is a promise: the address is that of the part that comes next in the run on the air, be
//! it the source's, filler, or the first of the next segment.

use std::fmt::Write;

use super::decimal::seconds;
use crate::grid::Grid;
use crate::media::Rendition;
use crate::time::{Rounding, Span, Timescale, rescale};
use crate::timeline::{Part, Run, Segment, Snapshot, Track};

/// Parts are listed for this many target durations from the end: who is further back plays whole
/// segments (§4.4.4.9).
const LISTED: u64 = 3;

/// Where the parts of a rendition are listed from, in nanoseconds since the epoch: a segment that ends
/// later has its parts listed. How far a segment is from the end is the sum of the durations behind it,
/// which is what a reader of the playlist sees: where runs meet, their sound overlaps by less than a frame.
pub(super) fn listed_from(snapshot: &Snapshot, index: usize) -> i64 {
    let Some(track) = snapshot.tracks.get(index) else { return i64::MAX };
    let seconds = LISTED * u64::from(snapshot.format.grid.target_duration());
    let limit = seconds * u64::from(Timescale::NANOS.get());
    let length = |ticks, run: &Run| {
        rescale(ticks, run.scale(index), Timescale::NANOS, Rounding::Nearest).unsigned_abs()
    };
    let open = track.open.as_ref().map(|open| length(open.end() - open.start, &open.run));
    let mut from_end = open.unwrap_or(0);
    for segment in track.segments.iter().rev() {
        if from_end >= limit {
            return end_nanos(segment, index);
        }
        from_end += length(segment.duration.cast_signed(), &segment.run);
    }
    i64::MIN
}

/// Where a segment of the rendition at `index` ends, in nanoseconds since the epoch: runs may differ in
/// their ticks.
pub(super) fn end_nanos(segment: &Segment, index: usize) -> i64 {
    nanos(segment.end(), segment.run.scale(index))
}

fn nanos(ticks: i64, scale: Timescale) -> i64 {
    rescale(ticks, scale, Timescale::NANOS, Rounding::Nearest)
}

/// Writes the parts of segment `k`.
pub(super) fn write(
    text: &mut String,
    (base, rendition): (&str, &Rendition),
    (run, scale, k): (&Run, Timescale, u64),
    parts: impl Iterator<Item = Part>,
) -> std::fmt::Result {
    for (n, part) in parts.enumerate() {
        let duration = seconds(Span::new(part.duration.into(), scale), Rounding::Nearest);
        let (id, name) = (&run.id, &rendition.name);
        write!(text, "#EXT-X-PART:DURATION={duration},URI=\"../{base}{id}/{name}/{k}.{n}.m4s\"")?;
        if part.independent {
            write!(text, ",INDEPENDENT=YES")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// How long the parts of a gap of so many ticks would have been, one after the other. A gap of sound,
/// which only bytes that a disk has lost leave behind, is told without them.
fn of_gap(grid: &Grid, rendition: &Rendition, scale: Timescale, duration: u64) -> Vec<u64> {
    if rendition.audio().is_some() {
        return Vec::new();
    }
    let part = grid.part().ticks_in(scale, Rounding::Floor).max(1);
    let whole = duration / part;
    let rest = Some(duration % part).filter(|rest| *rest > 0);
    (0..whole).map(|_| part).chain(rest).collect()
}

/// How many parts are listed of a gap of so many ticks in the rendition at `index`.
pub fn count_of_gap(snapshot: &Snapshot, index: usize, run: &Run, duration: u64) -> u64 {
    let Some(rendition) = snapshot.renditions.get(index) else { return 0 };
    let grid = &snapshot.format.grid;
    of_gap(grid, rendition, run.scale(index), duration).len() as u64
}

/// Writes the parts of segment `k` that is a gap.
pub(super) fn write_gap(
    text: &mut String,
    (base, rendition): (&str, &Rendition),
    (grid, run, scale, k): (&Grid, &Run, Timescale, u64),
    duration: u64,
) -> std::fmt::Result {
    for (n, ticks) in of_gap(grid, rendition, scale, duration).into_iter().enumerate() {
        let duration = seconds(Span::new(ticks, scale), Rounding::Nearest);
        let (id, name) = (&run.id, &rendition.name);
        writeln!(
            text,
            "#EXT-X-PART:DURATION={duration},URI=\"../{base}{id}/{name}/{k}.{n}.m4s\",GAP=YES"
        )?;
    }
    Ok(())
}

/// Writes the hint of the part that comes next.
pub(super) fn hint(
    text: &mut String,
    snapshot: &Snapshot,
    (base, rendition): (&str, &Rendition),
    track: &Track,
) -> std::fmt::Result {
    let Some((run, k, n)) = next(snapshot, track) else { return Ok(()) };
    let (id, name) = (&run.id, &rendition.name);
    writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../{base}{id}/{name}/{k}.{n}.m4s\"")
}

/// Run, segment and position of the part that comes next.
fn next<'a>(snapshot: &'a Snapshot, track: &'a Track) -> Option<(&'a Run, u64, usize)> {
    if let Some(open) = &track.open {
        // A segment is closed with its last part; of one that is not made no part comes.
        let next = open.k.saturating_add(1);
        let (k, n) = if open.gap.is_some() { (next, 0) } else { (open.k, open.parts.len()) };
        return Some((&open.run, k, n));
    }
    let run = snapshot.run.as_deref()?;
    let after = |last: &Segment| last.k.saturating_add(1);
    Some((run, track.segments.last().map_or(run.first_k, after), 0))
}

/// The segments of a rendition whose parts its playlist lists, newest first, each with how many there are
/// of it.
pub(super) fn listed(snapshot: &Snapshot, index: usize) -> impl Iterator<Item = (u64, usize)> {
    let from = listed_from(snapshot, index);
    snapshot.tracks.get(index).into_iter().flat_map(move |track| {
        let open = track.open.as_ref().filter(|open| open.gap.is_none());
        let open = open.map(|open| (open.k, open.parts.len()));
        let closed = track.segments.iter().rev();
        let closed = closed.take_while(move |segment| end_nanos(segment, index) > from);
        let closed = closed.filter(|segment| !segment.gap);
        let closed = closed.map(|segment| (segment.k, segment.parts.len()));
        open.into_iter().chain(closed).filter(|(_, parts)| *parts > 0)
    })
}
