//! What stands before the first segment (RFC 8216bis §4.4.3), and the constants in it: the same in
//! every media playlist of a channel for its whole life, since they follow from its format alone.

use std::fmt::Write;

use super::decimal::seconds;
use super::delta::{self, Left};
use crate::grid::{Grid, PART_HOLD_BACK};
use crate::time::{Rounding, Span, Timescale};
use crate::timeline::{Snapshot, State, Track};

/// `EXT-X-MAP` in playlists with more than I-frames needs 6 (RFC 8216bis §8).
pub(super) const VERSION: usize = 6;
/// How far from the end players without low latency stay, in target durations: the least that is
/// allowed, and what they would do unasked (§4.4.3.8).
const HOLD_BACK: u64 = 3;
/// Segments this many target durations from the end may be left out: the least (§4.4.3.8).
pub(super) const SKIP_UNTIL: u64 = 6;

/// What a playlist is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    state: State,
    lists: Lists,
}

/// What a playlist lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// Segments, and their parts.
    Media,
    /// Key frames alone.
    KeyFrames,
    /// Stills.
    Images,
}

impl Kind {
    pub(super) fn of(state: State, lists: Lists) -> Self {
        Self { state, lists }
    }
}

/// Writes the head of the playlist of `track`, of which some is left out.
pub(super) fn write(
    text: &mut String,
    snapshot: &Snapshot,
    track: &Track,
    kind: Kind,
    left: Left<'_>,
) -> std::fmt::Result {
    let grid = &snapshot.format.grid;
    let version = if left.skipped > 0 { delta::version(left.skip) } else { VERSION };
    writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-INDEPENDENT-SEGMENTS")?;
    match kind.lists {
        Lists::Media => {}
        Lists::KeyFrames => writeln!(text, "#EXT-X-I-FRAMES-ONLY")?,
        Lists::Images => writeln!(text, "#EXT-X-IMAGES-ONLY")?,
    }
    writeln!(text, "#EXT-X-TARGETDURATION:{}", grid.target_duration())?;
    if kind.state == State::Whole {
        writeln!(text, "#EXT-X-PLAYLIST-TYPE:VOD")?;
    }
    let live = kind.state == State::Live;
    if live {
        server_control(text, grid)?;
    }
    if live && kind.lists == Lists::Media {
        writeln!(text, "#EXT-X-PART-INF:PART-TARGET={}", seconds(part_target(grid), CEIL))?;
    }
    let first = track.segments.first().map(|segment| (segment.k, segment.run.discontinuity));
    let open = track.open.as_ref().map(|open| (open.k, open.run.discontinuity));
    let (k, discontinuity) = first.or(open).unwrap_or((1, 0));
    writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{k}")?;
    writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}")?;
    if live && snapshot.begins.is_some() {
        start_over(text, snapshot, track)?;
    }
    if left.skipped > 0 { delta::write(text, snapshot, left) } else { Ok(()) }
}

/// Has players of an excerpt that goes on begin where it does (§4.4.2.2), unless that is as near to the
/// end as they play anyway. shaka-player 5 takes an offset of 0 for no tag at all.
fn start_over(text: &mut String, snapshot: &Snapshot, track: &Track) -> std::fmt::Result {
    let least = HOLD_BACK * u64::from(snapshot.format.grid.target_duration());
    let segment = snapshot.format.grid.segment().ticks_in(Timescale::ONE, Rounding::Ceil);
    match track.segments.len() as u64 * segment > least + segment {
        true => writeln!(text, "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES"),
        false => Ok(()),
    }
}

const CEIL: Rounding = Rounding::Ceil;

fn server_control(text: &mut String, grid: &Grid) -> std::fmt::Result {
    let target = |times: u64| Span::new(times * u64::from(grid.target_duration()), Timescale::ONE);
    let part = part_target(grid);
    // Of the target as it is printed, so that the product holds for who multiplies.
    let part_hold_back = Span::new(PART_HOLD_BACK * part.ticks, part.scale);
    writeln!(
        text,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={},CAN-SKIP-DATERANGES=YES,\
         HOLD-BACK={},PART-HOLD-BACK={}",
        seconds(target(SKIP_UNTIL), CEIL),
        seconds(target(HOLD_BACK), CEIL),
        seconds(part_hold_back, CEIL),
    )
}

/// PART-TARGET to the nanosecond, as it is printed.
fn part_target(grid: &Grid) -> Span {
    Span::new(grid.part_target().ticks_in(Timescale::NANOS, CEIL), Timescale::NANOS)
}
