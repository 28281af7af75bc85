//! The command `headwater cue`: hands a cue in at the admin listener of a running server, and prints what
//! became of it.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::asking::{self, Answer, Error};

/// What is asked for, of which channel, at which server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// The channel.
    pub channel: String,
    /// Members of the JSON object that is sent.
    pub fields: Map<String, Value>,
}

/// Hands an order in.
///
/// # Errors
/// See [`Error`].
pub fn send(admin: SocketAddr, order: &Order) -> Result<Answer, Error> {
    let path = format!("/api/v1/channels/{}/cues", order.channel);
    asking::ask(admin, ("POST", &path), Some(&Value::Object(order.fields.clone())))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
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
}
