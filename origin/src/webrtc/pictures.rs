//! Puts pictures together of packets of H.264 in order (RFC 6184 §5.6–5.8): length-prefixed NAL units and the
//! parameter sets apart, as every source of a channel hands them over.
//!
//! A gap breaks the picture that it is in and those that follow up to the next key frame; nothing else does. A
//! packet that makes no sense is such a gap and never the end of a session. Where a gap ends, a picture begins only
//! if what comes is its beginning: else its first slices may be among what was lost.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use packager::codec::h264;
use packager::media::VideoConfig;

use super::receive::Packet;

/// Bytes of a picture: one of 2160p at the highest quality is below.
const MAX_PICTURE: usize = 4 << 20;
/// Types of NAL units and packets.
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// A whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// On the stream's clock.
    pub(super) timestamp: u32,
    pub(super) sync: bool,
    /// Length-prefixed NAL units, without parameter sets.
    pub(super) data: Bytes,
    /// The decoder's configuration, if it is another one from here on.
    pub(super) config: Option<VideoConfig>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    timestamp: Option<u32>,
    data: BytesMut,
    sync: bool,
    /// Where the fragmented unit begins that is under way.
    fragment: Option<usize>,
    /// The picture under way is not whole.
    damaged: bool,
    /// Packets are missing right before the next one.
    gap: bool,
    /// Nothing is of use before the next key frame.
    broken: bool,
    sps: Option<Bytes>,
    pps: Vec<Bytes>,
    /// What was last handed out.
    record: Option<Bytes>,
}

impl Pictures {
    pub(super) fn new() -> Self {
        Self { gap: true, broken: true, ..Self::default() }
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
            self.damaged = self.gap && !is_beginning(&packet.payload);
        }
        self.gap = false;
        if self.read(&packet.payload).is_none() {
            (self.damaged, self.broken) = (true, true);
        }
        if packet.marker { before.or_else(|| self.finish()) } else { before }
    }

    fn read(&mut self, payload: &Bytes) -> Option<()> {
        let mut payload = payload.clone();
        match *payload.first()? & 0x1f {
            1..=23 => self.unit(&payload),
            STAP_A => {
                payload.advance(1);
                while payload.len() > 2 {
                    let length = usize::from(payload.get_u16());
                    if length == 0 || length > payload.len() {
                        return None;
                    }
                    self.unit(&payload.split_to(length))?;
                }
                Some(())
            }
            FU_A => self.fragment(payload),
            _ => None,
        }
    }

    fn unit(&mut self, unit: &Bytes) -> Option<()> {
        if self.fragment.is_some() {
            // The one under way has no end.
            return None;
        }
        match *unit.first()? & 0x1f {
            // Types of packets, of which none is within another.
            0 | 24.. => return None,
            SPS => self.sps = Some(unit.clone()),
            // Those of another sequence are of no use with it.
            PPS if self.pps.iter().any(|known| known == unit) => {}
            PPS => {
                let id = pps_id(unit);
                self.pps.retain(|known| pps_id(known) != id);
                self.pps.push(unit.clone());
                // There are 256 ids, and nobody uses more than two.
                let surplus = self.pps.len().saturating_sub(8);
                self.pps.drain(..surplus);
            }
            DELIMITER | FILLER => {}
            kind => {
                self.room(unit.len())?;
                self.sync |= kind == IDR;
                self.data.put_u32(u32::try_from(unit.len()).ok()?);
                self.data.put_slice(unit);
            }
        }
        Some(())
    }

    fn fragment(&mut self, mut payload: Bytes) -> Option<()> {
        if payload.len() < 3 {
            return None;
        }
        let (indicator, header) = (payload.get_u8(), payload.get_u8());
        if header & 0x80 != 0 {
            if self.fragment.is_some() || !matches!(header & 0x1f, 1..=23) {
                return None;
            }
            self.room(payload.len())?;
            self.fragment = Some(self.data.len());
            self.sync |= header & 0x1f == IDR;
            self.data.put_u32(0);
            self.data.put_u8(indicator & 0xe0 | header & 0x1f);
        }
        let begin = self.fragment?;
        self.room(payload.len())?;
        self.data.put_slice(&payload);
        if header & 0x40 != 0 {
            let length = self.data.len().checked_sub(begin)?.checked_sub(4)?;
            let field = self.data.get_mut(begin..begin.checked_add(4)?)?;
            field.copy_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
            self.fragment = None;
        }
        Some(())
    }

    fn room(&self, more: usize) -> Option<()> {
        (self.data.len().saturating_add(more) < MAX_PICTURE).then_some(())
    }

    /// Ends the picture under way.
    fn finish(&mut self) -> Option<Whole> {
        let timestamp = self.timestamp.take()?;
        let data = std::mem::take(&mut self.data).freeze();
        let sync = std::mem::take(&mut self.sync);
        let cut = self.fragment.take().is_some();
        let damaged = std::mem::take(&mut self.damaged) || cut;
        if damaged {
            self.broken = true;
            return None;
        }
        if data.is_empty() || (self.broken && !sync) {
            return None;
        }
        let config = if sync { self.config() } else { None };
        // A key frame without parameter sets can't be decoded.
        self.record.as_ref()?;
        self.broken = false;
        Some(Whole { timestamp, sync, data, config })
    }

    fn config(&mut self) -> Option<VideoConfig> {
        let pps: Vec<&[u8]> = self.pps.iter().map(Bytes::as_ref).collect();
        let record = h264::record(self.sps.as_ref()?, &pps).ok()?;
        if self.record.as_ref() == Some(&record) {
            return None;
        }
        let config = h264::config(record.clone()).ok()?;
        self.record = Some(record);
        Some(config)
    }
}

/// Whether a packet is the beginning of a picture: what stands before the first slice, or that, whose
/// first_mb_in_slice is nought, one bit behind its header (H.264 §7.3.3, §7.4.1.2.3).
fn is_beginning(payload: &[u8]) -> bool {
    let of_unit = |kind: u8, next: Option<&u8>| match kind {
        1..=IDR => next.is_some_and(|byte| byte & 0x80 != 0),
        6..=DELIMITER => true,
        _ => false,
    };
    match payload {
        [first, rest @ ..] if matches!(first & 0x1f, 1..=23) => of_unit(first & 0x1f, rest.first()),
        // A length, then the unit.
        [first, _, _, unit, rest @ ..] if first & 0x1f == STAP_A => {
            of_unit(unit & 0x1f, rest.first())
        }
        [first, header, rest @ ..] if first & 0x1f == FU_A && header & 0x80 != 0 => {
            of_unit(header & 0x1f, rest.first())
        }
        _ => false,
    }
}

/// pic_parameter_set_id, as long as it is below seven: an Exp-Golomb code behind the header.
fn pps_id(unit: &[u8]) -> u32 {
    let first = unit.get(1).copied().unwrap_or(0);
    match first.leading_zeros() {
        0 => 0,
        1 => u32::from(first >> 5) - 1,
        2 => u32::from(first >> 3) - 1,
        _ => u32::MAX,
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]
mod tests {
    use std::sync::Arc;

    use ingest::source::{SourceSample, Unit};
    use packager::time::{Timescale, Timestamp};

    use super::super::packets;
    use super::*;
    use crate::channel::preview::{Picture, Preview};

    /// Parameter sets of 320x180 by x264.
    const SETS: [&[u8]; 2] = [
        &[
            0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x6c, 0x80, 0x00,
            0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x1e, 0x07, 0x8a, 0x14, 0xcb,
        ],
        &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0],
    ];

    /// A key frame as a viewer is sent it: sets together, a unit in fragments, a small one.
    fn payloads() -> (Arc<[Bytes]>, Bytes) {
        let record = h264::record(SETS[0], &[SETS[1]]).unwrap();
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(h264::config(record).unwrap()));
        let mut data = BytesMut::new();
        for unit in [[&[0x65, 0x88][..], &[7; 4_000]].concat(), vec![0x65, 1, 2]] {
            data.put_u32(u32::try_from(unit.len()).unwrap());
            data.put_slice(&unit);
        }
        let data = data.freeze();
        let at = Timestamp::new(0, Timescale::MILLIS);
        let received = std::time::Instant::now();
        let sample = SourceSample { dts: at, pts: at, sync: true, data: data.clone(), received };
        preview.passed(&Unit::Video(sample));
        let group: Vec<Arc<Picture>> = preview.tracks().borrow()[0].group();
        (Arc::clone(group[0].payloads(packets::cut)), data)
    }

    fn packets(payloads: &[Bytes], timestamp: u32) -> Vec<Packet> {
        let last = payloads.len() - 1;
        let packet = |(index, payload): (usize, &Bytes)| Packet {
            payload_type: 102,
            marker: index == last,
            sequence: u16::try_from(index).unwrap(),
            timestamp,
            ssrc: 7,
            payload: payload.clone(),
        };
        payloads.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn what_is_cut_for_viewers_is_put_together_again() {
        let (payloads, data) = payloads();
        assert_eq!(payloads.len(), 6, "sets, four fragments, a unit");
        let mut pictures = Pictures::new();
        let whole: Vec<_> =
            packets(&payloads, 9).iter().filter_map(|packet| pictures.take(packet)).collect();
        let [whole] = &whole[..] else { panic!("{whole:?}") };
        assert_eq!((whole.timestamp, whole.sync, &whole.data), (9, true, &data));
        assert_eq!(whole.config.as_ref().map(|c| (c.width, c.height)), Some((320, 180)));
        // Told once.
        let again: Vec<_> =
            packets(&payloads, 10).iter().filter_map(|packet| pictures.take(packet)).collect();
        assert_eq!(again[0].config, None);
    }

    #[test]
    fn whatever_is_missing_costs_pictures_up_to_the_next_key_frame_and_nothing_more() {
        let (payloads, _) = payloads();
        for missing in 0..payloads.len() {
            let mut pictures = Pictures::new();
            for (index, packet) in packets(&payloads, 9).iter().enumerate() {
                if index == missing {
                    pictures.lose();
                } else {
                    assert_eq!(pictures.take(packet), None, "without {missing}");
                }
            }
            let delta = packet(10, true, &[0x41, 0x81]);
            assert_eq!(pictures.take(&delta), None, "without {missing}");
            assert!(pictures.wants_key_frame());
            let whole = packets(&payloads, 11).iter().filter_map(|p| pictures.take(p)).count();
            assert_eq!((whole, pictures.wants_key_frame()), (1, false), "without {missing}");
        }
    }

    fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Packet {
        let payload = Bytes::copy_from_slice(payload);
        Packet { payload_type: 102, marker, sequence: 0, timestamp, ssrc: 7, payload }
    }

    /// A stream whose parameter sets are known, and that stands after a whole key frame.
    fn begun() -> Pictures {
        let (payloads, _) = payloads();
        let mut pictures = Pictures::new();
        let whole = packets(&payloads, 1).iter().filter_map(|p| pictures.take(p)).count();
        assert_eq!((whole, pictures.wants_key_frame()), (1, false));
        pictures
    }

    #[test]
    fn a_key_frame_whose_first_slice_was_lost_is_none() {
        let mut pictures = begun();
        pictures.lose();
        assert_eq!(pictures.take(&packet(2, true, &[0x65, 0x20, 2])), None);
        assert!(pictures.wants_key_frame());
        pictures.take(&packet(3, false, &[0x65, 0x88, 2]));
        let whole = pictures.take(&packet(3, true, &[0x65, 0x20, 2])).unwrap();
        assert_eq!((whole.sync, whole.data.len()), (true, 14));
    }

    #[test]
    fn a_unit_without_an_end_breaks_its_picture() {
        for next in [&[0x7c, 0x85, 0x88, 1][..], &[0x65, 0x88, 1], &[0x78, 0, 2, 0x65, 0x88]] {
            let mut pictures = begun();
            assert_eq!(pictures.take(&packet(2, false, &[0x7c, 0x85, 0x88, 1])), None);
            assert_eq!(pictures.take(&packet(2, true, next)), None, "{next:x?}");
            assert!(pictures.wants_key_frame());
        }
    }

    #[test]
    fn packets_within_packets_are_no_units() {
        for payload in [&[0x78, 0, 2, 0x78, 0x88][..], &[0x7c, 0x9c, 0x88, 1], &[0x60, 0x88]] {
            let mut pictures = begun();
            assert_eq!(pictures.take(&packet(2, true, payload)), None, "{payload:x?}");
            assert!(pictures.wants_key_frame());
        }
    }

    #[test]
    fn a_packet_that_only_fills_the_line_changes_nothing() {
        let mut pictures = begun();
        assert_eq!(pictures.take(&packet(1, false, &[])), None);
        assert!(!pictures.wants_key_frame());
        assert!(pictures.take(&packet(2, true, &[0x41, 0x88])).is_some());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_panics(
            payloads in proptest::collection::vec((proptest::collection::vec(0u8.., 0..40), 0u32..3, proptest::bool::ANY), 0..60)
        ) {
            let mut pictures = Pictures::new();
            for (payload, timestamp, marker) in payloads {
                let _ = pictures.take(&packet(timestamp, marker, &payload));
            }
        }
    }
}
