//! The language between the server and its worker processes, over a Unix socket pair.
//!
//! Every frame is a four-byte length, a one-byte kind and a body, numbers in network order. Rare
//! messages have a JSON body, samples a fixed binary head and then their bytes as they are, so that
//! payload is written straight from where it lies (`writev`) and sliced out of what was read.
//! The first frame to a worker is [`Start`] with the protocol's version; guardian and worker are
//! the same binary, so a mismatch means a half-upgraded machine and ends the worker.
//!
//! Reading and writing is the caller's: the worker does it with threads, the supervisor with tokio.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use packager::grid::Grid;
use packager::media::{AudioConfig, Config, Name, Rendition, Track, VideoCodec, VideoConfig};
use packager::time::{FrameRate, Timescale};

use crate::av::ladder::Rung;

/// Raised whenever a message changes its form.
pub const VERSION: u32 = 2;
/// Longest body: an uncompressed-looking 4K intra picture is far smaller; more is a broken peer.
pub const MAX_BODY: usize = 32 << 20;
/// Bytes before a body: its length and kind.
pub const HEAD: usize = 5;

/// Why bytes from the other side are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Body longer than [`MAX_BODY`].
    #[error("a message of {length} bytes is longer than any can be")]
    TooLong {
        /// Announced length.
        length: usize,
    },
    /// Unknown kind of message.
    #[error("unknown message kind {kind}")]
    Kind {
        /// The kind byte.
        kind: u8,
    },
    /// The body ends before the message does.
    #[error("message kind {kind} is cut short after {length} bytes")]
    Short {
        /// The kind byte.
        kind: u8,
        /// Length of the body.
        length: usize,
    },
    /// A value that no sender of this version writes.
    #[error("message kind {kind}: {reason}")]
    Value {
        /// The kind byte.
        kind: u8,
        /// What is wrong.
        reason: String,
    },
}

/// How the worker finds UTC: the server reads the wall clock once and both carry it on by the
/// machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClockBase {
    /// Nanoseconds since the Unix epoch minus `CLOCK_MONOTONIC`'s nanoseconds.
    pub utc_minus_monotonic_nanos: i64,
}

impl ClockBase {
    /// UTC now, in nanoseconds since the Unix epoch.
    pub fn utc_nanos(self) -> i64 {
        monotonic_nanos().saturating_add(self.utc_minus_monotonic_nanos)
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the one clock that both processes share.
pub fn monotonic_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Turn a source into renditions.
    Ladder {
        /// The channel's name: its slate unless an image comes.
        name: String,
        /// The video renditions; audio comes after them.
        rungs: Vec<Rung>,
        /// Frame rate, audio rate and boundaries.
        grid: Grid,
        /// First segment number that may be used.
        first_k_min: u64,
        /// Whether this worker goes on where another has stopped: it then begins with the first part
        /// that it can make on time, and not with segments from before its first picture.
        resume: bool,
    },
    /// Draw and encode the demo's picture.
    Broadcast(Scene),
}

/// What the demo's broadcaster makes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scene {
    /// Written into the picture.
    pub title: String,
    /// Width in pixels, even.
    pub width: u16,
    /// Height in pixels, even.
    pub height: u16,
    /// Frames per second.
    pub rate: FrameRate,
    /// Bits per second of the video.
    pub bitrate: u32,
}

/// The first message to a worker.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub version: u32,
    /// Where UTC comes from.
    pub clock: ClockBase,
    /// What to do.
    pub role: Role,
}

/// A message to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Begin; always the first.
    Start(Start),
    /// The video decoder's configuration.
    VideoConfig {
        /// Which codec.
        codec: VideoCodec,
        /// Its configuration record.
        record: Bytes,
    },
    /// The audio decoder's configuration (AudioSpecificConfig).
    AudioConfig {
        /// The configuration.
        record: Bytes,
    },
    /// A coded picture of the source.
    Video(CodedSample),
    /// A coded audio frame of the source.
    Audio(CodedSample),
    /// The publisher is gone; another may come.
    SourceLost,
    /// The image of the slate, PNG or JPEG, which is shown instead of the channel's name.
    Slate {
        /// The file.
        image: Bytes,
    },
    /// Which rungs are made, from the next segment on that none of them has begun: bit n is rung n.
    /// All are until this says otherwise. The sound is always made.
    Rungs {
        /// The set.
        on: u64,
    },
    /// Finish what was begun and end.
    Stop,
}

/// A source's sample on its way to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedSample {
    /// Decoding time in nanoseconds of the source's clock.
    pub dts: i64,
    /// Presentation time in nanoseconds of the source's clock.
    pub pts: i64,
    /// Whether decoding can start here.
    pub sync: bool,
    /// `CLOCK_MONOTONIC` nanoseconds at which it was received.
    pub received: i64,
    /// Coded bytes.
    pub data: Bytes,
}

/// A message from a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The renditions and where they begin; before any sample.
    Started {
        /// In the order samples refer to them.
        renditions: Vec<Rendition>,
        /// Number of the first segment.
        first_k: u64,
        /// Video ticks of the first frame: the start of that segment, or of a later part of it where
        /// the worker goes on for another.
        start: i64,
    },
    /// A rung is made no more, or again.
    Rung {
        /// Index into the renditions.
        rendition: u8,
        /// Whether it is made from here on.
        on: bool,
        /// Video ticks of the segment boundary from which this holds. Made again, it begins there
        /// with an IDR and the same init segment.
        at: i64,
    },
    /// A coded sample.
    Sample {
        /// Index into the renditions.
        rendition: u8,
        /// Times in the rendition's timescale.
        sample: packager::media::Sample,
        /// `CLOCK_MONOTONIC` nanoseconds at which its source picture was received (or drawn); for a
        /// repeated picture, at which it was repeated.
        captured: i64,
        /// `CLOCK_MONOTONIC` nanoseconds at which it left the encoder.
        encoded: i64,
    },
    /// How it is going; about once a second.
    Stats(Stats),
    /// Something worth a line in the log.
    Log {
        /// Whether it needs a look.
        warning: bool,
        /// One line.
        text: String,
    },
    /// The worker can't go on; it ends after this.
    Failed {
        /// Why, for the operator and the publisher.
        reason: String,
    },
}

/// How a worker is doing. Counters run from the worker's start.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Stats {
    /// How far the newest encoded picture lies behind its time, in milliseconds.
    pub lag_ms: u32,
    /// Encoded media per second of real time since the last report, in percent; 100 is real time.
    pub speed_percent: u32,
    /// Longest wait for a late picture that is allowed now, in milliseconds.
    pub buffer_ms: u32,
    /// Received → decoded, mean since the last report, in microseconds.
    pub ingest_us: u32,
    /// Due → encoded, mean over rungs and pictures since the last report, in microseconds.
    pub encode_us: u32,
    /// Pictures decoded.
    pub decoded: u64,
    /// Output pictures that repeat the one before because none was there.
    pub repeated: u64,
    /// Output pictures that show the slate, because no other had come for seconds.
    pub slated: u64,
    /// Source pictures not shown: late, or two for one place.
    pub dropped: u64,
    /// Pictures that a rung could not take because its encoder was too slow; it froze instead.
    pub skipped: u64,
    /// Jumps of the source's clock that were closed.
    pub jumps: u64,
    /// Times the source was placed anew because it stayed late, or further ahead than it should be.
    pub replaced: u64,
    /// How many of these took it back: it came with a backlog, or had caught up.
    pub taken_back: u64,
    /// Samples the decoder refused or pictures it found broken.
    pub damaged: u64,
    /// Audio samples (48 kHz) that were silence because none were there.
    pub silenced: u64,
    /// CPU time the worker has taken, all threads together, in milliseconds.
    pub cpu_ms: u64,
    /// By rung, in the ladder's order.
    pub rungs: Vec<RungStats>,
}

/// How a rung has been doing since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RungStats {
    /// Whether it is made.
    pub on: bool,
    /// How far its newest coded picture lies behind the one that should be coded by now, in
    /// milliseconds; a few for a rung that keeps up.
    pub lag_ms: u32,
    /// Percent of its pictures that it could not take, and showed the one before again.
    pub frozen_percent: u32,
}

mod kind {
    pub(super) const START: u8 = 1;
    pub(super) const VIDEO_CONFIG: u8 = 2;
    pub(super) const AUDIO_CONFIG: u8 = 3;
    pub(super) const VIDEO: u8 = 4;
    pub(super) const AUDIO: u8 = 5;
    pub(super) const SOURCE_LOST: u8 = 6;
    pub(super) const STOP: u8 = 7;
    pub(super) const RUNGS: u8 = 8;
    pub(super) const SLATE: u8 = 9;
    pub(super) const STARTED: u8 = 65;
    pub(super) const SAMPLE: u8 = 66;
    pub(super) const STATS: u8 = 67;
    pub(super) const LOG: u8 = 68;
    pub(super) const FAILED: u8 = 69;
    pub(super) const RUNG: u8 = 70;
}

/// A message ready to be written: its head (length, kind, fields) and its payload, apart so that
/// the payload is not copied.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Length, kind and fields.
    pub head: Bytes,
    /// Coded bytes; often empty.
    pub payload: Bytes,
}

impl Wire {
    fn new(kind: u8, fields: &[u8], payload: Bytes) -> Self {
        let mut head = BytesMut::with_capacity(HEAD + fields.len());
        head.put_u32((fields.len() + payload.len()).min(u32::MAX as usize) as u32);
        head.put_u8(kind);
        head.put_slice(fields);
        Self { head: head.freeze(), payload }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Never: a message has a head.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Length of the body and kind of a message, from its first [`HEAD`] bytes.
///
/// # Errors
/// If it is longer than any message can be.
pub fn read_head(head: [u8; HEAD]) -> Result<(usize, u8), Error> {
    let [a, b, c, d, kind] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY {
        return Err(Error::TooLong { length });
    }
    Ok((length, kind))
}

/// Reads fields off the front of a body.
struct Body {
    kind: u8,
    length: usize,
    rest: Bytes,
}

impl Body {
    fn new(kind: u8, rest: Bytes) -> Self {
        Self { kind, length: rest.len(), rest }
    }

    fn short(&self) -> Error {
        Error::Short { kind: self.kind, length: self.length }
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.rest.try_get_u8().map_err(|_| self.short())
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.rest.try_get_u32().map_err(|_| self.short())
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.rest.try_get_u64().map_err(|_| self.short())
    }

    fn i64(&mut self) -> Result<i64, Error> {
        self.rest.try_get_i64().map_err(|_| self.short())
    }

    fn value(&self, reason: impl std::fmt::Display) -> Error {
        Error::Value { kind: self.kind, reason: reason.to_string() }
    }

    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.rest).map_err(|error| self.value(error))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }
}

impl ToWorker {
    /// As it goes over the socket.
    pub fn to_wire(&self) -> Wire {
        match self {
            Self::Start(start) => json(kind::START, start),
            Self::VideoConfig { codec, record } => {
                Wire::new(kind::VIDEO_CONFIG, &[codec_byte(*codec)], record.clone())
            }
            Self::AudioConfig { record } => Wire::new(kind::AUDIO_CONFIG, &[], record.clone()),
            Self::Video(sample) => coded(kind::VIDEO, sample),
            Self::Audio(sample) => coded(kind::AUDIO, sample),
            Self::SourceLost => Wire::new(kind::SOURCE_LOST, &[], Bytes::new()),
            Self::Slate { image } => Wire::new(kind::SLATE, &[], image.clone()),
            Self::Rungs { on } => Wire::new(kind::RUNGS, &on.to_be_bytes(), Bytes::new()),
            Self::Stop => Wire::new(kind::STOP, &[], Bytes::new()),
        }
    }

    /// Reads a body of the given kind.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_body(kind: u8, body: Bytes) -> Result<Self, Error> {
        let mut body = Body::new(kind, body);
        Ok(match kind {
            kind::START => {
                let start: Start = body.json()?;
                if start.version != VERSION {
                    return Err(
                        body.value(format_args!("version {} and not {VERSION}", start.version))
                    );
                }
                Self::Start(start)
            }
            kind::VIDEO_CONFIG => {
                let codec = codec_of(body.u8()?).ok_or_else(|| body.value("unknown codec"))?;
                Self::VideoConfig { codec, record: body.rest }
            }
            kind::AUDIO_CONFIG => Self::AudioConfig { record: body.rest },
            kind::VIDEO => Self::Video(coded_of(body)?),
            kind::AUDIO => Self::Audio(coded_of(body)?),
            kind::SOURCE_LOST => Self::SourceLost,
            kind::SLATE => Self::Slate { image: body.rest },
            kind::RUNGS => Self::Rungs { on: body.u64()? },
            kind::STOP => Self::Stop,
            kind => return Err(Error::Kind { kind }),
        })
    }
}

impl FromWorker {
    /// As it goes over the socket.
    pub fn to_wire(&self) -> Wire {
        match self {
            Self::Started { renditions, first_k, start } => json(
                kind::STARTED,
                &Announcement {
                    renditions: renditions.iter().map(Announced::of).collect(),
                    first_k: *first_k,
                    start: *start,
                },
            ),
            Self::Rung { rendition, on, at } => {
                let mut fields = BytesMut::with_capacity(10);
                fields.put_u8(*rendition);
                fields.put_u8(u8::from(*on));
                fields.put_i64(*at);
                Wire::new(kind::RUNG, &fields, Bytes::new())
            }
            Self::Sample { rendition, sample, captured, encoded } => {
                let mut fields = BytesMut::with_capacity(38);
                fields.put_u8(*rendition);
                fields.put_u8(u8::from(sample.sync));
                fields.put_i64(sample.dts);
                fields.put_i64(sample.pts);
                fields.put_u32(sample.duration);
                fields.put_i64(*captured);
                fields.put_i64(*encoded);
                Wire::new(kind::SAMPLE, &fields, sample.data.clone())
            }
            Self::Stats(stats) => json(kind::STATS, stats),
            Self::Log { warning, text } => {
                let mut fields = vec![u8::from(*warning)];
                fields.extend_from_slice(text.as_bytes());
                Wire::new(kind::LOG, &fields, Bytes::new())
            }
            Self::Failed { reason } => Wire::new(kind::FAILED, reason.as_bytes(), Bytes::new()),
        }
    }

    /// Reads a body of the given kind.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_body(kind: u8, body: Bytes) -> Result<Self, Error> {
        let mut body = Body::new(kind, body);
        Ok(match kind {
            kind::STARTED => {
                let Announcement { renditions, first_k, start } = body.json()?;
                let renditions: Result<_, String> =
                    renditions.into_iter().map(Announced::rendition).collect();
                let renditions = renditions.map_err(|reason| body.value(reason))?;
                Self::Started { renditions, first_k, start }
            }
            kind::RUNG => {
                let (rendition, on) = (body.u8()?, body.u8()? != 0);
                Self::Rung { rendition, on, at: body.i64()? }
            }
            kind::SAMPLE => {
                let rendition = body.u8()?;
                let sync = body.u8()? != 0;
                let (dts, pts, duration) = (body.i64()?, body.i64()?, body.u32()?);
                let (captured, encoded) = (body.i64()?, body.i64()?);
                let sample = packager::media::Sample { dts, pts, duration, sync, data: body.rest };
                Self::Sample { rendition, sample, captured, encoded }
            }
            kind::STATS => Self::Stats(body.json()?),
            kind::LOG => Self::Log { warning: body.u8()? != 0, text: body.text() },
            kind::FAILED => Self::Failed { reason: body.text() },
            kind => return Err(Error::Kind { kind }),
        })
    }
}

fn json(kind: u8, value: &impl serde::Serialize) -> Wire {
    // These types hold numbers, texts and lists only, which always become JSON.
    let text = serde_json::to_vec(value).unwrap_or_default();
    Wire::new(kind, &text, Bytes::new())
}

fn codec_byte(codec: VideoCodec) -> u8 {
    match codec {
        VideoCodec::H264 => 1,
        VideoCodec::H265 => 2,
    }
}

fn codec_of(byte: u8) -> Option<VideoCodec> {
    match byte {
        1 => Some(VideoCodec::H264),
        2 => Some(VideoCodec::H265),
        _ => None,
    }
}

fn coded(kind: u8, sample: &CodedSample) -> Wire {
    let mut fields = BytesMut::with_capacity(25);
    fields.put_u8(u8::from(sample.sync));
    fields.put_i64(sample.dts);
    fields.put_i64(sample.pts);
    fields.put_i64(sample.received);
    Wire::new(kind, &fields, sample.data.clone())
}

fn coded_of(mut body: Body) -> Result<CodedSample, Error> {
    let sync = body.u8()? != 0;
    let (dts, pts, received) = (body.i64()?, body.i64()?, body.i64()?);
    Ok(CodedSample { dts, pts, sync, received, data: body.rest })
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Announcement {
    renditions: Vec<Announced>,
    first_k: u64,
    start: i64,
}

/// A [`Rendition`] in JSON.
#[derive(serde::Serialize, serde::Deserialize)]
struct Announced {
    name: String,
    timescale: Timescale,
    rate: Option<FrameRate>,
    average_bitrate: u32,
    peak_bitrate: u32,
    codec_string: String,
    record: Vec<u8>,
    track: AnnouncedTrack,
}

#[derive(serde::Serialize, serde::Deserialize)]
enum AnnouncedTrack {
    Video { codec: VideoCodec, width: u16, height: u16, rate: Option<FrameRate> },
    Audio { sample_rate: u32, channels: u8, frame_samples: u32 },
}

impl Announced {
    fn of(rendition: &Rendition) -> Self {
        let (record, track) = match &rendition.track.config {
            Config::Video(v) => (
                &v.record,
                AnnouncedTrack::Video {
                    codec: v.codec,
                    width: v.width,
                    height: v.height,
                    rate: v.rate,
                },
            ),
            Config::Audio(a) => (
                &a.record,
                AnnouncedTrack::Audio {
                    sample_rate: a.sample_rate,
                    channels: a.channels,
                    frame_samples: a.frame_samples,
                },
            ),
        };
        Self {
            name: rendition.name.to_string(),
            timescale: rendition.track.timescale,
            rate: rendition.rate,
            average_bitrate: rendition.average_bitrate,
            peak_bitrate: rendition.peak_bitrate,
            codec_string: rendition.track.config.codec_string().to_owned(),
            record: record.to_vec(),
            track,
        }
    }

    fn rendition(self) -> Result<Rendition, String> {
        let (record, codec_string) = (Bytes::from(self.record), self.codec_string);
        let config = match self.track {
            AnnouncedTrack::Video { codec, width, height, rate } => {
                Config::Video(VideoConfig { codec, record, codec_string, width, height, rate })
            }
            AnnouncedTrack::Audio { sample_rate, channels, frame_samples } => {
                Config::Audio(AudioConfig {
                    record,
                    codec_string,
                    sample_rate,
                    channels,
                    frame_samples,
                })
            }
        };
        Ok(Rendition {
            name: Name::parse(&self.name).map_err(|error| error.to_string())?,
            track: Track { timescale: self.timescale, config },
            rate: self.rate,
            average_bitrate: self.average_bitrate,
            peak_bitrate: self.peak_bitrate,
        })
    }
}

#[cfg(test)]
mod tests;
