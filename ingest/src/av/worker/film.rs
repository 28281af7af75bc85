//! A file as a source: read as fast as it can be packaged, and either handed on as it is or made a ladder
//! of by the same encoders as a channel's.
//!
//! ```text
//! file ─► demux ─┬─► coded samples, as they are ────────────────────────────► link
//!                └─► decode ─► slots (constant rate) ─► a thread per rung ──► link
//!                       └────► one line of samples ───► AAC ────────────────► link
//! ```
//! The file is opened before the worker gives files up. Nothing here keeps time: the slowest encoder does,
//! and whoever reads the link. A file's first picture is the beginning of the output; what sounds before it
//! is left out.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ffmpeg_next as ffmpeg;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{codec, media};
use packager::codec::{aac, h264, h265, nal};
use packager::grid::Grid;
use packager::media::{Config, Name, Rendition, Sample, Track, VideoConfig};
use packager::time::{FrameRate, Timescale};

use super::cuts::Cuts;
use super::decode::{Origin, Pictures, Sound};
use super::encode::{AAC_FRAME, AudioEncoder, SAMPLE_RATE};
use super::ladder::audio_rendition;
use super::link::Link;
use super::meter::Meter;
use super::rung::{Job, Lane, Shown};
use super::slots::Slots;
use super::sound::Line;
use super::{Error, Messages};
use crate::av::ladder::Rung;
use crate::av::protocol::{ClockBase, FilmFacts, FilmWork, FromWorker, ToWorker};

/// Packets and key frames that are looked at for how far apart these are.
const LOOKED_AT: usize = 20_000;
const KEYS_LOOKED_AT: usize = 12;
/// Bytes of them: 20 s at 50 Mb/s.
const LOOKED_AT_BYTES: usize = 128 << 20;
/// How far before the place where it goes on a film is read again: a decoder finds its feet by then.
const BEFORE: i64 = 10_000_000_000;
/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;
/// Sound further than this from where the sound before it ends has a hole before it, in samples.
const HOLE: i64 = 2_880;

/// An open file.
pub(super) struct Film {
    input: Input,
    video: Stream,
    audio: Option<Stream>,
    /// What has been looked at and comes once more.
    ahead: VecDeque<Piece>,
}

/// What matters of a stream.
#[derive(Clone)]
struct Stream {
    index: usize,
    id: codec::Id,
    record: Bytes,
    /// Numerator and denominator of a second's part that its times are counted in.
    base: (i128, i128),
    rate: (i32, i32),
    /// Of pictures, in pixels.
    size: (u16, u16),
}

impl Stream {
    fn of(stream: &ffmpeg::Stream<'_>) -> Self {
        let parameters = stream.parameters();
        let (base, rate) = (stream.time_base(), stream.avg_frame_rate());
        Self {
            index: stream.index(),
            id: parameters.id(),
            record: extradata(&parameters),
            base: (base.numerator().into(), base.denominator().max(1).into()),
            rate: (rate.numerator(), rate.denominator()),
            size: size(&parameters),
        }
    }

    /// A time of this stream in nanoseconds.
    fn nanos(&self, ticks: i64) -> i64 {
        let nanos = i128::from(ticks) * self.base.0 * SECOND;
        i64::try_from(nanos.div_euclid(self.base.1)).unwrap_or(i64::MAX)
    }
}

#[allow(unsafe_code)]
fn extradata(parameters: &codec::Parameters) -> Bytes {
    // SAFETY: the parameters are valid for this call, and the pointer and the size belong together.
    unsafe {
        let raw = &*parameters.as_ptr();
        let size = usize::try_from(raw.extradata_size).unwrap_or(0);
        if raw.extradata.is_null() || size == 0 {
            return Bytes::new();
        }
        Bytes::copy_from_slice(std::slice::from_raw_parts(raw.extradata, size))
    }
}

#[allow(unsafe_code)]
fn size(parameters: &codec::Parameters) -> (u16, u16) {
    // SAFETY: the parameters are valid for this call; both are plain numbers.
    let (width, height) = unsafe {
        let raw = &*parameters.as_ptr();
        (raw.width, raw.height)
    };
    (u16::try_from(width).unwrap_or(0), u16::try_from(height).unwrap_or(0))
}

/// A packet, by what it is of.
enum Piece {
    Video(Packet),
    Audio(Packet),
}

impl Piece {
    fn packet(&self) -> &Packet {
        match self {
            Self::Video(packet) | Self::Audio(packet) => packet,
        }
    }
}

struct Packet {
    /// Nanoseconds of the file's own clock.
    dts: i64,
    pts: i64,
    duration: i64,
    key: bool,
    data: Bytes,
}

/// FFmpeg's packet as the bytes that it holds.
struct Held(codec::packet::Packet);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.data().unwrap_or_default()
    }
}

impl Packet {
    /// A packet of a stream; its bytes stay where FFmpeg has put them. `None` if it has no time, or nothing.
    fn of(packet: codec::packet::Packet, stream: &Stream) -> Option<Self> {
        let dts = packet.dts().or_else(|| packet.pts())?;
        let pts = packet.pts().unwrap_or(dts);
        packet.data()?;
        Some(Self {
            dts: stream.nanos(dts),
            pts: stream.nanos(pts),
            duration: stream.nanos(packet.duration()),
            key: packet.is_key(),
            data: Bytes::from_owner(Held(packet)),
        })
    }
}

impl Film {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        ffmpeg::init().map_err(Error::media("starting FFmpeg"))?;
        let input = ffmpeg::format::input(path).map_err(Error::media("opening the file"))?;
        let best = |kind| input.streams().best(kind).map(|stream| Stream::of(&stream));
        let unfit = |error: &str| Error::Codec { what: "the file", error: error.to_owned() };
        let video = best(media::Type::Video).ok_or_else(|| unfit("it has no pictures"))?;
        let audio = best(media::Type::Audio);
        Ok(Self { input, video, audio, ahead: VecDeque::new() })
    }

    /// The next packet of either stream; `None` at the end.
    fn next(&mut self) -> Option<Piece> {
        self.ahead.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<Piece> {
        loop {
            let mut packet = codec::packet::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return None,
                // A damaged place; the reader finds the next whole packet.
                Err(ffmpeg::Error::InvalidData) => continue,
                Err(_) => return None,
            }
            let audio = self.audio.as_ref().filter(|audio| audio.index == packet.stream());
            if packet.stream() == self.video.index {
                if let Some(packet) = Packet::of(packet, &self.video) {
                    return Some(Piece::Video(packet));
                }
            } else if let Some(packet) = audio.and_then(|audio| Packet::of(packet, audio)) {
                return Some(Piece::Audio(packet));
            }
        }
    }

    /// What has to be known before anything is made of it: its first packets, which come once more.
    fn facts(&mut self) -> Result<FilmFacts, Error> {
        let duration = self.input.duration().max(0);
        let sound = self.audio.as_ref().map(|audio| format!("{:?}", audio.id));
        let (video, average) = (self.video.clone(), self.video.rate);
        let (mut keys, mut pictures, mut first) = (Vec::new(), 0u32, i64::MAX);
        let (mut looked_at, mut bytes) = (VecDeque::new(), 0);
        while looked_at.len() < LOOKED_AT && bytes < LOOKED_AT_BYTES {
            let Some(piece) = self.read() else { break };
            bytes += piece.packet().data.len();
            looked_at.push_back(piece);
            if let Some(Piece::Video(packet)) = looked_at.back() {
                if packet.key {
                    keys.push(pictures);
                }
                first = first.min(packet.pts);
                pictures = pictures.saturating_add(1);
                if keys.len() > KEYS_LOOKED_AT {
                    break;
                }
            }
        }
        self.ahead = looked_at;
        let positive = |n: i32| u64::try_from(n).ok().filter(|n| *n > 0);
        let rate = positive(average.0).zip(positive(average.1));
        let rate = rate.and_then(|(num, den)| FrameRate::standard(num, den)).or_else(|| {
            let (num, den) = rate?;
            Some(FrameRate::new(u32::try_from(num).ok()?, u32::try_from(den).ok()?))
        });
        let mut apart: Vec<u32> = keys.windows(2).map(|pair| pair[1] - pair[0]).collect();
        apart.sort_unstable();
        Ok(FilmFacts {
            width: video.size.0,
            height: video.size.1,
            rate,
            // FFmpeg counts a file's length in microseconds.
            duration_ms: duration.unsigned_abs() / 1_000,
            gop: apart.get(apart.len() / 2).copied(),
            codec: format!("{:?}", video.id),
            sound,
            first_nanos: if first == i64::MAX { 0 } else { first },
        })
    }

    fn picture_config(&self) -> Result<VideoConfig, Error> {
        let Stream { id, record, .. } = &self.video;
        let failed = |error: String| Error::Codec { what: "the pictures' header", error };
        let annex_b = record.first() != Some(&1);
        match id {
            codec::Id::H264 if annex_b => {
                h264::config_from_annex_b(record).map_err(|error| failed(error.to_string()))
            }
            codec::Id::H264 => {
                h264::config(record.clone()).map_err(|error| failed(error.to_string()))
            }
            codec::Id::HEVC if annex_b => {
                h265::config_from_annex_b(record).map_err(|error| failed(error.to_string()))
            }
            codec::Id::HEVC => {
                h265::config(record.clone()).map_err(|error| failed(error.to_string()))
            }
            other => Err(failed(format!("{other:?} is neither H.264 nor HEVC"))),
        }
    }
}

/// Tells what is in a film, and does what is asked then.
pub(super) fn run(
    messages: Messages,
    link: &Link,
    clock: ClockBase,
    mut film: Film,
) -> Result<(), Error> {
    link.send(&FromWorker::Film(film.facts()?));
    let work = loop {
        match messages.next()? {
            Some(ToWorker::Film(work)) => break work,
            Some(ToWorker::Stop) | None => return Ok(()),
            Some(_) => {}
        }
    };
    // Nobody has anything more to say; the end of the socket is noticed when something is sent.
    drop(messages);
    match work {
        FilmWork::AsItIs { rate } => as_it_is(film, link, rate),
        FilmWork::Ladder { rungs, grid, first_nanos, from_k } => {
            Making::new(link, clock, &rungs, grid, (first_nanos, from_k))?.run(film)
        }
    }
}

/// Hands the coded samples on, with times in nanoseconds of the file's clock.
fn as_it_is(mut film: Film, link: &Link, rate: FrameRate) -> Result<(), Error> {
    let mut config = film.picture_config()?;
    config.rate = Some(rate);
    let annex_b = film.video.record.first() != Some(&1);
    let name = |text: &str| {
        Name::parse(text).map_err(|error| Error::Codec { what: "a name", error: error.to_string() })
    };
    let rendition = |name, config, rate| Rendition {
        name,
        track: Track { timescale: Timescale::NANOS, config },
        rate,
        average_bitrate: 0,
        peak_bitrate: 0,
    };
    let mut renditions = vec![rendition(name("source")?, Config::Video(config), Some(rate))];
    match &film.audio {
        Some(audio) if audio.id == codec::Id::AAC && !audio.record.is_empty() => {
            let config = aac::config(audio.record.clone()).map_err(|error| Error::Codec {
                what: "the sound's header",
                error: error.to_string(),
            })?;
            renditions.push(rendition(name("audio")?, Config::Audio(config), None));
        }
        Some(audio) => {
            let error =
                format!("{:?} is no AAC with a header of its own: make a ladder of it", audio.id);
            return Err(Error::Codec { what: "the sound", error });
        }
        None => {}
    }
    link.send(&FromWorker::Started { renditions, first_k: 0, start: 0 });
    while let Some(piece) = film.next() {
        let (rendition, packet) = match piece {
            Piece::Video(packet) => (0, packet),
            Piece::Audio(packet) => (1, packet),
        };
        let data = match rendition == 0 && annex_b {
            true => nal::from_annex_b(&packet.data)
                .map_err(|error| Error::Codec { what: "a picture", error: error.to_string() })?,
            false => packet.data,
        };
        let duration = u32::try_from(packet.duration).unwrap_or(0);
        let sync = packet.key || rendition == 1;
        let sample = Sample { dts: packet.dts, pts: packet.pts, duration, sync, data };
        link.send(&FromWorker::Sample { rendition, sample, captured: 0, encoded: 0 });
    }
    Ok(())
}

/// A ladder of a film.
struct Making {
    link: Link,
    meter: Arc<Meter>,
    grid: Grid,
    lanes: Vec<Lane>,
    slots: Slots,
    /// Time of the file's first picture, on its own clock.
    first_nanos: i64,
    /// The output's first frame, and the one that is shown next.
    start: i64,
    next: i64,
    last: Option<Arc<Shown>>,
    tape: Tape,
}

impl Making {
    fn new(
        link: &Link,
        clock: ClockBase,
        rungs: &[Rung],
        grid: Grid,
        (first_nanos, from_k): (i64, u64),
    ) -> Result<Self, Error> {
        let meter = Arc::new(Meter::default());
        let cuts = Arc::new(Cuts::new(grid));
        let (mut lanes, mut renditions) = (Vec::new(), Vec::new());
        for (index, rung) in (0u8..).zip(rungs) {
            let (lane, rendition) = Lane::open(rung, index, grid, clock, link, &meter, &cuts)?;
            lanes.push(lane);
            renditions.push(rendition);
        }
        let encoder = AudioEncoder::open()?;
        renditions.push(audio_rendition(&encoder, &grid)?);
        let frame = i64::from(grid.rate.frame_ticks()).max(1);
        let at = grid.boundary(from_k);
        let sound = grid.audio_frame_at_or_after(at);
        link.send(&FromWorker::Started { renditions, first_k: from_k, start: at });
        let rendition = u8::try_from(rungs.len()).unwrap_or(u8::MAX);
        let tape = Tape::new(encoder, rendition, link.clone(), sound);
        Ok(Self {
            link: link.clone(),
            meter,
            grid,
            lanes,
            slots: Slots::new(grid.rate),
            first_nanos,
            start: grid.boundary(1) / frame,
            next: at / frame,
            last: None,
            tape,
        })
    }

    /// When something of the film is on the output's clock, in nanoseconds.
    fn placed(&self, nanos: i64) -> i64 {
        Slots::nanos(self.grid.rate, self.start)
            .saturating_add(nanos)
            .saturating_sub(self.first_nanos)
    }

    fn run(mut self, mut film: Film) -> Result<(), Error> {
        self.seek(&mut film)?;
        let mut pictures = Pictures::of(film.video.id, &film.video.record)?;
        let mut sound = film.audio.as_ref().and_then(|audio| {
            let opened = Sound::of(audio.id, &audio.record);
            opened.inspect_err(|error| self.link.log(true, format!("no sound: {error}"))).ok()
        });
        let mut line = Line::default();
        let mut failed = None;
        while let Some(piece) = film.next() {
            match piece {
                Piece::Video(packet) => {
                    let at = self.placed(packet.pts);
                    let origin = Origin { at, received: 0, generation: 0 };
                    pictures.decode(&packet.data, packet.key, origin, |picture, origin| {
                        let shown = self.show(picture, origin.at);
                        failed = failed.take().or_else(|| shown.err());
                    });
                }
                Piece::Audio(packet) => {
                    let at = self.placed(packet.pts);
                    let Some(sound) = &mut sound else { continue };
                    let tape = &mut self.tape;
                    sound.decode(&packet.data, at, |frame, at| {
                        let placed = line.stereo(frame).and_then(|stereo| tape.write(at, stereo));
                        failed = failed.take().or_else(|| placed.err());
                    });
                }
            }
            if let Some(error) = failed.take() {
                return Err(error);
            }
        }
        pictures.finish(|picture, origin| {
            let shown = self.show(picture, origin.at);
            failed = failed.take().or_else(|| shown.err());
        });
        if let Some(error) = failed {
            return Err(error);
        }
        // The last picture's own frame, and the sound up to its end.
        self.until(self.next.saturating_add(1))?;
        self.tape.end(Slots::nanos(self.grid.rate, self.next))?;
        self.lanes.into_iter().for_each(Lane::close);
        Ok(())
    }

    /// Where the output goes on, the film is read from some seconds before.
    fn seek(&self, film: &mut Film) -> Result<(), Error> {
        let ahead = Slots::nanos(self.grid.rate, self.next - self.start) - BEFORE;
        if ahead <= 0 {
            return Ok(());
        }
        // FFmpeg's own clock counts microseconds.
        let at = ahead.saturating_add(self.first_nanos) / 1_000;
        film.ahead.clear();
        film.input.seek(at, ..at).map_err(Error::media("finding the place in the file"))
    }

    /// Shows a picture from its slot on, and the one before it until then.
    fn show(&mut self, picture: ffmpeg::frame::Video, at: i64) -> Result<(), Error> {
        let slot = self.slots.slot(at, 0);
        let shown = Arc::new(Shown { picture, received: 0 });
        if self.last.is_none() {
            // What comes before the first picture is that picture too.
            self.last = Some(Arc::clone(&shown));
        }
        self.until(slot)?;
        self.last = Some(shown);
        Ok(())
    }

    /// Gives the rungs every frame before `slot`.
    fn until(&mut self, slot: i64) -> Result<(), Error> {
        let Some(last) = self.last.clone() else { return Ok(()) };
        while self.next < slot {
            let due = Slots::nanos(self.grid.rate, self.next);
            for lane in &mut self.lanes {
                let job =
                    Job { n: self.next, shown: Arc::clone(&last), due, captured: 0, fresh: false };
                // As if it were the backfill of a first segment: every frame waits for room.
                if !lane.give(job, true, &self.meter) {
                    return Err(Error::Crippled);
                }
            }
            self.next += 1;
        }
        self.tape.silence_until(Slots::nanos(self.grid.rate, self.next))
    }
}

/// How far sound may lag behind the pictures before it counts as missing: files interleave by a second or
/// two.
const LAG: Duration = Duration::from_secs(10);

/// Sound in one line, from the output's start on, with silence where there is none.
struct Tape {
    encoder: AudioEncoder,
    rendition: u8,
    link: Link,
    /// Number of the first sample that waits.
    at: i64,
    waiting: Vec<[f32; 2]>,
    /// Whether any sound has come.
    begun: bool,
}

impl Tape {
    fn new(encoder: AudioEncoder, rendition: u8, link: Link, at: i64) -> Self {
        Self { encoder, rendition, link, at, waiting: Vec::new(), begun: false }
    }

    fn end_of_waiting(&self) -> i64 {
        self.at + self.waiting.len() as i64
    }

    /// Adds sound whose first sample belongs at `nanos`.
    fn write(&mut self, nanos: i64, stereo: &[[f32; 2]]) -> Result<(), Error> {
        let wanted = sample_at(nanos);
        let hole = wanted - self.end_of_waiting();
        // Containers round times: sound that goes on is in one piece.
        let moves = !self.begun || hole.abs() > HOLE;
        if moves && hole > 0 {
            self.extend_to(wanted);
        }
        let skip = if moves { (-hole).clamp(0, stereo.len() as i64) as usize } else { 0 };
        self.begun |= skip < stereo.len();
        self.waiting.extend(stereo.iter().skip(skip));
        self.encode()
    }

    /// Sees to it that nothing is missing that should have come by `nanos`.
    fn silence_until(&mut self, nanos: i64) -> Result<(), Error> {
        let lag = i64::try_from(LAG.as_nanos()).unwrap_or(i64::MAX);
        self.extend_to(sample_at(nanos - lag));
        self.encode()
    }

    /// Makes whole frames up to `nanos`, and gets them all out of the encoder.
    fn end(&mut self, nanos: i64) -> Result<(), Error> {
        let end = sample_at(nanos);
        self.extend_to(end);
        let keep = usize::try_from(end - self.at).unwrap_or(0);
        let keep = keep.div_ceil(AAC_FRAME) * AAC_FRAME;
        // One more than that: what comes out is a frame behind what goes in.
        self.waiting.truncate(keep);
        self.waiting.resize(keep + AAC_FRAME, [0.0; 2]);
        self.encode()
    }

    fn extend_to(&mut self, sample: i64) {
        let missing = usize::try_from(sample - self.end_of_waiting()).unwrap_or(0);
        self.waiting.resize(self.waiting.len() + missing, [0.0; 2]);
    }

    fn encode(&mut self) -> Result<(), Error> {
        let whole = self.waiting.len() / AAC_FRAME * AAC_FRAME;
        let (rendition, link, duration) = (self.rendition, &self.link, AAC_FRAME as u32);
        for frame in self.waiting[..whole].chunks_exact(AAC_FRAME) {
            self.encoder.encode(self.at, frame, |start, data| {
                let sample = Sample { dts: start, pts: start, duration, sync: true, data };
                link.send(&FromWorker::Sample { rendition, sample, captured: 0, encoded: 0 });
            })?;
            self.at += AAC_FRAME as i64;
        }
        self.waiting.drain(..whole);
        Ok(())
    }
}

/// Number of the sample at an instant of the output.
fn sample_at(nanos: i64) -> i64 {
    let samples = i128::from(nanos) * i128::from(SAMPLE_RATE);
    i64::try_from((samples + SECOND / 2).div_euclid(SECOND)).unwrap_or(i64::MAX)
}
