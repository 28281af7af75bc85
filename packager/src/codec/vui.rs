//! The part of the video usability information that H.264 (E.1.1) and H.265 (E.2.1) write alike:
//! sample shape and colour. What lies behind it differs, and is read by its codec.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::bits::BitReader;
use super::{Aspect, Colour, Error};

/// Sample aspect ratios 1 to 16 of table E-1.
const ASPECTS: [(u16, u16); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
/// aspect_ratio_idc of a ratio written out.
const EXTENDED_SAR: u32 = 255;

/// aspect_ratio_info_present_flag and what it announces.
pub(super) fn aspect(bits: &mut BitReader<'_>) -> Result<Option<Aspect>, Error> {
    if !bits.flag("aspect_ratio_info_present_flag")? {
        return Ok(None);
    }
    let idc = bits.bits(8, "aspect_ratio_idc")?;
    let (horizontal, vertical) = if idc == EXTENDED_SAR {
        let width = bits.bits(16, "sar_width")?;
        let height = bits.bits(16, "sar_height")?;
        (u16::try_from(width).unwrap_or(0), u16::try_from(height).unwrap_or(0))
    } else {
        let index = usize::try_from(idc).ok().and_then(|idc| idc.checked_sub(1));
        index.and_then(|index| ASPECTS.get(index)).copied().unwrap_or((0, 0))
    };
    // Zero on either side means unspecified.
    let known = horizontal != 0 && vertical != 0;
    Ok(known.then_some(Aspect { horizontal, vertical }))
}

/// overscan_info_present_flag, video_signal_type_present_flag and what they announce.
pub(super) fn colour(bits: &mut BitReader<'_>) -> Result<Option<Colour>, Error> {
    if bits.flag("overscan_info_present_flag")? {
        bits.flag("overscan_appropriate_flag")?;
    }
    if !bits.flag("video_signal_type_present_flag")? {
        return Ok(None);
    }
    bits.skip(3, "video_format")?;
    let full_range = bits.flag("video_full_range_flag")?;
    if !bits.flag("colour_description_present_flag")? {
        return Ok(None);
    }
    let mut code = |what| bits.bits(8, what).map(|code| u8::try_from(code).unwrap_or(2));
    Ok(Some(Colour {
        primaries: code("colour_primaries")?,
        transfer: code("transfer_characteristics")?,
        matrix: code("matrix_coefficients")?,
        full_range,
    }))
}

/// chroma_loc_info_present_flag and what it announces.
pub(super) fn skip_chroma_location(bits: &mut BitReader<'_>) -> Result<(), Error> {
    if bits.flag("chroma_loc_info_present_flag")? {
        bits.ue(5, "chroma_sample_loc_type_top_field")?;
        bits.ue(5, "chroma_sample_loc_type_bottom_field")?;
    }
    Ok(())
}

/// num_units_in_tick and time_scale: ticks per second as a fraction.
pub(super) fn ticks_per_second(bits: &mut BitReader<'_>) -> Result<Option<(u64, u64)>, Error> {
    if !bits.flag("timing_info_present_flag")? {
        return Ok(None);
    }
    let units = bits.bits(32, "num_units_in_tick")?;
    let scale = bits.bits(32, "time_scale")?;
    Ok((units != 0 && scale != 0).then_some((u64::from(scale), u64::from(units))))
}
