//! The tables of a stream: which program is read, and where its streams are.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::Want;
use super::output::Output;
use crate::ts::Pid;
use crate::ts::complaint::{Missing, Unusable};
use crate::ts::packet::Packet;
use crate::ts::psi::{self, Map, Program, Programs};
use crate::ts::section::{self, Sections};
use crate::ts::stream::Counter;

/// PID of the PAT.
pub(crate) const PAT_PID: Pid = 0;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Programs,
    Map,
}

/// What a table has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Another program is read, or none; where its streams are is yet to be told.
    Program,
    /// Where the streams of the program are.
    Map(Map),
}

/// A table: the one in force, and the next in the making.
#[derive(Debug, Default)]
struct Table {
    counter: Counter,
    sections: Sections,
    /// As sent, so that the many that say the same are not read.
    bytes: Bytes,
}

/// The PAT, and the map of the program that is read.
#[derive(Debug)]
pub(super) struct Tables {
    want: Want,
    pat: Table,
    pmt: Table,
    program: Option<Program>,
}

impl Tables {
    pub(super) fn new(want: Want) -> Self {
        Self { want, pat: Table::default(), pmt: Table::default(), program: None }
    }

    /// The table that comes on a PID. A map may share its PID with a stream of its program: asking
    /// for that first is the caller's business.
    pub(super) fn on(&self, pid: Pid) -> Option<Which> {
        match self.program {
            _ if pid == PAT_PID => Some(Which::Programs),
            Some(program) if program.pid == pid => Some(Which::Map),
            _ => None,
        }
    }

    fn table(&mut self, which: Which) -> &mut Table {
        match which {
            Which::Programs => &mut self.pat,
            Which::Map => &mut self.pmt,
        }
    }

    pub(super) fn counter(&mut self, which: Which) -> &mut Counter {
        &mut self.table(which).counter
    }

    /// Forgets the section that has begun: the rest of it will not come.
    pub(super) fn reset(&mut self, which: Which, out: &mut Output) {
        if self.table(which).sections.reset() {
            out.bad_section();
        }
    }

    /// The stream is played again: what is in force stays.
    pub(super) fn again(&mut self) {
        for table in [&mut self.pat, &mut self.pmt] {
            table.counter = Counter::default();
            table.sections.reset();
        }
    }

    /// What is missing of the tables; `None` where they tell where streams are.
    pub(super) fn missing(&self) -> Option<Missing> {
        match self.program {
            Some(Program { number, pid }) if self.pmt.bytes.is_empty() => {
                Some(Missing::Map { program: number, pid })
            }
            Some(_) => None,
            None if self.pat.bytes.is_empty() => Some(Missing::Programs),
            None => Some(Missing::Program),
        }
    }

    /// Number of the program that is read.
    pub(super) fn program(&self) -> Option<u16> {
        self.program.map(|program| program.number)
    }

    /// Takes a packet of a table and gives each change that comes of it to `each`.
    pub(super) fn push(
        &mut self,
        which: Which,
        packet: &Packet<'_>,
        out: &mut Output,
        mut each: impl FnMut(Change, &mut Output),
    ) {
        let mut found = Vec::new();
        let table = self.table(which);
        table.sections.push(packet.payload, packet.unit_start, |one| found.push(one));
        for one in found {
            let section::Found::Whole(bytes) = one else {
                out.bad_section();
                continue;
            };
            if bytes == self.table(which).bytes {
                continue;
            }
            let change = match which {
                Which::Programs => self.programs(bytes, out),
                Which::Map => self.map(bytes),
            };
            match change {
                Ok(Some(change)) => each(change, out),
                Ok(None) | Err(psi::Error::Next) => {}
                Err(_) => out.bad_section(),
            }
        }
    }

    fn programs(&mut self, bytes: Bytes, out: &mut Output) -> Result<Option<Change>, psi::Error> {
        let Programs { list, is_whole } = psi::programs(&bytes)?;
        self.pat.bytes = bytes;
        // The one that is read already, so that a new one in front of it changes nothing.
        let wanted = self.want.program.or_else(|| self.program());
        let there = list.iter().find(|program| Some(program.number) == wanted);
        if there.is_none() && !is_whole && wanted.is_some() {
            // In another section of the table.
            return Ok(None);
        }
        let chosen = match self.want.program {
            Some(wanted) if there.is_none() => {
                let there = list.iter().map(|program| program.number).collect();
                out.complain(Unusable::NoProgram { wanted, there });
                None
            }
            Some(_) => there,
            None => there.or_else(|| list.first()),
        };
        if chosen.copied() == self.program {
            return Ok(None);
        }
        self.program = chosen.copied();
        self.pmt = Table::default();
        Ok(Some(Change::Program))
    }

    fn map(&mut self, bytes: Bytes) -> Result<Option<Change>, psi::Error> {
        let map = psi::map(&bytes)?;
        // Several programs may share a PID for their maps.
        if self.program() != Some(map.program) {
            return Ok(None);
        }
        self.pmt.bytes = bytes;
        Ok(Some(Change::Map(map)))
    }
}
