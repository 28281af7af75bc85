//! The encoders: libx264 without any delay, and FFmpeg's AAC.

use bytes::Bytes;
use ffmpeg::format::{Pixel, Sample as SampleFormat, sample};
use ffmpeg::{ChannelLayout, Dictionary, codec, color, encoder, frame, picture};
use ffmpeg_next as ffmpeg;
use packager::codec::{aac, h264, nal};
use packager::media::{AudioConfig, VideoConfig};
use packager::time::FrameRate;

use super::Error;
use crate::av::ladder::{AUDIO_BITRATE, Profile};

/// Speed of the encoder: the slowest that makes 1080p30 on one core.
const PRESET: &str = "veryfast";
/// Samples per second of the ladder's sound.
pub(super) const SAMPLE_RATE: u32 = 48_000;
/// Samples in an AAC frame.
pub(super) const AAC_FRAME: usize = 1024;

/// What a video encoder makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoSettings {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) rate: FrameRate,
    pub(super) average_bitrate: u32,
    pub(super) peak_bitrate: u32,
    /// Size of the rate control's buffer in bits: what a segment may exceed the peak by.
    pub(super) buffer_bits: u32,
    pub(super) profile: Profile,
}

/// H.264 by libx264: no B-frames, no look-ahead, no frame threads, an IDR exactly where asked.
pub(super) struct VideoEncoder {
    encoder: encoder::video::Encoder,
    packet: codec::packet::Packet,
}

impl VideoEncoder {
    pub(super) fn open(settings: &VideoSettings) -> Result<Self, Error> {
        let what = "opening the H.264 encoder";
        let found = encoder::find_by_name("libx264")
            .ok_or(Error::Media { what, error: ffmpeg::Error::EncoderNotFound })?;
        let context = codec::Context::new_with_codec(found);
        let mut video = context.encoder().video().map_err(Error::media(what))?;
        let rate = ffmpeg::Rational::new(
            i32::try_from(settings.rate.num).unwrap_or(30),
            i32::try_from(settings.rate.den).unwrap_or(1),
        );
        video.set_width(u32::from(settings.width));
        video.set_height(u32::from(settings.height));
        video.set_format(Pixel::YUV420P);
        video.set_time_base(rate.invert());
        video.set_frame_rate(Some(rate));
        video.set_aspect_ratio((1, 1));
        video.set_max_b_frames(0);
        video.set_bit_rate(settings.average_bitrate as usize);
        // Said in every rung, so that no player guesses the colours by the picture's size.
        video.set_colorspace(color::Space::BT709);
        video.set_color_primaries(color::Primaries::BT709);
        video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
        video.set_color_range(color::Range::MPEG);
        video.set_flags(codec::Flags::GLOBAL_HEADER);
        let profile = match settings.profile {
            Profile::Main => "main",
            Profile::High => "high",
        };
        let mut options = Dictionary::new();
        for (key, value) in [
            ("preset", PRESET),
            ("tune", "zerolatency"),
            ("profile", profile),
            ("threads", "1"),
            ("forced-idr", "1"),
            ("sc_threshold", "0"),
            ("maxrate", &settings.peak_bitrate.to_string()),
            ("bufsize", &settings.buffer_bits.to_string()),
            ("x264-params", "keyint=infinite:min-keyint=1:sliced-threads=0:open-gop=0"),
        ] {
            options.set(key, value);
        }
        let encoder = video.open_as_with(found, options).map_err(Error::media(what))?;
        Ok(Self { encoder, packet: codec::packet::Packet::empty() })
    }

    /// The decoder configuration that goes with everything this encoder makes.
    pub(super) fn config(&self, rate: FrameRate) -> Result<VideoConfig, Error> {
        let mut config = h264::config_from_annex_b(extradata(&self.encoder)).map_err(|error| {
            Error::Codec { what: "the encoder's headers", error: error.to_string() }
        })?;
        config.rate = Some(rate);
        Ok(config)
    }

    /// Encodes a picture as frame `n`, as an IDR if asked; hands out what is done: frame number,
    /// whether it is an IDR, and length-prefixed NAL units.
    pub(super) fn encode(
        &mut self,
        picture: &mut frame::Video,
        n: i64,
        idr: bool,
        mut each: impl FnMut(i64, bool, Bytes),
    ) -> Result<(), Error> {
        picture.set_pts(Some(n));
        picture.set_kind(if idr { picture::Type::I } else { picture::Type::None });
        self.encoder.send_frame(picture).map_err(Error::media("encoding a picture"))?;
        while self.encoder.receive_packet(&mut self.packet).is_ok() {
            let Some(stream) = self.packet.data() else { continue };
            let data = nal::from_annex_b(stream).map_err(|error| Error::Codec {
                what: "the encoder's picture",
                error: error.to_string(),
            })?;
            each(self.packet.pts().unwrap_or(n), self.packet.is_key(), data);
        }
        Ok(())
    }
}

/// AAC-LC, 48 kHz, stereo.
pub(super) struct AudioEncoder {
    encoder: encoder::audio::Encoder,
    packet: codec::packet::Packet,
    sound: frame::Audio,
}

impl AudioEncoder {
    pub(super) fn open() -> Result<Self, Error> {
        let what = "opening the AAC encoder";
        let found = encoder::find(codec::Id::AAC)
            .ok_or(Error::Media { what, error: ffmpeg::Error::EncoderNotFound })?;
        let context = codec::Context::new_with_codec(found);
        let mut audio = context.encoder().audio().map_err(Error::media(what))?;
        let format = SampleFormat::F32(sample::Type::Planar);
        let rate = i32::try_from(SAMPLE_RATE).unwrap_or(48_000);
        audio.set_rate(rate);
        audio.set_format(format);
        audio.set_channel_layout(ChannelLayout::STEREO);
        audio.set_channels(2);
        audio.set_time_base((1, rate));
        audio.set_bit_rate(AUDIO_BITRATE as usize);
        audio.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = audio.open_as(found).map_err(Error::media(what))?;
        let mut sound = frame::Audio::new(format, AAC_FRAME, ChannelLayout::STEREO);
        sound.set_rate(SAMPLE_RATE);
        Ok(Self { encoder, packet: codec::packet::Packet::empty(), sound })
    }

    /// The decoder configuration that goes with everything this encoder makes.
    pub(super) fn config(&self) -> Result<AudioConfig, Error> {
        aac::config(Bytes::copy_from_slice(extradata(&self.encoder))).map_err(|error| {
            Error::Codec { what: "the AAC encoder's header", error: error.to_string() }
        })
    }

    /// Encodes the 1024 stereo samples that start at sample `start`. What comes out is labelled with
    /// the first sample that a decoder makes of it: one frame earlier, as AAC overlaps its frames.
    pub(super) fn encode(
        &mut self,
        start: i64,
        stereo: &[[f32; 2]],
        mut each: impl FnMut(i64, Bytes),
    ) -> Result<(), Error> {
        let what = "encoding sound";
        make_writable(&mut self.sound).map_err(Error::media(what))?;
        for channel in 0..2 {
            let plane = self.sound.plane_mut::<f32>(channel);
            for (to, from) in plane.iter_mut().zip(stereo) {
                *to = from.get(channel).copied().unwrap_or(0.0);
            }
        }
        self.sound.set_pts(Some(start));
        self.encoder.send_frame(&self.sound).map_err(Error::media(what))?;
        while self.encoder.receive_packet(&mut self.packet).is_ok() {
            if let (Some(at), Some(data)) = (self.packet.pts(), self.packet.data()) {
                each(at, Bytes::copy_from_slice(data));
            }
        }
        Ok(())
    }
}

/// Makes sure that nobody else looks at a frame's buffers; they are copied if somebody does.
#[allow(unsafe_code)]
pub(super) fn make_writable(frame: &mut ffmpeg::Frame) -> Result<(), ffmpeg::Error> {
    // SAFETY: the frame is ours and has buffers of its own kind.
    match unsafe { ffmpeg::ffi::av_frame_make_writable(frame.as_mut_ptr()) } {
        code if code < 0 => Err(ffmpeg::Error::from(code)),
        _ => Ok(()),
    }
}

/// Another frame with the same buffers: a picture is given to several encoders without a copy.
#[allow(unsafe_code)]
pub(super) fn share(picture: &frame::Video) -> frame::Video {
    let mut shared = frame::Video::empty();
    // SAFETY: both are valid frames and the target is empty. On failure, which is out of memory,
    // the target stays empty and the encoder refuses it.
    unsafe { ffmpeg::ffi::av_frame_ref(shared.as_mut_ptr(), picture.as_ptr()) };
    shared
}

#[allow(unsafe_code)]
fn extradata(context: &codec::Context) -> &[u8] {
    // SAFETY: an open encoder's extradata is either absent or `extradata_size` bytes that live and
    // stay as they are for as long as the context does, which the borrow outlives not.
    unsafe {
        let raw = context.as_ptr();
        match usize::try_from((*raw).extradata_size) {
            Ok(size) if !(*raw).extradata.is_null() => {
                std::slice::from_raw_parts((*raw).extradata, size)
            }
            _ => &[],
        }
    }
}
