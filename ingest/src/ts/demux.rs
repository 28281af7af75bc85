//! The demultiplexer: finds a program in a stream of bytes and gives what it holds. See [`super`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use packager::media::VideoConfig;
use packager::time::{Timescale, Timestamp};

use super::complaint::{Missing, Unusable};
use super::framing::Framing;
use super::packet::{self, NULL_PID, PACKET, Packet};
use super::pes::{self, Pes};
use super::picture;
use super::psi::{self, Kind, Map, Program};
use super::section::{self, Sections};
use super::sound::{self, Format};
use super::stream::{self, Clock, Content, Counter, Extent, Order, Stream};
use super::{Counts, Pid};
use crate::source::{self, SoundConfig, SourceSample, Unit};

/// PID of the PAT.
pub(super) const PAT_PID: Pid = 0;
/// What is wanted of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Number of the program; without one the first in the table.
    pub program: Option<u16>,
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
    program: Reading,
}

impl Demuxer {
    /// A demultiplexer at the start of a stream, or anywhere in it.
    pub fn new(want: Want) -> Self {
        Self { framing: Framing::default(), program: Reading::new(want) }
    }

    /// Takes the next bytes, which were received at `now`.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        let Self { framing, program } = self;
        framing.push(bytes, |packet| program.packet(packet, now));
    }

    /// Says that nothing follows: a picture that has begun is whole.
    pub fn finish(&mut self) {
        for at in 0..self.program.streams.len() {
            let found = self.program.streams.get_mut(at).and_then(|stream| stream.finish());
            if let Some(found) = found {
                self.program.ended(at, found);
            }
        }
    }

    /// Says that the same stream follows from its beginning, as when a file is played again: its times
    /// go on behind the last ones.
    pub fn again(&mut self) {
        self.finish();
        self.framing = Framing::anew(&self.framing);
        self.program.again();
    }

    /// What is still missing before there is picture or sound; `None` once there was some.
    pub fn missing(&self) -> Option<Missing> {
        self.program.missing()
    }

    /// The next event, in the order of the stream.
    pub fn poll(&mut self) -> Option<Event> {
        self.program.events.pop_front()
    }

    /// What went wrong so far.
    pub fn counts(&self) -> Counts {
        Counts {
            skipped_bytes: self.framing.skipped(),
            damaged: self.program.counts.damaged.saturating_add(self.framing.damaged()),
            ..self.program.counts
        }
    }
}

/// A table of the stream: the one in force, and the next in the making.
#[derive(Debug, Default)]
struct Table {
    counter: Counter,
    sections: Sections,
    /// As sent, so that the many that say the same are not read.
    bytes: Bytes,
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Programs,
    Map,
    Stream(usize),
}

/// The program that is read, and everything found in it.
#[derive(Debug)]
struct Reading {
    want: Want,
    pat: Table,
    pmt: Table,
    program: Option<Program>,
    /// PID of the clock reference.
    clock_pid: Option<Pid>,
    /// Whether a clock reference has come on it.
    has_reference: bool,
    streams: Vec<Stream>,
    /// One for all of them, so that they wrap together.
    clock: Clock,
    /// Added to every time, where the stream is played again.
    shift: i64,
    extent: Extent,
    /// Where the program is: its last clock reference, or picture where it sends none.
    now: Option<i64>,
    video: Option<VideoConfig>,
    audio: Option<SoundConfig>,
    told: Vec<Unusable>,
    counts: Counts,
    events: VecDeque<Event>,
}

/// Different complaints that are told: a sender that finds new ones for ever is not listened to.
const MAX_TOLD: usize = 32;

impl Reading {
    fn new(want: Want) -> Self {
        Self {
            want,
            pat: Table::default(),
            pmt: Table::default(),
            program: None,
            clock_pid: None,
            has_reference: false,
            streams: Vec::new(),
            clock: Clock::default(),
            shift: 0,
            extent: Extent::default(),
            now: None,
            video: None,
            audio: None,
            told: Vec::new(),
            counts: Counts::default(),
            events: VecDeque::new(),
        }
    }

    fn role(&self, pid: Pid) -> Option<Role> {
        if pid == PAT_PID {
            return Some(Role::Programs);
        }
        if let Some(at) = self.streams.iter().position(|stream| stream.pid == pid) {
            return Some(Role::Stream(at));
        }
        (self.program.is_some_and(|program| program.pid == pid)).then_some(Role::Map)
    }

    fn packet(&mut self, bytes: &[u8; PACKET], now: Instant) {
        self.counts.packets = self.counts.packets.saturating_add(1);
        let Some(packet) = packet::parse(bytes) else {
            self.counts.damaged = self.counts.damaged.saturating_add(1);
            return;
        };
        if packet.pid == NULL_PID {
            return;
        }
        if packet.damaged {
            // The bytes can't be trusted, not even the PID; the counter will show whose it was.
            self.counts.damaged = self.counts.damaged.saturating_add(1);
            return;
        }
        if let Some(pcr) = packet.pcr
            && self.clock_pid == Some(packet.pid)
        {
            self.has_reference = true;
            let at = self.unroll(pcr);
            self.tell_clock(at);
        }
        let Some(role) = self.role(packet.pid) else { return };
        if !packet.has_payload || !self.follows(role, &packet) {
            return;
        }
        if packet.scrambled {
            self.counts.scrambled = self.counts.scrambled.saturating_add(1);
            if let Role::Stream(_) = role {
                self.complain(Unusable::Scrambled { pid: packet.pid });
            }
            return;
        }
        match role {
            Role::Programs => self.programs(&packet),
            Role::Map => self.map(&packet),
            Role::Stream(at) => self.stream(at, &packet, now),
        }
    }

    /// A time of 33 bits on the clock of the units.
    fn unroll(&mut self, wire: u64) -> i64 {
        self.clock.unroll(wire).saturating_add(self.shift)
    }

    fn tell_clock(&mut self, at: i64) {
        self.now = Some(at);
        self.events.push_back(Event::Clock(Timestamp::new(at, Timescale::MPEG)));
    }

    fn again(&mut self) {
        self.shift = self.shift.saturating_add(self.extent.length());
        self.extent = Extent::default();
        self.clock = Clock::default();
        self.now = None;
        for table in [&mut self.pat, &mut self.pmt] {
            table.counter = Counter::default();
            table.sections.reset();
        }
        for stream in &mut self.streams {
            stream.again();
        }
    }

    fn missing(&self) -> Option<Missing> {
        if self.video.is_some() || self.audio.is_some() {
            return None;
        }
        Some(match self.program {
            Some(Program { number, pid }) if self.pmt.bytes.is_empty() => {
                Missing::Map { program: number, pid }
            }
            Some(Program { number, .. }) => Missing::Media { program: number },
            None if !self.pat.bytes.is_empty() => Missing::Program,
            None if self.counts.packets > 0 => Missing::Programs,
            None => Missing::Packets,
        })
    }

    /// Whether a packet is to be read; notes by its counter what was lost before it.
    fn follows(&mut self, role: Role, packet: &Packet<'_>) -> bool {
        let counter = match role {
            Role::Programs => &mut self.pat.counter,
            Role::Map => &mut self.pmt.counter,
            Role::Stream(at) => match self.streams.get_mut(at) {
                Some(stream) => &mut stream.counter,
                None => return false,
            },
        };
        match counter.take(packet) {
            Order::Next => {}
            Order::Again => return false,
            Order::Anew => self.reset(role),
            Order::Lost => {
                self.counts.lost = self.counts.lost.saturating_add(1);
                self.reset(role);
            }
        }
        true
    }

    /// Forgets what has begun: the rest of it will not come.
    fn reset(&mut self, role: Role) {
        let (cut, section) = match role {
            Role::Programs => (self.pat.sections.reset(), true),
            Role::Map => (self.pmt.sections.reset(), true),
            Role::Stream(at) => {
                let Some(stream) = self.streams.get_mut(at) else { return };
                (stream.reset(), stream.kind == Kind::Cues)
            }
        };
        if cut {
            self.broken(section);
        }
    }

    fn broken(&mut self, section: bool) {
        let count = if section { &mut self.counts.bad_sections } else { &mut self.counts.broken };
        *count = count.saturating_add(1);
    }

    fn programs(&mut self, packet: &Packet<'_>) {
        let mut found = Vec::new();
        self.pat.sections.push(packet.payload, packet.unit_start, |one| found.push(one));
        for one in found {
            let section::Found::Whole(bytes) = one else {
                self.broken(true);
                continue;
            };
            if bytes == self.pat.bytes {
                continue;
            }
            match psi::programs(&bytes) {
                Ok(programs) => {
                    self.pat.bytes = bytes;
                    self.choose(&programs);
                }
                Err(psi::Error::Next) => {}
                Err(_) => self.broken(true),
            }
        }
    }

    fn choose(&mut self, programs: &[Program]) {
        let chosen = match self.want.program {
            Some(wanted) => programs.iter().find(|program| program.number == wanted),
            // The one that is read already, so that a new table in front of it changes nothing.
            None => programs
                .iter()
                .find(|one| self.program.is_some_and(|program| program.number == one.number))
                .or_else(|| programs.first()),
        };
        if let (None, Some(wanted)) = (chosen, self.want.program) {
            let there = programs.iter().map(|program| program.number).collect();
            self.complain(Unusable::NoProgram { wanted, there });
        }
        if chosen.copied() != self.program {
            self.program = chosen.copied();
            self.pmt = Table::default();
            self.streams.clear();
            self.clock_pid = None;
            self.has_reference = false;
        }
    }

    fn map(&mut self, packet: &Packet<'_>) {
        let mut found = Vec::new();
        self.pmt.sections.push(packet.payload, packet.unit_start, |one| found.push(one));
        for one in found {
            let section::Found::Whole(bytes) = one else {
                self.broken(true);
                continue;
            };
            if bytes == self.pmt.bytes {
                continue;
            }
            match psi::map(&bytes) {
                // Several programs may share a PID for their maps.
                Ok(map) if self.program.is_none_or(|program| program.number != map.program) => {}
                Ok(map) => {
                    self.pmt.bytes = bytes;
                    self.follow(&map);
                }
                Err(psi::Error::Next) => {}
                Err(_) => self.broken(true),
            }
        }
    }

    /// Follows the first picture, the first sound (AAC before others) and all cues of a program. A stream that stays where
    /// and what it was is not disturbed.
    fn follow(&mut self, map: &Map) {
        let first = |wanted: fn(&Kind) -> bool| {
            map.streams.iter().find(|stream| wanted(&stream.kind)).copied()
        };
        let video = first(|kind| matches!(kind, Kind::Video(_)));
        // AAC can also be packaged as it is.
        let is_aac = |kind: &Kind| matches!(kind, Kind::Sound(Format::Adts | Format::Latm));
        let sound = first(is_aac).or_else(|| first(|kind| matches!(kind, Kind::Sound(_))));
        let cues = map.streams.iter().filter(|stream| stream.kind == Kind::Cues).copied();
        let wanted: Vec<_> = video.into_iter().chain(sound).chain(cues).collect();
        let mut before = std::mem::take(&mut self.streams);
        for stream in wanted {
            let same = |old: &Stream| (old.pid, old.kind) == (stream.pid, stream.kind);
            let kept = before.iter().position(same).map(|at| before.swap_remove(at));
            self.streams.extend(kept.or_else(|| Stream::new(stream)));
        }
        self.has_reference &= self.clock_pid == Some(map.clock);
        self.clock_pid = Some(map.clock);
        for stream in &map.streams {
            if let Kind::Unread(codec) = stream.kind
                && (sound.is_none() || video.is_none())
            {
                self.complain(Unusable::Codec { codec, pid: stream.pid });
            }
        }
        if video.is_none() && sound.is_none() {
            self.complain(Unusable::NoMedia { program: map.program });
        }
    }

    fn complain(&mut self, unusable: Unusable) {
        if self.told.len() < MAX_TOLD && !self.told.contains(&unusable) {
            self.told.push(unusable.clone());
            self.events.push_back(Event::Unusable(unusable));
        }
    }

    fn stream(&mut self, at: usize, packet: &Packet<'_>, now: Instant) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        match &mut stream.content {
            Content::Pictures(assembly, ..) | Content::Sound(assembly, _) => {
                // One that ended with its stated length, and one that the packet's start ends.
                let mut ended: [Option<pes::Found>; 2] = [None, None];
                assembly.push(packet.payload, packet.unit_start, now, |found| {
                    if let Some(place) = ended.iter_mut().find(|place| place.is_none()) {
                        *place = Some(found);
                    }
                });
                for found in ended.into_iter().flatten() {
                    self.ended(at, found);
                }
            }
            Content::Cues(sections) => {
                let mut found = Vec::new();
                sections.push(packet.payload, packet.unit_start, |one| found.push(one));
                let pid = stream.pid;
                for one in found {
                    match one {
                        section::Found::Whole(bytes) => self.cue(pid, bytes),
                        section::Found::Cut => self.broken(true),
                    }
                }
            }
        }
    }

    fn cue(&mut self, pid: Pid, raw: Bytes) {
        if section::checksum(&raw) != 0 {
            self.broken(true);
            return;
        }
        let Some(now) = self.now else { return };
        let at = Timestamp::new(now, Timescale::MPEG);
        let section = source::Section { pid, at, shift: self.shift, raw };
        self.events.push_back(Event::Unit(Unit::Section(section)));
    }

    /// A PES packet has ended.
    fn ended(&mut self, at: usize, found: pes::Found) {
        let pes::Found::Whole(pes) = found else {
            self.broken(false);
            return;
        };
        let dts = pes.dts.map(|dts| self.unroll(dts));
        // Two times of one header don't bear each other out: if it is damaged, both are wrong.
        let pts = match (pes.pts, pes.dts.zip(dts)) {
            (Some(pts), Some((wire, dts))) => Some(dts.saturating_add(stream::from_to(wire, pts))),
            (Some(pts), None) => Some(self.unroll(pts)),
            (None, _) => None,
        };
        self.follow_times(at, dts);
        let Some(stream) = self.streams.get_mut(at) else { return };
        match &mut stream.content {
            Content::Pictures(_, pictures, pace) => {
                let mut found = Vec::new();
                pictures.push(&pes.payload, |one| found.push(one));
                let times = pace.next(dts).map(|dts| (dts, pts.unwrap_or(dts)));
                for one in found {
                    self.picture(one, times, &pes);
                }
            }
            Content::Sound(_, sounds) => {
                let mut found = Vec::new();
                sounds.push(pes.payload, pts, pes.received, |one| found.push(one));
                for one in found {
                    self.sound(one);
                }
            }
            Content::Cues(_) => {}
        }
    }

    /// Notes the decoding time of a stream's PES packet.
    fn follow_times(&mut self, at: usize, dts: Option<i64>) {
        let Some(dts) = dts else { return };
        let is_video = |stream: &Stream| matches!(stream.content, Content::Pictures(..));
        let leads = match self.streams.get(at) {
            Some(stream) if is_video(stream) => true,
            Some(_) => !self.streams.iter().any(is_video),
            None => false,
        };
        if leads {
            self.extent.reach(dts);
        }
        if self.has_reference {
            return;
        }
        if leads {
            self.tell_clock(dts);
        } else if self.now.is_none() {
            self.now = Some(dts);
        }
    }

    fn picture(&mut self, found: picture::Found, times: Option<(i64, i64)>, pes: &Pes) {
        match found {
            picture::Found::Config(config) => {
                if self.video.as_ref() != Some(&config) {
                    self.video = Some(config.clone());
                    self.events.push_back(Event::Unit(Unit::VideoConfig(config)));
                }
            }
            picture::Found::Picture { sync, data } => {
                // Without any time so far there is no place for it.
                let Some((dts, pts)) = times else { return };
                let at = |ticks| Timestamp::new(ticks, Timescale::MPEG);
                let (dts, pts) = (at(dts), at(pts));
                let sample = SourceSample { dts, pts, sync, data, received: pes.received };
                self.events.push_back(Event::Unit(Unit::Video(sample)));
            }
            picture::Found::Unusable(error) => self.complain(Unusable::VideoConfig(error)),
            picture::Found::Broken => self.broken(false),
        }
    }

    fn sound(&mut self, found: sound::Found) {
        match found {
            sound::Found::Config(config) => {
                if self.audio.as_ref() != Some(&config) {
                    self.audio = Some(config.clone());
                    self.events.push_back(Event::Unit(Unit::AudioConfig(config)));
                }
            }
            sound::Found::Frame { at, data, received } => {
                let at = Timestamp::new(at, Timescale::MPEG);
                let sample = SourceSample { dts: at, pts: at, sync: true, data, received };
                self.events.push_back(Event::Unit(Unit::Audio(sample)));
            }
            sound::Found::Unusable(error) => self.complain(Unusable::AudioConfig(error)),
            sound::Found::Broken => self.broken(false),
        }
    }
}

#[cfg(test)]
mod tests;
