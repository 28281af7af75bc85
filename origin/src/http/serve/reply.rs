//! Answers of HTTP/1 whose length is known, written by ourselves.
//!
//! ```text
//! response ─► head ─► the head and the body in one vectored write   (memory)
//!                 └─► the head, then the kernel sends from the file (sendfile)
//! ```
//! Most answers are of this kind, and most waiting requests get theirs at the same moment: another
//! turn with hyper would cost each of them its buffers and a second reading of its request. An answer
//! that grows while it is sent has no length yet, and is hyper's.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::time::SystemTime;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use axum::http::{Response, StatusCode};
use bytes::Buf;
use tokio::io::AsyncWriteExt as _;

use super::connection::Stream;
use super::desk::Form;
use super::{Content, Stretch};

/// Room for the head of an answer: ours are of 600 to 800 bytes.
const HEAD: usize = 1024;

/// The head of a response, if its length is known and it says nothing of the connection.
pub(super) fn head<B: http_body::Body>(response: &Response<B>, form: Form) -> Option<Vec<u8>> {
    let (status, headers) = (response.status(), response.headers());
    let length = response.body().size_hint().exact()?;
    if headers.contains_key(CONNECTION) || status.is_informational() {
        return None;
    }
    let mut head = Vec::with_capacity(HEAD);
    let reason = status.canonical_reason().unwrap_or("Unknown");
    write!(head, "{} {} {reason}\r\n", form.version(), status.as_u16()).ok()?;
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    // What has no body never says how long it is (RFC 9110 §8.6).
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let unknown = bodiless || (form.head && length == 0);
    if !unknown && !headers.contains_key(CONTENT_LENGTH) {
        write!(head, "content-length: {length}\r\n").ok()?;
    }
    if !headers.contains_key(DATE) {
        write!(head, "date: {}\r\n", httpdate::fmt_http_date(now())).ok()?;
    }
    if let Some(connection) = form.connection() {
        write!(head, "connection: {connection}\r\n").ok()?;
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

/// The machine's own time, for what is answered without ours: the operator's pages.
#[allow(clippy::disallowed_methods, reason = "as hyper does it")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Writes an answer: its head, and its body unless it was asked for the head alone.
///
/// # Errors
/// The client is gone or too slow, or the body ends before its length: the connection is of no use
/// then.
pub(super) async fn write<S: Stream, B: Content>(
    stream: &mut S,
    head: Vec<u8>,
    form: Form,
    mut body: B,
) -> io::Result<()> {
    let left = body.size_hint().exact().filter(|_| !form.head).unwrap_or(0);
    if left == 0 {
        stream.write_all(&head).await?;
        return stream.flush().await;
    }
    match if S::SENDS_FILES { body.stretch() } else { None } {
        Some(stretch) => send(stream, &head, stretch, body).await?,
        None => copy(stream, &head, body, left).await?,
    }
    stream.flush().await
}

/// The head, and the body from memory.
async fn copy<S: Stream, B: Content>(
    stream: &mut S,
    head: &[u8],
    mut body: B,
    mut left: u64,
) -> io::Result<()> {
    let mut head = Some(head);
    while left > 0 {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
        let Ok(mut data) = frame.into_data() else { continue };
        left = left
            .checked_sub(data.remaining() as u64)
            .ok_or_else(|| io::Error::other("a body is longer than it said"))?;
        match head.take() {
            Some(head) => stream.write_all_buf(&mut head.chain(data)).await?,
            None => stream.write_all_buf(&mut data).await?,
        }
    }
    Ok(())
}

/// The head, and the body from a file.
async fn send<S: Stream, B: Content>(
    stream: &mut S,
    head: &[u8],
    stretch: Stretch,
    body: B,
) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = head.get(written..).filter(|rest| !rest.is_empty()) {
        written += std::future::poll_fn(|cx| stream.poll_write_more(cx, rest)).await?;
    }
    let Stretch { file, range } = stretch;
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let sent = std::future::poll_fn(|cx| stream.poll_send(cx, &file, at, count)).await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += sent as u64;
        body.sent(sent as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
