//! Sections (§2.4.4): tables and cues, put together from the packets of one PID. Their length has 12
//! bits, which bounds what is held.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;
pub(super) use packager::scte35::section::checksum;

/// What fills a packet behind the last section.
const STUFFING: u8 = 0xff;

/// Sections of one PID, in the making.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// The section that is being put together; `None` until one begins.
    open: Option<Vec<u8>>,
}

/// How a section ended.
pub(super) enum Found {
    /// All of it is there; its checksum is not looked at.
    Whole(Bytes),
    /// The next one began too early, or packets are missing.
    Cut,
}

impl Sections {
    /// Forgets what has begun, because packets were lost. Gives whether there was anything.
    pub(super) fn reset(&mut self) -> bool {
        self.open.take().is_some_and(|open| !open.is_empty())
    }

    /// Takes the payload of a packet and gives each section that ends in it to `each`.
    pub(super) fn push(&mut self, payload: &[u8], unit_start: bool, mut each: impl FnMut(Found)) {
        if !unit_start {
            self.take(payload, &mut each);
            return;
        }
        let Some((pointer, payload)) = payload.split_first() else { return };
        let Some((before, begun)) = payload.split_at_checked(usize::from(*pointer)) else {
            if self.reset() {
                each(Found::Cut);
            }
            return;
        };
        self.take(before, &mut each);
        if self.reset() {
            each(Found::Cut);
        }
        self.open = Some(Vec::new());
        self.take(begun, &mut each);
    }

    fn take(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Found)) {
        while let Some(open) = &mut self.open
            && let Some(first) = bytes.first()
        {
            if open.is_empty() && *first == STUFFING {
                self.open = None;
                return;
            }
            // The length stands in the second and third byte.
            let wanted = match open.as_slice() {
                [_, high, low, ..] => {
                    usize::from(u16::from_be_bytes([high & 0x0f, *low])).saturating_add(3)
                }
                _ => 3,
            };
            let missing = wanted.saturating_sub(open.len()).min(bytes.len());
            let (some, rest) = bytes.split_at(missing);
            open.extend_from_slice(some);
            bytes = rest;
            let complete = match open.as_slice() {
                [_, high, low, ..] => {
                    let length = usize::from(u16::from_be_bytes([high & 0x0f, *low]));
                    open.len() == length.saturating_add(3)
                }
                _ => false,
            };
            if complete {
                each(Found::Whole(std::mem::take(open).into()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// A section of `length` bytes behind its head.
    fn section(id: u8, length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![id, 0xb0 | high, low];
        bytes.extend((0..length).map(|n| n as u8));
        bytes
    }

    fn collect(payloads: &[(&[u8], bool)]) -> (Vec<Bytes>, usize) {
        let (mut sections, mut whole, mut cut) = (Sections::default(), Vec::new(), 0);
        for (payload, start) in payloads {
            sections.push(payload, *start, |found| match found {
                Found::Whole(bytes) => whole.push(bytes),
                Found::Cut => cut += 1,
            });
        }
        (whole, cut)
    }

    #[test]
    fn a_section_is_put_together_however_it_is_split() {
        let wanted = section(0xfc, 700);
        for first in 1..183 {
            let mut payload = vec![0];
            payload.extend(&wanted[..first]);
            let rest: Vec<_> = wanted[first..].chunks(184).map(|piece| (piece, false)).collect();
            let mut all = vec![(&payload[..], true)];
            all.extend(rest);
            let (whole, cut) = collect(&all);
            assert_eq!((whole.len(), cut), (1, 0), "{first}");
            assert_eq!(whole[0], wanted);
        }
    }

    #[test]
    fn several_sections_stand_in_one_packet_and_stuffing_ends_them() {
        let mut payload = vec![2, 1, 2];
        payload.extend(section(0, 9));
        payload.extend(section(2, 4));
        payload.extend([0xff; 20]);
        let (whole, cut) = collect(&[(&payload, true), (&[1, 2, 3], false)]);
        assert_eq!(whole, [section(0, 9), section(2, 4)]);
        assert_eq!(cut, 0);
    }

    #[test]
    fn a_section_that_another_cuts_short_is_told() {
        let mut first = vec![0];
        first.extend(&section(0, 100)[..50]);
        let mut second = vec![0];
        second.extend(section(2, 4));
        let (whole, cut) = collect(&[(&first, true), (&second, true)]);
        assert_eq!((whole.len(), cut), (1, 1));
        // A pointer beyond the packet.
        assert_eq!(collect(&[(&[200, 1, 2], true)]).0.len(), 0);
    }

    #[test]
    fn the_checksum_of_a_section_with_its_checksum_is_zero() {
        // The catalogue's check value of CRC-32/MPEG-2.
        assert_eq!(checksum(b"123456789"), 0x0376_e6e7);
        let mut bytes = b"123456789".to_vec();
        bytes.extend(0x0376_e6e7u32.to_be_bytes());
        assert_eq!(checksum(&bytes), 0);
    }
}
