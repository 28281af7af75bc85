//! A byte stream that is lent to hyper: some bytes that were read before are read again first, and
//! the desk is told what is under way, so that the stream can be taken back when nothing is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::desk::Desk;

/// The stream.
#[derive(Debug)]
pub(super) struct Wire<S, B> {
    stream: S,
    ahead: Bytes,
    desk: Arc<Desk<B>>,
}

impl<S, B> Wire<S, B> {
    /// A stream from which `ahead` was read already.
    pub(super) const fn new(stream: S, ahead: Bytes, desk: Arc<Desk<B>>) -> Self {
        Self { stream, ahead, desk }
    }

    /// The stream itself.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin, B> AsyncRead for Wire<S, B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
        } else {
            let count = self.ahead.len().min(buffer.remaining());
            let ahead = self.ahead.split_to(count);
            buffer.put_slice(ahead.chunk());
        }
        self.desk.has_read();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, B> AsyncWrite for Wire<S, B> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.desk.writes();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.desk.writes();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.desk.has_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is being closed is not taken back.
        self.desk.writes();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
