//! Packetized elementary streams (§2.4.3.6): PES packets put together, and their times.
//!
//! One without a stated length, as pictures come, ends where the next begins.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes up to and with PES_packet_length.
const HEAD: usize = 6;
/// The longest one that states its length, which has 16 bits.
pub(super) const MAX_STATED: usize = HEAD + 0xffff;
/// Room that one without a stated length is given at first: most pictures between key frames.
const ROOM: usize = 16 * 1024;

/// PES packets of one PID, in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    /// Bytes that one may have.
    most: usize,
    open: Option<Open>,
    /// Where the last one without a stated length lay. Pictures are made of these bytes and not in them,
    /// so that they have room for the next one.
    spare: BytesMut,
}

#[derive(Debug)]
struct Open {
    bytes: BytesMut,
    received: Instant,
}

/// How a PES packet ended.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// All of it is there.
    Whole(Pes),
    /// It is shorter than it says, longer than it may be, or no PES packet at all.
    Broken,
}

/// A PES packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pes {
    /// 33 bits at 90 kHz.
    pub(super) pts: Option<u64>,
    /// As `pts`, which it equals where it is not sent.
    pub(super) dts: Option<u64>,
    pub(super) payload: Bytes,
    /// When the last byte of it came.
    pub(super) received: Instant,
}

impl Assembly {
    /// Puts together PES packets of up to `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: None, spare: BytesMut::new() }
    }

    /// Forgets what has begun, because packets were lost. Gives whether there was anything.
    pub(super) fn reset(&mut self) -> bool {
        self.open.take().is_some()
    }

    /// Takes the payload of a packet; gives each PES packet that is thereby found to have ended.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        unit_start: bool,
        now: Instant,
        mut each: impl FnMut(Found),
    ) {
        if unit_start {
            if let Some(found) = self.finish() {
                each(found);
            }
            let bytes = match Open::length(payload) {
                // Sound is handed on in these bytes, and may be kept for long: not in more than it needs.
                Some(length) => BytesMut::with_capacity(length.min(self.most)),
                None => {
                    self.spare.reserve(ROOM);
                    std::mem::take(&mut self.spare)
                }
            };
            self.open = Some(Open { bytes, received: now });
        }
        let Some(open) = &mut self.open else { return };
        if open.bytes.len().saturating_add(payload.len()) > self.most {
            self.open = None;
            each(Found::Broken);
            return;
        }
        open.bytes.extend_from_slice(payload);
        open.received = now;
        if open.stated().is_some_and(|length| open.bytes.len() >= length)
            && let Some(found) = self.finish()
        {
            each(found);
        }
    }

    /// Ends what is open: nothing follows, or the next has begun.
    pub(super) fn finish(&mut self) -> Option<Found> {
        let Open { mut bytes, received } = self.open.take()?;
        let stated = Open::length(&bytes);
        if let Some(length) = stated {
            if bytes.len() < length {
                return Some(Found::Broken);
            }
            bytes.truncate(length);
        } else {
            let whole = bytes.split();
            self.spare = std::mem::replace(&mut bytes, whole);
        }
        Some(parse(bytes.freeze(), received).map_or(Found::Broken, Found::Whole))
    }
}

impl Open {
    fn stated(&self) -> Option<usize> {
        Self::length(&self.bytes)
    }

    /// Its length from the start code on, if it states one.
    fn length(bytes: &[u8]) -> Option<usize> {
        let [_, _, _, _, high, low, ..] = bytes else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        (length > 0).then(|| length.saturating_add(HEAD))
    }
}

/// Reads the header of a PES packet; `None` if it is none, or one without times and flags, which no
/// sound or picture has.
fn parse(mut bytes: Bytes, received: Instant) -> Option<Pes> {
    let [0, 0, 1, _, _, _, marker, flags, length, rest @ ..] = bytes.as_ref() else { return None };
    // Two marker bits, and PES_scrambling_control: what is scrambled can't be read.
    if marker >> 4 != 0b1000 {
        return None;
    }
    let (fields, _) = rest.split_at_checked(usize::from(*length))?;
    let pts = if flags & 0x80 != 0 { Some(time(fields.first_chunk()?)?) } else { None };
    let dts = if flags & 0xc0 == 0xc0 { Some(time(fields.get(5..)?.first_chunk()?)?) } else { pts };
    let header = usize::from(*length).saturating_add(9);
    bytes.advance(header);
    Some(Pes { pts, dts, payload: bytes, received })
}

/// A time of 33 bits with its marker bits.
fn time([a, b, c, d, e]: &[u8; 5]) -> Option<u64> {
    if a & b'\x01' == 0 || c & 1 == 0 || e & 1 == 0 {
        return None;
    }
    let field = |high: u8, low: u8| u64::from(u16::from_be_bytes([high, low]) >> 1);
    Some((u64::from(a >> 1 & 7) << 30) | (field(*b, *c) << 15) | field(*d, *e))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use super::super::MAX_PES;
    use super::*;

    /// Five bytes of a time behind its four bits of prefix.
    fn time_bytes(prefix: u8, time: u64) -> [u8; 5] {
        let byte = |shift: u32, mask: u64| ((time >> shift) & mask) as u8;
        [
            prefix << 4 | byte(30, 7) << 1 | 1,
            byte(22, 0xff),
            byte(15, 0x7f) << 1 | 1,
            byte(7, 0xff),
            byte(0, 0x7f) << 1 | 1,
        ]
    }

    /// A PES packet, with its length stated or not.
    pub(in super::super) fn pes(
        pts: u64,
        dts: Option<u64>,
        payload: &[u8],
        stated: bool,
    ) -> Vec<u8> {
        let mut fields = time_bytes(if dts.is_some() { 3 } else { 2 }, pts).to_vec();
        fields.extend(dts.iter().flat_map(|dts| time_bytes(1, *dts)));
        let length =
            if stated { u16::try_from(3 + fields.len() + payload.len()).unwrap() } else { 0 };
        let [high, low] = length.to_be_bytes();
        let flags = if dts.is_some() { 0xc0 } else { 0x80 };
        let mut bytes = vec![0, 0, 1, 0xe0, high, low, 0x80, flags, fields.len() as u8];
        bytes.extend(fields);
        bytes.extend(payload);
        bytes
    }

    fn collect(pieces: &[(&[u8], bool)]) -> (Vec<Pes>, usize) {
        let (mut assembly, mut whole, mut broken) = (Assembly::new(MAX_PES), Vec::new(), 0);
        let mut take = |found| match found {
            Found::Whole(pes) => whole.push(pes),
            Found::Broken => broken += 1,
        };
        for (bytes, start) in pieces {
            assembly.push(bytes, *start, Instant::now(), &mut take);
        }
        if let Some(found) = assembly.finish() {
            take(found);
        }
        (whole, broken)
    }

    #[test]
    fn times_are_read_to_the_last_bit() {
        for time in [0, 1, (1 << 33) - 1, 0x1_2345_6789, 1 << 32, 1 << 15, 1 << 14] {
            let bytes = pes(time, Some(time ^ 1), b"x", true);
            let (found, broken) = collect(&[(&bytes, true)]);
            assert_eq!((found[0].pts, found[0].dts, broken), (Some(time), Some(time ^ 1), 0));
            assert_eq!(found[0].payload, &b"x"[..]);
        }
    }

    #[test]
    fn one_that_states_its_length_ends_there_and_one_that_does_not_where_the_next_begins() {
        let (stated, open) = (pes(1, None, b"sound", true), pes(2, None, b"picture", false));
        let mut assembly = Assembly::new(MAX_PES);
        let mut ended = 0;
        assembly.push(&stated[..10], true, Instant::now(), |_| ended += 1);
        assert_eq!(ended, 0);
        assembly.push(&[&stated[10..], &[0xff; 9]].concat(), false, Instant::now(), |_| ended += 1);
        assert_eq!(ended, 1, "what follows it is not part of it");
        let (found, broken) =
            collect(&[(&open[..12], true), (&open[12..], false), (&open, true), (&stated, true)]);
        let payloads: Vec<_> = found.iter().map(|pes| pes.payload.as_ref()).collect();
        assert_eq!((payloads, broken), (vec![&b"picture"[..], b"picture", b"sound"], 0));
    }

    #[test]
    fn what_is_cut_too_long_or_nonsense_is_broken() {
        let stated = pes(1, None, &[7; 100], true);
        assert_eq!(collect(&[(&stated[..60], true)]).1, 1);
        assert_eq!(collect(&[(b"\x00\x00\x02garbage garbage", true)]).1, 1);
        // Marker bits that are not there, and fields beyond the end.
        let mut unmarked = pes(1, None, b"x", false);
        unmarked[9] &= 0xfe;
        assert_eq!(collect(&[(&unmarked, true)]).1, 1);
        assert_eq!(collect(&[(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 200, 1], true)]).1, 1);
        let mut scrambled = pes(1, None, b"x", false);
        scrambled[6] |= 0x20;
        assert_eq!(collect(&[(&scrambled, true)]).1, 1);
        // Never-ending: given up on, and the next one is read.
        let long = vec![(&[5; 184][..], false); MAX_PES / 184 + 1];
        let open = pes(2, None, b"picture", false);
        let all = [(&open[..], true)].into_iter().chain(long).chain([(&open[..], true)]);
        let (found, broken) = collect(&all.collect::<Vec<_>>());
        assert_eq!((found.len(), broken), (1, 1));
    }

    #[test]
    fn one_is_no_longer_than_its_stream_may_have_them_though_it_does_not_say_how_long_it_is() {
        let (mut assembly, mut broken) = (Assembly::new(MAX_STATED), 0);
        assembly.push(&pes(2, None, b"sound", false), true, Instant::now(), |_| broken += 1);
        for _ in 0..=MAX_STATED / 184 {
            assembly.push(&[5; 184], false, Instant::now(), |_| broken += 1);
        }
        assert_eq!((broken, assembly.finish().is_none()), (1, true));
    }
}
