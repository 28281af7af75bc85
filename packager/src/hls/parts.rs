//! Parts and the hint of the next one (RFC 8216bis §4.4.4.9, §4.4.5.3).
//!
//! A hint is a promise: the address is that of the part that comes next in the run on the air, be
//! it the source's, filler, or the first of the next segment.

use std::fmt::Write;

use super::decimal::seconds;
use crate::media::Rendition;
use crate::time::{Rounding, Span, Timescale};
use crate::timeline::{Part, Run, Segment, Snapshot, Track};

/// Parts are listed for this many target durations from the end: who is further back plays whole
/// segments (§4.4.4.9).
const LISTED: u64 = 3;

/// Where the parts of a rendition are listed from: a segment that ends later has its parts listed.
pub(super) fn listed_from(snapshot: &Snapshot, index: usize) -> i64 {
    let Some(track) = snapshot.tracks.get(index) else { return i64::MAX };
    let open = track.open.as_ref().map(|open| (open.end(), open.run.scale(index)));
    let last = track.segments.last().map(|last| (last.end(), last.run.scale(index)));
    let Some((end, scale)) = open.or(last) else { return i64::MAX };
    let seconds = LISTED * u64::from(snapshot.format.grid.target_duration());
    end.saturating_sub_unsigned(seconds * u64::from(scale.get()))
}

/// Writes the parts of segment `k`.
pub(super) fn write(
    text: &mut String,
    rendition: &Rendition,
    (run, scale, k): (&Run, Timescale, u64),
    parts: &[Part],
) -> std::fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        let duration = seconds(Span::new(part.duration.into(), scale), Rounding::Nearest);
        let (id, name) = (&run.id, &rendition.name);
        write!(text, "#EXT-X-PART:DURATION={duration},URI=\"../{id}/{name}/{k}.{n}.m4s\"")?;
        if part.independent {
            write!(text, ",INDEPENDENT=YES")?;
        }
        if part.gap {
            write!(text, ",GAP=YES")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// Writes the hint of the part that comes next.
pub(super) fn hint(
    text: &mut String,
    snapshot: &Snapshot,
    rendition: &Rendition,
    track: &Track,
) -> std::fmt::Result {
    let Some((run, k, n)) = next(snapshot, track) else { return Ok(()) };
    let (id, name) = (&run.id, &rendition.name);
    writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../{id}/{name}/{k}.{n}.m4s\"")
}

/// Run, segment and position of the part that comes next.
fn next<'a>(snapshot: &'a Snapshot, track: &'a Track) -> Option<(&'a Run, u64, usize)> {
    if let Some(open) = &track.open {
        return Some((&open.run, open.k, open.parts.len()));
    }
    let run = snapshot.run.as_deref()?;
    let after = |last: &std::sync::Arc<Segment>| last.k.saturating_add(1);
    Some((run, track.segments.last().map_or(run.first_k, after), 0))
}

/// Segment and position of the newest part of a rendition, if its playlist lists one.
pub(super) fn newest(snapshot: &Snapshot, index: usize) -> Option<(u64, usize)> {
    let track = snapshot.tracks.get(index)?;
    let from = listed_from(snapshot, index);
    let open = track.open.as_ref().map(|open| (open.k, open.parts.len()));
    let closed = track.segments.iter().rev().take_while(|segment| segment.end() > from);
    let closed = closed.map(|segment| (segment.k, segment.parts.len()));
    let (k, parts) = open.into_iter().chain(closed).find(|(_, parts)| *parts > 0)?;
    Some((k, parts - 1))
}
