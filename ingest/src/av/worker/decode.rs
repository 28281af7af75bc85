//! Coded samples of a source to pictures and sound, without a container around them.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg::{codec, ffi, frame};
use ffmpeg_next as ffmpeg;
use packager::media::VideoCodec;

use super::Error;
use crate::source::{AudioCodec, PictureCodec};

/// Largest picture that is decoded: 4096×2304. A larger one would take the memory of the ladder.
const MAX_PIXELS: i64 = 4096 * 2304;
/// Samples whose details are kept until their picture comes: more than any decoder reorders.
const MAX_PENDING: usize = 64;

/// What the worker knows of a picture beyond its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Output time in nanoseconds; also the decoder's timestamp.
    pub(super) at: i64,
    /// When its sample was received, `CLOCK_MONOTONIC` nanoseconds.
    pub(super) received: i64,
    /// Of the mapping that placed it.
    pub(super) generation: u32,
}

/// A video decoder.
pub(super) struct Pictures {
    decoder: codec::decoder::Video,
    pending: VecDeque<Origin>,
    /// Nothing is decoded before a sample where decoding can start.
    started: bool,
    /// Samples refused and pictures found broken.
    pub(super) damaged: u64,
}

impl Pictures {
    /// Opens a decoder; `record` is the codec's configuration record, and empty where it has none.
    pub(super) fn open(kind: PictureCodec, record: &Bytes) -> Result<Self, Error> {
        let id = match kind {
            PictureCodec::Packaged(VideoCodec::H264) => codec::Id::H264,
            PictureCodec::Packaged(VideoCodec::H265) => codec::Id::HEVC,
            PictureCodec::Vp8 => codec::Id::VP8,
        };
        Self::of(id, record)
    }

    /// The same for any codec.
    pub(super) fn of(id: codec::Id, record: &Bytes) -> Result<Self, Error> {
        let mut context = open_context(id, record, "looking for the video decoder")?;
        limit_pixels(&mut context);
        let decoder =
            context.decoder().video().map_err(Error::media("opening the video decoder"))?;
        Ok(Self { decoder, pending: VecDeque::new(), started: false, damaged: 0 })
    }

    /// Decodes a sample; pictures come in the order they are shown.
    pub(super) fn decode(
        &mut self,
        data: &[u8],
        sync: bool,
        origin: Origin,
        mut each: impl FnMut(frame::Video, Origin),
    ) {
        if !self.started && !sync {
            return;
        }
        self.started = true;
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(origin);
        let mut packet = codec::packet::Packet::copy(data);
        packet.set_pts(Some(origin.at));
        if self.decoder.send_packet(&packet).is_err() {
            self.damaged += 1;
        }
        self.drain(&mut each);
    }

    /// Gets out what the decoder still holds.
    pub(super) fn finish(mut self, mut each: impl FnMut(frame::Video, Origin)) -> u64 {
        if self.decoder.send_eof().is_ok() {
            self.drain(&mut each);
        }
        self.damaged
    }

    fn drain(&mut self, each: &mut impl FnMut(frame::Video, Origin)) {
        loop {
            let mut picture = frame::Video::empty();
            if self.decoder.receive_frame(&mut picture).is_err() {
                return;
            }
            // The last good picture stands until the stream has recovered.
            if picture.is_corrupt() || picture.has_decode_errors() {
                self.damaged += 1;
                continue;
            }
            let Some(at) = picture.pts() else { continue };
            let Some(index) = self.pending.iter().position(|origin| origin.at == at) else {
                continue;
            };
            if let Some(origin) = self.pending.remove(index) {
                each(picture, origin);
            }
        }
    }
}

/// An audio decoder.
pub(super) struct Sound {
    decoder: codec::decoder::Audio,
    /// Samples refused.
    pub(super) damaged: u64,
}

impl Sound {
    /// Opens a decoder; `record` is the AudioSpecificConfig of AAC, and empty of others.
    pub(super) fn open(kind: AudioCodec, record: &Bytes) -> Result<Self, Error> {
        let id = match kind {
            AudioCodec::Aac => codec::Id::AAC,
            AudioCodec::Mp2 => codec::Id::MP2,
            AudioCodec::Mp3 => codec::Id::MP3,
            AudioCodec::Ac3 => codec::Id::AC3,
            AudioCodec::Eac3 => codec::Id::EAC3,
            AudioCodec::Opus => codec::Id::OPUS,
        };
        Self::of(id, record)
    }

    /// The same for any codec.
    pub(super) fn of(id: codec::Id, record: &Bytes) -> Result<Self, Error> {
        let context = open_context(id, record, "looking for the audio decoder")?;
        let decoder =
            context.decoder().audio().map_err(Error::media("opening the audio decoder"))?;
        Ok(Self { decoder, damaged: 0 })
    }

    /// Decodes a frame; `at` is its output time in nanoseconds.
    pub(super) fn decode(
        &mut self,
        data: &[u8],
        at: i64,
        mut each: impl FnMut(&frame::Audio, i64),
    ) {
        let mut packet = codec::packet::Packet::copy(data);
        packet.set_pts(Some(at));
        if self.decoder.send_packet(&packet).is_err() {
            self.damaged += 1;
        }
        let mut sound = frame::Audio::empty();
        while self.decoder.receive_frame(&mut sound).is_ok() {
            each(&sound, sound.pts().unwrap_or(at));
        }
    }
}

fn open_context(
    id: codec::Id,
    record: &Bytes,
    what: &'static str,
) -> Result<codec::Context, Error> {
    let found = codec::decoder::find(id)
        .ok_or(Error::Media { what, error: ffmpeg::Error::DecoderNotFound })?;
    let mut context = codec::Context::new_with_codec(found);
    // Frame threads would hold back a picture per thread.
    context.set_threading(codec::threading::Config::count(1));
    context.set_time_base((1, 1_000_000_000));
    if !record.is_empty() {
        set_extradata(&mut context, record).map_err(Error::media(what))?;
    }
    Ok(context)
}

#[allow(unsafe_code)]
fn set_extradata(context: &mut codec::Context, record: &[u8]) -> Result<(), ffmpeg::Error> {
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    let size = i32::try_from(record.len()).map_err(|_| ffmpeg::Error::InvalidData)?;
    // SAFETY: the context is ours and not open yet; the buffer is allocated by libav, as it must be
    // since libav frees it, zeroed, and `padding` longer than what is copied into it.
    unsafe {
        let buffer = ffi::av_mallocz(record.len() + padding).cast::<u8>();
        if buffer.is_null() {
            return Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM });
        }
        std::ptr::copy_nonoverlapping(record.as_ptr(), buffer, record.len());
        let raw = context.as_mut_ptr();
        (*raw).extradata = buffer;
        (*raw).extradata_size = size;
    }
    Ok(())
}

#[allow(unsafe_code)]
pub(super) fn limit_pixels(context: &mut codec::Context) {
    // SAFETY: the context is ours and not open yet; the field is a plain number.
    unsafe { (*context.as_mut_ptr()).max_pixels = MAX_PIXELS }
}
