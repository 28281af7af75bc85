//! The sound of a source that is passed through, for browsers, which take Opus only: made by a worker process for
//! as long as somebody watches. A ladder makes its own of what it has decoded anyway.
//!
//! A worker that dies is started again after a growing wait; pictures go on without sound meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ingest::av::supervisor::{self, Input, OpusConfig, Output};
use ingest::source::{SourceSample, Unit};
use packager::time::{Rounding, Timescale, Timestamp};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{CodedSound, Preview};
use crate::backoff::Backoff;
use crate::channel::encoder::at;

/// How long a worker outlives the last viewer: one who reloads the page is back by then.
const LINGER: Duration = Duration::from_secs(10);
/// The longest pause before a worker that died is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What makes the sound.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) preview: Arc<Preview>,
    /// The channel's name.
    pub(crate) channel: String,
    /// The program to run as a worker.
    pub(crate) program: PathBuf,
}

/// A running worker.
struct Worker {
    input: Input,
    outputs: mpsc::Receiver<Output>,
    config: Option<Arc<ingest::source::SoundConfig>>,
    /// What is taken off the times that it is told, so that they fit its arithmetic.
    base: i64,
}

/// Makes sound whenever somebody watches, until cancelled.
pub(crate) async fn run(context: Context, cancel: CancellationToken) {
    let mut viewers = context.preview.viewers.subscribe();
    loop {
        let somebody = async {
            // The sender lives as long as the context.
            let _ = viewers.wait_for(|viewers| *viewers > 0).await;
        };
        if cancel.run_until_cancelled(somebody).await.is_none() {
            return;
        }
        if cancel.run_until_cancelled(serve(&context)).await.is_none() {
            return;
        }
    }
}

/// Makes sound until nobody has watched for a while.
async fn serve(context: &Context) {
    let mut viewers = context.preview.viewers.subscribe();
    let mut coded = context.preview.coded.subscribe();
    let mut worker: Option<Worker> = None;
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    let mut not_before = Instant::now();
    // Whoever had it begin may have left by now.
    let nobody = *viewers.borrow_and_update() == 0;
    let mut leave_at = nobody.then(|| Instant::now() + LINGER);
    loop {
        tokio::select! {
            biased;
            changed = viewers.changed() => {
                if changed.is_err() {
                    return;
                }
                let nobody = *viewers.borrow_and_update() == 0;
                leave_at = nobody.then(|| Instant::now() + LINGER);
            }
            () = at(leave_at) => {
                info!(channel = %context.channel, "nobody watches by WebRTC any more");
                return;
            }
            output = next_output(&mut worker) => match output {
                Some(Output::Opus { at, data }) => {
                    let base = worker.as_ref().map_or(0, |worker| worker.base);
                    context.preview.heard(at.saturating_add(base), data);
                }
                Some(Output::Exited { reason }) => {
                    warn!(channel = %context.channel, %reason, "no sound by WebRTC for a moment");
                    worker = None;
                    not_before = Instant::now() + backoff.after_death(Instant::now());
                }
                Some(_) => {}
                None => worker = None,
            },
            sound = coded.recv() => match sound {
                Ok(sound) if Instant::now() >= not_before => {
                    if worker.is_none() {
                        worker = start(context);
                        if worker.is_none() {
                            not_before = Instant::now() + backoff.after_death(Instant::now());
                        }
                    }
                    if let Some(worker) = &mut worker {
                        worker.feed(sound);
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn start(context: &Context) -> Option<Worker> {
    let config = OpusConfig {
        program: context.program.clone(),
        channel: format!("{} sound", context.channel),
    };
    match supervisor::opus(&config) {
        Ok((input, outputs)) => Some(Worker { input, outputs, config: None, base: 0 }),
        Err(error) => {
            warn!(channel = %context.channel, %error, "no worker for the sound of WebRTC");
            None
        }
    }
}

impl Worker {
    /// Hands it a frame; one that lags drops it.
    fn feed(&mut self, sound: CodedSound) {
        let CodedSound { config, sample } = sound;
        let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
        if self.config.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &config)) {
            self.base = nanos(sample.pts);
            self.input.send(&Unit::AudioConfig((*config).clone()));
            self.config = Some(config);
        }
        let at = Timestamp::new(nanos(sample.pts).saturating_sub(self.base), Timescale::NANOS);
        self.input.send(&Unit::Audio(SourceSample { dts: at, pts: at, ..sample }));
    }
}

/// What comes next of the worker, or never while there is none.
async fn next_output(worker: &mut Option<Worker>) -> Option<Output> {
    match worker {
        Some(worker) => worker.outputs.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_left_at_once_leaves_nothing_running() {
        let context =
            Context { preview: Arc::default(), channel: "a".to_owned(), program: PathBuf::new() };
        let ends = tokio::time::timeout(2 * LINGER, serve(&context)).await;
        assert!(ends.is_ok(), "it waits for a viewer who is gone to go");
    }
}
