//! A rung for browsers, of a passed-through source that they can't show as it is: one with B-frames, which OBS and
//! x264 make by default, or in H.265. It is encoded for as long as somebody watches, and costs nothing else.
//!
//! ```text
//! source's units ─► worker (a ladder of one) ─► track "preview", Opus ─► viewers
//! ```
//! The worker's output is on the clock of the server, so the sound that goes with its pictures is the one that it
//! makes. It is started with the group of pictures that is there, so that the first picture does not wait for a
//! key frame. What else a ladder does (slate, filler, rungs under load) nobody needs here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingest::av::ladder::Rung;
use ingest::av::protocol::ClockBase;
use ingest::av::supervisor::{self, Input, LadderConfig, Output};
use ingest::source::{SourceSample, Unit};
use packager::grid::Grid;
use packager::media::Rendition;
use packager::time::{FrameRate, Span, Timescale, Timestamp};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Preview, RUNG, Track};
use crate::backoff::Backoff;
use crate::channel::encoder::at;
use crate::channel::making;
use crate::clock::Clock;

/// How long it goes on after the last viewer.
const LINGER: Duration = Duration::from_secs(10);
/// The longest pause before a worker that died is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A key frame this often, for those who come in between.
const SEGMENT: Span = Span::millis(1_000);
const PART: Span = Span::millis(200);
/// Samples per second of its sound.
const SOUND_RATE: u32 = 48_000;
/// Lines at the most: a preview shows what goes out, and takes little of the machine.
const MAX_HEIGHT: u16 = 720;
/// The rate where the source's is not known yet.
const USUAL_RATE: FrameRate = FrameRate::new(30, 1);

/// What makes the rung.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) preview: Arc<Preview>,
    /// The channel's name.
    pub(crate) channel: String,
    /// The program to run as a worker.
    pub(crate) program: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A running worker.
struct Worker {
    input: Input,
    outputs: mpsc::Receiver<Output>,
    grid: Grid,
    rungs: usize,
    /// The source's track that it was started for.
    source: Arc<Track>,
    /// Pictures up to this one, by their decoding time, it was given with the group.
    given: i64,
}

/// Makes the rung whenever somebody watches and needs it, until cancelled.
pub(crate) async fn run(context: Context, cancel: CancellationToken) {
    let mut viewers = context.preview.viewers.subscribe();
    let mut unshowable = context.preview.unshowable.subscribe();
    loop {
        let needed = async {
            loop {
                // The senders live as long as the context.
                let _ = viewers.wait_for(|viewers| *viewers > 0).await;
                if *unshowable.borrow_and_update() {
                    return;
                }
                tokio::select! {
                    _ = viewers.changed() => {}
                    _ = unshowable.changed() => {}
                }
            }
        };
        if cancel.run_until_cancelled(needed).await.is_none() {
            return;
        }
        let served = cancel.run_until_cancelled(serve(&context)).await;
        context.preview.replace_rung(None);
        if served.is_none() {
            return;
        }
    }
}

/// Makes it until nobody has watched for a while, or the source can be shown as it is.
async fn serve(context: &Context) {
    let preview = &context.preview;
    let mut viewers = preview.viewers.subscribe();
    let mut unshowable = preview.unshowable.subscribe();
    let mut units = preview.units.subscribe();
    let mut worker: Option<Worker> = None;
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    let mut start_at = Some(Instant::now());
    // Whoever had it begin may have left by now.
    let nobody = *viewers.borrow_and_update() == 0;
    let mut leave_at = nobody.then(|| Instant::now() + LINGER);
    loop {
        tokio::select! {
            biased;
            _ = viewers.changed() => {
                let nobody = *viewers.borrow_and_update() == 0;
                leave_at = nobody.then(|| Instant::now() + LINGER);
            }
            _ = unshowable.changed() => {
                if !*unshowable.borrow_and_update() {
                    return;
                }
            }
            () = at(leave_at) => return,
            output = next_output(&mut worker) => match output {
                Some(Output::Started { renditions, .. }) => begin(preview, &renditions),
                Some(Output::Sample { rendition, sample, .. }) => {
                    if let Some(worker) = worker.as_ref().filter(|worker| rendition < worker.rungs) {
                        preview.rung_picture(worker.grid.video_scale(), &sample);
                    }
                }
                Some(Output::Opus { at, data }) => preview.heard(at, data),
                Some(Output::Exited { reason }) => {
                    warn!(channel = %context.channel, %reason, "the rung for browsers stopped");
                    worker = None;
                    start_at = Some(Instant::now() + backoff.after_death(Instant::now()));
                }
                Some(_) => {}
                None => worker = None,
            },
            () = at(start_at) => {
                start_at = None;
                worker = start(context);
                if worker.is_none() {
                    start_at = Some(Instant::now() + Duration::from_secs(1));
                }
            }
            unit = units.recv() => take(&mut worker, unit, preview, &mut start_at),
        }
    }
}

/// Hands on a unit of the source. One of another kind of source has the worker started anew.
fn take(
    worker: &mut Option<Worker>,
    unit: Result<Unit, RecvError>,
    preview: &Preview,
    start_at: &mut Option<Instant>,
) {
    let Some(running) = worker else { return };
    if !preview.is_source(&running.source) {
        *worker = None;
        *start_at = Some(Instant::now());
        return;
    }
    match unit {
        Ok(Unit::Video(sample)) if nanos(sample.dts) <= running.given => {}
        // One that lags drops up to the next key frame.
        Ok(unit) => {
            running.input.send(&unit);
        }
        Err(RecvError::Lagged(_) | RecvError::Closed) => {}
    }
}

fn begin(preview: &Preview, renditions: &[Rendition]) {
    let video = renditions.iter().find_map(|r| Some((r, r.video()?.clone())));
    let Some((rendition, video)) = video else { return };
    let track = Track::new(RUNG.to_owned(), video, Some(rendition.average_bitrate));
    preview.replace_rung(Some(track));
}

/// Starts a worker with what there is of the source.
fn start(context: &Context) -> Option<Worker> {
    let preview = &context.preview;
    let (source, rate) = preview.source()?;
    let rate = rate.unwrap_or(USUAL_RATE);
    let (width, height) = source.size;
    let size = if height > MAX_HEIGHT {
        let width = u32::from(width) * u32::from(MAX_HEIGHT) / u32::from(height);
        (u16::try_from(width & !1).unwrap_or_else(|_| width_of(MAX_HEIGHT)), MAX_HEIGHT)
    } else {
        (width, height)
    };
    let rungs: Vec<Rung> = making::own_size(size, rate).rungs;
    let grid = Grid::choose(rate, SOUND_RATE, SEGMENT, PART);
    let count = rungs.len();
    let config = LadderConfig {
        program: context.program.clone(),
        channel: format!("{} preview", context.channel),
        slate: None,
        slate_after: Duration::from_secs(3_600),
        rungs,
        grid,
        first_k_min: 0,
        resume: true,
        clock: ClockBase { utc_minus_monotonic_nanos: context.clock.utc_minus_monotonic_nanos() },
    };
    let (mut input, outputs) = match supervisor::spawn(config) {
        Ok(spawned) => spawned,
        Err(error) => {
            warn!(channel = %context.channel, %error, "no worker for the rung for browsers");
            return None;
        }
    };
    info!(channel = %context.channel, "a rung for browsers is made");
    input.set_opus(true);
    input.send(&Unit::VideoConfig(source.config().clone().into()));
    if let Some(sound) = preview.source_sound() {
        input.send(&Unit::AudioConfig((*sound).clone()));
    }
    let now = std::time::Instant::now();
    let group = source.group();
    let newest = group.last().map_or(0, |picture| picture.dts);
    let mut given = i64::MIN;
    for picture in group {
        let at = |nanos| Timestamp::new(nanos, Timescale::NANOS);
        given = picture.dts;
        // As they came: taken for new ones they would put the source late by as much as they last.
        let age = Duration::from_nanos(newest.saturating_sub(picture.dts).max(0).unsigned_abs());
        let received = now.checked_sub(age).unwrap_or(now);
        input.send(&Unit::Video(SourceSample {
            dts: at(picture.dts),
            pts: at(picture.pts),
            sync: picture.key.is_some(),
            data: picture.data.clone(),
            received,
        }));
    }
    Some(Worker { input, outputs, grid, rungs: count, source, given })
}

fn width_of(height: u16) -> u16 {
    height / 9 * 16
}

fn nanos(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::NANOS, packager::time::Rounding::Nearest)
}

/// What comes next of the worker, or never while there is none.
async fn next_output(worker: &mut Option<Worker>) -> Option<Output> {
    match worker {
        Some(worker) => worker.outputs.recv().await,
        None => std::future::pending().await,
    }
}

/// What the source's units go through to the worker.
pub(super) type Units = broadcast::Sender<Unit>;
