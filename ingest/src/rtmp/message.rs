//! RTMP messages (RTMP 1.0 §5.4, §7.1): what a whole message means, and how replies are written.
//!
//! [`parse`] sorts a [`Message`] into commands, data, media and controls. [`Writer`] turns replies
//! into chunks with rml_rtmp's serializer (its reader is never used: it panics on hostile input).
//! What follows from a command is [`super::session`]'s business.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use bytes::Bytes;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::amf0::{self, Value};
use super::chunk::Message;

/// Message type ids.
pub mod kind {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control Message.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3 clothes: a zero byte, then AMF0.
    pub const DATA_AMF3: u8 = 15;
    /// A command in AMF3 clothes.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0.
    pub const DATA: u8 = 18;
    /// A command in AMF0.
    pub const COMMAND: u8 = 20;
    /// Several audio, video or data messages in one.
    pub const AGGREGATE: u8 = 22;
}

/// User control events.
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;
const STREAM_BEGIN: u16 = 0;

/// A remote call.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is called.
    pub name: String,
    /// Transaction id; 0 when no answer is wanted or the caller left it out.
    pub transaction: f64,
    /// Command object and arguments.
    pub arguments: Vec<Value>,
    /// Message stream it was sent on.
    pub stream_id: u32,
}

impl Command {
    /// The first text among the arguments: the stream name, in every call that has one.
    pub fn first_text(&self) -> Option<&str> {
        self.arguments.iter().find_map(Value::as_str)
    }
}

/// What a message means.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A remote call.
    Command(Command),
    /// Metadata, a cue point, text: its values as far as they could be read.
    Data(Vec<Value>),
    /// An FLV audio tag's body.
    Audio(Bytes),
    /// An FLV video tag's body.
    Video(Bytes),
    /// Several messages in one.
    Aggregate(Bytes),
    /// Acknowledge after this many bytes; 0 means nothing.
    WindowSize(u32),
    /// Answer with the same four bytes.
    PingRequest([u8; 4]),
    /// Nothing to do: already obeyed, informative, or unknown.
    Ignored,
}

/// Why a message makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its AMF0 values can't be read.
    #[error("in a message of type {kind}: {source}")]
    Values {
        /// Message type.
        kind: u8,
        /// What is wrong.
        source: amf0::Error,
    },
    /// A command without a name.
    #[error("command without a name")]
    NoName,
}

/// Finds out what a message means.
///
/// # Errors
/// A command can't be read, or data break a limit. Data of an unknown form are no error: their raw
/// bytes are worth keeping.
pub fn parse(message: &Message) -> Result<Incoming, Error> {
    let payload = &message.payload;
    Ok(match message.kind {
        kind::AUDIO => Incoming::Audio(payload.clone()),
        kind::VIDEO => Incoming::Video(payload.clone()),
        kind::AGGREGATE => Incoming::Aggregate(payload.clone()),
        kind::COMMAND | kind::COMMAND_AMF3 => {
            let values = amf0::decode(amf0_part(message))
                .or_else(|(values, error)| match (values.is_empty(), error.is_limit()) {
                    (false, false) => Ok(values),
                    _ => Err(error),
                })
                .map_err(|source| Error::Values { kind: message.kind, source })?;
            Incoming::Command(command(values, message.stream_id)?)
        }
        kind::DATA | kind::DATA_AMF3 => match amf0::decode(amf0_part(message)) {
            Err((_, source)) if source.is_limit() => {
                return Err(Error::Values { kind: message.kind, source });
            }
            Ok(values) | Err((values, _)) => Incoming::Data(values),
        },
        kind::WINDOW_SIZE => match payload.first_chunk() {
            Some(size) => Incoming::WindowSize(u32::from_be_bytes(*size)),
            None => Incoming::Ignored,
        },
        kind::USER_CONTROL => match (payload.first_chunk(), payload.get(2..6)) {
            (Some(event), Some(value)) if u16::from_be_bytes(*event) == PING_REQUEST => {
                Incoming::PingRequest(value.try_into().unwrap_or_default())
            }
            _ => Incoming::Ignored,
        },
        _ => Incoming::Ignored,
    })
}

/// The values without the zero byte that AMF3 messages begin with.
fn amf0_part(message: &Message) -> &[u8] {
    let payload = message.payload.as_ref();
    match message.kind {
        kind::COMMAND_AMF3 | kind::DATA_AMF3 => payload.strip_prefix(&[0]).unwrap_or(payload),
        _ => payload,
    }
}

fn command(values: Vec<Value>, stream_id: u32) -> Result<Command, Error> {
    let mut values = values.into_iter().peekable();
    let Some(Value::String(name)) = values.next() else { return Err(Error::NoName) };
    // Some mobile publishers leave the transaction id out of FCPublish and its like.
    let transaction = match values.peek() {
        Some(Value::Number(number)) => {
            let number = *number;
            values.next();
            number
        }
        _ => 0.0,
    };
    Ok(Command { name, transaction, arguments: values.collect(), stream_id })
}

/// Writes one direction of a connection.
pub struct Writer {
    serializer: ChunkSerializer,
    out: Vec<u8>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("pending", &self.out.len()).finish_non_exhaustive()
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A writer at the first byte after the handshake.
    pub fn new() -> Self {
        Self { serializer: ChunkSerializer::new(), out: Vec::new() }
    }

    /// What has been written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes as they are: the handshake.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A message. One longer than 2^24 − 1 bytes can't be written and is left out.
    pub fn message(&mut self, message: Message) {
        let payload = MessagePayload {
            timestamp: RtmpTimestamp::new(message.timestamp),
            type_id: message.kind,
            message_stream_id: message.stream_id,
            data: message.payload,
        };
        if let Ok(packet) = self.serializer.serialize(&payload, false, false) {
            self.out.extend_from_slice(&packet.bytes);
        }
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.message(Message { kind, stream_id: 0, timestamp: 0, payload });
    }

    /// Tells the peer the chunk size and uses it from here on.
    pub fn set_chunk_size(&mut self, size: u32) {
        if let Ok(packet) = self.serializer.set_max_chunk_size(size, RtmpTimestamp::new(0)) {
            self.out.extend_from_slice(&packet.bytes);
        }
    }

    /// Asks for an acknowledgement after `size` bytes.
    pub fn window_size(&mut self, size: u32) {
        self.control(kind::WINDOW_SIZE, &size.to_be_bytes());
    }

    /// Set Peer Bandwidth with limit type dynamic.
    pub fn peer_bandwidth(&mut self, size: u32) {
        let [a, b, c, d] = size.to_be_bytes();
        self.control(kind::PEER_BANDWIDTH, &[a, b, c, d, 2]);
    }

    /// Acknowledges `received` bytes, modulo 2^32.
    pub fn acknowledgement(&mut self, received: u32) {
        self.control(kind::ACKNOWLEDGEMENT, &received.to_be_bytes());
    }

    /// Answers a ping.
    pub fn ping_response(&mut self, value: [u8; 4]) {
        self.user_control(PING_RESPONSE, value);
    }

    /// Stream Begin.
    pub fn stream_begin(&mut self, stream_id: u32) {
        self.user_control(STREAM_BEGIN, stream_id.to_be_bytes());
    }

    fn user_control(&mut self, event: u16, value: [u8; 4]) {
        self.control(kind::USER_CONTROL, &[event.to_be_bytes().as_slice(), &value].concat());
    }

    /// A command or a reply to one.
    pub fn command(&mut self, stream_id: u32, name: &str, transaction: f64, arguments: &[Value]) {
        let mut values = vec![Value::string(name), Value::Number(transaction)];
        values.extend_from_slice(arguments);
        let payload = amf0::encode(&values);
        self.message(Message { kind: kind::COMMAND, stream_id, timestamp: 0, payload });
    }

    /// An onStatus of the stream.
    pub fn status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) {
        let info = status_info(level, code, description);
        self.command(stream_id, "onStatus", 0.0, &[Value::Null, info]);
    }
}

/// The information object of replies: level, code, description.
pub fn status_info(level: &str, code: &str, description: &str) -> Value {
    Value::Object(vec![
        ("level".into(), Value::string(level)),
        ("code".into(), Value::string(code)),
        ("description".into(), Value::string(description)),
    ])
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
