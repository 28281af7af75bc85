//! What a channel knows of its source: configurations, rates, key-frame distance, skew, what is
//! wrong with its times, and what an operator should be warned of.
//!
//! Pure bookkeeping over the units as they arrive; it keeps and changes none, and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ingest::source::{PictureConfig, SoundConfig, SourceSample, Unit};
use packager::time::{Rounding, Timescale, Timestamp};

use super::status::{RepairKind, SourceStatus};

/// Over how long bit rate, frame rate and skew are averaged.
const AVERAGE_OVER: Duration = Duration::from_secs(4);
/// Arrivals remembered for it: those of 120 fps with sound, three times over.
const MAX_ARRIVALS: usize = 2_048;
/// Distances between key frames remembered.
const GOPS: usize = 6;
/// A range of the source's 32-bit clock, in milliseconds.
const WRAP: i64 = 1 << 32;
/// A step back of the source's clock that is out of order; a longer one is a jump, which is counted
/// where it is closed.
const OUT_OF_ORDER: i64 = 500;

/// How much further than the time that has passed key frames may lie apart, in milliseconds: a source
/// may bring what it had in store when it comes. Beyond that its clock has jumped.
const JUMP: i64 = 10_000;

/// How far apart the longest and shortest distance of key frames may lie before they count as
/// irregular: a scene cut in every GOP moves one by less.
const IRREGULAR: f64 = 1.25;
/// Sound and picture further apart than this, by their arrival, cost latency and may be wrong.
const SKEWED_MS: f64 = 500.0;
/// How long a source may go without sound, or without a key frame, before it is told.
const MISSING_AFTER: Duration = Duration::from_secs(5);
/// What a door may say of a source; a source that finds new things for ever is not listened to.
const MAX_NOTICES: usize = 16;
/// Percent of pictures whose distance is not the usual one, above which the rate counts as varying.
const VARYING: usize = 10;

/// The source as seen so far.
#[derive(Debug, Default)]
pub(super) struct Intake {
    video: Option<PictureConfig>,
    audio: Option<SoundConfig>,
    arrivals: VecDeque<Arrival>,
    pictures: Track,
    sound: Track,
    /// When the first picture, the newest key frame and the newest sound came.
    first_picture: Option<Instant>,
    last_sync: Option<(Instant, i64)>,
    last_sound: Option<Instant>,
    /// Milliseconds between key frames, the newest last.
    gops: VecDeque<i64>,
    /// Greatest presentation time since the newest key frame, in milliseconds.
    shown_ms: Option<i64>,
    /// Whether pictures were sent in another order than shown, in the GOP before and in this one.
    reordered: (bool, bool),
    /// What the door said of the source.
    notices: Vec<String>,
    /// What was found wrong with times since it was last asked.
    found: BTreeMap<RepairKind, u64>,
}

/// One track's clock.
#[derive(Debug, Default)]
struct Track {
    last_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    dts_ms: i64,
    bytes: usize,
    picture: bool,
}

impl Track {
    /// What is wrong with a time, given those before it.
    fn follow(&mut self, ms: i64) -> Option<RepairKind> {
        let last = self.last_ms.replace(ms)?;
        let step = ms.saturating_sub(last);
        if ms.div_euclid(WRAP) != last.div_euclid(WRAP) && step.abs() < WRAP / 2 {
            return Some(RepairKind::Wrap);
        }
        (-OUT_OF_ORDER..=0).contains(&step).then_some(RepairKind::Order)
    }
}

impl Intake {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Notes a unit for the statistics.
    pub(super) fn observe(&mut self, unit: &Unit) {
        match unit {
            Unit::VideoConfig(config) => self.video = Some(config.clone()),
            Unit::AudioConfig(config) => self.audio = Some(config.clone()),
            Unit::Video(sample) => {
                let dts = self.arrive(sample, true);
                let pts = millis(sample.pts);
                self.first_picture.get_or_insert(sample.received);
                if sample.sync {
                    self.sync(sample.received, dts);
                }
                if pts < dts {
                    self.find(RepairKind::Composition);
                }
                self.reordered.1 |= self.shown_ms.is_some_and(|shown| pts < shown);
                self.shown_ms = Some(self.shown_ms.map_or(pts, |shown| shown.max(pts)));
                if let Some(kind) = self.pictures.follow(dts) {
                    self.find(kind);
                }
            }
            Unit::Audio(sample) => {
                let dts = self.arrive(sample, false);
                self.last_sound = Some(sample.received);
                // The clock is one: its wrap is counted where the pictures pass it.
                match self.sound.follow(dts) {
                    Some(RepairKind::Wrap) if self.video.is_some() => {}
                    Some(kind) => self.find(kind),
                    None => {}
                }
            }
            Unit::Notice(words) => {
                if self.notices.len() < MAX_NOTICES {
                    self.notices.push(words.clone());
                }
            }
            Unit::Data(_) | Unit::Section(_) => {}
        }
    }

    fn arrive(&mut self, sample: &SourceSample, picture: bool) -> i64 {
        let (at, dts_ms) = (sample.received, millis(sample.dts));
        self.arrivals.push_back(Arrival { at, dts_ms, bytes: sample.data.len(), picture });
        while self.arrivals.len() > MAX_ARRIVALS
            || self.arrivals.front().is_some_and(|a| at.duration_since(a.at) > AVERAGE_OVER)
        {
            self.arrivals.pop_front();
        }
        dts_ms
    }

    fn sync(&mut self, at: Instant, dts_ms: i64) {
        if let Some((then, last)) = self.last_sync.replace((at, dts_ms)) {
            let distance = dts_ms.saturating_sub(last);
            let passed = i64::try_from(at.duration_since(then).as_millis()).unwrap_or(i64::MAX);
            // Where the clock has jumped there is no distance.
            if (1..passed.saturating_add(JUMP)).contains(&distance) {
                self.gops.push_back(distance);
            }
            if self.gops.len() > GOPS {
                self.gops.pop_front();
            }
            self.reordered = (self.reordered.1, false);
        }
        self.shown_ms = None;
    }

    fn find(&mut self, kind: RepairKind) {
        *self.found.entry(kind).or_default() += 1;
    }

    /// What was found wrong with the source's times since this was last asked, by kind.
    pub(super) fn take_found(&mut self) -> BTreeMap<RepairKind, u64> {
        std::mem::take(&mut self.found)
    }

    /// The video configuration, once it is known.
    pub(super) fn video(&self) -> Option<&PictureConfig> {
        self.video.as_ref()
    }

    /// Fills in what a person wants to know of the source at `now`, beside segments of a length.
    pub(super) fn describe(
        &self,
        status: &mut SourceStatus,
        segment: Option<Duration>,
        now: Instant,
    ) {
        status.video = self.video.as_ref().map(|v| v.codec_string().to_owned());
        status.size = self.video.as_ref().map(PictureConfig::size);
        status.audio = self.audio.as_ref().map(|a| a.codec_string().to_owned());
        status.gop_seconds = self.gops.back().map(|ms| seconds(*ms));
        status.b_frames = (!self.gops.is_empty()).then_some(self.reordered.0 || self.reordered.1);
        status.av_skew_ms = self.skew_ms();
        status.warnings = self.warnings(segment, now);
        let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back()) else {
            return;
        };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds > 0.5 {
            let bytes: usize = self.arrivals.iter().map(|a| a.bytes).sum();
            status.bitrate = (bytes as f64 * 8.0 / seconds) as u64;
        }
        let mut pictures = self.arrivals.iter().filter(|a| a.picture);
        if let (Some(first), Some(last)) = (pictures.next(), pictures.next_back()) {
            let seconds = last.at.duration_since(first.at).as_secs_f64();
            // The two at the ends, and those between them.
            let steps = pictures.count() + 1;
            if seconds > 0.5 {
                status.fps = (steps as f64 / seconds * 10.0).round() / 10.0;
            }
        }
    }

    /// How far the sound's times lie ahead of the pictures' that arrive with them; of each the
    /// sample that was held up least.
    fn skew_ms(&self) -> Option<f64> {
        let begin = self.arrivals.front()?.at;
        let ahead = |picture: bool| {
            let of = self.arrivals.iter().filter(|arrival| arrival.picture == picture);
            of.map(|a| a.dts_ms as f64 - a.at.duration_since(begin).as_secs_f64() * 1_000.0)
                .max_by(f64::total_cmp)
        };
        Some((ahead(false)? - ahead(true)?).round())
    }

    /// What will trouble viewers, or is not as it should be, in sentences.
    fn warnings(&self, segment: Option<Duration>, now: Instant) -> Vec<String> {
        let mut warnings = self.notices.clone();
        let Some(first_picture) = self.first_picture else { return warnings };
        let since = |then: Instant| now.saturating_duration_since(then);
        let gops = (self.gops.iter().min(), self.gops.iter().max());
        if let (Some(&shortest), Some(&longest)) = gops {
            let segment = segment.map_or(f64::MAX, |segment| segment.as_secs_f64());
            if seconds(longest) > 2.0 * segment {
                warnings.push(format!(
                    "key frames are {:.1} s apart and segments {segment:.1} s long: after a fault \
                     the picture comes back that much later; 2 s is usual",
                    seconds(longest)
                ));
            }
            if self.gops.len() > 2 && longest as f64 > shortest as f64 * IRREGULAR {
                warnings.push(format!(
                    "key frames come irregularly, {:.1} to {:.1} s apart",
                    seconds(shortest),
                    seconds(longest)
                ));
            }
        }
        if let Some((last_sync, _)) = self.last_sync {
            let longest = Duration::from_millis(
                gops.1.map_or(0, |ms| u64::try_from(*ms).unwrap_or(0)).saturating_mul(2),
            );
            if since(last_sync) > longest.max(MISSING_AFTER * 2) {
                let seconds = since(last_sync).as_secs();
                warnings.push(format!("there has been no key frame for {seconds} s"));
            }
        }
        match self.last_sound {
            None if since(first_picture) > MISSING_AFTER => {
                warnings.push("there is no sound".to_owned());
            }
            Some(last) if since(last) > MISSING_AFTER => {
                let seconds = since(last).as_secs();
                warnings.push(format!("there has been no sound for {seconds} s"));
            }
            _ => {}
        }
        if let Some((shortest, longest)) = self.varying_rate() {
            warnings.push(format!(
                "the frame rate varies, pictures are {shortest} to {longest} ms apart"
            ));
        }
        if let Some(skew) = self.skew_ms().filter(|skew| skew.abs() > SKEWED_MS) {
            let order = if skew > 0.0 { "ahead of" } else { "behind" };
            warnings.push(format!(
                "the sound's times are {:.1} s {order} the pictures'",
                skew.abs() / 1_000.0
            ));
        }
        warnings
    }

    /// Shortest and longest distance of pictures in milliseconds, if they have no usual one.
    fn varying_rate(&self) -> Option<(i64, i64)> {
        let times: Vec<i64> =
            self.arrivals.iter().filter(|a| a.picture).map(|a| a.dts_ms).collect();
        let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        let usual = *steps.get(steps.len() / 2)?;
        // Milliseconds round a distance by one either way.
        let odd = steps.iter().filter(|step| (**step - usual).abs() > usual / 4 + 1).count();
        let enough = steps.len() >= 10 && odd * 100 > steps.len() * VARYING;
        enough.then(|| Some((*steps.first()?, *steps.last()?))).flatten()
    }
}

fn millis(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::MILLIS, Rounding::Nearest)
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests;
