//! What tells a player that it may play segments while they are written (ISO/IEC 23009-1 §5.3.9.5.3 and
//! Annex K; DASH-IF, Low-latency Modes for DASH).
//!
//! A segment is announced early, by `availabilityTimeOffset`: when its first part can be there at the
//! earliest. A player that asks before that waits, which costs nothing.
//!
//! Latency counts from the moment that a sample's media time names: media time is the wall clock's, so
//! the producer's reference time is the identity, and `prft` boxes say the same.

use dash_mpd_core::{
    Latency, PlaybackRate, ProducerReferenceTime, Resync, ServiceDescription, UTCTiming, XsDatetime,
};

use crate::grid::Grid;
use crate::time::{Rounding, Span, Timescale};
use crate::timeline::Format;

/// Parts that a player has in store or on their way: what HLS players have too (PART-HOLD-BACK).
const HELD_PARTS: u64 = 3;
/// Parts below which latency may not be pushed: one that is being played and one that is coming.
const LEAST_PARTS: u64 = 2;
/// How much slower and faster than real time a player may play to get to the target. One that starts a
/// second late is there after ten seconds; listeners hardly notice, as browsers keep the pitch.
const RATES: (f64, f64) = (0.95, 1.1);

/// What this service is meant to be played like. `longest` is the latency of players that wait for
/// whole segments, which nobody need exceed; `reference` the id of the producer's reference time.
pub(super) fn service_description(
    format: &Format,
    longest: Span,
    reference: u32,
) -> ServiceDescription {
    let millis = |span: Span| span.ticks_in(Timescale::MILLIS, Rounding::Ceil);
    let behind = |parts: u64| {
        let ticks = format.grid.part_ticks.saturating_mul(parts);
        let parts = millis(Span::new(ticks, format.grid.video_scale()));
        Some(millis(format.publish_delay).saturating_add(parts) as f64)
    };
    ServiceDescription {
        id: Some("1".into()),
        Latency: vec![Latency {
            min: behind(LEAST_PARTS),
            target: behind(HELD_PARTS),
            max: Some(millis(longest) as f64),
            referenceId: Some(reference.to_string()),
        }],
        PlaybackRate: vec![PlaybackRate { min: Some(RATES.0), max: Some(RATES.1) }],
        ..ServiceDescription::default()
    }
}

/// How much earlier than its nominal end a segment can be asked for, in seconds: when its first part can
/// be there. A splice may cut its segment off half a segment early, and begin the next one: players that
/// asked only then would have nothing to play. Those that ask earlier wait, which costs nothing.
pub(super) fn availability_offset(grid: &Grid) -> f64 {
    let early = (grid.segment_ticks.saturating_mul(3) / 2).saturating_sub(grid.part_ticks);
    let early = Span::new(early, grid.video_scale());
    // Whole milliseconds, never more than the truth.
    early.ticks_in(Timescale::MILLIS, Rounding::Floor) as f64 / 1_000.0
}

/// Where a reader that was lost finds its way again: every part is a chunk of its own, which begins with
/// a box that can be told from media. Decoding begins with the segment alone, so the type is 0. `scale`
/// is that of the set.
pub(super) fn resync(grid: &Grid, scale: Timescale) -> Resync {
    Resync {
        rtype: Some("0".into()),
        dT: Some(grid.part_target().ticks_in(scale, Rounding::Ceil)),
        marker: Some(true),
        ..Resync::default()
    }
}

/// Media time 0 is the beginning of 1970. `clock` is where that can be read.
pub(super) fn producer_reference_time(id: u32, clock: UTCTiming) -> ProducerReferenceTime {
    ProducerReferenceTime {
        id: Some(id.to_string()),
        inband: Some(true),
        presentationTime: Some(0),
        prtType: Some("encoder".into()),
        wallClockTime: XsDatetime::from_timestamp_millis(0),
        UTCTiming: Some(clock),
    }
}
