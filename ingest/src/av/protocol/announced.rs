//! A worker's announcement of what it makes, as JSON.

use bytes::Bytes;
use packager::media::{AudioConfig, Config, Name, Rendition, Track, VideoCodec, VideoConfig};
use packager::time::{FrameRate, Timescale};

/// The renditions and where they begin: [`FromWorker::Started`](super::FromWorker::Started).
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Announcement {
    pub(super) renditions: Vec<Announced>,
    pub(super) first_k: u64,
    pub(super) start: i64,
}

/// A [`Rendition`] in JSON.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Announced {
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
    pub(super) fn of(rendition: &Rendition) -> Self {
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

    pub(super) fn rendition(self) -> Result<Rendition, String> {
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
