//! Connections: accepted, served as HTTP/1.1 within limits, and ended in order.
//!
//! On shutdown no connection is accepted any more, the requests that wait are answered first (they
//! see the same token), idle connections close, and what is still being written gets a moment.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections served at one time: 10,000 parked playlist requests and room for the rest. More wait
/// in the system's backlog.
const MAX_CONNECTIONS: usize = 16_384;

/// Bytes of a request's line and headers together. Browsers with fat cookies stay below half.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// Where a connection comes from: an extension of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How long things may take on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a request to arrive, counted from the end of the one before: also how long an idle
    /// connection lives. Long enough for players, which come every segment, short enough that
    /// silent connections do not pile up.
    request: Duration,
    /// For a client to take the next bytes of an answer. One that takes none holds media in memory
    /// that has left the live edge.
    stall: Duration,
    /// For what is still being written at shutdown.
    grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            grace: Duration::from_secs(3),
        }
    }
}

/// How long to wait after the system refused a connection for lack of something.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What answers requests, and can be handed to every connection.
pub(crate) trait Answers:
    Service<
        Request<Incoming>,
        Response = Response<Self::Payload>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The bodies of its answers.
    type Payload: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> Answers for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Payload = B;
}

/// Serves `service` on `listener` until cancelled, and then until its connections have ended.
pub(crate) async fn serve(listener: TcpListener, service: impl Answers, cancel: CancellationToken) {
    serve_within(Patience::default(), listener, service, cancel).await;
}

async fn serve_within(
    patience: Patience,
    listener: TcpListener,
    service: impl Answers,
    cancel: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let service = service.clone();
                let connection = connection(patience, (stream, peer), service, cancel.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer(address), slot))
}

async fn connection(
    patience: Patience,
    (stream, peer): (TcpStream, Peer),
    service: impl Answers,
    cancel: CancellationToken,
) {
    // A part is sent when it is there, not when a full packet is. This fails only for a peer that
    // has left already, and the first read will say so.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience.stall));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.request)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(patience.grace, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        // Viewers go away in the middle of things: nothing to act on.
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests;
