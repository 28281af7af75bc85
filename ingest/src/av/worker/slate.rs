//! The slate: what a channel shows when its source has sent no picture for seconds. An image that the
//! operator gave, or the channel's name on a dark ground.
//!
//! An image is decoded from memory, laid on the ground where it is transparent, and converted once
//! to the colours that all rungs say they have (BT.709, limited range).

use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{codec, frame};
use ffmpeg_next as ffmpeg;

use super::Error;
use super::canvas;
use super::decode::limit_pixels;

/// What a transparent image lies on: the middle of the ground behind a name, as red, green and blue.
const GROUND: [u8; 3] = [24, 26, 34];

/// The name on a dark ground, in an even size.
pub(super) fn of_name(name: &str, width: u16, height: u16) -> frame::Video {
    let (w, h) = (usize::from(width.max(64) & !1), usize::from(height.max(48) & !1));
    let planes = canvas::name_card(w, h, name);
    let mut picture = frame::Video::new(Pixel::YUV420P, w as u32, h as u32);
    for (index, plane) in planes.iter().enumerate() {
        let width = if index == 0 { w } else { w / 2 };
        let stride = picture.stride(index);
        let lines = picture.data_mut(index).chunks_mut(stride);
        for (to, from) in lines.zip(plane.chunks_exact(width)) {
            if let Some(to) = to.get_mut(..width) {
                to.copy_from_slice(from);
            }
        }
    }
    picture
}

/// A PNG or JPEG image.
pub(super) fn of_image(file: &[u8]) -> Result<frame::Video, Error> {
    let image = decode(file)?;
    let (width, height) = (image.width().max(2) & !1, image.height().max(2) & !1);
    let what = "converting the slate";
    let mut converter = scaling::Context::get(
        image.format(),
        image.width(),
        image.height(),
        Pixel::RGBA,
        width,
        height,
        scaling::Flags::BICUBIC,
    )
    .map_err(Error::media(what))?;
    let mut rgba = frame::Video::empty();
    converter.run(&image, &mut rgba).map_err(Error::media(what))?;
    Ok(to_video(&rgba))
}

fn decode(file: &[u8]) -> Result<frame::Video, Error> {
    let what = "reading the slate";
    let id = match file {
        [0x89, b'P', b'N', b'G', ..] => codec::Id::PNG,
        [0xFF, 0xD8, 0xFF, ..] => codec::Id::MJPEG,
        _ => return Err(Error::Media { what, error: ffmpeg::Error::InvalidData }),
    };
    let found = codec::decoder::find(id)
        .ok_or(Error::Media { what, error: ffmpeg::Error::DecoderNotFound })?;
    let mut context = codec::Context::new_with_codec(found);
    limit_pixels(&mut context);
    let mut decoder = context.decoder().video().map_err(Error::media(what))?;
    decoder.send_packet(&codec::packet::Packet::copy(file)).map_err(Error::media(what))?;
    decoder.send_eof().map_err(Error::media(what))?;
    let mut image = frame::Video::empty();
    decoder.receive_frame(&mut image).map_err(Error::media(what))?;
    Ok(image)
}

/// RGBA to YUV 4:2:0, BT.709 in limited range (ITU-R BT.709-6 §3), in 1/256.
fn to_video(rgba: &frame::Video) -> frame::Video {
    let (w, h) = (rgba.width() as usize, rgba.height() as usize);
    let mut picture = frame::Video::new(Pixel::YUV420P, rgba.width(), rgba.height());
    let mut chroma = vec![[0i32; 2]; (w / 2) * (h / 2)];
    let stride = picture.stride(0);
    let lines = rgba.data(0).chunks(rgba.stride(0).max(1)).take(h);
    for ((y, line), luma) in lines.enumerate().zip(picture.data_mut(0).chunks_mut(stride)) {
        let (pixels, _) = line.as_chunks::<4>();
        for ((x, pixel), luma) in pixels.iter().take(w).enumerate().zip(luma) {
            let [r, g, b] = over_ground(*pixel);
            *luma = (16 + ((47 * r + 157 * g + 16 * b + 128) >> 8)).clamp(16, 235) as u8;
            if let Some(sum) = chroma.get_mut(y / 2 * (w / 2) + x / 2) {
                sum[0] += -26 * r - 86 * g + 112 * b;
                sum[1] += 112 * r - 102 * g - 10 * b;
            }
        }
    }
    for plane in [1, 2] {
        let stride = picture.stride(plane);
        let lines = picture.data_mut(plane).chunks_mut(stride);
        for (line, sums) in lines.zip(chroma.chunks_exact((w / 2).max(1))) {
            for (to, sum) in line.iter_mut().zip(sums) {
                // Four pixels each.
                *to = (128 + ((sum[plane - 1] + 512) >> 10)).clamp(16, 240) as u8;
            }
        }
    }
    picture
}

fn over_ground([r, g, b, alpha]: [u8; 4]) -> [i32; 3] {
    let alpha = i32::from(alpha);
    let mix =
        |over: u8, under: u8| (i32::from(over) * alpha + i32::from(under) * (255 - alpha)) / 255;
    [mix(r, GROUND[0]), mix(g, GROUND[1]), mix(b, GROUND[2])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one colour, as RGBA.
    fn plain(pixel: [u8; 4]) -> frame::Video {
        let mut picture = frame::Video::new(Pixel::RGBA, 16, 16);
        picture.data_mut(0).chunks_exact_mut(4).for_each(|to| to.copy_from_slice(&pixel));
        picture
    }

    #[test]
    fn colours_become_those_of_bt_709() {
        for (pixel, [y, u, v]) in [
            ([255, 255, 255, 255], [235, 128, 128]),
            ([0, 0, 0, 255], [16, 128, 128]),
            ([255, 0, 0, 255], [63, 102, 240]),
            ([0, 255, 0, 255], [172, 42, 26]),
            ([0, 0, 255, 255], [32, 240, 118]),
        ] {
            let picture = to_video(&plain(pixel));
            let got = [0, 1, 2].map(|plane| picture.data(plane)[0]);
            for (got, expected) in got.into_iter().zip([y, u, v]) {
                assert!(u8::abs_diff(got, expected) <= 1, "{pixel:?}: {got} and not {expected}");
            }
        }
    }

    #[test]
    fn what_is_transparent_shows_the_ground() {
        let picture = to_video(&plain([255, 255, 255, 0]));
        assert!((30..50).contains(&picture.data(0)[0]), "{}", picture.data(0)[0]);
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        for file in
            [&b""[..], b"GIF89a", &[0x89, b'P', b'N', b'G', 1, 2], &[0xFF, 0xD8, 0xFF, 0xE0]]
        {
            assert!(of_image(file).is_err(), "{file:?}");
        }
    }
}
