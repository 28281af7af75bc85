//! The demo's broadcaster: draws the present moment, sounds its tick, encodes both as any
//! broadcaster would, and hands the samples over in real time. Picture and sound have a thread each, as a
//! camera's have: neither waits for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use packager::media::{Config, Name, Rendition, Sample, Track};
use packager::time::{FrameRate, Timescale};

use super::canvas::Canvas;
use super::encode::{AAC_FRAME, AudioEncoder, SAMPLE_RATE, VideoEncoder, VideoSettings};
use super::link::Link;
use super::slots::Slots;
use super::{Error, Messages};
use crate::av::ladder::{AUDIO_BITRATE, Profile};
use crate::av::mark;
use crate::av::protocol::{ClockBase, FromWorker, Scene, ToWorker, monotonic_nanos};

/// Seconds between pictures where decoding can start: what platforms ask of broadcasters.
const GOP_SECONDS: i64 = 2;
/// A broadcaster that has fallen behind by this much leaves pictures out, nanoseconds.
const BEHIND: i64 = 500_000_000;
/// Sound is drawn ahead of the pictures by what AAC holds back, the frame it cuts and the two it looks at, in
/// nanoseconds: what is of one time leaves at one time, as a muxer of a camera has it.
const LEAD: i64 = 3 * AAC_FRAME as i64 * 1_000_000_000 / SAMPLE_RATE as i64;

/// Broadcasts until the server stops it or closes the socket.
pub(super) fn run(
    messages: Messages,
    link: &Link,
    clock: ClockBase,
    scene: &Scene,
) -> Result<(), Error> {
    let stop = Arc::new(AtomicBool::new(false));
    watch(messages, Arc::clone(&stop))?;
    let rate = scene.rate;
    let mut canvas = Canvas::new(usize::from(scene.width), usize::from(scene.height), &scene.title);
    let (width, height) = (canvas.width() as u16, canvas.height() as u16);
    let mut video = VideoEncoder::open(&VideoSettings {
        width,
        height,
        rate,
        average_bitrate: scene.bitrate,
        peak_bitrate: scene.bitrate,
        buffer_bits: scene.bitrate / 2,
        profile: Profile::High,
    })?;
    let audio = AudioEncoder::open()?;
    let renditions = renditions(&video, &audio, scene)?;
    link.send(&FromWorker::Started { renditions, first_k: 0, start: 0 });

    let first = frame_at(rate, clock.utc_nanos()) + 1;
    let start = Slots::nanos(rate, first) / 1_000_000_000 * i64::from(SAMPLE_RATE);
    let speaker =
        Speaker { encoder: audio, at: start, frame: Vec::new(), clock, link: link.clone() };
    let sound = speak(speaker, Arc::clone(&stop))?;
    let shown = show(&mut video, &mut canvas, (rate, first), (clock, link), &stop);
    stop.store(true, Relaxed);
    // A panic in it is on standard error already.
    let spoken = sound.join().unwrap_or(Err(Error::Crippled));
    shown.and(spoken)
}

/// Draws and encodes picture after picture, from the `first` on, until stopped.
fn show(
    video: &mut VideoEncoder,
    canvas: &mut Canvas,
    (rate, first): (FrameRate, i64),
    (clock, link): (ClockBase, &Link),
    stop: &AtomicBool,
) -> Result<(), Error> {
    let (width, height) = (canvas.width() as u32, canvas.height() as u32);
    let mut picture = frame::Video::new(Pixel::YUV420P, width, height);
    let gop = GOP_SECONDS * i64::from(rate.num) / i64::from(rate.den.max(1));
    let ticks = i64::from(rate.frame_ticks());
    let mut n = first;
    let mut owes_idr = true;
    while !stop.load(Relaxed) {
        let due = Slots::nanos(rate, n);
        let wait = due - clock.utc_nanos();
        if wait < -BEHIND {
            n = frame_at(rate, clock.utc_nanos()) + 1;
            owes_idr = true;
            continue;
        }
        if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait.unsigned_abs()));
        }
        let captured = monotonic_nanos();
        canvas.draw((due / 1_000_000).unsigned_abs(), (n - first).unsigned_abs());
        fill(&mut picture, canvas)?;
        let idr = owes_idr || (n - first) % gop == 0;
        owes_idr = false;
        video.encode(&mut picture, n, idr, |n, sync, data| {
            let at = n * ticks;
            let sample = Sample { dts: at, pts: at, duration: rate.frame_ticks(), sync, data };
            let encoded = monotonic_nanos();
            link.send(&FromWorker::Sample { rendition: 0, sample, captured, encoded });
        })?;
        n += 1;
    }
    Ok(())
}

/// Starts the sound, which goes on until it is stopped; without it the broadcast ends.
fn speak(
    mut speaker: Speaker,
    stop: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<Result<(), Error>>> {
    std::thread::Builder::new().name("sound".into()).spawn(move || {
        while !stop.load(Relaxed) {
            let spoken = speaker.next();
            if spoken.is_err() {
                stop.store(true, Relaxed);
                return spoken;
            }
        }
        Ok(())
    })
}

/// Notices the end of the socket, and a stop, while the main thread keeps time.
fn watch(messages: Messages, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        while let Ok(Some(message)) = messages.next() {
            if message == ToWorker::Stop {
                break;
            }
        }
        stop.store(true, Relaxed);
    })?;
    Ok(())
}

/// Number of the last frame that has begun.
fn frame_at(rate: FrameRate, nanos: i64) -> i64 {
    let frames = i128::from(nanos) * i128::from(rate.num);
    (frames / (i128::from(rate.den.max(1)) * 1_000_000_000)) as i64
}

fn renditions(
    video: &VideoEncoder,
    audio: &AudioEncoder,
    scene: &Scene,
) -> Result<Vec<Rendition>, Error> {
    let name = |text: &str| {
        Name::parse(text)
            .map_err(|error| Error::Codec { what: "a track's name", error: error.to_string() })
    };
    let audio_scale = Timescale::new(SAMPLE_RATE).unwrap_or(Timescale::MPEG);
    Ok(vec![
        Rendition {
            name: name("video")?,
            track: Track {
                timescale: scene.rate.timescale(),
                config: Config::Video(video.config(scene.rate)?),
            },
            rate: Some(scene.rate),
            average_bitrate: scene.bitrate,
            peak_bitrate: scene.bitrate,
        },
        Rendition {
            name: name("audio")?,
            track: Track { timescale: audio_scale, config: Config::Audio(audio.config()?) },
            rate: None,
            average_bitrate: AUDIO_BITRATE,
            peak_bitrate: AUDIO_BITRATE,
        },
    ])
}

/// Copies the canvas into a frame, whose lines may be padded.
fn fill(picture: &mut frame::Video, canvas: &Canvas) -> Result<(), Error> {
    super::encode::make_writable(picture).map_err(Error::media("drawing"))?;
    for (index, plane) in canvas.planes().iter().enumerate() {
        let width = if index == 0 { canvas.width() } else { canvas.width() / 2 };
        let stride = picture.stride(index);
        let lines = picture.data_mut(index).chunks_mut(stride);
        for (to, from) in lines.zip(plane.chunks_exact(width)) {
            if let Some(to) = to.get_mut(..width) {
                to.copy_from_slice(from);
            }
        }
    }
    Ok(())
}

/// The tick's side of the broadcast.
struct Speaker {
    encoder: AudioEncoder,
    /// Next sample since the epoch.
    at: i64,
    frame: Vec<[f32; 2]>,
    clock: ClockBase,
    link: Link,
}

impl Speaker {
    /// Encodes the next frame when its last sample is due.
    fn next(&mut self) -> Result<(), Error> {
        const FRAME: i64 = AAC_FRAME as i64;
        let rate = i128::from(SAMPLE_RATE);
        let due = (i128::from(self.at + FRAME) * 1_000_000_000 / rate) as i64 - LEAD;
        let wait = due - self.clock.utc_nanos();
        if wait < -BEHIND {
            // After a stall the sound goes on where the picture does.
            let now = i128::from(self.clock.utc_nanos() + LEAD) * rate / 1_000_000_000;
            self.at = now as i64 - FRAME;
        } else if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait.unsigned_abs()));
        }
        let at = self.at;
        self.frame.clear();
        self.frame.extend((0..FRAME).map(|n| [mark::tick_sample(at + n, SAMPLE_RATE); 2]));
        let captured = monotonic_nanos();
        let duration = AAC_FRAME as u32;
        self.encoder.encode(self.at, &self.frame, |start, data| {
            let sample = Sample { dts: start, pts: start, duration, sync: true, data };
            let encoded = monotonic_nanos();
            self.link.send(&FromWorker::Sample { rendition: 1, sample, captured, encoded });
        })?;
        self.at += FRAME;
        Ok(())
    }
}
