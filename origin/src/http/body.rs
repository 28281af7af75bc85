//! Bodies of answers: a list of `Bytes` that is never joined, a stretch of a file, or a segment that
//! is still being written.
//!
//! Of a list that is in a file too, the kernel may send the file: then no byte is copied. It is asked
//! for only what was written a short while ago and so is in the page cache, where no disk is waited
//! for.
//!
//! The length of the first two is known before the first byte, so that the answer has a
//! Content-Length. An open segment goes out part by part as it grows: each part is one frame, so one
//! chunk of HTTP/1.1, and is flushed because nothing follows it yet (HT-08).
//!
//! What turns out shorter than promised ends in an error, which aborts the connection or resets the
//! stream, so that no cache takes the short body for the whole (HT-09): a file that was cut, a segment
//! that never ends, and one that a slow reader is so far behind in that it has left memory.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
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
use super::serve::{Content, Stretch};
use crate::store::Follower;

/// Bytes read from a file at once: few enough that a slow viewer holds little memory, enough that
/// a thread is not woken for every packet.
const READ_AHEAD: usize = 128 * 1024;

/// From so many bytes on, a file is sent by the kernel: opening it costs as much as copying half of
/// them.
const WORTH_SENDING: u64 = 64 * 1024;

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
    Memory {
        pieces: Pieces,
        /// Boxed, so that what waits for an answer is small.
        also: Option<Box<(PathBuf, Range<u64>)>>,
    },
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
        Self::bytes([])
    }

    /// The parts of an open segment as they come, each of which may take as long as `patience`.
    pub(super) fn open(follower: Follower, patience: Duration) -> Self {
        let source = Source::Open(ReusableBoxFuture::new(next(follower, patience)), patience);
        Self { source, left: None, sent: Counter::default() }
    }

    /// These bytes, one after the other.
    pub(super) fn bytes(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: Pieces = chunks.into_iter().collect();
        let left = Some(pieces.remaining() as u64);
        Self { source: Source::Memory { pieces, also: None }, left, sent: Counter::default() }
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

    /// The same bytes are also the bytes of `range` of a file.
    pub(super) fn also_in(mut self, path: PathBuf, range: Range<u64>) -> Self {
        if let Source::Memory { also, .. } = &mut self.source
            && range.end.saturating_sub(range.start) >= WORTH_SENDING
        {
            *also = Some(Box::new((path, range)));
        }
        self
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
            Source::Memory { pieces, .. } => {
                Some(std::mem::take(pieces)).filter(Pieces::has_remaining)
            }
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

impl Content for Payload {
    fn stretch(&mut self) -> Option<Stretch> {
        let Source::Memory { also, .. } = &mut self.source else { return None };
        let (path, range) = *also.take()?;
        // Where it can't be opened, the bytes are still in memory.
        let file = std::fs::File::open(path).ok()?;
        Some(Stretch { file, range })
    }

    fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests;
