//! What a section asks for, one [`Signal`] per event in it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::section::{Command, Descriptor, Insert, Section, Segmentation};

/// `splice_command_type` of `splice_insert`, which stands for its kind of event.
const INSERT: u8 = 0x05;

/// What an event is called: the kind of event, and its number among those.
///
/// The kind is the `segmentation_type_id` of the start where both ends of something have one, that of
/// the event otherwise, and 0x05 for `splice_insert`, which no segmentation has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Event {
    /// See above. `None` where a cancellation names the number alone.
    pub kind: Option<u8>,
    /// `splice_event_id` or `segmentation_event_id`.
    pub id: u32,
}

impl Event {
    /// An event of `splice_insert`.
    pub fn insert(id: u32) -> Self {
        Self { kind: Some(INSERT), id }
    }

    /// Whether a message about `self` is about `other`.
    pub fn means(&self, other: &Self) -> bool {
        match self.kind {
            Some(kind) => other.kind == Some(kind) && self.id == other.id,
            None => other.kind != Some(INSERT) && self.id == other.id,
        }
    }

    /// Whether it is one of `splice_insert`, of which one at a time is on (§9.7.3).
    pub fn is_insert(&self) -> bool {
        self.kind == Some(INSERT)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A break begins.
    Out {
        /// How long it is meant to last, in ticks of 1/90000 s.
        duration: Option<u64>,
        /// Whether it ends then without another message.
        auto_return: bool,
    },
    /// A break ends.
    In,
    /// Something is told that is no break: a programme begins, an advertisement may not be shown…
    Mark,
    /// What was asked for is not to be.
    Cancel,
}

/// What an event of a section asks for, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Which event.
    pub event: Event,
    /// What is to happen.
    pub action: Action,
    /// When, with the section's adjustment: 33 bits of 1/90000 s. `None` is at once.
    pub time: Option<u64>,
}

/// What a section asks for. Nothing for heartbeats and commands that are not acted upon.
pub fn signals(section: &Section) -> Vec<Signal> {
    let effective = |time: Option<u64>| time.map(|time| section.effective(time));
    match &section.command {
        Command::Insert(insert) => vec![of_insert(insert, effective)],
        Command::TimeSignal(time) => section
            .descriptors
            .iter()
            .filter_map(|descriptor| match descriptor {
                Descriptor::Segmentation(segmentation) => {
                    Some(of_segmentation(segmentation, effective(*time)))
                }
                Descriptor::Other { .. } => None,
            })
            .collect(),
        Command::Null | Command::Other { .. } => Vec::new(),
    }
}

fn of_insert(insert: &Insert, effective: impl Fn(Option<u64>) -> Option<u64>) -> Signal {
    let event = Event::insert(insert.event_id);
    let Some(splice) = &insert.splice else {
        return Signal { event, action: Action::Cancel, time: None };
    };
    let action = if splice.out {
        Action::Out {
            duration: splice.duration.map(|duration| duration.ticks),
            auto_return: splice.duration.is_some_and(|duration| duration.auto_return),
        }
    } else {
        Action::In
    };
    Signal { event, action, time: effective(splice.time.first()) }
}

fn of_segmentation(segmentation: &Segmentation, time: Option<u64>) -> Signal {
    let id = segmentation.event_id;
    let Some(segment) = &segmentation.segment else {
        return Signal { event: Event { kind: None, id }, action: Action::Cancel, time };
    };
    let start = segment.type_id & !1;
    let (kind, action) = match (is_break(start), segment.type_id & 1) {
        (true, 0) => (start, Action::Out { duration: segment.duration, auto_return: false }),
        (true, _) => (start, Action::In),
        (false, _) => (segment.type_id, Action::Mark),
    };
    Signal { event: Event { kind: Some(kind), id }, action, time }
}

/// Whether a segmentation type begins something that may be replaced (table 23): breaks,
/// advertisements, placement opportunities, promotions, alternate content and blocks of advertisements.
fn is_break(start: u8) -> bool {
    matches!(start, 0x22 | 0x30..=0x3e | 0x42..=0x46)
}
