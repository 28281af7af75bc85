//! Starts a worker process, feeds it, reads what it makes, and reaps it. Knows no FFmpeg.
//!
//! ```text
//! Input ─► bounded queue ─► socket ─► worker          worker ─► socket ─► bounded queue ─► Output
//! ```
//! The worker is the given program with the one argument `worker`; its standard input is our end of
//! a socket pair, so nothing but the standard streams is inherited. It ends when that socket closes,
//! is killed when it does not, or when nobody wants its output any more, and always waited for. What
//! a worker writes to standard error goes to the log line by line, as far as it is not a flood.
//!
//! **When the worker lags:** [`Input::send`] never waits and never grows. A full queue drops the
//! sample, then every picture up to the next one where decoding can start; configurations and the
//! loss of the source are kept and delivered first when there is room. A caller that would rather
//! slow its source down awaits [`Input::room`] before it takes the next unit.
//!
//! Whether a silent worker hangs, and whether a dead one is started again, is the channel's decision
//! and not made here.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::media::{Rendition, Sample};
use packager::time::{Rounding, Timescale};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::av::ladder::Rung;
use crate::av::protocol::{
    self, ClockBase, CodedSample, FilmFacts, FromWorker, Role, Start, Stats, ToWorker, Wire,
    monotonic_nanos,
};
use crate::source::{SourceSample, Unit};

mod demo;
mod film;
mod inbox;
mod opus;
mod stills;
pub use demo::{BroadcastConfig, broadcast};
pub use film::{FILM, FilmConfig, film};
use inbox::Inbox;
pub use opus::{OpusConfig, opus};
pub use stills::stills;

/// Messages that may wait for a worker: 2 s of 60 fps video with audio.
const QUEUE_MESSAGES: usize = 256;
/// Bytes that may wait for a worker: 2 s of the fattest source we know of (50 Mb/s).
const QUEUE_BYTES: usize = 16 << 20;
/// Outputs that may wait for the channel. When they do, the worker's socket fills, and the worker
/// gives up on us after its own write timeout.
const QUEUE_OUTPUTS: usize = 256;
/// Source times beyond this (36 years, in nanoseconds) are held there, so that no sum overflows.
const FURTHEST: i64 = 1 << 60;
/// How long a worker may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to read a message. It looks at its socket every second at the least, and one
/// whose decoder hangs shows the slate after five.
const DEADLINE_WRITE: Duration = Duration::from_secs(4);

/// What a ladder's worker is told.
#[derive(Clone, Debug)]
pub struct LadderConfig {
    /// The program that calls `ingest::av::worker::main` when given the argument `worker`.
    pub program: PathBuf,
    /// Whose worker it is, for the list of processes and the slate: the channel's name.
    pub channel: String,
    /// What is shown instead of a picture when the source has sent none for [`Self::slate_after`]: a PNG
    /// or JPEG file; the channel's name if there is none, or it can't be decoded.
    pub slate: Option<Bytes>,
    /// How long the last picture stands before that.
    pub slate_after: Duration,
    /// The rungs of [`crate::av::ladder::plan`].
    pub rungs: Vec<Rung>,
    /// The channel's grid.
    pub grid: Grid,
    /// First segment number that may be used.
    pub first_k_min: u64,
    /// Whether it goes on in a run that another worker has begun; see [`Role::Ladder`].
    pub resume: bool,
    /// Where UTC comes from.
    pub clock: ClockBase,
}

/// What comes out of a ladder's worker.
#[derive(Clone, Debug)]
pub enum Output {
    /// The renditions (video by rung, then audio); comes once, before any sample.
    Started {
        /// What samples refer to by index.
        renditions: Vec<Rendition>,
        /// Number of the first segment.
        first_k: u64,
        /// Video ticks of the first frame: the start of that segment, or of a later part of it where
        /// the worker goes on for another.
        start: i64,
    },
    /// A rung is made no more, or again.
    Rung {
        /// Index into the renditions.
        rendition: usize,
        /// Whether it is made from here on.
        on: bool,
        /// Video ticks of the segment boundary from which this holds.
        at: i64,
    },
    /// Which frame a picture of the source will be.
    Located {
        /// Of the question.
        id: u64,
        /// Video ticks of the frame, as things stand; `None` where no picture has come yet.
        at: Option<i64>,
    },
    /// A coded sample on the grid.
    Sample {
        /// Index into the renditions.
        rendition: usize,
        /// The sample.
        sample: Sample,
        /// `CLOCK_MONOTONIC` nanoseconds at which its source was received.
        captured: i64,
        /// `CLOCK_MONOTONIC` nanoseconds at which it left the encoder.
        encoded: i64,
        /// When all of it was read from the worker.
        received: Instant,
    },
    /// A packet of Opus.
    Opus {
        /// When its first sample is heard, in nanoseconds: of a ladder UTC, else on the source's clock.
        at: i64,
        /// The packet.
        data: Bytes,
    },
    /// What is in a file.
    Film(FilmFacts),
    /// How the worker is doing, about once a second.
    Stats(Stats),
    /// The worker is gone, and reaped; nothing comes after this.
    Exited {
        /// Why, for the log and the operator.
        reason: String,
    },
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// On its way.
    Queued,
    /// Not sent, because the worker lags or, after that, because decoding can't start here.
    Dropped,
    /// The worker is gone.
    Gone,
}

/// The way into a worker. Dropping it lets the worker finish and end.
#[derive(Debug)]
pub struct Input {
    queue: mpsc::Sender<Wire>,
    bytes: Arc<AtomicUsize>,
    pending: Pending,
    /// Pictures are dropped until one where decoding can start.
    broken: bool,
    dropped: u64,
}

/// What must reach the worker before anything else does.
#[derive(Debug, Default)]
struct Pending {
    lost: bool,
    video: Option<Wire>,
    audio: Option<Wire>,
    rungs: Option<Wire>,
    keys: Option<Wire>,
    splices: Option<Wire>,
    slate: Option<Wire>,
    opus: Option<Wire>,
}

impl Input {
    /// Hands a unit to the worker; never waits. Data messages are not for it and count as queued.
    pub fn send(&mut self, unit: &Unit) -> Delivery {
        match unit {
            Unit::VideoConfig(config) => {
                let message =
                    ToWorker::VideoConfig { codec: config.codec(), record: config.record() };
                self.pending.video = Some(message.to_wire());
                self.flush()
            }
            Unit::AudioConfig(config) => {
                let message =
                    ToWorker::AudioConfig { codec: config.codec(), record: config.record() };
                self.pending.audio = Some(message.to_wire());
                self.flush()
            }
            Unit::Video(sample) if self.broken && !sample.sync => self.drop_one(),
            Unit::Video(sample) => {
                let delivery = self.sample(&ToWorker::Video(coded(sample)));
                self.broken = delivery != Delivery::Queued;
                delivery
            }
            Unit::Audio(sample) => self.sample(&ToWorker::Audio(coded(sample))),
            Unit::Data(_) | Unit::Section(_) | Unit::Notice(_) => Delivery::Queued,
        }
    }

    /// Tells the worker that the publisher is gone. Its output goes on with the last picture, then
    /// with the slate.
    pub fn source_lost(&mut self) -> Delivery {
        let Pending { rungs, keys, splices, slate, opus, .. } = std::mem::take(&mut self.pending);
        self.pending =
            Pending { lost: true, rungs, keys, splices, slate, opus, ..Pending::default() };
        self.broken = false;
        self.flush()
    }

    /// Says which rungs are to be made: bit n is rung n. It holds from the next segment boundary
    /// that no rung has begun; [`Output::Rung`] tells from which.
    pub fn set_rungs(&mut self, on: u64) -> Delivery {
        self.pending.rungs = Some(ToWorker::Rungs { on }.to_wire());
        self.flush()
    }

    /// Asks rungs (bit n is rung n) for an IDR at the first frame at or after `at`, in video ticks. The
    /// newest word holds.
    pub fn ask_key_frames(&mut self, rungs: u64, at: i64) -> Delivery {
        self.pending.keys = Some(ToWorker::KeyFrames { rungs, at }.to_wire());
        self.flush()
    }

    /// Says at which splices segments begin: all that matter. The newest word holds.
    pub fn set_splices(&mut self, splices: &Splices) -> Delivery {
        self.pending.splices = Some(ToWorker::Splices(splices.clone()).to_wire());
        self.flush()
    }

    /// Says whether a ladder makes Opus of its sound too, which comes as [`Output::Opus`]. The newest word
    /// holds.
    pub fn set_opus(&mut self, on: bool) -> Delivery {
        self.pending.opus = Some(ToWorker::Opus { on }.to_wire());
        self.flush()
    }

    /// Asks which frame a picture of the source will be that is at `at`, in nanoseconds of the source's
    /// clock; [`Output::Located`] answers.
    pub fn locate(&mut self, id: u64, at: i64) -> Delivery {
        match self.push(ToWorker::Locate { id, at }.to_wire()) {
            Ok(()) => Delivery::Queued,
            Err((_, delivery)) => delivery,
        }
    }

    /// Waits until the queue has room, or the worker is gone. Safe to cancel.
    pub async fn room(&self) {
        // The permit goes back at once: this is the queue's only sender.
        drop(self.queue.reserve().await);
    }

    /// Units dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn sample(&mut self, message: &ToWorker) -> Delivery {
        match self.flush() {
            Delivery::Queued => match self.push(message.to_wire()) {
                Ok(()) => Delivery::Queued,
                Err((_, Delivery::Gone)) => Delivery::Gone,
                Err(_) => self.drop_one(),
            },
            Delivery::Dropped => self.drop_one(),
            Delivery::Gone => Delivery::Gone,
        }
    }

    fn drop_one(&mut self) -> Delivery {
        self.dropped += 1;
        Delivery::Dropped
    }

    /// Sends what is pending; `Dropped` here means that it still is.
    fn flush(&mut self) -> Delivery {
        if self.pending.lost {
            if let Err((_, delivery)) = self.push(ToWorker::SourceLost.to_wire()) {
                return delivery;
            }
            self.pending.lost = false;
        }
        let Pending { video, audio, rungs, keys, splices, slate, opus, .. } =
            std::mem::take(&mut self.pending);
        let mut waiting = [splices, slate, video, audio, rungs, keys, opus];
        let mut delivery = Delivery::Queued;
        for slot in &mut waiting {
            if delivery == Delivery::Queued
                && let Some(wire) = slot.take()
                && let Err((wire, refused)) = self.push(wire)
            {
                *slot = Some(wire);
                delivery = refused;
            }
        }
        let [splices, slate, video, audio, rungs, keys, opus] = waiting;
        self.pending = Pending { lost: false, video, audio, rungs, keys, splices, slate, opus };
        delivery
    }

    fn push(&self, wire: Wire) -> Result<(), (Wire, Delivery)> {
        let length = wire.len();
        if self.bytes.load(Ordering::Relaxed).saturating_add(length) > QUEUE_BYTES {
            return Err((wire, Delivery::Dropped));
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
        self.queue.try_send(wire).map_err(|error| {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(wire) => (wire, Delivery::Dropped),
                mpsc::error::TrySendError::Closed(wire) => (wire, Delivery::Gone),
            }
        })
    }
}

fn coded(sample: &SourceSample) -> CodedSample {
    let nanos = |at: packager::time::Timestamp| {
        at.ticks_in(Timescale::NANOS, Rounding::Nearest).clamp(-FURTHEST, FURTHEST)
    };
    let age = Instant::now().saturating_duration_since(sample.received);
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    CodedSample {
        dts: nanos(sample.dts),
        pts: nanos(sample.pts),
        sync: sample.sync,
        received: monotonic_nanos().saturating_sub(age),
        data: sample.data.clone(),
    }
}

/// Starts a ladder's worker. Must be called within a tokio runtime, on one of its worker threads:
/// the worker dies with the thread that started it.
///
/// # Errors
/// If the process can't be started.
pub fn spawn(config: LadderConfig) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    let role = Role::Ladder {
        name: config.channel.clone(),
        rungs: config.rungs,
        grid: config.grid,
        first_k_min: config.first_k_min,
        resume: config.resume,
        slate_after_ms: u64::try_from(config.slate_after.as_millis()).unwrap_or(u64::MAX),
    };
    let (mut input, outputs) = start(&config.program, &config.channel, config.clock, role)?;
    input.pending.slate = config.slate.map(|image| ToWorker::Slate { image }.to_wire());
    input.flush();
    Ok((input, outputs))
}

fn start(
    program: &Path,
    channel: &str,
    clock: ClockBase,
    role: Role,
) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    start_with(program, channel, clock, role, &[])
}

fn start_with(
    program: &Path,
    channel: &str,
    clock: ClockBase,
    role: Role,
    more: &[&OsStr],
) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let socket = UnixStream::from_std(ours)?;
    let mut command = Command::new(program);
    command
        .arg0(format!("headwater: {channel}"))
        .arg("worker")
        .args(more)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| inherited(name)))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A Ctrl-C at the terminal is for the server, which ends its workers in order.
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn()?;
    // The command holds the worker's end of the socket; while it does, the worker's death is no
    // end of file here.
    drop(command);

    let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
    let (results, outputs) = mpsc::channel(QUEUE_OUTPUTS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let start = ToWorker::Start(Start { version: protocol::VERSION, clock, role }).to_wire();
    let writing = (start, messages, Arc::clone(&bytes));
    tokio::spawn(supervise(child, socket, writing, results));
    let input = Input { queue, bytes, pending: Pending::default(), broken: false, dropped: 0 };
    Ok((input, outputs))
}

/// Environment that the worker needs: where libraries are, and how panics are told. Keys and
/// credentials of the server are none of its business.
fn inherited(name: &OsStr) -> bool {
    ["LD_LIBRARY_PATH", "RUST_BACKTRACE", "TZ", "PATH"].iter().any(|known| name == *known)
}

/// Lives as long as the worker does, and reports its end.
async fn supervise(
    mut child: Child,
    socket: UnixStream,
    (start, messages, bytes): (Wire, mpsc::Receiver<Wire>, Arc<AtomicUsize>),
    results: mpsc::Sender<Output>,
) {
    let pid = child.id().unwrap_or_default();
    if let Some(stderr) = child.stderr.take() {
        // Ends with the worker, which holds the other end of the pipe.
        tokio::spawn(log_lines(stderr, pid));
    }
    let (reading, writing) = socket.into_split();
    let mut failure = None;
    let ended = {
        let read = read_all(reading, &results, &mut failure, pid);
        let write = write_all(writing, start, messages, &bytes);
        tokio::pin!(read, write);
        tokio::select! {
            ended = &mut read => ended,
            // Nobody is left to read, so nothing is worth finishing.
            () = results.closed() => Ended::Unwanted,
            // All is written and the socket is closed towards the worker: it finishes by itself. Or
            // it does not read any more: it is gone, or soon will be.
            _ = &mut write => match tokio::time::timeout(GRACE, &mut read).await {
                Ok(ended) => ended,
                Err(_) => Ended::Hung,
            },
        }
    };
    if !matches!(ended, Ended::Closed) {
        // It may be gone already; waiting for it below tells.
        let _ = child.start_kill();
    }
    let status = match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let reason = match (failure, ended) {
        (Some(reason), _) => reason,
        (None, Ended::Closed) => format!("the worker ended: {status}"),
        (None, Ended::Hung) => "the worker did not end by itself and was killed".to_owned(),
        (None, Ended::Unwanted) => "the channel no longer reads".to_owned(),
        (None, Ended::Broken(error)) => format!("the worker sent nonsense: {error}"),
    };
    tracing::info!(pid, %reason, %status, "worker ended");
    // Nobody may be left to hear it.
    let _ = results.send(Output::Exited { reason }).await;
}

/// How reading from a worker ended.
enum Ended {
    Closed,
    Hung,
    Unwanted,
    Broken(protocol::Error),
}

async fn read_all(
    socket: OwnedReadHalf,
    results: &mpsc::Sender<Output>,
    failure: &mut Option<String>,
    pid: u32,
) -> Ended {
    let mut inbox = Inbox::new(socket);
    loop {
        let (kind, body) = match inbox.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ended::Closed,
            Err(error) => return Ended::Broken(error),
        };
        let output = match FromWorker::from_body(kind, body) {
            Ok(FromWorker::Started { renditions, first_k, start }) => {
                Output::Started { renditions, first_k, start }
            }
            Ok(FromWorker::Rung { rendition, on, at }) => {
                Output::Rung { rendition: usize::from(rendition), on, at }
            }
            Ok(FromWorker::Sample { rendition, sample, captured, encoded }) => {
                let (rendition, received) = (usize::from(rendition), Instant::now());
                Output::Sample { rendition, sample, captured, encoded, received }
            }
            Ok(FromWorker::Located { id, at }) => Output::Located { id, at },
            Ok(FromWorker::Opus { at, data }) => Output::Opus { at, data },
            Ok(FromWorker::Film(facts)) => Output::Film(facts),
            Ok(FromWorker::Stats(stats)) => Output::Stats(stats),
            Ok(FromWorker::Log { warning: true, text }) => {
                tracing::warn!(pid, "worker: {text}");
                continue;
            }
            Ok(FromWorker::Log { warning: false, text }) => {
                tracing::info!(pid, "worker: {text}");
                continue;
            }
            Ok(FromWorker::Failed { reason }) => {
                // What comes after the first one follows from it.
                failure.get_or_insert(reason);
                continue;
            }
            Err(error) => return Ended::Broken(error),
        };
        if results.send(output).await.is_err() {
            return Ended::Unwanted;
        }
    }
}

/// Writes until the input is dropped, then says goodbye and closes this direction.
async fn write_all(
    mut socket: tokio::net::unix::OwnedWriteHalf,
    start: Wire,
    mut messages: mpsc::Receiver<Wire>,
    bytes: &AtomicUsize,
) -> io::Result<()> {
    write(&mut socket, start).await?;
    while let Some(wire) = messages.recv().await {
        let length = wire.len();
        let written = write(&mut socket, wire).await;
        bytes.fetch_sub(length, Ordering::Relaxed);
        written?;
    }
    write(&mut socket, ToWorker::Stop.to_wire()).await?;
    socket.shutdown().await
}

async fn write(socket: &mut tokio::net::unix::OwnedWriteHalf, wire: Wire) -> io::Result<()> {
    let mut rest = bytes::Buf::chain(wire.head, wire.payload);
    match tokio::time::timeout(DEADLINE_WRITE, socket.write_all_buf(&mut rest)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn log_lines(stderr: tokio::process::ChildStderr, pid: u32) {
    /// A line longer than this is cut: it is a dump and not a message.
    const MAX_LINE: u64 = 4096;
    /// FFmpeg has several lines to say about every damaged picture; so many in [`PERIOD`] tell enough.
    const MAX_LINES: u32 = 20;
    const PERIOD: Duration = Duration::from_secs(10);
    let (mut period, mut lines) = (Instant::now(), 0u32);
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if period.elapsed() > PERIOD {
                    if lines > MAX_LINES {
                        tracing::warn!(pid, "worker: {} more lines", lines - MAX_LINES);
                    }
                    (period, lines) = (Instant::now(), 0);
                }
                lines = lines.saturating_add(1);
                if lines > MAX_LINES {
                    continue;
                }
                let text = String::from_utf8_lossy(&line);
                tracing::warn!(pid, "worker: {}", text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests;
