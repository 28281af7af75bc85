//! Rules for how an answer depends on the way it is asked for: rows HT-06, HT-10, HT-12 and HT-16.

use std::ops::Range;
use std::time::Duration;

use crate::client::Response;
use crate::rules::{Findings, Violation};

/// Header fields that may differ between two answers of the same.
const OF_THE_MOMENT: [&str; 3] = ["date", "age", "headwater-answer"];

/// Judges the answer to a request for one range of a resource whose whole is known (HT-06).
pub fn check_range(whole: &Response, range: Range<usize>, answer: &Response) -> Vec<Violation> {
    let mut findings = Findings::default();
    let row = "HT-06";
    let length = whole.body.len();
    let header = |name: &str| answer.header(name).unwrap_or("");
    let said = header("content-range");
    if range.start >= length {
        findings.expect(row, answer.status == 416, || format!("status {}", answer.status));
        findings.expect(row, said == format!("bytes */{length}"), || {
            format!("Content-Range {said:?} of {length} bytes")
        });
        return findings.0;
    }
    let range = range.start..range.end.min(length);
    findings.expect(row, answer.status == 206, || format!("status {}", answer.status));
    let expected = format!("bytes {}-{}/{length}", range.start, range.end - 1);
    findings.expect(row, said == expected, || format!("Content-Range {said:?}, not {expected:?}"));
    let bytes = whole.body.get(range);
    findings.expect(row, bytes == Some(&answer.body[..]), || "other bytes".to_owned());
    findings.expect(row, answer.header("etag") == whole.header("etag"), || {
        format!("ETag {:?} of {:?}", header("etag"), whole.header("etag"))
    });
    findings.0
}

/// Judges the answer to HEAD beside that to GET (HT-12).
pub fn check_head(get: &Response, head: &Response) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.expect("HT-12", head.body.is_empty(), || format!("a body of {}", head.body.len()));
    same("HT-12", get, head, &mut findings);
    findings.0
}

/// Judges the answer to a request that differs in a row's own way from that for `plain`, and asks
/// for the same: with a query that nobody knows (HT-12), with what players tell of themselves
/// (HT-16).
pub fn check_same(row: &'static str, plain: &Response, answer: &Response) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.expect(row, answer.body == plain.body, || "another body".to_owned());
    same(row, plain, answer, &mut findings);
    findings.0
}

fn same(row: &'static str, one: &Response, other: &Response, findings: &mut Findings) {
    findings.expect(row, one.status == other.status, || {
        format!("status {}, not {}", other.status, one.status)
    });
    let fields = |answer: &Response| {
        let mut fields = answer.headers.clone();
        fields.retain(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
        fields.sort();
        fields
    };
    let (ours, theirs) = (fields(one), fields(other));
    findings.expect(row, ours == theirs, || format!("{theirs:?}, not {ours:?}"));
}

/// Judges the answer to a request for a segment so many after the newest that is listed, with
/// segments of a length, after the time it took (HT-10): what is made now and next is waited for,
/// what lies further ahead is refused at once. `slack` is what the machine may add.
pub fn check_ahead(
    ahead: u64,
    segment: Duration,
    took: Duration,
    slack: Duration,
    answer: &Response,
) -> Vec<Violation> {
    let mut findings = Findings::default();
    let row = "HT-10";
    if ahead <= 2 {
        let there = answer.status == 200;
        let in_vain = answer.status == 404 && took >= 2 * segment;
        findings.expect(row, there || in_vain, || format!("{} after {took:?}", answer.status));
        findings.expect(row, took <= 2 * segment + slack, || format!("held for {took:?}"));
    } else {
        findings.expect(row, answer.status == 404, || format!("status {}", answer.status));
        findings.expect(row, took <= slack, || format!("held for {took:?}"));
    }
    let cache = answer.header("cache-control").unwrap_or("");
    findings.expect(row, answer.status != 404 || cache == "no-store", || {
        format!("a 404 with Cache-Control {cache:?}")
    });
    findings.0
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rules::proof::assert_finds;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Response { status, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    fn whole() -> Response {
        answer(200, &[("etag", "\"1\""), ("content-length", "6"), ("date", "now")], "abcdef")
    }

    #[test]
    fn ht_06_a_range_is_those_bytes_and_says_so() {
        let part = |range, body| answer(206, &[("etag", "\"1\""), ("content-range", range)], body);
        assert_eq!(check_range(&whole(), 2..4, &part("bytes 2-3/6", "cd")), []);
        assert_eq!(check_range(&whole(), 4..99, &part("bytes 4-5/6", "ef")), []);
        assert_eq!(
            check_range(&whole(), 6..8, &answer(416, &[("content-range", "bytes */6")], "")),
            []
        );
        for bad in [
            whole(),
            part("bytes 2-4/6", "cd"),
            part("bytes 2-3/7", "cd"),
            part("bytes 2-3/6", "de"),
            answer(206, &[("etag", "\"2\""), ("content-range", "bytes 2-3/6")], "cd"),
        ] {
            assert_finds("HT-06", &check_range(&whole(), 2..4, &bad));
        }
        for bad in [whole(), answer(416, &[("content-range", "bytes */7")], "")] {
            assert_finds("HT-06", &check_range(&whole(), 6..8, &bad));
        }
    }

    #[test]
    fn ht_12_head_has_the_headers_of_get_and_no_body() {
        let head = Response { body: Bytes::new(), ..whole() };
        assert_eq!(check_head(&whole(), &head), []);
        for bad in [
            whole(),
            Response { status: 204, ..head.clone() },
            answer(200, &[("etag", "\"1\""), ("content-length", "0"), ("date", "now")], ""),
        ] {
            assert_finds("HT-12", &check_head(&whole(), &bad));
        }
    }

    #[test]
    fn ht_16_what_players_tell_of_themselves_changes_nothing() {
        assert_eq!(check_same("HT-16", &whole(), &whole()), []);
        let varied = {
            let mut varied = whole();
            varied.headers.push(("vary".into(), "CMCD-Request".into()));
            varied
        };
        for bad in [varied, answer(400, &[], "abcdef"), answer(200, &[], "ABCDEF")] {
            assert_finds("HT-16", &check_same("HT-16", &whole(), &bad));
        }
    }

    #[test]
    fn ht_10_what_is_made_next_is_waited_for_and_what_lies_beyond_is_not() {
        let second = Duration::from_secs(1);
        let slack = second / 2;
        let none = |cache| answer(404, &[("cache-control", cache)], "");
        assert_eq!(check_ahead(1, second, slack, slack, &whole()), []);
        assert_eq!(check_ahead(2, second, 2 * second, slack, &none("no-store")), []);
        assert_eq!(check_ahead(3, second, slack, slack, &none("no-store")), []);
        for (ahead, took, bad) in [
            (1, 3 * second, whole()),
            (1, slack, none("no-store")),
            (2, 2 * second, none("max-age=10")),
            (3, second, none("no-store")),
            (3, slack, none("max-age=1")),
            (3, slack, whole()),
        ] {
            assert_finds("HT-10", &check_ahead(ahead, second, took, slack, &bad));
        }
    }
}
