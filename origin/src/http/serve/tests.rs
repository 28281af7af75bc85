//! Real connections on loopback.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::metrics::HttpMetrics;

impl connection::Stream for tokio::io::DuplexStream {
    const SENDS_FILES: bool = false;
}

/// More than the buffers of two sockets hold.
pub(super) const LARGE: usize = 64 << 20;

/// For what must come: far above what it takes.
pub(super) const SOON: Duration = Duration::from_secs(30);

const ONE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const TURN: &str = "GET /turn HTTP/1.1\r\nHost: a\r\n\r\n";

/// `/` answers at once, `/turn` when the turn goes on or the server goes down, `/large` is large, and
/// what is posted comes back.
#[derive(Clone, Debug)]
struct Paths {
    turns: watch::Receiver<u32>,
    cancel: CancellationToken,
}

impl Handler for Paths {
    type Body = Body;

    fn handle(&self, request: Request<Body>, visitor: &Arc<Visitor>) -> Answering<Body> {
        let Self { mut turns, cancel } = self.clone();
        let visitor = Arc::clone(visitor);
        Box::pin(async move {
            let body = match request.uri().path() {
                "/turn" => {
                    let Ok(_slot) = visitor.wait() else {
                        return Response::builder().status(503).body(Body::empty()).unwrap();
                    };
                    turns.mark_unchanged();
                    tokio::select! {
                        changed = turns.changed() => changed.unwrap(),
                        () = cancel.cancelled() => {}
                    }
                    Body::from(format!("turn {}", *turns.borrow()))
                }
                "/large" => Body::from(vec![0; LARGE]),
                _ if request.method() == "POST" => request.into_body(),
                _ => Body::from("hello"),
            };
            Response::new(body)
        })
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) metrics: HttpMetrics,
    pub(super) cancel: CancellationToken,
    /// Lets `/turn` answer.
    pub(super) turn: watch::Sender<u32>,
    pub(super) task: JoinHandle<()>,
}

/// Nothing is refused.
pub(super) fn unlimited() -> Limits {
    Limits {
        all_connections: 10_000,
        connections: 1_000,
        connections_per_address: 1_000,
        waiting: 1_000,
        waiting_per_address: 1_000,
        trusted: Vec::new(),
    }
}

/// Every time is far off.
pub(super) fn patient() -> Patience {
    let long = Duration::from_secs(600);
    Patience {
        handshake: long,
        first: long,
        head: long,
        idle: long,
        idle_trusted: long,
        window: long,
        grace: long,
    }
}

impl Server {
    async fn start() -> Self {
        Self::with(patient()).await
    }

    pub(super) async fn with(patience: Patience) -> Self {
        Self::at(patience, unlimited(), None).await
    }

    pub(super) async fn at(patience: Patience, limits: Limits, tls: Option<Arc<Tls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let (turn, turns) = watch::channel(0);
        let paths = Paths { turns, cancel: cancel.clone() };
        let metrics = HttpMetrics::default();
        let caps = Caps::new(limits, metrics.clone());
        let entrance = Entrance { listener, tls };
        let task = tokio::spawn(serve_within(patience, entrance, paths, caps, cancel.clone()));
        Self { address, metrics, cancel, turn, task }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Until `count` requests wait for their turn.
    pub(super) async fn waits(&self, count: i64) {
        until(|| self.metrics.waiting.get() == count).await;
    }

    /// Until nobody is connected.
    pub(super) async fn is_empty(&self) {
        until(|| self.metrics.connections.get() == 0).await;
    }
}

async fn until(there: impl Fn() -> bool) {
    let poll = async {
        while !there() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, poll).await.expect("what must come");
}

/// Everything until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(SOON, read).await.expect("an end").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything up to and with a text.
async fn up_to(stream: &mut TcpStream, text: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(text.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    };
    let ended = tokio::time::timeout(SOON, read).await;
    let read = String::from_utf8_lossy(&bytes).into_owned();
    assert!(ended.is_ok(), "no {text:?} in {read:?}");
    read
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start().await;
    let mut stream = server.send(&format!("{ONE}{LAST}")).await;
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_request_that_arrives_in_pieces_is_one_request() {
    let server = Server::start().await;
    let mut stream = server.send("").await;
    for byte in ONE.as_bytes().chunks(1).chain(LAST.as_bytes().chunks(7)) {
        stream.write_all(byte).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_request_that_waits_is_answered_in_its_own_form() {
    let server = Server::start().await;
    let mut head = server.send("HEAD /turn HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut old = server.send("GET /turn HTTP/1.0\r\n\r\n").await;
    let mut kept = server.send("GET /turn HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let close = "GET /turn HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
    let mut last = server.send(close).await;
    server.waits(4).await;
    server.turn.send_replace(1);
    let answer = up_to(&mut head, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-length: 6"), "{answer}");
    head.write_all(LAST.as_bytes()).await.unwrap();
    let next = rest(&mut head).await;
    assert!(next.starts_with("HTTP/1.1 200"), "a body was sent: {next}");
    let answer = rest(&mut old).await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("turn 1"), "{answer}");
    let answer = up_to(&mut kept, "turn 1").await;
    assert!(answer.contains("connection: keep-alive"), "{answer}");
    let answer = rest(&mut last).await;
    assert!(answer.contains("connection: close") && answer.ends_with("turn 1"), "{answer}");
}

#[tokio::test]
async fn requests_sent_behind_one_that_waits_are_answered_after_it() {
    let server = Server::start().await;
    let mut stream = server.send(&format!("{ONE}{TURN}{ONE}")).await;
    up_to(&mut stream, "hello").await;
    server.waits(1).await;
    // The first half of another, which arrives while the one before it waits.
    stream.write_all(&TURN.as_bytes()[..9]).await.unwrap();
    server.turn.send_replace(1);
    let answers = up_to(&mut stream, "hello").await;
    assert!(answers.contains("turn 1"), "{answers}");
    stream.write_all(&TURN.as_bytes()[9..]).await.unwrap();
    server.waits(1).await;
    server.turn.send_replace(2);
    up_to(&mut stream, "turn 2").await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_is_forgotten() {
    let server = Server::start().await;
    let stream = server.send(TURN).await;
    server.waits(1).await;
    drop(stream);
    server.waits(0).await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_client_that_talks_while_it_waits_fills_no_memory() {
    let server = Server::start().await;
    let mut stream = server.send(TURN).await;
    server.waits(1).await;
    let more = vec![b'x'; LARGE];
    let sent = tokio::time::timeout(Duration::from_millis(200), stream.write_all(&more)).await;
    assert!(sent.is_err(), "all was read");
    assert_eq!(server.metrics.waiting.get(), 1);
}

#[tokio::test]
async fn a_body_is_read_and_the_connection_kept() {
    let server = Server::start().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let mut stream = server.send(&format!("{post}{LAST}")).await;
    let answers = rest(&mut stream).await;
    assert!(answers.contains("abcd") && answers.ends_with("hello"), "{answers}");
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
    for garbage in
        ["\0\0\0\0\r\n\r\n", "\u{16}\u{3}\u{1}hello\r\n\r\n", "GET\r\n\r\n", "PRI * X\r\n\r\n"]
    {
        let mut stream = server.send(garbage).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let mut stream = server.send(LAST).await;
    assert!(rest(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn a_request_with_two_lengths_is_not_two_requests() {
    let server = Server::start().await;
    for lengths in [
        "Content-Length: 4\r\nContent-Length: 40\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n0\r\n\r\n{LAST}");
        let mut stream = server.send(&request).await;
        let answers = rest(&mut stream).await;
        assert!(!answers.contains("hello"), "{lengths}{answers}");
    }
}

#[tokio::test]
async fn shutdown_answers_who_waits_and_closes_who_is_idle() {
    let server = Server::start().await;
    let mut idle = server.send(ONE).await;
    up_to(&mut idle, "hello").await;
    let mut silent = server.send("").await;
    let mut waiting = server.send(TURN).await;
    server.waits(1).await;
    server.cancel.cancel();
    let answer = rest(&mut waiting).await;
    assert!(answer.contains("connection: close") && answer.ends_with("turn 0"), "{answer}");
    assert_eq!(rest(&mut idle).await, "", "closed in order");
    assert_eq!(rest(&mut silent).await, "", "closed in order");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn shutdown_does_not_wait_longer_than_its_grace_for_a_reader() {
    let patience = Patience { grace: Duration::from_millis(100), ..patient() };
    let server = Server::with(patience).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    up_to(&mut stream, "\r\n\r\n").await;
    server.cancel.cancel();
    tokio::time::timeout(SOON, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_is_let_go() {
    let server = Server::with(Patience { window: Duration::from_millis(100), ..patient() }).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    up_to(&mut stream, "\r\n\r\n").await;
    server.is_empty().await;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    assert!(read.is_err() || bytes.len() < LARGE, "a short body must not look whole");
    assert_eq!(server.metrics.cuts(Cut::SlowReader), 1);
}

#[tokio::test]
async fn a_client_that_takes_bytes_slowly_but_steadily_gets_them_all() {
    let server = Server::with(Patience { window: Duration::from_secs(2), ..patient() }).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    up_to(&mut stream, "\r\n\r\n").await;
    let (mut room, mut got) = (vec![0; 1 << 20], 0);
    while got < LARGE {
        // Far above the least rate, and the buffers are full all the time.
        let next = room.len().min(LARGE - got);
        got += stream.read(&mut room[..next]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.metrics.cuts(Cut::SlowReader), 0);
}

#[tokio::test]
async fn slowloris_is_let_go_whatever_it_sends() {
    let short = Duration::from_millis(200);
    let server = Server::with(Patience { first: short, head: short, ..patient() }).await;
    let mut silent = server.send("").await;
    let mut partial = server.send("GET / HTTP/1.1\r\nHo").await;
    let mut preface = server.send("PRI * HT").await;
    let mut dripping = server.send("G").await;
    let drip = tokio::spawn(async move {
        for byte in format!("ET / HTTP/1.1\r\nX: {}", "x".repeat(4_000)).bytes() {
            if dripping.write_all(&[byte]).await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    });
    for stream in [&mut silent, &mut partial, &mut preface] {
        let answer = rest(stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    assert!(drip.await.unwrap(), "the last byte of a request was waited for");
    assert_eq!(server.metrics.cuts(Cut::SlowRequest), 4);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_its_time_and_a_cdns_later() {
    let short = Duration::from_millis(100);
    let patience = Patience { idle: short, ..patient() };
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    for limits in [unlimited(), Limits { trusted, ..unlimited() }] {
        let viewer = limits.trusted.is_empty();
        let server = Server::at(patience, limits, None).await;
        let mut stream = server.send(ONE).await;
        up_to(&mut stream, "hello").await;
        let closed = tokio::time::timeout(3 * short, stream.read_u8()).await;
        if viewer {
            assert!(rest(&mut stream).await.is_empty());
        } else {
            assert!(closed.is_err(), "the CDN's connection was closed");
        }
    }
}

#[tokio::test]
async fn a_connection_over_the_cap_is_told_so_and_the_others_are_served() {
    let server = Server::at(patient(), Limits { connections: 2, ..unlimited() }, None).await;
    let mut waiting = server.send(TURN).await;
    let mut idle = server.send(ONE).await;
    up_to(&mut idle, "hello").await;
    server.waits(1).await;
    for _ in 0..50 {
        let mut refused = server.send(ONE).await;
        let answer = rest(&mut refused).await;
        for line in ["HTTP/1.1 503 ", "cache-control: no-store", "retry-after: 1"] {
            assert!(answer.contains(line), "{line} is not in {answer}");
        }
        assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
        assert!(
            answer.contains("content-length: 22") && answer.ends_with("too many viewers here\n")
        );
    }
    server.turn.send_replace(1);
    up_to(&mut waiting, "turn 1").await;
    drop(idle);
    until(|| server.metrics.connections.get() == 1).await;
    let mut next = server.send(LAST).await;
    assert!(rest(&mut next).await.ends_with("hello"));
}

#[tokio::test]
async fn what_a_parked_request_keeps_is_small() {
    // The connection's own future, without the answer's and what the runtime adds.
    let (paths, caps) = {
        let (_, turns) = watch::channel(0);
        let paths = Paths { turns, cancel: CancellationToken::new() };
        (paths, Caps::new(unlimited(), HttpMetrics::default()))
    };
    let (_client, stream) = tokio::io::duplex(1);
    let cancel = CancellationToken::new();
    let house = Arc::new(House { handler: paths, patience: patient(), cancel });
    let service = Service { house, visitor: caps.visit([192, 0, 2, 1].into()).unwrap() };
    let size = size_of_val(&connection::serve(stream, service));
    assert!(size <= 1024, "{size} bytes");
}
