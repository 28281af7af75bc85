//! The MPD element: clocks and promises that hold for the whole presentation.

use std::time::Duration;

use dash_mpd_core::{MPD, UTCTiming, XsDatetime};

use super::Options;
use super::events;
use super::low_latency::service_description;
use super::period::{REFERENCE_TIME, periods};
use super::whole;
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
/// How far behind the beginning of all a player begins at the least: clocks are read over a network.
const BEGINS_BEHIND: Span = Span::millis(250);

/// Renders the MPD of a channel, or of an excerpt. Addresses are relative to `/live/{channel}/`, or to where
/// [`Options::base`] leads from.
pub fn manifest(snapshot: &Snapshot, options: &Options) -> String {
    let mpd = match snapshot.state {
        State::Live | State::Ended => channel(snapshot, options),
        State::Whole => whole::mpd(snapshot, options),
    };
    let mpd = events::with_signals(&mpd.to_string(), snapshot, options.events);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{mpd}\n")
}

/// The MPD of a channel that goes on, or has ended.
fn channel(snapshot: &Snapshot, options: &Options) -> MPD {
    let format = &snapshot.format;
    let segments = |count: u64| {
        let ticks = format.grid.segment_ticks.saturating_mul(count);
        Span::new(ticks, format.grid.video_scale())
    };
    let live = snapshot.state == State::Live;
    let lengths = snapshot.lengths();
    let update_period = match lengths {
        Some(Lengths::Uneven) => NAMED_UPDATE_PERIOD,
        Some(Lengths::Even) | None => UPDATE_PERIOD,
    };
    let service = service_description(format, segments(DELAY_SEGMENTS), REFERENCE_TIME);
    // Who starts over must not be led to the live edge.
    let low_latency = lengths != Some(Lengths::Uneven) && snapshot.begins.is_none();
    MPD {
        xmlns: Some("urn:mpeg:dash:schema:mpd:2011".into()),
        profiles: Some("urn:mpeg:dash:profile:isoff-live:2011".into()),
        mpdtype: Some("dynamic".into()),
        availabilityStartTime: date(format.publish_delay),
        publishTime: date(since_epoch(snapshot.revised)),
        minimumUpdatePeriod: live.then(|| duration(update_period)),
        minBufferTime: Some(duration(segments(1))),
        timeShiftBufferDepth: Some(duration(segments(format.window_segments()))),
        suggestedPresentationDelay: Some(match lengths {
            Some(Lengths::Uneven) => young(snapshot, duration(segments(DELAY_SEGMENTS))),
            Some(Lengths::Even) | None => duration(segments(DELAY_SEGMENTS)),
        }),
        maxSegmentDuration: Some(Duration::from_secs(format.grid.target_duration().into())),
        ServiceDescription: low_latency.then_some(service).into_iter().collect(),
        periods: periods(snapshot, options),
        UTCTiming: vec![clock(options)],
        ..MPD::default()
    }
}

/// What is left of `delay` while a channel is younger than that, so that no player that plays this far
/// behind the edge has to begin exactly where the first Period does: dash.js 5 compares the place with
/// the element's, which Chromium says is the start of what can be seeked to before it has been sought,
/// and never begins. A player whose latency is low is not that far behind.
fn young(snapshot: &Snapshot, delay: Duration) -> Duration {
    let runs = snapshot.listed_runs();
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return delay };
    let start = Timestamp::new(first.start, snapshot.format.grid.video_scale());
    let age = duration(since_epoch(last.end)).saturating_sub(duration(since_epoch(start)));
    // The edge is the time at which the newest segment can be had, and no earlier.
    let most = age.saturating_sub(duration(snapshot.format.publish_delay));
    delay.min(most.saturating_sub(duration(BEGINS_BEHIND)))
}

/// Where players read the clock.
pub(super) fn clock(options: &Options) -> UTCTiming {
    let origin = options.public_url.as_deref().unwrap_or_default();
    UTCTiming {
        schemeIdUri: "urn:mpeg:dash:utc:http-xsdate:2014".into(),
        value: Some(format!("{origin}{}", options.clock)),
        ..UTCTiming::default()
    }
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
