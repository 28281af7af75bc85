//! What a request's headers ask for: encoding, condition and range (RFC 9110 §12.5.3, §13, §14).
//! Pure functions; a header that makes no sense is as good as none.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::ops::Range;

use axum::http::header::{ACCEPT_ENCODING, HOST, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use bytes::Bytes;

/// The headers that decide how a resource is answered.
const ASKING: [HeaderName; 5] = [ACCEPT_ENCODING, HOST, IF_NONE_MATCH, IF_RANGE, RANGE];

/// What decides the answer to a request, in memory of its own: the request lies in the connection's
/// buffer and keeps all of it, for as long as it waits.
pub(super) fn kept<B>(request: Request<B>) -> (Method, Uri, HeaderMap) {
    let (request, _) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in ASKING {
        for value in request.headers.get_all(&name) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name.clone(), value);
            }
        }
    }
    let path =
        request.uri.path_and_query().map(|path| Bytes::copy_from_slice(path.as_str().as_bytes()));
    let path = path.and_then(|path| PathAndQuery::from_maybe_shared(path).ok());
    (request.method, path.map_or_else(Uri::default, Uri::from), headers)
}

/// Whether the client reads gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for coding in values(headers, &ACCEPT_ENCODING) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let wanted = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
        let wanted = wanted.is_none_or(|q| q > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                return wanted;
            }
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

/// Whether the client has this version already.
pub(super) fn not_modified(headers: &HeaderMap, etag: &str) -> bool {
    values(headers, &IF_NONE_MATCH)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// What part of a resource is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes it does not have.
    Unsatisfiable,
}

/// The range a request wants of `len` bytes. Several ranges are answered with the whole: no player
/// asks for them, and multipart answers would be a second way to say the same.
pub(super) fn range(headers: &HeaderMap, len: u64, etag: &str) -> Wanted {
    let Some(value) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Wanted::Whole;
    };
    // A condition that does not hold (a date never does: we send none) asks for the whole.
    if headers.get(IF_RANGE).is_some_and(|condition| condition.as_bytes() != etag.as_bytes()) {
        return Wanted::Whole;
    }
    parse_range(value, len).unwrap_or(Wanted::Whole)
}

/// The range a request wants, if it says where it ends: what can be answered before the resource's
/// length is known.
pub(super) fn closed_range(headers: &HeaderMap) -> Option<Range<u64>> {
    // An open segment has no tag that a condition could hold for.
    if headers.contains_key(IF_RANGE) {
        return None;
    }
    let spec = headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim();
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (number(first)??, number(last)??);
    (first <= last).then(|| first..last.saturating_add(1))
}

fn parse_range(value: &str, len: u64) -> Option<Wanted> {
    let spec = value.strip_prefix("bytes=")?.trim();
    if spec.contains(',') {
        return None;
    }
    let (first, last) = spec.split_once('-')?;
    let bytes = match (number(first)?, number(last)?) {
        (None, None) => return None,
        // The last so many bytes.
        (None, Some(0)) => return Some(Wanted::Unsatisfiable),
        (None, Some(suffix)) => len.saturating_sub(suffix)..len,
        (Some(first), None) => first..len,
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(len),
    };
    Some(if bytes.start < len { Wanted::Bytes(bytes) } else { Wanted::Unsatisfiable })
}

/// A number, or nothing where nothing is written; `None` if it is something else.
#[expect(clippy::option_option, reason = "absent and wrong are different answers")]
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are a byte behind every end.
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

/// The elements of a list header, over all its lines.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        for (value, answer) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("GZIP", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(&headers(ACCEPT_ENCODING, value)), answer, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_known_tag_is_recognised_in_any_list() {
        for (value, answer) in [
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(not_modified(&headers(IF_NONE_MATCH, value), "\"a\""), answer, "{value}");
        }
    }

    #[test]
    fn a_single_range_is_cut_to_the_resource() {
        for (value, wanted) in [
            ("bytes=0-3", Wanted::Bytes(0..4)),
            ("bytes=2-", Wanted::Bytes(2..10)),
            ("bytes=-4", Wanted::Bytes(6..10)),
            ("bytes=-40", Wanted::Bytes(0..10)),
            ("bytes=9-99999999999999999999", Wanted::Bytes(9..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("seconds=0-1", Wanted::Whole),
        ] {
            assert_eq!(range(&headers(RANGE, value), 10, "\"a\""), wanted, "{value}");
        }
    }

    #[test]
    fn a_range_is_closed_if_it_says_where_it_ends() {
        for (value, wanted) in [
            ("bytes=0-3", Some(0..4)),
            ("bytes=7-7", Some(7..8)),
            ("bytes=2-", None),
            ("bytes=-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=4-2", None),
            ("seconds=0-1", None),
        ] {
            let mut headers = headers(RANGE, value);
            assert_eq!(closed_range(&headers), wanted, "{value}");
            headers.insert(IF_RANGE, "\"a\"".parse().unwrap());
            assert_eq!(closed_range(&headers), None, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        for (condition, wanted) in [("\"a\"", Wanted::Bytes(0..1)), ("\"b\"", Wanted::Whole)] {
            let mut headers = headers(RANGE, "bytes=0-0");
            headers.insert(IF_RANGE, condition.parse().unwrap());
            assert_eq!(range(&headers, 10, "\"a\""), wanted, "{condition}");
        }
    }

    proptest! {
        #[test]
        fn every_range_lies_within_the_resource(value in "bytes=[0-9,-]{0,24}", len: u64) {
            if let Wanted::Bytes(bytes) = range(&headers(RANGE, &value), len, "\"a\"") {
                prop_assert!(bytes.start < bytes.end && bytes.end <= len);
            }
        }
    }
}
