//! The state machine of breaks (scte35 §9.7.3, §9.9.2, §10.3.3): signals in, cues and cuts out.
//!
//! ```text
//! Announced ──► Active ──► Ended        a break; a mark is over as soon as it is there
//!     └──► Cancelled
//! ```
//! A message is sent several times, and by several ways: who says again what is known changes nothing.
//! Every break has an end from its first moment: its length, where it returns by itself; else its length
//! or a limit as a net for the message that should end it. A message that ends it sooner wins.
//!
//! Both ends of a break are splices: boundaries of segments, which [`Splices`] has the word on. Where a
//! source is packaged as it is nobody can be asked for a key frame: cues are where they were wished, the
//! cut is at the key frame nearest to that, and they say where that was ([`Breaks::cut`]). What is decided follows from the signals, in order, and from what is [`Made`]: nothing here has a clock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::cue::{Cue, End, EndsBy, Phase};
use super::signal::{Action, Event, Signal};
use crate::grid::splices::{Made, Moved, Place, Splices, nearest_frame};
use crate::grid::{Cut, Grid};
use crate::time::{Rounding, Span, Timescale, rescale};

/// Messages about one event whose times differ by less are the same message: clocks of sources differ,
/// and RTMP counts in milliseconds.
const SAME_WITHIN: Span = Span::millis(500);
/// A break can be changed until this long before it begins: players have been told, and act upon it
/// (§9.9.2.1 has messages sent 4 s ahead at the least).
const PRE_ROLL: Span = Span::millis(4_000);
/// A message that is to be obeyed at once is, so long after the picture beside it: the next frames are
/// in the encoder already.
pub const AT_ONCE: Span = Span::millis(500);
/// Cues that are known at a time: of a day's window, one every two minutes. Playlists tell all of them, so
/// of more the oldest that is over is forgotten.
const MAX_CUES: usize = 720;

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Outcome {
    /// A break or a mark was accepted.
    Accepted {
        /// Id of the cue.
        id: String,
    },
    /// It is known already.
    Repeated {
        /// Id of the cue.
        id: String,
    },
    /// A break gets another end.
    Ends {
        /// Id of the cue.
        id: String,
    },
    /// A break is not to be.
    Cancelled {
        /// Id of the cue.
        id: String,
    },
    /// Nothing is done.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

impl Outcome {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Repeated { .. } => "repeated",
            Self::Ends { .. } => "ends",
            Self::Cancelled { .. } => "cancelled",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Why nothing is done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The break was over before its message came.
    #[error("the break would be over before the next cut")]
    Over,
    /// The break begins too soon for a change.
    #[error("the break begins within four seconds: too soon for a change; end it when it is on")]
    TooSoon,
    /// Nothing is known that could be cancelled.
    #[error("no break of this number is to come")]
    Unknown,
    /// Too many cues are known that are not over.
    #[error("as many breaks are known as can be, and none of them is over")]
    TooMany,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaks {
    grid: Grid,
    /// What a break lasts at the most whose end nobody told, in video ticks.
    longest: i64,
    splices: Splices,
    /// By acceptance, oldest first.
    cues: Vec<Cue>,
}

impl Breaks {
    /// No cues. `longest` is how long a break lasts at the most whose end nobody told.
    pub fn new(grid: Grid, longest: Span) -> Self {
        Self::restore(grid, longest, Splices::default(), Vec::new())
    }

    /// What an earlier process has left.
    pub fn restore(grid: Grid, longest: Span, splices: Splices, cues: Vec<Cue>) -> Self {
        let longest = longest.ticks_in(grid.video_scale(), Rounding::Nearest);
        Self { grid, longest: i64::try_from(longest).unwrap_or(i64::MAX), splices, cues }
    }

    /// Which boundaries lie elsewhere.
    pub fn splices(&self) -> &Splices {
        &self.splices
    }

    /// The cues, by acceptance, the cancelled ones among them.
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// The cue called `id`.
    pub fn cue(&self, id: &str) -> Option<&Cue> {
        self.cues.iter().find(|cue| cue.id == id)
    }

    /// Obeys a signal of `section`, whose time is `wish` in video ticks; for one that is to be obeyed at
    /// once, [`AT_ONCE`] after its place in the stream. That is at the next opportunity then, which is
    /// where it was wished.
    pub fn take(&mut self, signal: &Signal, section: &Bytes, wish: i64, made: Made) -> Outcome {
        self.advance(made);
        match signal.action {
            Action::Out { duration, auto_return } => {
                let length = Length { told: duration, auto_return };
                self.begin(signal, length, section, wish, made)
            }
            Action::In => self.end(signal, section, wish, made),
            Action::Mark => self.mark(signal.event, section, wish, Some(made)),
            Action::Cancel => self.cancel(signal.event, made),
        }
    }

    /// Moves on to what is made. Whether anything has changed.
    pub fn advance(&mut self, made: Made) -> bool {
        let mut changed = false;
        for cue in &mut self.cues {
            let before = cue.phase;
            if cue.phase == Phase::Announced && cue.start < made.until {
                cue.phase = if cue.is_break { Phase::Active } else { Phase::Ended };
            }
            let ends = cue.end.as_ref().is_some_and(|end| end.at <= made.until);
            if cue.phase == Phase::Active && ends {
                cue.phase = Phase::Ended;
            }
            changed |= cue.phase != before;
        }
        changed
    }

    /// Forgets what was over before `ticks`; gives it.
    pub fn forget_before(&mut self, ticks: i64) -> Vec<Cue> {
        let over = |cue: &mut Cue| cue.over_at().is_some_and(|at| at < ticks);
        let gone: Vec<_> = self.cues.extract_if(.., over).collect();
        // Segments that are being made lie behind this by far.
        self.splices.forget_before(ticks);
        gone
    }

    /// A run begins with segment `first_k`, whose boundary has to be the grid's: cues that would move
    /// it are where the next boundary is.
    pub fn begin_run(&mut self, made: Made) {
        for at in self.splices.begin_run(&self.grid, made.first_k) {
            let place = self.accept(at, made);
            for at_cue in 0..self.cues.len() {
                self.move_start(at_cue, at, place);
            }
            for cue in &mut self.cues {
                if let Some(end) = cue.end.as_mut().filter(|end| end.at == at) {
                    (end.at, end.k, end.moved) = (place.at, place.k, place.moved);
                    end.cut_at = Some(place.at);
                }
            }
        }
    }

    /// A break is to begin.
    fn begin(
        &mut self,
        signal: &Signal,
        length: Length,
        section: &Bytes,
        wish: i64,
        made: Made,
    ) -> Outcome {
        if let Some(outcome) = self.known(signal, length, wish, made) {
            return outcome;
        }
        if !self.has_room() {
            return Outcome::Refused { reason: Refusal::TooMany };
        }
        let wished_end = wish.saturating_add(self.ticks(length.told));
        if wished_end <= made.until {
            return Outcome::Refused { reason: Refusal::Over };
        }
        let before = self.splices.clone();
        let start = self.accept(wish, made);
        if wished_end <= start.at {
            // It would be over before the next boundary.
            self.splices = before;
            return Outcome::Refused { reason: Refusal::Over };
        }
        let end = self.accept(wished_end, made);
        let by = if length.auto_return { EndsBy::AutoReturn } else { EndsBy::ReturnLost };
        let cue = Cue {
            id: self.name(signal.event, start.k),
            event: signal.event,
            is_break: true,
            auto_return: length.auto_return,
            phase: Phase::Announced,
            start: start.at,
            wished: wish,
            cut_at: self.cut_of(start),
            k: start.k,
            moved: start.moved.filter(|_| signal.time.is_some()),
            planned: length.told,
            cut: true,
            end: Some(self.end_of(end, wished_end, by)),
            section: section.clone(),
            end_section: Bytes::new(),
        };
        let id = cue.id.clone();
        self.cues.push(cue);
        if signal.event.is_insert() {
            self.replace_others(&id, start, made);
        }
        self.advance(made);
        Outcome::Accepted { id }
    }

    /// What a signal for a break means that is known: nothing new, another length, or no more than that
    /// it has changed too late. `None` where it is another break.
    fn known(&mut self, signal: &Signal, length: Length, wish: i64, made: Made) -> Option<Outcome> {
        let within = self.video(SAME_WITHIN);
        let at = self.cues.iter().rposition(|cue| {
            cue.is_break && cue.phase != Phase::Cancelled && signal.event.means(&cue.event)
        })?;
        let cue = self.cues.get(at)?;
        let id = cue.id.clone();
        let same_time = cue.wished.abs_diff(wish) <= within.unsigned_abs();
        // One for now is sent again while its break is on.
        let on = matches!(cue.phase, Phase::Announced | Phase::Active);
        let same_time = same_time || signal.time.is_none() && on;
        let same_length = Length { told: cue.planned, auto_return: cue.auto_return } == length;
        match cue.phase {
            Phase::Ended | Phase::Cancelled => same_time.then_some(Outcome::Repeated { id }),
            _ if same_time && same_length => Some(Outcome::Repeated { id }),
            Phase::Announced => {
                let left = cue.start.saturating_sub(made.until);
                if left < self.video(PRE_ROLL) {
                    return Some(Outcome::Refused { reason: Refusal::TooSoon });
                }
                self.cancel_at(at, made);
                None
            }
            Phase::Active if same_time => {
                let wished = cue.wished.saturating_add(self.ticks(length.told));
                let by = if length.auto_return { EndsBy::AutoReturn } else { EndsBy::ReturnLost };
                Some(self.end_at(at, wished, by, &Bytes::new(), made))
            }
            // The next break under the same number, before the end of this one came.
            Phase::Active => None,
        }
    }

    /// Ends breaks where another one that can't be on at the same time takes over, and that one where
    /// the next begins.
    fn replace_others(&mut self, id: &str, start: Place, made: Made) {
        let mut next: Option<i64> = None;
        let own_end = self.cue(id).and_then(|cue| cue.end.as_ref()).map_or(i64::MAX, |end| end.at);
        let others: Vec<_> = (0..self.cues.len())
            .filter(|at| {
                self.cues.get(*at).is_some_and(|cue| {
                    cue.event.is_insert()
                        && cue.id != id
                        && matches!(cue.phase, Phase::Announced | Phase::Active)
                })
            })
            .collect();
        for at in others {
            let Some(other) = self.cues.get(at) else { continue };
            let end = other.end.as_ref().map_or(i64::MAX, |end| end.at);
            if other.start < start.at && end > start.at {
                self.end_at(at, start.at, EndsBy::Replaced, &Bytes::new(), made);
            } else if other.start >= start.at && other.start < own_end {
                next = Some(next.map_or(other.start, |next| next.min(other.start)));
            }
        }
        let at = self.cues.iter().position(|cue| cue.id == id);
        if let (Some(next), Some(at)) = (next.filter(|next| *next > start.at), at) {
            self.end_at(at, next, EndsBy::Replaced, &Bytes::new(), made);
        }
    }

    /// A break is to end.
    fn end(&mut self, signal: &Signal, section: &Bytes, wish: i64, made: Made) -> Outcome {
        let within = self.video(SAME_WITHIN).unsigned_abs();
        let about = |cue: &Cue| cue.is_break && signal.event.means(&cue.event);
        let on = |cue: &Cue| matches!(cue.phase, Phase::Announced | Phase::Active);
        let Some(at) = self.cues.iter().rposition(|cue| about(cue) && on(cue)) else {
            let ended = self.cues.iter().rev().find(|cue| about(cue) && cue.phase == Phase::Ended);
            let repeated = ended.filter(|cue| {
                let end = cue.end.as_ref();
                signal.time.is_none()
                    || end.is_some_and(|end| {
                        end.wished.abs_diff(wish) <= within || end.at.abs_diff(wish) <= within
                    })
            });
            return match repeated {
                Some(cue) => Outcome::Repeated { id: cue.id.clone() },
                // Told to players, and nothing is cut for it.
                None => self.mark(signal.event, section, wish, None),
            };
        };
        let Some(cue) = self.cues.get(at) else { return UNKNOWN };
        let id = cue.id.clone();
        // One for before the beginning of a break that is on was late: it is obeyed as soon as can be.
        if wish <= cue.start && cue.phase == Phase::Announced {
            return self.cancel(signal.event, made);
        }
        let returns = cue.end.as_ref().filter(|end| end.by == EndsBy::Return);
        if returns.is_some_and(|end| signal.time.is_none() || end.wished.abs_diff(wish) <= within) {
            return Outcome::Repeated { id };
        }
        // A break that returns by itself is not made longer by a message for later.
        let end = cue.end.as_ref().filter(|_| cue.auto_return);
        if end.is_some_and(|end| end.by == EndsBy::AutoReturn && wish > end.wished) {
            return Outcome::Repeated { id };
        }
        let outcome = self.end_at(at, wish, EndsBy::Return, section, made);
        if let Some(end) = self.cues.get_mut(at).and_then(|cue| cue.end.as_mut()) {
            end.moved = end.moved.filter(|_| signal.time.is_some());
        }
        outcome
    }

    /// Gives a break another end, as near to `wish` as can be.
    fn end_at(&mut self, at: usize, wish: i64, by: EndsBy, section: &Bytes, made: Made) -> Outcome {
        let Some(cue) = self.cues.get(at) else { return UNKNOWN };
        let (id, start) = (cue.id.clone(), cue.start);
        if let Some(before) = cue.end.as_ref().map(|end| end.at).filter(|end| *end != wish)
            && !self.is_needed(before, at)
        {
            self.splices.withdraw(&self.grid, before, made);
        }
        let frame = i64::from(self.grid.rate.frame_ticks());
        let wished = wish.max(start.saturating_add(frame));
        let place = self.accept(wished, made);
        let end = self.end_of(place, wish, by);
        if let Some(cue) = self.cues.get_mut(at) {
            cue.end = Some(end);
            cue.end_section = section.clone();
        }
        self.advance(made);
        Outcome::Ends { id }
    }

    /// Whether a cue other than the one at `except` begins or ends at a splice.
    fn is_needed(&self, splice: i64, except: usize) -> bool {
        self.cues.iter().enumerate().any(|(at, cue)| {
            let end = cue.end.as_ref().map(|end| end.at);
            cue.is_listed() && ((at != except && end == Some(splice)) || cue.start == splice)
        })
    }

    /// Whether another cue can be taken, for which one that is over may be forgotten.
    fn has_room(&mut self) -> bool {
        if self.cues.len() < MAX_CUES {
            return true;
        }
        let over = self.cues.iter().position(|cue| cue.over_at().is_some());
        over.map(|at| self.cues.remove(at)).is_some()
    }

    /// Something that is no break is told, once. A segment begins with it where that is asked for by
    /// saying what is made.
    fn mark(&mut self, event: Event, section: &Bytes, wish: i64, made: Option<Made>) -> Outcome {
        let within = self.video(SAME_WITHIN).unsigned_abs();
        let known = self.cues.iter().find(|cue| {
            !cue.is_break && event.means(&cue.event) && cue.wished.abs_diff(wish) <= within
        });
        if let Some(known) = known {
            return Outcome::Repeated { id: known.id.clone() };
        }
        if !self.has_room() {
            return Outcome::Refused { reason: Refusal::TooMany };
        }
        let place = match made {
            Some(made) => self.accept(wish, made),
            None => self.uncut(wish),
        };
        let id = self.name(event, place.k);
        self.cues.push(Cue {
            id: id.clone(),
            event,
            is_break: false,
            auto_return: false,
            phase: Phase::Announced,
            start: place.at,
            wished: wish,
            cut_at: made.and_then(|_| self.cut_of(place)),
            k: place.k,
            moved: place.moved,
            planned: None,
            cut: made.is_some(),
            end: None,
            section: section.clone(),
            end_section: Bytes::new(),
        });
        Outcome::Accepted { id }
    }

    /// What was announced is not to be. What has begun ends by a message of its own (§9.7.3).
    fn cancel(&mut self, event: Event, made: Made) -> Outcome {
        let announced = |cue: &Cue| cue.phase == Phase::Announced && event.means(&cue.event);
        let Some(at) = self.cues.iter().rposition(announced) else { return UNKNOWN };
        let id = self.cues.get(at).map(|cue| cue.id.clone()).unwrap_or_default();
        self.cancel_at(at, made);
        Outcome::Cancelled { id }
    }

    fn cancel_at(&mut self, at: usize, made: Made) {
        let Some(cue) = self.cues.get_mut(at) else { return };
        cue.phase = Phase::Cancelled;
        let cuts = [Some(cue.start), cue.end.as_ref().map(|end| end.at)];
        for cut in cuts.into_iter().flatten() {
            if !self.is_needed(cut, at) {
                self.splices.withdraw(&self.grid, cut, made);
            }
        }
    }

    /// A cue that was to begin at a splice begins elsewhere: to players it is another one.
    fn move_start(&mut self, at: usize, splice: i64, place: Place) {
        let moves = |cue: &&Cue| cue.start == splice && cue.phase == Phase::Announced;
        let Some(event) = self.cues.get(at).filter(moves).map(|cue| cue.event) else { return };
        let id = self.name(event, place.k);
        if let Some(cue) = self.cues.get_mut(at) {
            (cue.id, cue.start, cue.k, cue.moved) = (id, place.at, place.k, place.moved);
            cue.cut_at = Some(place.at);
        }
    }

    /// A source has been cut at `at`, where segment `k` begins, for the splice at `splice`. Whether a cue
    /// did not know that.
    pub fn cut(&mut self, splice: i64, k: u64, at: i64) -> bool {
        let mut changed = false;
        for cue in self.cues.iter_mut().filter(|cue| cue.cut) {
            if cue.start == splice && cue.cut_at.is_none() {
                (cue.k, cue.cut_at, changed) = (k, Some(at), true);
            }
            let end = cue.end.as_mut().filter(|end| end.at == splice && end.cut_at.is_none());
            if let Some(end) = end {
                (end.k, end.cut_at, changed) = (k, Some(at), true);
            }
        }
        changed
    }

    /// Accepts a splice.
    fn accept(&mut self, wish: i64, made: Made) -> Place {
        match self.grid.cut {
            Cut::Grid => self.splices.accept(&self.grid, wish, made),
            Cut::Source => {
                let at = wish.max(made.until);
                self.splices.note(at);
                let moved = (at != wish).then_some(Moved::Late);
                Place { at, k: self.grid.number_at(at), moved }
            }
        }
    }

    /// Where the segment begins that is cut for a splice, as far as that is known before it is made.
    fn cut_of(&self, place: Place) -> Option<i64> {
        (self.grid.cut == Cut::Grid).then_some(place.at)
    }

    fn end_of(&self, place: Place, wished: i64, by: EndsBy) -> End {
        let Place { at, k, moved } = place;
        End { at, cut_at: self.cut_of(place), wished, k, moved, by }
    }

    /// A place that nothing is cut for.
    fn uncut(&self, at: i64) -> Place {
        let (next, boundary) = self.splices.next_boundary(&self.grid, at);
        let k = if boundary == at { next } else { next.saturating_sub(1) };
        Place { at, k, moved: None }
    }

    /// A name that was never used: of an event that begins with segment `k`.
    fn name(&self, event: Event, k: u64) -> String {
        let kind = event.kind.unwrap_or(0);
        let name = format!("{kind:02x}-{}-{k}", event.id);
        let is_free = |name: &String| self.cue(name).is_none();
        let others = (2..).map(|n| format!("{name}.{n}"));
        std::iter::once(name.clone()).chain(others).find(is_free).unwrap_or(name)
    }

    /// How long a break lasts, in video ticks: whole frames.
    fn ticks(&self, told: Option<u64>) -> i64 {
        let Some(told) = told else { return self.longest };
        let told = i64::try_from(told).unwrap_or(i64::MAX);
        let length = crate::time::Timestamp::new(told, super::CLOCK);
        let frame = i64::from(self.grid.rate.frame_ticks());
        nearest_frame(self.grid.rate, length).max(frame)
    }

    fn video(&self, span: Span) -> i64 {
        let ticks = span.ticks_in(self.grid.video_scale(), Rounding::Nearest);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    /// Where a message without a time is obeyed whose place in the stream is `at`, in video ticks.
    pub fn at_once(&self, at: i64) -> i64 {
        let scale = self.grid.video_scale();
        let nanos = rescale(
            at.saturating_add(self.video(AT_ONCE)),
            scale,
            Timescale::NANOS,
            Rounding::Ceil,
        );
        nearest_frame(self.grid.rate, crate::time::Timestamp::new(nanos, Timescale::NANOS))
    }
}

/// How long a break is said to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    told: Option<u64>,
    auto_return: bool,
}

const UNKNOWN: Outcome = Outcome::Refused { reason: Refusal::Unknown };

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
