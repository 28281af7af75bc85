//! Codec configuration: what a decoder's record says, under which RFC 6381 string, within limits.
//!
//! ```text
//! avcC ─► h264::config ─┐
//! hvcC ─► h265::config ─┼─► media::VideoConfig / AudioConfig ─► cmaf::init, manifests
//! ASC  ─► aac::config  ─┘
//! ```
//!
//! A publisher with a valid key may still be an attacker, so everything here reads hostile input:
//! bounds come first, nothing is allocated by a number found in the input, and an [`Error`] says at
//! which byte of the record reading stopped. A picture that a decoder should not be asked to
//! allocate is refused here, before any decoder sees it. Nothing is decoded: coefficients and SEI
//! payloads are not looked into, and slice headers only where an IDR picture is said once more.

use crate::media::{VideoCodec, VideoConfig};
use crate::time::FrameRate;

pub mod aac;
pub mod h264;
pub mod h265;
pub mod nal;

mod bits;
#[cfg(test)]
pub(crate) mod fixtures;
mod vui;

/// Widest picture, in pixels: 2160p. A decoder allocates by the coded size, before any cropping.
pub const MAX_WIDTH: u32 = 3840;
/// Highest picture, in pixels: 2160p.
pub const MAX_HEIGHT: u32 = 2160;
/// Most reference pictures: the most H.264 and H.265 allow (A.3.1 h, A.4.1); each costs a picture
/// of memory in every decoder.
pub const MAX_REFERENCES: u32 = 16;
/// Longest sequence parameter set, in bytes. Real ones are below 100; the longest legal ones carry
/// scaling lists and stay below this.
pub const MAX_SPS: usize = 1024;
/// Largest configuration record, in bytes: x265 puts a banner of 2 KiB into it. A longer one would
/// stand in every init segment.
const MAX_RECORD: usize = 16 * 1024;
/// How far the coded size may exceed the picture: one macroblock pair or coding tree block.
const MAX_CROP: u32 = 64;

/// A reader behind the version of a configuration record, once its size and version are right.
fn open_record<'a>(record: &'a [u8], what: &'static str) -> Result<bits::ByteReader<'a>, Error> {
    if record.len() > MAX_RECORD {
        return Err(Error::TooLong { what, len: record.len(), max: MAX_RECORD });
    }
    let mut bytes = bits::ByteReader::new(record);
    if bytes.u8("configurationVersion")? != 1 {
        return Err(Error::Invalid { what: "configurationVersion", offset: 0 });
    }
    Ok(bytes)
}

/// Why a codec configuration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end before the structure does.
    #[error("configuration ends at byte {offset}, in {what}")]
    Incomplete {
        /// The field or structure that is cut.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
    },
    /// A value the specification does not allow.
    #[error("invalid {what} at byte {offset}")]
    Invalid {
        /// The field that is wrong.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
    },
    /// Something longer than we are willing to read.
    #[error("{what} of {len} bytes is above the limit of {max}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A picture of no size, or larger than we are willing to decode.
    #[error("picture of {width}x{height} is not within 1x1 and {MAX_WIDTH}x{MAX_HEIGHT}")]
    PictureSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// More reference pictures than the codec allows.
    #[error("{references} reference pictures, at most {MAX_REFERENCES} are allowed")]
    References {
        /// Number of reference pictures.
        references: u32,
    },
    /// Legal, but nothing we package.
    #[error("{what} {value} is not supported")]
    Unsupported {
        /// What is not supported.
        what: &'static str,
        /// Its value.
        value: u32,
    },
}

/// What a sequence parameter set says about its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width after cropping, in pixels.
    pub width: u16,
    /// Height after cropping, in pixels.
    pub height: u16,
    /// chroma_format_idc: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth: u8,
    /// Bits per chroma sample.
    pub chroma_bit_depth: u8,
    /// Most reference pictures (H.264) or most pictures in the decoded picture buffer besides the
    /// current one (H.265).
    pub references: u8,
    /// Shape of a sample, where the bitstream tells.
    pub aspect: Option<Aspect>,
    /// Colour description, where the bitstream tells.
    pub colour: Option<Colour>,
    /// Frame rate by the bitstream's timing information, snapped to a standard rate.
    pub rate: Option<FrameRate>,
}

/// Sample aspect ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aspect {
    /// Relative width of a sample.
    pub horizontal: u16,
    /// Relative height of a sample.
    pub vertical: u16,
}

/// Colour description in the code points of ISO/IEC 23091-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// Colour primaries.
    pub primaries: u8,
    /// Transfer characteristics.
    pub transfer: u8,
    /// Matrix coefficients.
    pub matrix: u8,
    /// Whether samples use the full range.
    pub full_range: bool,
}

/// What the (first) sequence parameter set of a video configuration says about its pictures.
pub fn picture(config: &VideoConfig) -> Result<Picture, Error> {
    match config.codec {
        VideoCodec::H264 => h264::picture(&config.record),
        VideoCodec::H265 => h265::picture(&config.record),
    }
}

/// Holds the sequence parameter sets inside an access unit against the limits: a decoder follows them
/// as it does those of the configuration. Framing that is broken is [`nal::check`]'s to report.
///
/// # Errors
/// One of them is broken or over a limit; offsets are from the start of the access unit.
pub fn check_in_band(
    access_unit: &[u8],
    length: nal::LengthSize,
    codec: VideoCodec,
) -> Result<(), Error> {
    for unit in nal::Units::new(access_unit, length).map_while(Result::ok) {
        if nal::is_sequence(codec, unit.kind(codec)) {
            match codec {
                VideoCodec::H264 => h264::sequence_parameter_set(unit.bytes, unit.offset)?,
                VideoCodec::H265 => h265::sequence_parameter_set(unit.bytes, unit.offset)?,
            };
        }
    }
    Ok(())
}

/// The picture's size if it is within the limits. `coded` is what a decoder allocates.
fn picture_size(coded: (u32, u32), picture: (u32, u32)) -> Result<(u16, u16), Error> {
    let (width, height) = picture;
    let refused = |(width, height)| Error::PictureSize { width, height };
    if !(1..=MAX_WIDTH).contains(&width) || !(1..=MAX_HEIGHT).contains(&height) {
        return Err(refused(picture));
    }
    if coded.0 > MAX_WIDTH.saturating_add(MAX_CROP) || coded.1 > MAX_HEIGHT.saturating_add(MAX_CROP)
    {
        return Err(refused(coded));
    }
    match (u16::try_from(width), u16::try_from(height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(refused(picture)),
    }
}

/// The number of reference pictures if it is within the limit.
fn references(references: u32) -> Result<u8, Error> {
    match u8::try_from(references) {
        Ok(count) if references <= MAX_REFERENCES => Ok(count),
        _ => Err(Error::References { references }),
    }
}
