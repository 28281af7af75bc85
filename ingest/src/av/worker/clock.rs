//! Where a source's times fall on the output clock. Pure arithmetic; no FFmpeg, no waiting.
//!
//! [`Mapper`] keeps an offset for picture and sound: output time = source time + offset, so that the
//! first picture lands at the moment it was received. It is one offset for both for as long as
//! their clocks agree. Jumps of a track's clock are closed by another offset, drift by creeping;
//! a track that jumps alone, or goes on while the other has stopped, does not disturb the other. Two
//! offsets become one again where the picture's has done for both for a while.
//!
//! A picture is received after it was made, so the earliest arrivals of a stretch tell where a
//! source belongs: nothing is placed before them for long, and a source that began with a backlog
//! is not left behind them by more than a viewer should wait.
//!
//! A splice names a picture of the source, and its place is told before the picture is there: nothing creeps
//! until the last splice that is known is over, or it would show the picture beside it.

const MS: i64 = 1_000_000;
/// A step of the source's clock that is longer, or back by a fifth of it, is odd; and a place
/// further than this from the time of arrival is wrong.
const JUMP: i64 = 500 * MS;
/// Smaller steps back are jitter of a source that does not sort its packets.
const BACK: i64 = 100 * MS;
/// How long a track must stay out of place before it is placed anew: a link's hiccup that is caught
/// up is over sooner.
const STAY: i64 = 300 * MS;
/// Sound may be this far ahead of the picture: it waits on the desk, which holds 3 s.
const EARLY: i64 = 2_500 * MS;
/// A track that has sent nothing for so long is no measure for the other.
const ALIVE: i64 = 1_000 * MS;
/// A source's place is judged over this time, by the earliest arrival in it: longer than the bursts
/// of a link.
const WINDOW: i64 = 5_000 * MS;
/// Earliest arrivals this close to their place need no correction.
const TOLERANCE: i64 = 30 * MS;
/// Correction per window: 500 ppm, far below what an ear or an eye notices.
const CREEP: i64 = WINDOW / 2_000;
/// A place that is off by more than this creeps though a splice is ahead: breaks may be hours long.
const PINNED_MOST: i64 = 200 * MS;
/// A source that is further ahead than [`JUMP`] is taken back if that saves at least this much delay:
/// less is not worth the pictures it costs.
const WORTH: i64 = 100 * MS;
/// So long after a source was placed anew because it stayed late, [`WORTH`] is enough: viewers have just
/// seen a picture stand, and once the source has caught up it would be behind for minutes. Who is late
/// again within this time has to be calm for longer.
const LATELY: i64 = 60_000 * MS;
/// How often the calm that is asked for is doubled: whole, it is still within [`LATELY`].
const MOST_RELAPSES: u32 = 3;

/// The two tracks of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    Video,
    Audio,
}

/// What is known of one track. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// Output time minus source time.
    offset: i64,
    /// The newest sample: its source time, when it was received, and how far ahead of that it was
    /// placed.
    last: Option<Last>,
    /// The newest step forward between two samples.
    step: i64,
    /// Since when its samples have been out of place.
    astray_since: Option<i64>,
    /// The present stretch of [`WINDOW`].
    stretch: Option<Stretch>,
    /// How late its samples came in the stretch before.
    lateness: i64,
}

/// How far ahead of their arrival samples were placed in a stretch of time.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    end: i64,
    first: i64,
    least: i64,
    most: i64,
}

/// A source was placed anew because it stayed late.
#[derive(Clone, Copy, Debug)]
struct Late {
    at: i64,
    /// How often it had been so just before.
    relapses: u32,
    /// Stretches since, one after the other, in which it was ahead of its place by [`WORTH`].
    calm: u32,
}

impl Late {
    fn again(before: Option<Self>, at: i64) -> Self {
        let before = before.filter(|late| at - late.at <= LATELY);
        let relapses = before.map_or(0, |late| (late.relapses + 1).min(MOST_RELAPSES));
        Self { at, relapses, calm: 0 }
    }

    /// Notes a stretch; tells whether the source has caught up, and for how long enough.
    fn is_over(&mut self, least: i64, received: i64) -> bool {
        self.calm = if least > WORTH { self.calm.saturating_add(1) } else { 0 };
        self.calm >= 1 << self.relapses && received - self.at <= LATELY
    }
}

#[derive(Clone, Copy, Debug)]
struct Last {
    dts: i64,
    received: i64,
    deviation: i64,
}

impl Clock {
    /// How far ahead of its arrival this track is placed; `None` when it has stopped.
    fn deviation_at(&self, received: i64) -> Option<i64> {
        self.last.filter(|last| received - last.received <= ALIVE).map(|last| last.deviation)
    }

    /// Whether the track has been out of place for long enough to be placed anew.
    fn astray(&mut self, out_of_place: bool, received: i64) -> bool {
        if !out_of_place {
            self.astray_since = None;
            return false;
        }
        received - *self.astray_since.get_or_insert(received) > STAY
    }

    /// Notes an arrival; gives the stretch that ended before it, if one did.
    fn arrive(&mut self, deviation: i64, received: i64) -> Option<Stretch> {
        match &mut self.stretch {
            Some(stretch) if received >= stretch.end => {
                self.lateness = -stretch.least;
                self.stretch.take()
            }
            Some(stretch) if deviation <= JUMP.max(stretch.first + WORTH) => {
                stretch.least = stretch.least.min(deviation);
                stretch.most = stretch.most.max(deviation);
                None
            }
            // Also while a backlog comes in, which is judged from its end on.
            _ => {
                let (end, first) = (received + WINDOW, deviation);
                self.stretch = Some(Stretch { end, first, least: first, most: first });
                None
            }
        }
    }

    /// Whether a place so far ahead of its arrival is like those that came before it.
    fn as_usual(&self, deviation: i64) -> bool {
        let lateness = self.stretch.map_or(0, |stretch| -stretch.least).max(self.lateness).max(0);
        let ahead = self.last.map_or(0, |last| last.deviation).max(0);
        (-lateness - TOLERANCE..=ahead + JUMP).contains(&deviation)
    }
}

/// How late pictures may stay, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Patience(i64);

impl Default for Patience {
    fn default() -> Self {
        Self(JUMP)
    }
}

/// Source time to output time.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    patience: Patience,
    placed: bool,
    generation: u32,
    video: Clock,
    audio: Clock,
    /// Stretches that must still say where the picture's clock belongs after an odd step of it.
    doubts: u8,
    late: Option<Late>,
    /// The last splice that is known of, on the output clock.
    splice: Option<i64>,
    /// Since when sound with an offset of its own would be near its picture by the picture's.
    agrees_since: Option<i64>,
    /// Jumps closed.
    pub(super) jumps: u64,
    /// Times a track was placed anew because it stayed out of place.
    pub(super) replaced: u64,
    /// How many of these took the source back, because it was further ahead than it should be.
    pub(super) taken_back: u64,
}

impl Mapper {
    /// A mapper for an output that waits no longer than `patience` nanoseconds for a late picture: one
    /// whose pictures stay later than that is placed anew, or none would be shown.
    pub(super) fn patient(patience: i64) -> Self {
        Self { patience: Patience(patience.min(JUMP)), ..Self::default() }
    }

    /// Forgets the source: the next picture that can be decoded is placed anew.
    pub(super) fn source_lost(&mut self) {
        let Self { patience, splice, jumps, replaced, taken_back, generation, .. } = *self;
        *self =
            Self { patience, splice, jumps, replaced, taken_back, generation, ..Self::default() };
    }

    /// The last splice that is known of is at this time of the output clock, in nanoseconds.
    pub(super) fn keep_until(&mut self, splice: Option<i64>) {
        self.splice = splice;
    }

    /// Places a sample by its decoding time and the time it was received, both in nanoseconds, the
    /// latter on the output clock; returns the offset. `None` for what has no place: anything before
    /// the first picture that can be decoded, and sound that is out of place.
    pub(super) fn place(
        &mut self,
        track: Track,
        sync: bool,
        dts: i64,
        received: i64,
    ) -> Option<i64> {
        if !self.placed {
            if track == Track::Audio || !sync {
                return None;
            }
            self.placed = true;
            self.audio.offset = received - dts;
            self.leap(Track::Video, received - dts);
        } else {
            self.close_jump(track, dts, received);
        }
        let deviation = dts + self.clock(track).offset - received;
        let stretch = self.clock(track).arrive(deviation, received);
        let in_place = match track {
            Track::Video => {
                self.watch_picture(dts, received, deviation, stretch);
                true
            }
            Track::Audio => self.watch_sound(dts, received, deviation),
        };
        self.note(track, dts, received);
        in_place.then(|| self.clock(track).offset)
    }

    /// Where a picture of this source time belongs, as things stand; `None` before there is one.
    pub(super) fn picture_at(&self, pts: i64) -> Option<i64> {
        self.placed.then(|| pts.saturating_add(self.video.offset))
    }

    /// Changes whenever the picture's offset does by a leap.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    fn clock(&mut self, track: Track) -> &mut Clock {
        match track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        }
    }

    /// Gives a track another offset if its clock has jumped: the time since its last sample is
    /// another by its stamp than by its arrival, and by its old offset it is out of place. What was
    /// lost on the way, or paused, is no jump.
    fn close_jump(&mut self, track: Track, dts: i64, received: i64) {
        let (own, other) = match track {
            Track::Video => (self.video, self.audio),
            Track::Audio => (self.audio, self.video),
        };
        let Some(last) = own.last else { return };
        let step = dts - last.dts;
        if (-BACK..=JUMP).contains(&step) {
            return;
        }
        if track == Track::Video {
            self.doubt();
        }
        let passed = received - last.received;
        if (dts + own.offset - received).abs() <= JUMP || (step - passed).abs() <= JUMP {
            return;
        }
        // The other track may have been there before, or have never left: one clock again.
        if own.as_usual(dts + other.offset - received) {
            self.leap(track, other.offset);
        } else {
            // As if the source had gone on, where that is close to what the arrival says.
            let smooth = last.dts + own.offset + own.step;
            let target = if own.as_usual(smooth - received) { smooth } else { received };
            self.leap(track, target - dts);
            self.jumps += 1;
        }
    }

    /// After a hole or a step of the picture's clock: lets the next stretch say where it belongs, and
    /// one more if there is another in it. A source of a picture a second has nothing but holes.
    fn doubt(&mut self) {
        if self.doubts == 0 {
            self.video.stretch = None;
        }
        self.doubts = (self.doubts + 1).min(2);
    }

    fn leap(&mut self, track: Track, offset: i64) {
        let clock = self.clock(track);
        clock.offset = offset;
        clock.astray_since = None;
        clock.stretch = None;
        if track == Track::Video {
            self.generation = self.generation.wrapping_add(1);
            if self.audio.last.is_none() {
                self.audio.offset = offset;
            }
        }
    }

    /// Moves the picture, and the sound where it has the same clock.
    fn shift(&mut self, by: i64) {
        let one_clock = self.audio.offset == self.video.offset;
        self.leap(Track::Video, self.video.offset + by);
        if one_clock {
            self.leap(Track::Audio, self.video.offset);
        }
        self.replaced += 1;
        self.taken_back += u64::from(by < 0);
    }

    fn note(&mut self, track: Track, dts: i64, received: i64) {
        let clock = self.clock(track);
        if let Some(before) = clock.last {
            let step = dts - before.dts;
            if (1..=JUMP).contains(&step) {
                clock.step = step;
            }
        }
        let deviation = dts + clock.offset - received;
        clock.last = Some(Last { dts, received, deviation });
    }

    /// Lateness that stays, and what a stretch says of the picture's place.
    fn watch_picture(&mut self, dts: i64, received: i64, deviation: i64, stretch: Option<Stretch>) {
        if self.video.astray(deviation < -self.patience.0, received) {
            self.shift(received - dts - self.video.offset);
            self.late = Some(Late::again(self.late, received));
            return;
        }
        let Some(Stretch { least, most, .. }) = stretch else { return };
        let caught_up = self.late.as_mut().is_some_and(|late| late.is_over(least, received));
        if (most > JUMP || caught_up && !self.is_pinned(most, received)) && least > WORTH {
            // A backlog, or a hiccup that the source has caught up since. Where arrivals are that
            // close to each other, any wait for late pictures covers them.
            self.shift(if most - least <= WORTH { -most } else { -least });
        } else if self.doubts > 0 && most < -TOLERANCE {
            // A jump went with a pause: in its old place the picture would be shown too early.
            self.shift(-most);
        } else if most.abs() > TOLERANCE && !self.is_pinned(most, received) {
            let by = (-most).clamp(-CREEP, CREEP);
            self.video.offset += by;
            self.audio.offset += by;
        }
        self.doubts = self.doubts.saturating_sub(1);
    }

    /// Whether a place that is `off` is kept for the sake of a splice.
    fn is_pinned(&self, off: i64, received: i64) -> bool {
        // A picture may come that late and still be in its place.
        let ahead = self.splice.is_some_and(|splice| received < splice.saturating_add(JUMP));
        ahead && off.abs() <= PINNED_MOST
    }

    /// Whether sound is near its picture; where that stays otherwise, it is placed by its arrival.
    /// Too late for too long it would never be heard.
    fn watch_sound(&mut self, dts: i64, received: i64, deviation: i64) -> bool {
        let picture = self.video.deviation_at(received);
        if self.rejoins(dts, received, picture) {
            self.leap(Track::Audio, self.video.offset);
            self.replaced += 1;
            return true;
        }
        let picture = picture.unwrap_or(0);
        let in_place = (-self.patience.0..=EARLY).contains(&(deviation - picture));
        if !self.audio.astray(!in_place, received) {
            return in_place;
        }
        self.leap(Track::Audio, received + picture - dts);
        self.replaced += 1;
        true
    }

    /// Whether sound with an offset of its own has its picture's clock after all: by the picture's
    /// offset it would have been near the picture for a whole [`WINDOW`]. What a starved machine brings
    /// late is placed by its arrival, one track apart from the other, and comes in time again later.
    fn rejoins(&mut self, dts: i64, received: i64, picture: Option<i64>) -> bool {
        let apart = self.audio.offset != self.video.offset;
        let by_picture = picture.map(|picture| dts + self.video.offset - received - picture);
        let near = by_picture.is_some_and(|by| (-self.patience.0..=JUMP).contains(&by));
        if !apart || !near {
            self.agrees_since = None;
            return false;
        }
        received - *self.agrees_since.get_or_insert(received) > WINDOW
    }
}

#[cfg(test)]
mod tests;
