//! A cue: an event of SCTE-35 on our timeline, as manifests tell it.

use bytes::Bytes;

use super::signal::Event;
use crate::grid::splices::Moved;

/// Where a cue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is to come, and can be changed.
    Announced,
    /// It has begun.
    Active,
    /// It is over.
    Ended,
    /// It was not to be, or another took its place before it began.
    Cancelled,
}

/// Why a break ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndsBy {
    /// Its length is over, as it was announced.
    AutoReturn,
    /// A message said so.
    Return,
    /// The message that should have said so did not come.
    ReturnLost,
    /// Another break takes over.
    Replaced,
}

/// Where and why a break ends.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// Its frame, the first behind the break, in video ticks since the epoch.
    pub at: i64,
    /// Where it was wished, in the same ticks.
    pub wished: i64,
    /// Number of the first segment behind the break.
    pub k: u64,
    /// Why it is not where it was wished.
    pub moved: Option<Moved>,
    /// Why there is one.
    pub by: EndsBy,
}

/// A cue. Times are video ticks since the epoch, lengths ticks of 1/90000 s.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cue {
    /// Its name in manifests, used once: kind, event and the number of the segment it begins with.
    pub id: String,
    /// What it was called on the wire.
    pub event: Event,
    /// Whether it is a break, which has an end, or a mark, which has none.
    pub is_break: bool,
    /// Whether it ends by itself.
    pub auto_return: bool,
    /// Where it stands.
    pub phase: Phase,
    /// Its frame: the first of segment `k`, unless nothing was cut for it.
    pub start: i64,
    /// Where it was wished.
    pub wished: i64,
    /// Number of the segment that begins with it, or holds it.
    pub k: u64,
    /// Why it is not where it was wished.
    pub moved: Option<Moved>,
    /// Whether a segment begins with it, and with what follows it.
    pub cut: bool,
    /// How long the message said it would last.
    pub planned: Option<u64>,
    /// Where it ends, as far as is known: this may change until it is over.
    pub end: Option<End>,
    /// The section that announced it, as it came.
    #[serde(with = "base64_bytes")]
    pub section: Bytes,
    /// The section that ended it.
    #[serde(with = "base64_bytes")]
    pub end_section: Bytes,
}

impl Cue {
    /// Where it ended, once nothing can change that.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref().filter(|_| self.phase == Phase::Ended)
    }

    /// Whether manifests tell it.
    pub fn is_listed(&self) -> bool {
        self.phase != Phase::Cancelled
    }

    /// The last instant that it has to do with; nothing while it goes on.
    pub(super) fn over_at(&self) -> Option<i64> {
        match (self.phase, &self.end) {
            (Phase::Cancelled, _) => Some(self.start),
            (Phase::Ended, end) => Some(end.as_ref().map_or(self.start, |end| end.at)),
            (Phase::Announced | Phase::Active, _) => None,
        }
    }
}

/// Sections in JSON.
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
