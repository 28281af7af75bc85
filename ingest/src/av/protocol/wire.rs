//! How messages look on the socket.
//!
//! Every frame is a four-byte length, a one-byte kind and a body, numbers in network order. Rare
//! messages have a JSON body, samples a fixed binary head and then their bytes as they are, so that
//! payload is written straight from where it lies (`writev`) and sliced out of what was read.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use packager::media::VideoCodec;

use super::announced::{Announced, Announcement};
use super::{CodedSample, FromWorker, Start, ToWorker, VERSION};
use crate::source::{AudioCodec, PictureCodec};

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
    pub(super) const KEY_FRAMES: u8 = 10;
    pub(super) const SPLICES: u8 = 11;
    pub(super) const LOCATE: u8 = 12;
    pub(super) const FILM_WORK: u8 = 13;
    pub(super) const OPUS_WANTED: u8 = 14;
    pub(super) const STARTED: u8 = 65;
    pub(super) const SAMPLE: u8 = 66;
    pub(super) const STATS: u8 = 67;
    pub(super) const LOG: u8 = 68;
    pub(super) const FAILED: u8 = 69;
    pub(super) const RUNG: u8 = 70;
    pub(super) const LOCATED: u8 = 71;
    pub(super) const FILM: u8 = 72;
    pub(super) const OPUS: u8 = 73;
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
            Self::AudioConfig { codec, record } => {
                Wire::new(kind::AUDIO_CONFIG, &[audio_codec_byte(*codec)], record.clone())
            }
            Self::Video(sample) => coded(kind::VIDEO, sample),
            Self::Audio(sample) => coded(kind::AUDIO, sample),
            Self::SourceLost => Wire::new(kind::SOURCE_LOST, &[], Bytes::new()),
            Self::Slate { image } => Wire::new(kind::SLATE, &[], image.clone()),
            Self::Rungs { on } => Wire::new(kind::RUNGS, &on.to_be_bytes(), Bytes::new()),
            Self::KeyFrames { rungs, at } => {
                let mut fields = BytesMut::with_capacity(16);
                fields.put_u64(*rungs);
                fields.put_i64(*at);
                Wire::new(kind::KEY_FRAMES, &fields, Bytes::new())
            }
            Self::Splices(splices) => json(kind::SPLICES, splices),
            Self::Locate { id, at } => {
                let mut fields = BytesMut::with_capacity(16);
                fields.put_u64(*id);
                fields.put_i64(*at);
                Wire::new(kind::LOCATE, &fields, Bytes::new())
            }
            Self::Opus { on } => Wire::new(kind::OPUS_WANTED, &[u8::from(*on)], Bytes::new()),
            Self::Film(work) => json(kind::FILM_WORK, work),
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
            kind::AUDIO_CONFIG => {
                let codec =
                    audio_codec_of(body.u8()?).ok_or_else(|| body.value("unknown codec"))?;
                Self::AudioConfig { codec, record: body.rest }
            }
            kind::VIDEO => Self::Video(coded_of(body)?),
            kind::AUDIO => Self::Audio(coded_of(body)?),
            kind::SOURCE_LOST => Self::SourceLost,
            kind::SLATE => Self::Slate { image: body.rest },
            kind::RUNGS => Self::Rungs { on: body.u64()? },
            kind::KEY_FRAMES => Self::KeyFrames { rungs: body.u64()?, at: body.i64()? },
            kind::SPLICES => Self::Splices(body.json()?),
            kind::LOCATE => Self::Locate { id: body.u64()?, at: body.i64()? },
            kind::OPUS_WANTED => Self::Opus { on: body.u8()? != 0 },
            kind::FILM_WORK => Self::Film(body.json()?),
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
            Self::Located { id, at } => {
                let mut fields = BytesMut::with_capacity(17);
                fields.put_u64(*id);
                fields.put_u8(u8::from(at.is_some()));
                fields.put_i64(at.unwrap_or_default());
                Wire::new(kind::LOCATED, &fields, Bytes::new())
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
            Self::Opus { at, data } => Wire::new(kind::OPUS, &at.to_be_bytes(), data.clone()),
            Self::Film(facts) => json(kind::FILM, facts),
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
            kind::LOCATED => {
                let (id, known) = (body.u64()?, body.u8()? != 0);
                let at = body.i64()?;
                Self::Located { id, at: known.then_some(at) }
            }
            kind::SAMPLE => {
                let rendition = body.u8()?;
                let sync = body.u8()? != 0;
                let (dts, pts, duration) = (body.i64()?, body.i64()?, body.u32()?);
                let (captured, encoded) = (body.i64()?, body.i64()?);
                let sample = packager::media::Sample { dts, pts, duration, sync, data: body.rest };
                Self::Sample { rendition, sample, captured, encoded }
            }
            kind::OPUS => Self::Opus { at: body.i64()?, data: body.rest },
            kind::FILM => Self::Film(body.json()?),
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

fn codec_byte(codec: PictureCodec) -> u8 {
    match codec {
        PictureCodec::Packaged(VideoCodec::H264) => 1,
        PictureCodec::Packaged(VideoCodec::H265) => 2,
        PictureCodec::Vp8 => 3,
    }
}

fn codec_of(byte: u8) -> Option<PictureCodec> {
    match byte {
        1 => Some(PictureCodec::Packaged(VideoCodec::H264)),
        2 => Some(PictureCodec::Packaged(VideoCodec::H265)),
        3 => Some(PictureCodec::Vp8),
        _ => None,
    }
}

/// Audio codecs in the order of their bytes.
const AUDIO_CODECS: [AudioCodec; 6] = [
    AudioCodec::Aac,
    AudioCodec::Mp2,
    AudioCodec::Mp3,
    AudioCodec::Ac3,
    AudioCodec::Eac3,
    AudioCodec::Opus,
];

fn audio_codec_byte(codec: AudioCodec) -> u8 {
    let place = AUDIO_CODECS.iter().position(|one| *one == codec);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn audio_codec_of(byte: u8) -> Option<AudioCodec> {
    AUDIO_CODECS.get(usize::from(byte)).copied()
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
