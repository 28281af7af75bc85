//! A worker that reads a file: for what is packaged from one.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{Delivery, Input, Output, start_with};
use crate::av::protocol::{ClockBase, FilmWork, Role, ToWorker, monotonic_nanos};

/// The argument that names the file.
pub const FILM: &str = "--film";

/// What the reader of a file is told.
#[derive(Clone, Debug)]
pub struct FilmConfig {
    /// The program that calls `ingest::av::worker::main_with_film` when given the arguments `worker` and
    /// [`FILM`] with a path.
    pub program: PathBuf,
    /// The file.
    pub path: PathBuf,
}

/// Starts a worker that reads a file: it tells what is in it ([`Output::Film`]) and waits to hear what is to be
/// done with it ([`Input::do_with_film`]). It waits for whoever reads the outputs, too; dropping them ends it,
/// and so does dropping the input before it has heard.
///
/// # Errors
/// If the process can't be started.
pub fn film(config: FilmConfig) -> io::Result<(Input, mpsc::Receiver<Output>)> {
    // Its output has a time of its own: the clock of the machine is nothing to it.
    let clock = ClockBase { utc_minus_monotonic_nanos: monotonic_nanos().saturating_neg() };
    let more = [OsStr::new(FILM), config.path.as_os_str()];
    start_with(&config.program, "file", clock, Role::Film, &more)
}

impl Input {
    /// Says what is to be done with the file; once.
    pub fn do_with_film(&mut self, work: FilmWork) -> Delivery {
        match self.push(ToWorker::Film(work).to_wire()) {
            Ok(()) => Delivery::Queued,
            Err((_, delivery)) => delivery,
        }
    }
}
