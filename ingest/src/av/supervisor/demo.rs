//! The demo's broadcaster: a worker that draws, turned into the units of a source.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use packager::media::Config;
use packager::time::{Rounding, Timescale, Timestamp, rescale};
use tokio::sync::mpsc;

use super::{Output, start};
use crate::av::protocol::{ClockBase, Role, Scene};
use crate::source::{SoundConfig, SourceSample, Unit};

/// Units that may wait for the publisher: 1 s of picture and sound.
const QUEUE_UNITS: usize = 128;

/// What the broadcaster is told.
#[derive(Clone, Debug)]
pub struct BroadcastConfig {
    /// The program that calls `ingest::av::worker::main` when given the argument `worker`.
    pub program: PathBuf,
    /// Where the clock in the picture comes from.
    pub clock: ClockBase,
    /// What is drawn.
    pub scene: Scene,
}

/// Starts the broadcaster. Its units come in real time, with times in milliseconds from its start;
/// the channel closes when the worker is gone. Dropping the receiver ends the worker.
///
/// # Errors
/// If the process can't be started.
pub fn broadcast(config: BroadcastConfig) -> io::Result<mpsc::Receiver<Unit>> {
    let (input, mut outputs) =
        start(&config.program, "broadcaster", config.clock, Role::Broadcast(config.scene))?;
    let (units, receiver) = mpsc::channel(QUEUE_UNITS);
    tokio::spawn(async move {
        // Held for as long as the units are wanted: dropping it ends the worker.
        let _input = input;
        let mut tracks: Vec<(Timescale, bool)> = Vec::new();
        let mut zero = None;
        while let Some(output) = outputs.recv().await {
            match output {
                Output::Started { renditions, .. } => {
                    for rendition in renditions {
                        let video = rendition.track.config.is_video();
                        tracks.push((rendition.track.timescale, video));
                        let unit = match rendition.track.config {
                            Config::Video(config) => Unit::VideoConfig(config.into()),
                            Config::Audio(config) => Unit::AudioConfig(SoundConfig::Aac(config)),
                        };
                        if units.send(unit).await.is_err() {
                            return;
                        }
                    }
                }
                Output::Sample { rendition, sample, .. } => {
                    let Some((scale, video)) = tracks.get(rendition).copied() else { continue };
                    let millis = rescale(sample.dts, scale, Timescale::MILLIS, Rounding::Nearest);
                    let at =
                        Timestamp::new(millis - *zero.get_or_insert(millis), Timescale::MILLIS);
                    let coded = SourceSample {
                        dts: at,
                        pts: at,
                        sync: sample.sync,
                        data: sample.data,
                        received: Instant::now(),
                    };
                    let unit = if video { Unit::Video(coded) } else { Unit::Audio(coded) };
                    if units.send(unit).await.is_err() {
                        return;
                    }
                }
                Output::Stats(_)
                | Output::Opus { .. }
                | Output::Film(_)
                | Output::Rung { .. }
                | Output::Located { .. } => {}
                Output::Exited { reason } => {
                    tracing::warn!(%reason, "the broadcaster ended");
                    return;
                }
            }
        }
    });
    Ok(receiver)
}
