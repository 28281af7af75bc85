//! How a source's pictures and sound are coded: as they can be packaged, or as they are only decoded.

use bytes::Bytes;
use packager::media::{AudioConfig, VideoCodec, VideoConfig};
use packager::time::FrameRate;

/// How a source's pictures are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureConfig {
    /// H.264 or HEVC, which can be packaged as they are.
    Packaged(VideoConfig),
    /// What is only decoded, for a ladder.
    Foreign(ForeignPictures),
}

impl PictureConfig {
    /// The codec.
    pub fn codec(&self) -> PictureCodec {
        match self {
            Self::Packaged(config) => PictureCodec::Packaged(config.codec),
            Self::Foreign(pictures) => pictures.codec,
        }
    }

    /// As it is written in the status: the RFC 6381 string.
    pub fn codec_string(&self) -> &str {
        match self {
            Self::Packaged(config) => &config.codec_string,
            Self::Foreign(pictures) => pictures.codec.word(),
        }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u16, u16) {
        match self {
            Self::Packaged(config) => (config.width, config.height),
            Self::Foreign(pictures) => (pictures.width, pictures.height),
        }
    }

    /// Frame rate by the bitstream's own timing information, where it has any.
    pub fn rate(&self) -> Option<FrameRate> {
        match self {
            Self::Packaged(config) => config.rate,
            Self::Foreign(_) => None,
        }
    }

    /// What a decoder is opened with: a configuration record, or nothing.
    pub fn record(&self) -> Bytes {
        match self {
            Self::Packaged(config) => config.record.clone(),
            Self::Foreign(_) => Bytes::new(),
        }
    }
}

impl From<VideoConfig> for PictureConfig {
    fn from(config: VideoConfig) -> Self {
        Self::Packaged(config)
    }
}

/// Pictures that say themselves how they are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignPictures {
    /// Their codec.
    pub codec: PictureCodec,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

/// Video codecs that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PictureCodec {
    /// One that can be packaged too.
    Packaged(VideoCodec),
    /// RFC 6386.
    Vp8,
}

impl PictureCodec {
    /// As people write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Packaged(VideoCodec::H264) => "H.264",
            Self::Packaged(VideoCodec::H265) => "H.265",
            Self::Vp8 => "VP8",
        }
    }
}

/// How a source's sound is coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundConfig {
    /// AAC, which can be packaged as it is.
    Aac(AudioConfig),
    /// What is only decoded, for a ladder.
    Foreign(ForeignSound),
}

impl SoundConfig {
    /// The codec.
    pub fn codec(&self) -> AudioCodec {
        match self {
            Self::Aac(_) => AudioCodec::Aac,
            Self::Foreign(sound) => sound.codec,
        }
    }

    /// As it is written in the status: the RFC 6381 string, or what stands for one.
    pub fn codec_string(&self) -> &str {
        match self {
            Self::Aac(config) => &config.codec_string,
            Self::Foreign(sound) => sound.codec.word(),
        }
    }

    /// What a decoder is opened with: an AudioSpecificConfig, or nothing.
    pub fn record(&self) -> Bytes {
        match self {
            Self::Aac(config) => config.record.clone(),
            Self::Foreign(_) => Bytes::new(),
        }
    }
}

/// Sound whose frames say themselves how they are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignSound {
    /// Its codec.
    pub codec: AudioCodec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
}

/// Audio codecs that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// ISO/IEC 14496-3.
    Aac,
    /// MPEG audio, layers I and II.
    Mp2,
    /// MPEG audio, layer III.
    Mp3,
    /// ETSI TS 102 366.
    Ac3,
    /// Its annex E.
    Eac3,
    /// RFC 6716, one packet a sample.
    Opus,
}

impl AudioCodec {
    /// As registered for RFC 6381, as far as it is.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aac => "mp4a.40",
            Self::Mp2 => "mp2",
            Self::Mp3 => "mp3",
            Self::Ac3 => "ac-3",
            Self::Eac3 => "ec-3",
            Self::Opus => "opus",
        }
    }
}
