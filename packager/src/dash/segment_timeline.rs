//! Segments named one by one (`SegmentTimeline`, ISO/IEC 23009-1 §5.3.9.6), for a stretch of a run
//! whose segments are as long as its source's key frames make them.
//!
//! Finished segments only, so there is no low latency here, and no `availabilityTimeOffset`. Each has
//! an `S` of its own with its time and its length: one that is published never changes, since nothing
//! repeats, and leaves alone. `@startNumber` is that of the first one listed. How long a segment stays
//! listed is [`STAYS_NAMED`](crate::timeline::STAYS_NAMED)'s.

use dash_mpd_core::{S, SegmentTemplate, SegmentTimeline};

use crate::timeline::{Run, Segment, Slice};

/// `addresses` with the segments among `listed` that belong to this stretch of a run; its times are
/// theirs.
pub(super) fn template(
    addresses: SegmentTemplate,
    run: &Run,
    listed: Slice<'_>,
) -> SegmentTemplate {
    let here =
        |segment: &&Segment| (&segment.run.id, segment.run.stretch) == (&run.id, run.stretch);
    // Players count numbers from the first `S`: one without media in between keeps its place.
    let named = || listed.iter().filter(here).skip_while(|segment| !segment.has_media());
    let segments = named().map(|segment| S {
        t: Some(segment.start.max(0).unsigned_abs()),
        d: segment.duration,
        ..S::default()
    });
    let timeline = SegmentTimeline { segments: segments.collect() };
    SegmentTemplate {
        startNumber: Some(named().next().map_or(run.first_k, |segment| segment.k)),
        SegmentTimeline: Some(timeline),
        ..addresses
    }
}

/// The same of a Period that has both its ends: all of these segments. Nobody reads it twice, so equal
/// lengths in a row are one `S`.
pub(super) fn whole(addresses: SegmentTemplate, segments: Slice<'_>) -> SegmentTemplate {
    let mut rows: Vec<S> = Vec::new();
    let mut next = None;
    for segment in segments {
        let start = segment.start.max(0).unsigned_abs();
        match rows.last_mut() {
            Some(row) if next == Some(start) && row.d == segment.duration => {
                row.r = Some(row.r.unwrap_or(0).saturating_add(1));
            }
            _ => rows.push(S { t: Some(start), d: segment.duration, ..S::default() }),
        }
        next = Some(start.saturating_add(segment.duration));
    }
    SegmentTemplate { SegmentTimeline: Some(SegmentTimeline { segments: rows }), ..addresses }
}

#[cfg(test)]
mod tests;
