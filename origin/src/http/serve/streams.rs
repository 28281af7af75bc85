//! A connection of HTTP/2 (RFC 9113), to its end.
//!
//! Its requests are futures beside each other that cost little while they wait, so hyper keeps the
//! connection. What a client can do with streams that it can't with requests one after the other is
//! bounded here: open many, open and reset them without end (CVE-2023-44487), or leave their
//! answers in our memory behind a closed window. Header lists without end (CONTINUATION) and floods
//! of resets that are not accepted yet are refused by `h2` itself.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::connection::{Service, Stream, too_slow};
use super::desk::Desk;
use super::pace::MIN_BYTES;
use super::wire::Wire;
use super::{Answering, Handler, MAX_HEADER_BYTES, body};
use crate::telemetry::metrics::Cut;

/// Streams of one connection at one time: RFC 9113 §6.5.2 recommends no fewer than 100, and a CDN
/// that brings many viewers opens more connections.
const MAX_STREAMS: u32 = 128;

/// Requests given up before their answer was sent, within one [`super::pace::WINDOW`]: a player that
/// seeks or changes its rendition gives up a few.
const MAX_GIVEN_UP: u32 = 100;

/// Bytes of one answer that are handed over before the client has room for them. The rest stays
/// where it is shared.
const SEND_AHEAD: usize = 64 * 1024;

/// How often a silent client is asked whether it is still there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// What goes on in a connection.
#[derive(Debug, Default)]
struct Flow {
    /// Requests that are not answered to the end.
    open: AtomicU32,
    /// Pieces of answers that wait for the client to have room.
    owed: AtomicU32,
    /// Bytes of answers that went out.
    taken: AtomicU64,
    /// Requests that were given up.
    given_up: AtomicU32,
    /// Told when they are too many.
    too_many: Notify,
}

/// Serves a connection that has said that it speaks HTTP/2; `ahead` was read from it already.
pub(super) async fn serve<S: Stream, H: Handler>(stream: S, ahead: Bytes, service: Service<H>) {
    let patience = service.house.patience;
    let flow = Arc::new(Flow::default());
    let tasks = TaskTracker::new();
    let wire = Wire::new(stream, ahead, Arc::new(Desk::<H::Body>::new()));
    let streams = Streams {
        handler: service.house.handler.clone(),
        visitor: Arc::clone(&service.visitor),
        flow: Arc::clone(&flow),
    };
    let mut connection = Box::pin(
        http2::Builder::new(Spawn(tasks.clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .max_send_buf_size(SEND_AHEAD)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .serve_connection(TokioIo::new(wire), streams),
    );
    let mut cancelled = std::pin::pin!(service.house.cancel.cancelled());
    let mut too_many = std::pin::pin!(flow.too_many.notified());
    let mut looks = tokio::time::interval(patience.window);
    let mut watch = Watch::default();
    let mut ending = false;
    let idle = patience.idle(false, service.visitor.is_trusted());
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                if too_slow(&error) {
                    service.visitor.metrics().cut(Cut::SlowReader);
                }
                tracing::debug!(%error, peer = %service.visitor.peer(), "connection ended early");
            }
            return Poll::Ready(());
        }
        if too_many.as_mut().poll(cx).is_ready() {
            service.visitor.metrics().cut(Cut::Resets);
            return Poll::Ready(());
        }
        while looks.poll_tick(cx).is_ready() {
            if watch.look(&flow) {
                service.visitor.metrics().cut(Cut::SlowReader);
                return Poll::Ready(());
            }
            if watch.idle_windows * patience.window > idle && !ending {
                ending = true;
                connection.as_mut().graceful_shutdown();
                cx.waker().wake_by_ref();
            }
        }
        if !ending && cancelled.as_mut().poll(cx).is_ready() {
            ending = true;
            connection.as_mut().graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    drop(connection);
    tasks.close();
    tasks.wait().await;
}

/// What is remembered from one look at the flow to the next.
#[derive(Debug, Default)]
struct Watch {
    /// Bytes taken at the last look, if something was owed then.
    owed_since: Option<u64>,
    /// Looks in a row that found no request.
    idle_windows: u32,
}

impl Watch {
    /// Looks at the flow, once a window: whether a whole window went by in which the client did not
    /// take what was there for it.
    fn look(&mut self, flow: &Flow) -> bool {
        flow.given_up.store(0, Ordering::Relaxed);
        let open = flow.open.load(Ordering::Relaxed) > 0;
        self.idle_windows = if open { 0 } else { self.idle_windows.saturating_add(1) };
        let taken = flow.taken.load(Ordering::Relaxed);
        let owed = flow.owed.load(Ordering::Relaxed) > 0;
        let slow =
            owed && self.owed_since.is_some_and(|then| taken.saturating_sub(then) < MIN_BYTES);
        self.owed_since = owed.then_some(taken);
        slow
    }
}

/// Spawns what hyper needs for a connection; it ends with the connection.
#[derive(Clone)]
struct Spawn(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Answers the requests of a connection.
struct Streams<H> {
    handler: H,
    visitor: Arc<super::caps::Visitor>,
    flow: Arc<Flow>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Streams<H> {
    type Response = Response<Outgoing<H::Body>>;
    type Error = Infallible;
    type Future = Asked<H::Body>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answering = self.handler.handle(request.map(body), &self.visitor);
        Asked { answering, open: Some(Open::new(&self.flow)) }
    }
}

/// A request that is not answered to the end; given up if it is dropped before that.
struct Open {
    flow: Arc<Flow>,
    answered: bool,
}

impl Open {
    fn new(flow: &Arc<Flow>) -> Self {
        flow.open.fetch_add(1, Ordering::Relaxed);
        Self { flow: Arc::clone(flow), answered: false }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.flow.open.fetch_sub(1, Ordering::Relaxed);
        if !self.answered && self.flow.given_up.fetch_add(1, Ordering::Relaxed) >= MAX_GIVEN_UP {
            self.flow.too_many.notify_one();
        }
    }
}

/// A request on its way to its answer.
struct Asked<B> {
    answering: Answering<B>,
    open: Option<Open>,
}

impl<B: http_body::Body> Future for Asked<B> {
    type Output = Result<Response<Outgoing<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.answering.as_mut().poll(cx));
        let mut open = self.open.take();
        if response.body().is_end_stream()
            && let Some(open) = &mut open
        {
            open.answered = true;
        }
        Poll::Ready(Ok(response.map(|body| Outgoing { body, open })))
    }
}

/// A response's body on its way.
struct Outgoing<B> {
    body: B,
    open: Option<Open>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Outgoing<B> {
    type Data = Owed<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Owed<B::Data>>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = frame.is_none() || self.body.is_end_stream();
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        open.answered |= ended;
        Poll::Ready(frame.map(|frame| frame.map(|f| f.map_data(|d| Owed::new(d, &open.flow)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer: the library keeps it until the client has had room for all of it.
struct Owed<D> {
    data: D,
    flow: Arc<Flow>,
}

impl<D> Owed<D> {
    fn new(data: D, flow: &Arc<Flow>) -> Self {
        flow.owed.fetch_add(1, Ordering::Relaxed);
        Self { data, flow: Arc::clone(flow) }
    }
}

impl<D: Buf> Buf for Owed<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.flow.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.data.advance(count);
    }
}

impl<D> Drop for Owed<D> {
    fn drop(&mut self) {
        self.flow.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
