//! Rules for answers: rows HT-*, HM-15 and DM-04, as far as one answer can show them.
//!
//! What a resource is, is told from its path alone, as caches and players do.

use super::{Findings, Violation, date_nanos};
use crate::client::Response;

pub mod asked;

/// A class of resources (one table of the origin maps each to its headers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Multivariant,
    Playlist,
    Manifest,
    Video,
    Audio,
    Time,
    Status,
}

impl Class {
    /// The class of a path such as `/live/{channel}/{run}/{rendition}/{k}.m4s`.
    fn of(path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or(path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            ["time"] => Some(Self::Time),
            ["live", _, "index.m3u8"] => Some(Self::Multivariant),
            ["live", _, _, "index.m3u8" | "iframes.m3u8"] => Some(Self::Playlist),
            ["live", _, "manifest.mpd"] => Some(Self::Manifest),
            ["live", _, "status.json"] => Some(Self::Status),
            ["live", _, _, "audio", _] => Some(Self::Audio),
            ["live", _, _, _, _] => Some(Self::Video),
            _ => None,
        }
    }

    fn is_media(self) -> bool {
        matches!(self, Self::Video | Self::Audio)
    }

    fn is_manifest(self) -> bool {
        matches!(self, Self::Multivariant | Self::Playlist | Self::Manifest)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Multivariant | Self::Playlist => "application/vnd.apple.mpegurl",
            Self::Manifest => "application/dash+xml",
            Self::Video => "video/mp4",
            Self::Audio => "audio/mp4",
            Self::Time => "text/plain",
            Self::Status => "application/json",
        }
    }

    fn cache_control(self) -> &'static str {
        match self {
            Self::Multivariant => "max-age=30",
            Self::Playlist | Self::Manifest | Self::Status => "max-age=1",
            Self::Video | Self::Audio => "public, max-age=31536000, immutable",
            Self::Time => "no-store",
        }
    }
}

/// Judges an answer of status 200 to a request without header fields (HT-01 to HT-05, HT-07, HT-08), or
/// one that should have been one (HM-15, HT-17).
pub fn check(path: &str, answer: &Response) -> Vec<Violation> {
    let mut findings = Findings::default();
    let Some(class) = Class::of(path) else { return findings.0 };
    let header = |name: &str| answer.header(name).unwrap_or("");
    let moved = (300..400).contains(&answer.status) && answer.status != 304;
    for row in ["HM-15", "HT-17"] {
        findings.expect(row, !moved && answer.header("location").is_none(), || {
            format!("status {} to {:?}", answer.status, header("location"))
        });
    }
    let open = header("access-control-allow-origin");
    findings.expect("HT-04", open == "*", || format!("Access-Control-Allow-Origin {open:?}"));
    findings.expect("HT-07", answer.header("date").is_some(), || "no Date".to_owned());
    if answer.status != 200 {
        return findings.0;
    }
    let kind = header("content-type");
    findings.expect("HT-01", kind.starts_with(class.content_type()), || {
        format!("Content-Type {kind:?}, not {:?}", class.content_type())
    });
    if class.is_media() {
        let encoding = header("content-encoding");
        findings.expect("HT-02", encoding.is_empty(), || format!("media is {encoding}"));
        let tag = header("etag");
        // An open segment has neither length nor tag.
        let open = header("transfer-encoding").contains("chunked");
        findings.expect("HT-05", open != (tag.starts_with('"') && tag.len() > 2), || {
            format!("the ETag {tag:?} is not strong, or of an open segment")
        });
        let unbuffered = header("x-accel-buffering") == "no";
        findings.expect("HT-08", open == unbuffered, || {
            format!("in chunks: {open}, to be passed on at once: {unbuffered}")
        });
    }
    if class.is_manifest() {
        let vary = header("vary");
        findings.expect("HT-02", vary.contains("Accept-Encoding"), || format!("Vary {vary:?}"));
        let ranges = header("accept-ranges");
        findings.expect("HT-02", ranges == "none", || format!("Accept-Ranges {ranges:?}"));
    }
    let cache = header("cache-control");
    findings.expect("HT-03", cache == class.cache_control(), || {
        format!("Cache-Control {cache:?}, not {:?}", class.cache_control())
    });
    findings.0
}

/// Judges an error (HT-18): who may keep it, and for how long.
pub fn check_error(answer: &Response) -> Vec<Violation> {
    let mut findings = Findings::default();
    let cache = answer.header("cache-control").unwrap_or("");
    let allowed: &[&str] = match answer.status {
        404 => &["no-store", "max-age=10"],
        400 | 503 => &["no-store"],
        500.. => &["max-age=1", "no-store"],
        _ => return findings.0,
    };
    findings.expect("HT-18", allowed.contains(&cache), || {
        format!("status {} with Cache-Control {cache:?}", answer.status)
    });
    findings.0
}

/// Judges the clock for players (DM-04), which was asked and answered between two moments, in
/// milliseconds since the epoch, of a clock that may be off by `tolerance_ms`.
pub fn check_time(
    answer: &Response,
    asked_ms: u64,
    answered_ms: u64,
    tolerance_ms: u64,
) -> Vec<Violation> {
    let mut findings = Findings::default();
    let row = "DM-04";
    let header = |name: &str| answer.header(name).unwrap_or("");
    let cache = header("cache-control");
    findings.expect(row, cache == "no-store", || format!("Cache-Control {cache:?}"));
    let open = header("access-control-allow-origin");
    findings.expect(row, open == "*", || format!("Access-Control-Allow-Origin {open:?}"));
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim();
    findings.expect(row, text.contains('.'), || format!("no fraction of a second in {text}"));
    let within = asked_ms.saturating_sub(tolerance_ms)..=answered_ms + tolerance_ms;
    let fresh = date_nanos(text).is_some_and(|nanos| within.contains(&(nanos / 1_000_000)));
    findings.expect(row, fresh, || format!("{text} was asked for within {within:?}"));
    findings.0
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rules::proof::{assert_clean, assert_finds};

    const LIST: &str = "/live/a/96p/index.m3u8";
    const SEGMENT: &str = "/live/a/1a2/96p/7.m4s";
    const OPEN: &str = "/live/a/1a2/96p/8.m4s";

    fn answer(headers: &[(&str, &str)]) -> Response {
        let common =
            [("date", "Wed, 25 Nov 2026 22:00:00 GMT"), ("access-control-allow-origin", "*")];
        let headers = common.iter().chain(headers);
        let headers = headers.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Response { status: 200, headers, body: Bytes::new() }
    }

    fn list() -> Response {
        answer(&[
            ("content-type", "application/vnd.apple.mpegurl"),
            ("cache-control", "max-age=1"),
            ("vary", "Accept-Encoding"),
            ("accept-ranges", "none"),
            ("etag", "\"1\""),
        ])
    }

    fn segment() -> Response {
        answer(&[
            ("content-type", "video/mp4"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("etag", "\"1\""),
        ])
    }

    fn open() -> Response {
        answer(&[
            ("content-type", "video/mp4"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("transfer-encoding", "chunked"),
            ("x-accel-buffering", "no"),
        ])
    }

    fn with(mut answer: Response, name: &str, value: &str) -> Response {
        answer.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    #[test]
    fn one_planted_fault_in_a_good_answer_is_one_row() {
        assert_eq!(check(LIST, &list()), []);
        assert_eq!(check(SEGMENT, &segment()), []);
        assert_eq!(check(OPEN, &open()), []);
        for (row, path, bad) in [
            ("HT-01", LIST, with(list(), "content-type", "text/plain")),
            ("HT-01", SEGMENT, with(segment(), "content-type", "audio/mp4")),
            ("HT-02", LIST, with(list(), "vary", "")),
            ("HT-02", LIST, with(list(), "accept-ranges", "bytes")),
            ("HT-02", SEGMENT, with(segment(), "content-encoding", "gzip")),
            ("HT-03", LIST, with(list(), "cache-control", "max-age=10")),
            ("HT-03", SEGMENT, with(segment(), "cache-control", "no-store")),
            ("HT-04", LIST, with(list(), "access-control-allow-origin", "")),
            ("HT-05", SEGMENT, with(segment(), "etag", "W/\"1\"")),
            ("HT-05", OPEN, with(open(), "etag", "\"1\"")),
            ("HT-08", OPEN, with(open(), "x-accel-buffering", "")),
            ("HT-07", LIST, with(list(), "date", "")),
            ("HT-17", SEGMENT, with(segment(), "location", "/elsewhere")),
        ] {
            let found = check(path, &bad);
            assert_finds(row, &found);
            for other in found.iter().filter(|v| v.row != row) {
                assert_eq!((row, other.row), ("HT-17", "HM-15"), "{found:?}");
            }
        }
    }

    #[test]
    fn a_redirect_and_an_error_that_is_kept_are_found() {
        let moved = Response { status: 302, ..with(list(), "location", "/x") };
        assert_finds("HM-15", &check(LIST, &moved));
        for (status, cache, is_good) in [
            (404, "no-store", true),
            (404, "max-age=10", true),
            (404, "max-age=60", false),
            (503, "no-store", true),
            (503, "max-age=1", false),
            (500, "max-age=1", true),
            (500, "", false),
        ] {
            let error = Response { status, ..with(list(), "cache-control", cache) };
            let found = check_error(&error);
            assert_eq!(found.is_empty(), is_good, "{status} {cache}: {found:?}");
        }
    }

    #[test]
    fn a_clock_that_is_kept_closed_coarse_or_wrong_is_found() {
        const NOW: u64 = 1_795_633_201_600;
        let clock = |text: &'static str| Response {
            body: Bytes::from_static(text.as_bytes()),
            ..answer(&[("cache-control", "no-store")])
        };
        let good = clock("2026-11-25T19:00:01.600Z");
        assert_clean("DM-04", &check_time(&good, NOW, NOW + 5, 50));
        for bad in [
            with(good.clone(), "cache-control", "max-age=1"),
            with(good.clone(), "access-control-allow-origin", ""),
            clock("2026-11-25T19:00:01Z"),
            clock("2026-11-25T19:00:02.600Z"),
            clock("now"),
        ] {
            assert_finds("DM-04", &check_time(&bad, NOW, NOW + 5, 50));
        }
    }
}
