use super::*;
use crate::rtmp::chunk::Reader;
use bytes::BytesMut;

fn message(kind: u8, payload: &[u8]) -> Message {
    Message { kind, stream_id: 1, timestamp: 0, payload: Bytes::copy_from_slice(payload) }
}

#[test]
fn a_command_is_read_with_and_without_a_transaction_id() {
    let with = [Value::string("FCPublish"), Value::Number(3.0), Value::Null, Value::string("a")];
    let without = [Value::string("FCPublish"), Value::Null, Value::string("a")];
    for (values, transaction) in [(with.as_slice(), 3.0), (&without, 0.0)] {
        let Ok(Incoming::Command(command)) = parse(&message(kind::COMMAND, &amf0::encode(values)))
        else {
            panic!("no command");
        };
        assert_eq!((command.name.as_str(), command.transaction), ("FCPublish", transaction));
        assert_eq!(command.first_text(), Some("a"));
    }
}

#[test]
fn amf3_messages_are_amf0_behind_a_zero_byte() {
    let values = amf0::encode(&[Value::string("connect"), Value::Number(1.0)]);
    let wrapped = [[0].as_slice(), &values].concat();
    for payload in [wrapped.as_slice(), &values] {
        let parsed = parse(&message(kind::COMMAND_AMF3, payload)).unwrap();
        assert!(matches!(parsed, Incoming::Command(c) if c.name == "connect"));
    }
    let parsed = parse(&message(kind::DATA_AMF3, &wrapped)).unwrap();
    assert!(matches!(parsed, Incoming::Data(values) if values.len() == 2));
}

#[test]
fn data_of_an_unknown_form_are_kept_and_hostile_ones_are_not() {
    let mut odd = amf0::encode(&[Value::string("onFI")]).to_vec();
    odd.push(0x11);
    let values = vec![Value::string("onFI")];
    assert_eq!(parse(&message(kind::DATA, &odd)), Ok(Incoming::Data(values)));
    let nested = [0x0A, 0, 0, 0, 1].repeat(1_000);
    assert!(parse(&message(kind::DATA, &nested)).is_err());
    assert!(parse(&message(kind::COMMAND, &nested)).is_err());
    assert_eq!(parse(&message(kind::COMMAND, &[])), Err(Error::NoName));
}

#[test]
fn controls_too_short_for_their_value_are_ignored() {
    for kind in [kind::WINDOW_SIZE, kind::USER_CONTROL, kind::ACKNOWLEDGEMENT, 99] {
        for length in 0..4 {
            assert_eq!(parse(&message(kind, &vec![0; length])), Ok(Incoming::Ignored));
        }
    }
}

#[test]
fn what_the_writer_writes_our_reader_reads() {
    let mut writer = Writer::new();
    let long = Bytes::from(vec![7; 10_000]);
    writer.set_chunk_size(4_096);
    for timestamp in [0, 40, 80, 0xFF_FFF0, 0x0100_0018, 0x0100_0040, u32::MAX, 39] {
        let payload = long.clone();
        writer.message(Message { kind: 9, stream_id: 1, timestamp, payload });
    }
    let mut input = BytesMut::from(writer.take().as_slice());
    let mut reader = Reader::new();
    reader.authenticate();
    let mut times = Vec::new();
    while let Some(message) = reader.read(&mut input).unwrap() {
        if message.kind == 9 {
            assert_eq!(message.payload, long);
            times.push(message.timestamp);
        }
    }
    assert_eq!(times, [0, 40, 80, 0xFF_FFF0, 0x0100_0018, 0x0100_0040, u32::MAX, 39]);
}
