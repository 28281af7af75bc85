//! A picture of any size, aspect and pixel format into one of ours. What does not fit the aspect is
//! letterboxed: the output's size is fixed for the life of the channel.

use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::Error;
use super::encode::{make_writable, share};

/// A difference of aspect smaller than this many pixels is rounding and not worth a bar.
const NO_BAR: u32 = 4;

/// Scales pictures to one size.
pub(super) struct Scaler {
    width: u32,
    height: u32,
    prepared: Option<Prepared>,
}

/// What is ready for pictures of one kind.
struct Prepared {
    from: Shape,
    /// `None` where the picture is right as it comes.
    scaling: Option<(scaling::Context, Rect)>,
    target: frame::Video,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    format: Pixel,
    width: u32,
    height: u32,
    aspect: (i32, i32),
}

/// Where the picture goes in the output; everything even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rect {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Scaler {
    pub(super) fn new(width: u16, height: u16) -> Self {
        Self { width: u32::from(width), height: u32::from(height), prepared: None }
    }

    /// The picture in the output's size and format. The result shares memory with the scaler and is
    /// overwritten by the next call once the encoder has let go of it.
    pub(super) fn run(&mut self, picture: &frame::Video) -> Result<frame::Video, Error> {
        let aspect = picture.aspect_ratio();
        let from = Shape {
            format: picture.format(),
            width: picture.width(),
            height: picture.height(),
            aspect: (aspect.numerator().max(0), aspect.denominator().max(1)),
        };
        let prepared = match self.prepared.take() {
            Some(prepared) if prepared.from == from => prepared,
            _ => self.prepare(from)?,
        };
        let prepared = self.prepared.insert(prepared);
        let Some((context, rect)) = &mut prepared.scaling else { return Ok(share(picture)) };
        make_writable(&mut prepared.target).map_err(Error::media("scaling"))?;
        scale(context, picture, &mut prepared.target, *rect);
        Ok(share(&prepared.target))
    }

    fn prepare(&self, from: Shape) -> Result<Prepared, Error> {
        let rect = fit(from, self.width, self.height);
        let whole = Rect { x: 0, y: 0, width: self.width, height: self.height };
        let same =
            (from.format, from.width, from.height) == (Pixel::YUV420P, self.width, self.height);
        if same && rect == whole {
            let target = frame::Video::empty();
            return Ok(Prepared { from, scaling: None, target });
        }
        let context = scaling::Context::get(
            from.format,
            from.width,
            from.height,
            Pixel::YUV420P,
            rect.width,
            rect.height,
            scaling::Flags::BICUBIC,
        )
        .map_err(Error::media("preparing to scale"))?;
        Ok(Prepared {
            from,
            scaling: Some((context, rect)),
            target: black(self.width, self.height),
        })
    }
}

/// A black picture.
fn black(width: u32, height: u32) -> frame::Video {
    let mut picture = frame::Video::new(Pixel::YUV420P, width, height);
    for (plane, value) in [(0, 16), (1, 128), (2, 128)] {
        picture.data_mut(plane).fill(value);
    }
    picture
}

/// The largest even rectangle of the picture's aspect in the middle of the output.
fn fit(from: Shape, width: u32, height: u32) -> Rect {
    let (num, den) = if from.aspect.0 > 0 { from.aspect } else { (1, 1) };
    let shown_width = u64::from(from.width.max(1)) * u64::from(num.unsigned_abs());
    let shown_height = u64::from(from.height.max(1)) * u64::from(den.unsigned_abs());
    let even = |value: u64, limit: u32| {
        u32::try_from(value / 2 * 2).unwrap_or(limit).clamp(2, limit.max(2))
    };
    let by_height = even(u64::from(height) * shown_width / shown_height + 1, width);
    let by_width = even(u64::from(width) * shown_height / shown_width + 1, height);
    let wider = shown_width * u64::from(height) > shown_height * u64::from(width);
    let (w, h) = if wider { (width, by_width) } else { (by_height, height) };
    if width - w < NO_BAR && height - h < NO_BAR {
        return Rect { x: 0, y: 0, width, height };
    }
    Rect { x: (width - w) / 4 * 2, y: (height - h) / 4 * 2, width: w, height: h }
}

#[allow(unsafe_code)]
fn scale(
    context: &mut scaling::Context,
    picture: &frame::Video,
    target: &mut frame::Video,
    rect: Rect,
) {
    let (x, y) = (rect.x as usize, rect.y as usize);
    let strides = [target.stride(0), target.stride(1), target.stride(2)];
    let offsets = [y * strides[0] + x, y / 2 * strides[1] + x / 2, y / 2 * strides[2] + x / 2];
    // SAFETY: the context was made for this picture's format and size and for the rectangle's size;
    // the rectangle lies within the target, whose planes are writable and not shared, and even
    // coordinates keep the chroma planes' part within theirs.
    unsafe {
        let source = picture.as_ptr();
        let to = target.as_mut_ptr();
        let mut planes: [*mut u8; 8] = (*to).data;
        for (plane, offset) in planes.iter_mut().zip(offsets) {
            *plane = plane.add(offset);
        }
        ffi::sws_scale(
            context.as_mut_ptr(),
            (*source).data.as_ptr().cast(),
            (*source).linesize.as_ptr(),
            0,
            (*source).height,
            planes.as_ptr(),
            (*to).linesize.as_ptr(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: u32, height: u32, aspect: (i32, i32)) -> Shape {
        Shape { format: Pixel::YUV420P, width, height, aspect }
    }

    #[test]
    fn the_same_aspect_fills_the_output_and_another_is_centred() {
        let whole = Rect { x: 0, y: 0, width: 854, height: 480 };
        assert_eq!(fit(shape(1280, 720, (0, 1)), 854, 480), whole);
        assert_eq!(fit(shape(1280, 720, (1, 1)), 854, 480), whole);
        let pillar = fit(shape(640, 480, (1, 1)), 1280, 720);
        assert_eq!(pillar, Rect { x: 160, y: 0, width: 960, height: 720 });
        let letter = fit(shape(1920, 800, (1, 1)), 1280, 720);
        assert_eq!(letter, Rect { x: 0, y: 92, width: 1280, height: 534 });
    }

    #[test]
    fn anamorphic_pixels_are_corrected() {
        // PAL wide: 720×576 with 64:45 pixels is 16:9.
        let rect = fit(shape(720, 576, (64, 45)), 1280, 720);
        assert_eq!(rect, Rect { x: 0, y: 0, width: 1280, height: 720 });
    }

    #[test]
    fn any_shape_stays_within_the_output() {
        for source in [(1, 4000), (4000, 1), (2, 2), (4096, 2304), (607, 1081)] {
            for (width, height) in [(170, 96), (1280, 720), (54, 96)] {
                let rect = fit(shape(source.0, source.1, (1, 1)), width, height);
                assert!(rect.x + rect.width <= width && rect.y + rect.height <= height, "{rect:?}");
                assert!(rect.width >= 2 && rect.height >= 2);
                assert_eq!((rect.x | rect.y) % 2, 0);
            }
        }
    }
}
