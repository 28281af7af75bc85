//! What a path asks for: a pure function from text to [`Route`].
//!
//! The grammar is the public contract (README, "Use it"; infra/API.md). A number has one spelling and a
//! name one alphabet, so that a resource has exactly one URL: what is written in another way
//! (percent-encoded, with leading zeros, with a trailing slash) is no route. Whether the resource
//! exists is not decided here, and the query is another module's (`reload`).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use packager::dash::KEY_FRAMES;
use packager::media::{Name, RunId, STILLS};
use packager::time::{Rounding, Timescale, parse_iso};

use super::excerpts::Ends;

/// Names that later capabilities use in a rendition's place.
const RESERVED: [&str; 6] = ["from", "to", "time", "vod", "whip", "whep"];

/// Folders an asset of the player may lie in, itself included: the build has two.
const MAX_ASSET_DEPTH: usize = 4;

/// Characters of a session's name: ours have 32.
const MAX_SESSION: usize = 64;

/// Longest number in decimal that surely fits 64 bits.
const MAX_DIGITS: usize = 19;

/// Longest number of seconds: until the year 5138.
const MAX_SECONDS_DIGITS: usize = 11;

/// A resource of the HTTP origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The start page.
    Start,
    /// The page that plays a channel.
    Watch(Name),
    /// The page that publishes to a channel from a camera.
    Publish(Name),
    /// A file of the player's build, by its path below the build folder.
    Asset(String),
    /// The clock that players synchronise with.
    Time,
    /// The time of a channel whose clock is ahead of the origin's.
    ChannelTime(Name),
    /// All channels with their states.
    ChannelList,
    /// A channel's public state.
    Status(Name),
    /// Where viewers of a channel report.
    Beacon(Name),
    /// Where previews by WebRTC begin, or one that goes on.
    Signal(Signal),
    /// A playlist or manifest of a channel.
    Live(Name, Sheet),
    /// The same of an excerpt of it.
    Excerpt(Name, Ends, Sheet),
    /// A playlist or manifest of an asset.
    Vod(Name, Sheet),
    /// A path that would be one of an excerpt, but for its instants.
    NoInstant,
    /// Init segment, segment or part.
    Media(Media),
}

/// Which way media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To a viewer: WHEP.
    Watch,
    /// From a publisher: WHIP.
    Publish,
}

/// Where offers of WebRTC go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    /// What for.
    pub(super) purpose: Purpose,
    /// The channel.
    pub(super) channel: Name,
    /// The session that is meant; `None`: one is to begin.
    pub(super) session: Option<String>,
}

/// A playlist or manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sheet {
    /// HLS multivariant playlist.
    Multivariant,
    /// DASH manifest.
    Manifest,
    /// HLS media playlist of a rendition.
    Playlist(Name),
    /// HLS I-frame playlist of a rendition.
    KeyFrames(Name),
    /// HLS image playlist of a rendition.
    Images(Name),
}

/// Where an immutable piece of media lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// The channel.
    pub(super) channel: Name,
    /// The run.
    pub(super) run: RunId,
    /// The rendition.
    pub(super) rendition: Name,
    /// Which piece.
    pub(super) piece: Piece,
}

/// A piece of media of one rendition in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The init segment.
    Init,
    /// Segment `k`.
    Segment {
        /// Its number.
        k: u64,
    },
    /// Part `n` of segment `k`.
    Part {
        /// Number of the segment.
        k: u64,
        /// Position of the part in it, from zero.
        n: u32,
    },
    /// The key frame of segment `k` alone.
    KeyFrame {
        /// Number of the segment.
        k: u64,
    },
    /// The same as a JPEG.
    Still {
        /// Number of the segment.
        k: u64,
    },
}

impl Piece {
    /// Whether it is made of a segment when it is asked for.
    pub(super) const fn is_made(self) -> bool {
        matches!(self, Self::KeyFrame { .. } | Self::Still { .. })
    }
}

impl Route {
    /// The route of a request path; `None` if there is no such resource.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        // More segments than any route has are as good as none.
        let mut segments = [""; 8];
        let mut count = 0usize;
        for segment in path.split('/') {
            *segments.get_mut(count)? = segment;
            count = count.saturating_add(1);
        }
        match segments.get(..count)? {
            [""] => Some(Self::Start),
            ["time"] => Some(Self::Time),
            ["channels.json"] => Some(Self::ChannelList),
            ["favicon.svg"] => Some(Self::Asset("favicon.svg".to_owned())),
            ["publish", channel] => Some(Self::Publish(name(channel)?)),
            ["watch", channel] => Some(Self::Watch(name(channel)?)),
            ["assets", rest @ ..] => asset(rest).then(|| Self::Asset(path.to_owned())),
            ["vod", asset, rest @ ..] => Some(Self::Vod(name(asset)?, sheet(rest)?)),
            ["live", channel, "from", from, "to", to, rest @ ..] => {
                excerpt(channel, from, Some(to), rest)
            }
            ["live", channel, "from", from, rest @ ..] => excerpt(channel, from, None, rest),
            ["live", channel, "time"] => Some(Self::ChannelTime(name(channel)?)),
            ["live", channel, "cmcd"] => Some(Self::Beacon(name(channel)?)),
            ["live", channel, door @ ("whep" | "whip")] => {
                let (purpose, channel) = (purpose(door), name(channel)?);
                Some(Self::Signal(Signal { purpose, channel, session: None }))
            }
            ["live", channel, door @ ("whep" | "whip"), session] => {
                let fit = session.len() <= MAX_SESSION
                    && session.bytes().all(|byte| byte.is_ascii_alphanumeric());
                let session = (fit && !session.is_empty()).then(|| (*session).to_owned());
                let (purpose, channel) = (purpose(door), name(channel)?);
                Some(Self::Signal(Signal { purpose, channel, session: Some(session?) }))
            }
            ["live", channel, "status.json"] => Some(Self::Status(name(channel)?)),
            ["live", channel, run, folder, file] => {
                let (rendition, piece) = match folder.find('.').map(|dot| folder.split_at(dot)) {
                    Some((rendition, KEY_FRAMES)) => (rendition, key_frame(file)?),
                    Some((rendition, STILLS)) => (rendition, still(file)?),
                    _ => (*folder, piece(file)?),
                };
                Some(Self::Media(Media {
                    channel: name(channel)?,
                    run: RunId::parse(run)?,
                    rendition: rendition_name(rendition)?,
                    piece,
                }))
            }
            ["live", channel, rest @ ..] => Some(Self::Live(name(channel)?, sheet(rest)?)),
            _ => None,
        }
    }
}

fn purpose(door: &str) -> Purpose {
    if door == "whip" { Purpose::Publish } else { Purpose::Watch }
}

/// What of the manifests below a folder.
fn sheet(rest: &[&str]) -> Option<Sheet> {
    match rest {
        ["index.m3u8"] => Some(Sheet::Multivariant),
        ["manifest.mpd"] => Some(Sheet::Manifest),
        [rendition, "index.m3u8"] => Some(Sheet::Playlist(rendition_name(rendition)?)),
        [rendition, "iframes.m3u8"] => Some(Sheet::KeyFrames(rendition_name(rendition)?)),
        [rendition, "images.m3u8"] => Some(Sheet::Images(rendition_name(rendition)?)),
        _ => None,
    }
}

fn excerpt(channel: &str, from: &str, to: Option<&str>, rest: &[&str]) -> Option<Route> {
    let (channel, sheet) = (name(channel)?, sheet(rest)?);
    let (from, to) = (instant(from), to.map(instant));
    Some(match (from, to) {
        (Some(from), None) => Route::Excerpt(channel, Ends { from, to: None }, sheet),
        (Some(from), Some(Some(to))) => Route::Excerpt(channel, Ends { from, to: Some(to) }, sheet),
        _ => Route::NoInstant,
    })
}

/// An instant in milliseconds since the epoch: seconds since then, or a date in UTC.
fn instant(text: &str) -> Option<i64> {
    if text.len() <= MAX_SECONDS_DIGITS
        && let Some(seconds) = number(text)
    {
        return i64::try_from(seconds).ok()?.checked_mul(1_000);
    }
    Some(parse_iso(text)?.ticks_in(Timescale::MILLIS, Rounding::Floor))
}

fn name(text: &str) -> Option<Name> {
    Name::parse(text).ok()
}

fn rendition_name(text: &str) -> Option<Name> {
    if RESERVED.contains(&text) { None } else { name(text) }
}

fn piece(file: &str) -> Option<Piece> {
    if file == "init.mp4" {
        return Some(Piece::Init);
    }
    let stem = file.strip_suffix(".m4s")?;
    match stem.split_once('.') {
        None => Some(Piece::Segment { k: number(stem)? }),
        Some((k, n)) => Some(Piece::Part { k: number(k)?, n: number(n)?.try_into().ok()? }),
    }
}

/// A file in the folder of a rendition's key frames: each is a segment, and the init segment is the
/// rendition's.
fn key_frame(file: &str) -> Option<Piece> {
    match piece(file)? {
        Piece::Segment { k } => Some(Piece::KeyFrame { k }),
        Piece::Init => Some(Piece::Init),
        Piece::Part { .. } | Piece::KeyFrame { .. } | Piece::Still { .. } => None,
    }
}

/// A file in the folder of a rendition's stills.
fn still(file: &str) -> Option<Piece> {
    Some(Piece::Still { k: number(file.strip_suffix(".jpg")?)? })
}

/// A decimal number in its one spelling: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let canonical = text.len() <= MAX_DIGITS
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Whether these segments can name a file of the build: none is hidden, none leads upwards.
fn asset(segments: &[&str]) -> bool {
    let plain = |segment: &&str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    (1..=MAX_ASSET_DEPTH).contains(&segments.len()) && segments.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: &str = "0199aabbccd";

    fn media(piece: Piece) -> Option<Route> {
        Some(Route::Media(Media {
            channel: Name::parse("demo").unwrap(),
            run: RunId::parse(RUN).unwrap(),
            rendition: Name::parse("720p").unwrap(),
            piece,
        }))
    }

    #[test]
    fn reads_every_url_of_the_contract() {
        let demo = || Name::parse("demo").unwrap();
        let rendition = Name::parse("720p").unwrap();
        let live = |sheet| Some(Route::Live(demo(), sheet));
        let from = |to, sheet| {
            let from = 1_795_633_201_000;
            Some(Route::Excerpt(demo(), Ends { from, to }, sheet))
        };
        let cases = [
            ("/", Some(Route::Start)),
            ("/watch/demo", Some(Route::Watch(demo()))),
            ("/publish/demo", Some(Route::Publish(demo()))),
            (
                "/live/demo/whip/aB3",
                Some(Route::Signal(Signal {
                    purpose: Purpose::Publish,
                    channel: demo(),
                    session: Some("aB3".into()),
                })),
            ),
            ("/time", Some(Route::Time)),
            ("/live/news/time", name("news").map(Route::ChannelTime)),
            ("/channels.json", Some(Route::ChannelList)),
            ("/assets/index-4f.js", Some(Route::Asset("assets/index-4f.js".into()))),
            ("/live/demo/index.m3u8", live(Sheet::Multivariant)),
            ("/live/demo/manifest.mpd", live(Sheet::Manifest)),
            ("/live/demo/status.json", Some(Route::Status(demo()))),
            (
                "/live/demo/whep",
                Some(Route::Signal(Signal {
                    purpose: Purpose::Watch,
                    channel: demo(),
                    session: None,
                })),
            ),
            (
                "/live/demo/whep/aB3",
                Some(Route::Signal(Signal {
                    purpose: Purpose::Watch,
                    channel: demo(),
                    session: Some("aB3".into()),
                })),
            ),
            ("/live/demo/720p/iframes.m3u8", live(Sheet::KeyFrames(rendition.clone()))),
            ("/live/demo/720p/index.m3u8", live(Sheet::Playlist(rendition.clone()))),
            ("/live/demo/from/1795633201/index.m3u8", from(None, Sheet::Multivariant)),
            ("/live/demo/from/2026-11-25T19:00:01Z/manifest.mpd", from(None, Sheet::Manifest)),
            (
                "/live/demo/from/1795633201/720p/iframes.m3u8",
                from(None, Sheet::KeyFrames(rendition.clone())),
            ),
            (
                "/live/demo/from/1795633201/to/2026-11-25T19:00:02.500Z/manifest.mpd",
                from(Some(1_795_633_202_500), Sheet::Manifest),
            ),
            (
                "/live/demo/from/1795633201/to/1795633202/720p/index.m3u8",
                from(Some(1_795_633_202_000), Sheet::Playlist(rendition)),
            ),
            ("/vod/demo/index.m3u8", Some(Route::Vod(demo(), Sheet::Multivariant))),
            ("/vod/demo/manifest.mpd", Some(Route::Vod(demo(), Sheet::Manifest))),
            (
                "/vod/demo/audio/index.m3u8",
                name("audio").map(|n| Route::Vod(demo(), Sheet::Playlist(n))),
            ),
            ("/live/demo/from/yesterday/index.m3u8", Some(Route::NoInstant)),
            ("/live/demo/from/1795633201/to/now/manifest.mpd", Some(Route::NoInstant)),
            ("/live/demo/from/-1/manifest.mpd", Some(Route::NoInstant)),
            ("/live/demo/from/01/manifest.mpd", Some(Route::NoInstant)),
            ("/live/demo/from/179563320100/manifest.mpd", Some(Route::NoInstant)),
            ("/live/demo/0199aabbccd/720p/init.mp4", media(Piece::Init)),
            (
                "/live/demo/0199aabbccd/720p/1100000000.m4s",
                media(Piece::Segment { k: 1_100_000_000 }),
            ),
            ("/live/demo/0199aabbccd/720p/7.0.m4s", media(Piece::Part { k: 7, n: 0 })),
            ("/live/demo/0199aabbccd/720p.keys/7.m4s", media(Piece::KeyFrame { k: 7 })),
            ("/live/demo/0199aabbccd/720p.keys/init.mp4", media(Piece::Init)),
            ("/live/demo/0199aabbccd/720p.stills/7.jpg", media(Piece::Still { k: 7 })),
            ("/live/demo/0199aabbccd/720p.stills/7.m4s", None),
            ("/live/demo/0199aabbccd/720p.stills/07.jpg", None),
            ("/live/demo/0199aabbccd/720p/7.jpg", None),
            ("/live/demo/720p/images.m3u8", name("720p").and_then(|n| live(Sheet::Images(n)))),
        ];
        for (path, route) in cases {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }

    #[test]
    fn knows_no_second_spelling_of_a_url() {
        for path in [
            "",
            "//",
            "/live/demo/index.m3u8/",
            "/live//index.m3u8",
            "/live/de%6do/index.m3u8",
            "/live/../index.m3u8",
            "/live/demo/vod/index.m3u8",
            "/live/demo/whep/",
            "/live/demo/whep/a-b",
            "/live/demo/from/index.m3u8",
            "/live/demo/from/1795633201/index.m3u8/",
            "/live/demo/from/1795633201/to/index.m3u8",
            "/live/demo/from/1795633201/to/1795633202/to/index.m3u8",
            "/live/demo/from/1795633201/0199aabbccd/720p/7.m4s",
            "/live/demo/0199AABBCCD/720p/init.mp4",
            "/live/demo/0199aabbccd/720p/07.m4s",
            "/live/demo/0199aabbccd/720p/+7.m4s",
            "/live/demo/0199aabbccd/720p/7.00.m4s",
            "/live/demo/0199aabbccd/720p/7.4294967296.m4s",
            "/live/demo/0199aabbccd/720p/99999999999999999999.m4s",
            "/live/demo/0199aabbccd/720p/.m4s",
            "/live/demo/0199aabbccd/720p/7.1.2.m4s",
            "/live/demo/0199aabbccd/720p/7.m4s/x",
            "/live/demo/0199aabbccd/720p.keys/7.0.m4s",
            "/live/demo/0199aabbccd/720p.keys/07.m4s",
            "/live/demo/0199aabbccd/.keys/7.m4s",
            "/live/demo/0199aabbccd/720p.keys.keys/7.m4s",
            "/assets/",
            "/assets/../index.html",
            "/assets/.env",
            "/assets/a/b/c/d/e",
            "/Watch/demo",
        ] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_text_without_a_panic(path in ".{0,300}") {
            let _ = Route::parse(&path);
        }

        #[test]
        fn takes_any_near_miss_without_a_panic(
            path in "/(live|watch|assets)(/([a-z0-9.%-]{0,5}|0199aabbccd|720p|from|to)){0,8}(/|\\.m4s|init.mp4)?"
        ) {
            let _ = Route::parse(&path);
        }

        #[test]
        fn reads_back_every_media_path(k in 0..=9_999_999_999_999_999_999u64, n: u32) {
            let path = format!("/live/demo/{RUN}/720p/{k}.{n}.m4s");
            prop_assert_eq!(Route::parse(&path), media(Piece::Part { k, n }));
        }
    }
}
