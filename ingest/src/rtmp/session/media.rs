//! A publication's media: message bodies in, units of a source out.
//!
//! Unrolls the 32-bit clock, reads decoder configurations (with their limits, by
//! [`packager::codec`]), passes on only those that changed, and brings samples into the one form the
//! rest knows: four-byte NAL lengths. A message whose header makes no sense and a picture whose NAL
//! units do not add up are dropped and counted, since one broken message must not cost the
//! broadcast. Times are not repaired here.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use packager::codec::nal::{self, LengthSize};
use packager::codec::{aac, h264, h265};
use packager::media::{AudioConfig, VideoCodec, VideoConfig};
use packager::time::{Timescale, Timestamp, Unroller};

use super::super::amf0::{self, Value};
use super::super::flv::{self, Audio, Video};
use crate::source::{DataMessage, SoundConfig, SourceSample, Unit};

/// Why media can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A codec we don't take.
    #[error(transparent)]
    Codec(flv::Error),
    /// A video decoder configuration we can't read or don't take.
    #[error("video configuration: {0}")]
    VideoConfig(packager::codec::Error),
    /// An audio decoder configuration we can't read or don't take.
    #[error("audio configuration: {0}")]
    AudioConfig(packager::codec::Error),
    /// Pictures came for [`waited`](Self::NoVideoConfig::waited) without their configuration.
    #[error("no video sequence header within {} s of the first picture", waited.as_secs())]
    NoVideoConfig {
        /// How long.
        waited: Duration,
    },
}

/// What came in, for the log and for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Coded pictures passed on.
    pub video: u64,
    /// Audio frames passed on.
    pub audio: u64,
    /// Data messages passed on.
    pub data: u64,
    /// Pictures and audio frames that came before their configuration.
    pub unconfigured: u64,
    /// Messages whose header makes no sense, pictures whose NAL units do not add up.
    pub broken: u64,
}

/// State of one publication's media.
#[derive(Debug)]
pub struct Media {
    clock: Unroller,
    /// The record as sent, its codec, and how long NAL lengths are in samples that go with it.
    video: Option<(VideoCodec, Bytes, LengthSize)>,
    audio: Option<Bytes>,
    config_wait: Duration,
    first_unconfigured: Option<Instant>,
    counts: Counts,
}

impl Media {
    /// Pictures may come for `config_wait` before their configuration.
    pub fn new(config_wait: Duration) -> Self {
        Self {
            clock: Unroller::new(32),
            video: None,
            audio: None,
            config_wait,
            first_unconfigured: None,
            counts: Counts::default(),
        }
    }

    /// What came in so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn at(&mut self, timestamp: u32) -> Timestamp {
        Timestamp::new(self.clock.unroll(u64::from(timestamp)), Timescale::MILLIS)
    }

    /// Counts a tag that makes no sense as `nothing`; only a codec we don't take is an error.
    fn unless_broken<T>(&mut self, tag: Result<T, flv::Error>, nothing: T) -> Result<T, Error> {
        match tag {
            Ok(tag) => Ok(tag),
            Err(flv::Error::Incomplete { .. } | flv::Error::Invalid { .. }) => {
                self.counts.broken = self.counts.broken.saturating_add(1);
                Ok(nothing)
            }
            Err(error) => Err(Error::Codec(error)),
        }
    }

    /// Takes an audio message.
    ///
    /// # Errors
    /// The audio can't be used.
    pub fn audio(
        &mut self,
        timestamp: u32,
        body: Bytes,
        now: Instant,
    ) -> Result<Option<Unit>, Error> {
        let at = self.at(timestamp);
        let tag = self.unless_broken(flv::audio(body), Audio::Nothing)?;
        Ok(match tag {
            Audio::Config(record) if self.audio.as_ref() == Some(&record) => None,
            Audio::Config(record) => {
                let config = audio_config(record.clone()).map_err(Error::AudioConfig)?;
                self.audio = Some(record);
                Some(Unit::AudioConfig(SoundConfig::Aac(config)))
            }
            Audio::Frame(_) if self.audio.is_none() => {
                self.counts.unconfigured = self.counts.unconfigured.saturating_add(1);
                None
            }
            Audio::Frame(data) => {
                self.counts.audio = self.counts.audio.saturating_add(1);
                let sample = SourceSample { dts: at, pts: at, sync: true, data, received: now };
                Some(Unit::Audio(sample))
            }
            Audio::Nothing => None,
        })
    }

    /// Takes a video message.
    ///
    /// # Errors
    /// The video can't be used.
    pub fn video(
        &mut self,
        timestamp: u32,
        body: Bytes,
        now: Instant,
    ) -> Result<Option<Unit>, Error> {
        let at = self.at(timestamp);
        match self.unless_broken(flv::video(body), Video::Nothing)? {
            Video::Config { codec, record } => self.video_config(codec, record),
            Video::Frame { codec, composition, data, .. } => {
                self.picture(codec, composition, &data, at, now)
            }
            Video::Metadata(raw) => {
                let values = amf0::decode(&raw).unwrap_or_else(|(values, _)| values);
                Ok(Some(self.data_at(at, values, raw)))
            }
            Video::Nothing => Ok(None),
        }
    }

    fn video_config(&mut self, codec: VideoCodec, record: Bytes) -> Result<Option<Unit>, Error> {
        if self.video.as_ref().is_some_and(|(c, r, _)| *c == codec && *r == record) {
            return Ok(None);
        }
        let length = nal_length(codec, &record).map_err(Error::VideoConfig)?;
        let config = video_config(codec, with_four_byte_lengths(codec, &record, length))
            .map_err(Error::VideoConfig)?;
        self.video = Some((codec, record, length));
        Ok(Some(Unit::VideoConfig(config.into())))
    }

    fn picture(
        &mut self,
        codec: VideoCodec,
        composition: i32,
        data: &Bytes,
        at: Timestamp,
        now: Instant,
    ) -> Result<Option<Unit>, Error> {
        let length = match &self.video {
            Some((configured, _, length)) if *configured == codec => *length,
            _ => {
                self.counts.unconfigured = self.counts.unconfigured.saturating_add(1);
                let first = *self.first_unconfigured.get_or_insert(now);
                let waited = now.saturating_duration_since(first);
                if waited >= self.config_wait {
                    return Err(Error::NoVideoConfig { waited });
                }
                return Ok(None);
            }
        };
        // A sender's word for "key frame" covers pictures that decoding can't start with.
        let Ok(unit) = nal::check(data, length, codec) else {
            self.counts.broken = self.counts.broken.saturating_add(1);
            return Ok(None);
        };
        if unit.sequence {
            packager::codec::check_in_band(data, length, codec).map_err(Error::VideoConfig)?;
        }
        self.counts.video = self.counts.video.saturating_add(1);
        let pts = Timestamp::new(at.ticks.saturating_add(i64::from(composition)), at.scale);
        Ok(Some(Unit::Video(SourceSample {
            dts: at,
            pts,
            sync: unit.random_access,
            data: four_byte_lengths(data, length),
            received: now,
        })))
    }

    /// Takes a data message: its name stands first, or second behind `@setDataFrame`.
    pub fn data(&mut self, timestamp: u32, values: Vec<Value>, raw: Bytes) -> Unit {
        let at = self.at(timestamp);
        self.data_at(at, values, raw)
    }

    fn data_at(&mut self, at: Timestamp, mut values: Vec<Value>, raw: Bytes) -> Unit {
        self.counts.data = self.counts.data.saturating_add(1);
        let wrapped = values.first().and_then(Value::as_str) == Some("@setDataFrame")
            && values.get(1).and_then(Value::as_str).is_some();
        if wrapped {
            values.remove(0);
        }
        let name = match values.first().and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => String::new(),
        };
        let rest = values.iter().skip(usize::from(!name.is_empty()));
        let values = rest.map(Value::to_json).collect();
        Unit::Data(DataMessage { at, name, values, raw })
    }
}

fn video_config(codec: VideoCodec, record: Bytes) -> Result<VideoConfig, packager::codec::Error> {
    match codec {
        VideoCodec::H264 => h264::config(record),
        VideoCodec::H265 => h265::config(record),
    }
}

fn audio_config(record: Bytes) -> Result<AudioConfig, packager::codec::Error> {
    aac::config(record)
}

fn nal_length(codec: VideoCodec, record: &[u8]) -> Result<LengthSize, packager::codec::Error> {
    match codec {
        VideoCodec::H264 => h264::length_size(record),
        VideoCodec::H265 => h265::length_size(record),
    }
}

/// The record that goes with samples after [`four_byte_lengths`].
fn with_four_byte_lengths(codec: VideoCodec, record: &Bytes, length: LengthSize) -> Bytes {
    if length == LengthSize::Four {
        return record.clone();
    }
    // lengthSizeMinusOne: the low two bits of byte 4 (avcC) or 21 (hvcC).
    let at = match codec {
        VideoCodec::H264 => 4,
        VideoCodec::H265 => 21,
    };
    let mut record = BytesMut::from(record.as_ref());
    if let Some(byte) = record.get_mut(at) {
        *byte |= 3;
    }
    record.freeze()
}

/// Rewrites the length before each NAL unit to four bytes; free of cost where it has four already.
fn four_byte_lengths(data: &Bytes, length: LengthSize) -> Bytes {
    if length == LengthSize::Four {
        return data.clone();
    }
    let mut out = BytesMut::with_capacity(data.len().saturating_mul(2));
    for unit in nal::Units::new(data, length).map_while(Result::ok) {
        out.put_u32(u32::try_from(unit.bytes.len()).unwrap_or(u32::MAX));
        out.put_slice(unit.bytes);
    }
    out.freeze()
}
