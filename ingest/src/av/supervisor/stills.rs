//! A worker that makes stills of key frames, for those who search.

use std::io;
use std::path::Path;

use tokio::sync::mpsc;

use super::{Input, Output, start};
use crate::av::protocol::{ClockBase, Role, monotonic_nanos};

/// Starts a worker, of the program that calls `ingest::av::worker::main` when given the argument `worker`. It
/// takes configurations and key frames, and makes an [`Output::Sample`] of each key frame, with its time: a
/// JPEG, or nothing where none can be made. Dropping the input ends it.
///
/// # Errors
/// If the process can't be started.
pub fn stills(program: &Path) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    // It has no output clock.
    let clock = ClockBase { utc_minus_monotonic_nanos: monotonic_nanos().saturating_neg() };
    start(program, "stills", clock, Role::Stills)
}
