//! MPEG transport streams (ISO/IEC 13818-1): bytes in, units of a source out.
//!
//! ```text
//! bytes ─► framing ─► packet ─┬► section ─► psi (PAT, PMT: which streams there are)
//!                             │      └────► sections of SCTE-35, whole
//!                             └► pes ─┬► picture (Annex B ─► NAL lengths, parameter sets ─► record)
//!                                     └► sound   (ADTS ─► raw AAC, header ─► AudioSpecificConfig)
//! ```
//! [`Demuxer`] takes the bytes in pieces of any size and gives [`Event`]s. It is pure: whoever has a
//! socket or a file drives it. One program is read, with its first picture, its first sound and all
//! of its cue streams; times of all of them are unrolled on one common clock, and otherwise as sent:
//! they are repaired elsewhere.
//!
//! No door of the server uses it yet.
//!
//! A stream of packets is hostile until shown otherwise. What is damaged (a sync byte, a counter, a
//! checksum) costs the piece it is in and is counted; nothing here ends a stream. Descrambling,
//! several programs at once and other tables than PAT and PMT are not done.
//!
//! ISO/IEC 13818-1 is meant where a clause stands without a name.

pub mod demux;
mod framing;
mod packet;
mod pes;
mod picture;
mod psi;
mod section;
mod sound;

pub use demux::{Demuxer, Event, Want};
pub use packet::PACKET;

/// Streams of a program that are followed. Real programs have below 20.
pub const MAX_STREAMS: usize = 64;
/// Programs a table may list; a transponder carries below 30.
pub const MAX_PROGRAMS: usize = 64;
/// Largest packetized elementary stream packet, in bytes. A picture without a stated length ends
/// where the next begins, so this is also the largest picture.
pub const MAX_PES: usize = 4 * 1024 * 1024;

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
