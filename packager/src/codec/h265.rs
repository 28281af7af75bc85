//! H.265: HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3) and its sequence parameter sets
//! (ISO/IEC 23008-2 §7.3.2.2).
//!
//! As for H.264, every SPS of a record is held against the limits. The frame rate lies at the very
//! end of an SPS, in its VUI, so all that comes before has to be walked; what is cut or wrong in
//! the VUI itself is only advice lost.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};

use super::bits::{BitReader, ByteReader};
use super::nal::{AnnexB, LengthSize};
use super::{MAX_SPS, Picture, open_record, vui};
use crate::media::{VideoCodec, VideoConfig};
use crate::time::FrameRate;

pub use super::Error;

/// nal_unit_type of a video parameter set.
const VPS: u8 = 32;
/// nal_unit_type of a sequence parameter set.
const SPS: u8 = 33;
/// nal_unit_type of a picture parameter set.
const PPS: u8 = 34;
/// Most arrays in a record: one for each kind of parameter set and SEI, and room for extensions.
const MAX_ARRAYS: u8 = 8;

/// Reads a configuration record. `Sample`s that go with it have NAL lengths of
/// [`length_size`]`(&record)`.
pub fn config(record: Bytes) -> Result<VideoConfig, Error> {
    let picture = picture(&record)?;
    let mut bytes = ByteReader::new(&record);
    bytes.u8("configurationVersion")?;
    Ok(VideoConfig {
        codec: VideoCodec::H265,
        codec_string: codec_string(bytes.take(12, "general_profile_idc")?),
        width: picture.width,
        height: picture.height,
        rate: picture.rate,
        record,
    })
}

/// RFC 6381 string (ISO/IEC 14496-15 annex E) of the twelve bytes of profile, tier and level.
fn codec_string(profile_tier_level: &[u8]) -> String {
    let &[first, c0, c1, c2, c3, ref constraints @ .., level] = profile_tier_level else {
        return String::new();
    };
    let space = match first >> 6 {
        1 => "A",
        2 => "B",
        3 => "C",
        _ => "",
    };
    let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
    // Compatibility flags with the first as the least significant bit.
    let flags = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{flags:X}.{tier}{level}", first & 0x1f);
    let zeros = constraints.iter().rev().take_while(|byte| **byte == 0).count();
    for byte in constraints.iter().take(constraints.len().saturating_sub(zeros)) {
        // Writing to a String never fails.
        let _ = write!(text, ".{byte:X}");
    }
    text
}

/// Reads the parameter sets an encoder hands out with start codes, as [`config`] reads a record.
pub fn config_from_annex_b(extradata: &[u8]) -> Result<VideoConfig, Error> {
    let (mut vps, mut sps, mut pps) = (Vec::new(), Vec::new(), Vec::new());
    for unit in AnnexB::new(extradata) {
        let unit = unit.map_err(|_| Error::Invalid { what: "start codes", offset: 0 })?;
        match unit.kind(VideoCodec::H265) {
            VPS => vps.push(unit.bytes),
            SPS => sps.push(unit.bytes),
            PPS => pps.push(unit.bytes),
            _ => {}
        }
    }
    config(record(&vps, &sps, &pps)?)
}

/// Writes a record with four-byte NAL lengths from parameter sets (header bytes included, without
/// start codes).
pub fn record(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Result<Bytes, Error> {
    let Some(first) = sps.first() else {
        return Err(Error::Incomplete { what: "sequence parameter set", offset: 0 });
    };
    let picture = sequence_parameter_set(first, 0)?;
    // general_profile_space to general_level_idc, without emulation prevention.
    let mut bits = BitReader::nal(first, 0);
    bits.skip(16, "SPS header")?;
    bits.skip(4, "sps_video_parameter_set_id")?;
    let layers = bits.bits(3, "sps_max_sub_layers_minus1")?;
    let nested = bits.bits(1, "sps_temporal_id_nesting_flag")?;
    let mut out = BytesMut::with_capacity(256);
    out.put_u8(1);
    for _ in 0..12 {
        let byte = bits.bits(8, "profile_tier_level")?;
        out.put_u8(u8::try_from(byte).unwrap_or(0));
    }
    let temporal = layers.saturating_add(1) << 3 | nested << 2;
    out.put_slice(&[
        0xf0,
        0x00,
        0xfc,
        0xfc | picture.chroma_format,
        0xf8 | picture.bit_depth.saturating_sub(8),
        0xf8 | picture.chroma_bit_depth.saturating_sub(8),
        0,
        0,
        u8::try_from(temporal).unwrap_or(0) | 3,
        3,
    ]);
    for (kind, sets) in [(VPS, vps), (SPS, sps), (PPS, pps)] {
        if sets.is_empty() {
            return Err(Error::Incomplete { what: "parameter sets", offset: 0 });
        }
        out.put_u8(0x80 | kind);
        let too_long =
            |len| Error::TooLong { what: "parameter set", len, max: usize::from(u16::MAX) };
        out.put_u16(u16::try_from(sets.len()).map_err(|_| too_long(sets.len()))?);
        for set in sets {
            out.put_u16(u16::try_from(set.len()).map_err(|_| too_long(set.len()))?);
            out.put_slice(set);
        }
    }
    Ok(out.freeze())
}

/// How long the NAL lengths are in samples that go with a record.
pub fn length_size(record: &[u8]) -> Result<LengthSize, Error> {
    let mut bytes = ByteReader::new(record);
    bytes.take(21, "HEVCDecoderConfigurationRecord")?;
    let byte = bytes.u8("lengthSizeMinusOne")?;
    LengthSize::from_minus_one(byte)
        .ok_or(Error::Invalid { what: "lengthSizeMinusOne", offset: 21 })
}

/// What the first sequence parameter set of a record says; all of them are held against the limits.
pub fn picture(record: &[u8]) -> Result<Picture, Error> {
    let mut bytes = open_record(record, "HEVCDecoderConfigurationRecord")?;
    length_size(record)?;
    bytes.take(21, "HEVCDecoderConfigurationRecord")?;
    let count_at = bytes.offset();
    let arrays = bytes.u8("numOfArrays")?;
    if arrays > MAX_ARRAYS {
        return Err(Error::Invalid { what: "numOfArrays", offset: count_at });
    }
    let (mut first, mut has_pps) = (None, false);
    for _ in 0..arrays {
        let kind = bytes.u8("NAL_unit_type")? & 0x3f;
        for _ in 0..bytes.u16("numNalus")? {
            let len = usize::from(bytes.u16("nalUnitLength")?);
            let offset = bytes.offset();
            let unit = bytes.take(len, "nalUnit")?;
            match kind {
                SPS => {
                    let picture = sequence_parameter_set(unit, offset)?;
                    first = first.or(Some(picture));
                }
                PPS => has_pps = true,
                _ => {}
            }
        }
    }
    if !has_pps {
        return Err(Error::Invalid { what: "numOfArrays", offset: count_at });
    }
    first.ok_or(Error::Invalid { what: "numOfArrays", offset: count_at })
}

/// Reads a sequence parameter set (header bytes included) that starts at `offset` of the input.
pub(super) fn sequence_parameter_set(nal: &[u8], offset: usize) -> Result<Picture, Error> {
    if nal.len() > MAX_SPS {
        return Err(Error::TooLong { what: "SPS", len: nal.len(), max: MAX_SPS });
    }
    let mut bits = BitReader::nal(nal, offset);
    if bits.bits(16, "SPS header")? & 0xfe00 != u32::from(SPS) << 9 {
        return Err(bits.invalid("SPS header"));
    }
    bits.skip(4, "sps_video_parameter_set_id")?;
    let layers = bits.bits(3, "sps_max_sub_layers_minus1")?;
    if layers > 6 {
        return Err(bits.invalid("sps_max_sub_layers_minus1"));
    }
    bits.flag("sps_temporal_id_nesting_flag")?;
    profile_tier_level(&mut bits, layers)?;
    bits.ue(15, "sps_seq_parameter_set_id")?;
    let chroma_format = bits.ue(3, "chroma_format_idc")?;
    if chroma_format == 3 {
        bits.flag("separate_colour_plane_flag")?;
    }
    let width = bits.ue(u32::MAX, "pic_width_in_luma_samples")?;
    let height = bits.ue(u32::MAX, "pic_height_in_luma_samples")?;
    let mut size = (width, height);
    if bits.flag("conformance_window_flag")? {
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1u32),
        };
        let mut crop = || bits.ue(u32::MAX, "conf_win_offset");
        let x = crop()?.saturating_add(crop()?).saturating_mul(unit_x);
        let y = crop()?.saturating_add(crop()?).saturating_mul(unit_y);
        size = (width.saturating_sub(x), height.saturating_sub(y));
    }
    let (picture_width, picture_height) = super::picture_size((width, height), size)?;
    let luma = bits.ue(8, "bit_depth_luma_minus8")?.saturating_add(8);
    let chroma = bits.ue(8, "bit_depth_chroma_minus8")?.saturating_add(8);
    let byte = |value| u8::try_from(value).unwrap_or(u8::MAX);
    let poc_bits = bits.ue(12, "log2_max_pic_order_cnt_lsb_minus4")?.saturating_add(4);
    let mut picture = Picture {
        width: picture_width,
        height: picture_height,
        chroma_format: byte(chroma_format),
        bit_depth: byte(luma),
        chroma_bit_depth: byte(chroma),
        references: super::references(picture_buffer(&mut bits, layers)?)?,
        aspect: None,
        colour: None,
        rate: None,
    };
    coding_tools(&mut bits)?;
    reference_picture_sets(&mut bits, poc_bits)?;
    bits.flag("sps_temporal_mvp_enabled_flag")?;
    bits.flag("strong_intra_smoothing_enabled_flag")?;
    if bits.flag("vui_parameters_present_flag")? {
        // Advice: an error ends the reading of it and nothing else.
        let _ = usability(&mut bits, &mut picture);
    }
    Ok(picture)
}

/// Passes over profile_tier_level (§7.3.3).
fn profile_tier_level(bits: &mut BitReader<'_>, layers: u32) -> Result<(), Error> {
    bits.skip(88, "general_profile_idc")?;
    bits.skip(8, "general_level_idc")?;
    let mut present = [(false, false); 6];
    for layer in present.iter_mut().take(usize::try_from(layers).unwrap_or(0)) {
        let profile = bits.flag("sub_layer_profile_present_flag")?;
        *layer = (profile, bits.flag("sub_layer_level_present_flag")?);
    }
    if layers > 0 {
        bits.skip(8u32.saturating_sub(layers).saturating_mul(2), "reserved_zero_2bits")?;
    }
    for (profile, level) in present {
        if profile {
            bits.skip(88, "sub_layer_profile_idc")?;
        }
        if level {
            bits.skip(8, "sub_layer_level_idc")?;
        }
    }
    Ok(())
}

/// Pictures in the decoded picture buffer besides the current one, the most of any sub-layer.
fn picture_buffer(bits: &mut BitReader<'_>, layers: u32) -> Result<u32, Error> {
    let all = bits.flag("sps_sub_layer_ordering_info_present_flag")?;
    let mut most = 0;
    for _ in 0..if all { layers.saturating_add(1) } else { 1 } {
        most = most.max(bits.ue(u32::MAX, "sps_max_dec_pic_buffering_minus1")?);
        bits.ue(u32::MAX, "sps_max_num_reorder_pics")?;
        bits.ue(u32::MAX, "sps_max_latency_increase_plus1")?;
    }
    Ok(most)
}

/// Passes over block sizes, scaling lists, filters and PCM.
fn coding_tools(bits: &mut BitReader<'_>) -> Result<(), Error> {
    for what in [
        "log2_min_luma_coding_block_size_minus3",
        "log2_diff_max_min_luma_coding_block_size",
        "log2_min_luma_transform_block_size_minus2",
        "log2_diff_max_min_luma_transform_block_size",
        "max_transform_hierarchy_depth_inter",
        "max_transform_hierarchy_depth_intra",
    ] {
        bits.ue(6, what)?;
    }
    if bits.flag("scaling_list_enabled_flag")? && bits.flag("sps_scaling_list_data_present_flag")? {
        scaling_lists(bits)?;
    }
    bits.flag("amp_enabled_flag")?;
    bits.flag("sample_adaptive_offset_enabled_flag")?;
    if bits.flag("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.ue(3, "log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.ue(3, "log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.flag("pcm_loop_filter_disabled_flag")?;
    }
    Ok(())
}

/// Passes over scaling_list_data (§7.3.4).
fn scaling_lists(bits: &mut BitReader<'_>) -> Result<(), Error> {
    // Lists and coefficients of each block size, and whether a DC coefficient is written apart.
    for (lists, coefficients, dc) in [(6, 16, false), (6, 64, false), (6, 64, true), (2, 64, true)]
    {
        for _ in 0..lists {
            if !bits.flag("scaling_list_pred_mode_flag")? {
                bits.ue(5, "scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if dc {
                bits.se("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..coefficients {
                bits.se("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

/// Passes over the short-term and long-term reference picture sets.
fn reference_picture_sets(bits: &mut BitReader<'_>, poc_bits: u32) -> Result<(), Error> {
    let mut previous = 0u32;
    for index in 0..bits.ue(64, "num_short_term_ref_pic_sets")? {
        previous = short_term_set(bits, index, previous)?;
    }
    if bits.flag("long_term_ref_pics_present_flag")? {
        for _ in 0..bits.ue(32, "num_long_term_ref_pics_sps")? {
            bits.skip(poc_bits, "lt_ref_pic_poc_lsb_sps")?;
            bits.flag("used_by_curr_pic_lt_sps_flag")?;
        }
    }
    Ok(())
}

/// Passes over st_ref_pic_set (§7.3.7) and says how many pictures it has; `previous` is that of the
/// set before, which is the one it is predicted from.
fn short_term_set(bits: &mut BitReader<'_>, index: u32, previous: u32) -> Result<u32, Error> {
    let mut pictures = 0u32;
    if index != 0 && bits.flag("inter_ref_pic_set_prediction_flag")? {
        bits.flag("delta_rps_sign")?;
        bits.ue(32_767, "abs_delta_rps_minus1")?;
        for _ in 0..=previous {
            let used = bits.flag("used_by_curr_pic_flag")?;
            if used || bits.flag("use_delta_flag")? {
                pictures = pictures.saturating_add(1);
            }
        }
    } else {
        let negative = bits.ue(16, "num_negative_pics")?;
        pictures = negative.saturating_add(bits.ue(16, "num_positive_pics")?);
        for _ in 0..pictures {
            bits.ue(32_767, "delta_poc_minus1")?;
            bits.flag("used_by_curr_pic_flag")?;
        }
    }
    if pictures > 16 {
        return Err(bits.invalid("st_ref_pic_set"));
    }
    Ok(pictures)
}

/// Reads VUI (E.2.1) up to the timing information.
fn usability(bits: &mut BitReader<'_>, picture: &mut Picture) -> Result<(), Error> {
    picture.aspect = vui::aspect(bits)?;
    picture.colour = vui::colour(bits)?;
    vui::skip_chroma_location(bits)?;
    bits.flag("neutral_chroma_indication_flag")?;
    let fields = bits.flag("field_seq_flag")?;
    bits.flag("frame_field_info_present_flag")?;
    if bits.flag("default_display_window_flag")? {
        for _ in 0..4 {
            bits.ue(u32::MAX, "def_disp_win_offset")?;
        }
    }
    if let Some((ticks, seconds)) = vui::ticks_per_second(bits)? {
        // A tick is a picture, which is a field where the sequence is made of fields.
        let pictures = if fields { 2 } else { 1 };
        picture.rate = FrameRate::standard(ticks, seconds.saturating_mul(pictures));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
