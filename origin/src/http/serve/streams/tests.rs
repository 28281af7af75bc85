//! A client of HTTP/2 that knows it without asking, on loopback.

use axum::http::Request;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::super::tests::{LARGE, SOON, Server, patient};
use super::super::{Cut, Duration, Patience};
use super::*;

type Client = SendRequest<Bytes>;

async fn connect(server: &Server) -> (Client, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    (client.ready().await.unwrap(), connection)
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

async fn text(client: &mut Client, path: &str) -> String {
    let (response, _) = client.send_request(get(path), true).unwrap();
    read(response).await
}

async fn read(response: h2::client::ResponseFuture) -> String {
    let response = tokio::time::timeout(SOON, response).await.expect("an answer").unwrap();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        text.extend_from_slice(&bytes.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn ht_14_many_requests_wait_beside_each_other_in_one_connection() {
    let server = Server::with(patient()).await;
    let (mut client, _connection) = connect(&server).await;
    let waiting: Vec<_> =
        (0..100).map(|_| client.send_request(get("/turn"), true).unwrap().0).collect();
    server.waits(100).await;
    assert_eq!(server.metrics.connections.get(), 1);
    assert_eq!(text(&mut client, "/").await, "hello", "one that waits holds nobody up");
    server.turn.send_replace(1);
    for response in waiting {
        assert_eq!(read(response).await, "turn 1");
    }
}

#[tokio::test]
async fn ht_14_at_least_100_streams_are_allowed() {
    let server = Server::with(patient()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let pong = connection.ping_pong().unwrap();
    let task = tokio::spawn(async move {
        // The settings have come when a ping that was sent later has come back.
        let mut pong = pong;
        tokio::select! {
            ended = &mut connection => panic!("{ended:?}"),
            ponged = pong.ping(h2::Ping::opaque()) => drop(ponged.unwrap()),
        }
        connection.max_concurrent_send_streams()
    });
    let streams = task.await.unwrap();
    assert!((100..1_000).contains(&streams), "{streams}");
    drop(client);
}

#[tokio::test]
async fn shutdown_answers_the_streams_that_wait_and_then_ends() {
    let server = Server::with(patient()).await;
    let (mut client, connection) = connect(&server).await;
    let (waiting, _) = client.send_request(get("/turn"), true).unwrap();
    server.waits(1).await;
    server.cancel.cancel();
    assert_eq!(read(waiting).await, "turn 0");
    tokio::time::timeout(SOON, server.task).await.unwrap().unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_resets_request_after_request_is_cut_and_others_are_served() {
    let server = Server::with(patient()).await;
    let (mut good, _kept) = connect(&server).await;
    let (mut bad, connection) = connect(&server).await;
    let mut sent = 0;
    // As fast as it can, without waiting for anything (CVE-2023-44487).
    let flood = async {
        while let Ok((_, mut stream)) = bad.send_request(get("/turn"), true) {
            stream.send_reset(h2::Reason::CANCEL);
            sent += 1;
            if sent % 10 == 0 {
                assert_eq!(text(&mut good, "/").await, "hello");
            }
            match bad.clone().ready().await {
                Ok(ready) => bad = ready,
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(SOON, flood).await.expect("the flood was borne");
    assert!(connection.await.unwrap().is_err());
    assert!(sent < 10_000, "{sent}");
    server.waits(0).await;
    assert_eq!(text(&mut good, "/").await, "hello");
}

#[tokio::test]
async fn a_client_that_gives_up_what_it_waits_for_again_and_again_is_cut() {
    let server = Server::with(patient()).await;
    let (mut client, connection) = connect(&server).await;
    // Slowly enough that the library sees nothing in it.
    for _ in 0..=MAX_GIVEN_UP {
        let (_, mut stream) = client.send_request(get("/turn"), true).unwrap();
        server.waits(1).await;
        stream.send_reset(h2::Reason::CANCEL);
        server.waits(0).await;
    }
    let _ = tokio::time::timeout(SOON, connection).await.expect("an end").unwrap();
    assert_eq!(server.metrics.cuts(Cut::Resets), 1);
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_cut() {
    let patience = Patience { window: Duration::from_millis(200), ..patient() };
    let server = Server::with(patience).await;
    let (mut client, connection) = connect(&server).await;
    let (response, _) = client.send_request(get("/large"), true).unwrap();
    // The body is never read, so no window is ever opened again.
    let response = response.await.unwrap();
    assert_eq!(response.headers()["content-length"], LARGE.to_string());
    let _ = tokio::time::timeout(SOON, connection).await.expect("an end").unwrap();
    assert_eq!(server.metrics.cuts(Cut::SlowReader), 1);
    let mut body = response.into_body();
    let mut got = 0;
    while let Some(Ok(bytes)) = body.data().await {
        let bytes: Bytes = bytes;
        got += bytes.len();
    }
    assert!(got < LARGE, "a short body must not look whole");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_one_that_waits_is_not() {
    let short = Duration::from_millis(50);
    let patience = Patience { window: short, idle: 2 * short, ..patient() };
    let server = Server::with(patience).await;
    let (mut client, waits) = connect(&server).await;
    let (waiting, _) = client.send_request(get("/turn"), true).unwrap();
    server.waits(1).await;
    let (idle, closed) = connect(&server).await;
    drop(idle);
    tokio::time::timeout(SOON, closed).await.expect("an end").unwrap().unwrap();
    tokio::time::sleep(10 * short).await;
    assert!(!waits.is_finished());
    server.turn.send_replace(1);
    assert_eq!(read(waiting).await, "turn 1");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::with(patient()).await;
    let (mut good, _kept) = connect(&server).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // HEADERS without END_HEADERS, then CONTINUATION after CONTINUATION, each with a literal header.
    let field = |name: u8| [&[0x00, 1, name, 100][..], &[b'x'; 100]].concat();
    let frame = |kind: u8, body: &[u8]| {
        let [_, a, b, c] = (body.len() as u32).to_be_bytes();
        [&[a, b, c, kind, 0, 0, 0, 0, 1][..], body].concat()
    };
    let flood = async {
        stream.write_all(&frame(1, &field(b'a'))).await?;
        for _ in 0..100_000 {
            stream.write_all(&frame(9, &field(b'b'))).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let sent = tokio::time::timeout(SOON, flood).await.expect("an end");
    let closed = async {
        let mut room = [0; 1024];
        while let Ok(1..) = stream.read(&mut room).await {}
    };
    tokio::time::timeout(SOON, closed).await.expect("the connection was kept");
    assert!(sent.is_err(), "all of it was read");
    assert_eq!(text(&mut good, "/").await, "hello");
}
