//! Filler: samples for a hole, made without a decoder.
//!
//! Pictures are the newest sync sample again, sound is silence. So a player that follows the clock
//! finds what it was promised, and a viewer who joins inside the hole starts with a picture.
//!
//! One [`Filler`] belongs to one rendition of one run, since it speaks in its codec configuration.
//! When a hole begins, where it ends and how long its samples are is the segmenter's.

use bytes::Bytes;

use crate::codec::{aac, h264};
use crate::media::{Config, Rendition, Sample, VideoCodec, VideoConfig};

/// Makes samples for the holes of one rendition.
#[derive(Debug)]
pub struct Filler {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pictures {
        config: VideoConfig,
        newest: Option<Picture>,
    },
    /// One frame of silence.
    Sound(Bytes),
}

/// The newest picture that decoding can start with.
#[derive(Debug)]
struct Picture {
    data: Bytes,
    /// Presentation minus decoding time, in ticks.
    offset: i64,
    /// What stands in for it, in turns; made when the first hole after it begins.
    repeats: Option<[Bytes; 2]>,
    /// Whether the second of them is next.
    second: bool,
}

impl Filler {
    /// A filler for a rendition of which there is nothing yet.
    pub fn new(rendition: &Rendition) -> Self {
        let kind = match &rendition.track.config {
            Config::Video(config) => Kind::Pictures { config: config.clone(), newest: None },
            // The configuration was read by the same module; an empty frame is concealed by decoders.
            Config::Audio(config) => Kind::Sound(aac::silence(config).unwrap_or_default()),
        };
        Self { kind }
    }

    /// Remembers a sample, if it is a picture that can be shown again. Cheap: called for each.
    pub fn note(&mut self, sample: &Sample) {
        if let Kind::Pictures { newest, .. } = &mut self.kind
            && sample.sync
        {
            *newest = Some(Picture {
                data: sample.data.clone(),
                offset: sample.pts.saturating_sub(sample.dts),
                repeats: None,
                second: false,
            });
        }
    }

    /// A sample for a hole, in the rendition's ticks; `None` for pictures while there was none that
    /// decoding can start with.
    ///
    /// A sample of sound is one frame, whatever `duration` says: give the length of one.
    pub fn sample(&mut self, dts: i64, duration: u32) -> Option<Sample> {
        let (data, offset) = match &mut self.kind {
            Kind::Sound(silence) => (silence.clone(), 0),
            Kind::Pictures { config, newest } => {
                let picture = newest.as_mut()?;
                (picture.next(config), picture.offset)
            }
        };
        Some(Sample { dts, pts: dts.saturating_add(offset), duration, sync: true, data })
    }
}

impl Picture {
    fn next(&mut self, config: &VideoConfig) -> Bytes {
        let repeats = self.repeats.get_or_insert_with(|| match config.codec {
            // A picture that can't be read is better shown as it is than not at all.
            VideoCodec::H264 => h264::repeats(&config.record, &self.data)
                .unwrap_or_else(|_| [self.data.clone(), self.data.clone()]),
            // H.265 tells two IDR pictures in a row apart by their first slices.
            VideoCodec::H265 => [self.data.clone(), self.data.clone()],
        });
        let data = repeats[usize::from(self.second)].clone();
        self.second = !self.second;
        data
    }
}

#[cfg(test)]
mod tests;
