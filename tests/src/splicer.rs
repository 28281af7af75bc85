//! Puts streams of cues into a transport stream, recorded or live, as a splicer before us would: their
//! entries into every map of the program, and sections between its packets.
//!
//! It takes what ffmpeg writes: one program, whose map stands in a packet of its own.

use ingest::ts::PACKET;
use packager::scte35::section::checksum;

use crate::{Context, Result};

/// Where ffmpeg puts its map.
const MAP: u16 = 0x1000;
/// stream_type of SCTE-35, and of the pictures that there are: H.264 and H.265.
const CUES: u8 = 0x86;
const PICTURES: [u8; 2] = [0x1b, 0x24];
/// Bytes of a section behind its head, at the most, that fit into one packet with their pointer.
const LONGEST: usize = PACKET - 4 - 1;

/// A stream of cues.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// Its PID.
    pub pid: u16,
    /// Its descriptors in the map, as they stand there.
    pub descriptors: &'a [u8],
}

/// A section, and where it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The stream's PID.
    pub pid: u16,
    /// In front of which picture, counted from 0 in the order of decoding.
    pub before: usize,
    /// All of it.
    pub section: &'a [u8],
}

/// Puts cues into a stream as it passes, packet by packet.
#[derive(Clone, Debug)]
pub struct Splicer<'a> {
    streams: &'a [Stream<'a>],
    /// The PID of the pictures, once a map has come.
    pictures: Option<u16>,
    /// Sections sent in each, for the counters of their packets.
    sent: Vec<u8>,
}

impl<'a> Splicer<'a> {
    /// One that declares these streams.
    pub fn new(streams: &'a [Stream<'a>]) -> Self {
        Self { streams, pictures: None, sent: vec![0; streams.len()] }
    }

    /// Whether a picture begins with this packet.
    pub fn begins_picture(&self, packet: &[u8]) -> bool {
        self.pictures == Some(pid(packet)) && begins(packet)
    }

    /// Passes a packet on.
    ///
    /// # Errors
    /// A map does not fit into a packet.
    pub fn pass(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result {
        if pid(packet) == MAP && begins(packet) {
            self.pictures = pictures(&packet[5..]);
            out.extend(carry(MAP, packet[3] & 0x0f, &map(&packet[5..], self.streams))?);
        } else {
            out.extend(packet);
        }
        Ok(())
    }

    /// Sends a section in the stream of this PID.
    ///
    /// # Errors
    /// There is none, or the section does not fit into a packet.
    pub fn send(&mut self, pid: u16, section: &[u8], out: &mut Vec<u8>) -> Result {
        let of = self.streams.iter().position(|stream| stream.pid == pid);
        let sent = &mut self.sent[of.context("a stream for every message")?];
        out.extend(carry(pid, *sent & 0x0f, section)?);
        *sent = sent.wrapping_add(1);
        Ok(())
    }
}

/// The stream with cues in it.
///
/// # Errors
/// A map or a section does not fit into a packet.
pub fn splice(bytes: &[u8], streams: &[Stream<'_>], messages: &[Message<'_>]) -> Result<Vec<u8>> {
    let (mut out, mut pictures) = (Vec::with_capacity(bytes.len() * 2), 0);
    let mut splicer = Splicer::new(streams);
    for packet in bytes.chunks_exact(PACKET) {
        if splicer.begins_picture(packet) {
            for message in messages.iter().filter(|one| one.before == pictures) {
                splicer.send(message.pid, message.section, &mut out)?;
            }
            pictures += 1;
        }
        splicer.pass(packet, &mut out)?;
    }
    Ok(out)
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Whether something begins in a packet.
fn begins(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// The PID of the pictures in a map.
fn pictures(section: &[u8]) -> Option<u16> {
    let twelve = |at: usize| u16::from_be_bytes([section[at] & 0x0f, section[at + 1]]);
    let mut streams = without_checksum(section).get(12 + usize::from(twelve(10))..)?;
    while let [kind, high, low, long, length, rest @ ..] = streams {
        if PICTURES.contains(kind) {
            return Some(u16::from_be_bytes([high & 0x1f, *low]));
        }
        streams = rest.get(usize::from(u16::from_be_bytes([long & 0x0f, *length]))..)?;
    }
    None
}

fn without_checksum(section: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]]));
    &section[..length + 3 - 4]
}

/// A map with more streams in it.
fn map(section: &[u8], streams: &[Stream<'_>]) -> Vec<u8> {
    let mut map = without_checksum(section).to_vec();
    for Stream { pid, descriptors } in streams {
        let [high, low] = pid.to_be_bytes();
        map.extend([CUES, 0xe0 | high, low, 0xf0, descriptors.len() as u8]);
        map.extend(*descriptors);
    }
    let [high, low] = ((map.len() + 4 - 3) as u16).to_be_bytes();
    (map[1], map[2]) = (0xb0 | high, low);
    map.extend(checksum(&map).to_be_bytes());
    map
}

/// A packet with a section in it.
fn carry(pid: u16, counter: u8, section: &[u8]) -> Result<[u8; PACKET]> {
    let mut packet = [0xff; PACKET];
    let [high, low] = pid.to_be_bytes();
    packet[..5].copy_from_slice(&[0x47, 0x40 | high, low, 0x10 | counter, 0]);
    let room = (section.len() <= LONGEST).then(|| &mut packet[5..5 + section.len()]);
    room.context("a section that fits into a packet")?.copy_from_slice(section);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of two streams, of which the first has a descriptor.
    fn two(first: u8, second: u8) -> Vec<u8> {
        let streams = [[first, 0xe1, 0x00, 0xf0, 2, 0x0a, 0], [second, 0xe1, 0x01, 0xf0, 0, 0, 0]];
        let mut map = vec![2, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0x00, 0xf0, 0];
        map.extend(streams[0]);
        map.extend(&streams[1][..5]);
        map[2] = (map.len() + 4 - 3) as u8;
        map.extend(checksum(&map).to_be_bytes());
        map
    }

    #[test]
    fn pictures_are_found_whichever_stream_they_are() {
        assert_eq!(pictures(&two(0x0f, 0x1b)), Some(0x101));
        assert_eq!(pictures(&two(0x24, 0x0f)), Some(0x100));
        assert_eq!(pictures(&two(0x0f, 0x0f)), None);
    }
}
