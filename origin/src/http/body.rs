//! Bodies of answers: a list of `Bytes` that is never joined, or a stretch of a file.
//!
//! The length is known before the first byte, so that every answer has a Content-Length; a file
//! that turns out shorter ends in an error, which aborts the connection, so that no cache takes the
//! short body for the whole (HT-09).

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, SeekFrom};
use tokio_util::io::poll_read_buf;

/// Bytes read from a file at once: few enough that a slow viewer holds little memory, enough that
/// a thread is not woken for every packet.
const READ_AHEAD: usize = 128 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Payload {
    source: Source,
    left: u64,
    sent: Counter,
}

#[derive(Debug)]
enum Source {
    Memory(VecDeque<Bytes>),
    File { file: File, buffer: BytesMut },
}

impl Payload {
    /// Nothing: the body of an answer to HEAD, and of a 304.
    pub(super) fn empty() -> Self {
        Self { source: Source::Memory(VecDeque::new()), left: 0, sent: Counter::default() }
    }

    /// These bytes, one after the other.
    pub(super) fn bytes(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let chunks: VecDeque<Bytes> =
            chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
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
        let left = range.end.saturating_sub(range.start);
        let source = Source::File { file, buffer: BytesMut::new() };
        Ok(Self { source, left, sent: Counter::default() })
    }

    /// Counts what goes out.
    pub(super) fn counted(mut self, sent: Counter) -> Self {
        self.sent = sent;
        self
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let chunk = match &mut this.source {
            Source::Memory(chunks) => chunks.pop_front(),
            Source::File { file, buffer } => {
                buffer.reserve(READ_AHEAD);
                if let Err(error) = ready!(poll_read_buf(Pin::new(file), cx, buffer)) {
                    return Poll::Ready(Some(Err(error)));
                }
                let mut chunk = buffer.split().freeze();
                chunk.truncate(usize::try_from(this.left).unwrap_or(usize::MAX));
                chunk.has_remaining().then_some(chunk)
            }
        };
        let Some(chunk) = chunk else {
            this.left = 0;
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        this.left = this.left.saturating_sub(chunk.len() as u64);
        this.sent.inc_by(chunk.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn chunks() -> Vec<Bytes> {
        ["ab", "", "cde", "f"].map(Bytes::from).to_vec()
    }

    async fn read(payload: Payload) -> Vec<u8> {
        payload.collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn a_list_goes_out_without_being_joined() {
        let mut payload = Payload::bytes(chunks());
        assert_eq!(payload.size_hint().exact(), Some(6));
        let first = payload.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "ab");
    }

    #[tokio::test]
    async fn every_range_of_a_list_and_of_a_file_is_the_same_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcdef").unwrap();
        for start in 0..6usize {
            for end in start..=6 {
                let range = start as u64..end as u64;
                let expected = &b"abcdef"[start..end];
                assert_eq!(read(Payload::slice(&chunks(), range.clone())).await, expected);
                assert_eq!(read(Payload::file(file.path(), range).await.unwrap()).await, expected);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error_and_no_short_answer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let payload = Payload::file(file.path(), 0..4).await.unwrap();
        assert!(payload.collect().await.is_err());
    }
}
