//! H.264: AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3) and its sequence parameter sets
//! (ISO/IEC 14496-10 §7.3.2.1).
//!
//! Every parameter set of a record is held against the limits, not only the first: a decoder takes
//! whichever a slice names. VUI is advice (annex E: not needed to decode), so one that is cut or
//! wrong is read as far as it goes, while everything before it must be right.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::{BitReader, ByteReader};
use super::nal::{self, AnnexB, LengthSize};
use super::{MAX_SPS, Picture, open_record, vui};
use crate::media::{VideoCodec, VideoConfig};
use crate::time::FrameRate;

pub use super::Error;

/// nal_unit_type of a sequence parameter set.
const SPS: u8 = 7;
/// nal_unit_type of a picture parameter set.
const PPS: u8 = 8;
/// nal_unit_type of supplemental enhancement information.
const SEI: u8 = 6;
/// payloadType of a recovery point (§D.1.8).
const RECOVERY_POINT: usize = 6;
/// Bytes of an SEI in which a recovery point is looked for: encoders write it first, or behind a few that
/// are short.
const SEI_SIGHT: usize = 1024;
/// Longest picture parameter set, in bytes: as for the SPS, scaling lists are the most it carries.
const MAX_PPS: usize = MAX_SPS;
/// Most parameter sets of a kind that we write: the count of SPSs has five bits.
const MAX_SETS: usize = 31;

/// Reads a configuration record. `Sample`s that go with it have NAL lengths of
/// [`length_size`]`(&record)`.
pub fn config(record: Bytes) -> Result<VideoConfig, Error> {
    let picture = picture(&record)?;
    let mut bytes = ByteReader::new(&record);
    bytes.u8("configurationVersion")?;
    let profile = bytes.u8("AVCProfileIndication")?;
    let compatibility = bytes.u8("profile_compatibility")?;
    let level = bytes.u8("AVCLevelIndication")?;
    Ok(VideoConfig {
        codec: VideoCodec::H264,
        codec_string: format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"),
        width: picture.width,
        height: picture.height,
        rate: picture.rate,
        record,
    })
}

/// Reads the parameter sets an encoder hands out with start codes, as [`config`] reads a record.
pub fn config_from_annex_b(extradata: &[u8]) -> Result<VideoConfig, Error> {
    let mut sps = None;
    let mut pps = Vec::new();
    for unit in AnnexB::new(extradata) {
        let unit = unit.map_err(|_| Error::Invalid { what: "start codes", offset: 0 })?;
        match unit.kind(VideoCodec::H264) {
            SPS if sps.is_none() => sps = Some(unit.bytes),
            PPS => pps.push(unit.bytes),
            _ => {}
        }
    }
    let end = |what| Error::Incomplete { what, offset: extradata.len() };
    config(record(sps.ok_or_else(|| end("sequence parameter set"))?, &pps)?)
}

/// Writes a record with four-byte NAL lengths from parameter sets (header byte included, without
/// start codes).
pub fn record(sps: &[u8], pps: &[&[u8]]) -> Result<Bytes, Error> {
    let picture = sequence_parameter_set(sps, 0)?;
    let &[_, profile, compatibility, level, ..] = sps else {
        return Err(Error::Incomplete { what: "sequence parameter set", offset: sps.len() });
    };
    if pps.is_empty() {
        return Err(Error::Incomplete { what: "picture parameter set", offset: 0 });
    }
    if pps.len() > MAX_SETS {
        return Err(Error::TooLong {
            what: "list of parameter sets",
            len: pps.len(),
            max: MAX_SETS,
        });
    }
    let size = pps.iter().map(|set| set.len().saturating_add(2)).sum::<usize>();
    let mut out = BytesMut::with_capacity(size.saturating_add(sps.len()).saturating_add(16));
    out.put_slice(&[1, profile, compatibility, level, 0xff, 0xe1]);
    put_set(&mut out, sps, MAX_SPS)?;
    out.put_u8(u8::try_from(pps.len()).unwrap_or(u8::MAX));
    for set in pps {
        put_set(&mut out, set, MAX_PPS)?;
    }
    if has_tail(profile) {
        let depth = picture.bit_depth.saturating_sub(8);
        let chroma_depth = picture.chroma_bit_depth.saturating_sub(8);
        out.put_slice(&[0xfc | picture.chroma_format, 0xf8 | depth, 0xf8 | chroma_depth, 0]);
    }
    Ok(out.freeze())
}

fn put_set(out: &mut BytesMut, set: &[u8], max: usize) -> Result<(), Error> {
    let too_long = Error::TooLong { what: "parameter set", len: set.len(), max };
    match u16::try_from(set.len()) {
        Ok(len) if set.len() <= max => out.put_u16(len),
        _ => return Err(too_long),
    }
    out.put_slice(set);
    Ok(())
}

/// Whether a record of this profile ends with chroma format and bit depths (§5.3.3.1.2).
fn has_tail(profile: u8) -> bool {
    !matches!(profile, 66 | 77 | 88)
}

/// How long the NAL lengths are in samples that go with a record.
pub fn length_size(record: &[u8]) -> Result<LengthSize, Error> {
    let mut bytes = ByteReader::new(record);
    bytes.take(4, "AVCDecoderConfigurationRecord")?;
    let byte = bytes.u8("lengthSizeMinusOne")?;
    LengthSize::from_minus_one(byte).ok_or(Error::Invalid { what: "lengthSizeMinusOne", offset: 4 })
}

/// The parameter sets of a record, in its order, as parts of it.
pub fn parameter_sets(record: &Bytes) -> Result<Vec<Bytes>, Error> {
    let mut found = Vec::new();
    sets(record, |_, set, _| {
        found.push(record.slice_ref(set));
        Ok(())
    })?;
    Ok(found)
}

/// What the first sequence parameter set of a record says; all of them are held against the limits.
pub fn picture(record: &[u8]) -> Result<Picture, Error> {
    let mut first = None;
    sets(record, |kind, set, offset| {
        if kind == SPS {
            let picture = sequence_parameter_set(set, offset)?;
            first = first.or(Some(picture));
        }
        Ok(())
    })?;
    // The walk finds one or says what is wrong.
    first.ok_or(Error::Incomplete { what: "sequence parameter set", offset: record.len() })
}

/// Hands every parameter set of a record to `each`: SPS or PPS, its bytes and where they begin.
fn sets(
    record: &[u8],
    mut each: impl FnMut(u8, &[u8], usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut bytes = open_record(record, "AVCDecoderConfigurationRecord")?;
    length_size(record)?;
    bytes.take(4, "AVCDecoderConfigurationRecord")?;
    let count_at = bytes.offset();
    let count = bytes.u8("numOfSequenceParameterSets")? & 0x1f;
    for _ in 0..count {
        let len = usize::from(bytes.u16("sequenceParameterSetLength")?);
        let offset = bytes.offset();
        each(SPS, bytes.take(len, "sequenceParameterSetNALUnit")?, offset)?;
    }
    if count == 0 {
        return Err(Error::Invalid { what: "numOfSequenceParameterSets", offset: count_at });
    }
    let count_at = bytes.offset();
    let count = bytes.u8("numOfPictureParameterSets")?;
    if count == 0 {
        return Err(Error::Invalid { what: "numOfPictureParameterSets", offset: count_at });
    }
    for _ in 0..count {
        let len = usize::from(bytes.u16("pictureParameterSetLength")?);
        let offset = bytes.offset();
        let set = bytes.take(len, "pictureParameterSetNALUnit")?;
        if set.len() > MAX_PPS {
            return Err(Error::TooLong { what: "PPS", len: set.len(), max: MAX_PPS });
        }
        if set.first().map(|header| header & 0x1f) != Some(PPS) {
            return Err(Error::Invalid { what: "pictureParameterSetNALUnit", offset });
        }
        each(PPS, set, offset)?;
    }
    // The tail is left out by many writers, and repeats what the SPS says.
    Ok(())
}

/// What a sequence parameter set says of its pictures and of the headers of their slices.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    picture: Picture,
    /// seq_parameter_set_id.
    id: u32,
    /// separate_colour_plane_flag.
    separate_planes: bool,
    /// Bits of a frame_num.
    frame_num_bits: u32,
    order: PictureOrder,
    /// frame_mbs_only_flag.
    frames_only: bool,
}

/// What a slice header says of picture order.
#[derive(Clone, Copy, Debug)]
enum PictureOrder {
    /// pic_order_cnt_lsb of so many bits.
    Lsb { bits: u32 },
    /// delta_pic_order_cnt.
    Deltas,
    /// Nothing.
    Implied,
}

/// Whether a NAL unit is an SEI that says that decoding can start with its picture and shows whole pictures
/// from then on, or from some pictures later, though it is no IDR picture (§D.2.8).
pub fn is_recovery_point(nal: &[u8]) -> bool {
    let Some((_, message)) = nal.split_first().filter(|(first, _)| *first & 0x1f == SEI) else {
        return false;
    };
    let message = nal::unescape(message.get(..SEI_SIGHT).unwrap_or(message));
    let mut rest = message.as_slice();
    while let Some((kind, after)) = sei_number(rest) {
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some((size, after)) = sei_number(after) else { return false };
        rest = after.get(size..).unwrap_or_default();
    }
    false
}

/// A payload's type or size (§7.3.2.3.1): bytes of 255 and one that is less, added up.
fn sei_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let (last, rest) = bytes.get(full..)?.split_first()?;
    Some((full.checked_mul(255)?.checked_add(usize::from(*last))?, rest))
}

/// Reads a sequence parameter set (header byte included) that starts at `offset` of the input.
pub(super) fn sequence_parameter_set(nal: &[u8], offset: usize) -> Result<Picture, Error> {
    sequence(nal, offset).map(|sequence| sequence.picture)
}

/// As [`sequence_parameter_set`], with what only readers of slices need.
fn sequence(nal: &[u8], offset: usize) -> Result<Sequence, Error> {
    if nal.len() > MAX_SPS {
        return Err(Error::TooLong { what: "SPS", len: nal.len(), max: MAX_SPS });
    }
    let mut bits = BitReader::nal(nal, offset);
    if bits.bits(8, "SPS header")? & 0x9f != u32::from(SPS) {
        return Err(bits.invalid("SPS header"));
    }
    let profile = bits.bits(8, "profile_idc")?;
    bits.skip(16, "level_idc")?;
    let id = bits.ue(31, "seq_parameter_set_id")?;
    let format =
        if has_chroma_format(profile) { chroma_format(&mut bits)? } else { (1, 8, 8, false) };
    let (chroma_format, bit_depth, chroma_bit_depth, separate_planes) = format;
    let frame_num_bits = bits.ue(12, "log2_max_frame_num_minus4")?.saturating_add(4);
    let order = picture_order_count(&mut bits)?;
    let references = super::references(bits.ue(u32::MAX, "max_num_ref_frames")?)?;
    bits.flag("gaps_in_frame_num_value_allowed_flag")?;
    let width = bits.ue(u32::MAX, "pic_width_in_mbs_minus1")?.saturating_add(1);
    let height = bits.ue(u32::MAX, "pic_height_in_map_units_minus1")?.saturating_add(1);
    let frames_only = bits.flag("frame_mbs_only_flag")?;
    if !frames_only {
        bits.flag("mb_adaptive_frame_field_flag")?;
    }
    bits.flag("direct_8x8_inference_flag")?;
    let fields = if frames_only { 1 } else { 2 };
    let coded = (width.saturating_mul(16), height.saturating_mul(16).saturating_mul(fields));
    let mut size = coded;
    if bits.flag("frame_cropping_flag")? {
        // Offsets count chroma samples, and pairs of rows where there are fields.
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma_format == 1 { fields.saturating_mul(2) } else { fields };
        let mut crop = || bits.ue(u32::MAX, "frame_crop_offset");
        let x = crop()?.saturating_add(crop()?).saturating_mul(unit_x);
        let y = crop()?.saturating_add(crop()?).saturating_mul(unit_y);
        size = (coded.0.saturating_sub(x), coded.1.saturating_sub(y));
    }
    let (width, height) = super::picture_size(coded, size)?;
    let mut picture = Picture {
        width,
        height,
        chroma_format,
        bit_depth,
        chroma_bit_depth,
        references,
        aspect: None,
        colour: None,
        rate: None,
    };
    if bits.flag("vui_parameters_present_flag")? {
        // Advice: an error ends the reading of it and nothing else.
        let _ = usability(&mut bits, &mut picture);
    }
    Ok(Sequence { picture, id, separate_planes, frame_num_bits, order, frames_only })
}

/// Whether profile_idc is one of those with a chroma format in the SPS (§7.3.2.1.1).
fn has_chroma_format(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Chroma format, both bit depths and separate_colour_plane_flag, past the scaling lists.
fn chroma_format(bits: &mut BitReader<'_>) -> Result<(u8, u8, u8, bool), Error> {
    let format = bits.ue(3, "chroma_format_idc")?;
    let separate_planes = format == 3 && bits.flag("separate_colour_plane_flag")?;
    let luma = bits.ue(6, "bit_depth_luma_minus8")?.saturating_add(8);
    let chroma = bits.ue(6, "bit_depth_chroma_minus8")?.saturating_add(8);
    bits.flag("qpprime_y_zero_transform_bypass_flag")?;
    if bits.flag("seq_scaling_matrix_present_flag")? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.flag("seq_scaling_list_present_flag")? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    let byte = |value| u8::try_from(value).unwrap_or(u8::MAX);
    Ok((byte(format), byte(luma), byte(chroma), separate_planes))
}

/// Passes over a scaling list (§7.3.2.1.1.1).
fn scaling_list(bits: &mut BitReader<'_>, size: u32) -> Result<(), Error> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            let delta = bits.se("delta_scale")?;
            next = last.saturating_add(delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// Reads what describes picture order.
fn picture_order_count(bits: &mut BitReader<'_>) -> Result<PictureOrder, Error> {
    Ok(match bits.ue(2, "pic_order_cnt_type")? {
        0 => {
            let minus4 = bits.ue(12, "log2_max_pic_order_cnt_lsb_minus4")?;
            PictureOrder::Lsb { bits: minus4.saturating_add(4) }
        }
        1 => {
            let always_zero = bits.flag("delta_pic_order_always_zero_flag")?;
            bits.se("offset_for_non_ref_pic")?;
            bits.se("offset_for_top_to_bottom_field")?;
            for _ in 0..bits.ue(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.se("offset_for_ref_frame")?;
            }
            if always_zero { PictureOrder::Implied } else { PictureOrder::Deltas }
        }
        _ => PictureOrder::Implied,
    })
}

/// Reads VUI up to the timing information.
fn usability(bits: &mut BitReader<'_>, picture: &mut Picture) -> Result<(), Error> {
    picture.aspect = vui::aspect(bits)?;
    picture.colour = vui::colour(bits)?;
    vui::skip_chroma_location(bits)?;
    if let Some((ticks, seconds)) = vui::ticks_per_second(bits)? {
        // A tick is a field, whether or not the picture is made of fields (E.2.1).
        picture.rate = FrameRate::standard(ticks, seconds.saturating_mul(2));
    }
    Ok(())
}

mod repeat;
pub use repeat::repeats;

#[cfg(test)]
mod tests;
