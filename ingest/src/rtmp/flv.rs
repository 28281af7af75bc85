//! The bodies of RTMP's audio and video messages: FLV tags (FLV 10.1 annex E.4) and Enhanced RTMP v2.
//!
//! [`audio`] and [`video`] read a body's header and say what the rest is. H.264, H.265 and AAC are
//! known, by their old numbers and by FourCC; everything else is an error that names what it is, so
//! that the broadcaster can be told. ModEx prefixes are skipped, as the specification asks of those
//! who do not know them. Multitrack is refused. The bitstreams are [`packager::codec`]'s business.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fmt;

use bytes::{Buf, Bytes};
use packager::media::VideoCodec;

/// Sizes a ModEx chain may have. The specification defines one modifier; a longer chain is an attack.
const MAX_MODIFIERS: usize = 8;

/// What an audio message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// AudioSpecificConfig.
    Config(Bytes),
    /// One raw AAC frame.
    Frame(Bytes),
    /// Nothing to decode: an empty message, an end of sequence, a channel layout.
    Nothing,
}

/// What a video message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Video {
    /// The decoder configuration record.
    Config {
        /// Which codec.
        codec: VideoCodec,
        /// The record.
        record: Bytes,
    },
    /// One coded picture.
    Frame {
        /// Which codec.
        codec: VideoCodec,
        /// Whether the sender calls it a key frame.
        key: bool,
        /// Presentation minus decoding time in milliseconds.
        composition: i32,
        /// Length-prefixed NAL units.
        data: Bytes,
    },
    /// AMF values about the picture, such as colour information.
    Metadata(Bytes),
    /// Nothing to decode: an empty message, an end of sequence, a seek command.
    Nothing,
}

/// A codec's name on the wire: four characters, or an old number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecId {
    /// Enhanced RTMP.
    FourCc([u8; 4]),
    /// CodecID of a video tag.
    Video(u8),
    /// SoundFormat of an audio tag.
    Audio(u8),
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FourCc(cc) => write!(f, "\"{}\"", cc.escape_ascii()),
            Self::Video(id) => match *id {
                2 => f.write_str("Sorenson H.263"),
                3 | 6 => f.write_str("Screen video"),
                4 | 5 => f.write_str("VP6"),
                id => write!(f, "number {id}"),
            },
            Self::Audio(id) => match *id {
                0 | 3 => f.write_str("PCM"),
                1 => f.write_str("ADPCM"),
                2 | 14 => f.write_str("MP3"),
                4..=6 => f.write_str("Nellymoser"),
                7 | 8 => f.write_str("G.711"),
                11 => f.write_str("Speex"),
                id => write!(f, "number {id}"),
            },
        }
    }
}

/// Why a media message can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A video codec we don't take.
    #[error("video codec {0} is not supported; send H.264 or H.265")]
    VideoCodec(CodecId),
    /// An audio codec we don't take.
    #[error("audio codec {0} is not supported; send AAC")]
    AudioCodec(CodecId),
    /// Several tracks in one message.
    #[error("Enhanced RTMP multitrack is not supported; send one video and one audio track")]
    Multitrack,
    /// The message ends within its header.
    #[error("incomplete media header at byte {offset}")]
    Incomplete {
        /// Bytes that are there.
        offset: usize,
    },
    /// A header field with a value nobody defined.
    #[error("invalid {field} {value} in a media header")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u8,
    },
}

/// Reads the body of an audio message.
///
/// # Errors
/// Not AAC, or not an audio tag at all.
pub fn audio(body: Bytes) -> Result<Audio, Error> {
    let mut fields = Fields { length: body.len(), rest: body };
    if fields.rest.is_empty() {
        return Ok(Audio::Nothing);
    }
    let first = fields.byte()?;
    match first >> 4 {
        10 => match fields.byte()? {
            0 => Ok(Audio::Config(fields.rest)),
            1 => Ok(fields.audio_frame()),
            value => Err(Error::Invalid { field: "AAC packet type", value }),
        },
        9 => enhanced_audio(first & 0x0F, fields),
        format => Err(Error::AudioCodec(CodecId::Audio(format))),
    }
}

fn enhanced_audio(mut packet: u8, mut fields: Fields) -> Result<Audio, Error> {
    packet = fields.modifiers(packet)?;
    if packet == 5 {
        return Err(Error::Multitrack);
    }
    match &fields.four_cc()? {
        b"mp4a" => {}
        other => return Err(Error::AudioCodec(CodecId::FourCc(*other))),
    }
    match packet {
        0 => Ok(Audio::Config(fields.rest)),
        1 => Ok(fields.audio_frame()),
        2 | 4 => Ok(Audio::Nothing),
        value => Err(Error::Invalid { field: "audio packet type", value }),
    }
}

/// Reads the body of a video message.
///
/// # Errors
/// Neither H.264 nor H.265, or not a video tag at all.
pub fn video(body: Bytes) -> Result<Video, Error> {
    /// Frame type of seek commands.
    const COMMAND: u8 = 5;
    let mut fields = Fields { length: body.len(), rest: body };
    if fields.rest.is_empty() {
        return Ok(Video::Nothing);
    }
    let first = fields.byte()?;
    let frame_type = (first >> 4) & 7;
    if first & 0x80 != 0 {
        return enhanced_video(frame_type, first & 0x0F, fields);
    }
    if frame_type == COMMAND {
        return Ok(Video::Nothing);
    }
    let codec = match first & 0x0F {
        7 => VideoCodec::H264,
        // Not in the specification, but what many H.265 encoders sent before Enhanced RTMP.
        12 => VideoCodec::H265,
        id => return Err(Error::VideoCodec(CodecId::Video(id))),
    };
    let packet = fields.byte()?;
    let composition = fields.signed24()?;
    match packet {
        0 => Ok(Video::Config { codec, record: fields.rest }),
        1 => Ok(fields.video_frame(codec, frame_type == 1, composition)),
        2 => Ok(Video::Nothing),
        value => Err(Error::Invalid { field: "AVC packet type", value }),
    }
}

fn enhanced_video(frame_type: u8, mut packet: u8, mut fields: Fields) -> Result<Video, Error> {
    packet = fields.modifiers(packet)?;
    // A command has no codec; metadata may bear the same frame type.
    if frame_type == 5 && packet != 4 {
        return Ok(Video::Nothing);
    }
    if packet == 6 {
        return Err(Error::Multitrack);
    }
    let codec = match &fields.four_cc()? {
        b"avc1" => VideoCodec::H264,
        b"hvc1" => VideoCodec::H265,
        other => return Err(Error::VideoCodec(CodecId::FourCc(*other))),
    };
    let key = frame_type == 1;
    match packet {
        0 => Ok(Video::Config { codec, record: fields.rest }),
        1 => {
            let composition = fields.signed24()?;
            Ok(fields.video_frame(codec, key, composition))
        }
        2 => Ok(Video::Nothing),
        3 => Ok(fields.video_frame(codec, key, 0)),
        4 => Ok(Video::Metadata(fields.rest)),
        value => Err(Error::Invalid { field: "video packet type", value }),
    }
}

/// Takes header fields off the front of a body.
struct Fields {
    length: usize,
    rest: Bytes,
}

impl Fields {
    fn incomplete(&self) -> Error {
        Error::Incomplete { offset: self.length }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.rest.try_get_u8().map_err(|_| self.incomplete())
    }

    fn four_cc(&mut self) -> Result<[u8; 4], Error> {
        self.rest.try_get_u32().map(u32::to_be_bytes).map_err(|_| self.incomplete())
    }

    /// SI24.
    fn signed24(&mut self) -> Result<i32, Error> {
        let bytes = [self.byte()?, self.byte()?, self.byte()?, 0];
        Ok(i32::from_be_bytes(bytes) >> 8)
    }

    /// Skips ModEx prefixes and returns the packet type after them.
    fn modifiers(&mut self, mut packet: u8) -> Result<u8, Error> {
        const MOD_EX: u8 = 7;
        for _ in 0..MAX_MODIFIERS {
            if packet != MOD_EX {
                return Ok(packet);
            }
            let mut size = usize::from(self.byte()?).saturating_add(1);
            if size == 256 {
                let long = self.rest.try_get_u16().map_err(|_| self.incomplete())?;
                size = usize::from(long).saturating_add(1);
            }
            if size > self.rest.len() {
                return Err(self.incomplete());
            }
            self.rest.advance(size);
            packet = self.byte()? & 0x0F;
        }
        Err(Error::Invalid { field: "ModEx chain at packet type", value: packet })
    }

    fn audio_frame(self) -> Audio {
        match self.rest.is_empty() {
            true => Audio::Nothing,
            false => Audio::Frame(self.rest),
        }
    }

    fn video_frame(self, codec: VideoCodec, key: bool, composition: i32) -> Video {
        match self.rest.is_empty() {
            true => Video::Nothing,
            false => Video::Frame { codec, key, composition, data: self.rest },
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
