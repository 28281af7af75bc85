//! Asking the admin listener of a running server, for commands of an operator.
//!
//! One request over HTTP/1.0 and one answer: the server closes the connection behind it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long the server may take: it answers in a few milliseconds.
const WITHIN: Duration = Duration::from_secs(10);
/// The largest answer that is read: a list of thousands of assets.
const LARGEST: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server can't be reached, or breaks off.
    #[error(
        "no answer from {admin}, where --admin says that [admin] of a running `headwater serve` listens"
    )]
    Connection {
        /// Its admin listener.
        admin: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// What came is no answer of ours.
    #[error("what answers at {admin} is no Headwater")]
    Answer {
        /// The address.
        admin: SocketAddr,
    },
}

/// What the server says: whether it has done it, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether something was done, or had been.
    pub done: bool,
    /// JSON.
    pub text: String,
}

/// Asks for something, with a JSON body if there is one.
///
/// # Errors
/// See [`Error`].
pub fn ask(
    admin: SocketAddr,
    (method, path): (&str, &str),
    body: Option<&Value>,
) -> Result<Answer, Error> {
    let failed = |source| Error::Connection { admin, source };
    let answer = exchange(admin, method, path, body).map_err(failed)?;
    read(&answer).ok_or(Error::Answer { admin })
}

fn exchange(
    admin: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect_timeout(&admin, WITHIN)?;
    connection.set_read_timeout(Some(WITHIN))?;
    connection.set_write_timeout(Some(WITHIN))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {admin}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(LARGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Reads an answer: its status, and what follows the head.
fn read(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let done = status.len() == 3 && status.starts_with('2');
    Some(Answer { done, text: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_told() {
        assert_eq!(read(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n"), None);
        for (status, done) in [
            ("200 OK", true),
            ("201 Created", true),
            ("204 No Content", true),
            ("409 Conflict", false),
            ("2 x", false),
        ] {
            let answer = format!("HTTP/1.1 {status}\r\n\r\n{{}}\n");
            assert_eq!(read(answer.as_bytes()).map(|answer| answer.done), Some(done), "{status}");
        }
    }
}
