//! Where a source's times fall on the output clock. Pure arithmetic; no FFmpeg, no waiting.
//!
//! [`Mapper`] keeps one offset for picture and sound together: output time = source time + offset,
//! so that the first picture lands at the moment it was received. Jumps of the source's clock are
//! closed by another offset, drift by creeping. [`Slots`] then rounds a picture's output time to a
//! frame number: a source of the output's rate maps one to one, whatever its jitter. [`Patience`]
//! is how long a slot waits for a picture that is late.

use packager::time::FrameRate;

const MS: i64 = 1_000_000;
/// A step of the source's clock that is longer, or back by a tenth of it, is odd; and a place
/// further than this from the time of arrival is wrong.
const JUMP: i64 = 500 * MS;
/// Smaller steps back are jitter of a source that does not sort its packets.
const BACK: i64 = 100 * MS;
/// How long pictures must stay late by more than [`JUMP`] before the source is placed anew: a
/// link's hiccup that is caught up is over sooner.
const STAY: i64 = 300 * MS;
/// Sound whose time is further from the picture's is not of this clock (yet) and is left out.
const APART: i64 = 3_000 * MS;
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

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    dts: Option<i64>,
    step: i64,
}

/// Source time to output time.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    offset: Option<i64>,
    generation: u32,
    video: Last,
    audio: Last,
    late_since: Option<i64>,
    window_end: Option<i64>,
    earliest: i64,
    /// Jumps closed.
    pub(super) jumps: u64,
    /// Times the source was placed anew because it stayed late.
    pub(super) replaced: u64,
}

impl Mapper {
    /// Forgets the source: the next picture that can be decoded is placed anew.
    pub(super) fn source_lost(&mut self) {
        let (jumps, replaced, generation) = (self.jumps, self.replaced, self.generation);
        *self = Self { jumps, replaced, generation, ..Self::default() };
    }

    /// Places a sample by its decoding time and the time it was received, both in nanoseconds, the
    /// latter on the output clock; returns the offset. `None` for what has no place: anything before the first picture
    /// that can be decoded, and sound that is seconds off the picture.
    pub(super) fn place(
        &mut self,
        track: Track,
        sync: bool,
        dts: i64,
        received: i64,
    ) -> Option<i64> {
        let Some(offset) = self.offset else {
            if track == Track::Audio || !sync {
                return None;
            }
            self.leap(received - dts);
            self.note(track, dts);
            return self.offset;
        };
        let deviation = dts + offset - received;
        let last = match track {
            Track::Video => self.video,
            Track::Audio => self.audio,
        };
        let step = last.dts.map(|before| dts - before);
        let odd = step.is_some_and(|step| !(-BACK..=JUMP).contains(&step));
        if odd && deviation.abs() > JUMP {
            // As if the source had gone on, where that is close to what the arrival says.
            let smooth = last.dts.map_or(received, |before| before + offset + last.step);
            let target = if (smooth - received).abs() <= JUMP { smooth } else { received };
            self.leap(target - dts);
            self.jumps += 1;
            // The other track jumps too, on its own next sample, and finds its place right.
            self.note(track, dts);
            return self.offset;
        }
        self.note(track, dts);
        match track {
            Track::Video => self.watch(dts, received, deviation),
            Track::Audio => {
                if self.video.dts.is_some_and(|video| (dts - video).abs() > APART) {
                    return None;
                }
            }
        }
        self.offset
    }

    /// Changes whenever the offset does by a leap.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    fn leap(&mut self, offset: i64) {
        self.offset = Some(offset);
        self.generation = self.generation.wrapping_add(1);
        self.late_since = None;
        self.window_end = None;
    }

    fn note(&mut self, track: Track, dts: i64) {
        let last = match track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        };
        if let Some(before) = last.dts {
            let step = dts - before;
            if (1..=JUMP).contains(&step) {
                last.step = step;
            }
        }
        last.dts = Some(dts);
    }

    /// Lateness that stays, and drift.
    fn watch(&mut self, dts: i64, received: i64, deviation: i64) {
        if deviation < -JUMP {
            let since = *self.late_since.get_or_insert(received);
            if received - since > STAY {
                self.leap(received - dts);
                self.replaced += 1;
                return;
            }
        } else {
            self.late_since = None;
        }
        match self.window_end {
            Some(end) if received < end => self.earliest = self.earliest.min(-deviation),
            Some(_) => {
                if self.earliest.abs() > TOLERANCE
                    && let Some(offset) = &mut self.offset
                {
                    *offset += self.earliest.clamp(-CREEP, CREEP);
                }
                self.window_end = None;
            }
            None => {
                self.window_end = Some(received + WINDOW);
                self.earliest = -deviation;
            }
        }
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
