//! The ladder's role: reads the source's samples, decodes them on the main thread, and lets the
//! output's threads run.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use packager::grid::Grid;
use packager::media::{Config, Name, Rendition, Track};

use super::clock::{Mapper, Track as Kind};
use super::cuts::Cuts;
use super::decode::{Origin, Pictures, Sound};
use super::encode::AudioEncoder;
use super::link::Link;
use super::meter::Meter;
use super::pictures::Board;
use super::rung::{Lane, Shown};
use super::slots::{Patience, Slots};
use super::sound::{Desk, Placer};
use super::{Error, Messages, slate};
use crate::av::ladder::{AUDIO_BITRATE, Rung};
use crate::av::protocol::{ClockBase, CodedSample, FromWorker, ToWorker, monotonic_nanos};

/// A source further ahead of the clock than this is read no faster than it is shown, nanoseconds.
const AHEAD: i64 = 500_000_000;
/// The same for sound, which may come well before its picture and then waits on the desk.
const SOUND_AHEAD: i64 = 2_000_000_000;
/// Furthest that a picture is shown from its decoding time: ten pictures reordered at 5 fps. What is
/// stamped further away would stand in the way of all that follow.
const MAX_COMPOSITION: i64 = 2_000_000_000;
/// Longest single wait for that: the socket's end is noticed in between, nanoseconds.
const NAP: i64 = 1_000_000_000;
/// Segments before that of the first picture which show it too, with silence, where their numbers
/// are free. Players stay three segments behind the live edge, so they start at once and inside what
/// there is: dash.js 5 hangs in Chromium when it is to start at the very beginning of a Period.
const LEAD_IN: u64 = 3;

/// Runs a ladder until the server stops it or closes the socket.
pub(super) fn run(
    messages: &Messages,
    link: &Link,
    clock: ClockBase,
    (slate, rungs): (Slate<'_>, &[Rung]),
    begin: Begin,
) -> Result<(), Error> {
    let grid = begin.grid;
    let meter = Arc::new(Meter::default());
    let cuts = Arc::new(Cuts::new(grid));
    let mut lanes = Vec::new();
    let mut renditions = Vec::new();
    for (index, rung) in (0u8..).zip(rungs) {
        let (lane, rendition) = Lane::open(rung, index, grid, clock, link, &meter, &cuts)?;
        lanes.push(lane);
        renditions.push(rendition);
    }
    let encoder = AudioEncoder::open()?;
    let audio_index = u8::try_from(lanes.len()).unwrap_or(u8::MAX);
    renditions.push(audio_rendition(&encoder, &grid)?);

    let asked = lanes.iter().map(Lane::asked).collect();
    let (counted, agreed) = (Arc::clone(&meter), Arc::clone(&cuts));
    let board = Arc::new(Board::new(grid, clock, counted, asked, agreed, slate.after));
    let largest = rungs.iter().max_by_key(|rung| rung.height);
    let (width, height) = largest.map_or((0, 0), |rung| (rung.width, rung.height));
    board.set_slate(slate::of_name(slate.name, width, height));
    let desk = Arc::new(Desk::new(clock, Arc::clone(&meter), &grid));
    let sentinel = Sentinel::new(messages);
    let sound =
        spawn_sound(Arc::clone(&desk), encoder, audio_index, link.clone(), sentinel.clone())?;
    let threads = (Arc::clone(&board), Arc::clone(&desk));
    let picture =
        spawn_picture(threads, lanes, (begin, renditions), link.clone(), sentinel.clone())?;

    let threads = (Arc::clone(&board), &desk, cuts);
    let mut source = Source::new(begin, clock, threads, meter, link.clone());
    let mut result = source.read(messages);
    if sentinel.has_seen_an_end() {
        result = result.and(Err(Error::Crippled));
    }
    board.close();
    desk.close();
    // Panics in them are on standard error already.
    let _ = picture.join();
    let _ = sound.join();
    result
}

/// Sees to it that the worker does not live on without one of its output's threads: each holds a
/// clone, and the first one dropped ends the reading of messages.
#[derive(Clone)]
struct Sentinel {
    socket: Arc<UnixStream>,
    ended: Arc<AtomicBool>,
}

impl Sentinel {
    fn new(messages: &Messages) -> Self {
        Self { socket: messages.socket(), ended: Arc::default() }
    }

    fn has_seen_an_end(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        // It can only fail where the socket is closed already.
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

pub(super) fn audio_rendition(encoder: &AudioEncoder, grid: &Grid) -> Result<Rendition, Error> {
    let name = Name::parse("audio")
        .map_err(|error| Error::Codec { what: "the sound's name", error: error.to_string() })?;
    Ok(Rendition {
        name,
        track: Track { timescale: grid.audio_scale(), config: Config::Audio(encoder.config()?) },
        rate: None,
        average_bitrate: AUDIO_BITRATE,
        // Its bit reservoir lets a second be this much fatter.
        peak_bitrate: AUDIO_BITRATE / 4 * 5,
    })
}

/// What is shown without a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slate<'a> {
    /// The channel's name.
    pub(super) name: &'a str,
    /// How long the last picture stands before.
    pub(super) after: Duration,
}

/// Where the output begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) grid: Grid,
    pub(super) first_k_min: u64,
    /// Whether it goes on for a worker that is no more.
    pub(super) resume: bool,
}

impl Begin {
    /// Video ticks of the first frame, when the first picture belongs at `first` and the next frame of
    /// the clock begins at `now`.
    ///
    /// A run begins with whole segments from before its first picture. One that goes on is filled by
    /// the packager until then, so it begins with the first part whose first frame is still to come.
    fn at(&self, first: i64, now: i64) -> i64 {
        let grid = &self.grid;
        if !self.resume {
            let k = grid.number_at(first).saturating_sub(LEAD_IN).max(self.first_k_min);
            return grid.boundary(k);
        }
        let earliest = first.max(now).max(grid.boundary(self.first_k_min));
        let k = grid.number_at(earliest);
        let (start, part) = (grid.boundary(k), grid.part_ticks.max(1).cast_signed());
        let parts = (earliest - start + part - 1).div_euclid(part);
        (start + parts * part).min(grid.boundary(k + 1))
    }
}

fn spawn_picture(
    (board, desk): (Arc<Board>, Arc<Desk>),
    mut lanes: Vec<Lane>,
    (begin, renditions): (Begin, Vec<Rendition>),
    link: Link,
    sentinel: Sentinel,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("clock".into()).spawn(move || {
        let _sentinel = sentinel;
        if let Some((slot, first)) = board.first() {
            let grid = begin.grid;
            let frame = i64::from(grid.rate.frame_ticks());
            let next = board.next_frame().saturating_mul(frame);
            let start = begin.at(slot.saturating_mul(frame), next);
            link.send(&FromWorker::Started { renditions, first_k: grid.number_at(start), start });
            desk.begin(grid.audio_frame_at_or_after(start));
            board.run(start / frame.max(1), first, &mut lanes, &link);
        }
        for lane in lanes {
            lane.close();
        }
    })
}

fn spawn_sound(
    desk: Arc<Desk>,
    mut encoder: AudioEncoder,
    rendition: u8,
    link: Link,
    sentinel: Sentinel,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("sound".into()).spawn(move || {
        let _sentinel = sentinel;
        desk.run(&mut encoder, rendition, &link);
    })
}

/// The source as this worker sees it: its decoders and where its times fall.
struct Source {
    clock: ClockBase,
    board: Arc<Board>,
    cuts: Arc<Cuts>,
    meter: Arc<Meter>,
    link: Link,
    mapper: Mapper,
    slots: Slots,
    /// Video ticks of a frame.
    frame: i64,
    /// Whether this worker goes on for another, and so has something to show in any case.
    resume: bool,
    pictures: Option<Pictures>,
    sound: Option<Sound>,
    placer: Placer,
    desk: Arc<Desk>,
    /// What makes Opus of the sound, while that is wanted.
    opus: Option<JoinHandle<()>>,
    /// When a worker that goes on for another began, or the source was last taken back, in
    /// `CLOCK_MONOTONIC` nanoseconds: what was received before is late because it was read late, and
    /// says nothing of the link.
    prompt_from: i64,
}

impl Source {
    fn new(
        begin: Begin,
        clock: ClockBase,
        (board, desk, cuts): (Arc<Board>, &Arc<Desk>, Arc<Cuts>),
        meter: Arc<Meter>,
        link: Link,
    ) -> Self {
        Self {
            clock,
            board,
            cuts,
            meter,
            link,
            mapper: Mapper::patient(Patience::longest(&begin.grid)),
            slots: Slots::new(begin.grid.rate),
            frame: i64::from(begin.grid.rate.frame_ticks()),
            resume: begin.resume,
            pictures: None,
            sound: None,
            placer: Placer::new(Arc::clone(desk)),
            desk: Arc::clone(desk),
            opus: None,
            prompt_from: if begin.resume { monotonic_nanos() } else { i64::MIN },
        }
    }

    fn read(&mut self, messages: &Messages) -> Result<(), Error> {
        while let Some(message) = messages.next()? {
            match message {
                ToWorker::Start(_) => return Err(Error::NotStarted),
                ToWorker::VideoConfig { codec, record } => {
                    // What the old decoder holds is shown before the new one's pictures.
                    self.finish_pictures();
                    self.pictures = Some(Pictures::open(codec, &record)?);
                }
                ToWorker::AudioConfig { codec, record } => match Sound::open(codec, &record) {
                    Ok(sound) => self.sound = Some(sound),
                    Err(error) => {
                        self.link.log(true, format!("the sound is left out: {error}"));
                        self.sound = None;
                    }
                },
                ToWorker::Video(sample) => self.video(&sample),
                ToWorker::Audio(sample) => self.audio(&sample),
                ToWorker::SourceLost => {
                    self.finish_pictures();
                    self.sound = None;
                    self.mapper.source_lost();
                    if self.resume {
                        self.board.begin_without_source();
                    }
                }
                ToWorker::Slate { image } => match slate::of_image(&image) {
                    Ok(picture) => self.board.set_slate(picture),
                    Err(error) => self.link.log(true, format!("the slate is left out: {error}")),
                },
                ToWorker::Rungs { on } => self.board.set_rungs(on),
                ToWorker::KeyFrames { rungs, at } => self.board.ask_key_frames(rungs, at),
                ToWorker::Splices(splices) => {
                    self.cuts.follow(splices);
                    self.mapper.keep_until(self.cuts.last_splice());
                }
                ToWorker::Locate { id, at } => {
                    let at = self.mapper.picture_at(at).map(|at| self.slots.ahead(at));
                    let at = at.map(|slot| slot.saturating_mul(self.frame));
                    self.link.send(&FromWorker::Located { id, at });
                }
                ToWorker::Opus { on } => self.want_opus(on)?,
                // There is no file here.
                ToWorker::Film(_) => {}
                ToWorker::Stop => break,
            }
        }
        Ok(())
    }

    fn video(&mut self, sample: &CodedSample) {
        let Some((place, received)) = self.place(Kind::Video, sample) else { return };
        self.hold_back(sample.dts.saturating_add(place), AHEAD);
        let composition = sample.pts.saturating_sub(sample.dts);
        let composition = if composition.abs() > MAX_COMPOSITION { 0 } else { composition };
        let origin = Origin {
            at: sample.dts.saturating_add(place).saturating_add(composition),
            received,
            generation: self.mapper.generation(),
        };
        if let Some(mut pictures) = self.pictures.take() {
            let before = pictures.damaged;
            pictures.decode(&sample.data, sample.sync, origin, |picture, origin| {
                self.show(picture, origin);
            });
            self.meter.damaged.fetch_add(pictures.damaged - before, Relaxed);
            self.pictures = Some(pictures);
        }
    }

    fn audio(&mut self, sample: &CodedSample) {
        let Some((place, received)) = self.place(Kind::Audio, sample) else { return };
        self.hold_back(sample.dts.saturating_add(place), SOUND_AHEAD);
        let Some(sound) = &mut self.sound else { return };
        let (placer, link) = (&mut self.placer, &self.link);
        let before = sound.damaged;
        let prompt = received >= self.prompt_from;
        sound.decode(&sample.data, sample.pts.saturating_add(place), |frame, at| {
            if let Err(error) = placer.place(frame, at, prompt) {
                link.log(true, format!("sound is left out: {error}"));
            }
        });
        self.meter.damaged.fetch_add(sound.damaged - before, Relaxed);
    }

    /// The offset of a sample, and when it was received by `CLOCK_MONOTONIC`.
    fn place(&mut self, kind: Kind, sample: &CodedSample) -> Option<(i64, i64)> {
        let received = sample.received.saturating_add(self.clock.utc_minus_monotonic_nanos);
        let Mapper { jumps, replaced, taken_back, .. } = self.mapper;
        let place = self.mapper.place(kind, sample.sync, sample.dts, received);
        self.meter.jumps.store(self.mapper.jumps, Relaxed);
        self.meter.replaced.store(self.mapper.replaced, Relaxed);
        self.meter.taken_back.store(self.mapper.taken_back, Relaxed);
        if self.mapper.jumps > jumps {
            self.link.log(false, "the source's clock jumped; closed");
        }
        if self.mapper.replaced > replaced {
            self.link.log(false, "the source stayed out of place; placed anew");
        }
        if self.mapper.taken_back > taken_back {
            self.prompt_from = monotonic_nanos();
        }
        Some((place?, sample.received))
    }

    /// Does not let a source run further ahead of the clock than `limit`.
    fn hold_back(&self, dts: i64, limit: i64) {
        let ahead = dts.saturating_sub(self.clock.utc_nanos()).saturating_sub(limit);
        if ahead > 0 {
            std::thread::sleep(Duration::from_nanos(ahead.min(NAP).unsigned_abs()));
        }
    }

    fn show(&mut self, picture: ffmpeg_next::frame::Video, origin: Origin) {
        self.meter.ingested(monotonic_nanos().saturating_sub(origin.received));
        let slot = self.slots.slot(origin.at, origin.generation);
        let prompt = origin.received >= self.prompt_from;
        self.board.put(slot, Shown { picture, received: origin.received }, prompt);
    }

    fn want_opus(&mut self, wanted: bool) -> std::io::Result<()> {
        self.desk.want_opus(wanted);
        if !wanted {
            if let Some(opus) = self.opus.take() {
                // It ends as soon as it looks, and is none of two when it is wanted again. A panic in it is on
                // standard error already.
                let _ = opus.join();
            }
        } else if self.opus.is_none() {
            let (desk, link) = (Arc::clone(&self.desk), self.link.clone());
            let thread = std::thread::Builder::new().name("opus".into());
            self.opus = Some(thread.spawn(move || desk.run_opus(&link))?);
        }
        Ok(())
    }

    fn finish_pictures(&mut self) {
        if let Some(pictures) = self.pictures.take() {
            let before = pictures.damaged;
            let after = pictures.finish(|picture, origin| self.show(picture, origin));
            self.meter.damaged.fetch_add(after - before, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
