//! The command `headwater cue`: hands a cue in at the admin listener of a running server, and prints what
//! became of it.
//!
//! One request over HTTP/1.0 and one answer: the server closes the connection behind it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value};

/// How long the server may take: it answers in a few milliseconds.
const WITHIN: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LARGEST: u64 = 1 << 20;

/// What is asked for, of which channel, at which server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// The channel.
    pub channel: String,
    /// Members of the JSON object that is sent.
    pub fields: Map<String, Value>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server can't be reached, or breaks off.
    #[error("no answer from the server at {admin}")]
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

/// Hands an order in.
///
/// # Errors
/// See [`Error`].
pub fn send(admin: SocketAddr, order: &Order) -> Result<Answer, Error> {
    let failed = |source| Error::Connection { admin, source };
    let answer = exchange(admin, order).map_err(failed)?;
    read(&answer).ok_or(Error::Answer { admin })
}

fn exchange(admin: SocketAddr, order: &Order) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect_timeout(&admin, WITHIN)?;
    connection.set_read_timeout(Some(WITHIN))?;
    connection.set_write_timeout(Some(WITHIN))?;
    let body = Value::Object(order.fields.clone()).to_string();
    let request = format!(
        "POST /api/v1/channels/{}/cues HTTP/1.0\r\nHost: {admin}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        order.channel,
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
    Some(Answer { done: status == "200", text: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_order_is_sent_and_its_answer_read() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 512]);
            while !request.ends_with(b"}") {
                let count = connection.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..count]);
            }
            connection
                .write_all(b"HTTP/1.0 409 Conflict\r\nA: b\r\n\r\n{\"error\":\"x\"}")
                .unwrap();
            String::from_utf8(request).unwrap()
        });
        let mut order = Order { channel: "news".into(), ..Order::default() };
        order.fields.insert("kind".into(), "out".into());
        let answer = send(admin, &order).unwrap();
        assert_eq!(answer, Answer { done: false, text: "{\"error\":\"x\"}".into() });
        let request = serving.join().unwrap();
        assert!(request.starts_with("POST /api/v1/channels/news/cues HTTP/1.0\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"kind\":\"out\"}"), "{request}");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert_eq!(read(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n{}\n").map(|answer| answer.done), Some(true));
    }
}
