//! Still pictures for searching: of each segment its key frame, as a JPEG of a size that a bar shows.
//!
//! Here is only what they are called and how large they are. Whoever is asked for one makes it of the key
//! frame, which is there anyway: nothing is stored of them.

use super::{Rendition, VideoConfig};

/// What stands behind a rendition's name where its stills are meant: a name has no dot.
pub const STILLS: &str = ".stills";

/// The longer side of a still, in pixels. Two of them fit beside each other on a phone.
const LONGEST: u32 = 320;
/// Bits per pixel of a JPEG of this quality, as most pictures have them at the most.
const BITS_PER_PIXEL: u32 = 2;

/// Width and height of a still of a picture, in pixels, both even: of the picture's shape, and no larger than
/// it is.
pub fn still_size(width: u16, height: u16) -> (u16, u16) {
    let longest = u32::from(width.max(height)).max(1);
    let side = |side: u16| {
        let side = u32::from(side);
        let fit = if longest > LONGEST { (side * LONGEST + longest / 2) / longest } else { side };
        u16::try_from(fit.div_ceil(2) * 2).unwrap_or(u16::MAX).max(2)
    };
    (side(width), side(height))
}

/// Of these renditions the one whose stills are announced: the smallest, which costs least to decode. `None`
/// where there is no picture.
pub fn with_stills<'a>(
    renditions: impl IntoIterator<Item = &'a Rendition>,
) -> Option<(&'a Rendition, &'a VideoConfig)> {
    let pixels = |video: &VideoConfig| u32::from(video.width) * u32::from(video.height);
    let pictures = renditions.into_iter().filter_map(|r| Some((r, r.video()?)));
    pictures.min_by_key(|(_, video)| pixels(video))
}

/// Bits of a still of this size, about.
pub fn still_bits((width, height): (u16, u16)) -> u32 {
    u32::from(width) * u32::from(height) * BITS_PER_PIXEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_still_has_the_shape_of_its_picture_even_sides_and_is_never_larger() {
        for (picture, still) in [
            ((1920, 1080), (320, 180)),
            ((854, 480), (320, 180)),
            ((1080, 1920), (180, 320)),
            ((320, 180), (320, 180)),
            ((170, 96), (170, 96)),
            ((4096, 16), (320, 2)),
            ((0, 0), (2, 2)),
        ] {
            assert_eq!(still_size(picture.0, picture.1), still, "{picture:?}");
        }
    }
}
