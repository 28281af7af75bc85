//! An IDR picture once more: the same access unit under two other idr_pic_ids.
//!
//! Two IDR pictures in a row never have the same idr_pic_id (ISO/IEC 14496-10 §7.4.3), so one that
//! is shown again and again needs two. The id stands in the header of every slice (§7.3.3) as an
//! Exp-Golomb code, which may be longer than the one it replaces: all that follows it is moved by
//! the difference. CAVLC slice data begins at any bit and is moved as it is; CABAC slice data begins
//! at a byte (§7.3.4), so the header before it is filled up with ones again.
//!
//! SEI is left out: captions and time codes are said once. Slices are not decoded.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Error, PPS, PictureOrder, SPS, Sequence, sequence, sets};
use crate::codec::bits::{BitReader, BitWriter};
use crate::codec::nal::{self, LengthSize};
use crate::media::VideoCodec;

/// nal_unit_type of a slice of an IDR picture.
const IDR_SLICE: u8 = 5;
/// nal_unit_type of supplemental enhancement information.
const SEI: u8 = 6;
/// The ids given. Far from those that an encoder uses next: most count from 0, or take turns with 1.
const IDS: [u16; 2] = [65_533, 65_532];
/// What is given to a picture that has one of those, or is near them.
const OTHER_IDS: [u16; 2] = [32_001, 32_000];

/// The access unit `idr`, which follows the configuration `record` and has four-byte NAL lengths,
/// under two idr_pic_ids that are neither its own nor each other's.
///
/// # Errors
/// A parameter set or a slice header can't be read, or there is no slice of an IDR picture.
pub fn repeats(record: &[u8], idr: &[u8]) -> Result<[Bytes; 2], Error> {
    let mut known = Sets::default();
    sets(record, |kind, set, offset| known.take(kind, set, offset))?;
    let mut units = Vec::new();
    let mut own = None;
    for unit in nal::Units::new(idr, LengthSize::Four) {
        let unit = unit.map_err(|_| Error::Invalid { what: "access unit", offset: 0 })?;
        let kind = unit.kind(VideoCodec::H264);
        match kind {
            SEI => continue,
            SPS | PPS => known.take(kind, unit.bytes, unit.offset)?,
            _ => {}
        }
        let slice = match kind {
            IDR_SLICE => Some(Slice::read(&known, unit.bytes, unit.offset)?),
            _ => None,
        };
        own = own.or_else(|| slice.as_ref().map(|slice| slice.id));
        units.push((unit.bytes, slice));
    }
    let own = own.ok_or(Error::Incomplete { what: "IDR slice", offset: idr.len() })?;
    let ids = if own < u32::from(u16::MAX / 2) { IDS } else { OTHER_IDS };
    Ok(ids.map(|id| {
        let mut out = BytesMut::with_capacity(idr.len().saturating_add(256));
        for (bytes, slice) in &units {
            match slice {
                Some(slice) => put_unit(&mut out, &slice.with_id(id)),
                None => put_unit(&mut out, bytes),
            }
        }
        out.freeze()
    }))
}

fn put_unit(out: &mut BytesMut, unit: &[u8]) {
    out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
    out.put_slice(unit);
}

/// The parameter sets in force; of two with the same id the later one.
#[derive(Default)]
struct Sets {
    sequences: Vec<Sequence>,
    pictures: Vec<PictureSet>,
}

impl Sets {
    fn take(&mut self, kind: u8, set: &[u8], offset: usize) -> Result<(), Error> {
        if kind == SPS {
            self.sequences.push(sequence(set, offset)?);
        } else {
            self.pictures.push(PictureSet::read(set, offset)?);
        }
        Ok(())
    }
}

/// What a picture parameter set (§7.3.2.2) says of slice headers.
struct PictureSet {
    id: u32,
    sequence: u32,
    /// entropy_coding_mode_flag.
    cabac: bool,
    /// bottom_field_pic_order_in_frame_present_flag.
    bottom_order: bool,
    /// deblocking_filter_control_present_flag.
    deblocking: bool,
    /// redundant_pic_cnt_present_flag.
    redundant: bool,
}

impl PictureSet {
    fn read(set: &[u8], offset: usize) -> Result<Self, Error> {
        let mut bits = BitReader::nal(set, offset);
        bits.skip(8, "PPS header")?;
        let id = bits.ue(255, "pic_parameter_set_id")?;
        let sequence = bits.ue(31, "seq_parameter_set_id")?;
        let cabac = bits.flag("entropy_coding_mode_flag")?;
        let bottom_order = bits.flag("bottom_field_pic_order_in_frame_present_flag")?;
        let groups = bits.ue(7, "num_slice_groups_minus1")?;
        if groups > 0 {
            return Err(Error::Unsupported { what: "num_slice_groups_minus1", value: groups });
        }
        bits.ue(31, "num_ref_idx_l0_default_active_minus1")?;
        bits.ue(31, "num_ref_idx_l1_default_active_minus1")?;
        bits.skip(3, "weighted_pred_flag")?;
        bits.se("pic_init_qp_minus26")?;
        bits.se("pic_init_qs_minus26")?;
        bits.se("chroma_qp_index_offset")?;
        let deblocking = bits.flag("deblocking_filter_control_present_flag")?;
        bits.flag("constrained_intra_pred_flag")?;
        let redundant = bits.flag("redundant_pic_cnt_present_flag")?;
        Ok(Self { id, sequence, cabac, bottom_order, deblocking, redundant })
    }
}

/// A slice of an IDR picture, without emulation prevention, and where in it the id stands.
struct Slice {
    rbsp: Vec<u8>,
    id: u32,
    /// Bit at which idr_pic_id begins, and the one behind it.
    id_at: std::ops::Range<usize>,
    /// Bit at which the header ends, where CABAC data follows.
    header_end: Option<usize>,
}

impl Slice {
    /// Reads the header of a slice that starts at `offset` of the access unit.
    fn read(sets: &Sets, unit: &[u8], offset: usize) -> Result<Self, Error> {
        let mut bits = BitReader::nal(unit, offset);
        bits.skip(8, "slice header")?;
        bits.ue(u32::MAX, "first_mb_in_slice")?;
        let kind = bits.ue(9, "slice_type")? % 5;
        // I and SI: an IDR picture has no other.
        if !matches!(kind, 2 | 4) {
            return Err(bits.invalid("slice_type"));
        }
        let id = bits.ue(255, "pic_parameter_set_id")?;
        let picture = sets.pictures.iter().rev().find(|set| set.id == id);
        let picture = picture.ok_or_else(|| bits.invalid("pic_parameter_set_id"))?;
        let sequence = sets.sequences.iter().rev().find(|set| set.id == picture.sequence);
        let sequence = sequence.ok_or_else(|| bits.invalid("seq_parameter_set_id"))?;
        if sequence.separate_planes {
            bits.skip(2, "colour_plane_id")?;
        }
        bits.skip(sequence.frame_num_bits, "frame_num")?;
        let field = !sequence.frames_only && bits.flag("field_pic_flag")?;
        if field {
            bits.flag("bottom_field_flag")?;
        }
        let before = bits.position();
        let id = bits.ue(u16::MAX.into(), "idr_pic_id")?;
        let id_at = before..bits.position();
        let header_end = if picture.cabac {
            picture_order(&mut bits, sequence, picture, field)?;
            if picture.redundant {
                bits.ue(127, "redundant_pic_cnt")?;
            }
            if unit.first().is_some_and(|header| header & 0x60 != 0) {
                bits.skip(2, "dec_ref_pic_marking")?;
            }
            bits.se("slice_qp_delta")?;
            if kind == 4 {
                bits.se("slice_qs_delta")?;
            }
            if picture.deblocking && bits.ue(2, "disable_deblocking_filter_idc")? != 1 {
                bits.se("slice_alpha_c0_offset_div2")?;
                bits.se("slice_beta_offset_div2")?;
            }
            Some(bits.position())
        } else {
            None
        };
        Ok(Self { rbsp: nal::unescape(unit), id, id_at, header_end })
    }

    /// The NAL unit of the same slice with another id.
    fn with_id(&self, id: u16) -> Vec<u8> {
        let mut out = BitWriter::with_capacity(self.rbsp.len().saturating_add(8));
        out.copy(&self.rbsp, 0..self.id_at.start);
        out.ue(id);
        match self.header_end {
            Some(end) => {
                out.copy(&self.rbsp, self.id_at.end..end);
                out.align(true);
                let data = end.div_ceil(8).saturating_mul(8);
                out.copy(&self.rbsp, data..self.rbsp.len().saturating_mul(8));
            }
            // The stop bit moves with what precedes it; the zeros behind it are written anew.
            None => out.copy(&self.rbsp, self.id_at.end..stop(&self.rbsp)),
        }
        nal::escape(&out.finish())
    }
}

/// Passes over what a slice says of picture order.
fn picture_order(
    bits: &mut BitReader<'_>,
    sequence: &Sequence,
    picture: &PictureSet,
    field: bool,
) -> Result<(), Error> {
    match sequence.order {
        PictureOrder::Lsb { bits: count } => {
            bits.skip(count, "pic_order_cnt_lsb")?;
            if picture.bottom_order && !field {
                bits.se("delta_pic_order_cnt_bottom")?;
            }
        }
        PictureOrder::Deltas => {
            bits.se("delta_pic_order_cnt")?;
            if picture.bottom_order && !field {
                bits.se("delta_pic_order_cnt")?;
            }
        }
        PictureOrder::Implied => {}
    }
    Ok(())
}

/// The bit behind rbsp_stop_one_bit: the last one that is set.
fn stop(rbsp: &[u8]) -> usize {
    let last = rbsp.iter().rposition(|byte| *byte != 0);
    let zeros = last.and_then(|at| rbsp.get(at)).map_or(0, |byte| byte.trailing_zeros());
    let bytes = last.map_or(0, |at| at.saturating_add(1));
    bytes.saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}
