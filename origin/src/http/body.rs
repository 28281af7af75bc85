//! Bodies of answers: a list of `Bytes` that is never joined, a stretch of a file, or a segment that
//! is still being written.
//!
//! The length of the first two is known before the first byte, so that the answer has a
//! Content-Length. An open segment goes out part by part as it grows: each part is one frame, so one
//! chunk of HTTP/1.1, and is flushed because nothing follows it yet (HT-08).
//!
//! What turns out shorter than promised ends in an error, which aborts the connection or resets the
//! stream, so that no cache takes the short body for the whole (HT-09): a file that was cut, a segment
//! that never ends, and one that a slow reader is so far behind in that it has left memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, SeekFrom};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::ReusableBoxFuture;

use super::pieces::Pieces;
use crate::store::Follower;

/// Bytes read from a file at once: few enough that a slow viewer holds little memory, enough that
/// a thread is not woken for every packet.
const READ_AHEAD: usize = 128 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Payload {
    source: Source,
    /// Bytes that are still to come; of an open segment nobody knows.
    left: Option<u64>,
    sent: Counter,
}

#[derive(Debug)]
enum Source {
    Memory(VecDeque<Bytes>),
    File {
        file: File,
        buffer: BytesMut,
    },
    Open(ReusableBoxFuture<'static, (Follower, io::Result<Option<Vec<Bytes>>>)>, Duration),
    /// An open segment that came to its end.
    Ended,
}

/// The next part of an open segment, which may take this long.
async fn next(
    mut follower: Follower,
    patience: Duration,
) -> (Follower, io::Result<Option<Vec<Bytes>>>) {
    let next = match tokio::time::timeout(patience, follower.next()).await {
        Ok(next) => next.map_err(io::Error::other),
        Err(late) => Err(late.into()),
    };
    (follower, next)
}

impl Payload {
    /// Nothing: the body of an answer to HEAD, and of a 304.
    pub(super) fn empty() -> Self {
        Self { source: Source::Memory(VecDeque::new()), left: Some(0), sent: Counter::default() }
    }

    /// The parts of an open segment as they come, each of which may take as long as `patience`.
    pub(super) fn open(follower: Follower, patience: Duration) -> Self {
        let source = Source::Open(ReusableBoxFuture::new(next(follower, patience)), patience);
        Self { source, left: None, sent: Counter::default() }
    }

    /// These bytes, one after the other.
    pub(super) fn bytes(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let chunks: VecDeque<Bytes> =
            chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        let left = Some(chunks.iter().map(|chunk| chunk.len() as u64).sum());
        Self { source: Source::Memory(chunks), left, sent: Counter::default() }
    }

    /// The bytes of `range` of a list.
    pub(super) fn slice(chunks: &[Bytes], range: Range<u64>) -> Self {
        let mut at = 0u64;
        let mut wanted = Vec::new();
        for chunk in chunks {
            let end = at.saturating_add(chunk.len() as u64);
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                // Both are offsets into the chunk, whose length is a usize.
                wanted.push(chunk.slice((from - at) as usize..(to - at) as usize));
            }
            at = end;
        }
        Self::bytes(wanted)
    }

    /// The bytes of `range` of a file.
    ///
    /// # Errors
    /// The file can't be opened.
    pub(super) async fn file(path: &Path, range: Range<u64>) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).await?;
        }
        let left = Some(range.end.saturating_sub(range.start));
        let source = Source::File { file, buffer: BytesMut::new() };
        Ok(Self { source, left, sent: Counter::default() })
    }

    /// Counts what goes out.
    pub(super) fn counted(mut self, sent: Counter) -> Self {
        self.sent = sent;
        self
    }
}

impl Payload {
    /// The next frame; `None` at the end of an open segment, and where there should be more of a list
    /// or file.
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Pieces>>> {
        Poll::Ready(Ok(match &mut self.source {
            Source::Memory(chunks) => chunks.pop_front().map(Pieces::from),
            Source::File { file, buffer } => {
                buffer.reserve(READ_AHEAD);
                ready!(poll_read_buf(Pin::new(file), cx, buffer))?;
                let mut chunk = buffer.split().freeze();
                let left = self.left.unwrap_or_default();
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                chunk.has_remaining().then(|| chunk.into())
            }
            Source::Open(coming, patience) => {
                let (follower, part) = ready!(coming.poll(cx));
                coming.set(next(follower, *patience));
                let part = part?;
                if part.is_none() {
                    self.source = Source::Ended;
                }
                part.map(Pieces::from_iter)
            }
            Source::Ended => None,
        }))
    }
}

impl Body for Payload {
    type Data = Pieces;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Pieces>, io::Error>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        let pieces = match ready!(self.poll_pieces(cx)) {
            Ok(Some(pieces)) => pieces,
            Ok(None) if self.left.is_none() => return Poll::Ready(None),
            Ok(None) => {
                self.left = Some(0);
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            Err(error) => {
                self.left = Some(0);
                return Poll::Ready(Some(Err(error)));
            }
        };
        let len = pieces.remaining() as u64;
        self.left = self.left.map(|left| left.saturating_sub(len));
        self.sent.inc_by(len);
        Poll::Ready(Some(Ok(Frame::data(pieces))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || matches!(self.source, Source::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
