//! Stills: a key frame in, a JPEG of [`still_size`] out, one after the other.
//!
//! Each has a decoder of its own, which the last one has left nothing in: the same key frame is always the same
//! JPEG. Its quality is fixed. Its colours are made full range, as JPEG has them, and keep their matrix, which
//! nobody sees at this size.

use bytes::Bytes;
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Dictionary, codec, encoder, frame};
use ffmpeg_next as ffmpeg;
use packager::media::{Sample, still_size};

use super::decode::{Origin, Pictures};
use super::link::Link;
use super::{Error, Messages};
use crate::av::protocol::{FromWorker, ToWorker, monotonic_nanos};
use crate::source::PictureCodec;

/// The encoder's quantizer, 2 to 31: edges are clean, and a pixel takes about a bit.
const QUANTIZER: &str = "5";

/// Runs until the server wants no more.
pub(super) fn run(messages: &Messages, link: &Link) -> Result<(), Error> {
    let mut config = None;
    while let Some(message) = messages.next()? {
        match message {
            ToWorker::VideoConfig { codec, record } => config = Some((codec, record)),
            ToWorker::Video(sample) => {
                let made = config
                    .as_ref()
                    .map_or(Ok(None), |(codec, record)| still(*codec, record, &sample.data));
                let data = made.unwrap_or_else(|error| {
                    link.log(false, format!("a key frame makes no still: {error}"));
                    None
                });
                let now = monotonic_nanos();
                let (dts, data) = (sample.dts, data.unwrap_or_default());
                let sample = Sample { dts, pts: dts, duration: 0, sync: true, data };
                link.send(&FromWorker::Sample {
                    rendition: 0,
                    sample,
                    captured: now,
                    encoded: now,
                });
            }
            ToWorker::Stop => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// The JPEG of a key frame; `None` where a decoder makes no picture of it.
fn still(codec: PictureCodec, record: &Bytes, data: &[u8]) -> Result<Option<Bytes>, Error> {
    let mut decoder = Pictures::open(codec, record)?;
    let mut first = None;
    let mut take = |picture: frame::Video| {
        first.get_or_insert(picture);
    };
    let origin = Origin { at: 0, received: 0, generation: 0 };
    decoder.decode(data, true, origin, |picture, _| take(picture));
    decoder.finish(|picture, _| take(picture));
    first.as_ref().map(jpeg).transpose()
}

fn jpeg(picture: &frame::Video) -> Result<Bytes, Error> {
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let (width, height) = still_size(side(picture.width()), side(picture.height()));
    let (width, height) = (u32::from(width), u32::from(height));
    let mut small = frame::Video::empty();
    scaling::Context::get(
        picture.format(),
        picture.width(),
        picture.height(),
        Pixel::YUVJ420P,
        width,
        height,
        scaling::Flags::AREA,
    )
    .and_then(|mut scaling| scaling.run(picture, &mut small))
    .map_err(Error::media("scaling a still"))?;
    small.set_pts(Some(0));

    let what = "encoding a still";
    let found = encoder::find(codec::Id::MJPEG)
        .ok_or(Error::Media { what, error: ffmpeg::Error::EncoderNotFound })?;
    let context = codec::Context::new_with_codec(found);
    let mut video = context.encoder().video().map_err(Error::media(what))?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUVJ420P);
    video.set_time_base((1, 25));
    let mut options = Dictionary::new();
    options.set("qmin", QUANTIZER);
    options.set("qmax", QUANTIZER);
    options.set("threads", "1");
    let mut encoder = video.open_as_with(found, options).map_err(Error::media(what))?;
    encoder.send_frame(&small).and_then(|()| encoder.send_eof()).map_err(Error::media(what))?;
    let mut packet = codec::packet::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(Error::media(what))?;
    Ok(Bytes::copy_from_slice(packet.data().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use packager::media::VideoCodec;
    use packager::time::FrameRate;

    use super::super::encode::{VideoEncoder, VideoSettings};
    use super::*;
    use crate::av::ladder::Profile;

    /// A key frame of a grey that gets lighter to the right, and its configuration record.
    fn key_frame(width: u16, height: u16) -> (Bytes, Bytes) {
        ffmpeg::init().unwrap();
        let rate = FrameRate::new(25, 1);
        let mut encoder = VideoEncoder::open(&VideoSettings {
            width,
            height,
            rate,
            average_bitrate: 1_000_000,
            peak_bitrate: 1_500_000,
            buffer_bits: 500_000,
            profile: Profile::Main,
        })
        .unwrap();
        let mut picture = frame::Video::new(Pixel::YUV420P, width.into(), height.into());
        let stride = picture.stride(0);
        for (at, luma) in picture.data_mut(0).iter_mut().enumerate() {
            let column = (at % stride).min(usize::from(width) - 1);
            *luma = u8::try_from(16 + 219 * column / (usize::from(width) - 1)).unwrap();
        }
        picture.data_mut(1).fill(128);
        picture.data_mut(2).fill(128);
        let mut made = Bytes::new();
        encoder.encode(&mut picture, 0, true, |_, _, data| made = data).unwrap();
        (encoder.config(rate).unwrap().record, made)
    }

    const H264: PictureCodec = PictureCodec::Packaged(VideoCodec::H264);
    const H265: PictureCodec = PictureCodec::Packaged(VideoCodec::H265);

    /// What a JPEG decoder makes of it.
    fn decoded(jpeg: &Bytes) -> frame::Video {
        let mut decoder = Pictures::of(codec::Id::MJPEG, &Bytes::new()).unwrap();
        let mut picture = None;
        let origin = Origin { at: 0, received: 0, generation: 0 };
        decoder.decode(jpeg, true, origin, |found, _| picture = Some(found));
        decoder.finish(|found, _| picture = Some(found));
        picture.unwrap()
    }

    #[test]
    fn a_still_is_the_key_frame_smaller_in_full_range_and_the_same_every_time() {
        let (record, data) = key_frame(640, 360);
        let made = still(H264, &record, &data).unwrap().unwrap();
        assert_eq!(still(H264, &record, &data).unwrap().unwrap(), made);
        assert!(made.starts_with(&[0xff, 0xd8]) && made.ends_with(&[0xff, 0xd9]));
        let picture = decoded(&made);
        assert_eq!((picture.width(), picture.height()), (320, 180));
        let row = &picture.data(0)[90 * picture.stride(0)..][..320];
        assert!(row[0] < 8 && row[319] > 247, "{} to {}", row[0], row[319]);
        assert!((120..136).contains(&row[160]), "{}", row[160]);
    }

    #[test]
    fn what_is_no_key_frame_makes_none() {
        let (record, data) = key_frame(170, 96);
        for broken in [&[][..], &[0, 0, 0, 9, 0x65], &data[..data.len() / 8]] {
            assert!(!matches!(still(H264, &record, broken), Ok(Some(_))));
        }
        assert!(still(H264, &record, &data).unwrap().is_some());
        let other = Bytes::from_static(&[1, 2, 3]);
        assert!(!matches!(still(H265, &other, &data), Ok(Some(_))));
    }
}
