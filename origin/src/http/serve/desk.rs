//! Where hyper leaves a request of HTTP/1 and finds its answer, so that whoever serves the
//! connection can take both away from it.
//!
//! ```text
//! hyper ─request─► desk ─taken away─► the handler's future ─► response ─► reply
//!                    │                   hyper ◄─ desk ◄─ what grows ┘
//!                    └ one with a body stays: the handler's future ─► response ─► hyper
//! ```
//! The desk also knows whether anything is under way on the connection: a request half read, a
//! response half written. If nothing is, hyper and its buffers are not needed.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::http::header::CONNECTION;
use axum::http::{Method, Request, Response, Version};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::caps::Visitor;
use super::{Answering, Handler, body};

/// The desk of one connection.
#[derive(Debug)]
pub(super) struct Desk<B> {
    place: Mutex<Place<B>>,
    /// A response's body has not been read to its end.
    sending: AtomicBool,
    /// Bytes were read that no request has been made of.
    unread: AtomicBool,
    /// Bytes are to be written that have not all been handed over.
    unwritten: AtomicBool,
}

enum Place<B> {
    Empty,
    Asked {
        answering: Answering<B>,
        /// `None`: the request has a body, and can't be taken away.
        form: Option<Form>,
    },
    Answered(Response<B>),
}

impl<B> std::fmt::Debug for Place<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Asked { .. } => "Asked",
            Self::Answered(_) => "Answered",
        })
    }
}

/// What of a request decides in which form it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Only the head is wanted.
    pub(super) head: bool,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The connection goes on after it.
    pub(super) keep: bool,
}

/// A request that was taken away.
pub(super) struct Taken<B> {
    /// What answers it.
    pub(super) answering: Answering<B>,
    /// How it is answered.
    pub(super) form: Form,
}

/// How things stand at a desk.
pub(super) enum Standing<B> {
    /// Hyper has something to do.
    Busy,
    /// Nothing is under way.
    Idle,
    /// A request waits for its answer, and nothing else is under way.
    Waiting(Taken<B>),
}

impl Form {
    fn of(request: &Request<Incoming>) -> Option<Self> {
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        if !request.body().is_end_stream() {
            return None;
        }
        let old = request.version() == Version::HTTP_10;
        let says = |word: &str| {
            let lines = request.headers().get_all(CONNECTION).iter();
            let mut words = lines.filter_map(|line| line.to_str().ok()).flat_map(|l| l.split(','));
            words.any(|known| known.trim().eq_ignore_ascii_case(word))
        };
        let keep = if old { says("keep-alive") } else { !says("close") };
        Some(Self { head, old, keep })
    }

    /// The same, answered as the connection's last.
    pub(super) const fn last(self) -> Self {
        Self { keep: false, ..self }
    }

    /// The version that the client speaks.
    pub(super) const fn version(self) -> &'static str {
        if self.old { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    /// What the answer says of the connection, where that does not go without saying.
    pub(super) const fn connection(self) -> Option<&'static str> {
        match self {
            Self { old: true, keep: true, .. } => Some("keep-alive"),
            Self { old: false, keep: false, .. } => Some("close"),
            _ => None,
        }
    }

    /// A request that is answered in this form.
    pub(super) fn request(self) -> Bytes {
        match self {
            Self { head: false, old: false, keep: true } => {
                Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")
            }
            Self { head, old, keep } => {
                let method = if head { "HEAD" } else { "GET" };
                let version = if old { "HTTP/1.0" } else { "HTTP/1.1" };
                let connection = if keep { "keep-alive" } else { "close" };
                format!("{method} / {version}\r\nConnection: {connection}\r\n\r\n").into()
            }
        }
    }
}

impl<B> Desk<B> {
    /// A desk with nothing on it.
    pub(super) const fn new() -> Self {
        Self::with(Place::Empty)
    }

    /// A desk where the next request is answered with this.
    pub(super) const fn with_answer(response: Response<B>) -> Self {
        Self::with(Place::Answered(response))
    }

    const fn with(place: Place<B>) -> Self {
        Self {
            place: Mutex::new(place),
            sending: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
        }
    }

    /// How things stand. A waiting request is given away.
    pub(super) fn standing(&self) -> Standing<B> {
        if self.unwritten.load(Ordering::Relaxed) || self.sending.load(Ordering::Relaxed) {
            return Standing::Busy;
        }
        let mut place = self.place();
        match std::mem::replace(&mut *place, Place::Empty) {
            Place::Asked { answering, form: Some(form) } => {
                Standing::Waiting(Taken { answering, form })
            }
            Place::Empty if !self.unread.load(Ordering::Relaxed) => Standing::Idle,
            other => {
                *place = other;
                Standing::Busy
            }
        }
    }

    pub(super) fn has_read(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn writes(&self) {
        self.unwritten.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_written(&self) {
        self.unwritten.store(false, Ordering::Relaxed);
    }

    fn place(&self) -> MutexGuard<'_, Place<B>> {
        // A handler that panicked has ended its connection.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings hyper's requests to the desk.
pub(super) struct Clerk<H: Handler> {
    /// The desk.
    pub(super) desk: Arc<Desk<H::Body>>,
    /// What answers.
    pub(super) handler: H,
    /// Who asks.
    pub(super) visitor: Arc<Visitor>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Clerk<H> {
    type Response = Response<Outgoing<H::Body>>;
    type Error = Infallible;
    type Future = AtDesk<H::Body>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.desk.unread.store(false, Ordering::Relaxed);
        let mut place = self.desk.place();
        if !matches!(*place, Place::Answered(_)) {
            let form = Form::of(&request);
            let answering = self.handler.handle(request.map(body), &self.visitor);
            *place = Place::Asked { answering, form };
        }
        drop(place);
        AtDesk(Arc::clone(&self.desk))
    }
}

/// The answer to the request at the desk.
pub(super) struct AtDesk<B>(Arc<Desk<B>>);

impl<B> Future for AtDesk<B> {
    type Output = Result<Response<Outgoing<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut place = self.0.place();
        let response = match std::mem::replace(&mut *place, Place::Empty) {
            Place::Answered(response) => response,
            Place::Asked { mut answering, form: None } => match answering.as_mut().poll(cx) {
                Poll::Ready(response) => response,
                Poll::Pending => {
                    *place = Place::Asked { answering, form: None };
                    return Poll::Pending;
                }
            },
            // To be taken away as soon as hyper has come back from this.
            asked @ Place::Asked { .. } => {
                *place = asked;
                return Poll::Pending;
            }
            Place::Empty => return Poll::Pending,
        };
        drop(place);
        self.0.sending.store(true, Ordering::Relaxed);
        let desk = Arc::clone(&self.0);
        Poll::Ready(Ok(response.map(|body| Outgoing { body, desk })))
    }
}

/// A response's body on its way.
pub(super) struct Outgoing<B> {
    body: B,
    desk: Arc<Desk<B>>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.desk.sending.store(false, Ordering::Relaxed);
    }
}
