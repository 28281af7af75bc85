//! What a source is made of, whichever protocol it came by.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use packager::time::{Timestamp, Unroller};

use crate::srt;
use crate::ts::{CLOCK_BITS, Counts, rtp};

mod coding;
pub use coding::{
    AudioCodec, ForeignPictures, ForeignSound, PictureCodec, PictureConfig, SoundConfig,
};

/// One piece of a source, in the order it was received.
#[derive(Clone, Debug)]
pub enum Unit {
    /// The video decoder's configuration; the samples after it need it. Sent again when it changes.
    VideoConfig(PictureConfig),
    /// How the sound is coded; as above.
    AudioConfig(SoundConfig),
    /// A coded picture: length-prefixed NAL units (four-byte lengths), of VP8 a frame.
    Video(SourceSample),
    /// A coded audio frame: of AAC without any header, of others whole.
    Audio(SourceSample),
    /// Everything else the broadcaster sent: metadata, cue points, text.
    Data(DataMessage),
    /// A section of SCTE-35.
    Section(Section),
    /// Something of the source that can't be used, in words for the operator. Told once.
    Notice(String),
}

impl Unit {
    /// Bytes of media or wire data that it holds; what bounds on memory count.
    pub fn size(&self) -> usize {
        match self {
            Self::VideoConfig(config) => config.record().len(),
            Self::AudioConfig(config) => config.record().len(),
            Self::Video(sample) | Self::Audio(sample) => sample.data.len(),
            // The values stand beside the raw bytes.
            Self::Data(message) => message.raw.len().saturating_mul(2),
            Self::Section(section) => section.raw.len(),
            Self::Notice(words) => words.len(),
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

/// A section of SCTE-35 (ANSI/SCTE 35 §9) as a transport stream carried it. Its checksum is right;
/// nothing else of it has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The packet identifier it came on: a program may have several streams of them.
    pub pid: u16,
    /// Where the program's clock was when it came, on the clock of the samples, at 90 kHz.
    pub at: Timestamp,
    /// What has been added to the times of the stream to make the clock of the samples, in ticks of
    /// 90 kHz: a file that is played again goes on where it ended.
    pub shift: i64,
    /// All of it, table_id to checksum.
    pub raw: Bytes,
}

impl Section {
    /// A time of 33 bits at 90 kHz in the section (a pts_time with pts_adjustment added) on the clock
    /// of the samples: of all instants that it may mean, the one nearest to [`at`](Self::at).
    pub fn time_of(&self, wire: u64) -> Timestamp {
        let mut clock = Unroller::new(CLOCK_BITS);
        // Both are taken modulo the period; the first sets the turn it is in.
        let base = self.at.ticks.saturating_sub(self.shift);
        let period = 1i64 << CLOCK_BITS;
        let turn = clock.unroll(base.rem_euclid(period).unsigned_abs());
        let away = clock.unroll(wire).saturating_sub(turn);
        Timestamp::new(self.at.ticks.saturating_add(away), self.at.scale)
    }
}

/// How a source has been arriving, where its way can tell: the newest figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was wrong with its transport stream.
    pub transport: Option<Counts>,
    /// What happened to its RTP packets.
    pub rtp: Option<rtp::Counts>,
    /// Figures of its SRT connection.
    pub link: Option<srt::Link>,
}

impl Report {
    /// Everything that was wrong, by its name in JSON and metrics; also what never was.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let transport = self.transport.map(|counts| counts.faults());
        let rtp = self.rtp.map(|counts| counts.faults());
        transport.into_iter().flatten().chain(rtp.into_iter().flatten())
    }
}

/// How a publisher reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Adobe's RTMP, with the Enhanced RTMP codecs.
    Rtmp,
    /// Secure Reliable Transport, carrying MPEG-TS.
    Srt,
    /// MPEG-TS in UDP datagrams.
    Udp,
    /// MPEG-TS in RTP (RFC 2250).
    Rtp,
    /// A file of MPEG-TS.
    File,
    /// A browser, by WebRTC (RFC 9725).
    Whip,
}

impl Protocol {
    /// As it is written in JSON, metrics and sentences.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
            Self::Udp => "udp",
            Self::Rtp => "rtp",
            Self::File => "file",
            Self::Whip => "whip",
        }
    }
}

/// Where a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody who came to a door, and has to show the key.
    At(SocketAddr),
    /// Something that the channel's configuration names, which needs no key; in words.
    Configured(Arc<str>),
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::At(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Configured(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use packager::time::Timescale;

    use super::*;

    #[test]
    fn times_in_a_section_are_the_nearest_to_it_behind_wraps_and_loops() {
        const WRAP: i64 = 1 << CLOCK_BITS;
        let section = |at, shift| Section {
            pid: 0x1ff,
            at: Timestamp::new(at, Timescale::MPEG),
            shift,
            raw: Bytes::new(),
        };
        for (at, shift, wire, meant) in [
            (900_000, 0, 990_000, 990_000),
            // The clock has turned over once, and the splice lies behind the next turn.
            (2 * WRAP - 90_000, 0, 45_000, 2 * WRAP + 45_000),
            (WRAP + 90_000, 0, (WRAP - 45_000).unsigned_abs(), WRAP - 45_000),
            // A file of ten seconds that is played for the third time.
            (1_890_000, 1_800_000, 180_000, 1_980_000),
        ] {
            assert_eq!(section(at, shift).time_of(wire).ticks, meant, "{at} {shift} {wire}");
        }
    }
}
