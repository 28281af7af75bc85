//! Cues in a channel's task: orders from the desk, messages from the source, and where on our timeline
//! they belong. The encoder knows where a source's pictures go, so it is asked; a source that is packaged
//! as it is has its repairer for that.

use std::collections::BTreeMap;

use bytes::Bytes;
use ingest::source::{self, DataMessage};
use packager::grid::splices::nearest_frame;
use packager::scte35::breaks::Outcome;
use packager::scte35::clock::OffTheClock;
use packager::scte35::section::{Command, TIME_MASK};
use packager::scte35::{self, CLOCK, Cue, Phase, Section, Signal, clock, signals};
use packager::time::{Rounding, Timescale, Timestamp};

use super::Task;
use crate::channel::cues::log::{Entry, From, Log};
use crate::channel::cues::message::{self, Heard, Time};
use crate::channel::cues::order::{self, Words};
use crate::channel::cues::{Answer, Answered, Ask, CueView, Order, Refused, Request};
use crate::channel::packaging::When;
use crate::clock::Clock as _;

/// Furthest that a request's time may be from now, in nanoseconds: a day.
const FURTHEST: i64 = 86_400_000_000_000;
/// Questions to the encoder that may be open: it answers within a picture's time.
const OPEN: usize = 64;

/// What the task knows of cues.
#[derive(Debug, Default)]
pub(super) struct Cues {
    answered: Answered,
    pub(super) log: Log,
    /// Signals whose place the encoder has been asked for.
    open: BTreeMap<u64, Open>,
    next: u64,
    /// The number that was given to a break last.
    last_event: u32,
}

/// A signal that waits for its place.
#[derive(Clone, Debug)]
struct Open {
    signal: Signal,
    from: From,
    raw: Bytes,
    received_ms: u64,
    /// Whether it is to be obeyed at once, seen from its place in the stream.
    at_once: bool,
    /// How far its time is from there, where that is suspicious.
    far: Option<OffTheClock>,
}

impl Task {
    /// Somebody asks for something.
    pub(super) async fn take_order(&mut self, Order { request, answer }: Order) {
        let result = match self.cues.answered.find(&request) {
            Some(known) => known,
            None => {
                let result = self.obey(request.clone()).await;
                if let Ok(answer) = &result {
                    self.cues.answered.keep(request, answer);
                }
                result
            }
        };
        // Who asked may be gone.
        let _ = answer.send(result);
        self.report();
    }

    async fn obey(&mut self, request: Request) -> Result<Answer, Refused> {
        let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
        let now = self.context.clock.now();
        if request.at.is_some_and(|at| nanos(at).saturating_sub(nanos(now)).abs() > FURTHEST) {
            return Err(Refused::TooFar);
        }
        let Some((making, packaging)) = &self.making else { return Err(Refused::NotOnAir) };
        let (rate, scale) = (making.grid.rate, making.grid.video_scale());
        let newest = |phases: &[Phase]| {
            let is_one = |cue: &&Cue| cue.event.is_insert() && phases.contains(&cue.phase);
            packaging.cues().iter().rev().find(is_one).map(|cue| cue.event.id)
        };
        let on = newest(&[Phase::Active]).or_else(|| newest(&[Phase::Announced]));
        let to_come = newest(&[Phase::Announced]);
        let frame = request.at.map(|at| nearest_frame(rate, at));
        let at = frame.map(|ticks| Timestamp::new(ticks, scale));
        let said = match request.ask {
            Ask::Section(raw) => Some((Section::decode(&raw)?, raw)),
            Ask::Out { event_id, duration, auto_return } => {
                let of_key = || request.key.as_deref().map(order::number_of);
                let event_id = event_id.or_else(of_key).unwrap_or_else(|| self.free_event());
                order::section(event_id, Words::Out { duration, auto_return }, at)
            }
            Ask::Return { event_id } => {
                let event_id = event_id.or(on).ok_or(Refused::NoBreak)?;
                order::section(event_id, Words::Return, at)
            }
            Ask::Cancel { event_id } => {
                let event_id = event_id.or(to_come).ok_or(Refused::NoneToCome)?;
                order::section(event_id, Words::Cancel, None)
            }
        };
        let Some((section, raw)) = said else { return Err(Refused::Nothing) };
        let (mut outcomes, mut cues) = (Vec::new(), Vec::new());
        let received = self.context.clock.now_millis();
        for mut signal in signals(&section) {
            signal.time = at.map(on_the_wire);
            let when = frame.map_or(When::Now, When::At);
            let entry = Entry::new(received, From::Api, &raw);
            let outcome = self.hear(&signal, &raw, when, entry).await.ok_or(Refused::NotOnAir)?;
            if let Some(cue) = self.cue_of(&outcome) {
                cues.push(CueView::of(cue, scale));
            }
            outcomes.push(outcome);
        }
        if outcomes.is_empty() {
            return Err(Refused::Nothing);
        }
        use base64::Engine as _;
        let section = base64::engine::general_purpose::STANDARD.encode(&raw);
        Ok(Answer { outcomes, cues, section })
    }

    /// A number that no break has had: the seconds of the clock, or the next one.
    fn free_event(&mut self) -> u32 {
        let seconds = self.context.clock.now_millis() / 1_000 % u64::from(u32::MAX);
        let seconds = u32::try_from(seconds).unwrap_or(0);
        let next = self.cues.last_event.saturating_add(1);
        // An hour ahead of the clock at the most: more are not asked for in that time.
        self.cues.last_event =
            if next.saturating_sub(seconds) < 3_600 { seconds.max(next) } else { seconds };
        self.cues.last_event
    }

    /// A message of the source that may be about a cue.
    pub(super) async fn take_cue_message(&mut self, message: &DataMessage) {
        if let Some(heard) = message::read(message) {
            self.take_heard(heard, From::Rtmp, &message.raw).await;
        }
    }

    /// A section of the source's transport stream.
    pub(super) async fn take_section(&mut self, sent: &source::Section) {
        self.take_heard(message::of_stream(sent), From::Ts, &sent.raw).await;
    }

    async fn take_heard(&mut self, heard: Result<Heard, scte35::Error>, from: From, raw: &Bytes) {
        let received_ms = self.context.clock.now_millis();
        let heard = match heard {
            Ok(heard) => heard,
            Err(error) => {
                let mut entry = Entry::new(received_ms, from, raw);
                entry.problem = Some(error.to_string());
                return self.note(entry);
            }
        };
        if heard.section.command == Command::Null {
            self.context.metrics.cues.heartbeats.inc();
        }
        for mut signal in signals(&heard.section) {
            let (at, beside) = match (heard.time, signal.time) {
                (Time::Source { at, beside }, _) => (at, beside),
                (Time::Own { at, .. }, None) => (at, at),
                (Time::Own { at: beside, shift }, Some(time)) => {
                    let at = clock::unroll(time, beside.ticks.saturating_sub(shift));
                    (Timestamp::new(at.ticks.saturating_add(shift), at.scale), beside)
                }
            };
            let far = match clock::check(at, beside) {
                Ok(far) => far,
                Err(error) => {
                    let entry = Entry::new(received_ms, from, &heard.raw);
                    let problem = Some(error.to_string());
                    self.note(Entry { problem, ..entry.about(&signal, None) });
                    continue;
                }
            };
            let at_once = matches!((heard.time, signal.time), (Time::Own { .. }, None));
            if !at_once {
                signal.time = Some(on_the_wire(at));
            }
            let raw = heard.raw.clone();
            let open = Open { signal, from, raw, received_ms, at_once, far };
            self.locate(at, open).await;
        }
        self.report();
    }

    /// Finds out where on our timeline a time of the source is.
    async fn locate(&mut self, at: Timestamp, open: Open) {
        if let Some(encoder) = &mut self.encoder {
            if self.cues.open.len() >= OPEN {
                self.cues.open.pop_first();
            }
            let id = self.cues.next;
            self.cues.next = id.wrapping_add(1);
            encoder.locate(id, at);
            self.cues.open.insert(id, open);
        } else {
            let scale = self.making.as_ref().map(|(making, _)| making.grid.video_scale());
            let place = scale.and_then(|scale| self.passing.place_of(at, scale));
            self.place(open, place).await;
        }
    }

    /// The encoder says where a time of the source is.
    pub(super) async fn take_located(&mut self, id: u64, at: Option<i64>) {
        if let Some(open) = self.cues.open.remove(&id) {
            self.place(open, at).await;
            self.report();
        }
    }

    async fn place(&mut self, open: Open, at: Option<i64>) {
        let entry = Entry::new(open.received_ms, open.from, &open.raw);
        let Some(at) = at else {
            let problem = Some("no picture has come that it could be placed by".to_owned());
            return self.note(Entry { problem, ..entry.about(&open.signal, None) });
        };
        let when = match (&self.making, open.at_once) {
            (Some((_, packaging)), true) => When::At(packaging.at_once(at)),
            _ => When::At(at),
        };
        let entry = Entry { problem: open.far.map(|far| far.to_string()), ..entry };
        self.hear(&open.signal, &open.raw, when, entry).await;
    }

    /// Obeys a signal and notes what became of it.
    async fn hear(
        &mut self,
        signal: &Signal,
        raw: &Bytes,
        when: When,
        entry: Entry,
    ) -> Option<Outcome> {
        let now = self.context.clock.now();
        let (making, packaging) = self.making.as_mut()?;
        let scale = making.grid.video_scale();
        let at_ms = match when {
            When::At(at) => {
                Some(Timestamp::new(at, scale).ticks_in(Timescale::MILLIS, Rounding::Nearest))
            }
            When::Now => None,
        };
        let outcome = packaging.hear(signal, raw, when, now).await;
        if let Some(encoder) = &mut self.encoder {
            encoder.set_splices(packaging.splices());
        }
        let entry = entry.about(signal, at_ms);
        let not_on_air = outcome.is_none().then(|| Refused::NotOnAir.to_string());
        let problem = not_on_air.or_else(|| entry.problem.clone());
        tracing::info!(
            channel = %self.context.config.name, event = signal.event.id, ?outcome, "cue"
        );
        let cue = outcome.as_ref().and_then(|outcome| self.cue_of(outcome));
        let cue = cue.map(|cue| CueView::of(cue, scale));
        self.note(Entry { outcome: outcome.clone(), cue, problem, ..entry });
        outcome
    }

    /// Notes and counts what became of a message.
    fn note(&mut self, entry: Entry) {
        let outcome = entry.outcome.as_ref().map_or("unusable", Outcome::word);
        self.context.metrics.cues.heard(entry.from.word(), outcome, entry.late_ms);
        self.cues.log.note(entry);
    }

    fn cue_of(&self, outcome: &Outcome) -> Option<&Cue> {
        let (_, packaging) = self.making.as_ref()?;
        match outcome {
            Outcome::Accepted { id }
            | Outcome::Repeated { id }
            | Outcome::Ends { id }
            | Outcome::Cancelled { id } => packaging.cue(id),
            Outcome::Refused { .. } => None,
        }
    }
}

/// A time as a section would say it.
fn on_the_wire(at: Timestamp) -> u64 {
    at.ticks_in(CLOCK, Rounding::Nearest).cast_unsigned() & TIME_MASK
}
