//! Connections: accepted, served as HTTP/1.1 or HTTP/2 within limits, and ended in order.
//!
//! ```text
//! accept ─► caps ─► (tls) ─► connection ─► desk, wire ─► hyper (HTTP/1)
//!             │                  ├───────► reply (what of HTTP/1 has a length)
//!             │                  └───────► streams ────► hyper (HTTP/2)
//!             └ refusal: 503
//! ```
//! Accepting never waits for a client: handshakes and refusals are tasks of their own. On shutdown
//! no connection is accepted any more, the requests that wait are answered first (they see the same
//! token), idle connections close, and what is still being written gets a moment.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use axum::{BoxError, Router};
use hyper::body::Incoming;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

mod caps;
mod connection;
mod desk;
mod pace;
mod refusal;
mod reply;
mod streams;
mod tls;
mod wire;

pub use caps::Limits;
pub(crate) use caps::{Caps, Visitor, WaitingSlot};
pub use tls::{Error as TlsError, Files as TlsFiles, Tls};

use self::connection::{House, Service};
use crate::telemetry::metrics::Cut;

/// Bytes of a request's line and headers together. Browsers with fat cookies stay below half.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// How long to wait after the system refused a connection for lack of something.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Handshakes of TLS that go on at one time. Each costs a millisecond of a core, so that more only
/// make all of them late.
const HANDSHAKES: usize = 256;

/// When the kernel asks a silent peer whether it is still there, how often then, and when it gives up
/// one that acknowledges nothing: whoever has vanished without a word.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The future of an answer.
pub(crate) type Answering<B> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// The body of an answer.
pub(crate) trait Content:
    http_body::Body<Data: Send, Error: Into<BoxError>> + Unpin + Send + 'static
{
    /// Where a file has all of it, for a connection that the kernel can send files to. The body is
    /// not read then.
    fn stretch(&mut self) -> Option<Stretch> {
        None
    }

    /// So many bytes of the file were sent.
    fn sent(&self, _bytes: u64) {}
}

impl Content for Body {}

/// Bytes of a file.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// The file.
    pub(crate) file: File,
    /// Offsets into it.
    pub(crate) range: Range<u64>,
}

/// What answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// Bodies of its answers. One that ends in an error aborts the answer.
    type Body: Content;

    /// The answer to a request of a visitor.
    fn handle(&self, request: Request<Body>, visitor: &Arc<Visitor>) -> Answering<Self::Body>;
}

/// A request's body; nothing is kept where there is none.
fn body(incoming: Incoming) -> Body {
    if http_body::Body::is_end_stream(&incoming) { Body::empty() } else { Body::new(incoming) }
}

impl Handler for Router {
    type Body = Body;

    fn handle(&self, request: Request<Body>, _: &Arc<Visitor>) -> Answering<Body> {
        let answering = self.clone().call(request);
        Box::pin(async move {
            let Ok(response) = answering.await;
            response
        })
    }
}

/// How long things may take on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a TLS handshake.
    handshake: Duration,
    /// For the first byte.
    first: Duration,
    /// For a request to arrive, from its first byte.
    head: Duration,
    /// For the next request of a viewer: players come every segment, of six seconds at the most.
    idle: Duration,
    /// For that of a CDN, which keeps its connections for whoever comes next.
    idle_trusted: Duration,
    /// How long a client may take less than the least rate.
    window: Duration,
    /// For what is still being written at shutdown.
    grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            idle_trusted: Duration::from_secs(75),
            window: pace::WINDOW,
            grace: Duration::from_secs(3),
        }
    }
}

impl Patience {
    const fn idle(&self, first: bool, trusted: bool) -> Duration {
        match (first, trusted) {
            (true, _) => self.first,
            (false, false) => self.idle,
            (false, true) => self.idle_trusted,
        }
    }
}

/// Where connections come from, and in what.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The listening socket.
    pub(crate) listener: TcpListener,
    /// The certificate, if it is TLS that is spoken.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Serves what `handler` answers until cancelled, and then until the connections have ended.
pub(crate) async fn serve<H: Handler>(
    entrance: Entrance,
    handler: H,
    caps: Arc<Caps>,
    cancel: CancellationToken,
) {
    serve_within(Patience::default(), entrance, handler, caps, cancel).await;
}

async fn serve_within<H: Handler>(
    patience: Patience,
    Entrance { listener, tls }: Entrance,
    handler: H,
    caps: Arc<Caps>,
    cancel: CancellationToken,
) {
    prepare(&listener);
    let house = Arc::new(House { handler, patience, cancel: cancel.clone() });
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let (mut connections, mut refusals) = (JoinSet::new(), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            Some(_) = refusals.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address): (TcpStream, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(visitor) = caps.visit(address.ip()) else {
            // A client that speaks TLS would not understand the answer.
            if tls.is_none() && refusals.len() < refusal::AT_ONCE {
                refusals.spawn(refusal::refuse(stream));
            }
            continue;
        };
        let stream = pace::Paced::new(stream, patience.window);
        let service = Service { house: Arc::clone(&house), visitor };
        match &tls {
            None => drop(connections.spawn(connection::serve(stream, service))),
            Some(tls) => {
                let (tls, handshakes) = (Arc::clone(tls), Arc::clone(&handshakes));
                connections.spawn(encrypted(tls, handshakes, stream, service));
            }
        }
    }
    drop(listener);
    refusals.abort_all();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience.grace, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// What every connection of a listener has from the start: its sockets inherit it.
fn prepare(listener: &TcpListener) {
    let unacknowledged = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    let prepared = sockopt::set_tcp_nodelay(listener, true)
        .and_then(|()| sockopt::set_socket_keepalive(listener, true))
        .and_then(|()| sockopt::set_tcp_keepidle(listener, PROBE_AFTER))
        .and_then(|()| sockopt::set_tcp_keepintvl(listener, PROBE_EVERY))
        .and_then(|()| sockopt::set_tcp_user_timeout(listener, unacknowledged));
    if let Err(error) = prepared {
        tracing::warn!(error = %io::Error::from(error), "setting up a listening socket failed");
    }
}

/// Serves a connection after its handshake.
async fn encrypted<H: Handler>(
    tls: Arc<Tls>,
    handshakes: Arc<Semaphore>,
    stream: pace::Paced,
    service: Service<H>,
) {
    let handshake = Box::pin(async {
        let _turn = handshakes.acquire().await.map_err(io::Error::other)?;
        tls.acceptor().accept(stream).await
    });
    let Ok(shaken) = tokio::time::timeout(service.house.patience.handshake, handshake).await else {
        return service.visitor.metrics().cut(Cut::SlowRequest);
    };
    match shaken {
        Ok(stream) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
            // Boxed: the connection hands it to and fro.
            let stream = Box::new(stream);
            if http2 {
                Box::pin(streams::serve(stream, bytes::Bytes::new(), service)).await;
            } else {
                connection::serve(stream, service).await;
            }
        }
        Err(error) => tracing::debug!(%error, "handshake failed"),
    }
}

impl connection::Stream for Box<TlsStream<pace::Paced>> {
    // What goes out is not what is in the file.
    const SENDS_FILES: bool = false;
}

#[cfg(test)]
mod tests;
