//! What is told of a stream: events in its order, complaints once, and counts of what went wrong.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;

use super::Event;
use crate::source::Unit;
use crate::ts::Counts;
use crate::ts::complaint::Unusable;

/// Different complaints that are told: a sender that finds new ones for ever is not listened to.
const MAX_TOLD: usize = 32;

/// Where everything that reads a part of the stream writes to.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) counts: Counts,
    pub(super) events: VecDeque<Event>,
    told: Vec<Unusable>,
}

impl Output {
    pub(super) fn unit(&mut self, unit: Unit) {
        self.events.push_back(Event::Unit(unit));
    }

    pub(super) fn complain(&mut self, unusable: Unusable) {
        if self.told.len() < MAX_TOLD && !self.told.contains(&unusable) {
            self.told.push(unusable.clone());
            self.events.push_back(Event::Unusable(unusable));
        }
    }

    /// A section was cut or is damaged.
    pub(super) fn bad_section(&mut self) {
        count(&mut self.counts.bad_sections);
    }

    /// A PES packet, a picture or a frame of sound makes no sense.
    pub(super) fn broken(&mut self) {
        count(&mut self.counts.broken);
    }

    pub(super) fn packet(&mut self) {
        count(&mut self.counts.packets);
    }

    pub(super) fn damaged(&mut self) {
        count(&mut self.counts.damaged);
    }

    pub(super) fn lost(&mut self) {
        count(&mut self.counts.lost);
    }

    pub(super) fn scrambled(&mut self) {
        count(&mut self.counts.scrambled);
    }
}

fn count(one: &mut u64) {
    *one = one.saturating_add(1);
}
