//! Cues in a Period: an `EventStream` of SCTE-35 (ISO/IEC 23009-1 §5.10.2; ANSI/SCTE 214-1 §6.7.4),
//! the sections as they came, in base64 (`urn:scte:scte35:2014:xml+bin`).
//!
//! An event's time is that of its splice's frame on the timeline of the pictures, whose
//! `presentationTimeOffset` it shares. A break that a message ended has an event for that too, with an
//! id of its own. Ids follow from the cue's name, so that every node writes the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dash_mpd_core::{Event, EventStream};

use crate::time::{Rounding, Span, Timescale};
use crate::timeline::{Cue, Snapshot};

/// What the events carry.
const SCHEME: &str = "urn:scte:scte35:2014:xml+bin";
/// Namespace of what stands in an event.
const NAMESPACE: &str = "http://www.scte.org/schemas/35/2016";

/// The events from `start` on, a Period's, to before `end`, where the next one begins; in video ticks.
pub(super) fn stream(snapshot: &Snapshot, start: i64, end: Option<i64>) -> Option<EventStream> {
    let scale = snapshot.format.grid.video_scale();
    let here = |at: i64| at >= start && end.is_none_or(|end| at < end);
    let mut events = Vec::new();
    for cue in snapshot.cues.iter() {
        if here(cue.start) {
            let planned = cue
                .planned
                .map(|ticks| Span::new(ticks, Timescale::MPEG).ticks_in(scale, Rounding::Nearest));
            events.push(event(cue.start, planned, id(cue, ""), &cue.section));
        }
        let ended = cue.ended().filter(|end| here(end.at) && !cue.end_section.is_empty());
        if let Some(end) = ended {
            events.push(event(end.at, None, id(cue, "/end"), &cue.end_section));
        }
    }
    (!events.is_empty()).then(|| EventStream {
        schemeIdUri: SCHEME.into(),
        timescale: Some(scale.get().into()),
        presentationTimeOffset: Some(start.max(0).unsigned_abs()),
        event: events,
        ..EventStream::default()
    })
}

fn event(at: i64, duration: Option<u64>, id: u32, section: &[u8]) -> Event {
    Event {
        presentationTime: Some(at.max(0).unsigned_abs()),
        duration,
        id: Some(id.to_string()),
        content: Some(STANDARD.encode(section)),
        ..Event::default()
    }
}

/// A number that stands for an event of a cue: FNV-1a over its name.
fn id(cue: &Cue, suffix: &str) -> u32 {
    let name = cue.id.bytes().chain(suffix.bytes());
    name.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Puts the elements around the base64 of each event that the library has no word for.
pub(super) fn with_signals(mpd: &str) -> String {
    let (open, close) = (format!("<Signal xmlns=\"{NAMESPACE}\"><Binary>"), "</Binary></Signal>");
    let mut pieces = mpd.split("<Event ");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        // Its attributes are numbers: the first bracket ends them.
        let (attributes, rest) = piece.split_once('>').unwrap_or((piece, ""));
        let (section, rest) = rest.split_once("</Event>").unwrap_or((rest, ""));
        text += &format!("<Event {attributes}>{open}{section}{close}</Event>{rest}");
    }
    text
}

#[cfg(test)]
mod tests;
