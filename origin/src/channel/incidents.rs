//! What has happened to a channel: a short list for people, oldest first.
//!
//! An *incident* goes on: it is opened once, however often its cause is seen again, and closed once,
//! when it is over. A *happening* is over at once. The list is bounded; what goes on is never
//! dropped from it, and what has been closed goes first.
//!
//! It reads no clock: instants come in as milliseconds since the Unix epoch.

use packager::media::Name;
use serde::Serialize;

/// Entries kept: a bad hour of a channel on one screen.
const MAX_EVENTS: usize = 64;

/// What can go on for a while. At most one of each is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The source is gone; the channel goes on without it.
    SourceLost,
    /// The source that the configuration names is kept away by something.
    Absent,
    /// A source is there and sends no picture.
    NoPicture,
    /// A source could not be taken.
    Refused,
    /// There is no encoder, or none that works.
    Encoder,
    /// The channel's numbers lie ahead of the clock.
    Clock,
    /// S3 does not take what is made.
    Upstream,
    /// A rung is off because the machine can't keep up with it.
    RungOff(Name),
}

impl Cause {
    fn kind(&self) -> &'static str {
        match self {
            Self::SourceLost => "source lost",
            Self::Absent => "no source",
            Self::NoPicture => "no picture",
            Self::Refused => "refused",
            Self::Encoder => "encoder",
            Self::Clock => "clock",
            Self::Upstream => "s3",
            Self::RungOff(_) => "rung off",
        }
    }

    /// Whether it is something that somebody should mend. A source comes and goes as it likes, and
    /// the channel's state says so.
    fn is_trouble(&self) -> bool {
        !matches!(self, Self::SourceLost)
    }
}

/// What is over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A publisher came.
    SourceArrived,
    /// A publisher took the place of another.
    TakenOver,
    /// A run began.
    RunBegan,
    /// A new encoder went on in the run of the one before.
    RunResumed,
    /// The channel ended.
    Ended,
}

impl Happening {
    fn kind(self) -> &'static str {
        match self {
            Self::SourceArrived => "source arrived",
            Self::TakenOver => "taken over",
            Self::RunBegan => "run began",
            Self::RunResumed => "run resumed",
            Self::Ended => "ended",
        }
    }
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it began, in milliseconds since the Unix epoch.
    pub at: u64,
    /// When it was over; the beginning, of what is over at once. `None` while it goes on.
    pub ended: Option<u64>,
    /// What it is, in a word or two.
    pub kind: &'static str,
    /// What it is, in a sentence for people.
    pub text: String,
    #[serde(skip)]
    cause: Option<Cause>,
}

impl Event {
    /// Whether it goes on and somebody should mend it.
    fn is_trouble(&self) -> bool {
        self.ended.is_none() && self.cause.as_ref().is_some_and(Cause::is_trouble)
    }
}

/// The list. See the module's page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    events: Vec<Event>,
}

impl Incidents {
    /// Opens an incident, unless it is open; whether it is new. An open one takes the newer words.
    pub(crate) fn open(&mut self, cause: Cause, at: u64, text: impl Into<String>) -> bool {
        let text = text.into();
        if let Some(event) = self.find(&cause) {
            event.text = text;
            return false;
        }
        self.push(Event { at, ended: None, kind: cause.kind(), text, cause: Some(cause) });
        true
    }

    /// Closes an incident, if it is open; whether it was.
    pub(crate) fn close(&mut self, cause: &Cause, at: u64) -> bool {
        match self.find(cause) {
            Some(event) => {
                event.ended = Some(at.max(event.at));
                true
            }
            None => false,
        }
    }

    /// Closes all that go on.
    pub(crate) fn close_all(&mut self, at: u64) {
        for event in self.events.iter_mut().filter(|event| event.ended.is_none()) {
            event.ended = Some(at.max(event.at));
        }
    }

    /// Notes something that is over at once.
    pub(crate) fn note(&mut self, what: Happening, at: u64, text: impl Into<String>) {
        let text = text.into();
        self.push(Event { at, ended: Some(at), kind: what.kind(), text, cause: None });
    }

    /// Oldest first.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// The newest of what goes on and should be mended, in words.
    pub(crate) fn trouble(&self) -> Option<&str> {
        let mut newest_first = self.events.iter().rev();
        newest_first.find(|event| event.is_trouble()).map(|event| event.text.as_str())
    }

    fn find(&mut self, cause: &Cause) -> Option<&mut Event> {
        let open =
            |event: &&mut Event| event.ended.is_none() && event.cause.as_ref() == Some(cause);
        self.events.iter_mut().rev().find(open)
    }

    fn push(&mut self, event: Event) {
        self.events.push(event);
        if self.events.len() > MAX_EVENTS {
            let oldest = self.events.iter().position(|event| event.ended.is_some());
            self.events.remove(oldest.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(name: &str) -> Cause {
        Cause::RungOff(Name::parse(name).unwrap())
    }

    fn ends(incidents: &Incidents) -> Vec<(&str, u64, Option<u64>)> {
        incidents.events().iter().map(|e| (e.kind, e.at, e.ended)).collect()
    }

    #[test]
    fn an_incident_is_opened_once_and_closed_once() {
        let mut incidents = Incidents::default();
        assert!(incidents.open(Cause::Encoder, 10, "it died"));
        assert!(!incidents.open(Cause::Encoder, 11, "it died again"));
        assert!(incidents.close(&Cause::Encoder, 12));
        assert!(!incidents.close(&Cause::Encoder, 13));
        assert!(incidents.open(Cause::Encoder, 14, "and again"));
        assert_eq!(ends(&incidents), [("encoder", 10, Some(12)), ("encoder", 14, None)]);
        assert_eq!(incidents.events()[0].text, "it died again");
    }

    #[test]
    fn trouble_is_the_newest_thing_that_goes_on_and_is_gone_when_it_is_over() {
        let mut incidents = Incidents::default();
        incidents.open(Cause::Encoder, 1, "the encoder stopped");
        incidents.open(Cause::SourceLost, 2, "the source is gone");
        assert_eq!(incidents.trouble(), Some("the encoder stopped"));
        incidents.open(Cause::NoPicture, 3, "no picture");
        assert_eq!(incidents.trouble(), Some("no picture"));
        incidents.close(&Cause::NoPicture, 4);
        incidents.close(&Cause::Encoder, 5);
        assert_eq!(incidents.trouble(), None);
    }

    #[test]
    fn each_rung_has_an_incident_of_its_own() {
        let mut incidents = Incidents::default();
        assert!(incidents.open(rung("720p"), 1, "720p is off"));
        assert!(incidents.open(rung("480p"), 2, "480p is off"));
        assert!(incidents.close(&rung("720p"), 3));
        assert_eq!(incidents.trouble(), Some("480p is off"));
        incidents.close_all(4);
        assert_eq!(incidents.trouble(), None);
        assert_eq!(ends(&incidents), [("rung off", 1, Some(3)), ("rung off", 2, Some(4))]);
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_incident_that_ends_before_it_began() {
        let mut incidents = Incidents::default();
        incidents.open(Cause::Clock, 10, "ahead");
        incidents.close(&Cause::Clock, 7);
        assert_eq!(ends(&incidents), [("clock", 10, Some(10))]);
    }

    #[test]
    fn the_list_is_bounded_and_keeps_what_goes_on() {
        let mut incidents = Incidents::default();
        incidents.open(Cause::Clock, 0, "the clock is wrong");
        for at in 1..1_000 {
            incidents.note(Happening::SourceArrived, at, "a source");
        }
        assert_eq!(incidents.events().len(), MAX_EVENTS);
        assert_eq!(ends(&incidents)[0], ("clock", 0, None));
        assert_eq!(incidents.events().last().unwrap().at, 999);
        assert_eq!(incidents.trouble(), Some("the clock is wrong"));
    }
}
