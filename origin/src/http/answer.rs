//! From what was found to the response: the headers every answer has, conditions, ranges, HEAD.

use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, DATE, ETAG, HOST, HeaderName, REFERRER_POLICY, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;

use super::body::Payload;
use super::class::{Class, Rule, error_cache_control};
use super::error::Error;
use super::negotiate::{self, Wanted};
use super::page;
use super::route::{Route, Signal};
use super::signalling::{ACCEPT_PATCH, ACCEPT_POST};
use super::text::Text;
use crate::store;
use crate::webrtc;

/// Methods of every resource.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Methods of what viewers report to.
const BEACON_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Methods of where offers of WebRTC go, and of a session.
const SIGNAL_METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const SESSION_METHODS: HeaderValue = HeaderValue::from_static("PATCH, DELETE, OPTIONS");

/// Headers that scripts of other sites may read: what players measure with, and find their session by.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, Content-Encoding, Date, Age, ETag, Server-Timing, \
     CMSD-Static, CMSD-Dynamic, Location, Link, Accept-Patch",
);

/// Headers that scripts of other sites may send.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "Range, If-None-Match, If-Range, If-Match, Authorization, Content-Type, CMCD-Request, CMCD-Object, CMCD-Session, CMCD-Status",
);

/// Seconds a client waits before it asks again: a server that goes down has a successor by then, and
/// a publisher that lost its server is back.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Says to reverse proxies that a body is to be passed on as it comes (HT-08).
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A resource that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its class.
    pub(super) class: Class,
    /// Its type, where the class leaves it open.
    pub(super) content_type: Option<HeaderValue>,
    /// What it is.
    pub(super) entity: Entity,
}

/// What a resource is made of.
#[derive(Debug)]
pub(super) enum Entity {
    /// A text.
    Text(Arc<Text>),
    /// Media bytes.
    Media(store::Media),
    /// A segment that is still being written, each part of which may take this long.
    Open(store::Follower, Duration),
}

impl Found {
    /// A text of a class.
    pub(super) fn text(class: Class, text: Arc<Text>) -> Self {
        Self { class, content_type: None, entity: Entity::Text(text) }
    }
}

/// The response to a request for a resource that was found.
pub(super) async fn found(
    found: Found,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response<Payload>, Error> {
    let rule = found.class.rule();
    let mut headers = HeaderMap::with_capacity(16);
    let content_type =
        found.content_type.or_else(|| rule.content_type.map(HeaderValue::from_static));
    if let Some(value) = content_type {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, rule.cache_control.value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if found.class == Class::Page {
        let policy = page::content_security_policy(request.get(HOST));
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    let ranges = if rule.ranges { "bytes" } else { "none" };
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static(ranges));
    let head = *method == Method::HEAD;
    match found.entity {
        Entity::Text(text) => Ok(of_text(&text, rule, head, request, headers)),
        Entity::Media(media) => of_media(media, head, request, headers).await,
        Entity::Open(follower, patience) => {
            // For proxies that would collect it first.
            headers.insert(BUFFERING, HeaderValue::from_static("no"));
            let payload = if head { Payload::empty() } else { Payload::open(follower, patience) };
            Ok(response(StatusCode::OK, headers, payload))
        }
    }
}

fn of_text(
    text: &Text,
    rule: Rule,
    head: bool,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Response<Payload> {
    if rule.gzip {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let encoded = text.encoded(rule.gzip && negotiate::accepts_gzip(request));
    if rule.etag {
        let known = encoded.etag.to_str().is_ok_and(|tag| negotiate::not_modified(request, tag));
        headers.insert(ETAG, encoded.etag);
        if known {
            return response(StatusCode::NOT_MODIFIED, headers, Payload::empty());
        }
    }
    if encoded.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    whole(headers, encoded.bytes, head)
}

async fn of_media(
    media: store::Media,
    head: bool,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Result<Response<Payload>, Error> {
    // Only what is complete has a tag.
    let etag = media.etag.unwrap_or_default();
    if !etag.is_empty() {
        headers.insert(ETAG, header(&etag));
        if negotiate::not_modified(request, &etag) {
            return Ok(response(StatusCode::NOT_MODIFIED, headers, Payload::empty()));
        }
    }
    let (status, range) = match negotiate::range(request, media.len, &etag) {
        Wanted::Whole => (StatusCode::OK, 0..media.len),
        Wanted::Unsatisfiable => return Err(Error::Range { len: media.len }),
        Wanted::Bytes(range) => {
            let of = if media.open { "*".to_owned() } else { media.len.to_string() };
            let value = format!("bytes {}-{}/{of}", range.start, range.end - 1);
            headers.insert(CONTENT_RANGE, header(&value));
            (StatusCode::PARTIAL_CONTENT, range)
        }
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    let payload = match media.body {
        _ if head => Payload::empty(),
        store::MediaBody::Memory(pieces) => Payload::slice(&pieces, range),
        store::MediaBody::Both { pieces, path, offset } => {
            let stretch = offset + range.start..offset + range.end;
            Payload::slice(&pieces, range).also_in(path, stretch)
        }
        store::MediaBody::File { path, offset } => {
            let range = offset + range.start..offset + range.end;
            Payload::file(&path, range).await.map_err(unreadable)?
        }
    };
    Ok(response(status, headers, payload))
}

/// A file that is not there any more when it is opened: the segment's time was up.
pub(super) fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Gone,
        _ => Error::Read(error),
    }
}

/// The response to a request whose resource is not answered.
pub(super) fn error(error: &Error, method: &Method) -> Response<Payload> {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(error_cache_control(error)));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match error {
        Error::Method => {
            headers.insert(ALLOW, METHODS);
        }
        Error::BeaconMethod => {
            headers.insert(ALLOW, BEACON_METHODS);
        }
        Error::SignalMethod { session } => {
            headers.insert(ALLOW, if *session { SESSION_METHODS } else { SIGNAL_METHODS });
        }
        Error::WebRtc(webrtc::Refusal::Denied(_)) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::SignalMedia(kind) => {
            let accepted = if *kind == "application/sdp" { ACCEPT_POST } else { ACCEPT_PATCH };
            headers.insert(accepted, HeaderValue::from_static(kind));
        }
        Error::Range { len } => {
            headers.insert(CONTENT_RANGE, header(&format!("bytes */{len}")));
        }
        Error::ShuttingDown
        | Error::Interrupted
        | Error::Crowded
        | Error::Far
        | Error::TooMany
        | Error::Stalled
        | Error::WebRtc(
            webrtc::Refusal::Hasty
            | webrtc::Refusal::Crowded
            | webrtc::Refusal::Busy(_)
            | webrtc::Refusal::Unavailable,
        ) => {
            headers.insert(RETRY_AFTER, RETRY_SECONDS);
        }
        _ => {}
    }
    let mut response = whole(headers, format!("{error}\n").into(), *method == Method::HEAD);
    *response.status_mut() = error.status();
    response
}

/// The answer to a preflight.
pub(super) fn options(route: Option<&Route>) -> Response<Payload> {
    let mut headers = HeaderMap::with_capacity(8);
    let methods = match route {
        Some(Route::Beacon(_)) => BEACON_METHODS,
        Some(Route::Signal(Signal { session: None, .. })) => {
            headers.insert(ACCEPT_POST, HeaderValue::from_static("application/sdp"));
            SIGNAL_METHODS
        }
        Some(Route::Signal(_)) => SESSION_METHODS,
        _ => METHODS,
    };
    headers.insert(ALLOW, methods.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response(StatusCode::NO_CONTENT, headers, Payload::empty())
}

/// An answer with a body that is never kept.
pub(super) fn told(status: StatusCode, headers: HeaderMap, body: String) -> Response<Payload> {
    let mut response = whole(headers, body.into(), false);
    *response.status_mut() = status;
    response
}

/// The answer to a report that was taken.
pub(super) fn taken() -> Response<Payload> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CACHE_CONTROL, Class::Beacon.rule().cache_control.value());
    response(StatusCode::NO_CONTENT, headers, Payload::empty())
}

/// The headers that no answer is without: `Date` by our clock, and CORS (HT-04, HT-07).
pub(super) fn everywhere(headers: &mut HeaderMap, now_millis: u64) {
    let now = UNIX_EPOCH + Duration::from_millis(now_millis);
    headers.insert(DATE, header(&httpdate::fmt_http_date(now)));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

fn whole(mut headers: HeaderMap, bytes: Bytes, head: bool) -> Response<Payload> {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let payload = if head { Payload::empty() } else { Payload::bytes([bytes]) };
    response(StatusCode::OK, headers, payload)
}

fn response(status: StatusCode, headers: HeaderMap, payload: Payload) -> Response<Payload> {
    let mut response = Response::new(payload);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A value we wrote ourselves, all visible ASCII.
pub(super) fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}
