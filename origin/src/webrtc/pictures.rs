//! Puts pictures together of packets in order: H.264 as length-prefixed NAL units with the parameter sets apart,
//! as every source of a channel hands them over, and VP8 as frames.
//!
//! A gap breaks the picture that it is in and those that follow up to the next key frame; nothing else does. A
//! packet that makes no sense is such a gap and never the end of a session. Where a gap ends, a picture begins only
//! if what comes is its beginning: else its first slices may be among what was lost.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::Bytes;
use ingest::source::PictureConfig;

use super::receive::Packet;

mod h264;
mod vp8;

/// Bytes of a picture: one of 2160p at the highest quality is below.
const MAX_PICTURE: usize = 4 << 20;

/// How the pictures of a stream are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    Vp8,
}

/// A whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// On the stream's clock.
    pub(super) timestamp: u32,
    pub(super) sync: bool,
    /// Length-prefixed NAL units without parameter sets, or a frame of VP8.
    pub(super) data: Bytes,
    /// The decoder's configuration, if it is another one from here on.
    pub(super) config: Option<PictureConfig>,
}

/// What the packets of a picture had in them.
#[derive(Debug)]
struct Frame {
    data: Bytes,
    sync: bool,
}

/// What reads payloads.
#[derive(Debug)]
enum Reader {
    H264(h264::H264),
    Vp8(vp8::Vp8),
}

impl Reader {
    fn read(&mut self, payload: &Bytes) -> Option<()> {
        match self {
            Self::H264(reader) => reader.read(payload),
            Self::Vp8(reader) => reader.read(payload),
        }
    }

    fn is_beginning(&self, payload: &Bytes) -> bool {
        match self {
            Self::H264(_) => h264::is_beginning(payload),
            Self::Vp8(_) => vp8::is_beginning(payload),
        }
    }

    fn finish(&mut self) -> Option<Frame> {
        match self {
            Self::H264(reader) => reader.finish(),
            Self::Vp8(reader) => reader.finish(),
        }
    }

    fn config(&mut self) -> Option<PictureConfig> {
        match self {
            Self::H264(reader) => reader.config().map(PictureConfig::Packaged),
            Self::Vp8(reader) => reader.config().map(PictureConfig::Foreign),
        }
    }

    fn is_decodable(&self) -> bool {
        match self {
            Self::H264(reader) => reader.is_decodable(),
            Self::Vp8(reader) => reader.is_decodable(),
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Pictures {
    reader: Reader,
    timestamp: Option<u32>,
    /// The picture under way is not whole.
    damaged: bool,
    /// Packets are missing right before the next one.
    gap: bool,
    /// Nothing is of use before the next key frame.
    broken: bool,
}

impl Pictures {
    pub(super) fn new(coding: Coding) -> Self {
        let reader = match coding {
            Coding::H264 => Reader::H264(h264::H264::default()),
            Coding::Vp8 => Reader::Vp8(vp8::Vp8::default()),
        };
        Self { reader, timestamp: None, damaged: false, gap: true, broken: true }
    }

    /// Packets are missing.
    pub(super) fn lose(&mut self) {
        self.damaged = true;
        self.gap = true;
        self.broken = true;
    }

    /// Whether a key frame is what is waited for.
    pub(super) fn wants_key_frame(&self) -> bool {
        self.broken
    }

    /// The next packet; gives the picture that it ends, or that ended before it.
    pub(super) fn take(&mut self, packet: &Packet) -> Option<Whole> {
        // It only fills the line.
        if packet.payload.is_empty() {
            return None;
        }
        let before = match self.timestamp {
            // The last packet of the one before bore no marker, or was lost.
            Some(timestamp) if timestamp != packet.timestamp => self.finish(),
            _ => None,
        };
        if self.timestamp != Some(packet.timestamp) {
            self.timestamp = Some(packet.timestamp);
            self.damaged = self.gap && !self.reader.is_beginning(&packet.payload);
        }
        self.gap = false;
        if self.reader.read(&packet.payload).is_none() {
            (self.damaged, self.broken) = (true, true);
        }
        if packet.marker { before.or_else(|| self.finish()) } else { before }
    }

    /// Ends the picture under way.
    fn finish(&mut self) -> Option<Whole> {
        let timestamp = self.timestamp.take()?;
        let frame = self.reader.finish();
        let damaged = std::mem::take(&mut self.damaged);
        let Some(Frame { data, sync }) = frame.filter(|_| !damaged) else {
            self.broken = true;
            return None;
        };
        if data.is_empty() || (self.broken && !sync) {
            return None;
        }
        let config = if sync { self.reader.config() } else { None };
        // A key frame without parameter sets can't be decoded.
        if !self.reader.is_decodable() {
            return None;
        }
        self.broken = false;
        Some(Whole { timestamp, sync, data, config })
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]
mod tests;
