use std::io::Write as _;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::HeaderValue;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use super::super::pace::{Paced, WINDOW};
use super::super::tests::SOON;
use super::*;

const GET: Form = Form { head: false, old: false, keep: true };
const HEAD: Form = Form { head: true, ..GET };

/// Bytes in memory, and others in a file, so that it shows where an answer comes from.
struct Both {
    memory: Vec<Bytes>,
    length: u64,
    file: Option<Stretch>,
}

impl Both {
    fn in_memory(pieces: &[&'static str]) -> Self {
        let memory: Vec<_> = pieces.iter().rev().map(|piece| Bytes::from(*piece)).collect();
        let length = memory.iter().map(|piece| piece.len() as u64).sum();
        Self { memory, length, file: None }
    }

    fn in_file(content: &[u8], range: std::ops::Range<u64>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let length = range.end - range.start;
        Self { memory: Vec::new(), length, file: Some(Stretch { file, range }) }
    }
}

impl http_body::Body for Both {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.memory.pop().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

impl Content for Both {
    fn stretch(&mut self) -> Option<Stretch> {
        self.file.take()
    }
}

/// What a client reads of an answer that is written to it over TCP, and how that ended.
async fn over_tcp(form: Form, body: Both) -> (Vec<u8>, io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (mut client, (server, _)) = tokio::try_join!(client, listener.accept()).unwrap();
    let writing = async move {
        let response = Response::new(body);
        let head = head(&response, form).unwrap();
        write(&mut Paced::new(server, WINDOW), head, form, response.into_body()).await
    };
    let reading = async move {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        bytes
    };
    let both = async { tokio::join!(writing, reading) };
    let (written, bytes) = tokio::time::timeout(SOON, both).await.unwrap();
    (bytes, written)
}

fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

#[tokio::test]
async fn pieces_in_memory_go_out_behind_the_head() {
    let (answer, written) = over_tcp(GET, Both::in_memory(&["ab", "cde", "f"])).await;
    written.unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nabcdef"), "{text}");
    assert!(text.contains("\r\ncontent-length: 6\r\n") && text.contains("\r\ndate: "), "{text}");
    assert!(!text.contains("connection:"), "{text}");
}

#[tokio::test]
async fn a_stretch_of_a_file_larger_than_all_buffers_arrives_whole() {
    let content: Vec<u8> = (0..32u32 << 20).map(|n| (n % 251) as u8).collect();
    let range = 3..content.len() as u64 - 5;
    let (answer, written) = over_tcp(GET, Both::in_file(&content, range)).await;
    written.unwrap();
    assert!(body_of(&answer) == &content[3..content.len() - 5]);
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_an_error_and_no_padded_answer() {
    let (answer, written) = over_tcp(GET, Both::in_file(b"abc", 0..4)).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(body_of(&answer), b"abc");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_an_error() {
    for (length, kind) in [(4, io::ErrorKind::UnexpectedEof), (2, io::ErrorKind::Other)] {
        let body = Both { length, ..Both::in_memory(&["abc"]) };
        assert_eq!(over_tcp(GET, body).await.1.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn who_asks_for_the_head_is_told_the_length_and_sent_nothing() {
    let (answer, written) = over_tcp(HEAD, Both::in_file(b"abc", 0..3)).await;
    written.unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("\r\ncontent-length: 3\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_stream_that_no_file_can_be_sent_to_gets_the_bytes_in_memory() {
    let (mut client, mut server): (DuplexStream, _) = tokio::io::duplex(1024);
    let mut body = Both::in_file(b"file", 0..4);
    body.memory = vec![Bytes::from_static(b"memo")];
    let response = Response::new(body);
    let head = head(&response, GET).unwrap();
    write(&mut server, head, GET, response.into_body()).await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(body_of(&answer), b"memo");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_none_of_a_file_is_let_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (_client, (server, _)) = tokio::try_join!(client, listener.accept()).unwrap();
    let content = vec![0; 32 << 20];
    let body = Both::in_file(&content, 0..content.len() as u64);
    let writing =
        write(&mut Paced::new(server, Duration::from_secs(1)), vec![b'h'], GET, body).await;
    assert_eq!(writing.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn what_has_no_body_says_no_length() {
    for status in [StatusCode::NOT_MODIFIED, StatusCode::NO_CONTENT] {
        let mut response = Response::new(Both::in_memory(&[]));
        *response.status_mut() = status;
        let head = String::from_utf8(head(&response, GET).unwrap()).unwrap();
        assert!(!head.contains("content-length"), "{head}");
    }
}

#[test]
fn an_answer_that_speaks_of_its_connection_is_not_ours() {
    let mut response = Response::new(Both::in_memory(&["a"]));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    assert_eq!(head(&response, GET), None);
}
