//! Delta updates (RFC 8216bis §4.4.5.2, §6.2.5.1): the old segments left out for who has them.
//!
//! Nothing else of the text changes. In particular a tag that stands before a segment that is left
//! out does not move to the next one: who merges has it already. Date ranges are few, and never left
//! out.

use std::fmt::Write;

use super::head::SKIP_UNTIL;
use super::interstitials;
use super::markers::Markers;
use super::parts::end_nanos;
use crate::time::Timescale;
use crate::timeline::Snapshot;

/// What may be left out of a media playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Nothing.
    #[default]
    Nothing,
    /// Old segments: `_HLS_skip=YES`.
    Segments,
    /// Old segments and date ranges that were there before: `_HLS_skip=v2`.
    DateRanges,
}

/// What is left out of a playlist.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left<'a> {
    /// As it was asked for.
    pub(super) skip: Skip,
    /// How many of its first segments.
    pub(super) skipped: usize,
    /// What it tells of cues.
    pub(super) markers: &'a Markers,
}

impl Skip {
    /// What can be left out of a rendition's playlist for who has it up to before segment `have`, or
    /// says nothing about that: less than was asked for where there would be a hole, or nothing is
    /// that old.
    pub fn usable(self, snapshot: &Snapshot, index: usize, have: Option<u64>) -> Self {
        let first = snapshot.tracks.get(index).and_then(|track| track.segments.first());
        let skipped = skippable(snapshot, index, self) as u64;
        let merges = first.is_some_and(|first| have.is_none_or(|have| first.k + skipped <= have));
        if skipped > 0 && merges { self } else { Self::Nothing }
    }
}

/// How many of a rendition's first segments may be left out: those that end before the skip
/// boundary, which is counted from the end of the last whole segment.
pub(super) fn skippable(snapshot: &Snapshot, index: usize, skip: Skip) -> usize {
    let Some(track) = snapshot.tracks.get(index).filter(|_| skip != Skip::Nothing) else {
        return 0;
    };
    let Some(last) = snapshot.listed_whole(index).0.last() else { return 0 };
    let seconds = SKIP_UNTIL * u64::from(snapshot.format.grid.target_duration());
    let length = seconds * u64::from(Timescale::NANOS.get());
    let boundary = end_nanos(last, index).saturating_sub_unsigned(length);
    track.segments.all().partition_point(|segment| end_nanos(segment, index) <= boundary)
}

/// The version that a playlist with the tag needs (§8).
pub(super) fn version(skip: Skip) -> usize {
    match skip {
        Skip::Nothing => super::head::VERSION,
        Skip::Segments => 9,
        Skip::DateRanges => 10,
    }
}

/// Writes the tag that stands for the segments left out.
pub(super) fn write(
    text: &mut String,
    snapshot: &Snapshot,
    Left { skip, skipped, markers }: Left<'_>,
) -> std::fmt::Result {
    write!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
    if skip == Skip::DateRanges {
        write!(text, ",RECENTLY-REMOVED-DATERANGES=\"{}\"", removed(snapshot, markers))?;
    }
    writeln!(text)
}

/// Ids of the date ranges that went lately (§4.4.5.2).
fn removed(snapshot: &Snapshot, markers: &Markers) -> String {
    let gone = snapshot.gone_cues.iter();
    let ranges = gone.clone().filter(|_| markers.date_ranges).cloned();
    let breaks = gone.filter(|_| markers.asset_list.is_some());
    ranges.chain(breaks.map(|id| interstitials::id(id))).collect::<Vec<_>>().join("\t")
}
