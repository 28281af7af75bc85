//! A worker that makes Opus of sound that is passed through, for those who watch by WebRTC.

use std::io;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{Input, Output, start};
use crate::av::protocol::{ClockBase, Role, monotonic_nanos};

/// What such a worker is told.
#[derive(Clone, Debug)]
pub struct OpusConfig {
    /// The program that calls `ingest::av::worker::main` when given the argument `worker`.
    pub program: PathBuf,
    /// What it is called in the list of processes.
    pub channel: String,
}

/// Starts a worker. It takes sound, with times of any clock, and makes [`Output::Opus`] with times in
/// nanoseconds of the same clock. Dropping the input ends it.
///
/// # Errors
/// If the process can't be started.
pub fn opus(config: &OpusConfig) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    // Its output has the source's times: the clock of the machine is nothing to it.
    let clock = ClockBase { utc_minus_monotonic_nanos: monotonic_nanos().saturating_neg() };
    start(&config.program, &config.channel, clock, Role::Opus)
}
