//! Packets in a stream of bytes: where they begin, and how to find them again.
//!
//! Packets of 188 bytes come alone, with 16 bytes of parity behind (204, ETS 300 421) or a time of 4
//! bytes before (192, Blu-ray); three sync bytes at one distance tell which. Once that is known, a
//! single wrong sync byte costs its packet only, if the next is where it should be.
//!
//! Whole packets are read where they lie; only what a piece of input leaves over is copied.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::packet::{PACKET, SYNC};

/// Distances between packets, the usual one first.
const STRIDES: [usize; 3] = [PACKET, 204, 192];
/// The longest of them.
const MAX_STRIDE: usize = 204;
/// Bytes in which the first packet is found or can't be: three sync bytes at the longest distance.
const SIGHT: usize = MAX_STRIDE * 2 + 1;

/// Whether packets may lie in a piece of a stream: two sync bytes at one of the distances, or one at the
/// beginning.
pub(super) fn may_hold_packets(bytes: &[u8]) -> bool {
    let is_sync = |at: usize| bytes.get(at) == Some(&SYNC);
    let followed = |at: usize| STRIDES.iter().any(|stride| is_sync(at.saturating_add(*stride)));
    is_sync(0) || (0..MAX_STRIDE).any(|at| is_sync(at) && followed(at))
}

/// Finds packets. See the module's page.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Distance of packets, where it is known.
    stride: Option<usize>,
    /// Bytes between the end of a packet and the next sync byte that are still to come.
    between: usize,
    /// What the input so far left over: less than a packet and its neighbours.
    left: Vec<u8>,
    skipped: u64,
    damaged: u64,
}

impl Framing {
    /// Framing of another stream, which goes on counting.
    pub(super) fn anew(before: &Self) -> Self {
        Self { skipped: before.skipped, damaged: before.damaged, ..Self::default() }
    }

    /// Bytes passed over while packets were looked for.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Packets whose sync byte was wrong.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes the next bytes and gives each packet that is whole to `each`.
    pub(super) fn push(&mut self, mut input: &[u8], mut each: impl FnMut(&[u8; PACKET])) {
        // What is left over is completed to a packet, or bit by bit until it is used up; then the input
        // is read in place.
        while !self.left.is_empty() && !input.is_empty() {
            let missing = PACKET.checked_sub(self.left.len()).filter(|missing| *missing > 0);
            let (some, rest) = input.split_at(input.len().min(missing.unwrap_or(PACKET)));
            let mut joined = std::mem::take(&mut self.left);
            joined.extend_from_slice(some);
            let used = self.read(&joined, &mut each);
            joined.drain(..used);
            self.left = joined;
            input = rest;
        }
        let used = self.read(input, &mut each);
        self.left.extend_from_slice(input.get(used..).unwrap_or_default());
    }

    /// Reads as many packets as there are and gives how many bytes are done with.
    fn read(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8; PACKET])) -> usize {
        let mut at = 0usize;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let step = match self.stride {
                None => self.search(rest),
                Some(stride) => self.next(rest, stride, each),
            };
            match step {
                Some(step) => at = at.saturating_add(step),
                None => return at,
            }
        }
    }

    /// Reads one packet; `None` where more bytes are needed.
    fn next(
        &mut self,
        bytes: &[u8],
        stride: usize,
        each: &mut impl FnMut(&[u8; PACKET]),
    ) -> Option<usize> {
        if self.between > 0 {
            let step = self.between.min(bytes.len());
            self.between = self.between.saturating_sub(step);
            return (step > 0).then_some(step);
        }
        let packet = bytes.first_chunk::<PACKET>()?;
        if bytes.first() == Some(&SYNC) {
            each(packet);
        } else if *bytes.get(stride)? == SYNC {
            self.damaged = self.damaged.saturating_add(1);
        } else {
            self.stride = None;
            return Some(0);
        }
        self.between = stride.saturating_sub(PACKET);
        Some(PACKET)
    }

    /// Looks for the first packet; `None` where more bytes are needed.
    fn search(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_sync = |at: usize| bytes.get(at) == Some(&SYNC);
        let certain = bytes.len().checked_sub(SIGHT)?;
        let found = (0..=certain).find_map(|at| {
            let stride = STRIDES.into_iter().find(|stride| {
                is_sync(at)
                    && is_sync(at.saturating_add(*stride))
                    && is_sync(at.saturating_add(stride.saturating_mul(2)))
            });
            stride.map(|stride| (at, stride))
        });
        let skipped = match found {
            Some((at, stride)) => {
                self.stride = Some(stride);
                at
            }
            None => certain.saturating_add(1),
        };
        self.skipped = self.skipped.saturating_add(skipped as u64);
        Some(skipped)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packets that are told apart by their second byte, `stride` bytes apart.
    fn stream(count: u8, stride: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in 0..count {
            let before = if stride == 192 { 4 } else { 0 };
            bytes.extend(std::iter::repeat_n(0xee, before));
            bytes.extend([SYNC, n]);
            bytes.extend(std::iter::repeat_n(0, PACKET - 2));
            bytes.extend(std::iter::repeat_n(0xee, stride - PACKET - before));
        }
        bytes
    }

    fn read(framing: &mut Framing, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut found = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            framing.push(piece, |packet| found.push(packet[1]));
        }
        found
    }

    #[test]
    fn packets_of_every_size_are_found() {
        for stride in STRIDES {
            let found = read(&mut Framing::default(), &stream(9, stride), usize::MAX);
            assert_eq!(found, (0..9).collect::<Vec<u8>>(), "{stride}");
        }
    }

    #[test]
    fn a_wrong_sync_byte_costs_its_packet_only() {
        let mut bytes = stream(9, 188);
        bytes[4 * 188] = 0;
        let mut framing = Framing::default();
        assert_eq!(read(&mut framing, &bytes, 100), [0, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!((framing.damaged(), framing.skipped()), (1, 0));
    }

    #[test]
    fn packets_are_found_again_behind_bytes_that_are_missing_or_too_many() {
        let mut bytes = stream(20, 188);
        bytes.drain(5 * 188 + 60..5 * 188 + 90);
        bytes.splice(0..0, *b"GG garbage");
        let mut framing = Framing::default();
        let found = read(&mut framing, &bytes, 77);
        // The one that is cut, and no more than the one behind it.
        assert!(found.starts_with(&[0, 1, 2, 3, 4]), "{found:?}");
        assert!(found.ends_with(&[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]), "{found:?}");
    }

    proptest! {
        #[test]
        fn how_the_input_is_split_changes_nothing(
            mut bytes in prop::collection::vec(prop_oneof![Just(SYNC), any::<u8>()], 0..600),
            stride in 0usize..3, sizes in prop::collection::vec(1usize..400, 1..8),
        ) {
            bytes.extend(stream(8, STRIDES[stride]));
            let whole = read(&mut Framing::default(), &bytes, usize::MAX);
            let (mut framing, mut split, mut rest) = (Framing::default(), Vec::new(), &bytes[..]);
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                framing.push(piece, |packet| split.push(packet[1]));
                prop_assert!(framing.left.len() <= 2 * MAX_STRIDE + PACKET);
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(whole, split);
        }
    }
}
