//! The program that is read: its streams, put together to pictures, sound and cues on one clock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::time::Instant;

use bytes::Bytes;
use packager::media::VideoConfig;
use packager::time::{Timescale, Timestamp};

use super::Event;
use super::output::Output;
use crate::source::{self, SoundConfig, SourceSample, Unit};
use crate::ts::Pid;
use crate::ts::complaint::Unusable;
use crate::ts::packet::Packet;
use crate::ts::pes::{self, Pes};
use crate::ts::picture;
use crate::ts::psi::{self, Kind, Map};
use crate::ts::section;
use crate::ts::sound::{self, Format};
use crate::ts::stream::{self, Clock, Content, Counter, Extent, Stream};

/// The program that is read, and everything found in it.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Whether decoding may start where it recovers.
    open_groups: bool,
    streams: Vec<Stream>,
    /// PID of the clock reference.
    clock_pid: Option<Pid>,
    /// Whether a clock reference has come on it.
    has_reference: bool,
    /// One for all streams, so that they wrap together.
    clock: Clock,
    /// Added to every time, where the stream is played again.
    shift: i64,
    extent: Extent,
    /// Where the program is: its last clock reference, or picture where it sends none.
    now: Option<i64>,
    video: Option<VideoConfig>,
    audio: Option<SoundConfig>,
}

impl Program {
    pub(super) fn new(open_groups: bool) -> Self {
        Self { open_groups, ..Self::default() }
    }

    /// The stream on a PID, by its place.
    pub(super) fn on(&self, pid: Pid) -> Option<usize> {
        self.streams.iter().position(|stream| stream.pid == pid)
    }

    pub(super) fn counter(&mut self, at: usize) -> Option<&mut Counter> {
        self.streams.get_mut(at).map(|stream| &mut stream.counter)
    }

    /// Whether there was picture or sound that can be read.
    pub(super) fn has_media(&self) -> bool {
        self.video.is_some() || self.audio.is_some()
    }

    /// Another program is read: where its streams are will be told.
    pub(super) fn leave(&mut self) {
        self.streams.clear();
        self.clock_pid = None;
        self.has_reference = false;
    }

    /// Follows the first picture, the first sound (AAC before others) and all cues of a program. A
    /// stream that stays where and what it was is not disturbed.
    pub(super) fn follow(&mut self, map: &Map, out: &mut Output) {
        let first = |wanted: fn(&Kind) -> bool| {
            map.streams.iter().find(|stream| wanted(&stream.kind)).copied()
        };
        let video = first(|kind| matches!(kind, Kind::Video(_)));
        // AAC can also be packaged as it is.
        let is_aac = |kind: &Kind| matches!(kind, Kind::Sound(Format::Adts | Format::Latm));
        let sound = first(is_aac).or_else(|| first(|kind| matches!(kind, Kind::Sound(_))));
        let cues = map.streams.iter().filter(|stream| stream.kind == Kind::Cues).copied();
        let wanted: Vec<psi::Stream> = video.into_iter().chain(sound).chain(cues).collect();
        let mut before = std::mem::take(&mut self.streams);
        for stream in wanted {
            let same = |old: &Stream| (old.pid, old.kind) == (stream.pid, stream.kind);
            let kept = before.iter().position(same).map(|at| before.swap_remove(at));
            self.streams.extend(kept.or_else(|| Stream::new(stream, self.open_groups)));
        }
        self.has_reference &= self.clock_pid == Some(map.clock);
        self.clock_pid = Some(map.clock);
        for stream in &map.streams {
            if let Kind::Unread(codec) = stream.kind
                && (sound.is_none() || video.is_none())
            {
                out.complain(Unusable::Codec { codec, pid: stream.pid });
            }
        }
        if video.is_none() && sound.is_none() {
            out.complain(Unusable::NoMedia { program: map.program });
        }
    }

    /// A clock reference has come on a PID.
    pub(super) fn refer(&mut self, pid: Pid, pcr: u64, out: &mut Output) {
        if self.clock_pid == Some(pid) {
            self.has_reference = true;
            let at = self.unroll(pcr);
            self.tell_clock(at, out);
        }
    }

    /// Packets of a stream were lost: what has begun is not whole.
    pub(super) fn reset(&mut self, at: usize, out: &mut Output) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        match (stream.reset(), stream.kind) {
            (false, _) => {}
            (true, Kind::Cues) => out.bad_section(),
            (true, _) => out.broken(),
        }
    }

    /// The stream is played again: times go on behind the last ones.
    pub(super) fn again(&mut self) {
        self.shift = self.shift.saturating_add(self.extent.length());
        self.extent = Extent::default();
        self.clock = Clock::default();
        self.now = None;
        for stream in &mut self.streams {
            stream.again();
        }
    }

    /// Nothing follows: what has no stated length ends here.
    pub(super) fn finish(&mut self, out: &mut Output) {
        for at in 0..self.streams.len() {
            self.end(at, out);
        }
    }

    /// Nothing follows in a stream.
    pub(super) fn end(&mut self, at: usize, out: &mut Output) {
        if let Some(found) = self.streams.get_mut(at).and_then(Stream::finish) {
            self.ended(at, found, out);
        }
    }

    /// Takes a packet of a stream.
    pub(super) fn push(&mut self, at: usize, packet: &Packet<'_>, now: Instant, out: &mut Output) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        match &mut stream.content {
            Content::Pictures(assembly, ..) | Content::Sound(assembly, _) => {
                // One that the packet's start ends, and one that ends with its stated length.
                let mut ended: [Option<pes::Found>; 2] = [None, None];
                assembly.push(packet.payload, packet.unit_start, now, |found| {
                    if let Some(place) = ended.iter_mut().find(|place| place.is_none()) {
                        *place = Some(found);
                    }
                });
                for found in ended.into_iter().flatten() {
                    self.ended(at, found, out);
                }
            }
            Content::Cues(sections) => {
                let mut found = Vec::new();
                sections.push(packet.payload, packet.unit_start, |one| found.push(one));
                let pid = stream.pid;
                for one in found {
                    match one {
                        section::Found::Whole(bytes) => self.cue(pid, bytes, out),
                        section::Found::Cut => out.bad_section(),
                    }
                }
            }
        }
    }

    /// A time of 33 bits on the clock of the units.
    fn unroll(&mut self, wire: u64) -> i64 {
        self.clock.unroll(wire).saturating_add(self.shift)
    }

    fn tell_clock(&mut self, at: i64, out: &mut Output) {
        self.now = Some(at);
        out.events.push_back(Event::Clock(Timestamp::new(at, Timescale::MPEG)));
    }

    fn cue(&mut self, pid: Pid, raw: Bytes, out: &mut Output) {
        if section::checksum(&raw) != 0 {
            out.bad_section();
            return;
        }
        let Some(now) = self.now else { return };
        let at = Timestamp::new(now, Timescale::MPEG);
        out.unit(Unit::Section(source::Section { pid, at, shift: self.shift, raw }));
    }

    /// A PES packet has ended.
    fn ended(&mut self, at: usize, found: pes::Found, out: &mut Output) {
        let pes::Found::Whole(pes) = found else {
            out.broken();
            return;
        };
        let dts = pes.dts.map(|dts| self.unroll(dts));
        // Two times of one header don't bear each other out: if it is damaged, both are wrong.
        let pts = match (pes.pts, pes.dts.zip(dts)) {
            (Some(pts), Some((wire, dts))) => Some(dts.saturating_add(stream::from_to(wire, pts))),
            (Some(pts), None) => Some(self.unroll(pts)),
            (None, _) => None,
        };
        self.follow_times(at, dts, out);
        let Some(stream) = self.streams.get_mut(at) else { return };
        match &mut stream.content {
            Content::Pictures(_, pictures, pace) => {
                let mut found = Vec::new();
                pictures.push(&pes.payload, |one| found.push(one));
                let times = pace.next(dts).map(|dts| (dts, pts.unwrap_or(dts)));
                for one in found {
                    self.picture(one, times, &pes, out);
                }
            }
            Content::Sound(_, sounds) => {
                let mut found = Vec::new();
                sounds.push(pes.payload, pts, pes.received, |one| found.push(one));
                for one in found {
                    self.sound(one, out);
                }
            }
            Content::Cues(_) => {}
        }
    }

    /// Notes the decoding time of a stream's PES packet.
    fn follow_times(&mut self, at: usize, dts: Option<i64>, out: &mut Output) {
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
            self.tell_clock(dts, out);
        } else if self.now.is_none() {
            self.now = Some(dts);
        }
    }

    fn picture(
        &mut self,
        found: picture::Found,
        times: Option<(i64, i64)>,
        pes: &Pes,
        out: &mut Output,
    ) {
        match found {
            picture::Found::Config(config) => {
                if self.video.as_ref() != Some(&config) {
                    self.video = Some(config.clone());
                    out.unit(Unit::VideoConfig(config.into()));
                }
            }
            picture::Found::Picture { sync, data } => {
                // Without any time so far there is no place for it.
                let Some((dts, pts)) = times else { return };
                let at = |ticks| Timestamp::new(ticks, Timescale::MPEG);
                let (dts, pts) = (at(dts), at(pts));
                let received = pes.received;
                out.unit(Unit::Video(SourceSample { dts, pts, sync, data, received }));
            }
            picture::Found::Unusable(error) => out.complain(Unusable::VideoConfig(error)),
            picture::Found::Broken => out.broken(),
        }
    }

    fn sound(&mut self, found: sound::Found, out: &mut Output) {
        match found {
            sound::Found::Config(config) => {
                if self.audio.as_ref() != Some(&config) {
                    self.audio = Some(config.clone());
                    out.unit(Unit::AudioConfig(config));
                }
            }
            sound::Found::Frame { at, data, received } => {
                let at = Timestamp::new(at, Timescale::MPEG);
                out.unit(Unit::Audio(SourceSample {
                    dts: at,
                    pts: at,
                    sync: true,
                    data,
                    received,
                }));
            }
            sound::Found::Unusable(error) => out.complain(Unusable::AudioConfig(error)),
            sound::Found::Broken => out.broken(),
        }
    }
}
