//! Where a source's times fall on the output clock. Pure arithmetic; no FFmpeg, no waiting.
//!
//! [`Mapper`] keeps an offset for picture and sound: output time = source time + offset, so that the
//! first picture lands at the moment it was received. It is one offset for both for as long as
//! their clocks agree. Jumps of a track's clock are closed by another offset, drift by creeping;
//! a track that jumps alone, or goes on while the other has stopped, does not disturb the other.
//! [`Slots`] then rounds a picture's output time to a frame number: a source of the output's rate
//! maps one to one, whatever its jitter. [`Patience`] is how long a slot waits for a picture that is
//! late.

use packager::time::FrameRate;

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
/// Drift is looked at over this time, by the earliest arrival in it.
const WINDOW: i64 = 5_000 * MS;
/// Earliest arrivals this close to their place need no correction.
const TOLERANCE: i64 = 30 * MS;
/// Correction per window: 500 ppm, far below what an ear or an eye notices.
const CREEP: i64 = WINDOW / 2_000;

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
}

/// Source time to output time.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    placed: bool,
    generation: u32,
    video: Clock,
    audio: Clock,
    window: Option<Window>,
    /// By how much the picture was moved because it stayed late, as far as not taken back.
    owed: i64,
    /// Jumps closed.
    pub(super) jumps: u64,
    /// Times a track was placed anew because it stayed out of place.
    pub(super) replaced: u64,
}

/// The deviations of the pictures in a stretch of [`WINDOW`].
#[derive(Clone, Copy, Debug)]
struct Window {
    end: i64,
    least: i64,
    most: i64,
}

impl Mapper {
    /// Forgets the source: the next picture that can be decoded is placed anew.
    pub(super) fn source_lost(&mut self) {
        let (jumps, replaced, generation) = (self.jumps, self.replaced, self.generation);
        *self = Self { jumps, replaced, generation, ..Self::default() };
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
        let in_place = match track {
            Track::Video => {
                self.watch_picture(dts, received, deviation);
                true
            }
            Track::Audio => self.watch_sound(dts, received, deviation),
        };
        self.note(track, dts, received);
        in_place.then(|| self.clock(track).offset)
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

    /// Gives a track another offset if its clock has jumped.
    fn close_jump(&mut self, track: Track, dts: i64, received: i64) {
        let (own, other) = match track {
            Track::Video => (self.video, self.audio),
            Track::Audio => (self.audio, self.video),
        };
        if (dts + own.offset - received).abs() <= JUMP {
            return;
        }
        // The other track may have been there before, or have never left: one clock again.
        if (dts + other.offset - received).abs() <= JUMP {
            self.leap(track, other.offset);
            return;
        }
        let Some(last) = own.last else { return };
        if (-BACK..=JUMP).contains(&(dts - last.dts)) {
            return;
        }
        // As if the source had gone on, where that is close to what the arrival says.
        let smooth = last.dts + own.offset + own.step;
        let target = if (smooth - received).abs() <= JUMP { smooth } else { received };
        self.leap(track, target - dts);
        self.jumps += 1;
    }

    fn leap(&mut self, track: Track, offset: i64) {
        let clock = self.clock(track);
        clock.offset = offset;
        clock.astray_since = None;
        if track == Track::Video {
            self.generation = self.generation.wrapping_add(1);
            self.window = None;
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

    /// Lateness that stays, and drift.
    fn watch_picture(&mut self, dts: i64, received: i64, deviation: i64) {
        if self.video.astray(deviation < -JUMP, received) {
            let by = received - dts - self.video.offset;
            self.shift(by);
            self.owed += by;
            return;
        }
        let Some(window) = &mut self.window else {
            self.window =
                Some(Window { end: received + WINDOW, least: deviation, most: deviation });
            return;
        };
        if received < window.end {
            window.least = window.least.min(deviation);
            window.most = window.most.max(deviation);
            return;
        }
        let Window { least, most, .. } = *window;
        self.window = None;
        if least > JUMP && self.owed > 0 {
            // It was a hiccup after all, and the source has caught up since.
            let by = most.min(self.owed);
            self.shift(-by);
            self.owed -= by;
        } else if most.abs() > TOLERANCE {
            let by = (-most).clamp(-CREEP, CREEP);
            self.video.offset += by;
            self.audio.offset += by;
        }
    }

    /// Whether sound is near its picture; where that stays otherwise, it is placed by its arrival.
    /// Too late for too long it would never be heard.
    fn watch_sound(&mut self, dts: i64, received: i64, deviation: i64) -> bool {
        let picture = self.video.deviation_at(received).unwrap_or(0);
        let in_place = (-JUMP..=EARLY).contains(&(deviation - picture));
        if !self.audio.astray(!in_place, received) {
            return in_place;
        }
        self.leap(Track::Audio, received + picture - dts);
        self.replaced += 1;
        true
    }
}

/// Thousandths of a frame.
const WHOLE: i64 = 1_000;
/// How far, in thousandths of a frame, a picture may lie from the next slot and still take it: more
/// than half, so that a source whose phase has drifted to the middle does not flicker between two.
const REACH: i64 = 800;

/// Output time to frame number.
#[derive(Debug)]
pub(super) struct Slots {
    rate: FrameRate,
    generation: Option<u32>,
    phase: i64,
    last: Option<i64>,
}

impl Slots {
    pub(super) fn new(rate: FrameRate) -> Self {
        Self { rate, generation: None, phase: 0, last: None }
    }

    /// The slot of a picture at `nanos` on the output clock; may be one already given.
    pub(super) fn slot(&mut self, nanos: i64, generation: u32) -> i64 {
        let exact = i128::from(nanos) * i128::from(self.rate.num) * i128::from(WHOLE)
            / (i128::from(self.rate.den.max(1)) * 1_000_000_000);
        let exact = exact as i64;
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            // The first picture after a leap sits in the middle of its slot.
            self.phase = nearest(exact) * WHOLE - exact;
        }
        let at = exact + self.phase;
        let slot = match self.last.map(|last| last + 1) {
            Some(next) if (at - next * WHOLE).abs() < REACH => next,
            _ => nearest(at),
        };
        self.last = Some(self.last.map_or(slot, |last| last.max(slot)));
        slot
    }

    /// When slot `n` begins, in nanoseconds since the Unix epoch.
    pub(super) fn nanos(rate: FrameRate, n: i64) -> i64 {
        let nanos = i128::from(n) * i128::from(rate.den) * 1_000_000_000;
        (nanos / i128::from(rate.num.max(1))) as i64
    }
}

fn nearest(thousandths: i64) -> i64 {
    (thousandths + WHOLE / 2).div_euclid(WHOLE)
}

/// The shortest and the longest wait for what is late.
const MIN_PATIENCE: i64 = 40 * MS;
const MAX_PATIENCE: i64 = 500 * MS;
/// At first: covers a decoder that reorders two pictures at 25 fps.
const FIRST_PATIENCE: i64 = 100 * MS;
/// Added to the lateness seen, so that the next one like it is in time.
const MARGIN: i64 = 20 * MS;
/// What is given back per second without anything late.
const GIVE_BACK: i64 = MS;

/// How long to wait for what is late: grows at once, shrinks slowly.
#[derive(Debug)]
pub(super) struct Patience {
    nanos: i64,
    changed: i64,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { nanos: FIRST_PATIENCE, changed: 0 }
    }

    /// The wait now, in nanoseconds.
    pub(super) fn nanos(&self) -> i64 {
        self.nanos
    }

    /// Something came `lateness` nanoseconds after it was due, too late.
    pub(super) fn missed(&mut self, lateness: i64, now: i64) {
        let needed = (lateness + MARGIN).min(MAX_PATIENCE);
        self.nanos = self.nanos.max(needed);
        self.changed = now;
    }

    /// Called now and then.
    pub(super) fn relax(&mut self, now: i64) {
        if self.changed == 0 {
            self.changed = now;
        }
        let seconds = (now - self.changed) / 1_000_000_000;
        if seconds > 0 {
            self.nanos = (self.nanos - seconds * GIVE_BACK).max(MIN_PATIENCE);
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests;
