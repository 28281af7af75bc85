//! One connection, from its first byte to its end.
//!
//! ```text
//! idle ─bytes─► hyper ─request─► parked ─answer─► reply ─► idle …   (HTTP/1)
//!   │             │                 └─ it grows ─► hyper ─► idle …
//!   │             └─ the request has a body ─► answered ─► idle …
//!   └─ preface ─► streams                                             (HTTP/2)
//! ```
//! A viewer in low latency spends nearly all its time waiting: for the next part's playlist, or
//! between two requests. Hyper keeps 16 KiB of buffers for a connection, so it has the connection
//! only while it reads a request. That is taken from it ([`super::desk`]); an answer of known length is
//! written without it ([`super::reply`]), and for any other a new hyper is given a request of the same
//! form and that answer.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::Response;
use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::caps::Visitor;
use super::desk::{Clerk, Desk, Form, Standing, Taken};
use super::wire::Wire;
use super::{Handler, MAX_HEADER_BYTES, MAX_HEADERS, Patience, reply, streams};
use crate::telemetry::metrics::Cut;

/// What a connection begins with that speaks HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes read at once from a connection that hyper does not have: all of a usual request.
const READ: usize = 2 * 1024;

/// What a client may send while its request waits: as much as another request may have.
const MOST_AHEAD: usize = MAX_HEADER_BYTES;

/// A byte stream to a client.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the kernel can send files to it: what goes out is what is in the file.
    const SENDS_FILES: bool;

    /// Writes bytes that more will follow at once.
    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Sends up to `count` bytes of a file, from offset `at` on: how many, 0 at its end.
    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        _: &File,
        _at: u64,
        _count: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// What serves a connection.
pub(super) struct Service<H> {
    /// What all of them have in common.
    pub(super) house: Arc<House<H>>,
    pub(super) visitor: Arc<Visitor>,
}

/// What serves all connections of an entrance.
pub(super) struct House<H> {
    pub(super) handler: H,
    pub(super) patience: Patience,
    pub(super) cancel: CancellationToken,
}

/// What became of a time with hyper.
enum End<S, B> {
    /// The connection is over.
    Over,
    /// Nothing is under way; these bytes were read.
    Idle(S, Bytes),
    /// A request waits; these bytes were read after it.
    Waiting(S, Bytes, Taken<B>),
}

/// Serves a connection of HTTP/1, or of HTTP/2 by prior knowledge, to its end.
pub(super) async fn serve<S: Stream, H: Handler>(mut stream: S, service: Service<H>) {
    let mut ahead = Bytes::new();
    let mut first = true;
    loop {
        if ahead.is_empty() {
            let Some(bytes) = next(&mut stream, first, &service).await else { return };
            ahead = bytes;
        }
        if first {
            first = false;
            match Box::pin(preface(&mut stream, &mut ahead, &service)).await {
                Some(true) => return Box::pin(streams::serve(stream, ahead, service)).await,
                Some(false) => {}
                None => return,
            }
        }
        let desk = Arc::new(Desk::new());
        let mut end = with_hyper(stream, ahead, desk, &service).await;
        // What waits is answered in a new turn, after which another request may wait.
        while let End::Waiting(mut waiting, mut later, taken) = end {
            let Some(response) = parked(&mut waiting, &mut later, taken.answering).await else {
                return;
            };
            end = answer(waiting, later, taken.form, response, &service).await;
        }
        match end {
            End::Idle(back, later) if !service.house.cancel.is_cancelled() => {
                (stream, ahead) = (back, later);
            }
            _ => return,
        }
    }
}

/// The next bytes; `None` if they don't come in time, or not at all.
async fn next<S: Stream, H>(stream: &mut S, first: bool, service: &Service<H>) -> Option<Bytes> {
    let House { patience, cancel, .. } = &*service.house;
    let patience = patience.idle(first, service.visitor.is_trusted());
    let bytes = tokio::select! {
        biased;
        bytes = tokio::time::timeout(patience, some_bytes(stream)) => bytes,
        () = cancel.cancelled() => return None,
    };
    match bytes {
        Ok(bytes) => bytes.ok().filter(|bytes| !bytes.is_empty()),
        Err(_) => {
            if first {
                service.visitor.metrics().cut(Cut::SlowRequest);
            }
            None
        }
    }
}

/// The next bytes; none at the end.
async fn some_bytes<S: Stream>(stream: &mut S) -> io::Result<Bytes> {
    poll_fn(|cx| poll_bytes(stream, cx)).await
}

/// Reads without keeping room for it while there is nothing.
fn poll_bytes<S: Stream>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut room = [0; READ];
    let mut buffer = ReadBuf::new(&mut room);
    Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| Bytes::copy_from_slice(buffer.filled()))
}

/// Whether a connection begins with the preface of HTTP/2. `None`: it ends before that is known.
async fn preface<S: Stream, H>(
    stream: &mut S,
    ahead: &mut Bytes,
    service: &Service<H>,
) -> Option<bool> {
    let until = tokio::time::Instant::now() + service.house.patience.head;
    while ahead.len() < PREFACE.len() && PREFACE.starts_with(ahead) {
        let Ok(more) = tokio::time::timeout_at(until, some_bytes(stream)).await else {
            service.visitor.metrics().cut(Cut::SlowRequest);
            return None;
        };
        let more = more.ok()?;
        if more.is_empty() {
            return None;
        }
        *ahead = [&ahead[..], &more[..]].concat().into();
    }
    Some(ahead.starts_with(PREFACE))
}

/// Lets hyper have the connection until nothing is under way, or only a request that waits.
async fn with_hyper<S: Stream, H: Handler>(
    stream: S,
    ahead: Bytes,
    desk: Arc<Desk<H::Body>>,
    service: &Service<H>,
) -> End<S, H::Body> {
    let clerk = Clerk {
        desk: Arc::clone(&desk),
        handler: service.house.handler.clone(),
        visitor: Arc::clone(&service.visitor),
    };
    let wire = TokioIo::new(Wire::new(stream, ahead, Arc::clone(&desk)));
    // Boxed, with the wait for the end of the server: neither takes room while hyper is not there.
    let mut turn = Box::pin(async move {
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(service.house.patience.head)
            .max_header_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(wire, clerk);
        let mut cancelled = std::pin::pin!(service.house.cancel.cancelled());
        let mut ending = false;
        let standing = poll_fn(|cx| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                if let Err(error) = ended {
                    note(&error, service);
                }
                return Poll::Ready(None);
            }
            match desk.standing() {
                Standing::Busy => {}
                standing => return Poll::Ready(Some(standing)),
            }
            if !ending && cancelled.as_mut().poll(cx).is_ready() {
                ending = true;
                Pin::new(&mut connection).graceful_shutdown();
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        let Some(standing) = standing else { return End::Over };
        let parts = connection.into_parts();
        let stream = parts.io.into_inner().into_stream();
        // A copy, so that hyper's buffer goes.
        let ahead = Bytes::copy_from_slice(&parts.read_buf);
        match standing {
            Standing::Waiting(taken) => End::Waiting(stream, ahead, taken),
            _ => End::Idle(stream, ahead),
        }
    });
    turn.as_mut().await
}

/// Viewers go away in the middle of things: nothing to act on. Those we let go are counted.
fn note<H>(error: &hyper::Error, service: &Service<H>) {
    if error.is_timeout() {
        service.visitor.metrics().cut(Cut::SlowRequest);
    }
    note_end(error, service);
}

fn note_end<H>(error: &(dyn std::error::Error + 'static), service: &Service<H>) {
    if too_slow(error) {
        service.visitor.metrics().cut(Cut::SlowReader);
    }
    tracing::debug!(%error, peer = %service.visitor.peer(), "connection ended early");
}

/// Whether it is the least rate that ended a connection.
pub(super) fn too_slow(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::TimedOut;
        }
        source = error.source();
    }
    false
}

/// Waits for an answer; `None` if the client goes away first. What the client sends meanwhile is
/// kept.
async fn parked<S: Stream, B>(
    stream: &mut S,
    ahead: &mut Bytes,
    mut answering: super::Answering<B>,
) -> Option<Response<B>> {
    poll_fn(|cx| {
        if let Poll::Ready(response) = answering.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        while ahead.len() < MOST_AHEAD {
            match poll_bytes(stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(bytes)) if !bytes.is_empty() => {
                    let mut all = BytesMut::from(&ahead[..]);
                    all.extend_from_slice(&bytes);
                    *ahead = all.freeze();
                }
                Poll::Ready(_) => return Poll::Ready(None),
            }
        }
        Poll::Pending
    })
    .await
}

/// Answers a request of that form; gives hyper the answer if its length is not known.
async fn answer<S: Stream, H: Handler>(
    mut stream: S,
    later: Bytes,
    form: Form,
    response: Response<H::Body>,
    service: &Service<H>,
) -> End<S, H::Body> {
    let form = if service.house.cancel.is_cancelled() { form.last() } else { form };
    if let Some(head) = reply::head(&response, form) {
        // Boxed, so that those who wait for their answer are small.
        let written = Box::pin(async {
            reply::write(&mut stream, head, form, response.into_body()).await?;
            if form.keep { Ok(()) } else { stream.shutdown().await }
        });
        return match written.await {
            Ok(()) if form.keep => End::Idle(stream, later),
            Ok(()) => End::Over,
            Err(error) => {
                note_end(&error, service);
                End::Over
            }
        };
    }
    let mut request = form.request();
    if !later.is_empty() {
        request = [&request[..], &later[..]].concat().into();
    }
    with_hyper(stream, request, Arc::new(Desk::with_answer(response)), service).await
}
