//! A TCP stream whose peer has to take what it is sent at a least rate.
//!
//! What a peer does not take stays in the kernel's buffers and ours, and holds media that has left
//! the live edge. From the first write that finds the buffers full until all is handed over, the
//! peer must acknowledge [`MIN_BYTES`] in every [`WINDOW`]. What it acknowledges is asked of the
//! kernel: its send buffer frees itself in lumps that a fair but slow line takes longer for.

use std::fs::File;
use std::future::Future as _;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connection::Stream;

/// How long a peer may be below the least rate.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// What it takes in that time at 16 kB/s: below it no rendition can be watched.
pub(super) const MIN_BYTES: u64 = 160_000;

/// The stream.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    window: Duration,
    /// Bytes handed to the kernel.
    written: u64,
    /// While it holds less than it is given. Boxed: most connections never need one.
    behind: Option<Box<Behind>>,
}

#[derive(Debug)]
struct Behind {
    /// Bytes the peer had acknowledged when the window began.
    taken: u64,
    until: Pin<Box<Sleep>>,
}

impl Paced {
    /// A stream that is looked at every `window`.
    pub(super) fn new(stream: TcpStream, window: Duration) -> Self {
        Self { stream, window, written: 0, behind: None }
    }

    /// Bytes the peer has acknowledged.
    fn taken(&self) -> u64 {
        self.written.saturating_sub(unacknowledged(&self.stream))
    }

    /// The kernel takes no more: true once the peer has been too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let taken = self.taken();
        let window = self.window;
        let behind = self.behind.get_or_insert_with(|| {
            Box::new(Behind { taken, until: Box::pin(tokio::time::sleep(window)) })
        });
        loop {
            ready!(behind.until.as_mut().poll(cx));
            if taken.saturating_sub(behind.taken) < MIN_BYTES {
                return Poll::Ready(());
            }
            behind.taken = taken;
            behind.until.as_mut().reset(Instant::now() + window);
        }
    }

    fn count(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => self.written = self.written.saturating_add(bytes as u64),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.poll_too_slow(cx));
                let message = "the peer takes less than the least rate";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
        }
        written
    }
}

/// Bytes in the kernel's send buffer that the peer has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> u64 {
    /// `SIOCOUTQ` of Linux, the same on every architecture that has it as `TIOCOUTQ`.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: the kernel writes one int to where it is told, which the type says.
    #[allow(unsafe_code)]
    let bytes = unsafe {
        let question = rustix::ioctl::Getter::<SIOCOUTQ, rustix::ffi::c_int>::new();
        rustix::ioctl::ioctl(stream.as_fd(), question)
    };
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Stream for Paced {
    const SENDS_FILES: bool = true;

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = when_writable(&self.stream, cx, |stream| {
            Ok(rustix::net::send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
        });
        self.count(cx, written)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        at: u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        let sent = when_writable(&self.stream, cx, |stream| {
            let mut at = at;
            Ok(rustix::fs::sendfile(stream, file, Some(&mut at), count)?)
        });
        self.count(cx, sent)
    }
}

/// Does something that the socket has to have room for.
fn when_writable(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || write(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All that was to be written is in the kernel's hands; nothing of ours waits for the peer.
        self.behind = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
