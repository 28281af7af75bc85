//! A source that is packaged as it is: from its units to samples on the channel's timeline.
//!
//! ```text
//! unit ─► joining: configurations, rate, key frames ─► a run's start
//!         on: repair ─► sample
//! ```
//! A source joins with a key frame once its configurations and rate are known: the first one where
//! the channel has nothing on the air, else the first that is not before what is there and leaves no
//! short segment behind, unless that takes too long. The channel's
//! first source also shows how far its key frames are apart, which is what segments are made of: for
//! as long as its first segment takes, so that waiting for more of them delays nothing.
//! Another configuration, or a clock too far off to be steered, is another run: it joins again.
//!
//! Pure: it has no clock, packages nothing and knows no publisher.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ingest::source::{PictureCodec, PictureConfig, SoundConfig, SourceSample, Unit};
use packager::codec::aac;
use packager::grid::{Grid, LONGEST_AUDIO_FRAME_US};
use packager::media::{
    AudioConfig, Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig,
};
use packager::repair::{Arrived, BORNE_OUT, Counts, Frames, MAX_ERROR, Repair};
use packager::segmenter::{PICTURES, Remnant, SOUND, SourceSegmenter};
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, rescale};
use packager::timeline::Lengths;

use super::making::SOURCE;
use super::status::RepairKind;

/// Longest group of pictures a channel can be made of: the longest segment.
const LONGEST_GOP: i64 = 6_000_000_000;
/// Groups of pictures that differ by less than this part of their length are of one length.
const SAME_GOP: i64 = 16;
/// How long pictures wait for sound before the channel goes on with silence.
const SOUND_WITHIN: i64 = 3_000_000_000;
/// Units that wait: the longest group of pictures at 60 fps with sound, twice.
const MAX_UNITS: usize = 2_048;
/// Bytes that wait: the longest group of pictures at 20 Mb/s.
const MAX_BYTES: usize = 16 << 20;
/// Shortest stretch of a source that tells its bit rate, in nanoseconds.
const MEASURED_OVER: i64 = 500_000_000;
/// Bits per second where nothing tells.
const UNKNOWN_BITRATE: u32 = 3_000_000;
/// AudioSpecificConfig of the silence of a source without sound: AAC-LC, 48 kHz, stereo.
const SILENCE: &[u8] = &[0x11, 0x90];

/// Why a source can't be packaged as it is; told to the publisher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No second key frame.
    #[error("no key frame within {} s: set a key frame interval of 2 s", LONGEST_GOP / 1_000_000_000)]
    LongGop,
    /// Players read the codec once.
    #[error("the channel's pictures are {channel}, these are {sent}")]
    Codec {
        /// What is on the air.
        channel: &'static str,
        /// What the source sends.
        sent: &'static str,
    },
    /// Parts too long, too short, or without a picture would break players.
    #[error("{rate} frames a second do not fill parts of {part_ms} ms: use 24 or more")]
    Slow {
        /// The source's rate.
        rate: FrameRate,
        /// Length of a part.
        part_ms: u64,
    },
    /// Pictures that no segment could have.
    #[error("pictures in {codec} can't be packaged as they are: send H.264")]
    Pictures {
        /// Their codec.
        codec: &'static str,
    },
    /// Sound that no player could be given.
    #[error("sound in {codec} can't be packaged as it is: send AAC")]
    Sound {
        /// Its codec.
        codec: &'static str,
    },
    /// Parts would be longer than what players were told.
    #[error("an audio frame of {samples} samples at {rate} Hz is too long: use 44.1 or 48 kHz")]
    LongAudioFrame {
        /// Its samples.
        samples: u32,
        /// Samples per second.
        rate: u32,
    },
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Passing {
    video: Option<PictureConfig>,
    audio: Option<SoundConfig>,
    state: State,
    /// Bits per second of pictures and sound, as measured last.
    bitrates: Option<[u32; 2]>,
    /// Repairs that were told already.
    told: Counts,
}

#[derive(Debug)]
enum State {
    Joining(Waiting),
    On(Box<Repair>),
}

impl Default for State {
    fn default() -> Self {
        Self::Joining(Waiting::default())
    }
}

/// What waits for the run to begin: since a key frame.
#[derive(Debug, Default)]
struct Waiting {
    samples: VecDeque<Queued>,
    bytes: usize,
}

/// A sample as it came.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    /// Position of its rendition.
    rendition: usize,
    arrived: Arrived,
    sync: bool,
    data: Bytes,
}

/// What the channel is, where a source joins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// The channel's grid, once it is fixed.
    pub(super) grid: Option<&'a Grid>,
    /// Codec of the pictures on the air.
    pub(super) codec: Option<VideoCodec>,
    /// What is on the air, which the source's run comes behind.
    pub(super) on_air: Option<&'a SourceSegmenter>,
    /// The source's frame rate, as far as it is found.
    pub(super) found: Option<FrameRate>,
    /// Wished length of a segment, in nanoseconds.
    pub(super) segment: i64,
    /// How long segments are on the air: a guess at the source's.
    pub(super) lengths: Lengths,
}

/// A source that has joined.
#[derive(Debug)]
pub(super) struct Joined {
    rate: FrameRate,
    video: VideoConfig,
    audio: AudioConfig,
    /// Whether there is no sound.
    pub(super) mute: bool,
    /// When its first picture is, in nanoseconds since the epoch.
    pub(super) start: i64,
    /// What segments are made of, in nanoseconds, where its key frames decide.
    pub(super) gop: i64,
    /// How long its segments are, as far as is known.
    pub(super) lengths: Lengths,
    offset: i64,
    bitrates: [u32; 2],
    samples: VecDeque<Queued>,
}

impl Joined {
    /// Frames per second.
    pub(super) fn rate(&self) -> FrameRate {
        self.rate
    }

    /// Samples per second of the sound.
    pub(super) fn audio_rate(&self) -> u32 {
        self.audio.sample_rate
    }

    /// What is made of it.
    pub(super) fn renditions(&self, grid: &Grid) -> Arc<[Rendition]> {
        let rendition = |name: &str, timescale, config, rate, bitrate: u32| {
            Some(Rendition {
                name: Name::parse(name).ok()?,
                track: Track { timescale, config },
                rate,
                average_bitrate: bitrate,
                // No encoder of ours limits it.
                peak_bitrate: bitrate.saturating_add(bitrate / 2),
            })
        };
        let [pictures, sound] = self.bitrates;
        let sound_scale = Timescale::new(self.audio.sample_rate).unwrap_or(Timescale::MPEG);
        let video = Config::Video(self.video.clone());
        let audio = Config::Audio(self.audio.clone());
        let pictures = rendition(SOURCE, grid.video_scale(), video, Some(self.rate), pictures);
        let sound = rendition("audio", sound_scale, audio, None, sound);
        pictures.into_iter().chain(sound).collect()
    }
}

impl Passing {
    /// Forgets the source. What was measured of it is a guess at the next one.
    pub(super) fn lose(&mut self) {
        let bitrates = self.bitrates;
        *self = Self { bitrates, ..Self::default() };
    }

    /// Begins to join again.
    pub(super) fn rejoin(&mut self) {
        self.state = State::default();
        self.told = Counts::default();
    }

    /// Whether its run is on the air.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::On(_))
    }

    /// Takes a unit that came `at` nanoseconds since the epoch. True if it ends the run: another
    /// configuration.
    pub(super) fn configure(&mut self, unit: &Unit) -> bool {
        let changed = match unit {
            Unit::VideoConfig(config) => {
                self.video.replace(config.clone()).is_some_and(|before| before != *config)
            }
            Unit::AudioConfig(config) => {
                // Sound that begins when silence is on the air is a change too.
                let before = self.audio.replace(config.clone());
                before.as_ref() != Some(config) && (before.is_some() || self.is_on())
            }
            _ => false,
        };
        if changed && !self.is_on() {
            self.state = State::default();
        }
        changed && self.is_on()
    }

    /// A sample of the source that came `at` nanoseconds since the epoch; `None` for what is none, or
    /// is left out.
    pub(super) fn sample(&self, unit: &Unit, at: i64) -> Option<Queued> {
        let (rendition, sample) = match unit {
            Unit::Video(sample) => (PICTURES, sample),
            Unit::Audio(sample) => (SOUND, sample),
            Unit::VideoConfig(_)
            | Unit::AudioConfig(_)
            | Unit::Data(_)
            | Unit::Section(_)
            | Unit::Notice(_) => return None,
        };
        let nanos =
            |ticks: i64| rescale(ticks, sample.dts.scale, Timescale::NANOS, Rounding::Nearest);
        let SourceSample { dts, pts, sync, data, .. } = sample;
        let arrived = Arrived { dts: nanos(dts.ticks), pts: nanos(pts.ticks), at };
        Some(Queued { rendition, arrived, sync: *sync, data: data.clone() })
    }

    /// Lets a sample wait for the run to begin.
    pub(super) fn wait(&mut self, sample: Queued) {
        if let State::Joining(waiting) = &mut self.state {
            waiting.push(sample);
        }
    }

    /// Joins, if everything is known.
    ///
    /// # Errors
    /// The source can't be packaged as it is.
    pub(super) fn join(&mut self, known: Known<'_>) -> Result<Option<Joined>, Refusal> {
        let State::Joining(waiting) = &mut self.state else { return Ok(None) };
        let video = match &self.video {
            Some(PictureConfig::Packaged(video)) => video,
            Some(PictureConfig::Foreign(pictures)) => {
                return Err(Refusal::Pictures { codec: pictures.codec.word() });
            }
            None => return Ok(None),
        };
        let (Some(first), Some(last)) = (waiting.first_key(), waiting.samples.back()) else {
            return Ok(None);
        };
        let waited = last.arrived.at.saturating_sub(first.arrived.at);
        // A rate that the bitstream claims and the channel has is right; others are measured.
        let claimed = video.rate.filter(|rate| known.grid.is_some_and(|grid| grid.rate == *rate));
        let Some(rate) = claimed.or(known.found) else { return Ok(None) };
        if self.audio.is_none() && waited < SOUND_WITHIN {
            return Ok(None);
        }
        let gops = waiting.gops();
        if gops.iter().any(|gop| *gop > LONGEST_GOP) {
            return Err(Refusal::LongGop);
        }
        let (gop, lengths) = match segments_of(&gops, known.segment) {
            _ if known.grid.is_some() => (0, known.lengths),
            Some(measured) => measured,
            None if waited > LONGEST_GOP => return Err(Refusal::LongGop),
            None => return Ok(None),
        };
        let audio = match &self.audio {
            Some(SoundConfig::Foreign(sound)) => {
                return Err(Refusal::Sound { codec: sound.codec.word() });
            }
            Some(SoundConfig::Aac(audio)) => Some(audio),
            None => None,
        };
        check(known, video, audio, rate)?;
        let keys = waiting.samples.iter().filter(|sample| sample.is_key());
        let starts = keys.map(|key| {
            let at = key.arrived.dts.saturating_add(waiting.offset(key));
            let at = Timestamp::new(at, Timescale::NANOS);
            let at = known.on_air.map_or(at, |segmenter| segmenter.seam(at));
            (key.arrived.dts, at.ticks_in(Timescale::NANOS, Rounding::Nearest))
        });
        let fitting = |remnant: Remnant| {
            starts.clone().find(|(_, at)| {
                let at = Timestamp::new(*at, Timescale::NANOS);
                known.on_air.is_none_or(|segmenter| segmenter.may_end_at(at, remnant))
            })
        };
        // A segment of filler waits half as long again for a run.
        let patient = known.grid.is_some_and(|grid| waited < nanos(grid.segment()) / 2 * 3);
        let start = match fitting(Remnant::Long) {
            None if !patient => fitting(Remnant::Any),
            found => found,
        };
        let Some((first, start)) = start else { return Ok(None) };
        // The frames that follow come as far from their times as this one.
        let offset = start.saturating_sub(first);
        let measured = (waited >= MEASURED_OVER).then(|| waiting.bitrates(waited));
        let bitrates = measured.or(self.bitrates).unwrap_or([UNKNOWN_BITRATE, 128_000]);
        self.bitrates = Some(bitrates);
        let mut samples = std::mem::take(&mut waiting.samples);
        while samples
            .iter()
            .find(|s| s.rendition == PICTURES)
            .is_some_and(|s| s.arrived.dts != first)
        {
            let before = samples.iter().position(|s| s.rendition == PICTURES);
            before.and_then(|before| samples.remove(before));
        }
        let mute = audio.is_none();
        let audio = match audio {
            Some(audio) => audio.clone(),
            // A constant that is read by its own tests.
            None => match aac::config(Bytes::from_static(SILENCE)) {
                Ok(silence) => silence,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Joined {
            rate,
            video: video.clone(),
            audio,
            mute,
            start,
            gop,
            lengths,
            offset,
            bitrates,
            samples,
        }))
    }

    /// Goes on the air in a run that has begun; gives the samples that waited for it.
    pub(super) fn begin(&mut self, joined: Joined, grid: &Grid) -> VecDeque<Queued> {
        let scale = grid.video_scale();
        let ticks = u64::from(scale.get()) * u64::from(joined.rate.den);
        let num = u64::from(joined.rate.num.max(1));
        let length = u32::try_from((ticks + num / 2) / num).unwrap_or(u32::MAX);
        let pictures = Frames { scale, length };
        let sound_scale = Timescale::new(joined.audio.sample_rate).unwrap_or(Timescale::MPEG);
        let sound = Frames { scale: sound_scale, length: joined.audio.frame_samples };
        self.state = State::On(Box::new(Repair::new(pictures, sound, joined.offset)));
        self.told = Counts::default();
        joined.samples
    }

    /// Places a sample on the timeline, where its rendition is in `segmenter`.
    pub(super) fn place(
        &mut self,
        queued: Queued,
        segmenter: &SourceSegmenter,
    ) -> Option<(usize, Sample)> {
        let State::On(repair) = &mut self.state else { return None };
        let Queued { rendition, arrived, sync, data } = queued;
        let next = segmenter.next(rendition);
        let place = if rendition == PICTURES {
            let resume = sync && segmenter.waits_for_key_frame();
            repair.picture(arrived, next, resume)
        } else {
            repair.sound(arrived, next)?
        };
        let sample =
            Sample { dts: place.dts, pts: place.pts, duration: place.duration, sync, data };
        Some((rendition, sample))
    }

    /// Where a picture of this source time belongs, in ticks of `scale`; `None` before there is one.
    pub(super) fn place_of(&self, at: Timestamp, scale: Timescale) -> Option<i64> {
        let State::On(repair) = &self.state else { return None };
        let nanos = repair.picture_at(at.ticks_in(Timescale::NANOS, Rounding::Nearest));
        Some(Timestamp::new(nanos, Timescale::NANOS).ticks_in(scale, Rounding::Nearest))
    }

    /// Whether the source's clock is too far off to be steered.
    pub(super) fn is_off(&self) -> bool {
        matches!(&self.state, State::On(repair) if repair.error().abs() > MAX_ERROR)
    }

    /// What was repaired since this was asked last, by kind.
    /// Times that go back and pictures shown too early are counted where they come in.
    pub(super) fn repairs(&mut self) -> [(RepairKind, u64); 3] {
        let counts = match &self.state {
            State::On(repair) => repair.counts(),
            State::Joining(_) => self.told,
        };
        let told = std::mem::replace(&mut self.told, counts);
        [
            (RepairKind::Jump, counts.jumps - told.jumps),
            (RepairKind::Hole, counts.holes - told.holes),
            (RepairKind::Surplus, counts.surplus - told.surplus),
        ]
    }
}

/// What segments of about `wish` nanoseconds are made of, by the distances of a source's first key
/// frames; `None` while these are fewer than its first segment holds.
fn segments_of(gops: &[i64], wish: i64) -> Option<(i64, Lengths)> {
    let (longest, shortest) = (*gops.iter().max()?, *gops.iter().min()?);
    let total: i64 = gops.iter().sum();
    if total + gops.last()? / 2 < wish {
        return None;
    }
    let mean = total / i64::try_from(gops.len()).ok()?;
    if longest - shortest <= mean / SAME_GOP {
        return Some((mean, Lengths::Even));
    }
    Some((wish.max(longest), Lengths::Uneven))
}

/// Whether what a source sends fits the channel.
fn check(
    known: Known<'_>,
    video: &VideoConfig,
    audio: Option<&AudioConfig>,
    rate: FrameRate,
) -> Result<(), Refusal> {
    let word = |codec| PictureCodec::Packaged(codec).word();
    if let Some(codec) = known.codec.filter(|codec| *codec != video.codec) {
        return Err(Refusal::Codec { channel: word(codec), sent: word(video.codec) });
    }
    if let Some(grid) = known.grid {
        let scale = u64::from(grid.video_scale().get());
        let frame = scale * u64::from(rate.den) / u64::from(rate.num.max(1));
        if !grid.takes_frames_of(frame) {
            let part_ms = grid.part().ticks_in(Timescale::MILLIS, Rounding::Nearest);
            return Err(Refusal::Slow { rate, part_ms });
        }
    }
    if let Some(AudioConfig { sample_rate, frame_samples, .. }) = audio {
        let micros = u64::from(*frame_samples) * 1_000_000 / u64::from((*sample_rate).max(1));
        if micros > LONGEST_AUDIO_FRAME_US {
            return Err(Refusal::LongAudioFrame { samples: *frame_samples, rate: *sample_rate });
        }
    }
    Ok(())
}

/// A length in nanoseconds.
pub(super) fn nanos(span: Span) -> i64 {
    i64::try_from(span.ticks_in(Timescale::NANOS, Rounding::Nearest)).unwrap_or(i64::MAX)
}

impl Queued {
    fn is_key(&self) -> bool {
        self.rendition == PICTURES && self.sync
    }
}

impl Waiting {
    /// Appends a sample; nothing before a key frame. Of too much only the newest group stays.
    fn push(&mut self, sample: Queued) {
        if self.samples.is_empty() && !sample.is_key() {
            return;
        }
        self.bytes += sample.data.len();
        self.samples.push_back(sample);
        if self.samples.len() > MAX_UNITS || self.bytes > MAX_BYTES {
            let newest = self.samples.iter().rposition(Queued::is_key).filter(|at| *at > 0);
            self.samples.drain(..newest.unwrap_or(self.samples.len()));
            self.bytes = self.samples.iter().map(|sample| sample.data.len()).sum();
        }
    }

    fn first_key(&self) -> Option<&Queued> {
        self.samples.iter().find(|sample| sample.is_key())
    }

    /// Distances of key frames, in nanoseconds.
    fn gops(&self) -> Vec<i64> {
        let keys: Vec<_> = self.samples.iter().filter(|sample| sample.is_key()).collect();
        let pairs = keys.iter().zip(keys.iter().skip(1));
        let gop = |(first, second): (&&Queued, &&Queued)| {
            let gop = second.arrived.dts.saturating_sub(first.arrived.dts);
            // A clock that was set anew in between tells by the arrival.
            let passed = second.arrived.at.saturating_sub(first.arrived.at);
            if gop > 0 { gop } else { passed.max(1) }
        };
        pairs.map(gop).collect()
    }

    /// Our time minus the source's, as pictures arrive on average that are stamped by the clock of this
    /// one: where steering would get to, too.
    fn offset(&self, by: &Queued) -> i64 {
        let pictures = self.samples.iter().filter(|sample| sample.rendition == PICTURES);
        let offset = |queued: &Queued| queued.arrived.at.saturating_sub(queued.arrived.dts);
        let near = |each: &i64| each.saturating_sub(offset(by)).saturating_abs() <= BORNE_OUT;
        let offsets = pictures.map(offset).filter(near);
        let (sum, count) =
            offsets.fold((0, 0), |(sum, count), each| (sum + i128::from(each), count + 1));
        i64::try_from(sum / i128::from(count.max(1))).unwrap_or(0)
    }

    /// Bits per second of pictures and sound over `nanos`.
    fn bitrates(&self, nanos: i64) -> [u32; 2] {
        [PICTURES, SOUND].map(|rendition| {
            let samples = self.samples.iter().filter(|sample| sample.rendition == rendition);
            let bits = 8 * samples.map(|sample| sample.data.len() as u128).sum::<u128>();
            let rate = bits * 1_000_000_000 / u128::from(nanos.max(1).unsigned_abs());
            u32::try_from(rate).unwrap_or(u32::MAX).max(1_000)
        })
    }
}

#[cfg(test)]
mod tests;
