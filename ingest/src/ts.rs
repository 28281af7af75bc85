//! MPEG transport streams (ISO/IEC 13818-1): bytes in, units of a source out.
//!
//! ```text
//! bytes ─► framing ─► packet ─┬► section ─► psi (PAT, PMT: which streams there are)
//!                             │      └────► sections of SCTE-35, whole
//!                             └► pes ─┬► picture (Annex B ─► NAL lengths, parameter sets ─► record)
//!                                     └► sound   (ADTS, LATM ─► raw AAC; MPEG audio, AC-3: frames)
//!
//! file, datagram (UDP, rtp) ─► feed (demux, pace) ─► hub
//! ```
//! [`Demuxer`] takes the bytes in pieces of any size and gives [`Event`]s. It is pure. A [`Feed`] brings
//! what it gives to a channel; whoever has a socket or a file drives that. One program is read, with its first picture, its first sound and all
//! of its cue streams; times of all of them are unrolled on one common clock, and otherwise as sent:
//! they are repaired elsewhere.
//!
//! A stream of packets is hostile until shown otherwise. What is damaged (a sync byte, a counter, a
//! checksum) costs the piece it is in and is counted; nothing here ends a stream. Descrambling,
//! several programs at once and other tables than PAT and PMT are not done.
//!
//! ISO/IEC 13818-1 is meant where a clause stands without a name.

pub mod complaint;
pub mod datagram;
pub mod demux;
pub mod door;
pub mod feed;
pub mod file;
#[cfg(test)]
mod fixture;
mod framing;
mod pace;
mod packet;
mod pes;
mod picture;
mod psi;
pub mod rtp;
mod section;
mod sound;
mod stream;

pub use demux::{Demuxer, Event, Want};
pub use feed::Feed;
pub use packet::PACKET;

/// Streams of a program that are followed. Real programs have below 20.
pub const MAX_STREAMS: usize = 64;
/// Programs a table may list; a transponder carries below 30.
pub const MAX_PROGRAMS: usize = 64;
/// Largest packetized elementary stream packet, in bytes. A picture without a stated length ends
/// where the next begins, so this is also the largest picture.
pub const MAX_PES: usize = 4 * 1024 * 1024;

/// Bits of every clock in a transport stream.
pub(crate) const CLOCK_BITS: u32 = 33;

/// What a packet identifier may be: 13 bits.
type Pid = u16;

/// What went wrong in a stream so far. All of it is survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets read.
    pub packets: u64,
    /// Bytes passed over until packets were found again.
    pub skipped_bytes: u64,
    /// Packets whose sync byte is wrong or that say of themselves that they are damaged.
    pub damaged: u64,
    /// Jumps of a continuity counter: packets were lost.
    pub lost: u64,
    /// Packets that are scrambled.
    pub scrambled: u64,
    /// Tables and cue sections that are cut or whose checksum is wrong.
    pub bad_sections: u64,
    /// Packetized elementary stream packets, pictures and audio frames that make no sense.
    pub broken: u64,
}

impl Counts {
    /// Everything that is wrong, by its name in JSON and metrics.
    pub fn faults(&self) -> [(&'static str, u64); 6] {
        [
            ("lost", self.lost),
            ("damaged", self.damaged),
            ("scrambled", self.scrambled),
            ("skipped_bytes", self.skipped_bytes),
            ("sections", self.bad_sections),
            ("broken", self.broken),
        ]
    }
}
