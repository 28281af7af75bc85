//! The manifest of what has both its ends: recordings, clips, programmes that are over.
//!
//! It is static and begins at 0. Each Period is a stretch of segments without a hole, of one run; where
//! nothing was made the next Period follows at once, since players of DASH wait in holes. Segments are named
//! one by one, so that every end is exact. Media keeps its times, which `presentationTimeOffset` takes off.

use std::ops::Range;

use dash_mpd_core::{MPD, Period, SupplementalProperty};

use super::manifest::duration;
use super::period::{Template, id, sets};
use super::{Options, events};
use crate::time::{Rounding, Span, Timescale, Timestamp};
use crate::timeline::{Run, Segment, Snapshot};

/// Renders the MPD element of an excerpt.
pub(super) fn mpd(snapshot: &Snapshot, options: &Options) -> MPD {
    let grid = &snapshot.format.grid;
    let mut start = 0;
    let mut periods: Vec<Period> = Vec::new();
    let mut before: Option<Stretch<'_>> = None;
    let stretches = stretches(snapshot);
    let count = stretches.len();
    for (index, stretch) in stretches.into_iter().enumerate() {
        let nanos = match index + 1 == count {
            true => stretch.nanos_of_all(snapshot),
            false => stretch.nanos(),
        };
        let mut period = period(snapshot, options, &stretch, before.as_ref());
        period.start = Some(duration(Span::new(start, Timescale::NANOS)));
        period.duration = Some(duration(Span::new(nanos, Timescale::NANOS)));
        periods.push(period);
        start = start.saturating_add(nanos);
        before = Some(stretch);
    }
    MPD {
        xmlns: Some("urn:mpeg:dash:schema:mpd:2011".into()),
        profiles: Some("urn:mpeg:dash:profile:isoff-live:2011".into()),
        mpdtype: Some("static".into()),
        mediaPresentationDuration: Some(duration(Span::new(start, Timescale::NANOS))),
        minBufferTime: Some(duration(Span::new(grid.segment_ticks, grid.video_scale()))),
        maxSegmentDuration: Some(std::time::Duration::from_secs(grid.target_duration().into())),
        periods,
        ..MPD::default()
    }
}

/// Segments of one stretch of a run without a hole.
struct Stretch<'a> {
    /// Positions in every rendition.
    positions: Range<usize>,
    first: &'a Segment,
    last: &'a Segment,
}

impl Stretch<'_> {
    fn run(&self) -> &Run {
        &self.first.run
    }

    /// Where it begins.
    fn start(&self) -> Timestamp {
        Timestamp::new(self.first.start, self.run().scale(0))
    }

    /// How long it is, in nanoseconds.
    fn nanos(&self) -> u64 {
        nanos(Timestamp::new(self.last.end(), self.run().scale(0))).abs_diff(nanos(self.start()))
    }

    /// The same until the last of its renditions ends, where nothing follows: sound ends a little behind its
    /// pictures. A player that has more than it is told of may stand there for ever (dash.js 5.2, where the
    /// picture stands for a moment just before the end).
    fn nanos_of_all(&self, snapshot: &Snapshot) -> u64 {
        let last = self.positions.end.saturating_sub(1);
        let ends = snapshot.tracks.iter().enumerate().filter_map(|(index, track)| {
            let end = track.segments.get(last)?.end();
            Some(nanos(Timestamp::new(end, self.run().scale(index))))
        });
        ends.max().map_or(0, |end| end.abs_diff(nanos(self.start()))).max(self.nanos())
    }
}

fn nanos(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::NANOS, Rounding::Nearest)
}

/// The stretches that every rendition has media of.
fn stretches(snapshot: &Snapshot) -> Vec<Stretch<'_>> {
    let Some(track) = snapshot.tracks.first() else { return Vec::new() };
    let is_whole = |position: usize| {
        let tracks = snapshot.tracks.iter();
        tracks.into_iter().all(|t| t.segments.get(position).is_some_and(|s| s.has_media()))
    };
    let mut found: Vec<Stretch<'_>> = Vec::new();
    for (position, segment) in track.segments.iter().enumerate() {
        if !is_whole(position) {
            continue;
        }
        match found.last_mut() {
            Some(stretch)
                if stretch.positions.end == position && stretch.last.is_before(segment) =>
            {
                (stretch.positions.end, stretch.last) = (position + 1, segment);
            }
            _ => found.push(Stretch {
                positions: position..position + 1,
                first: segment,
                last: segment,
            }),
        }
    }
    found
}

impl Segment {
    /// Whether `next` goes on where this one ends, in the same stretch of a run.
    fn is_before(&self, next: &Self) -> bool {
        (&self.run.id, self.run.stretch) == (&next.run.id, next.run.stretch)
            && self.k.checked_add(1) == Some(next.k)
            && self.end() == next.start
    }
}

fn period(
    snapshot: &Snapshot,
    options: &Options,
    stretch: &Stretch<'_>,
    before: Option<&Stretch<'_>>,
) -> Period {
    let grid = &snapshot.format.grid;
    let (run, first) = (stretch.run(), stretch.first);
    let video = |at: Timestamp| at.ticks_in(grid.video_scale(), Rounding::Nearest);
    let begin = video(stretch.start());
    let end = video(Timestamp::new(stretch.last.end(), run.scale(0)));
    let template = Template {
        snapshot,
        base: &options.base,
        start: stretch.start(),
        grid,
        run,
        first_k: first.k,
        end: None,
        named: Some(stretch.positions.clone()),
    };
    let mut adaptations = sets(snapshot, options, &template);
    for set in &mut adaptations {
        set.supplemental_property =
            before.map(|before| seam(before, stretch)).into_iter().collect();
    }
    Period {
        id: Some(name(stretch)),
        event_streams: events::stream(snapshot, options.events, begin, Some(end))
            .into_iter()
            .collect(),
        adaptations,
        ..Period::default()
    }
}

/// A Period's id: that of the stretch, and where in it, as there may be more of it behind a hole.
fn name(stretch: &Stretch<'_>) -> String {
    format!("{}-{}", id(stretch.run(), stretch.run().stretch), stretch.first.k)
}

/// How a Period follows on the one before: without a seam, or with the same kind of media
/// (DASH-IF IOP, period continuity and connectivity).
fn seam(before: &Stretch<'_>, stretch: &Stretch<'_>) -> SupplementalProperty {
    let same = before.run().inits == stretch.run().inits;
    let kind = match same && before.last.end() == stretch.first.start {
        true => "urn:mpeg:dash:period-continuity:2015",
        false => "urn:mpeg:dash:period-connectivity:2015",
    };
    SupplementalProperty {
        schemeIdUri: kind.into(),
        value: Some(name(before)),
        ..SupplementalProperty::default()
    }
}

#[cfg(test)]
mod tests;
