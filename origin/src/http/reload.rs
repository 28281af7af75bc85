//! Delivery directives of HLS (RFC 8216bis §6.2.5): what a playlist request says it wants, and
//! whether a snapshot has it. Pure functions.
//!
//! ```text
//! ?_HLS_msn=7             segment 7, whole
//! ?_HLS_msn=7&_HLS_part=2 part 2 of segment 7, or anything that comes after it
//! ?_HLS_skip=YES|v2       without the old segments (and date ranges)
//! ```
//! Other parameters are none of ours and are ignored. How many parts a segment will have is not
//! known before it is whole: a part that it turns out not to have is the next segment's first. A gap
//! is whole when it begins, with all of its parts: who waits for one of those is told at once.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use packager::grid::Grid;
use packager::hls::{Skip, count_of_gap};
use packager::time::{Rounding, Timescale};
use packager::timeline::{Snapshot, State, Track};

use super::error::Error;

/// Segments after the last finished one that may be asked for: more is a mistake (§6.2.5.2).
const ADVANCE_SEGMENTS: u64 = 2;
/// The same of a mirrored channel: whoever comes from its primary asks for what that had listed, which a
/// store has some segments later, or after a backlog.
const MIRRORED_SEGMENTS: u64 = 16;
/// Parts of a second or more that may be asked for in advance, and the seconds that many shorter
/// ones cover: the Advance Part Limit (§6.2.5.2).
const ADVANCE_PARTS: u64 = 3;

/// What a playlist request wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// What has to be in the answer.
    pub(super) wanted: Option<Wanted>,
    /// What may be left out of it.
    pub(super) skip: Skip,
}

/// What a playlist is waited for to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// The segment.
    pub(super) msn: u64,
    /// The part in it; the whole segment without.
    pub(super) part: Option<u64>,
}

impl Directives {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// [`Error::Directives`] where a number is none, is there twice, or a part has no segment.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Error> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let twice = match name {
                "_HLS_msn" => msn.replace(number(value)?).is_some(),
                "_HLS_part" => part.replace(number(value)?).is_some(),
                "_HLS_skip" => skip.replace(value).is_some(),
                _ => false,
            };
            if twice {
                return Err(Error::Directives("a delivery directive is there twice"));
            }
        }
        let wanted = match (msn, part) {
            (None, Some(_)) => return Err(Error::Directives("_HLS_part without _HLS_msn")),
            (msn, part) => msn.map(|msn| Wanted { msn, part }),
        };
        let skip = match skip {
            Some("YES") => Skip::Segments,
            Some("v2") => Skip::DateRanges,
            // A version that we don't know of is answered with the whole.
            _ => Skip::Nothing,
        };
        Ok(Self { wanted, skip })
    }
}

/// A decimal integer of 64 bits.
fn number(text: &str) -> Result<u64, Error> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or(Error::Directives("a delivery directive is not a number below 2^64"))
}

/// Whether a playlist has what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is the newest that the playlist has.
    Newest,
    /// The playlist has it and more, or had it.
    Late,
    /// It comes.
    Later,
    /// It is too far ahead to be waited for.
    TooFar,
}

/// Whether the playlist of the rendition at `index` has what is wanted.
pub(super) fn due(snapshot: &Snapshot, index: usize, wanted: Wanted) -> Due {
    if snapshot.state == State::Ended {
        return Due::Late;
    }
    let Some(track) = snapshot.tracks.get(index) else { return Due::TooFar };
    let last = Whole::newest(snapshot, index, track);
    let finished = track.segments.last().map_or(0, |segment| segment.k).max(last.k);
    let ahead = wanted.msn.saturating_sub(finished);
    if snapshot.mirrored && (1..=MIRRORED_SEGMENTS).contains(&ahead) {
        return Due::Later;
    }
    if wanted.msn > finished.saturating_add(ADVANCE_SEGMENTS) {
        return Due::TooFar;
    }
    match wanted.part {
        None if wanted.msn > last.k => Due::Later,
        None if wanted.msn == last.k => Due::Newest,
        None => Due::Late,
        Some(part) => {
            let limit = advance_parts(&snapshot.format.grid);
            part_due(in_parts(snapshot, index, track), &last, (wanted.msn, part), limit)
        }
    }
}

/// The newest segment that is listed whole; number 0 where there is none.
#[derive(Debug, Default)]
struct Whole {
    k: u64,
    /// Its parts that are listed.
    parts: u64,
}

impl Whole {
    fn newest(snapshot: &Snapshot, index: usize, track: &Track) -> Self {
        if let Some(open) = track.open.as_ref().filter(|open| open.gap.is_some()) {
            let parts = open.gap.map_or(0, |ticks| count_of_gap(snapshot, index, &open.run, ticks));
            return Self { k: open.k, parts };
        }
        snapshot.listed_whole(index).0.last().map_or_else(Self::default, |last| {
            let parts = match last.gap {
                true => count_of_gap(snapshot, index, &last.run, last.duration),
                false => last.parts.len() as u64,
            };
            Self { k: last.k, parts }
        })
    }
}

/// Number of the segment that is listed by its parts alone, and how many there are.
fn in_parts(snapshot: &Snapshot, index: usize, track: &Track) -> Option<(u64, u64)> {
    match (&track.open, snapshot.listed_whole(index).1) {
        (Some(open), _) => open.gap.is_none().then_some((open.k, open.parts.len() as u64)),
        (None, Some(closing)) => Some((closing.k, closing.parts.len() as u64)),
        (None, None) => None,
    }
}

fn part_due(
    in_parts: Option<(u64, u64)>,
    last: &Whole,
    (msn, part): (u64, u64),
    limit: u64,
) -> Due {
    let begun = in_parts.map_or(0, |(_, parts)| parts);
    let later = |ahead: u64| if ahead > limit { Due::TooFar } else { Due::Later };
    if msn > last.k {
        let of_begun = in_parts.is_some_and(|(k, _)| k == msn);
        return match part.checked_sub(if of_begun { begun } else { 0 }) {
            // Parts from the newest one on; of a segment that has not begun, at the least so many. What
            // is beyond the end of a finished one is the first part of the next.
            Some(ahead) => later(ahead.saturating_add(1)),
            None if part.saturating_add(1) == begun => Due::Newest,
            None => Due::Late,
        };
    }
    if msn < last.k {
        return Due::Late;
    }
    match part.checked_sub(last.parts) {
        // What is beyond the end of a whole segment is the first part of the next.
        Some(beyond) if last.parts > 0 => match begun {
            0 => later(beyond.saturating_add(1)),
            1 => Due::Newest,
            _ => Due::Late,
        },
        _ if begun > 0 => Due::Late,
        _ if part.saturating_add(1) < last.parts => Due::Late,
        _ => Due::Newest,
    }
}

/// The Advance Part Limit: how far ahead of the newest part one may be asked for.
fn advance_parts(grid: &Grid) -> u64 {
    let target = grid.part_target().ticks_in(Timescale::NANOS, Rounding::Ceil).max(1);
    let second = u64::from(Timescale::NANOS.get());
    ADVANCE_PARTS.max(ADVANCE_PARTS.saturating_mul(second).div_ceil(target))
}

#[cfg(test)]
mod tests;
