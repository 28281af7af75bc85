//! H.264 in packets (RFC 6184 §5.6–5.8): single units, units together, units in fragments. A key frame has its
//! parameter sets before it or had them earlier.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use packager::codec::h264;
use packager::media::VideoConfig;

use super::{Frame, MAX_PICTURE};

/// Types of NAL units and packets.
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What there is of the picture under way, and the parameter sets.
#[derive(Debug, Default)]
pub(super) struct H264 {
    data: BytesMut,
    sync: bool,
    /// Where the fragmented unit begins that is under way.
    fragment: Option<usize>,
    sps: Option<Bytes>,
    pps: Vec<Bytes>,
    /// What was last handed out.
    record: Option<Bytes>,
}

impl H264 {
    /// The next payload; `None` if it makes no sense.
    pub(super) fn read(&mut self, payload: &Bytes) -> Option<()> {
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

    /// Ends the picture under way; `None` if a unit of it has no end.
    pub(super) fn finish(&mut self) -> Option<Frame> {
        let data = std::mem::take(&mut self.data).freeze();
        let sync = std::mem::take(&mut self.sync);
        let cut = self.fragment.take().is_some();
        (!cut).then_some(Frame { data, sync })
    }

    /// Whether there is something to decode with: parameter sets.
    pub(super) fn is_decodable(&self) -> bool {
        self.record.is_some()
    }

    /// The decoder's configuration of a key frame, if it is another one.
    pub(super) fn config(&mut self) -> Option<VideoConfig> {
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
pub(super) fn is_beginning(payload: &[u8]) -> bool {
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
