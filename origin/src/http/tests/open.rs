//! Segments that are answered while they are written. Where time plays a part it is tokio's paused
//! clock.

use std::time::Duration;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{Method, StatusCode};
use bytes::Buf as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::fixture::{FIRST_K, Fixture};
use super::{IMMUTABLE, media};
use crate::store::Limits;

/// D of the fixture's grid.
const SEGMENT: Duration = Duration::from_millis(1_600);

/// The segment that is open in [`opened`].
const OPEN: u64 = FIRST_K + 3;

fn open_path() -> String {
    media(&format!("96p/{OPEN}.m4s"))
}

/// A live channel whose newest segment has one part.
async fn opened() -> Fixture {
    let mut origin = Fixture::live(3).await;
    origin.push_part(0, OPEN).await;
    origin.publish();
    origin
}

#[tokio::test(start_paused = true)]
async fn an_open_segment_comes_part_by_part_and_ends_when_it_is_whole() {
    let mut origin = opened().await;
    let mut response = origin.respond(Method::GET, &open_path(), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CACHE_CONTROL], IMMUTABLE);
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(!response.headers().contains_key(ETAG));
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
    let mut bytes = Vec::new();
    for n in 0.. {
        let part = origin.get(&media(&format!("96p/{OPEN}.{n}.m4s"))).await.body;
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        let mut frame = frame.into_data().unwrap();
        let frame = frame.copy_to_bytes(frame.remaining());
        assert_eq!(frame, part, "one frame is one part");
        bytes.extend_from_slice(&frame);
        let early = tokio::time::timeout(SEGMENT, response.body_mut().frame()).await;
        assert!(early.is_err(), "nothing comes before the next part is there");
        if n == 5 {
            break;
        }
        origin.push_part(0, OPEN).await;
        origin.publish();
    }
    origin.push(0, OPEN).await;
    origin.publish();
    assert!(response.body_mut().frame().await.is_none());
    let whole = origin.get(&open_path()).await;
    assert_eq!(whole.body, bytes);
    assert!(!whole.header(ETAG).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_asked_for_before_it_begins_is_answered_with_its_first_part() {
    let mut origin = Fixture::live(3).await;
    let begin = Instant::now();
    let waiting = origin.spawn_respond(&open_path());
    origin.settle().await;
    assert!(!waiting.is_finished());
    origin.push_part(0, OPEN).await;
    origin.publish();
    let mut response = waiting.await.unwrap();
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    assert!(begin.elapsed() < SEGMENT / 10);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_grows_no_more_is_given_up_after_twice_its_length() {
    let origin = opened().await;
    let mut response = origin.respond(Method::GET, &open_path(), &[]).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    let begin = Instant::now();
    assert!(response.body_mut().frame().await.unwrap().is_err());
    assert!(begin.elapsed() >= 2 * SEGMENT && begin.elapsed() < 3 * SEGMENT);
    assert!(response.body_mut().frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_is_slower_than_memory_is_given_up() {
    let mut origin = Fixture::within(Limits { live_edge_bytes: 0, ..Limits::default() });
    origin.go_live(3).await;
    origin.push_part(0, OPEN).await;
    origin.publish();
    let mut response = origin.respond(Method::GET, &open_path(), &[]).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    // The rest comes and leaves memory before it is read.
    origin.push(0, OPEN).await;
    origin.publish();
    assert!(response.body_mut().frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_head_of_an_open_segment_is_that_of_its_answer() {
    let origin = opened().await;
    let head = origin.with(Method::HEAD, &open_path(), &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header(CONTENT_LENGTH), "");
    assert_eq!(head.header(CACHE_CONTROL), IMMUTABLE);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_an_open_segment_are_sent_as_soon_as_they_exist() {
    let mut origin = opened().await;
    let part = origin.get(&media(&format!("96p/{OPEN}.0.m4s"))).await.body;
    let last = part.len() - 1;
    let range = format!("bytes=2-{last}");
    let there = origin.with(Method::GET, &open_path(), &[(RANGE, &range)]).await;
    assert_eq!(there.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(there.header(CONTENT_RANGE), format!("bytes 2-{last}/*"));
    assert_eq!((there.body.as_ref(), there.header(ETAG)), (&part[2..], ""));
    // What is not there yet is waited for, to the end of the segment if need be.
    let range = format!("bytes=2-{}", part.len());
    let waiting = origin.spawn_with(&open_path(), &[(RANGE, &range)]);
    origin.settle().await;
    assert!(!waiting.is_finished());
    origin.push_part(0, OPEN).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.header(CONTENT_RANGE), format!("bytes 2-{}/*", part.len()));
    let waiting = origin.spawn_with(&open_path(), &[(RANGE, "bytes=9000000-9000001")]);
    origin.settle().await;
    origin.push(0, OPEN).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let len = origin.get(&open_path()).await.body.len();
    assert_eq!(answer.header(CONTENT_RANGE), format!("bytes */{len}"));
}

#[tokio::test(start_paused = true)]
async fn other_ranges_and_conditions_of_an_open_segment_get_the_whole() {
    let origin = opened().await;
    let conditions: [&[(HeaderName, &str)]; 5] = [
        &[(RANGE, "bytes=0-")],
        &[(RANGE, "bytes=-5")],
        &[(RANGE, "bytes=0-1,3-4")],
        &[(RANGE, "bytes=0-1"), (IF_RANGE, "\"a\"")],
        &[(IF_NONE_MATCH, "*")],
    ];
    for headers in conditions {
        let response = origin.respond(Method::GET, &open_path(), headers).await;
        assert_eq!(response.status(), StatusCode::OK, "{headers:?}");
        assert!(!response.headers().contains_key(CONTENT_RANGE), "{headers:?}");
    }
}

/// A connection that has asked for the open segment, and has read the head of the answer.
async fn asked(origin: &Fixture) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(origin.listen().await).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", open_path());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap().into());
    }
    (stream, head)
}

/// The next chunk of HTTP/1.1; empty at the end of the body.
async fn chunk(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut size = String::new();
    while !size.ends_with("\r\n") {
        size.push(stream.read_u8().await?.into());
    }
    let mut bytes = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(bytes.len() - 2);
    Ok(bytes)
}

#[tokio::test]
async fn ht_08_one_part_is_one_chunk_that_is_sent_when_it_is_there() {
    let mut origin = opened().await;
    let (mut stream, head) = asked(&origin).await;
    let head = head.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains("transfer-encoding: chunked"),
        "{head}"
    );
    for n in 0..6 {
        // The next part is made when this one has arrived: nothing waits for anything.
        let part = origin.get(&media(&format!("96p/{OPEN}.{n}.m4s"))).await.body;
        assert_eq!(chunk(&mut stream).await.unwrap(), part);
        if n < 5 {
            origin.push_part(0, OPEN).await;
            origin.publish();
        }
    }
    origin.push(0, OPEN).await;
    assert_eq!(chunk(&mut stream).await.unwrap(), b"");
}

#[tokio::test]
async fn ht_09_a_segment_that_never_ends_breaks_the_connection() {
    let origin = opened().await;
    let (mut stream, _) = asked(&origin).await;
    assert!(!chunk(&mut stream).await.unwrap().is_empty());
    let mut rest = Vec::new();
    // Either end is one that no cache takes for the body's: a reset, or no last chunk.
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}
