//! Hostile viewers at the HTTP door: requests without end, answers that are not taken, streams that
//! are opened and reset.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, connect, runtime};
use crate::{Context, Failure, Result};

/// How often a slow viewer sends a byte.
const DRIP_EVERY: Duration = Duration::from_millis(500);
/// Streams that are opened before anything is said about how many may be.
const MOST_STREAMS: u64 = 100_000;

/// How a viewer wastes a server's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sloth {
    /// It says nothing.
    Silent,
    /// It sends the start of a request and stops.
    Partial,
    /// It sends a request byte by byte, for ever.
    Dripping,
    /// It asks again and again and reads nothing.
    Deaf,
}

impl Sloth {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Partial, Self::Dripping, Self::Deaf];
}

/// Lets `count` slow viewers come; gives how long each was kept, shortest first.
///
/// # Errors
/// One is not let go within `bound`.
pub fn slow(
    server: SocketAddr,
    path: &str,
    sloth: Sloth,
    count: u64,
    bound: Duration,
) -> Result<Vec<Duration>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    runtime()?.block_on(async {
        let mut viewers = JoinSet::new();
        for number in 0..count {
            let request = request.clone();
            viewers.spawn(async move {
                let stream = timeout(PATIENCE, connect(server, number)).await;
                let mut stream = stream.context("time to connect")?.context("a slow viewer")?;
                let opened = Instant::now();
                let ends = async {
                    let start = match sloth {
                        Sloth::Silent => "",
                        Sloth::Partial | Sloth::Dripping => &request[..request.len() / 2],
                        Sloth::Deaf => &request.repeat(2_000),
                    };
                    // The server may have had enough before that.
                    let mut open = stream.write_all(start.as_bytes()).await.is_ok();
                    while open && sloth == Sloth::Dripping {
                        tokio::time::sleep(DRIP_EVERY).await;
                        open = stream.write_all(b"x").await.is_ok();
                    }
                    while open && sloth == Sloth::Deaf {
                        tokio::time::sleep(DRIP_EVERY).await;
                        // A reset is seen without reading; the end of the stream is not.
                        open = stream.take_error().is_ok_and(|error| error.is_none())
                            && stream.write_all(b"\r\n").await.is_ok();
                    }
                    while let Ok(1..) = stream.read(&mut [0; 4096]).await {}
                };
                timeout(bound, ends).await.context(format!("end of {sloth:?} viewer {number}"))?;
                Ok::<_, Failure>(opened.elapsed())
            });
        }
        let mut kept = Vec::new();
        while let Some(viewer) = viewers.join_next().await {
            kept.push(viewer.context("a slow viewer")??);
        }
        kept.sort_unstable();
        Ok(kept)
    })
}

/// Opens streams of HTTP/2 and resets each at once (CVE-2023-44487) until the server ends the
/// connection; gives how many it bore.
///
/// # Errors
/// It bears any number, or does not speak HTTP/2.
pub fn rapid_reset(server: SocketAddr, path: &str, bound: Duration) -> Result<u64> {
    let uri = format!("http://{server}{path}");
    let flood = async {
        let stream = connect(server, 1).await.context("a hostile viewer")?;
        let (mut client, connection) =
            h2::client::handshake(stream).await.context("a handshake of HTTP/2")?;
        let connection = tokio::spawn(connection);
        for sent in 0..MOST_STREAMS {
            let request = http::Request::get(&uri).body(()).context("a request")?;
            let Ok((_, mut stream)) = client.send_request(request, true) else { return Ok(sent) };
            stream.send_reset(h2::Reason::CANCEL);
            client = match client.ready().await {
                Ok(client) => client,
                Err(_) => return Ok(sent),
            };
            if connection.is_finished() {
                return Ok(sent);
            }
        }
        Err(Failure::new(format!("{MOST_STREAMS} resets were borne")))
    };
    runtime()?.block_on(async { timeout(bound, flood).await }).context("an end of the flood")?
}

/// Gets a path over HTTP/2 by prior knowledge; gives status and body.
///
/// # Errors
/// There is no whole answer in time.
pub fn get_over_http2(server: SocketAddr, path: &str) -> Result<(u16, Bytes)> {
    let uri = format!("http://{server}{path}");
    let get = async {
        let stream = connect(server, 1).await.context("a viewer")?;
        let (client, connection) =
            h2::client::handshake(stream).await.context("a handshake of HTTP/2")?;
        let connection = tokio::spawn(connection);
        let request = http::Request::get(&uri).body(()).context("a request")?;
        let mut client = client.ready().await.context("room for a stream")?;
        let (response, _) = client.send_request(request, true).context("a request")?;
        let response = response.await.context("an answer")?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data: Bytes = data.context("a body")?;
            let _ = body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
        }
        connection.abort();
        Ok((status, bytes.into()))
    };
    runtime()?.block_on(async { timeout(PATIENCE * 2, get).await }).context("an answer in time")?
}
