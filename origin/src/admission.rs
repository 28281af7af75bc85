//! Whether the machine can take on one more ladder.
//!
//! ```text
//! publisher with the right key ─► admit: all rungs │ the cheapest only │ no, and why
//! what a running worker used   ─► report: how dear this machine's pictures are
//! ```
//! A ladder costs what its pictures cost: so many cores per million pixels a second, encoded and
//! decoded. What a picture costs here is measured on the workers that run, while they keep up;
//! until the first has told, a figure that errs on the dear side stands in.
//!
//! A channel that has been taken on keeps its place until it goes off the air: its publisher is
//! never refused his reconnect. A machine with nothing else to do takes the channel there is,
//! whatever the figures say: nobody else suffers, and a ladder that is too much sheds rungs.
//!
//! Pure but for a lock around it: it measures nothing itself and reads no clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packager::media::Name;
use packager::time::FrameRate;
use serde::Serialize;

/// Cores per million pixels a second encoded, until measured: x264 veryfast with zerolatency takes
/// 0.02 on the 2-core machine of `bench/RESULTS.md`.
const ENCODE: f64 = 0.025;
/// Cores per million pixels a second decoded and scaled from, until measured.
const DECODE: f64 = 0.007;

/// Share of the cores up to which a ladder is taken on whole: the rest is for the sources' busy
/// scenes, packaging and delivery.
const COMFORTABLE: f64 = 0.80;
/// Share up to which one is taken on with its cheapest rung, the others as the machine bears them.
const TIGHT: f64 = 0.95;

/// How much a new measurement counts for: what a scene costs comes and goes within seconds.
const WEIGHT: f64 = 0.1;
/// What can be believed of a measurement, as a multiple of the stand-in: a machine is not fifty
/// times as fast as the one measured, nor fifty times as slow.
const BELIEVED: std::ops::RangeInclusive<f64> = 0.02..=50.0;
/// Shortest time a measurement is taken over: the kernel counts in ticks of 10 ms.
const MEASURE_OVER: Duration = Duration::from_millis(500);

/// What a ladder makes, in pixels per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Of all rungs together.
    pub encoded: u64,
    /// Of the source.
    pub decoded: u64,
}

impl Work {
    /// Of a ladder of pictures of these sizes (width, height) from a source of `source`.
    pub fn ladder(
        rungs: impl IntoIterator<Item = (u16, u16)>,
        source: (u16, u16),
        rate: FrameRate,
    ) -> Self {
        let encoded = rungs.into_iter().map(|size| pixels_per_second(size, rate)).sum();
        Self { encoded, decoded: pixels_per_second(source, rate) }
    }

    /// Cores it takes where pictures cost `dearness` times the stand-in.
    fn cores(self, dearness: f64) -> f64 {
        let millions = |pixels: u64| pixels as f64 / 1e6;
        (millions(self.encoded) * ENCODE + millions(self.decoded) * DECODE) * dearness
    }
}

/// What pictures of a size at a rate cost, in pixels per second.
pub fn pixels_per_second((width, height): (u16, u16), rate: FrameRate) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    pixels * u64::from(rate.num) / u64::from(rate.den.max(1))
}

/// How a channel is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// With every rung.
    Whole,
    /// With the cheapest rung; the others as the machine bears them.
    Reduced,
}

/// Why a channel is not taken on, in words for its publisher.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "this machine is used up: its channels take {used:.1} of {cores:.1} cores and this one would \
     take {wanted:.1}"
)]
pub struct NoRoom {
    /// Cores that the channels taken on need.
    pub used: f64,
    /// Cores this one would need.
    pub wanted: f64,
    /// Cores there are.
    pub cores: f64,
}

/// What the machine has and what is taken of it, in cores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Cores that ladders may use; `None` if they are not counted.
    pub cores: Option<f64>,
    /// Cores that the channels taken on need.
    pub used: f64,
    /// Whether what a picture costs has been measured here.
    pub measured: bool,
    /// Publishers refused for want of room since the start.
    pub refused: u64,
    /// The channel and the reason of the newest refusal.
    pub last_refusal: Option<(String, String)>,
    /// Cores by channel.
    pub channels: BTreeMap<String, f64>,
}

/// The machine's account. Shared by everybody who asks and reports.
#[derive(Debug)]
pub struct Admission {
    /// Cores that ladders may use; `None`: everything is taken on.
    cores: Option<f64>,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    channels: BTreeMap<Name, Place>,
    /// What a picture costs here, as a multiple of the stand-in.
    dearness: Option<f64>,
    refused: u64,
    last_refusal: Option<(Name, NoRoom)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    work: Work,
    admitted: Admitted,
}

impl Ledger {
    fn refuse(&mut self, channel: &Name, refusal: NoRoom) {
        self.refused += 1;
        self.last_refusal = Some((channel.clone(), refusal));
    }

    fn dearness(&self) -> f64 {
        self.dearness.unwrap_or(1.0)
    }

    fn used(&self) -> f64 {
        // The sum of no floats is a negative zero.
        self.channels.values().fold(0.0, |sum, place| sum + place.work.cores(self.dearness()))
    }
}

impl Admission {
    /// For a machine with so many cores; `None` takes everything on.
    pub fn new(cores: Option<f64>) -> Self {
        Self { cores, ledger: Mutex::default() }
    }

    /// Takes a channel on that will make `work`. One that is on already stays as it is.
    ///
    /// # Errors
    /// There is no room.
    pub fn admit(&self, channel: &Name, work: Work) -> Result<Admitted, NoRoom> {
        let mut ledger = self.lock();
        match self.judge(&ledger, channel, work) {
            Ok(admitted) => {
                ledger.channels.entry(channel.clone()).or_insert(Place { work, admitted });
                Ok(admitted)
            }
            Err(refusal) => {
                ledger.refuse(channel, refusal);
                Err(refusal)
            }
        }
    }

    /// Whether [`Self::admit`] would take it on. Takes nothing on; a refusal counts, since nobody asks
    /// any further.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn would_admit(&self, channel: &Name, work: Work) -> Result<(), NoRoom> {
        let mut ledger = self.lock();
        let judged = self.judge(&ledger, channel, work).map(drop);
        judged.inspect_err(|refusal| ledger.refuse(channel, *refusal))
    }

    fn judge(&self, ledger: &Ledger, channel: &Name, work: Work) -> Result<Admitted, NoRoom> {
        if let Some(place) = ledger.channels.get(channel) {
            return Ok(place.admitted);
        }
        let (used, wanted) = (ledger.used(), work.cores(ledger.dearness()));
        match self.cores {
            None => Ok(Admitted::Whole),
            // Nobody else would suffer; and of what costs nothing there can't be too much.
            Some(_) if used <= 0.0 || wanted <= 0.0 => Ok(Admitted::Whole),
            Some(cores) if used + wanted <= cores * COMFORTABLE => Ok(Admitted::Whole),
            Some(cores) if used + wanted <= cores * TIGHT => Ok(Admitted::Reduced),
            Some(cores) => Err(NoRoom { used, wanted, cores }),
        }
    }

    /// How a channel was taken on, if it was.
    pub fn admitted(&self, channel: &Name) -> Option<Admitted> {
        self.lock().channels.get(channel).map(|place| place.admitted)
    }

    /// Notes what a channel really makes, now that its ladder is planned. One that is made without
    /// having asked, as after a restart, counts from now on.
    pub fn planned(&self, channel: &Name, work: Work) {
        let mut ledger = self.lock();
        let admitted = ledger.channels.get(channel).map_or(Admitted::Whole, |place| place.admitted);
        ledger.channels.insert(channel.clone(), Place { work, admitted });
    }

    /// Gives the place of a channel free that is off the air.
    pub fn release(&self, channel: &Name) {
        self.lock().channels.remove(channel);
    }

    /// Learns from a worker that kept up: it made `work` over `elapsed` and took `cpu` for it.
    pub fn report(&self, work: Work, cpu: Duration, elapsed: Duration) {
        let expected = work.cores(1.0) * elapsed.as_secs_f64();
        if elapsed < MEASURE_OVER || expected <= 0.0 {
            return;
        }
        let measured = cpu.as_secs_f64() / expected;
        if !BELIEVED.contains(&measured) {
            return;
        }
        let mut ledger = self.lock();
        let before = ledger.dearness.unwrap_or(measured);
        ledger.dearness = Some(before + (measured - before) * WEIGHT);
    }

    /// What there is and what is taken.
    pub fn capacity(&self) -> Capacity {
        let ledger = self.lock();
        let of = |(name, place): (&Name, &Place)| {
            (name.to_string(), place.work.cores(ledger.dearness()))
        };
        Capacity {
            cores: self.cores,
            used: ledger.used(),
            measured: ledger.dearness.is_some(),
            refused: ledger.refused,
            last_refusal: ledger
                .last_refusal
                .as_ref()
                .map(|(name, refusal)| (name.to_string(), refusal.to_string())),
            channels: ledger.channels.iter().map(of).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
