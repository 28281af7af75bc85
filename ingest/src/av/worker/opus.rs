//! Sound for browsers: Opus in packets of 10 ms (RFC 6716, RFC 7587). Here are its encoder and the role that
//! makes it of sound that is passed through: coded sound in, packets out. A ladder has the sound decoded, and
//! makes its own (`sound`).
//!
//! There is no output clock: a packet comes out as soon as it is whole, with the time of its first sample on the
//! source's clock. A source whose times jump begins anew; a gap is left as one.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg::format::{Sample as SampleFormat, sample};
use ffmpeg::{ChannelLayout, Dictionary, codec, encoder, frame};
use ffmpeg_next as ffmpeg;

use super::decode;
use super::encode::{SAMPLE_RATE, make_writable};
use super::link::Link;
use super::sound::Line;
use super::{Error, Messages};
use crate::av::protocol::{FromWorker, ToWorker};

/// Samples in a packet of 10 ms: a browser hears it that much sooner than one of 20, for a packet of 60 bytes
/// more each 20 ms.
pub(super) const PACKET: usize = 480;
/// Bits per second: transparent stereo for Opus.
const BITRATE: usize = 96_000;
/// Further from where it would follow than this, in samples (100 ms), sound begins anew.
const MOVE: i64 = SAMPLE_RATE as i64 / 10;

/// Runs until the server wants no more.
pub(super) fn run(messages: &Messages, link: &Link) -> Result<(), Error> {
    let mut line = None;
    while let Some(message) = messages.next()? {
        match message {
            ToWorker::AudioConfig { codec, record } => {
                line = Some((decode::Sound::open(codec, &record)?, Cutter::open()?));
            }
            ToWorker::Audio(sample) => {
                let Some((decoder, cutter)) = &mut line else { continue };
                let mut result = Ok(());
                decoder.decode(&sample.data, sample.pts, |sound, at| {
                    if result.is_ok() {
                        result = cutter.take(sound, at, |at, data| send(link, at, data));
                    }
                });
                result?;
            }
            ToWorker::Stop => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

fn send(link: &Link, at: i64, data: Bytes) {
    link.send(&FromWorker::Opus { at, data });
}

/// Cuts sound into packets.
struct Cutter {
    line: Line,
    waiting: VecDeque<[f32; 2]>,
    /// Sample number of the first that waits.
    start: i64,
    encoder: OpusEncoder,
}

impl Cutter {
    fn open() -> Result<Self, Error> {
        let encoder = OpusEncoder::open()?;
        Ok(Self { line: Line::default(), waiting: VecDeque::new(), start: 0, encoder })
    }

    /// Takes decoded sound whose first sample is at `at`, in nanoseconds of the source's clock; hands out
    /// packets with the times of theirs.
    fn take(
        &mut self,
        sound: &frame::Audio,
        at: i64,
        mut each: impl FnMut(i64, Bytes),
    ) -> Result<(), Error> {
        let stereo = self.line.stereo(sound)?;
        let wanted = sample_at(at);
        let next = self.start + self.waiting.len() as i64;
        if (wanted - next).abs() > MOVE {
            self.waiting.clear();
            self.start = wanted;
            // The one there was would put the end of what came before in front, and label the first packet with
            // its time.
            self.encoder = OpusEncoder::open()?;
        }
        self.waiting.extend(stereo);
        while self.waiting.len() >= PACKET {
            let packet = self.waiting.drain(..PACKET);
            self.encoder.encode(self.start, packet, |at, data| each(nanos_at(at), data))?;
            self.start += PACKET as i64;
        }
        Ok(())
    }
}

/// Opus, 48 kHz, stereo.
pub(super) struct OpusEncoder {
    encoder: encoder::audio::Encoder,
    packet: codec::packet::Packet,
    sound: frame::Audio,
}

impl OpusEncoder {
    pub(super) fn open() -> Result<Self, Error> {
        let what = "opening the Opus encoder";
        let found = encoder::find_by_name("libopus")
            .ok_or(Error::Media { what, error: ffmpeg::Error::EncoderNotFound })?;
        let context = codec::Context::new_with_codec(found);
        let mut audio = context.encoder().audio().map_err(Error::media(what))?;
        let format = SampleFormat::F32(sample::Type::Packed);
        let rate = i32::try_from(SAMPLE_RATE).unwrap_or(48_000);
        audio.set_rate(rate);
        audio.set_format(format);
        audio.set_channel_layout(ChannelLayout::STEREO);
        audio.set_channels(2);
        audio.set_time_base((1, rate));
        audio.set_bit_rate(BITRATE);
        let mut options = Dictionary::new();
        // It looks ahead by 2.5 ms rather than 6.5.
        options.set("application", "lowdelay");
        options.set("frame_duration", "10");
        let encoder = audio.open_as_with(found, options).map_err(Error::media(what))?;
        let mut sound = frame::Audio::new(format, PACKET, ChannelLayout::STEREO);
        sound.set_rate(SAMPLE_RATE);
        Ok(Self { encoder, packet: codec::packet::Packet::empty(), sound })
    }

    /// Encodes a packet's worth of sound that begins at sample `start`. What comes out is labelled with the
    /// first sample that a decoder makes of it.
    pub(super) fn encode(
        &mut self,
        start: i64,
        stereo: impl Iterator<Item = [f32; 2]>,
        mut each: impl FnMut(i64, Bytes),
    ) -> Result<(), Error> {
        let what = "encoding Opus";
        make_writable(&mut self.sound).map_err(Error::media(what))?;
        for (to, [left, right]) in self.sound.plane_mut::<(f32, f32)>(0).iter_mut().zip(stereo) {
            *to = (left, right);
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

/// Sample nearest to an instant in nanoseconds.
fn sample_at(nanos: i64) -> i64 {
    let ticks = i128::from(nanos) * i128::from(SAMPLE_RATE) + 500_000_000;
    i64::try_from(ticks.div_euclid(1_000_000_000)).unwrap_or(0)
}

/// Nanoseconds of a sample.
fn nanos_at(sample: i64) -> i64 {
    i64::try_from(i128::from(sample) * 1_000_000_000 / i128::from(SAMPLE_RATE)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone of 1000 Hz, 1024 samples at a time, from `at` on.
    fn tone(cutter: &mut Cutter, at: i64, frames: usize) -> Vec<(i64, usize)> {
        let mut packets = Vec::new();
        let format = SampleFormat::F32(sample::Type::Planar);
        for index in 0..frames {
            let mut sound = frame::Audio::new(format, 1_024, ChannelLayout::STEREO);
            sound.set_rate(SAMPLE_RATE);
            for channel in 0..2 {
                for (n, value) in sound.plane_mut::<f32>(channel).iter_mut().enumerate() {
                    let n = (index * 1_024 + n) as f32;
                    *value = (n * 1_000.0 * std::f32::consts::TAU / SAMPLE_RATE as f32).sin() / 2.0;
                }
            }
            let at = at + (index as i64) * 1_024 * 1_000_000_000 / i64::from(SAMPLE_RATE);
            cutter.take(&sound, at, |at, data| packets.push((at, data.len()))).unwrap();
        }
        packets
    }

    #[test]
    fn packets_follow_each_other_and_a_jump_begins_anew() {
        ffmpeg::init().unwrap();
        let mut cutter = Cutter::open().unwrap();
        let packets = tone(&mut cutter, 5_000_000_000, 48);
        // Of 1.024 s; the encoder may keep one back.
        assert!((101..=102).contains(&packets.len()), "{}", packets.len());
        assert!(packets.windows(2).all(|pair| pair[1].0 - pair[0].0 == 10_000_000), "{packets:?}");
        assert!((4_990_000_000..=5_000_000_000).contains(&packets[0].0), "{packets:?}");
        let bytes: usize = packets.iter().map(|(_, length)| length).sum();
        assert!((5_000..20_000).contains(&bytes), "{bytes}");
        let later = tone(&mut cutter, 90_000_000_000, 4);
        assert!((89_990_000_000..=90_000_000_000).contains(&later[0].0), "{later:?}");
        assert!(later.windows(2).all(|pair| pair[1].0 - pair[0].0 == 10_000_000), "{later:?}");
    }
}
