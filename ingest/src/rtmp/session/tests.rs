//! The conversation: handshake, commands, and units however the bytes come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use packager::time::{Timescale, Timestamp};

use super::*;
use crate::rtmp::amf0;
use crate::source::{DataMessage, PictureConfig, SoundConfig};

mod samples;

/// A session recorded from ffmpeg 5.1: 0.8 s of 160x90 H.264 with B-frames, and AAC.
const RECORDED: &[u8] = include_bytes!("tests/ffmpeg.rtmp");

/// Baseline avcC of a real 160x90 stream.
fn avcc() -> Bytes {
    let mut session = Session::new();
    let units = publish_all(&mut session, &[RECORDED]);
    let config = units.iter().find_map(|unit| match unit {
        Unit::VideoConfig(config) => Some(config.record()),
        _ => None,
    });
    config.unwrap()
}

/// Feeds pieces, grants every publish, and returns the units.
fn publish_all(session: &mut Session, pieces: &[&[u8]]) -> Vec<Unit> {
    let now = Instant::now();
    let mut units = Vec::new();
    for piece in pieces {
        session.push(piece);
        while let Some(event) = session.poll(now).unwrap() {
            match event {
                Event::Publish(target) => {
                    assert_eq!(target.channel, "news");
                    assert_eq!(target.key.as_ref().map(|k| k.expose()), Some("canary"));
                    session.accept();
                }
                Event::Unit(unit) => units.push(unit),
                Event::Unpublished => {}
            }
        }
        session.take_output();
    }
    units
}

/// A client that has shaken hands, and the session it talks to.
struct Client {
    session: Session,
    writer: Writer,
    reader: Reader,
    input: BytesMut,
    now: Instant,
}

impl Client {
    fn new() -> Self {
        let mut session = Session::new();
        session.push(&[3]);
        session.push(&[0; 1536]);
        assert!(session.poll(Instant::now()).unwrap().is_none());
        assert_eq!(session.stage(), Stage::Handshake);
        let reply = session.take_output();
        assert_eq!(reply.len(), 1 + 2 * 1536);
        session.push(&reply[1..1537]);
        assert!(session.poll(Instant::now()).unwrap().is_none());
        assert_eq!(session.stage(), Stage::Commands);
        let (writer, mut reader, input) = (Writer::new(), Reader::new(), BytesMut::new());
        reader.authenticate();
        Self { session, writer, reader, input, now: Instant::now() }
    }

    fn connected() -> Self {
        let mut client = Self::new();
        client.command(
            "connect",
            1.0,
            &[Value::Object(vec![("app".into(), Value::string("live"))])],
        );
        let reply = client.replies().unwrap();
        assert_eq!(code(&reply), ["NetConnection.Connect.Success"]);
        client
    }

    fn publishing() -> Self {
        let mut client = Self::connected();
        client.command("publish", 3.0, &[Value::Null, Value::string("news?key=K")]);
        assert!(matches!(client.events().unwrap()[..], [Event::Publish(_)]));
        client.session.accept();
        assert_eq!(code(&client.replies().unwrap()), ["NetStream.Publish.Start"]);
        client
    }

    fn command(&mut self, name: &str, transaction: f64, arguments: &[Value]) {
        self.writer.command(1, name, transaction, arguments);
    }

    fn send(&mut self, kind: u8, timestamp: u32, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.writer.message(Message { kind, stream_id: 1, timestamp, payload });
    }

    fn events(&mut self) -> Result<Vec<Event>, Error> {
        let bytes = self.writer.take();
        self.session.push(&bytes);
        let mut events = Vec::new();
        while let Some(event) = self.session.poll(self.now)? {
            events.push(event);
        }
        Ok(events)
    }

    fn units(&mut self) -> Result<Vec<Unit>, Error> {
        let unit = |event| match event {
            Event::Unit(unit) => Some(unit),
            _ => None,
        };
        Ok(self.events()?.into_iter().filter_map(unit).collect())
    }

    /// Commands from the session after sending what was written.
    fn replies(&mut self) -> Result<Vec<Command>, Error> {
        self.events()?;
        Ok(self.heard())
    }

    fn heard(&mut self) -> Vec<Command> {
        self.input.extend_from_slice(&self.session.take_output());
        let mut commands = Vec::new();
        while let Some(message) = self.reader.read(&mut self.input).unwrap() {
            if let Incoming::Command(command) = message::parse(&message).unwrap() {
                commands.push(command);
            }
        }
        commands
    }

    fn data(&mut self, values: &[Value]) -> DataMessage {
        let payload = amf0::encode(values);
        self.send(kind::DATA, 0, &payload);
        match self.units().unwrap().pop() {
            Some(Unit::Data(data)) => {
                assert_eq!(data.raw, payload);
                data
            }
            other => panic!("{other:?}"),
        }
    }

    /// The error that what was written leads to, and the status the peer hears.
    fn failure(&mut self) -> (Error, Vec<String>) {
        let error = self.events().unwrap_err();
        self.session.end(&error);
        let codes = code(&self.heard());
        (error, codes)
    }
}

fn code(commands: &[Command]) -> Vec<String> {
    let codes =
        commands.iter().flat_map(|c| c.arguments.iter().rev().find_map(|v| v.member("code")));
    codes.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Units without the instants of their arrival.
fn comparable(units: &[Unit]) -> Vec<String> {
    let text = |unit: &Unit| match unit {
        Unit::Video(s) | Unit::Audio(s) => {
            format!("{:?} {:?} {} {:?}", s.dts, s.pts, s.sync, s.data)
        }
        other => format!("{other:?}"),
    };
    units.iter().map(text).collect()
}

#[test]
fn a_recorded_session_gives_the_same_units_however_it_is_split() {
    let whole = comparable(&publish_all(&mut Session::new(), &[RECORDED]));
    assert_eq!(
        whole.iter().filter(|unit| unit.contains("true") || unit.contains("false")).count(),
        {
            let mut session = Session::new();
            publish_all(&mut session, &[RECORDED]);
            let counts = session.media().counts();
            assert_eq!((counts.video, counts.broken, counts.unconfigured), (20, 0, 0));
            (counts.video + counts.audio + counts.data) as usize
        }
    );
    let bytes: Vec<_> = RECORDED.chunks(1).collect();
    assert_eq!(comparable(&publish_all(&mut Session::new(), &bytes)), whole);
    // Every byte of the handshake's ends and of the commands; the chunk reader's own test covers
    // the rest at every byte.
    for split in (0..10).chain(1_530..1_545).chain(3_065..4_200) {
        let (front, back) = RECORDED.split_at(split);
        let units = publish_all(&mut Session::new(), &[front, back]);
        assert_eq!(comparable(&units), whole, "split at {split}");
    }
}

#[test]
fn nothing_but_a_handshake_is_answered_to_garbage() {
    let mut session = Session::new();
    session.push(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let error = session.poll(Instant::now()).unwrap_err();
    assert_eq!(error, Error::Handshake);
    session.end(&error);
    assert!(!session.take_output().windows(8).any(|w| w == b"onStatus"));
}

#[test]
fn nothing_is_read_past_a_publish_before_it_is_granted() {
    let mut client = Client::connected();
    client.command("publish", 3.0, &[Value::Null, Value::string("news?key=K")]);
    client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    assert!(matches!(client.events().unwrap()[..], [Event::Publish(_)]));
    assert_eq!(client.session.stage(), Stage::Decision);
    assert!(code(&client.heard()).is_empty());
    client.session.accept();
    assert!(matches!(client.units().unwrap()[..], [Unit::AudioConfig(_)]));
}

#[test]
fn a_refused_publish_hears_the_reason_and_never_start() {
    let mut client = Client::connected();
    client.command("publish", 3.0, &[Value::Null, Value::string("news")]);
    client.events().unwrap();
    client.session.refuse("NetStream.Publish.Denied", "no");
    assert_eq!(client.session.stage(), Stage::Ended);
    assert_eq!(code(&client.heard()), ["NetStream.Publish.Denied"]);
    client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    assert!(client.events().unwrap().is_empty());
}

#[test]
fn publish_needs_a_connect_to_our_application() {
    let mut client = Client::new();
    client.command("publish", 3.0, &[Value::Null, Value::string("news")]);
    assert_eq!(client.failure().0, Error::NotConnected);
    let mut client = Client::new();
    let app = [("app".to_owned(), Value::string("live/../.."))];
    client.command("connect", 1.0, &[Value::Object(app.to_vec())]);
    let (error, codes) = client.failure();
    assert_eq!(error, Error::Application);
    assert_eq!(codes, ["NetConnection.Connect.Rejected"]);
}

#[test]
fn playing_is_refused_politely() {
    let mut client = Client::connected();
    client.command("play", 4.0, &[Value::Null, Value::string("news")]);
    assert_eq!(client.failure(), (Error::Play, vec!["NetStream.Play.Failed".to_owned()]));
}

#[test]
fn calls_are_answered_as_their_callers_expect() {
    let mut client = Client::connected();
    client.command("releaseStream", 2.0, &[Value::Null, Value::string("news")]);
    client.command("FCPublish", 3.0, &[Value::Null, Value::string("news")]);
    client.command("createStream", 4.0, &[Value::Null]);
    client.command("_checkbw", 5.0, &[Value::Null]);
    client.command("getStreamLength", 6.0, &[Value::Null]);
    client.command("onUnheardOf", 0.0, &[Value::Null]);
    let replies = client.replies().unwrap();
    let answers: Vec<_> = replies.iter().map(|c| (c.name.as_str(), c.transaction)).collect();
    let result = |n| ("_result", n);
    assert_eq!(answers, [result(2.0), result(3.0), result(4.0), result(5.0), ("_error", 6.0)]);
    assert_eq!(replies[2].arguments[1], Value::Number(1.0));
}

#[test]
fn ten_thousand_streams_are_not_created() {
    let mut client = Client::connected();
    for _ in 0..10_000 {
        client.command("createStream", 4.0, &[Value::Null]);
    }
    let (error, _) = client.failure();
    assert!(matches!(error, Error::Chunk(chunk::Error::BeforeAuth { .. })), "{error}");
    assert!(client.session.message_streams <= MAX_MESSAGE_STREAMS);
}

#[test]
fn an_enhanced_client_hears_which_codecs_are_taken() {
    let mut client = Client::new();
    let codecs = Value::StrictArray(vec![Value::string("av01")]);
    let object = vec![("app".into(), Value::string("live")), ("fourCcList".into(), codecs)];
    client.command("connect", 1.0, &[Value::Object(object)]);
    let reply = client.replies().unwrap();
    let list = reply[0].arguments[1].member("fourCcList").unwrap();
    assert_eq!(list.to_json(), serde_json::json!(["avc1", "hvc1", "mp4a"]));
}

#[test]
fn a_ping_is_answered_and_bytes_are_acknowledged() {
    let mut client = Client::publishing();
    client.send(kind::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]);
    client.send(kind::WINDOW_SIZE, 0, &[0, 0, 0, 0]);
    client.send(kind::WINDOW_SIZE, 0, &1_000u32.to_be_bytes());
    client.events().unwrap();
    client.send(kind::AUDIO, 0, &[b"\xAF\x01".as_slice(), &[0; 2_000]].concat());
    client.send(kind::AUDIO, 0, b"\xAF\x01x");
    client.events().unwrap();
    client.input.extend_from_slice(&client.session.take_output());
    let mut seen = Vec::new();
    while let Some(message) = client.reader.read(&mut client.input).unwrap() {
        seen.push((message.kind, message.payload));
    }
    assert_eq!(seen[0], (kind::USER_CONTROL, Bytes::from_static(&[0, 7, 1, 2, 3, 4])));
    let (kind::ACKNOWLEDGEMENT, sequence) = &seen[1] else { panic!("{seen:?}") };
    assert_eq!(sequence[..], (client.session.bytes() as u32).to_be_bytes());
}

#[test]
fn metadata_and_cues_come_out_by_name_and_none_is_dropped() {
    let mut client = Client::publishing();
    let text = |t: &str| Value::string(t);
    let object =
        Value::Object(vec![("cue".into(), text("/DAvAAA=")), ("time".into(), Value::Number(12.5))]);
    for name in ["onMetaData", "onCuePoint", "onAdCue", "onTextData", "onUserDataEvent", "x"] {
        for wrapped in [false, true] {
            let mut values = vec![text(name), object.clone()];
            if wrapped {
                values.insert(0, text("@setDataFrame"));
            }
            let data = client.data(&values);
            assert_eq!(data.name, name);
            assert_eq!(data.values, [serde_json::json!({"cue": "/DAvAAA=", "time": 12.5})]);
        }
    }
    assert_eq!(client.data(&[text("@setDataFrame")]).name, "@setDataFrame");
    assert_eq!(client.data(&[text("@setDataFrame"), object.clone()]).name, "@setDataFrame");
    assert_eq!(client.data(&[text("@clearDataFrame"), text("onMetaData")]).name, "@clearDataFrame");
    let nameless = client.data(std::slice::from_ref(&object));
    assert_eq!((nameless.name.as_str(), nameless.values.len()), ("", 1));
}

#[test]
fn a_publication_may_end_and_another_begin() {
    let mut client = Client::publishing();
    for _ in 0..3 {
        client.command("FCUnpublish", 5.0, &[Value::Null, Value::string("news")]);
        client.command("deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]);
        assert!(matches!(client.events().unwrap()[..], [Event::Unpublished]));
        client.command("publish", 3.0, &[Value::Null, Value::string("news?key=K")]);
        assert!(matches!(client.events().unwrap()[..], [Event::Publish(_)]));
        client.session.accept();
    }
}
