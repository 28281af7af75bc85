//! The demultiplexer: finds a program in a stream of bytes and gives what it holds. See [`super`].
//!
//! ```text
//! packets ─► counters ─┬► tables:  which program, which streams ─┐ output: events, complaints, counts
//!                      └► program: pictures, sound, cues ────────┘
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::time::Instant;

use packager::time::Timestamp;

use super::complaint::{Missing, Unusable};
use super::framing::Framing;
use super::packet::{self, NULL_PID, PACKET, Packet};
use super::stream::Order;
use super::{Counts, Pid};
use crate::source::Unit;

mod output;
mod program;
mod tables;

use output::Output;
use program::Program;
#[cfg(test)]
pub(super) use tables::PAT_PID;
use tables::{Change, Tables, Which};

/// What is wanted of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Number of the program; without one the first in the table.
    pub program: Option<u16>,
    /// Whether decoding may start at a picture from which on it recovers, as at an IDR picture: what
    /// broadcasting sends may have no other. Of H.264, where such a picture is one of a group that is not
    /// closed, or of many that are refreshed bit by bit.
    pub open_groups: bool,
}

/// What a stream gave.
#[derive(Clone, Debug)]
pub enum Event {
    /// A piece of the source.
    Unit(Unit),
    /// The program's clock, on the clock of the units: what a file is paced by. Where no reference is
    /// sent, the decoding times of the pictures (or of the sound, where there are none) are it.
    Clock(Timestamp),
    /// Something that can't be used; told once.
    Unusable(Unusable),
}

/// Reads a transport stream. See the module's page.
#[derive(Debug)]
pub struct Demuxer {
    framing: Framing,
    reading: Reading,
}

impl Demuxer {
    /// A demultiplexer at the start of a stream, or anywhere in it.
    pub fn new(want: Want) -> Self {
        let program = Program::new(want.open_groups);
        let (tables, out) = (Tables::new(want), Output::default());
        Self { framing: Framing::default(), reading: Reading { tables, program, out } }
    }

    /// Takes the next bytes, which were received at `now`.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        let Self { framing, reading } = self;
        framing.push(bytes, |packet| reading.packet(packet, now));
    }

    /// Says that nothing follows: a picture that has begun is whole.
    pub fn finish(&mut self) {
        self.reading.program.finish(&mut self.reading.out);
    }

    /// Says that the same stream follows from its beginning, as when a file is played again: its times
    /// go on behind the last ones.
    pub fn again(&mut self) {
        self.finish();
        self.framing = Framing::anew(&self.framing);
        self.reading.tables.again();
        self.reading.program.again();
    }

    /// What is still missing before there is picture or sound; `None` once there was some.
    pub fn missing(&self) -> Option<Missing> {
        let Reading { tables, program, out } = &self.reading;
        if program.has_media() {
            return None;
        }
        Some(match (tables.missing(), tables.program()) {
            (Some(Missing::Programs), _) if out.counts.packets == 0 => Missing::Packets,
            (Some(missing), _) => missing,
            (None, Some(program)) => Missing::Media { program },
            (None, None) => Missing::Program,
        })
    }

    /// The next event, in the order of the stream.
    pub fn poll(&mut self) -> Option<Event> {
        self.reading.out.events.pop_front()
    }

    /// What went wrong so far.
    pub fn counts(&self) -> Counts {
        let counts = self.reading.out.counts;
        Counts {
            skipped_bytes: self.framing.skipped(),
            damaged: counts.damaged.saturating_add(self.framing.damaged()),
            ..counts
        }
    }
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Table(Which),
    /// By its place in the program.
    Stream(usize),
}

/// Everything behind the framing.
#[derive(Debug)]
struct Reading {
    tables: Tables,
    program: Program,
    out: Output,
}

impl Reading {
    fn role(&self, pid: Pid) -> Option<Role> {
        let stream = || self.program.on(pid).map(Role::Stream);
        match self.tables.on(pid) {
            Some(Which::Programs) => Some(Role::Table(Which::Programs)),
            // Of a stream and a map on one PID the stream is of more use.
            Some(Which::Map) => stream().or(Some(Role::Table(Which::Map))),
            None => stream(),
        }
    }

    fn packet(&mut self, bytes: &[u8; PACKET], now: Instant) {
        self.out.packet();
        let Some(packet) = packet::parse(bytes) else { return self.out.damaged() };
        if packet.pid == NULL_PID {
            return;
        }
        if packet.damaged {
            // The bytes can't be trusted, not even the PID; the counter will show whose it was.
            return self.out.damaged();
        }
        if let Some(pcr) = packet.pcr {
            self.program.refer(packet.pid, pcr, &mut self.out);
        }
        let Some(role) = self.role(packet.pid) else { return };
        if !packet.has_payload || !self.follows(role, &packet) {
            return;
        }
        if packet.scrambled {
            self.out.scrambled();
            if let Role::Stream(_) = role {
                self.out.complain(Unusable::Scrambled { pid: packet.pid });
            }
            return;
        }
        let Self { tables, program, out } = self;
        match role {
            Role::Table(which) => tables.push(which, &packet, out, |change, out| match change {
                Change::Program => program.leave(),
                Change::Map(map) => program.follow(&map, out),
            }),
            Role::Stream(at) => program.push(at, &packet, now, out),
        }
    }

    /// Whether a packet is to be read; notes by its counter what was lost before it.
    fn follows(&mut self, role: Role, packet: &Packet<'_>) -> bool {
        let Self { tables, program, out } = self;
        let counter = match role {
            Role::Table(which) => Some(tables.counter(which)),
            Role::Stream(at) => program.counter(at),
        };
        let Some(counter) = counter else { return false };
        match counter.take(packet) {
            Order::Next => return true,
            Order::Again => return false,
            Order::Anew => {
                // Announced, nothing is missing: what was open ends where something else begins.
                if let (Role::Stream(at), true) = (role, packet.unit_start) {
                    program.end(at, out);
                }
            }
            Order::Lost => out.lost(),
        }
        match role {
            Role::Table(which) => tables.reset(which, out),
            Role::Stream(at) => program.reset(at, out),
        }
        true
    }
}

#[cfg(test)]
mod tests;
