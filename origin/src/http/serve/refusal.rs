//! The answer to a connection there is no room for: 503, in order, and then its end.
//!
//! A connection that is closed with its request unread is reset, and the client never sees an
//! answer. So the request is read first and thrown away, for a moment and as much as a request may
//! have; so many of these at one time, and beyond that connections are closed as they come.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::MAX_HEADER_BYTES;

/// Refusals that go on at one time: a crowd comes within a second, and each is over in milliseconds.
pub(super) const AT_ONCE: usize = 512;

/// How long one may take.
const WITHIN: Duration = Duration::from_secs(2);

/// What is said: as every 503 of the origin (HT-18), readable by scripts of other sites (HT-04).
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 22\r\n\
    cache-control: no-store\r\n\
    retry-after: 1\r\n\
    access-control-allow-origin: *\r\n\
    connection: close\r\n\r\n\
    too many viewers here\n";

/// Refuses a connection.
pub(super) async fn refuse(mut stream: TcpStream) {
    // Whoever is refused may go before that; either way it is over.
    let _ = tokio::time::timeout(WITHIN, async {
        let mut read = Vec::with_capacity(1024);
        while !ended(&read) && read.len() < MAX_HEADER_BYTES {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // Until the client has closed: a reset would take the answer back.
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    })
    .await;
}

/// Whether a request's head is whole.
fn ended(read: &[u8]) -> bool {
    read.ends_with(b"\r\n\r\n") || read.ends_with(b"\n\n")
}
