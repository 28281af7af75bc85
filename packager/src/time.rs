//! Media time: instants, lengths and differences counted in whole ticks of a timescale.
//!
//! Three types for three ideas: [`Timestamp`] is an instant, [`Span`] a length, [`Delta`] a signed
//! difference. None has an operator that mixes timescales; [`rescale`] is the one door between
//! them and takes the rounding by name. [`Unroller`] is the only place that turns a wrapping clock
//! (RTMP's 32 bits, MPEG's 33 bits) into a line. No floating point and no `std::time::Duration`:
//! those are for waiting, not for media.

use std::fmt;
use std::num::NonZeroU32;

mod calendar;
mod unroll;
pub use calendar::{iso, parse_iso};
pub use unroll::Unroller;

/// Units per second. 90000 for most video, the sample rate for audio.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// Whole seconds.
    pub const ONE: Self = Self::constant(1);
    /// 1/1000 s: the clock of RTMP.
    pub const MILLIS: Self = Self::constant(1_000);
    /// 1/10^6 s: finer than a tick of any track, and printable.
    pub const MICROS: Self = Self::constant(1_000_000);
    /// 1/90000 s: the clock of MPEG-TS and of our video where a frame is a whole number of ticks.
    pub const MPEG: Self = Self::constant(90_000);
    /// 1/10^9 s: the clock of the operating system.
    pub const NANOS: Self = Self::constant(1_000_000_000);

    const fn constant(per_second: u32) -> Self {
        match NonZeroU32::new(per_second) {
            Some(n) => Self(n),
            None => panic!("a timescale is never zero"),
        }
    }

    /// A timescale of `per_second` ticks; `None` for zero.
    pub const fn new(per_second: u32) -> Option<Self> {
        match NonZeroU32::new(per_second) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for Timescale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1/{}", self.0)
    }
}

/// Which way a conversion between timescales goes when the result is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards the past.
    Floor,
    /// To the nearest tick, halves towards the future.
    Nearest,
    /// Towards the future.
    Ceil,
}

/// Converts `ticks` of `from` into ticks of `to`. Saturates at the ends of `i64`, which are
/// 292 years from the epoch even in nanoseconds.
pub fn rescale(ticks: i64, from: Timescale, to: Timescale, rounding: Rounding) -> i64 {
    let (from, to) = (i128::from(from.get()), i128::from(to.get()));
    let scaled = i128::from(ticks) * to;
    let result = match rounding {
        Rounding::Floor => scaled.div_euclid(from),
        Rounding::Nearest => (scaled * 2 + from).div_euclid(from * 2),
        Rounding::Ceil => -((-scaled).div_euclid(from)),
    };
    result.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// An instant: ticks since the Unix epoch, or since a source's own zero where a field says so.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Ticks since the zero of the clock.
    pub ticks: i64,
    /// What a tick is worth.
    pub scale: Timescale,
}

impl Timestamp {
    /// The instant `ticks` of `scale` after the zero of its clock.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// The same instant in another timescale.
    pub fn rescale(self, to: Timescale, rounding: Rounding) -> Self {
        Self::new(rescale(self.ticks, self.scale, to, rounding), to)
    }

    /// Ticks of this instant in another timescale.
    pub fn ticks_in(self, to: Timescale, rounding: Rounding) -> i64 {
        rescale(self.ticks, self.scale, to, rounding)
    }

    /// This instant moved by a difference of the same timescale; `None` when the scales differ or
    /// the result does not fit.
    pub fn checked_add(self, delta: Delta) -> Option<Self> {
        if self.scale != delta.scale {
            return None;
        }
        Some(Self::new(self.ticks.checked_add(delta.ticks)?, self.scale))
    }

    /// How far this instant lies after `earlier`; `None` when the scales differ.
    pub fn since(self, earlier: Self) -> Option<Delta> {
        if self.scale != earlier.scale {
            return None;
        }
        Some(Delta::new(self.ticks.checked_sub(earlier.ticks)?, self.scale))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.ticks, self.scale.get())
    }
}

/// A length of time, never negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// Length in ticks.
    pub ticks: u64,
    /// What a tick is worth.
    pub scale: Timescale,
}

impl Span {
    /// A length of `ticks` of `scale`.
    pub const fn new(ticks: u64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// A length of whole milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self::new(millis, Timescale::MILLIS)
    }

    /// This length in ticks of another timescale.
    pub fn ticks_in(self, to: Timescale, rounding: Rounding) -> u64 {
        let ticks = i64::try_from(self.ticks).unwrap_or(i64::MAX);
        rescale(ticks, self.scale, to, rounding).unsigned_abs()
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.ticks, self.scale.get())
    }
}

/// A signed difference between two instants.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delta {
    /// Difference in ticks; positive is later.
    pub ticks: i64,
    /// What a tick is worth.
    pub scale: Timescale,
}

impl Delta {
    /// A difference of `ticks` of `scale`.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+}/{}s", self.ticks, self.scale.get())
    }
}

/// A frame rate as the exact fraction the field uses: 30/1, 30000/1001.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct FrameRate {
    /// Frames in `den` seconds.
    pub num: u32,
    /// Seconds that `num` frames last; 1 or 1001.
    pub den: u32,
}

impl FrameRate {
    /// The rates a channel can run at, slowest first.
    pub const STANDARD: [Self; 13] = [
        Self::new(5, 1),
        Self::new(10, 1),
        Self::new(12, 1),
        Self::new(15, 1),
        Self::new(20, 1),
        Self::new(24_000, 1001),
        Self::new(24, 1),
        Self::new(25, 1),
        Self::new(30_000, 1001),
        Self::new(30, 1),
        Self::new(50, 1),
        Self::new(60_000, 1001),
        Self::new(60, 1),
    ];

    /// `num` frames in `den` seconds.
    pub const fn new(num: u32, den: u32) -> Self {
        Self { num, den }
    }

    /// The standard rate closest to `frames` in `seconds`, if within 0.1 %: what a source means when
    /// it writes 29.97 as 2997/100 or 1000/33.366.
    pub fn standard(frames: u64, seconds: u64) -> Option<Self> {
        // How far frames/seconds is from num/den, in millionths of num/den.
        let distance = |rate: &Self| {
            let found = u128::from(frames) * u128::from(rate.den);
            let exact = u128::from(rate.num) * u128::from(seconds);
            (exact != 0).then(|| found.abs_diff(exact).saturating_mul(1_000_000) / exact)
        };
        let rates = Self::STANDARD.iter().filter_map(|rate| Some((distance(rate)?, *rate)));
        let (distance, rate) = rates.min_by_key(|(distance, _)| *distance)?;
        (distance <= 1_000).then_some(rate)
    }

    /// The timescale of video at this rate: 90000 where a frame is a whole number of its ticks,
    /// else the rate's numerator (24000 for 23.976, 60000 for 59.94).
    pub fn timescale(self) -> Timescale {
        let ticks = 90_000u64 * u64::from(self.den);
        if self.num != 0 && ticks.is_multiple_of(u64::from(self.num)) {
            Timescale::MPEG
        } else {
            Timescale::new(self.num).unwrap_or(Timescale::MPEG)
        }
    }

    /// Length of one frame in ticks of [`Self::timescale`]; always whole.
    pub fn frame_ticks(self) -> u32 {
        let scale = u64::from(self.timescale().get());
        let ticks = scale * u64::from(self.den) / u64::from(self.num.max(1));
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Prints as the field writes it: `30`, `29.97`, `23.976`.
impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 {
            return write!(f, "{}", self.num);
        }
        let thousandths = rounded_div(u64::from(self.num) * 1000, u64::from(self.den.max(1)));
        let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        f.write_str(text.trim_end_matches('0'))
    }
}

/// `a / b` to the nearest whole, halves up. `b` must not be zero.
fn rounded_div(a: u64, b: u64) -> u64 {
    (a * 2 + b) / (b * 2)
}

#[cfg(test)]
mod tests;
