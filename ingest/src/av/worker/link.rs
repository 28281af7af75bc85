//! The way out of a worker: one thread writes, everybody else hands it messages.

use std::io::{self, IoSlice, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::av::protocol::{FromWorker, Wire};

/// Messages that may wait for the socket: about 1 s of a ladder of four. Then encoders wait, their
/// queues fill, and pictures are skipped there.
const QUEUE: usize = 256;
/// Messages that are written together where so many wait. Nobody waits for more to come.
const TOGETHER: usize = 64;
/// A server that reads nothing for so long is dead or hung; a worker has nothing to live for then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands messages to the writing thread. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    queue: SyncSender<Wire>,
}

/// Starts the writing thread. It ends, and with it the process, when the socket fails; it ends
/// alone when every link is dropped.
pub(super) fn open(socket: UnixStream) -> io::Result<(Link, JoinHandle<()>)> {
    socket.set_write_timeout(Some(PATIENCE))?;
    let (queue, messages) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("link".into())
        .spawn(move || write_all(socket, &messages))?;
    Ok((Link { queue }, thread))
}

impl Link {
    /// Sends a message; waits while the queue is full.
    pub(super) fn send(&self, message: &FromWorker) {
        // A closed queue means that the process is ending.
        let _ = self.queue.send(message.to_wire());
    }

    /// Sends a line for the log.
    pub(super) fn log(&self, warning: bool, text: impl Into<String>) {
        self.send(&FromWorker::Log { warning, text: text.into() });
    }
}

fn write_all(mut socket: UnixStream, messages: &Receiver<Wire>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while let Ok(first) = messages.recv() {
        together.push(first);
        together.extend(messages.try_iter().take(TOGETHER - 1));
        if write(&mut socket, &together).is_err() {
            std::process::exit(0);
        }
        together.clear();
    }
}

/// Writes heads and payloads with one system call where the socket takes them.
fn write(socket: &mut UnixStream, messages: &[Wire]) -> io::Result<()> {
    let pieces = messages.iter().flat_map(|wire| [&wire.head, &wire.payload]);
    let mut slices: Vec<_> = pieces.map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match socket.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
