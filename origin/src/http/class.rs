//! The one table from resource class to Content-Type, Cache-Control and ETag rules (conformance
//! HT-01…HT-03, HT-05, HT-18). No other module writes these headers.

use axum::http::HeaderValue;
use packager::timeline::NoExcerpt;

use super::error::Error;

/// What kind of resource is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// A page of the player.
    Page,
    /// A file of the player's build whose name holds a hash of its content.
    Asset,
    /// A file of the player's build that keeps its name.
    File,
    /// The clock.
    Time,
    /// The list of channels, and a channel's state.
    Status,
    /// What viewers report.
    Beacon,
    /// Offers and answers of WebRTC.
    Signal,
    /// HLS multivariant playlist.
    Multivariant,
    /// HLS media playlist, plain, late or with ENDLIST.
    Playlist,
    /// HLS media playlist that is answered because what was asked for has just appeared in it; with
    /// TARGETDURATION in seconds. Every answer of its URL holds that.
    Appeared {
        /// Seconds.
        target: u32,
    },
    /// DASH manifest.
    Manifest,
    /// A playlist or manifest of what has both its ends and never changes.
    Whole {
        /// Whether it is DASH's.
        manifest: bool,
        /// For how long it may be kept.
        seconds: u32,
    },
    /// Init segment, segment or part that is complete, of a picture.
    Video,
    /// Init segment, segment or part that is complete, of sound.
    Audio,
    /// A still of a segment that is complete.
    Still,
}

/// How a class is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Content-Type; `None` where it follows from the file's name.
    pub(super) content_type: Option<&'static str>,
    /// Cache-Control of a 200, 206 or 304.
    pub(super) cache_control: CacheControl,
    /// Whether the answer has a strong ETag and may be a 304.
    pub(super) etag: bool,
    /// Whether it is text that is sent compressed where the client can read that.
    pub(super) gzip: bool,
    /// Whether single ranges are served.
    pub(super) ranges: bool,
}

/// For how long an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheControl {
    /// What the class says.
    Fixed(&'static str),
    /// A number of seconds.
    Seconds(u32),
}

impl CacheControl {
    /// The header's value.
    pub(super) fn value(self) -> HeaderValue {
        match self {
            Self::Fixed(value) => HeaderValue::from_static(value),
            Self::Seconds(seconds) => HeaderValue::from_str(&format!("max-age={seconds}"))
                .unwrap_or(HeaderValue::from_static("no-store")),
        }
    }
}

/// Target durations for which an answer that holds what was asked for may be kept: as long as a
/// player could still ask for it (RFC 8216bis B.1).
const APPEARED_TARGETS: u32 = 6;

/// One content for ever: the name is never used twice.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MANIFEST: &str = "application/dash+xml";

impl Class {
    /// The row of this class.
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::Page => text("text/html; charset=utf-8", "no-cache"),
            Self::Asset => Rule { content_type: None, ..text("", IMMUTABLE) },
            Self::File => Rule { content_type: None, ..text("", "max-age=60") },
            Self::Time => Rule { etag: false, gzip: false, ..text("text/plain", "no-store") },
            Self::Beacon | Self::Signal => {
                Rule { etag: false, gzip: false, ..text("text/plain", "no-store") }
            }
            Self::Status => text("application/json", "max-age=1"),
            Self::Multivariant => text(PLAYLIST, "max-age=30"),
            Self::Playlist => text(PLAYLIST, "max-age=1"),
            Self::Appeared { target } => Rule {
                cache_control: CacheControl::Seconds(target.saturating_mul(APPEARED_TARGETS)),
                ..text(PLAYLIST, "")
            },
            Self::Manifest => text(MANIFEST, "max-age=1"),
            Self::Whole { manifest, seconds } => Rule {
                cache_control: CacheControl::Seconds(seconds),
                ..text(if manifest { MANIFEST } else { PLAYLIST }, "")
            },
            Self::Video => media("video/mp4"),
            Self::Audio => media("audio/mp4"),
            Self::Still => media("image/jpeg"),
        }
    }

    /// The class as a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Asset | Self::File => "asset",
            Self::Time => "time",
            Self::Beacon => "beacon",
            Self::Signal => "signal",
            Self::Status => "status",
            Self::Multivariant => "multivariant",
            Self::Playlist | Self::Appeared { .. } => "playlist",
            Self::Manifest => "manifest",
            Self::Whole { .. } => "whole",
            Self::Video | Self::Audio => "media",
            Self::Still => "still",
        }
    }
}

const fn text(content_type: &'static str, cache_control: &'static str) -> Rule {
    Rule {
        content_type: Some(content_type),
        cache_control: CacheControl::Fixed(cache_control),
        etag: true,
        gzip: true,
        ranges: false,
    }
}

const fn media(content_type: &'static str) -> Rule {
    Rule {
        content_type: Some(content_type),
        cache_control: CacheControl::Fixed(IMMUTABLE),
        etag: true,
        gzip: false,
        ranges: true,
    }
}

/// Cache-Control of an answer without the resource.
pub(super) const fn error_cache_control(error: &Error) -> &'static str {
    match error {
        // It may come at any moment: nobody may remember that it was not there.
        Error::NotYet | Error::ShuttingDown | Error::Interrupted | Error::Crowded => "no-store",
        // It never comes (back), but a mistake of an operator should not be remembered for long.
        Error::Gone | Error::NoRoute | Error::NoChannel | Error::Method | Error::UriTooLong => {
            "max-age=10"
        }
        Error::Excerpt(NoExcerpt::Gone | NoExcerpt::Nothing) => "max-age=10",
        // What is too far ahead now is not in a moment.
        Error::Range { .. }
        | Error::Directives(_)
        | Error::Instant
        | Error::TooLong
        | Error::Excerpt(_)
        | Error::Far
        | Error::NoStill
        | Error::Stalled
        | Error::BeaconMethod
        | Error::SignalMethod { .. }
        | Error::SignalMedia(_)
        | Error::NoText
        | Error::NoWebRtc
        | Error::WebRtc(_)
        | Error::Media
        | Error::Report(_)
        | Error::Slow
        | Error::TooLarge
        | Error::TooMany => "no-store",
        Error::Read(_) => "max-age=1",
    }
}
