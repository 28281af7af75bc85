//! `headwater package`: a file through the same worker and the same packager as a channel, into a folder
//! that any web server can serve, or a bucket of S3.
//!
//! ```text
//! file ─► worker (looks, then reads or encodes) ─► segmenter ─► place: folder or bucket, a segment at a time
//!                                                  └► film ─► playlists and manifest, at the end
//! ```
//! What is finished is noted, so that a run that was broken off goes on: one that encodes with the first
//! segment that some rendition lacks, one that does not by reading again what it has, which costs nothing.
//!
//! A file's time begins at boundary 1 of the grid: its segments are numbered from 1, and nobody is told
//! dates that there are none of.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::av::ladder::{self, Wish};
use ingest::av::protocol::{FilmFacts, FilmWork};
use ingest::av::supervisor::{FilmConfig, Output, film};
use packager::codec::aac;
use packager::grid::Grid;
use packager::media::{Config, Name, Rendition, RunId, Sample, Track};
use packager::segmenter::{self, Segmenter, SourceSegmenter, Start};
use packager::time::{FrameRate, Span, Timescale};
use packager::timeline::{Lengths, Snapshot};
use packager::{dash, hls};
use tokio::sync::mpsc::Receiver;

mod bucket;
mod film;
mod folder;
mod notes;
mod place;
mod times;

use crate::cli::{self, Ladder};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Rung;
use crate::store::s3::{Item, Settings, Unusable};
use notes::Job;
use place::Place;
use times::Times;

/// Wished part length: a part is a chunk here, and nobody asks for one.
const PART: Span = Span::millis(1_000);
/// AudioSpecificConfig of the silence of a file without sound: AAC-LC, 48 kHz, stereo.
const SILENCE: [u8; 2] = [0x11, 0x90];
/// Sample rate of a ladder's sound.
const SAMPLE_RATE: u32 = 48_000;
/// How long a worker may be silent: it looks through some minutes of a film at first.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// What is to be packaged, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The file.
    pub input: PathBuf,
    /// The rungs; none: it is packaged as it is.
    pub ladder: Vec<Wish>,
    /// Wished segment length.
    pub segment: Span,
    /// Where to.
    pub out: Target,
    /// The program to run as a worker.
    pub program: PathBuf,
}

/// Where a packaged file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder; made if it is not there.
    Folder(PathBuf),
    /// A bucket of S3; its credentials come from the usual chain of AWS.
    S3(Box<Settings>),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Media that every rendition has.
    pub done: Duration,
    /// How long the file says that it is.
    pub of: Duration,
    /// Media per second of real time, in this run.
    pub speed: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// How long it plays.
    pub length: Duration,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments that an earlier run had made.
    pub kept: u64,
    /// The names of the renditions.
    pub renditions: Vec<String>,
    /// What was wished for and is not made, or otherwise, with the reason.
    pub left_out: Vec<String>,
}

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder can't be used.
    #[error("can't {doing} {path}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The worker can't be started.
    #[error("can't start the worker")]
    Worker(#[source] io::Error),
    /// The worker can't do it.
    #[error("{0}")]
    Film(String),
    /// The worker does nothing.
    #[error("the worker has said nothing for {seconds} s")]
    Hung {
        /// For so long.
        seconds: u64,
    },
    /// The file can't be packaged like this.
    #[error("{0}")]
    Unfit(String),
    /// Its samples don't fit.
    #[error("the file's samples")]
    Samples(#[from] segmenter::Error),
    /// There is something else.
    #[error(
        "{place} has another file's segments, or this one's in another way: take another place, or delete what is there"
    )]
    Taken {
        /// The folder or bucket.
        place: String,
    },
    /// The bucket can't be used.
    #[error("can't use {place}")]
    Store {
        /// Which.
        place: String,
        /// Why not, and what to do.
        source: Unusable,
    },
    /// What works on a bucket can't be started.
    #[error("can't start a thread for S3")]
    Thread(#[source] io::Error),
}

impl Order {
    /// What the command line says.
    ///
    /// # Errors
    /// This program can't be found, or S3 is spoken of where there is none.
    pub fn of(what: cli::Package) -> Result<Self, Error> {
        let ladder = match &what.ladder {
            Ladder::Source => Vec::new(),
            Ladder::Rungs(rungs) => rungs.iter().map(Rung::wish).collect(),
        };
        let cli::S3 { endpoint, region, path_style } = what.s3;
        let out = match what.out {
            cli::Out::S3 { bucket, prefix } => {
                let reached = Settings { endpoint, region, path_style, ..Settings::default() };
                Target::S3(Box::new(Settings { bucket, prefix, ..reached }))
            }
            cli::Out::Folder(_) if endpoint.is_some() => {
                return Err(Error::Unfit("an endpoint of S3 goes with --out s3://…".to_owned()));
            }
            cli::Out::Folder(path) => Target::Folder(path),
        };
        let program = std::env::current_exe().map_err(Error::Worker)?;
        Ok(Self { input: what.input, ladder, segment: what.segment, out, program })
    }
}

/// One line: a bar, how much is done, how fast, and how long it will take.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 30;
        let of = self.of.max(self.done).as_secs_f64().max(f64::MIN_POSITIVE);
        let share = self.done.as_secs_f64() / of;
        let full = (share * WIDTH as f64) as usize;
        let left = (of - self.done.as_secs_f64()) / self.speed.max(f64::MIN_POSITIVE);
        let eta = if self.speed > 0.0 { clock(left) } else { "–".to_owned() };
        write!(
            f,
            "[{:<WIDTH$}] {:3.0} %  {} of {}  {:.1}x  ETA {eta}  ",
            "#".repeat(full.min(WIDTH)),
            share * 100.0,
            clock(self.done.as_secs_f64()),
            clock(of),
            self.speed,
        )
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// What came of it, for people.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, megabytes) = (self.length.as_secs_f64(), self.bytes as f64 / 1e6);
        write!(f, "{length:.3} s, {megabytes:.1} MB: {}", self.renditions.join(", "))?;
        if self.kept > 0 {
            write!(f, "; {} segments were there before", self.kept)?;
        }
        self.left_out.iter().try_for_each(|out| write!(f, "\nleft out: {out}"))
    }
}

/// Packages a file on a runtime of its own; tells how far it is.
///
/// # Errors
/// See [`Error`].
pub fn run(order: &Order, tell: impl FnMut(Progress)) -> Result<Made, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Worker)?.block_on(package(order, tell))
}

/// Packages a file; tells how far it is.
///
/// # Errors
/// See [`Error`]. What is finished stays, and the next run goes on with it.
pub async fn package(order: &Order, mut tell: impl FnMut(Progress)) -> Result<Made, Error> {
    let (program, path) = (order.program.clone(), order.input.clone());
    let (mut input, mut outputs) = film(FilmConfig { program, path }).map_err(Error::Worker)?;
    let facts = facts(&mut outputs).await?;
    let plan = Plan::of(order, &facts)?;
    let job = Job::of(&order.input, &plan.name()).map_err(io_error("read", &order.input))?;
    let run = RunId::from_millis(SystemClock::new().now_millis());
    let mut place = Place::open(&order.out, job, &run).await?;
    let mut making = Making::new(&plan);
    let work = plan.work(&facts, place.film.next_k(plan.renditions()));
    // A worker that has gone says so in its outputs.
    input.do_with_film(work);
    let began = Instant::now();
    let (mut told, mut before) = (Instant::now(), None);
    loop {
        match next(&mut outputs).await? {
            Output::Started { renditions, first_k, .. } => {
                let renditions = making.begin(renditions, first_k)?;
                place.begin(&renditions, first_k).await?;
            }
            Output::Sample { rendition, sample, .. } => making.push(rendition, sample)?,
            Output::Exited { reason } => {
                // An orderly end is one after which nothing is missing.
                if reason.ends_with("exit status: 0") {
                    break;
                }
                return Err(Error::Film(reason));
            }
            _ => {}
        }
        making.drain(&mut place).await?;
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            let done = place.film.length();
            let from = *before.get_or_insert(done);
            let speed = done.saturating_sub(from).as_secs_f64() / began.elapsed().as_secs_f64();
            tell(Progress { done, of: Duration::from_millis(facts.duration_ms), speed });
        }
    }
    making.finish()?;
    making.drain(&mut place).await?;
    place.settle().await?;
    let snapshot = place.film.snapshot(plan.grid, plan.ladder.is_none())?;
    for (name, text, item) in texts(&snapshot) {
        place.write(&name, text.into(), item).await?;
    }
    let (length, bytes, kept) = (place.film.length(), place.film.bytes(), place.film.kept());
    place.finish().await?;
    tell(Progress {
        done: length,
        of: length,
        speed: length.as_secs_f64() / began.elapsed().as_secs_f64(),
    });
    let renditions = snapshot.renditions.iter().map(|r| r.name.to_string()).collect();
    Ok(Made { length, bytes, kept, renditions, left_out: plan.left_out })
}

/// What players read, by its name; what names the others comes last.
fn texts(snapshot: &Snapshot) -> Vec<(String, String, Item)> {
    let hls = hls::Options { dates: false, stills: false, ..hls::Options::default() };
    let dash = dash::Options { key_frames: false, stills: false, ..dash::Options::default() };
    let mut texts = Vec::new();
    for (index, rendition) in snapshot.renditions.iter().enumerate() {
        let name = &rendition.name;
        let list = hls::media(snapshot, index, hls::Skip::Nothing, &hls);
        texts.push((format!("{name}/index.m3u8"), list, Item::Playlist));
        if rendition.video().is_some() {
            let keys = hls::iframes(snapshot, index, hls::Skip::Nothing, &hls);
            texts.push((format!("{name}/iframes.m3u8"), keys, Item::Playlist));
        }
    }
    let manifest = dash::manifest(snapshot, &dash);
    texts.push(("manifest.mpd".to_owned(), manifest, Item::Manifest));
    let multivariant = hls::multivariant(snapshot, &hls);
    texts.push(("index.m3u8".to_owned(), multivariant, Item::Playlist));
    texts
}

/// What is in the file.
async fn facts(outputs: &mut Receiver<Output>) -> Result<FilmFacts, Error> {
    loop {
        match next(outputs).await? {
            Output::Film(facts) => return Ok(facts),
            Output::Exited { reason } => return Err(Error::Film(reason)),
            _ => {}
        }
    }
}

async fn next(outputs: &mut Receiver<Output>) -> Result<Output, Error> {
    let hung = Error::Hung { seconds: PATIENCE.as_secs() };
    let output = tokio::time::timeout(PATIENCE, outputs.recv()).await.map_err(|_| hung)?;
    output.ok_or_else(|| Error::Film("the worker is gone".to_owned()))
}

/// What is made of the file.
#[derive(Clone, Debug)]
struct Plan {
    grid: Grid,
    rate: FrameRate,
    /// The rungs; `None`: the file's own samples.
    ladder: Option<Vec<ladder::Rung>>,
    left_out: Vec<String>,
}

impl Plan {
    fn of(order: &Order, facts: &FilmFacts) -> Result<Self, Error> {
        let unfit = |text: &str| Error::Unfit(text.to_owned());
        let rate = facts.rate.ok_or_else(|| unfit("the file does not say its frame rate"))?;
        if facts.width == 0 || facts.height == 0 {
            return Err(unfit("the file does not say how large its pictures are"));
        }
        if order.ladder.is_empty() {
            let frames = facts.gop.unwrap_or(1).max(1);
            let gop = u64::from(frames) * u64::from(rate.frame_ticks());
            let grid = Grid::of_source(rate, SAMPLE_RATE, gop, order.segment, PART);
            return Ok(Self { grid, rate, ladder: None, left_out: Vec::new() });
        }
        let grid = Grid::choose(rate, SAMPLE_RATE, order.segment, PART);
        let plan = ladder::plan((facts.width, facts.height), &order.ladder, rate);
        let left_out = plan.left_out.iter().map(|out| format!("{}: {}", out.name, out.reason));
        let left_out = left_out.collect();
        Ok(Self { grid, rate, ladder: Some(plan.rungs), left_out })
    }

    /// What tells one way of packaging from another.
    fn name(&self) -> String {
        format!("{:?} {:?}", self.grid, self.ladder)
    }

    fn renditions(&self) -> usize {
        self.ladder.as_ref().map_or(1, Vec::len) + 1
    }

    fn work(&self, facts: &FilmFacts, from_k: u64) -> FilmWork {
        match &self.ladder {
            Some(rungs) => FilmWork::Ladder {
                rungs: rungs.clone(),
                grid: self.grid,
                first_nanos: facts.first_nanos,
                from_k,
            },
            None => FilmWork::AsItIs { rate: self.rate },
        }
    }
}

/// From samples to what the folder takes.
struct Making {
    grid: Grid,
    rate: FrameRate,
    cutting: Option<Cutting>,
}

enum Cutting {
    Grid(Segmenter),
    Source(Box<SourceSegmenter>, Times),
}

impl Making {
    fn new(plan: &Plan) -> Self {
        Self { grid: plan.grid, rate: plan.rate, cutting: None }
    }

    /// Begins with the renditions that the worker makes; gives those that are packaged.
    fn begin(&mut self, found: Vec<Rendition>, first_k: u64) -> Result<Arc<[Rendition]>, Error> {
        if first_k > 0 {
            let renditions: Arc<[Rendition]> = found.into();
            let segmenter = Segmenter::new(self.grid, Arc::clone(&renditions), first_k);
            self.cutting = Some(Cutting::Grid(segmenter));
            return Ok(renditions);
        }
        let mut found = found.into_iter();
        let pictures = found.next().ok_or_else(|| Error::Unfit("it has no pictures".into()))?;
        let sound = found.next();
        let mute = sound.is_none();
        let sound = match sound {
            Some(sound) => sound.track.config,
            None => Config::Audio(
                aac::config(SILENCE.to_vec().into())
                    .map_err(|error| Error::Unfit(format!("there is no silence: {error}")))?,
            ),
        };
        let Config::Audio(config) = &sound else {
            return Err(Error::Unfit("its sound is none".into()));
        };
        let scale = Timescale::new(config.sample_rate).unwrap_or(Timescale::MPEG);
        let frame = config.frame_samples;
        self.grid.audio_rate = config.sample_rate;
        let name = Name::parse("audio").map_err(|error| Error::Unfit(error.to_string()))?;
        let track = Track { timescale: scale, config: sound };
        let sound = Rendition { name, track, rate: None, average_bitrate: 0, peak_bitrate: 0 };
        let track = Track { timescale: self.grid.video_scale(), config: pictures.track.config };
        let pictures = Rendition { track, rate: Some(self.rate), ..pictures };
        let at = self.grid.boundary(1);
        let start = Start { first_k: 1, at, lengths: Lengths::Even, mute };
        let segmenter = SourceSegmenter::new(self.grid, pictures.clone(), sound.clone(), start);
        let times = Times::new((self.grid, self.rate), (scale, frame), at);
        self.cutting = Some(Cutting::Source(Box::new(segmenter), times));
        Ok([pictures, sound].into())
    }

    fn push(&mut self, rendition: usize, sample: Sample) -> Result<(), Error> {
        match &mut self.cutting {
            Some(Cutting::Grid(segmenter)) => segmenter.push(rendition, sample)?,
            Some(Cutting::Source(segmenter, times)) => {
                if let Some(sample) = times.place(rendition, sample) {
                    segmenter.push(rendition, sample)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        match &mut self.cutting {
            Some(Cutting::Grid(segmenter)) => segmenter.finish(),
            Some(Cutting::Source(segmenter, times)) => {
                for (rendition, sample) in times.finish() {
                    segmenter.push(rendition, sample)?;
                }
                segmenter.finish();
            }
            None => {}
        }
        Ok(())
    }

    async fn drain(&mut self, place: &mut Place) -> Result<(), Error> {
        loop {
            let output = match &mut self.cutting {
                Some(Cutting::Grid(segmenter)) => segmenter.poll(),
                Some(Cutting::Source(segmenter, _)) => segmenter.poll(),
                None => None,
            };
            match output {
                Some(output) => place.take(output).await?,
                None => return Ok(()),
            }
        }
    }
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}
