//! A source's frame rate: configured, else claimed by the source and borne out by its timestamps,
//! else measured; always one of [`FrameRate::STANDARD`].
//!
//! Half a second of a millisecond clock can't tell 29.97 from 30, so a claim (SPS, metadata) that
//! agrees with the measurement decides between them; a claim that does not (a field rate, a time
//! base, a phone's nominal rate) is ignored.

use packager::time::FrameRate;

/// Media looked at before deciding, in milliseconds: enough frames for any rate, short enough for
/// the first picture.
const ENOUGH_MS: i64 = 300;
/// Frames needed with [`ENOUGH_MS`].
const ENOUGH_FRAMES: usize = 6;
/// Media after which even slow sources are decided.
const LIMIT_MS: i64 = 500;
/// Frames kept: a source of a thousand frames a second is decided long before its first 64.
const MAX_FRAMES: usize = 64;
/// Two pictures further apart are a jump of the clock and not a frame's length.
const MAX_STEP_MS: i64 = 1_000;
/// How far a claim may lie from the measurement, in thousandths: jitter of ±1 ms over 300 ms.
const CLAIM_TOLERANCE: i64 = 15;

/// Where the decision came from; shown to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The channel's configuration.
    Configured,
    /// The source's own statement, checked.
    Claimed,
    /// The timestamps alone.
    Measured,
}

/// A rate and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// One of the standard rates, or the configured one.
    pub rate: FrameRate,
    /// Why.
    pub basis: Basis,
}

/// Watches the first pictures of a source.
#[derive(Clone, Debug, Default)]
pub struct RateFinder {
    configured: Option<FrameRate>,
    claims: Vec<FrameRate>,
    /// Decoding times in microseconds, since the last jump.
    times: Vec<i64>,
}

impl RateFinder {
    /// Starts watching; with a configured rate the decision is made already.
    pub fn new(configured: Option<FrameRate>) -> Self {
        Self { configured, ..Self::default() }
    }

    /// Notes what the bitstream says of its rate (frames, or fields: half of it is tried too).
    pub fn claim(&mut self, rate: FrameRate) {
        if rate.num != 0 && rate.den != 0 && self.claims.len() < 4 {
            self.claims.push(rate);
        }
    }

    /// Notes what metadata says: frames per second in thousandths (29.97 → 29970).
    pub fn claim_thousandths(&mut self, thousandths: u32) {
        self.claim(FrameRate::new(thousandths, 1_000));
    }

    /// Adds a picture by its decoding time in microseconds; the decision once there is one.
    pub fn push(&mut self, dts_micros: i64) -> Option<Decision> {
        if let Some(rate) = self.configured {
            return Some(Decision { rate, basis: Basis::Configured });
        }
        if let Some(last) = self.times.last() {
            let step = dts_micros.saturating_sub(*last);
            if !(0..=MAX_STEP_MS * 1_000).contains(&step) {
                self.times.clear();
            }
        }
        self.times.push(dts_micros);
        let span = dts_micros - self.times.first()?;
        let enough = span >= ENOUGH_MS * 1_000 && self.times.len() >= ENOUGH_FRAMES;
        let limit = span >= LIMIT_MS * 1_000 && self.times.len() >= 3;
        if !enough && !limit && self.times.len() < MAX_FRAMES {
            return None;
        }
        Some(self.decide())
    }

    fn decide(&self) -> Decision {
        let measured = self.measured_thousandths();
        let agreed = self
            .claims
            .iter()
            .flat_map(|claim| [*claim, FrameRate::new(claim.num, claim.den.saturating_mul(2))])
            .find(|claim| {
                let value = thousandths(*claim);
                (value - measured).abs() * 1_000 <= measured * CLAIM_TOLERANCE
            })
            .map(|claim| nearest(thousandths(claim)));
        match agreed {
            Some(rate) => Decision { rate, basis: Basis::Claimed },
            // Without a claim, whole rates are far more common than their /1.001 neighbours.
            None => Decision { rate: nearest_whole(measured), basis: Basis::Measured },
        }
    }

    /// Frames per 1000 s by the timestamps. A lost picture counts as the frames its gap lasts.
    fn measured_thousandths(&self) -> i64 {
        let mut steps: Vec<i64> =
            self.times.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0).collect();
        steps.sort_unstable();
        let Some(median) = steps.get(steps.len() / 2) else { return 30_000 };
        let frames: i64 = steps.iter().map(|step| ((step + median / 2) / median).max(1)).sum();
        let span: i64 = steps.iter().sum();
        frames * 1_000_000_000 / span
    }
}

fn thousandths(rate: FrameRate) -> i64 {
    i64::from(rate.num) * 1_000 / i64::from(rate.den.max(1))
}

fn nearest(target: i64) -> FrameRate {
    pick(target, |_| true)
}

fn nearest_whole(target: i64) -> FrameRate {
    pick(target, |rate| rate.den == 1)
}

/// The standard rate with the smallest relative distance.
fn pick(target: i64, allowed: impl Fn(&FrameRate) -> bool) -> FrameRate {
    FrameRate::STANDARD
        .into_iter()
        .filter(allowed)
        .min_by_key(|rate| {
            let value = thousandths(*rate);
            (value - target).abs() * 1_000_000 / value.max(1)
        })
        .unwrap_or(FrameRate::new(30, 1))
}

#[cfg(test)]
mod tests;
