//! Cues in a Period: an `EventStream` of SCTE-35 (ISO/IEC 23009-1 §5.10.2; ANSI/SCTE 214-1 §6.7.4), or a
//! word that they stand in the pictures' segments (ANSI/SCTE 214-3), which the segmenter sees to.
//!
//! An event's time is that of its splice's frame on the timeline of the pictures, whose
//! `presentationTimeOffset` it shares. A break that a message ended has an event for that too, with an
//! id of its own. Ids follow from the cue's name, so that every node writes the same, and are the same
//! in a manifest and inband: the two are alternatives, and a player that is given both hears a cue once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dash_mpd_core::{Event, EventStream, InbandEventStream};

use crate::time::{Rounding, Span, Timescale};
use crate::timeline::{CueEvent, INBAND_SCHEME, Snapshot};

/// How cues are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// In the manifest, the sections as they came in base64.
    #[default]
    Binary,
    /// In the manifest, what the sections say in XML.
    Xml,
    /// In the segments of pictures.
    Inband,
}

impl Events {
    /// What the events of a manifest carry.
    fn scheme(self) -> Option<&'static str> {
        match self {
            Self::Binary => Some("urn:scte:scte35:2014:xml+bin"),
            Self::Xml => Some("urn:scte:scte35:2013:xml"),
            Self::Inband => None,
        }
    }
}

/// Namespace of what stands in an event.
const NAMESPACE: &str = "http://www.scte.org/schemas/35/2016";

/// The events from `start` on, a Period's, to before `end`, where the next one begins; in video ticks.
pub(super) fn stream(
    snapshot: &Snapshot,
    kind: Events,
    start: i64,
    end: Option<i64>,
) -> Option<EventStream> {
    let scheme = kind.scheme()?;
    let scale = snapshot.format.grid.video_scale();
    let here = |at: i64| at >= start && end.is_none_or(|end| at < end);
    let mut events = Vec::new();
    for cue in snapshot.cues.iter() {
        let begins = cue.begin_event();
        if here(begins.at) {
            let planned = cue
                .planned
                .map(|ticks| Span::new(ticks, Timescale::MPEG).ticks_in(scale, Rounding::Nearest));
            events.push(event(&begins, planned));
        }
        let ends = cue.end_event().filter(|event| cue.ended().is_some() && here(event.at));
        events.extend(ends.map(|ends| event(&ends, None)));
    }
    (!events.is_empty()).then(|| EventStream {
        schemeIdUri: scheme.into(),
        timescale: Some(scale.get().into()),
        presentationTimeOffset: Some(start.max(0).unsigned_abs()),
        event: events,
        ..EventStream::default()
    })
}

/// What a set of pictures says of events in its segments.
pub(super) fn inband(kind: Events) -> Vec<InbandEventStream> {
    let stream =
        || InbandEventStream { schemeIdUri: INBAND_SCHEME.into(), ..InbandEventStream::default() };
    if kind == Events::Inband { vec![stream()] } else { Vec::new() }
}

fn event(event: &CueEvent<'_>, duration: Option<u64>) -> Event {
    Event {
        presentationTime: Some(event.at.max(0).unsigned_abs()),
        duration,
        id: Some(event.id.to_string()),
        content: Some(STANDARD.encode(event.section)),
        ..Event::default()
    }
}

/// Puts the elements that the library has no word for where it has written an event's section in base64.
pub(super) fn with_signals(mpd: &str, snapshot: &Snapshot, kind: Events) -> String {
    let mut pieces = mpd.split("<Event ");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        // Its attributes are numbers: the first bracket ends them.
        let (attributes, rest) = piece.split_once('>').unwrap_or((piece, ""));
        let (section, rest) = rest.split_once("</Event>").unwrap_or((rest, ""));
        let words = in_words(snapshot, section).filter(|_| kind == Events::Xml);
        let signal = words.unwrap_or_else(|| {
            format!("<Signal xmlns=\"{NAMESPACE}\"><Binary>{section}</Binary></Signal>")
        });
        text += &format!("<Event {attributes}>{signal}</Event>{rest}");
    }
    text
}

/// The element that says what a section says, which some cue came with.
fn in_words(snapshot: &Snapshot, section: &str) -> Option<String> {
    let events = snapshot
        .cues
        .iter()
        .flat_map(|cue| std::iter::once(cue.begin_event()).chain(cue.end_event()));
    let mut same = events.filter(|event| STANDARD.encode(event.section) == section);
    same.next()?.xml()
}

#[cfg(test)]
mod tests;
