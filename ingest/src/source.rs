//! What a source is made of, whichever protocol it came by.

use std::time::Instant;

use bytes::Bytes;
use packager::media::{AudioConfig, VideoConfig};
use packager::time::Timestamp;

/// One piece of a source, in the order it was received.
#[derive(Clone, Debug)]
pub enum Unit {
    /// The video decoder's configuration; the samples after it need it. Sent again when it changes.
    VideoConfig(VideoConfig),
    /// The audio decoder's configuration; as above.
    AudioConfig(AudioConfig),
    /// A coded picture: length-prefixed NAL units (four-byte lengths).
    Video(SourceSample),
    /// A coded audio frame without any header.
    Audio(SourceSample),
    /// Everything else the broadcaster sent: metadata, cue points, text.
    Data(DataMessage),
}

impl Unit {
    /// Bytes of media or wire data that it holds; what bounds on memory count.
    pub fn size(&self) -> usize {
        match self {
            Self::VideoConfig(config) => config.record.len(),
            Self::AudioConfig(config) => config.record.len(),
            Self::Video(sample) | Self::Audio(sample) => sample.data.len(),
            // The values stand beside the raw bytes.
            Self::Data(message) => message.raw.len().saturating_mul(2),
        }
    }
}

/// A coded sample with the source's own times.
#[derive(Clone, Debug)]
pub struct SourceSample {
    /// Decoding time on the source's clock, unrolled but otherwise as sent: it may jump, repeat or
    /// go back.
    pub dts: Timestamp,
    /// Presentation time on the same clock.
    pub pts: Timestamp,
    /// Whether decoding can start here.
    pub sync: bool,
    /// Coded bytes.
    pub data: Bytes,
    /// When the last byte of it was read from the peer.
    pub received: Instant,
}

/// A message that is neither sound nor picture.
#[derive(Clone, Debug)]
pub struct DataMessage {
    /// When it applies, on the source's clock.
    pub at: Timestamp,
    /// Its name: `onMetaData`, `onCuePoint`, `onAdCue`, `onTextData`…
    pub name: String,
    /// Its values as JSON, in the order sent.
    pub values: Vec<serde_json::Value>,
    /// The message as it stood on the wire (RTMP: AMF0), so that nothing is lost in translation.
    pub raw: Bytes,
}

/// How a publisher reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Adobe's RTMP, with the Enhanced RTMP codecs.
    Rtmp,
}
