use std::time::{Duration, Instant};

use bytes::Bytes;
use packager::time::{Timescale, Timestamp};

use super::*;
use crate::rtmp::amf0;
use crate::source::DataMessage;

/// A session recorded from ffmpeg 5.1: 0.8 s of 160x90 H.264 with B-frames, and AAC.
const RECORDED: &[u8] = include_bytes!("tests/ffmpeg.rtmp");

/// Baseline avcC of a real 160x90 stream.
fn avcc() -> Bytes {
    let mut session = Session::new();
    let units = publish_all(&mut session, &[RECORDED]);
    let config = units.iter().find_map(|unit| match unit {
        Unit::VideoConfig(config) => Some(config.record.clone()),
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
fn equal_sequence_headers_are_passed_on_once_and_changed_ones_again() {
    let mut client = Client::publishing();
    let video = [b"\x17\0\0\0\0".as_slice(), &avcc()].concat();
    for _ in 0..3 {
        client.send(kind::VIDEO, 0, &video);
        client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    }
    assert!(matches!(client.units().unwrap()[..], [Unit::VideoConfig(_), Unit::AudioConfig(_)]));
    client.send(kind::AUDIO, 0, b"\xAF\0\x12\x10");
    assert!(
        matches!(&client.units().unwrap()[..], [Unit::AudioConfig(c)] if c.sample_rate == 44_100)
    );
}

#[test]
fn the_clock_goes_on_over_its_wrap_and_back() {
    let mut client = Client::publishing();
    client.send(kind::AUDIO, u32::MAX - 10, b"\xAF\0\x11\x90");
    for timestamp in [u32::MAX - 10, 12, u32::MAX - 5, 40] {
        client.send(kind::AUDIO, timestamp, b"\xAF\x01x");
    }
    let times: Vec<_> = client.units().unwrap()[1..]
        .iter()
        .map(|unit| match unit {
            Unit::Audio(sample) => sample.dts,
            other => panic!("{other:?}"),
        })
        .collect();
    let last = i64::from(u32::MAX);
    let expected = [last - 10, last + 13, last - 5, last + 41];
    assert_eq!(times, expected.map(|ticks| Timestamp::new(ticks, Timescale::MILLIS)));
}

#[test]
fn the_clock_goes_on_over_half_its_range_and_over_the_whole_for_both_tracks() {
    for start in [(1u32 << 31) - 5_000, 5_000_u32.wrapping_neg(), 0x00FF_FFF0] {
        let mut client = Client::publishing();
        client.send(kind::VIDEO, start, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
        client.send(kind::AUDIO, start, b"\xAF\0\x11\x90");
        for n in 0..500u32 {
            let at = start.wrapping_add(n * 40);
            client.send(kind::VIDEO, at, b"\x27\x01\0\0\0\0\0\0\x02\x41\x9A");
            client.send(kind::AUDIO, at.wrapping_add(20), b"\xAF\x01x");
        }
        let units = client.units().unwrap();
        let times = |video: bool| -> Vec<i64> {
            let at = |unit: &Unit| match unit {
                Unit::Video(sample) if video => Some(sample.dts.ticks),
                Unit::Audio(sample) if !video => Some(sample.dts.ticks),
                _ => None,
            };
            units.iter().filter_map(at).collect()
        };
        let expected = |offset: i64| -> Vec<i64> {
            (0..500).map(|n| i64::from(start) + n * 40 + offset).collect()
        };
        assert_eq!((times(true), times(false)), (expected(0), expected(20)), "{start:#x}");
    }
}

#[test]
fn a_change_from_aac_lc_to_he_aac_and_back_comes_through_and_video_goes_on() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    // 44.1 kHz stereo as LC; 22.05 kHz as HE-AAC, which doubles it; LC again.
    let (low, high) = ([0x12, 0x10].as_slice(), [0x2B, 0x92, 0x08, 0x00].as_slice());
    let mut rates = Vec::new();
    for (n, record) in [low, high, low].into_iter().enumerate() {
        client.send(kind::AUDIO, 0, &[b"\xAF\0", record].concat());
        client.send(kind::AUDIO, 0, b"\xAF\x01x");
        client.send(kind::VIDEO, 0, b"\x27\x01\0\0\0\0\0\0\x02\x41\x9A");
        let units = client.units().unwrap();
        let configs = units.iter().filter_map(|unit| match unit {
            Unit::AudioConfig(config) => Some((config.sample_rate, config.frame_samples)),
            _ => None,
        });
        rates.extend(configs);
        assert!(matches!(units[..], [.., Unit::Audio(_), Unit::Video(_)]), "{n}: {units:?}");
    }
    assert_eq!(rates, [(44_100, 1024), (44_100, 2048), (44_100, 1024)]);
}

#[test]
fn short_nal_lengths_become_four_bytes_in_record_and_samples() {
    let mut client = Client::publishing();
    let mut record = avcc().to_vec();
    record[4] = 0xFC | 1;
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &record].concat());
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\x02\x65\x88\0\x01\x0C");
    let units = client.units().unwrap();
    let [Unit::VideoConfig(config), Unit::Video(sample)] = &units[..] else { panic!("{units:?}") };
    assert_eq!(config.record, avcc());
    assert!(sample.sync);
    assert_eq!(sample.data[..], [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x0C]);
}

#[test]
fn a_key_frame_that_is_no_idr_is_no_place_to_start() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x41\x9A");
    let units = client.units().unwrap();
    assert!(matches!(&units[1], Unit::Video(sample) if !sample.sync));
}

#[test]
fn a_picture_whose_nal_units_do_not_add_up_is_dropped_and_counted() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    client.send(kind::VIDEO, 40, b"\x17\x01\0\0\0\0\0\0\x09\x65\x88");
    client.send(kind::VIDEO, 80, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert_eq!(client.units().unwrap().len(), 2);
    assert_eq!(client.session.media().counts().broken, 1);
}

#[test]
fn pictures_without_a_configuration_are_waited_for_and_then_refused() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert!(client.units().unwrap().is_empty());
    client.now += CONFIG_WAIT - Duration::from_millis(1);
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert!(client.units().unwrap().is_empty());
    client.now += Duration::from_millis(1);
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    let (error, codes) = client.failure();
    assert!(matches!(error, Error::Media(media::Error::NoVideoConfig { .. })), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn codecs_we_do_not_take_are_refused_to_the_peer() {
    for (kind, body) in [
        (kind::AUDIO, b"\x2F\xFF\xFB".as_slice()),
        (kind::VIDEO, b"\x90av01\x81"),
        (kind::VIDEO, b"\x96\x01hvc1"),
    ] {
        let mut client = Client::publishing();
        client.send(kind, 0, body);
        let (error, codes) = client.failure();
        assert!(matches!(error, Error::Media(media::Error::Codec(_))), "{error}");
        assert_eq!(codes, ["NetStream.Publish.Rejected"]);
    }
}

/// Exp-Golomb code.
fn ue(value: u32) -> String {
    let code = format!("{:b}", value + 1);
    "0".repeat(code.len() - 1) + &code
}

/// An avcC whose SPS claims a picture of `size` times `size` pixels.
fn avcc_of(size: u32) -> Vec<u8> {
    // seq_parameter_set_id, log2_max_frame_num, pic_order_cnt_type, max_num_ref_frames; no gaps.
    let mut bits = [0, 0, 2, 1].map(ue).concat() + "0";
    bits += &ue(size / 16 - 1).repeat(2);
    // frame_mbs_only, direct_8x8_inference, no cropping, no VUI, stop bit.
    bits += "11001";
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let mut sps = vec![0x67, 66, 0xC0, 30];
    let bytes = bits.as_bytes().chunks(8);
    sps.extend(bytes.map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()));
    let length = (sps.len() as u16).to_be_bytes();
    let head = [1, 66, 0xC0, 30, 0xFF, 0xE1].as_slice();
    [head, &length, &sps, &[1, 0, 4, 0x68, 0xCE, 0x3C, 0x80]].concat()
}

#[test]
fn a_picture_too_large_to_decode_is_refused_to_the_peer() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc_of(1024)].concat());
    let units = client.units().unwrap();
    assert!(matches!(&units[..], [Unit::VideoConfig(c)] if c.width == 1024), "{units:?}");
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc_of(16_384)].concat());
    let (error, codes) = client.failure();
    assert!(error.to_string().contains("16384x16384"), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn a_picture_that_brings_a_parameter_set_too_large_to_decode_is_refused_to_the_peer() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    let record = avcc_of(16_384);
    let length = u16::from_be_bytes([record[6], record[7]]);
    let sps = &record[8..8 + usize::from(length)];
    let picture = [&[0, 0], &record[6..8], sps, b"\0\0\0\x02\x65\x88"].concat();
    client.send(kind::VIDEO, 0, &[b"\x17\x01\0\0\0".as_slice(), &picture].concat());
    let (error, codes) = client.failure();
    assert!(error.to_string().contains("16384x16384"), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn aggregates_are_taken_apart() {
    let mut client = Client::publishing();
    let tag = |kind: u8, time: u32, body: &[u8]| {
        let [_, l @ ..] = (body.len() as u32).to_be_bytes();
        let [high, t @ ..] = time.to_be_bytes();
        let head = [[kind].as_slice(), &l, &t, &[high], &[0; 3]].concat();
        [&head, body, &[0; 4]].concat()
    };
    let payload = [
        tag(kind::AUDIO, 100, b"\xAF\0\x11\x90"),
        tag(kind::AUDIO, 121, b"\xAF\x01x"),
        tag(kind::AGGREGATE, 0, &tag(kind::AUDIO, 0, b"\xAF\x01never")),
        tag(kind::AUDIO, 0x0100_0000, b"\xAF\x01y"),
    ];
    client.send(kind::AGGREGATE, 100, &payload.concat());
    let units = client.units().unwrap();
    let [Unit::AudioConfig(_), Unit::Audio(x), Unit::Audio(y)] = &units[..] else {
        panic!("{units:?}")
    };
    assert_eq!((x.dts.ticks, y.dts.ticks), (121, 0x0100_0000));
    for cut in 0..40 {
        client.send(kind::AGGREGATE, 100, &payload.concat()[..cut]);
        let _ = client.events();
    }
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

#[test]
fn media_headers_that_make_no_sense_cost_their_message_only() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, b"\x17\x01\0");
    client.send(kind::VIDEO, 0, b"\x95hvc1");
    client.send(kind::AUDIO, 0, b"\xAF\x07");
    client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    assert!(matches!(client.units().unwrap()[..], [Unit::AudioConfig(_)]));
    assert_eq!(client.session.media().counts().broken, 3);
}

/// hvcC of a 160x90 stream by x265.
const HVCC: &[u8] = b"\x01\x01\x60\0\0\0\x90\0\0\0\0\0\x1E\xF0\0\xFC\xFD\xF8\xF8\0\0\x0F\x03\
    \xA0\0\x01\0\x18\x40\x01\x0C\x01\xFF\xFF\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x1E\x95\x98\x09\
    \xA1\0\x01\0\x2A\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x1E\xA0\x14\x20\x61\xF2\x65\
    \x95\x9A\x49\x32\xBC\x05\xA0\x20\0\0\x03\0\x20\0\0\x03\x03\x21\
    \xA2\0\x01\0\x07\x44\x01\xC1\x72\xB4\x62\x40";

#[test]
fn h265_comes_in_by_four_cc_and_by_its_old_number() {
    for (config, picture) in [
        (b"\x90hvc1".as_slice(), b"\x91hvc1\0\0\x28".as_slice()),
        (b"\x1C\0\0\0\0", b"\x1C\x01\0\0\x28"),
    ] {
        let mut client = Client::publishing();
        client.send(kind::VIDEO, 0, &[config, HVCC].concat());
        client.send(kind::VIDEO, 40, &[picture, b"\0\0\0\x03\x28\x01\xAF"].concat());
        let units = client.units().unwrap();
        let [Unit::VideoConfig(config), Unit::Video(sample)] = &units[..] else {
            panic!("{units:?}")
        };
        assert_eq!((config.width, config.height), (160, 90));
        assert!(config.codec_string.starts_with("hvc1."), "{}", config.codec_string);
        assert_eq!((sample.dts.ticks, sample.pts.ticks, sample.sync), (40, 80, true));
    }
}
