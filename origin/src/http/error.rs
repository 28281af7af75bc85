//! Why a request is not answered with its resource: the one map from reason to status.

use std::io;

use axum::http::StatusCode;
use packager::timeline::NoExcerpt;

use crate::assets;
use crate::channel::stills::NoStill;
use crate::viewers;
use crate::webrtc;

/// Why there is no resource in the answer. The text is public; a cause goes to the log only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Error {
    /// The path is none of the contract's.
    #[error("no such resource")]
    NoRoute,
    /// The configuration names no such channel.
    #[error("no such channel")]
    NoChannel,
    /// It does not exist yet: before the first publish, or ahead of the live edge.
    #[error("not there yet")]
    NotYet,
    /// It left the window, or never was.
    #[error("gone or never there")]
    Gone,
    /// Another method than GET, HEAD and OPTIONS.
    #[error("method not allowed")]
    Method,
    /// A beacon is posted.
    #[error("reports are posted")]
    BeaconMethod,
    /// Offers are posted, sessions are patched and deleted.
    #[error("{}", if *session { "a session is patched or deleted" } else { "offers are posted" })]
    SignalMethod {
        /// Whether it is a session.
        session: bool,
    },
    /// A body of another type is wanted.
    #[error("the body has to be of type {0}")]
    SignalMedia(&'static str),
    /// The body is no UTF-8.
    #[error("the body is no text")]
    NoText,
    /// The operator has switched WebRTC off.
    #[error("there is no WebRTC here")]
    NoWebRtc,
    /// The offer is not granted.
    #[error(transparent)]
    WebRtc(#[from] webrtc::Refusal),
    /// Reports have a type of their own.
    #[error("reports are of type application/cmcd")]
    Media,
    /// The body is no report.
    #[error(transparent)]
    Report(#[from] viewers::Error),
    /// The body does not come.
    #[error("the body took too long")]
    Slow,
    /// The body is longer than reports are.
    #[error("too long a body")]
    TooLarge,
    /// The address reports faster than viewers do.
    #[error("too many reports from one address")]
    TooMany,
    /// The path and query are longer than any of ours.
    #[error("uri too long")]
    UriTooLong,
    /// The range begins behind the end of the resource.
    #[error("range not satisfiable")]
    Range {
        /// Length of the resource in bytes.
        len: u64,
    },
    /// The server goes down while the request waits.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// There is no room for one more request that waits.
    #[error("too many viewers wait here")]
    Crowded,
    /// The channel was on the air when the server died, and its publisher is not back yet.
    #[error("the channel comes back when its publisher does")]
    Interrupted,
    /// What the request says about the version it wants can't be meant (RFC 8216bis §6.2.5).
    #[error("{0}")]
    Directives(&'static str),
    /// What stands in the path for an instant is none.
    #[error("an instant is seconds since 1970, or a date in UTC: 2026-11-26T19:00:00Z")]
    Instant,
    /// The excerpt is longer than any window.
    #[error("an excerpt has seven days at the most")]
    TooLong,
    /// There is no such excerpt.
    #[error("there is no such excerpt: {0}")]
    Excerpt(#[from] NoExcerpt),
    /// The request waited for a playlist to grow, and it did not.
    #[error("nothing new for three target durations")]
    Stalled,
    /// The durable store is asked for too much, or does not answer.
    #[error("old segments are slow to come just now")]
    Far,
    /// Too many stills are asked for, or what makes them is not to be had.
    #[error("stills are slow to come just now")]
    NoStill,
    /// The store could not be read.
    #[error("the server has trouble reading its store")]
    Read(#[source] io::Error),
}

impl From<assets::Error> for Error {
    fn from(error: assets::Error) -> Self {
        match error {
            assets::Error::Store(cause) => Self::Read(cause),
            _ => Self::Gone,
        }
    }
}

impl From<NoStill> for Error {
    fn from(error: NoStill) -> Self {
        match error {
            NoStill::Busy => Self::NoStill,
            // It never makes one.
            NoStill::Unusable => Self::Gone,
        }
    }
}

impl Error {
    /// The status a client gets.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::NoChannel | Self::NotYet | Self::Gone => StatusCode::NOT_FOUND,
            Self::Method | Self::BeaconMethod | Self::SignalMethod { .. } => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            Self::NoText => StatusCode::BAD_REQUEST,
            Self::NoWebRtc => StatusCode::NOT_FOUND,
            Self::WebRtc(refusal) => refused(refusal),
            Self::Media | Self::SignalMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Report(_) => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Directives(_) | Self::Instant | Self::TooLong => StatusCode::BAD_REQUEST,
            Self::Excerpt(NoExcerpt::Backwards) => StatusCode::BAD_REQUEST,
            Self::Excerpt(_) => StatusCode::NOT_FOUND,
            Self::ShuttingDown
            | Self::Interrupted
            | Self::Crowded
            | Self::Far
            | Self::NoStill
            | Self::Stalled => StatusCode::SERVICE_UNAVAILABLE,
            Self::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The status of a refusal (RFC 9725 §4.2, §4.3).
const fn refused(refusal: &webrtc::Refusal) -> StatusCode {
    use webrtc::Refusal;
    match refusal {
        Refusal::Unknown | Refusal::NotLive | Refusal::NoRendition => StatusCode::NOT_FOUND,
        Refusal::Offer(_) => StatusCode::BAD_REQUEST,
        Refusal::NothingInCommon(_) => StatusCode::NOT_ACCEPTABLE,
        Refusal::Stale => StatusCode::PRECONDITION_FAILED,
        Refusal::Unconditional => StatusCode::PRECONDITION_REQUIRED,
        Refusal::Denied(_) => StatusCode::UNAUTHORIZED,
        Refusal::Hasty => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Busy(_) | Refusal::Crowded | Refusal::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
