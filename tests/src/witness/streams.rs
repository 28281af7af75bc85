//! Segments that are fetched while they are made: what low-latency DASH players do.
//!
//! One at a time, beside everything else: a request for the newest segment that the MPD announces is
//! sent, which may be held until the segment begins, and its bytes are watched as they come. Then the
//! same bytes are asked for again, whole and part by part.

use std::thread::JoinHandle;

use super::Broken;
use crate::Result;
use crate::client::{Client, Response, Streamed};
use crate::reader::dash::{Manifest, Representation};

/// Parts of a segment that are looked for: more than any has.
const MOST_PARTS: usize = 64;

/// A segment as a low-latency player gets it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its address.
    pub url: String,
    /// As it came.
    pub streamed: Streamed,
    /// The same once it was whole.
    pub whole: Response,
    /// Its parts.
    pub parts: Vec<Response>,
    /// When its first part was announced for, and its nominal length, in milliseconds.
    pub due_ms: (u64, u64),
}

impl Stream {
    /// Whether it was answered while it was made.
    pub fn was_open(&self) -> bool {
        self.streamed.response.header("content-length").is_none()
    }

    /// Whether its bytes came as they were made, and not all at once.
    pub fn came_bit_by_bit(&self) -> bool {
        self.was_open() && self.streamed.lasted().as_millis() as u64 >= self.due_ms.1 / 4
    }
}

/// Starts to fetch the newest segment that is announced of a representation.
pub(super) fn fetch(
    client: &Client,
    manifest: &Manifest,
    representation: &Representation,
    now_ns: i64,
) -> Option<JoinHandle<Result<Stream>>> {
    let k = representation.announced(manifest, now_ns).filter(|_| representation.early_ns > 0)?;
    let (start_ns, length_ns) = representation.time_of(manifest, k);
    let millis = |nanos: i64| nanos.max(0).unsigned_abs() / 1_000_000;
    let due_ms = (millis(start_ns), millis(length_ns));
    let url = representation.object(k).url;
    let client = client.clone();
    Some(std::thread::spawn(move || {
        let streamed = client.stream(&url)?;
        let whole = client.get(&url)?;
        let mut parts = Vec::new();
        let mut bytes = 0;
        while bytes < whole.body.len() && parts.len() < MOST_PARTS {
            let part = url.replace(".m4s", &format!(".{}.m4s", parts.len()));
            let part = client.get(&part)?;
            bytes += part.body.len();
            let is_there = part.status == 200;
            parts.push(part);
            if !is_there {
                break;
            }
        }
        Ok(Stream { url, streamed, whole, parts, due_ms })
    }))
}

/// I1: what came bit by bit, the whole and the parts are the same bytes. HT-05 and HT-08: an answer
/// that began before its end has neither length nor tag.
pub(super) fn judge(stream: &Stream) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Stream { streamed: Streamed { response, .. }, whole, parts, .. } = stream;
    if response.status != 200 {
        let kept = response.header("cache-control").unwrap_or_default();
        let status = response.status;
        broken.push(("I12", format!("announced by the MPD, status {status}, {kept}")));
        return broken;
    }
    if whole.status != 200 || whole.body != response.body {
        let (came, is) = (response.body.len(), whole.body.len());
        broken.push(("I1", format!("{came} bytes came, then it is {is} others")));
    }
    // A segment that an ended run owed has no parts.
    let is_listed = parts.first().is_some_and(|part| part.status == 200);
    let joined: Vec<u8> = parts.iter().flat_map(|part| part.body.iter().copied()).collect();
    if is_listed && joined != response.body {
        broken.push(("I1", format!("its {} parts are other bytes", parts.len())));
    }
    if stream.was_open() {
        let chunked = response.header("transfer-encoding").is_some_and(|t| t.contains("chunked"));
        if !chunked {
            broken.push(("HT-08", "an open segment is not sent in chunks".to_owned()));
        }
        if response.header("etag").is_some() {
            broken.push(("HT-05", "an open segment has an ETag".to_owned()));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static [u8]) -> Response {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Response { status, headers, body: Bytes::from_static(body) }
    }

    fn good() -> Stream {
        let response = answer(200, &[("transfer-encoding", "chunked")], b"abcd");
        Stream {
            url: "http://a/1.m4s".into(),
            streamed: Streamed { response, asked_ms: 0, arrivals: vec![(100, 2), (900, 4)] },
            whole: answer(200, &[("content-length", "4")], b"abcd"),
            parts: vec![answer(200, &[], b"ab"), answer(200, &[], b"cd")],
            due_ms: (0, 1_600),
        }
    }

    fn found(change: impl Fn(&mut Stream)) -> Vec<&'static str> {
        let mut stream = good();
        change(&mut stream);
        judge(&stream).into_iter().map(|(invariant, _)| invariant).collect()
    }

    #[test]
    fn each_planted_fault_in_a_stream_is_found() {
        assert!(found(|_| {}).is_empty() && good().came_bit_by_bit());
        assert_eq!(found(|s| s.streamed.response.status = 404), ["I12"]);
        assert_eq!(found(|s| s.whole.body = Bytes::from_static(b"abce")), ["I1"]);
        assert_eq!(found(|s| s.whole.status = 404), ["I1"]);
        assert_eq!(found(|s| s.parts[1].body = Bytes::from_static(b"ce")), ["I1"]);
        assert_eq!(found(|s| s.parts.truncate(1)), ["I1"]);
        assert_eq!(found(|s| s.streamed.response.headers.clear()), ["HT-08"]);
        let tag = ("etag".to_owned(), "\"1\"".to_owned());
        assert_eq!(found(|s| s.streamed.response.headers.push(tag.clone())), ["HT-05"]);
    }

    #[test]
    fn what_comes_all_at_once_did_not_come_bit_by_bit() {
        let mut late = good();
        late.streamed.arrivals = vec![(1_500, 2), (1_510, 4)];
        assert!(late.was_open() && !late.came_bit_by_bit());
        let mut whole = good();
        whole.streamed.response.headers = vec![("content-length".into(), "4".into())];
        assert!(!whole.was_open() && !whole.came_bit_by_bit());
    }
}
