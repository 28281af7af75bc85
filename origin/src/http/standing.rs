//! Where a piece of media stands against the timeline: there, on its way, or never to come. A pure
//! function of a snapshot.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use packager::media::RunId;
use packager::time::{Rounding, Timestamp};
use packager::timeline::{Promise, Snapshot, State, Track};

use super::route::Piece;

/// Where a piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is complete.
    There,
    /// It is being made, or the next to be made: worth waiting for.
    Soon,
    /// It may come, but not soon; or the channel has ended before it.
    NotYet,
    /// No list has it any more, or ever had. The store may still have it for a while.
    Old,
    /// It never was and never will be: another run has this number, or the segment has no such
    /// part, or no media at all.
    Never,
}

/// Where `piece` of the rendition at `index` in `run` stands. `now` is the channel's clock.
pub(super) fn standing(
    snapshot: &Snapshot,
    now: Timestamp,
    index: usize,
    run: &RunId,
    piece: Piece,
) -> Standing {
    let Some(track) = snapshot.tracks.get(index) else { return Standing::Never };
    let (k, part) = match piece {
        Piece::Init => return init(track, run),
        Piece::Segment { k } | Piece::KeyFrame { k } | Piece::Still { k } => (k, None),
        Piece::Part { k, n } => (k, Some(n)),
    };
    let promised = |promise: &Promise| promise.run == *run && promise.numbers.contains(&k);
    if snapshot.promise.as_ref().is_some_and(promised) {
        return Standing::Old;
    }
    let Some(newest) = newest(track) else {
        return match snapshot.state {
            State::Live => Standing::NotYet,
            State::Ended | State::Whole => Standing::Never,
        };
    };
    if let Some(open) = track.open.as_ref().filter(|open| open.k == k) {
        return if open.run.id != *run {
            Standing::Never
        } else if part.is_some_and(|n| has(open.parts.len(), n)) {
            Standing::There
        } else {
            Standing::Soon
        };
    }
    if k > newest.k {
        return ahead(snapshot, now, &newest, (run, k));
    }
    let first = track.segments.first().map_or(newest.k, |segment| segment.k);
    let Some(offset) = k.checked_sub(first) else { return Standing::Old };
    // Numbers have no hole, so the offset is the position.
    let segment = usize::try_from(offset).ok().and_then(|at| track.segments.get(at));
    let Some(segment) = segment.filter(|s| s.k == k && s.run.id == *run && s.has_media()) else {
        return Standing::Never;
    };
    match part {
        Some(n) if !has(segment.parts.len(), n) => Standing::Never,
        _ => Standing::There,
    }
}

/// The newest number of a track, and the run it belongs to.
struct Newest<'a> {
    k: u64,
    run: &'a RunId,
}

fn newest(track: &Track) -> Option<Newest<'_>> {
    let open = track.open.as_ref().map(|open| Newest { k: open.k, run: &open.run.id });
    let last = || track.segments.last().map(|s| Newest { k: s.k, run: &s.run.id });
    open.or_else(last)
}

/// A number behind the newest of its track.
fn ahead(
    snapshot: &Snapshot,
    now: Timestamp,
    newest: &Newest<'_>,
    (run, k): (&RunId, u64),
) -> Standing {
    // Run ids sort by time: an earlier run has ended and gets no number any more.
    if run < newest.run {
        return Standing::Never;
    }
    if snapshot.state == State::Ended {
        return Standing::NotYet;
    }
    // The edge is the channel's: a rendition that lags behind the others is waited for. Where no part
    // of a segment is there yet, it is being made all the same.
    let making = |track: &Track| match &track.open {
        Some(open) => Some(open.k),
        None => track.segments.last().map(|last| last.k.saturating_add(1)),
    };
    let made = snapshot.tracks.iter().filter_map(making).max().unwrap_or(newest.k);
    // DASH announces numbers by the clock: one that an encoder is late with is waited for too.
    let grid = &snapshot.format.grid;
    let edge = made.max(grid.number_at(now.ticks_in(grid.video_scale(), Rounding::Floor)));
    if k <= edge.saturating_add(1) { Standing::Soon } else { Standing::NotYet }
}

/// Init segments are made with their run.
fn init(track: &Track, run: &RunId) -> Standing {
    let listed = track.segments.iter().any(|segment| segment.run.id == *run)
        || track.open.as_ref().is_some_and(|open| open.run.id == *run);
    let oldest = track.segments.first().map(|segment| &segment.run.id);
    match newest(track) {
        _ if listed => Standing::There,
        None => Standing::NotYet,
        Some(newest) if run > newest.run => Standing::NotYet,
        Some(_) if oldest.is_some_and(|oldest| run < oldest) => Standing::Old,
        Some(_) => Standing::Never,
    }
}

fn has(parts: usize, n: u32) -> bool {
    usize::try_from(n).is_ok_and(|n| n < parts)
}
