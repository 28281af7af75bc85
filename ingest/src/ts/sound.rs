//! Sound: frames out of packets, and what their headers say.
//!
//! A PES packet holds any number of frames and pieces of frames; its time is that of the first frame
//! that begins in it, and the frames behind follow by their length. AAC comes out raw, as it is
//! packaged and decoded, whatever it was wrapped in; other frames come out whole, for a decoder.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use packager::codec::aac;
use packager::time::{Rounding, Timescale, rescale};

use crate::source::{ForeignSound, SoundConfig};

mod ac3;
mod adts;
mod latm;
mod mpeg;

/// Longest frame of any format, in bytes: AAC in LATM or ADTS.
const MAX_FRAME: usize = 8191 + 3;

/// How the sound of a stream is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// AAC in ADTS.
    Adts,
    /// AAC in LATM, with its sync layer (LOAS).
    Latm,
    /// MPEG-1 and MPEG-2 audio, any layer.
    Mpeg,
    /// AC-3 and enhanced AC-3.
    Ac3,
}

/// What sound gives.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The configuration of the frames behind it; where it is another than before.
    Config(SoundConfig),
    /// A frame.
    Frame {
        /// At 90 kHz, unrolled as the PES packet's time was.
        at: i64,
        data: Bytes,
        received: Instant,
    },
    /// A configuration that is not taken.
    Unusable(packager::codec::Error),
    /// Bytes that are no frame.
    Broken,
}

/// What the bytes at a place are.
#[derive(Debug)]
enum Read {
    /// The beginning of what may be a frame.
    Short,
    /// No frame.
    Nothing,
    /// A frame.
    Frame(Frame),
    /// So many bytes that are well formed and give no frame.
    Passed(usize),
    /// The same, where sound is meant that is not taken.
    Unusable(usize, packager::codec::Error),
}

/// A frame as it stands in the stream.
#[derive(Debug)]
struct Frame {
    /// With all headers.
    length: usize,
    config: Key,
    /// What a decoder takes.
    data: Bytes,
    /// Samples that it holds of each channel.
    samples: u32,
    /// Samples per second.
    rate: u32,
}

/// The configuration of a frame, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// An AudioSpecificConfig of two bytes.
    Short([u8; 2]),
    /// An AudioSpecificConfig.
    Long(Bytes),
    Foreign(ForeignSound),
}

impl Key {
    fn config(&self) -> Result<SoundConfig, packager::codec::Error> {
        match self {
            Self::Short(record) => {
                aac::config(Bytes::copy_from_slice(record)).map(SoundConfig::Aac)
            }
            Self::Long(record) => aac::config(record.clone()).map(SoundConfig::Aac),
            Self::Foreign(sound) => Ok(SoundConfig::Foreign(*sound)),
        }
    }
}

/// Sound of one PID.
#[derive(Debug)]
pub(super) struct Sounds {
    format: Format,
    latm: latm::Mux,
    /// A frame that has begun, and its time where it is the first of its packet.
    left: Bytes,
    left_at: Option<i64>,
    config: Option<Key>,
    /// A configuration that was refused is told once.
    usable: bool,
    /// Whether the frame before ended where the next has to begin.
    in_step: bool,
    clock: Clock,
}

/// Where frames are: a time as sent and samples since then, so that no rounding adds up.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    base: Option<i64>,
    samples: i64,
    rate: u32,
}

impl Clock {
    fn next(&mut self, rate: u32, samples: u32) -> Option<i64> {
        if rate != self.rate {
            // Counted at another rate, the samples so far mean nothing.
            let at = self.now();
            *self = Self { base: at, samples: 0, rate };
        }
        let at = self.now();
        self.samples = self.samples.saturating_add(i64::from(samples));
        at
    }

    fn now(&self) -> Option<i64> {
        let scale = Timescale::new(self.rate);
        let after =
            scale.map_or(0, |s| rescale(self.samples, s, Timescale::MPEG, Rounding::Nearest));
        Some(self.base?.saturating_add(after))
    }
}

impl Sounds {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            latm: latm::Mux::default(),
            left: Bytes::new(),
            left_at: None,
            config: None,
            usable: false,
            in_step: false,
            clock: Clock::default(),
        }
    }

    /// Forgets the frame that has begun, because packets were lost.
    pub(super) fn reset(&mut self) {
        self.left.clear();
        self.left_at = None;
        self.in_step = false;
    }

    /// Takes the payload of a PES packet and its time.
    pub(super) fn push(
        &mut self,
        payload: Bytes,
        at: Option<i64>,
        received: Instant,
        mut each: impl FnMut(Found),
    ) {
        let before = self.left.len();
        let mut bytes = match before {
            0 => payload,
            _ => {
                let mut joined = BytesMut::from(self.left.as_ref());
                joined.extend_from_slice(&payload);
                joined.freeze()
            }
        };
        let total = bytes.len();
        let (mut at, mut left_at) = (at, self.left_at.take());
        let mut broken = false;
        loop {
            let frame = match self.read(&bytes) {
                Read::Short => break,
                // Looked for at the next byte.
                Read::Nothing => {
                    broken = true;
                    self.in_step = false;
                    bytes.advance(1);
                    continue;
                }
                Read::Passed(length) => {
                    bytes.advance(length.min(bytes.len()));
                    continue;
                }
                Read::Unusable(length, error) => {
                    bytes.advance(length.min(bytes.len()));
                    each(Found::Unusable(error));
                    continue;
                }
                Read::Frame(frame) => frame,
            };
            let begins = total.saturating_sub(bytes.len());
            // Coded sound may look like the head of a frame. Most packets begin with a frame.
            if !self.in_step && begins != before {
                match self.follows(&bytes, &frame) {
                    None => break,
                    Some(true) => {}
                    Some(false) => {
                        broken = true;
                        bytes.advance(1);
                        continue;
                    }
                }
            }
            self.in_step = true;
            if std::mem::take(&mut broken) {
                each(Found::Broken);
            }
            let of_packet = if begins >= before { &mut at } else { &mut left_at };
            if let Some(at) = of_packet.take() {
                self.clock = Clock { base: Some(at), samples: 0, rate: frame.rate };
            }
            bytes.advance(frame.length.min(bytes.len()));
            self.configure(&frame.config, &mut each);
            if let Some(at) = self.clock.next(frame.rate, frame.samples)
                && self.usable
            {
                each(Found::Frame { at, data: frame.data, received });
            }
        }
        if broken {
            each(Found::Broken);
        }
        // Less than a frame; not a slice that keeps a whole packet.
        let begins = total.saturating_sub(bytes.len());
        self.left_at = if begins >= before { at } else { left_at };
        self.left = if bytes.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&bytes) };
    }

    fn read(&mut self, bytes: &Bytes) -> Read {
        match self.format {
            Format::Adts => adts::read(bytes),
            Format::Latm => self.latm.read(bytes),
            Format::Mpeg => mpeg::read(bytes),
            Format::Ac3 => ac3::read(bytes),
        }
    }

    /// Whether another frame of the same kind follows one; `None` where that is still to come.
    fn follows(&mut self, bytes: &Bytes, frame: &Frame) -> Option<bool> {
        let rest = bytes.slice(frame.length.min(bytes.len())..);
        match self.read(&rest) {
            Read::Short => None,
            Read::Frame(next) => Some(next.config == frame.config),
            Read::Passed(_) => Some(true),
            Read::Nothing | Read::Unusable(..) => Some(false),
        }
    }

    fn configure(&mut self, config: &Key, each: &mut impl FnMut(Found)) {
        if self.config.as_ref() == Some(config) {
            return;
        }
        let read = config.config();
        self.config = Some(config.clone());
        self.usable = read.is_ok();
        each(read.map_or_else(Found::Unusable, Found::Config));
    }
}

#[cfg(test)]
pub(super) mod tests;
