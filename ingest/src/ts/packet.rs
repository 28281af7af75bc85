//! One transport packet (§2.4.3.2): header, adaptation field, payload.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::Pid;

/// Bytes of a packet.
pub const PACKET: usize = 188;
/// The first of them.
pub(super) const SYNC: u8 = 0x47;
/// Stuffing between packets.
pub(super) const NULL_PID: Pid = 0x1fff;

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) pid: Pid,
    /// Whether a section or a PES packet begins in the payload.
    pub(super) unit_start: bool,
    /// Whether whoever received it by radio could not repair it.
    pub(super) damaged: bool,
    pub(super) scrambled: bool,
    pub(super) counter: u8,
    /// Whether the sender announces a break of the counter, and of the clock on a PID with PCR.
    pub(super) discontinuity: bool,
    /// Program clock reference in units of 90 kHz, 33 bits.
    pub(super) pcr: Option<u64>,
    /// Empty where there is none.
    pub(super) payload: &'a [u8],
    /// Whether the header says that there is a payload; only then the counter counts.
    pub(super) has_payload: bool,
}

/// Reads a packet; `None` where its fields contradict its size.
pub(super) fn parse(packet: &[u8; PACKET]) -> Option<Packet<'_>> {
    let [_, high, low, flags, rest @ ..] = packet;
    let mut found = Packet {
        pid: u16::from_be_bytes([high & 0x1f, *low]),
        unit_start: high & 0x40 != 0,
        damaged: high & 0x80 != 0,
        scrambled: flags & 0xc0 != 0,
        counter: flags & 0x0f,
        discontinuity: false,
        pcr: None,
        payload: &[],
        has_payload: flags & 0x10 != 0,
    };
    let mut payload: &[u8] = rest;
    if flags & 0x20 != 0 {
        let (length, after) = rest.split_first()?;
        let (field, after) = after.split_at_checked(usize::from(*length))?;
        payload = after;
        if let [flags, field @ ..] = field {
            found.discontinuity = flags & 0x80 != 0;
            if flags & 0x10 != 0 {
                let [a, b, c, d, e, ..] = field else { return None };
                let base = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
                found.pcr = Some((base << 1) | u64::from(e >> 7));
            }
        }
    }
    if found.has_payload {
        found.payload = payload;
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn packet(head: &[u8]) -> [u8; PACKET] {
        let mut packet = [0xff; PACKET];
        packet[..head.len()].copy_from_slice(head);
        packet
    }

    #[test]
    fn a_packet_with_a_clock_reference_and_a_payload_is_read() {
        let bytes =
            packet(&[0x47, 0x41, 0x00, 0x35, 7, 0x90, 0xff, 0xff, 0xff, 0xff, 0x80, 0x00, 0xaa]);
        let packet = parse(&bytes).unwrap();
        assert_eq!((packet.pid, packet.unit_start, packet.counter), (0x100, true, 5));
        assert!(packet.discontinuity && packet.has_payload && !packet.scrambled);
        assert_eq!(packet.pcr, Some((1 << 33) - 1));
        assert_eq!(packet.payload.len(), 176);
        assert_eq!(packet.payload[0], 0xaa);
    }

    #[test]
    fn a_packet_whose_fields_do_not_fit_it_is_none() {
        // An adaptation field of 184 bytes, and one too short for the clock reference it announces.
        assert_eq!(parse(&packet(&[0x47, 0, 0, 0x30, 184])), None);
        assert_eq!(parse(&packet(&[0x47, 0, 0, 0x30, 3, 0x10])), None);
        // 183 bytes are all there is, and leave no payload.
        let whole = packet(&[0x47, 0, 0, 0x30, 183, 0]);
        assert!(parse(&whole).unwrap().payload.is_empty());
    }

    #[test]
    fn a_packet_without_payload_has_none_whatever_follows_its_field() {
        let bytes = packet(&[0x47, 0, 0, 0x20, 1, 0]);
        let packet = parse(&bytes).unwrap();
        assert!(!packet.has_payload && packet.payload.is_empty());
    }
}
