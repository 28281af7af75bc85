//! A channel's worker as its task sees it, and the watch over it.
//!
//! The supervisor notices a process that ends; this notices one that lives and makes nothing: the
//! output clock never waits for the source, so a worker that has begun makes samples all the time.
//! Dropping an [`Encoder`] ends its process, by force if need be.
//!
//! It starts nothing again: when, and with what, is the task's decision.

use std::io;
use std::time::Duration;

use ingest::av::protocol::Stats;
use ingest::av::supervisor::{self, Input, LadderConfig, Output};
use ingest::source::Unit;
use packager::grid::splices::Splices;
use packager::time::{Rounding, Timescale, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a worker may take from its first key frame to its first output. It opens decoder and
/// encoders within a tenth of a second; a loaded machine may need several.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Shortest silence that counts as hanging: a machine may be busy for a moment.
const MIN_SILENCE: Duration = Duration::from_secs(4);

/// A running worker.
pub(super) struct Encoder {
    input: Input,
    outputs: mpsc::Receiver<Output>,
    begun: bool,
    /// What it last said of itself, and when.
    stats: Stats,
    stats_at: Instant,
    /// How long it may make nothing once it has begun.
    silence: Duration,
    /// When it counts as hung, unless something comes before.
    hung_at: Option<Instant>,
}

/// What comes of a worker.
#[derive(Debug)]
pub(super) enum Event {
    /// It made or said something.
    Output(Output),
    /// It is of no use any more; the reason is for people.
    Lost(String),
}

impl Encoder {
    /// Starts a worker.
    ///
    /// # Errors
    /// If the process can't be started.
    pub(super) fn start(config: LadderConfig) -> io::Result<Self> {
        let segments = config.grid.segment().ticks_in(Timescale::MILLIS, Rounding::Ceil);
        let silence = Duration::from_millis(segments.saturating_mul(2)).max(MIN_SILENCE);
        let (input, outputs) = supervisor::spawn(config)?;
        Ok(Self {
            input,
            outputs,
            begun: false,
            stats: Stats::default(),
            stats_at: Instant::now(),
            silence,
            hung_at: None,
        })
    }

    /// Hands it a unit. One that lags drops up to the next key frame; it never slows the source.
    pub(super) fn feed(&mut self, unit: &Unit) {
        if matches!(unit, Unit::Video(sample) if sample.sync) && !self.begun {
            self.hung_at.get_or_insert_with(|| Instant::now() + BEGIN_WITHIN);
        }
        self.input.send(unit);
    }

    /// Tells it that the source is gone: it goes on with the last picture,
    /// then with the slate.
    pub(super) fn lose_source(&mut self) {
        self.input.source_lost();
    }

    /// Says which rungs are to be made: bit n is rung n.
    pub(super) fn set_rungs(&mut self, on: u64) {
        self.input.set_rungs(on);
    }

    /// Asks for key frames where filler has overtaken it: rungs, and from when on in video ticks.
    pub(super) fn ask_key_frames(&mut self, overtaken: &[(usize, i64)]) {
        // Parts end at the same time in every rung, so one word is right for all.
        let Some(at) = overtaken.iter().map(|(_, at)| *at).max() else { return };
        let rungs =
            overtaken.iter().filter_map(|(rung, _)| 1u64.checked_shl(u32::try_from(*rung).ok()?));
        self.input.ask_key_frames(rungs.fold(0, |all, rung| all | rung), at);
    }

    /// Says at which splices segments begin.
    pub(super) fn set_splices(&mut self, splices: &Splices) {
        self.input.set_splices(splices);
    }

    /// Says whether it makes Opus of the sound.
    pub(super) fn set_opus(&mut self, on: bool) {
        self.input.set_opus(on);
    }

    /// Asks which frame the picture at `at`, on the source's clock, will be.
    pub(super) fn locate(&mut self, id: u64, at: Timestamp) {
        self.input.locate(id, at.ticks_in(Timescale::NANOS, Rounding::Nearest));
    }

    /// Notes that its run has begun, whose first samples are due in `ahead`.
    pub(super) fn begin(&mut self, ahead: Duration) {
        self.begun = true;
        self.hung_at = Some(Instant::now() + ahead + self.silence);
    }

    /// Whether its run has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Notes what it says of itself; gives what it said before, and how long ago.
    pub(super) fn note_stats(&mut self, stats: Stats) -> (Stats, Duration) {
        let now = Instant::now();
        let elapsed = now.duration_since(std::mem::replace(&mut self.stats_at, now));
        (std::mem::replace(&mut self.stats, stats), elapsed)
    }

    /// What comes next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            // What waits here already proves that it lives.
            biased;
            output = self.outputs.recv() => match output {
                Some(Output::Exited { reason }) => Event::Lost(reason),
                Some(output) => {
                    if matches!(output, Output::Sample { .. }) {
                        self.hung_at = Some(Instant::now() + self.silence);
                    }
                    Event::Output(output)
                }
                None => Event::Lost("its outputs ended".to_owned()),
            },
            () = at(self.hung_at) => Event::Lost(if self.begun {
                format!("it made nothing for {} s", self.silence.as_secs())
            } else {
                format!("it did not begin within {} s of a key frame", BEGIN_WITHIN.as_secs())
            }),
        }
    }
}

/// Resolves at an instant, or never.
pub(super) async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
