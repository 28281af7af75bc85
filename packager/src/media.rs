//! What is packaged: tracks, renditions and their coded samples, and the names they go by.
//!
//! No bitstream is parsed here: [`crate::codec`] reads configuration records and fills these in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::time::{FrameRate, Timescale};

mod name;
mod still;
pub use name::{InvalidName, Name};
pub use still::{STILLS, still_bits, still_size, with_stills};

/// One coded access unit of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Decoding time, in ticks of the track's timescale since the Unix epoch.
    pub dts: i64,
    /// Presentation time, in the same ticks. Equal to `dts` where there are no B-frames.
    pub pts: i64,
    /// Length in ticks: the next sample's `dts` minus this one's.
    pub duration: u32,
    /// Whether decoding can start here (an IDR picture; every audio frame).
    pub sync: bool,
    /// The coded bytes: length-prefixed NAL units, or one raw AAC frame.
    pub data: Bytes,
}

/// A coded track: what a player must know to decode its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What a tick of the samples' times is worth.
    pub timescale: Timescale,
    /// Codec configuration.
    pub config: Config,
}

/// The codec configuration of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// A picture track.
    Video(VideoConfig),
    /// A sound track.
    Audio(AudioConfig),
}

impl Config {
    /// RFC 6381 codec string, as written into manifests.
    pub fn codec_string(&self) -> &str {
        match self {
            Self::Video(video) => &video.codec_string,
            Self::Audio(audio) => &audio.codec_string,
        }
    }

    /// Whether this is a picture track.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::Video(_))
    }
}

/// Video codecs that are packaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// ISO/IEC 14496-10.
    H264,
    /// ISO/IEC 23008-2.
    H265,
}

/// A video decoder's configuration, read from its record by [`crate::codec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// Which codec.
    pub codec: VideoCodec,
    /// AVCDecoderConfigurationRecord or HEVCDecoderConfigurationRecord (ISO/IEC 14496-15), whole.
    pub record: Bytes,
    /// RFC 6381 string, such as `avc1.640020`.
    pub codec_string: String,
    /// Width of the decoded picture after cropping, in pixels.
    pub width: u16,
    /// Height of the decoded picture after cropping, in pixels.
    pub height: u16,
    /// Frame rate by the bitstream's own timing information, where it has any.
    pub rate: Option<FrameRate>,
}

/// An AAC decoder's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1), whole.
    pub record: Bytes,
    /// RFC 6381 string, such as `mp4a.40.2`.
    pub codec_string: String,
    /// Samples per second of the decoded sound.
    pub sample_rate: u32,
    /// Channels of the decoded sound.
    pub channels: u8,
    /// Samples in one coded frame: 1024, or 960; doubled by SBR.
    pub frame_samples: u32,
}

/// One encoded output of a channel, as players can select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// The name in URLs: `720p`, `audio`.
    pub name: Name,
    /// What the samples are.
    pub track: Track,
    /// Frames per second; `None` for audio.
    pub rate: Option<FrameRate>,
    /// Bits per second the encoder aims at over a long time.
    pub average_bitrate: u32,
    /// Bits per second no segment exceeds by more than a quarter.
    pub peak_bitrate: u32,
}

impl Rendition {
    /// Video configuration, if this is a picture rendition.
    pub fn video(&self) -> Option<&VideoConfig> {
        match &self.track.config {
            Config::Video(video) => Some(video),
            Config::Audio(_) => None,
        }
    }

    /// Audio configuration, if this is a sound rendition.
    pub fn audio(&self) -> Option<&AudioConfig> {
        match &self.track.config {
            Config::Audio(audio) => Some(audio),
            Config::Video(_) => None,
        }
    }
}

/// The id of a run: one uninterrupted session of encoding. Sorts by time and stands in every media
/// path, so that no name is ever used twice for other bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Arc<str>);

impl RunId {
    /// The id of a run that began `millis` after the Unix epoch: 11 lower-case hex digits, which
    /// sort by time until the year 2527.
    pub fn from_millis(millis: u64) -> Self {
        Self(format!("{millis:011x}").into())
    }

    /// Reads an id back from a path segment or a journal; `None` if it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let form = text.len() == 11 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        form.then(|| Self(text.into()))
    }

    /// As written in paths.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the run began, in milliseconds after the Unix epoch.
    pub fn millis(&self) -> u64 {
        u64::from_str_radix(&self.0, 16).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.0)
    }
}
