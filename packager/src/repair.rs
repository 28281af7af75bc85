//! A source's times on our timeline: what a pass-through channel repairs, since it keeps the frames.
//!
//! ```text
//! source's clock + offset = target ─► place: the end of the frame before, lengths a few ticks more or less
//!          ▲ steered by at most 500 ppm, so that frames arrive when they are due
//! ```
//! Frames follow each other without a hole: a picture is as long as its standard rate says (RTMP
//! counts milliseconds, no rate fits those), sound as long as its samples. How far the place is from
//! the target decides what else happens: a few ticks more or less, a picture that lasts as long as the
//! ones that are missing, a hole in the sound, a frame left out.
//!
//! A clock that jumps (set anew, wrapped in the wrong place, one frame stamped hours away) is known
//! by the time of arrival, which did not jump; the offset is then the one before, or the other
//! track's, or what arrival says. Each track has its own: some sources begin them apart.
//!
//! The caller says where a track is, since filler may have taken places, and begins a new run when
//! [`Repair::error`] is more than [`MAX_ERROR`]. Nothing is reordered and nothing waits.

use crate::time::{Rounding, Timescale, rescale};

/// How far frames may come from when they are due, on average, before a run is given up: what
/// steering would take a quarter of an hour for.
pub const MAX_ERROR: i64 = 400 * MILLISECOND;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
/// Fastest steering, in parts per million: what encoders' crystals are off by, and nobody hears.
const MAX_PPM: i64 = 500;
/// Fastest fitting of places to their targets, in parts per million: more than lies between 30 frames
/// a second and 30/1.001, should a rate be the wrong one of two.
const FIT_PPM: i64 = 1_200;
/// Over how long frames' arrival is averaged: longer than any hiccup.
const AVERAGE: i64 = 10 * SECOND;
/// In how long an error would be gone at the pace it is steered with, were that not limited.
const STEER_WITHIN: i64 = 60 * SECOND;
/// A step within this is none of the clock's jumping; one forward is a source that paused.
const STEPS: std::ops::RangeInclusive<i64> = -200 * MILLISECOND..=SECOND;
/// A step is true if arrival says about the same: a frame further from its place is of another clock.
pub const BORNE_OUT: i64 = SECOND;
/// Places nearer to their target than this are right: milliseconds are rounded.
const RIGHT: i64 = 1_500_000;
/// Sound further behind its target than this has a hole; many sources stamp it in pairs or triples.
const SOUND_HOLE: i64 = 60 * MILLISECOND;
/// A composition offset this near to whole frames is whole frames.
const WHOLE_FRAMES: i64 = 2 * MILLISECOND;
/// A picture stands no longer than this for ones that are missing, or its part would be too long;
/// the pictures after it make up for the rest. A quarter of a second, less where parts are shorter.
const LONGEST_PICTURE: i64 = 200 * MILLISECOND;

/// A frame as it came: nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Decoding time on the source's clock.
    pub dts: i64,
    /// Presentation time on the same clock.
    pub pts: i64,
    /// When it arrived, since the epoch.
    pub at: i64,
}

/// Where a frame belongs, in ticks of its track since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Decoding time.
    pub dts: i64,
    /// Presentation time, never before it.
    pub pts: i64,
    /// Length; not 0.
    pub duration: u32,
}

/// What was repaired, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The clock jumped.
    pub jumps: u64,
    /// A time was before its predecessor's, or the same.
    pub backwards: u64,
    /// Frames were missing.
    pub holes: u64,
    /// Frames of sound were left out: there were more than time.
    pub surplus: u64,
    /// A picture was to be shown before it is decoded.
    pub reordered: u64,
}

/// A track's frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    /// What its ticks are worth.
    pub scale: Timescale,
    /// Ticks of a frame.
    pub length: u32,
}

/// Repairs the times of one source. See the module's page.
#[derive(Clone, Debug)]
pub struct Repair {
    pictures: Line,
    sound: Line,
    /// Where the last frame of sound ended.
    heard: Option<i64>,
    /// Whether pictures were placed later behind filler, and no sound since.
    moved: bool,
    /// How late frames come, on average.
    error: i64,
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Line {
    frames: Frames,
    /// Our time minus the source's.
    offset: i64,
    /// Before the last jump.
    before: i64,
    last: Option<Arrived>,
    /// Fitting that is allowed and not used yet, in millionths of a tick.
    credit: i64,
}

impl Repair {
    /// Begins with a source whose times are ours after `offset` nanoseconds: the distance of arrival and
    /// decoding time of its first frames.
    pub fn new(pictures: Frames, sound: Frames, offset: i64) -> Self {
        let line = |frames| Line { frames, offset, before: offset, last: None, credit: 0 };
        Self {
            pictures: line(pictures),
            sound: line(sound),
            heard: None,
            moved: false,
            error: 0,
            counts: Counts::default(),
        }
    }

    /// What was repaired since the beginning.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How late pictures come on average, in nanoseconds; negative if they are early.
    pub fn error(&self) -> i64 {
        self.error
    }

    /// Where a picture of a time of the source belongs, as things stand; both in nanoseconds.
    pub fn picture_at(&self, at: i64) -> i64 {
        at.saturating_add(self.pictures.offset)
    }

    /// The place of a picture. `next` is where the pictures are; behind filler (`resume`) this one may
    /// be placed later, and the source's whole timeline with it if it would be late.
    pub fn picture(&mut self, arrived: Arrived, next: Option<i64>, resume: bool) -> Place {
        let (mut target, step) = self.pictures.follow(arrived, self.sound.offset, &mut self.counts);
        let Frames { scale, length } = self.pictures.frames;
        let frame = i64::from(length);
        let ticks = |nanos| rescale(nanos, Timescale::NANOS, scale, Rounding::Nearest);
        if resume {
            if let Some(next) = next {
                let late = rescale(next, scale, Timescale::NANOS, Rounding::Ceil) - target;
                if late > 0 {
                    target += late;
                    self.pictures.shift(late);
                    self.sound.shift(late);
                    self.moved = true;
                }
            }
            self.error = 0;
        } else {
            self.steer(arrived.at - target, step);
        }
        let place = ticks(target);
        let dts = match next {
            // Filler up to its place is shown for half a frame at the least.
            Some(next) if resume && (place - next) * 2 >= frame => place,
            Some(next) => next,
            None => place,
        };
        let early = place - dts;
        let mut missing = 0;
        let duration = if early.saturating_mul(4) >= frame.saturating_mul(3) {
            self.counts.holes += 1;
            missing = (early + frame / 2) / frame * frame;
            (frame + missing).min(ticks(LONGEST_PICTURE).max(frame))
        } else if early.saturating_mul(4) <= frame.saturating_mul(-3) {
            // A time that stands still or goes back; the frames after it make up for this one.
            self.counts.backwards += 1;
            (frame / 2).max(1)
        } else {
            frame + self.pictures.steering(early, ticks(RIGHT))
        };
        let composition = arrived.pts - arrived.dts;
        if composition < 0 {
            self.counts.reordered += 1;
        }
        let composition = composition.max(0);
        let whole = (ticks(composition) + frame / 2) / frame * frame;
        let near = (ticks(composition) - whole).abs() <= ticks(WHOLE_FRAMES);
        let composition = if near { whole } else { ticks(composition) };
        // A picture that is decoded early for those that are missing is shown in its turn among others
        // that are reordered, and at once where nothing is: there it would leave nothing to be seen.
        let turn = if composition > 0 { composition.saturating_add(missing) } else { 0 };
        Place {
            dts,
            pts: dts.saturating_add(turn),
            duration: u32::try_from(duration).unwrap_or(length),
        }
    }

    /// The place of a frame of sound; `None` if there is no time for it. Behind a hole it is whole
    /// frames after `next`, where the sound is. Behind filler it is at its pictures at once, to half a
    /// frame; else what comes unevenly is not taken for a hole.
    pub fn sound(&mut self, arrived: Arrived, next: Option<i64>) -> Option<Place> {
        let (target, _) = self.sound.follow(arrived, self.pictures.offset, &mut self.counts);
        let Frames { scale, length } = self.sound.frames;
        let frame = i64::from(length);
        let ticks = |nanos| rescale(nanos, Timescale::NANOS, scale, Rounding::Nearest);
        let place = ticks(target);
        let dts = match next {
            None => place,
            Some(next) => {
                let early = place - next;
                let behind_filler = self.moved || self.heard != Some(next);
                let hole = if behind_filler { frame / 2 } else { ticks(SOUND_HOLE).max(frame) };
                if early <= -hole {
                    self.counts.surplus += 1;
                    return None;
                }
                if early >= hole {
                    self.counts.holes += 1;
                    let missing = if behind_filler { early + frame / 2 } else { early };
                    next + missing / frame * frame
                } else {
                    next
                }
            }
        };
        let duration = frame + self.sound.steering(place - dts, ticks(RIGHT));
        (self.heard, self.moved) = (Some(dts + duration), false);
        Some(Place { dts, pts: dts, duration: u32::try_from(duration).unwrap_or(length) })
    }

    /// Learns from a picture that came so late, `step` after the one before.
    fn steer(&mut self, late: i64, step: i64) {
        let step = step.clamp(0, SECOND);
        let share = |value: i64, of: i64| {
            let scaled = i128::from(value) * i128::from(step) / i128::from(of);
            i64::try_from(scaled).unwrap_or(0)
        };
        self.error += share(late - self.error, AVERAGE);
        let most = step / 1_000_000 * MAX_PPM + step % 1_000_000 * MAX_PPM / 1_000_000;
        let by = share(self.error, STEER_WITHIN).clamp(-most, most);
        self.pictures.shift(by);
        self.sound.shift(by);
        // What is steered away is no error any more.
        self.error -= by;
    }
}

impl Line {
    /// The target of a frame, and how far it is from the one before on the source's clock.
    fn follow(&mut self, arrived: Arrived, other: i64, counts: &mut Counts) -> (i64, i64) {
        let mut step = 0;
        if let Some(last) = self.last {
            step = arrived.dts.saturating_sub(last.dts);
            let passed = arrived.at.saturating_sub(last.at);
            if !STEPS.contains(&step) && step.saturating_sub(passed).abs() > BORNE_OUT {
                counts.jumps += 1;
                self.jump(arrived, other, last.dts.saturating_add(self.offset) + passed);
                step = passed;
            } else if step <= 0 {
                step = 0;
            }
        } else if arrived.dts.saturating_add(self.offset).saturating_sub(arrived.at).abs()
            > BORNE_OUT
        {
            // The tracks begin apart.
            self.jump(arrived, other, arrived.at);
        }
        self.last = Some(arrived);
        (arrived.dts.saturating_add(self.offset), step)
    }

    /// Finds the offset after a jump: one that is known and puts the frame about where it is expected,
    /// else the one that puts it there.
    fn jump(&mut self, arrived: Arrived, other: i64, expected: i64) {
        let fits = |offset: &i64| {
            arrived.dts.saturating_add(*offset).saturating_sub(expected).abs() <= BORNE_OUT
        };
        let exact = expected.saturating_sub(arrived.dts);
        let found = [self.before, other].into_iter().find(fits).unwrap_or(exact);
        self.before = std::mem::replace(&mut self.offset, found);
    }

    fn shift(&mut self, by: i64) {
        self.offset = self.offset.saturating_add(by);
        self.before = self.before.saturating_add(by);
    }

    /// Ticks by which a frame is longer that is so many ticks early: one for each millisecond, and no
    /// more than the fastest fitting over time.
    fn steering(&mut self, early: i64, right: i64) -> i64 {
        const TICK: i64 = 1_000_000;
        let gained = i64::from(self.frames.length) * FIT_PPM;
        self.credit = (self.credit + gained).min(gained + TICK);
        if early.abs() <= right {
            return 0;
        }
        // A tick for each millisecond beyond: small errors are mended slowly.
        let wish = (early.abs() - right).saturating_mul(1_000) / i64::from(self.frames.scale.get());
        let by = (self.credit / TICK).min(wish + 1);
        self.credit -= by * TICK;
        by * early.signum()
    }
}

#[cfg(test)]
mod tests;
