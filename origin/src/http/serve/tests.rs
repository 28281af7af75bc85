//! Real connections on loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

/// More than the buffers of two sockets hold.
const LARGE: usize = 64 << 20;

struct Server {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// `/` answers at once, `/wait` when the server goes down.
    async fn start() -> Self {
        Self::with(Patience::default()).await
    }

    async fn with(patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let wait = async |State(cancel): State<CancellationToken>| {
            cancel.cancelled().await;
            "waited"
        };
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/wait", get(wait))
            .route("/large", get(async || vec![0; LARGE]))
            .with_state(cancel.clone());
        let service = TowerToHyperService::new(router);
        let task = tokio::spawn(serve_within(patience, listener, service, cancel.clone()));
        Self { address, cancel, task }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// Everything until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start().await;
    let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = server.send(&format!("{one}{last}")).await;
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn headers_beyond_the_limits_are_refused() {
    let server = Server::start().await;
    let fat = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEADER_BYTES));
    let many = "X: x\r\n".repeat(MAX_HEADERS + 1);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    for request in [fat, many] {
        let mut stream = server.send(&request).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn garbage_is_refused_and_others_are_served() {
    let server = Server::start().await;
    for garbage in ["\0\0\0\0\r\n\r\n", "\u{16}\u{3}\u{1}hello\r\n\r\n", "GET\r\n\r\n"] {
        let mut stream = server.send(garbage).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let mut stream = server.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(rest(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn shutdown_answers_who_waits_and_closes_who_is_idle() {
    let server = Server::start().await;
    let mut idle = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    let mut waiting = server.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET").await;
    let answered = tokio::spawn(async move { rest(&mut waiting).await });
    // The waiting request is in the server's hands once a later one has been answered.
    let mut later = server.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    rest(&mut later).await;
    server.cancel.cancel();
    let answer = answered.await.unwrap();
    assert!(answer.contains("waited"), "{answer}");
    assert!(rest(&mut idle).await.ends_with("hello"), "closed in order");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_is_let_go() {
    // Nothing but the stall ends the connection while this test runs.
    let (stall, grace) = (Duration::from_millis(100), Duration::from_secs(600));
    let server = Server::with(Patience { stall, grace, ..Patience::default() }).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stream.read_exact(&mut [0; 15]).await.unwrap();
    server.cancel.cancel();
    tokio::time::timeout(Duration::from_secs(30), server.task).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    assert!(read.is_err() || bytes.len() < LARGE, "a short body must not look whole");
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_is_let_go() {
    let patience = Patience { request: Duration::from_millis(100), ..Patience::default() };
    let server = Server::with(patience).await;
    let mut stream = server.send("GET / HTTP/1.1\r\nHo").await;
    let answer = tokio::time::timeout(Duration::from_secs(10), rest(&mut stream)).await.unwrap();
    assert!(!answer.contains("200"), "{answer}");
}
