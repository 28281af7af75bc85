//! A stream of the program that is read: its packets in order, and what they are put together to.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use packager::time::Unroller;

use super::packet::Packet;
use super::pes::{self, Assembly};
use super::picture::Pictures;
use super::psi::{self, Kind};
use super::section::Sections;
use super::sound::Sounds;
use super::{CLOCK_BITS, MAX_PES, Pid};

/// A stream that is followed.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pid: Pid,
    pub(super) kind: Kind,
    pub(super) counter: Counter,
    pub(super) content: Content,
}

/// The last continuity counter of a PID, and whether it came twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter(Option<(u8, bool)>);

/// What a continuity counter tells of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It follows the one before.
    Next,
    /// It is the one before: a packet may be sent twice (§2.4.3.3).
    Again,
    /// It begins anew, as the sender announces.
    Anew,
    /// Packets are missing before it.
    Lost,
}

impl Counter {
    pub(super) fn take(&mut self, packet: &Packet<'_>) -> Order {
        let counter = packet.counter;
        let last = self.0.replace((counter, false));
        match last {
            None => Order::Next,
            Some(_) if packet.discontinuity => Order::Anew,
            Some((last, false)) if last == counter => {
                self.0 = Some((counter, true));
                Order::Again
            }
            Some((last, _)) if last.wrapping_add(1) & 0x0f == counter => Order::Next,
            Some(_) => Order::Lost,
        }
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Pictures(Assembly, Box<Pictures>, Pace),
    Sound(Assembly, Sounds),
    Cues(Sections),
}

/// Where a picture without a time is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    dts: Option<i64>,
    step: i64,
}

impl Pace {
    /// The decoding time of the next picture.
    pub(super) fn next(&mut self, sent: Option<i64>) -> Option<i64> {
        let at = sent.or_else(|| Some(self.dts?.saturating_add(self.step)))?;
        if let Some(before) = self.dts {
            self.step = at.saturating_sub(before);
        }
        self.dts = Some(at);
        Some(at)
    }
}

/// A clock of 33 bits that all streams of a program share, as a line.
///
/// One damaged time must not put the others into another turn of the clock: a time far from those
/// before it counts for those behind it only once another bears it out.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    line: Unroller,
    last: Option<i64>,
    doubtful: Option<i64>,
}

/// Times of a program that are further apart than this, in ticks (5 minutes), are a jump.
const JUMP: u64 = 300 * 90_000;

impl Default for Clock {
    fn default() -> Self {
        Self { line: Unroller::new(CLOCK_BITS), last: None, doubtful: None }
    }
}

impl Clock {
    /// Where a time as sent is on the line.
    pub(super) fn unroll(&mut self, wire: u64) -> i64 {
        let mut line = self.line.clone();
        let at = line.unroll(wire);
        let is_near = |other: Option<i64>| other.is_some_and(|other| at.abs_diff(other) <= JUMP);
        if self.last.is_none() || is_near(self.last) || is_near(self.doubtful) {
            (self.line, self.last, self.doubtful) = (line, Some(at), None);
        } else {
            self.doubtful = Some(at);
        }
        at
    }
}

/// From one time as sent to another, the short way round.
pub(super) fn from_to(from: u64, to: u64) -> i64 {
    let mut line = Unroller::new(CLOCK_BITS);
    let from = line.unroll(from);
    line.unroll(to).saturating_sub(from)
}

/// From where to where a stream's times reach.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    first: Option<i64>,
    last: i64,
    step: i64,
}

impl Extent {
    pub(super) fn reach(&mut self, at: i64) {
        match self.first {
            None => self.first = Some(at),
            Some(_) => self.step = at.saturating_sub(self.last),
        }
        self.last = at;
    }

    /// With as much behind the last time as there was before it. Never negative: times that went back
    /// are of no use.
    pub(super) fn length(&self) -> i64 {
        let Some(first) = self.first else { return 0 };
        self.last.saturating_sub(first).saturating_add(self.step).max(0)
    }
}

impl Stream {
    pub(super) fn new(stream: psi::Stream, open_groups: bool) -> Option<Self> {
        let content = match stream.kind {
            Kind::Video(codec) => Content::Pictures(
                Assembly::new(MAX_PES),
                Box::new(Pictures::new(codec, open_groups)),
                Pace::default(),
            ),
            // Sound has to state its length (§2.4.3.7); what does not ends where the next begins.
            Kind::Sound(format) => {
                Content::Sound(Assembly::new(pes::MAX_STATED), Sounds::new(format))
            }
            Kind::Cues => Content::Cues(Sections::default()),
            Kind::Unread(_) | Kind::Other(_) => return None,
        };
        Some(Self { pid: stream.pid, kind: stream.kind, counter: Counter::default(), content })
    }

    /// Packets were lost: what has begun is not whole.
    pub(super) fn reset(&mut self) -> bool {
        match &mut self.content {
            Content::Pictures(assembly, ..) => assembly.reset(),
            Content::Sound(assembly, sounds) => {
                sounds.reset();
                assembly.reset()
            }
            Content::Cues(sections) => sections.reset(),
        }
    }

    /// The stream begins anew.
    pub(super) fn again(&mut self) {
        self.reset();
        self.counter = Counter::default();
        if let Content::Pictures(_, _, pace) = &mut self.content {
            *pace = Pace::default();
        }
    }

    pub(super) fn finish(&mut self) -> Option<pes::Found> {
        match &mut self.content {
            Content::Pictures(assembly, ..) | Content::Sound(assembly, _) => assembly.finish(),
            Content::Cues(_) => None,
        }
    }
}
