//! A cue: an event of SCTE-35 on our timeline, as manifests tell it.

use bytes::Bytes;

use super::section::{Descriptor, Section, Segmentation};
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
    /// Where the segment begins that was cut for it, once that is known.
    #[serde(default)]
    pub cut_at: Option<i64>,
    /// Where it was wished, in the same ticks.
    pub wished: i64,
    /// Number of the segment that begins with it, once it is known where that is.
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
    /// Its frame.
    pub start: i64,
    /// Where it was wished.
    pub wished: i64,
    /// Where the segment begins that was cut for it, once that is known: with it, where an encoder could
    /// be asked for a key frame; with the source's key frame nearest to it, where none could.
    #[serde(default)]
    pub cut_at: Option<i64>,
    /// Number of that segment.
    pub k: u64,
    /// Why it is not where it was wished.
    pub moved: Option<Moved>,
    /// Whether segments are cut for it. Nothing is for what is told and asks for nothing.
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

    /// The id of the programme or advertisement that it is about (`segmentation_upid`), where its section
    /// has one.
    pub fn upid(&self) -> Option<Bytes> {
        let section = Section::decode(&self.section).ok()?;
        section.descriptors.iter().find_map(|descriptor| match descriptor {
            Descriptor::Segmentation(Segmentation { event_id, segment: Some(segment), .. })
                if *event_id == self.event.id && !segment.upid.is_empty() =>
            {
                Some(segment.upid.clone())
            }
            _ => None,
        })
    }

    /// How it is told as an event of DASH when it begins.
    pub fn begin_event(&self) -> CueEvent<'_> {
        CueEvent { id: number(&self.id), at: self.start, section: &self.section }
    }

    /// The same when a message ends it; nothing where none does.
    pub fn end_event(&self) -> Option<CueEvent<'_>> {
        let end = self.end.as_ref().filter(|_| !self.end_section.is_empty())?;
        // An end that has been told may move yet, and is another event then.
        let id = number(&format!("{}/end/{}", self.id, end.at));
        Some(CueEvent { id, at: end.at, section: &self.end_section })
    }

    /// The segments that are cut for it, as far as is known which: the first of it, and the first behind
    /// it; and where they begin.
    pub fn cuts(&self) -> impl Iterator<Item = (u64, i64)> {
        let end = self.end.as_ref().and_then(|end| Some((end.k, end.cut_at?)));
        self.cut_at.map(|at| (self.k, at)).into_iter().chain(end)
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

/// Where segment `k` begins if it was cut for one of `cues`, in video ticks.
pub fn cut_of(cues: &[Cue], k: u64) -> Option<i64> {
    let cuts = cues.iter().filter(|cue| cue.is_listed()).flat_map(Cue::cuts);
    cuts.into_iter().find_map(|(of, at)| (of == k).then_some(at))
}

/// A cue, or its end, as an event of DASH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CueEvent<'a> {
    /// A number of its own: the same in a manifest, inband, and on every node.
    pub id: u32,
    /// The splice's frame, in video ticks since the epoch.
    pub at: i64,
    /// The section, as it came.
    pub section: &'a Bytes,
}

impl CueEvent<'_> {
    /// What its section says, as an XML element; nothing where it can't be read.
    pub fn xml(&self) -> Option<String> {
        Section::decode(self.section).ok().map(|section| super::xml(&section))
    }
}

/// A number that stands for a name: FNV-1a.
fn number(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
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
