//! The MPD element: clocks and promises that hold for the whole presentation.

use std::time::Duration;

use dash_mpd_core::{MPD, UTCTiming, XsDatetime};

use super::Options;
use super::period::periods;
use crate::time::{Rounding, Span, Timescale, Timestamp};
use crate::timeline::{Lengths, Snapshot, State};

/// How often a player looks for a new Period or the end.
const UPDATE_PERIOD: Span = Span::millis(2_000);
/// How often it does where it has to, to learn of new segments: players that stay three segments
/// behind the edge have one in store then at the least.
const NAMED_UPDATE_PERIOD: Span = Span::millis(1_000);
/// Segments between the live edge and where players that are not low-latency ones play: what HLS
/// players do too.
const DELAY_SEGMENTS: u64 = 3;

/// Renders the MPD of a channel. Addresses are relative to `/live/{channel}/`.
pub fn manifest(snapshot: &Snapshot, options: &Options) -> String {
    let format = &snapshot.format;
    let segments = |count: u64| {
        let ticks = format.grid.segment_ticks.saturating_mul(count);
        duration(Span::new(ticks, format.grid.video_scale()))
    };
    let live = snapshot.state == State::Live;
    let update_period = match snapshot.lengths() {
        Some(Lengths::Uneven) => NAMED_UPDATE_PERIOD,
        Some(Lengths::Even) | None => UPDATE_PERIOD,
    };
    let origin = options.public_url.as_deref().unwrap_or_default();
    let mpd = MPD {
        xmlns: Some("urn:mpeg:dash:schema:mpd:2011".into()),
        profiles: Some("urn:mpeg:dash:profile:isoff-live:2011".into()),
        mpdtype: Some("dynamic".into()),
        availabilityStartTime: date(format.publish_delay),
        publishTime: date(since_epoch(snapshot.revised)),
        minimumUpdatePeriod: live.then(|| duration(update_period)),
        minBufferTime: Some(segments(1)),
        timeShiftBufferDepth: Some(segments(format.window_segments())),
        suggestedPresentationDelay: Some(segments(DELAY_SEGMENTS)),
        maxSegmentDuration: Some(Duration::from_secs(format.grid.target_duration().into())),
        periods: periods(snapshot, options),
        UTCTiming: vec![UTCTiming {
            schemeIdUri: "urn:mpeg:dash:utc:http-xsdate:2014".into(),
            value: Some(format!("{origin}{}", options.clock)),
            ..UTCTiming::default()
        }],
        ..MPD::default()
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{mpd}\n")
}

/// The library's type for lengths; exact to the nanosecond, which is what is printed.
pub(super) fn duration(span: Span) -> Duration {
    Duration::from_nanos(span.ticks_in(Timescale::NANOS, Rounding::Nearest))
}

/// An instant as a length since the epoch.
pub(super) fn since_epoch(at: Timestamp) -> Span {
    Span::new(at.ticks.max(0).unsigned_abs(), at.scale)
}

/// The library's type for dates, to the millisecond, never early.
fn date(since_epoch: Span) -> Option<XsDatetime> {
    let millis = since_epoch.ticks_in(Timescale::MILLIS, Rounding::Ceil);
    XsDatetime::from_timestamp_millis(i64::try_from(millis).ok()?)
}
