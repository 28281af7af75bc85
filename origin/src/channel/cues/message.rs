//! Cues in what a source sends beside its pictures and sound.
//!
//! | message | says |
//! |---|---|
//! | a section of a transport stream | what stands in it, at its own times |
//! | `onAdCue` (SCTE 67's DPI signalling), `cue` a section in base64 | the section, at `time` |
//! | `onAdCue`, `cue` = `SpliceOut`, `SpliceIn` | a break of `duration` seconds, event `id`, at `time` |
//! | `onCuePoint` | the same, by other names: Elemental's, YouTube's |
//! | any other with a text that is a section in base64 | the section, at the message's time |
//!
//! In RTMP a section's own time means nothing: it is of another clock. `time` is seconds of the source's
//! clock, which wraps as that does; without it the message's own time counts. A repeat for who tunes in is the same cue again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ingest::source::{self, DataMessage};
use packager::scte35::section::MAX_SECTION;
use packager::scte35::{Error, Section};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use serde_json::{Map, Value};

use super::order::{self, Words};

/// The longest break that is believed: a day.
const LONGEST: f64 = 86_400.0;

/// A section that a source has sent, or that says what it has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::channel) struct Heard {
    /// The bytes that go into manifests.
    pub(in crate::channel) raw: Bytes,
    /// The same, decoded.
    pub(in crate::channel) section: Section,
    /// When.
    pub(in crate::channel) time: Time,
}

/// How the time of a section is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Time {
    /// Its own times count, as those of a stream's samples do.
    Own {
        /// What the clock of the samples shows where it stands, at 90 kHz.
        at: Timestamp,
        /// What is added to times of the stream to make that clock.
        shift: i64,
    },
    /// This time of the source's clock counts, which the message names or else stands at.
    Source {
        /// The time that counts.
        at: Timestamp,
        /// Where the message stands.
        beside: Timestamp,
    },
}

/// What a section of a transport stream says.
pub(in crate::channel) fn of_stream(sent: &source::Section) -> Result<Heard, Error> {
    let section = Section::decode(&sent.raw)?;
    let time = Time::Own { at: sent.at, shift: sent.shift };
    Ok(Heard { raw: sent.raw.clone(), section, time })
}

/// What a message says of cues; `None` where it is about something else.
pub(in crate::channel) fn read(message: &DataMessage) -> Option<Result<Heard, Error>> {
    if message.name == "onMetaData" {
        return None;
    }
    let fields = message.values.iter().find_map(Value::as_object);
    let named = fields.and_then(|fields| seconds(fields, &["time"]));
    let time = Time::Source {
        at: named.map_or(message.at, |seconds| unwrapped(seconds, message.at)),
        beside: message.at,
    };
    if let Some(raw) = message.values.iter().find_map(|value| find_section(value, 0)) {
        let section = Section::decode(&raw);
        return Some(section.map(|section| Heard { raw, section, time }));
    }
    let fields = fields?;
    match message.name.as_str() {
        "onAdCue" => ad_cue(fields, time).map(Ok),
        "onCuePoint" => cue_point(fields, time).map(Ok),
        _ => None,
    }
}

/// A time in seconds on the clock of RTMP, whose 32 bits of milliseconds wrap every 49 days: the reading
/// that is closest to where its message stands, since senders count on or begin anew.
fn unwrapped(seconds: f64, beside: Timestamp) -> Timestamp {
    const PERIOD: i64 = 1 << 32;
    let millis = (seconds * 1_000.0).round() as i64;
    let ahead = millis.saturating_sub(beside.ticks_in(Timescale::MILLIS, Rounding::Nearest));
    let distance = ahead.saturating_add(PERIOD / 2).rem_euclid(PERIOD) - PERIOD / 2;
    let beside = beside.ticks_in(Timescale::MILLIS, Rounding::Nearest);
    Timestamp::new(beside.saturating_add(distance), Timescale::MILLIS)
}

/// The first text in a value that looks like a section: the right first byte, and the length it says.
fn find_section(value: &Value, depth: u32) -> Option<Bytes> {
    /// Levels of objects that are looked into.
    const DEPTH: u32 = 4;
    /// `section_length` of the shortest section, which says nothing.
    const SHORTEST: usize = 17;
    match value {
        Value::String(text) if text.len() <= MAX_SECTION * 4 / 3 + 4 => {
            let bytes = STANDARD.decode(text.trim()).ok()?;
            let [0xfc, high, low, ..] = bytes[..] else { return None };
            let length = usize::from(u16::from_be_bytes([high & 0x0f, low]));
            (length >= SHORTEST && length + 3 == bytes.len()).then(|| bytes.into())
        }
        Value::Object(fields) if depth < DEPTH => {
            fields.values().find_map(|value| find_section(value, depth + 1))
        }
        Value::Array(values) if depth < DEPTH => {
            values.iter().find_map(|value| find_section(value, depth + 1))
        }
        _ => None,
    }
}

/// `onAdCue` in simple mode.
fn ad_cue(fields: &Map<String, Value>, time: Time) -> Option<Heard> {
    let words = match fields.get("cue").and_then(Value::as_str)? {
        "SpliceOut" => out(seconds(fields, &["duration"])),
        "SpliceIn" => Words::Return,
        _ => return None,
    };
    heard(event_id(fields), words, time)
}

/// `onCuePoint`: parameters stand in the object, or in one of their own.
fn cue_point(fields: &Map<String, Value>, time: Time) -> Option<Heard> {
    let inner = fields.get("parameters").and_then(Value::as_object).unwrap_or(fields);
    let pre_roll = seconds(inner, &["pre_roll_time_sec"]).unwrap_or(0.0);
    let ahead = (pre_roll * 1_000.0).round() as i64;
    let duration = seconds(inner, &["break_duration_sec", "duration"]);
    // Without any of them it is a bookmark, of which players and editors have their own kinds.
    let names = ["break_duration_sec", "splice_event_id", "cue_point_start"];
    if !names.iter().any(|name| inner.contains_key(*name)) {
        return None;
    }
    let begins = inner.get("cue_point_start").and_then(Value::as_bool).unwrap_or(true);
    let words = if begins { out(duration) } else { Words::Return };
    let time = match time {
        Time::Source { at, beside } => {
            let at = at.ticks_in(Timescale::MILLIS, Rounding::Nearest).saturating_add(ahead);
            Time::Source { at: Timestamp::new(at, Timescale::MILLIS), beside }
        }
        own @ Time::Own { .. } => own,
    };
    heard(event_id(inner), words, time)
}

/// A break that lasts as long as it says, where it says so.
fn out(seconds: Option<f64>) -> Words {
    let duration = seconds.map(|seconds| Span::millis((seconds * 1_000.0).round() as u64));
    Words::Out { duration, auto_return: duration.is_some() }
}

fn heard(event_id: u32, words: Words, time: Time) -> Option<Heard> {
    // At once: a section's time would be of our clock, which is not known here.
    let (section, raw) = order::section(event_id, words, None)?;
    Some(Heard { raw, section, time })
}

/// A number of seconds, also where it is written as a text.
fn seconds(fields: &Map<String, Value>, names: &[&str]) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let found = names.iter().find_map(|name| fields.get(*name).and_then(number))?;
    (found.is_finite() && (0.0..=LONGEST * 366.0).contains(&found)).then_some(found)
}

/// The number of an event; of one that is called by a word, a number that stands for it.
fn event_id(fields: &Map<String, Value>) -> u32 {
    let name = ["id", "splice_event_id"].iter().find_map(|name| fields.get(*name));
    let text = match name {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=f64::from(u32::MAX)).contains(n));
    number.map_or_else(|| order::number_of(&text), |number| number as u32)
}

#[cfg(test)]
mod tests;
