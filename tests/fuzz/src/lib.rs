//! Fuzz targets: plain functions that panic when a promise is broken. libFuzzer calls them from
//! `fuzz_targets/`, and the integration binary with every file of `corpus/`.

use std::time::Instant;

use bytes::BytesMut;
use ingest::rtmp::amf0::{self, Value};
use ingest::rtmp::chunk::{Error, Message, Reader};
use ingest::rtmp::message::Writer;
use ingest::rtmp::session::{Event, Session};

/// The chunk reader comes to the same messages and the same end wherever its input is split. The
/// first byte is the size of the pieces, its top bit says whether the peer is authenticated.
pub fn chunk_reader(data: &[u8]) {
    let Some((&head, wire)) = data.split_first() else { return };
    let authenticated = head & 0x80 != 0;
    let size = usize::from(head & 0x7F).max(1);
    let whole = read(authenticated, std::iter::once(wire));
    let pieces = read(authenticated, wire.chunks(size));
    assert_eq!(whole, pieces, "split every {size} bytes");
}

fn read<'a>(
    authenticated: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<Error>) {
    let mut reader = Reader::new();
    if authenticated {
        reader.authenticate();
    }
    let (mut input, mut messages) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.len() < 18, "a whole header was left lying");
    }
    (messages, None)
}

/// The AMF0 decoder keeps its budgets, and what it has read can be written and shown as JSON.
pub fn amf0(data: &[u8]) {
    let (values, whole) = match amf0::decode(data) {
        Ok(values) => (values, true),
        Err((values, _)) => (values, false),
    };
    let (nodes, depth) = measure(&values);
    assert!(nodes <= amf0::MAX_NODES && depth <= amf0::MAX_DEPTH + 1, "{nodes} {depth}");
    let json: Vec<_> = values.iter().map(Value::to_json).collect();
    let written = amf0::encode(&values);
    // Replacing what is no UTF-8 may make a text longer than it may be.
    if let Ok(again) = amf0::decode(&written) {
        let again: Vec<_> = again.iter().map(Value::to_json).collect();
        assert!(!whole || again == json, "{json:?} became {again:?}");
    }
}

/// Number of values at all levels, and number of levels.
fn measure(values: &[Value]) -> (usize, usize) {
    values.iter().fold((0, 0), |(nodes, depth), value| {
        let (below, levels) = match value {
            Value::StrictArray(items) => measure(items),
            Value::Object(members) | Value::EcmaArray(members) => {
                members.iter().fold((0, 0), |(nodes, depth), (_, member)| {
                    let (below, levels) = measure(std::slice::from_ref(member));
                    (nodes + below, depth.max(levels))
                })
            }
            _ => (0, 0),
        };
        (nodes + 1 + below, depth.max(levels + 1))
    })
}

/// A session that has granted a publish survives whatever its publisher sends.
pub fn session(data: &[u8]) {
    let now = Instant::now();
    let mut session = Session::new();
    session.push(&[3]);
    session.push(&[0; 2 * 1536]);
    let mut client = Writer::new();
    let object = Value::Object(vec![("app".into(), Value::string("live"))]);
    client.command(0, "connect", 1.0, &[object]);
    client.command(1, "publish", 2.0, &[Value::Null, Value::string("news")]);
    session.push(&client.take());
    assert!(matches!(session.poll(now), Ok(Some(Event::Publish(_)))));
    session.accept();
    session.push(data);
    loop {
        match session.poll(now) {
            Ok(Some(Event::Publish(_))) => session.accept(),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                session.end(&error);
                break;
            }
        }
    }
    session.take_output();
}
