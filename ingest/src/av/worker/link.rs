//! The way out of a worker: one thread writes, everybody else hands it messages.

use std::io::{self, IoSlice, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Buf;

use crate::av::protocol::{FromWorker, Wire};

/// Messages that may wait for the socket: about 1 s of a ladder of four. Then encoders wait, their
/// queues fill, and pictures are skipped there.
const QUEUE: usize = 256;
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
    for wire in messages {
        if write(&mut socket, wire).is_err() {
            std::process::exit(0);
        }
    }
}

/// Writes head and payload with one system call where the socket takes them.
fn write(socket: &mut UnixStream, wire: Wire) -> io::Result<()> {
    let mut rest = wire.head.chain(wire.payload);
    while rest.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 2];
        let count = rest.chunks_vectored(&mut slices);
        match socket.write_vectored(slices.get(..count).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest.advance(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
