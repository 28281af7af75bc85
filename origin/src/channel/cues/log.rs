//! What was heard of cues, when, by which way, and what became of it. Bounded, oldest first.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use packager::scte35::breaks::Outcome;
use packager::scte35::{Action, Section, Signal, xml};
use serde::Serialize;

use super::CueView;

/// Entries kept: a day of breaks every quarter of an hour, each message sent four times, is twice that.
const KEPT: usize = 256;

/// One event of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it came, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    /// By which way.
    pub from: From,
    /// The section, in base64; empty where there was none that could be read.
    pub section: String,
    /// Its number on the wire.
    pub event_id: Option<u32>,
    /// What it asks for.
    pub action: Option<Action>,
    /// When it is to happen, in milliseconds since the Unix epoch; `None` is at once.
    pub at_ms: Option<i64>,
    /// How long ago that was when it came, in milliseconds; negative where it came in time.
    pub late_ms: Option<i64>,
    /// What was done.
    pub outcome: Option<Outcome>,
    /// The cue that it is about, as it was then: where it is cut.
    pub cue: Option<CueView>,
    /// Why nothing could be done, or what is suspicious about it, in words.
    pub problem: Option<String>,
}

/// By which way a cue came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// An operator, or a program, asked for it.
    Api,
    /// The source sent it in a data message.
    Rtmp,
    /// The source sent it in its transport stream.
    Ts,
}

impl Entry {
    /// An entry about a section, of which nothing is known yet.
    pub(in crate::channel) fn new(received_ms: u64, from: From, section: &Bytes) -> Self {
        Self {
            received_ms,
            from,
            section: STANDARD.encode(section),
            event_id: None,
            action: None,
            at_ms: None,
            late_ms: None,
            outcome: None,
            cue: None,
            problem: None,
        }
    }

    /// The section in the words of SCTE 35's XML schema, where it can be read.
    pub fn decoded(&self) -> Option<String> {
        let bytes = STANDARD.decode(&self.section).ok()?;
        Section::decode(&bytes.into()).ok().map(|section| xml(&section))
    }

    /// The same about a signal that is to be obeyed at `at_ms`.
    pub(in crate::channel) fn about(mut self, signal: &Signal, at_ms: Option<i64>) -> Self {
        let received = i64::try_from(self.received_ms).unwrap_or(i64::MAX);
        (self.event_id, self.action) = (Some(signal.event.id), Some(signal.action));
        (self.at_ms, self.late_ms) = (at_ms, at_ms.map(|at| received.saturating_sub(at)));
        self
    }
}

impl From {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Rtmp => "rtmp",
            Self::Ts => "ts",
        }
    }
}

/// The log of a channel.
#[derive(Clone, Debug, Default)]
pub(in crate::channel) struct Log(Arc<Vec<Entry>>);

impl Log {
    pub(in crate::channel) fn note(&mut self, entry: Entry) {
        let entries = Arc::make_mut(&mut self.0);
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        entries.push(entry);
    }

    pub(in crate::channel) fn entries(&self) -> Arc<Vec<Entry>> {
        Arc::clone(&self.0)
    }
}
