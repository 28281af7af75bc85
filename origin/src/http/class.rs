//! The one table from resource class to Content-Type, Cache-Control and ETag rules (DESIGN §7,
//! conformance HT-01…HT-03, HT-05, HT-18). No other module writes these headers.

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
    /// HLS multivariant playlist.
    Multivariant,
    /// HLS media playlist, plain or with ENDLIST.
    Playlist,
    /// DASH manifest.
    Manifest,
    /// Init segment, segment or part that is complete, of a picture.
    Video,
    /// Init segment, segment or part that is complete, of sound.
    Audio,
}

/// How a class is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Content-Type; `None` where it follows from the file's name.
    pub(super) content_type: Option<&'static str>,
    /// Cache-Control of a 200, 206 or 304.
    pub(super) cache_control: &'static str,
    /// Whether the answer has a strong ETag and may be a 304.
    pub(super) etag: bool,
    /// Whether it is text that is sent compressed where the client can read that.
    pub(super) gzip: bool,
    /// Whether single ranges are served.
    pub(super) ranges: bool,
}

/// One content for ever: the name is never used twice.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

impl Class {
    /// The row of this class.
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::Page => text("text/html; charset=utf-8", "no-cache"),
            Self::Asset => Rule { content_type: None, ..text("", IMMUTABLE) },
            Self::File => Rule { content_type: None, ..text("", "max-age=60") },
            Self::Time => Rule { etag: false, gzip: false, ..text("text/plain", "no-store") },
            Self::Beacon => Rule { etag: false, gzip: false, ..text("text/plain", "no-store") },
            Self::Status => text("application/json", "max-age=1"),
            Self::Multivariant => text("application/vnd.apple.mpegurl", "max-age=30"),
            Self::Playlist => text("application/vnd.apple.mpegurl", "max-age=1"),
            Self::Manifest => text("application/dash+xml", "max-age=1"),
            Self::Video => media("video/mp4"),
            Self::Audio => media("audio/mp4"),
        }
    }

    /// The class as a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Asset | Self::File => "asset",
            Self::Time => "time",
            Self::Beacon => "beacon",
            Self::Status => "status",
            Self::Multivariant => "multivariant",
            Self::Playlist => "playlist",
            Self::Manifest => "manifest",
            Self::Video | Self::Audio => "media",
        }
    }
}

const fn text(content_type: &'static str, cache_control: &'static str) -> Rule {
    Rule { content_type: Some(content_type), cache_control, etag: true, gzip: true, ranges: false }
}

const fn media(content_type: &'static str) -> Rule {
    Rule {
        content_type: Some(content_type),
        cache_control: IMMUTABLE,
        etag: true,
        gzip: false,
        ranges: true,
    }
}

/// Cache-Control of an answer without the resource.
pub(super) const fn error_cache_control(error: &Error) -> &'static str {
    match error {
        // It may come at any moment: nobody may remember that it was not there.
        Error::NotYet | Error::ShuttingDown | Error::Interrupted => "no-store",
        // It never comes (back), but a mistake of an operator should not be remembered for long.
        Error::Gone | Error::NoRoute | Error::Method | Error::UriTooLong => "max-age=10",
        Error::Range { .. }
        | Error::BeaconMethod
        | Error::Media
        | Error::Report(_)
        | Error::Slow
        | Error::TooLarge
        | Error::TooMany => "no-store",
        Error::Read(_) => "max-age=1",
    }
}
