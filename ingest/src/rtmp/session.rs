//! One publisher's connection without its socket: bytes and instants in, replies and events out.
//!
//! ```text
//! push bytes ─► handshake ─► chunk::Reader ─► commands ─► Event::Publish ─► accept() | refuse()
//!                                        └─► audio, video, data ─► Event::Unit  (once accepted)
//! ```
//! The caller fills [`Session::input`], calls [`Session::poll`] until it returns `None`, and sends
//! what [`Session::take_output`] gives. Nothing is read past a publish until the caller has decided,
//! so the key is checked before NetStream.Publish.Start. On an error the caller sends what
//! [`Session::end`] has written and closes. Deadlines are the caller's; [`Session::stage`] says
//! which one applies.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

use super::amf0::Value;
use super::chunk::{self, Message, Reader};
use super::message::{self, Command, Incoming, Writer, kind, status_info};
use crate::hub::Closed;
use crate::source::Unit;

mod media;
mod target;

pub use media::Media;
pub use target::Target;

/// Our chunk size; replies are short, so it hardly matters.
const CHUNK_SIZE: u32 = 4_096;
/// Bytes after which each side acknowledges, until the peer wishes otherwise.
const WINDOW: u32 = 2_500_000;
/// Message streams a connection may create; publishers create one.
const MAX_MESSAGE_STREAMS: u32 = 16;
/// Bytes of the handshake before C2.
const C0_C1: u64 = 1 + 1_536;
/// The only application there is.
pub const APPLICATION: &str = "live";
/// How long pictures may come before their decoder configuration does.
const CONFIG_WAIT: Duration = Duration::from_secs(5);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// C0 and C1 are awaited.
    Hello,
    /// C2 is awaited.
    Handshake,
    /// Commands up to `publish` are awaited.
    Commands,
    /// The caller has to decide about a [`Event::Publish`].
    Decision,
    /// Media flow.
    Publishing,
    /// It is over; only output is left.
    Ended,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The peer wants to publish; answer with [`Session::accept`] or [`Session::refuse`].
    Publish(Target),
    /// A piece of the source.
    Unit(Unit),
    /// The peer ended its publication in good order and may begin another.
    Unpublished,
}

/// Why a connection ends from our side. The text is meant for the peer and the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are no RTMP handshake.
    #[error("not an RTMP handshake")]
    Handshake,
    /// The chunk stream is broken or over a limit.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// A message is broken or over a limit.
    #[error(transparent)]
    Message(#[from] message::Error),
    /// The media can't be used.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// An application other than [`APPLICATION`].
    #[error("unknown application; publish to rtmp://HOST/live/CHANNEL?key=KEY")]
    Application,
    /// A publish before a connect.
    #[error("publish before connect")]
    NotConnected,
    /// The peer wants to play.
    #[error("playing over RTMP is not offered; use HLS or DASH")]
    Play,
}

/// A publisher's connection.
pub struct Session {
    stage: Stage,
    handshake: Handshake,
    input: BytesMut,
    reader: Reader,
    writer: Writer,
    media: Media,
    received: u64,
    acknowledged: u64,
    window: u32,
    application: String,
    message_streams: u32,
    /// Message stream that publishes or wants to.
    stream_id: u32,
    /// An aggregate message being taken apart, and the message it came in.
    aggregate: Option<Message>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("stage", &self.stage)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A connection of which nothing is known yet.
    pub fn new() -> Self {
        Self {
            stage: Stage::Hello,
            handshake: Handshake::new(PeerType::Server),
            input: BytesMut::new(),
            reader: Reader::new(),
            writer: Writer::new(),
            media: Media::new(CONFIG_WAIT),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
            application: String::new(),
            message_streams: 0,
            stream_id: 0,
            aggregate: None,
        }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Where the caller puts what it reads. Only ever append.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Counts bytes put into [`Self::input`] and acknowledges them when it is time.
    pub fn received(&mut self, count: usize) {
        self.received = self.received.saturating_add(count as u64);
        let unacknowledged = self.received.saturating_sub(self.acknowledged);
        let talking = !matches!(self.stage, Stage::Hello | Stage::Handshake | Stage::Ended);
        if talking && unacknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            self.writer.acknowledgement((self.received & u64::from(u32::MAX)) as u32);
        }
    }

    /// Appends bytes to the input: for callers that hold them already.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.received(bytes.len());
    }

    /// What has to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.writer.take()
    }

    /// Bytes received in all.
    pub fn bytes(&self) -> u64 {
        self.received
    }

    /// What is known of the media.
    pub fn media(&self) -> &Media {
        &self.media
    }

    /// The next event, or `None` when the input has no more. `now` is when the input was read.
    ///
    /// # Errors
    /// The connection can't go on; tell the peer with [`Self::end`].
    pub fn poll(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        loop {
            match self.stage {
                Stage::Hello | Stage::Handshake => {
                    if !self.shake_hands()? {
                        return Ok(None);
                    }
                }
                Stage::Decision | Stage::Ended => return Ok(None),
                Stage::Commands | Stage::Publishing => {
                    let message = match self.next_of_aggregate() {
                        Some(message) => message,
                        None => match self.reader.read(&mut self.input)? {
                            Some(message) => message,
                            None => return Ok(None),
                        },
                    };
                    if let Some(event) = self.take_message(&message, now)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Feeds the handshake; whether it is done.
    fn shake_hands(&mut self) -> Result<bool, Error> {
        let bytes = self.input.split();
        if bytes.is_empty() {
            return Ok(false);
        }
        // The library holds at most the 3,073 bytes of C0, C1 and C2; what follows comes back.
        match self.handshake.process_bytes(&bytes).map_err(|_| Error::Handshake)? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                self.writer.raw(&response_bytes);
                if self.received >= C0_C1 {
                    self.stage = Stage::Handshake;
                }
                Ok(false)
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                self.writer.raw(&response_bytes);
                self.input.extend_from_slice(&remaining_bytes);
                self.stage = Stage::Commands;
                Ok(true)
            }
        }
    }

    fn take_message(&mut self, message: &Message, now: Instant) -> Result<Option<Event>, Error> {
        let publishing = self.stage == Stage::Publishing;
        match message::parse(message)? {
            Incoming::Command(command) => self.take_command(&command),
            Incoming::WindowSize(size) if size > 0 => {
                self.window = size;
                Ok(None)
            }
            Incoming::PingRequest(value) => {
                self.writer.ping_response(value);
                Ok(None)
            }
            Incoming::Aggregate(_) if publishing => {
                self.aggregate = Some(message.clone());
                Ok(None)
            }
            Incoming::Audio(body) if publishing => {
                Ok(self.media.audio(message.timestamp, body, now)?.map(Event::Unit))
            }
            Incoming::Video(body) if publishing => {
                Ok(self.media.video(message.timestamp, body, now)?.map(Event::Unit))
            }
            Incoming::Data(values) if publishing => {
                let unit = self.media.data(message.timestamp, values, message.payload.clone());
                Ok(Some(Event::Unit(unit)))
            }
            // Media outside a publication belong to nothing.
            _ => Ok(None),
        }
    }

    /// The next message inside an aggregate (RTMP 1.0 §7.1.6): FLV tags with their sizes behind.
    fn next_of_aggregate(&mut self) -> Option<Message> {
        let outer = self.aggregate.as_mut()?;
        let body = &mut outer.payload;
        let (kind, length, timestamp) = match body.get(..11) {
            Some(&[kind, l0, l1, l2, t0, t1, t2, t3, _, _, _]) => {
                (kind, u32::from_be_bytes([0, l0, l1, l2]), u32::from_be_bytes([t3, t0, t1, t2]))
            }
            _ => {
                self.aggregate = None;
                return None;
            }
        };
        body.advance(11);
        let length = (length as usize).min(body.len());
        let payload = body.split_to(length);
        body.advance(4.min(body.len()));
        // An aggregate in an aggregate would have no end.
        let kind = if kind == kind::AGGREGATE { 0 } else { kind };
        Some(Message { kind, stream_id: outer.stream_id, timestamp, payload })
    }

    fn take_command(&mut self, command: &Command) -> Result<Option<Event>, Error> {
        let (stream_id, transaction) = (command.stream_id, command.transaction);
        match command.name.as_str() {
            "connect" => self.connect(command)?,
            "createStream" if self.message_streams < MAX_MESSAGE_STREAMS => {
                self.message_streams = self.message_streams.saturating_add(1);
                let id = f64::from(self.message_streams);
                self.reply(stream_id, transaction, &[Value::Null, Value::Number(id)]);
            }
            "publish" if self.stage == Stage::Commands => {
                self.stream_id = stream_id;
                if self.application.is_empty() {
                    return Err(Error::NotConnected);
                }
                self.stage = Stage::Decision;
                let name = command.first_text().unwrap_or_default();
                return Ok(Some(Event::Publish(Target::new(&self.application, name))));
            }
            "play" | "play2" => {
                self.stream_id = stream_id;
                return Err(Error::Play);
            }
            "FCUnpublish" | "deleteStream" | "closeStream" => {
                if command.name == "FCUnpublish" {
                    self.reply(stream_id, transaction, &[Value::Null]);
                }
                if self.stage == Stage::Publishing {
                    self.stage = Stage::Commands;
                    let code = "NetStream.Unpublish.Success";
                    self.writer.status(self.stream_id, "status", code, "publication ended");
                    return Ok(Some(Event::Unpublished));
                }
            }
            "releaseStream" | "FCPublish" | "_checkbw" => {
                self.reply(stream_id, transaction, &[Value::Null]);
            }
            // Replies to calls we never make, and a publish within a publication.
            "_result" | "_error" | "onStatus" => {}
            name => self.unknown(name, command),
        }
        Ok(None)
    }

    /// Answers a call; one without a transaction id wants no answer.
    fn reply(&mut self, stream_id: u32, transaction: f64, values: &[Value]) {
        if transaction != 0.0 {
            self.writer.command(stream_id, "_result", transaction, values);
        }
    }

    fn unknown(&mut self, name: &str, command: &Command) {
        if command.transaction != 0.0 {
            let text = format!("{} is not available here", crate::text::printable(name));
            let info = status_info("error", "NetConnection.Call.Failed", &text);
            let values = [Value::Null, info];
            self.writer.command(command.stream_id, "_error", command.transaction, &values);
        }
    }

    fn connect(&mut self, command: &Command) -> Result<(), Error> {
        let object = command.arguments.first();
        let text = |key: &str| object.and_then(|o| o.member(key)).and_then(Value::as_str);
        let application = text("app").unwrap_or_default();
        self.application = target::application(application, text("tcUrl").unwrap_or_default());
        if !target::is_ours(&self.application) {
            let info = status_info(
                "error",
                "NetConnection.Connect.Rejected",
                &Error::Application.to_string(),
            );
            self.writer.command(0, "_error", command.transaction, &[Value::Null, info]);
            return Err(Error::Application);
        }
        self.writer.window_size(WINDOW);
        self.writer.peer_bandwidth(WINDOW);
        self.writer.set_chunk_size(CHUNK_SIZE);
        self.writer.stream_begin(0);
        let properties = Value::Object(vec![
            ("fmsVer".into(), Value::string("FMS/3,5,7,7009")),
            ("capabilities".into(), Value::Number(31.0)),
            ("mode".into(), Value::Number(1.0)),
        ]);
        let mut info = vec![
            ("level".into(), Value::string("status")),
            ("code".into(), Value::string("NetConnection.Connect.Success")),
            ("description".into(), Value::string("connected")),
            ("objectEncoding".into(), Value::Number(0.0)),
        ];
        // A client that speaks Enhanced RTMP wants to know which codecs we take.
        if object.and_then(|o| o.member("fourCcList")).is_some() {
            let codecs = ["avc1", "hvc1", "mp4a"].map(Value::string).to_vec();
            info.push(("fourCcList".into(), Value::StrictArray(codecs)));
        }
        let values = [properties, Value::Object(info)];
        self.writer.command(0, "_result", command.transaction, &values);
        Ok(())
    }

    /// Grants the publish asked for.
    pub fn accept(&mut self) {
        if self.stage == Stage::Decision {
            self.stage = Stage::Publishing;
            self.reader.authenticate();
            self.media = Media::new(CONFIG_WAIT);
            self.writer.stream_begin(self.stream_id);
            let code = "NetStream.Publish.Start";
            self.writer.status(self.stream_id, "status", code, "publishing");
        }
    }

    /// Refuses the publish asked for; the connection is over. `code` is one of
    /// `NetStream.Publish.BadName`, `….Denied` and `….Rejected`: OBS takes each of them, before
    /// Start, as a reason not to try again.
    pub fn refuse(&mut self, code: &str, reason: &str) {
        self.writer.status(self.stream_id, "error", code, reason);
        self.stage = Stage::Ended;
    }

    /// Tells the peer that the channel ended its publication; the connection is over.
    pub fn close(&mut self, reason: &Closed) {
        self.refuse("NetStream.Publish.Rejected", &reason.to_string());
    }

    /// Tells the peer why the connection ends, as far as it can still be told.
    pub fn end(&mut self, error: &Error) {
        match (self.stage, error) {
            (Stage::Hello | Stage::Handshake | Stage::Ended, _) | (_, Error::Application) => {}
            (_, Error::Play) => {
                let code = "NetStream.Play.Failed";
                self.writer.status(self.stream_id, "error", code, &error.to_string());
            }
            (Stage::Commands, _) => {
                let code = "NetConnection.Connect.Rejected";
                self.writer.status(self.stream_id, "error", code, &error.to_string());
            }
            _ => self.refuse("NetStream.Publish.Rejected", &error.to_string()),
        }
        self.stage = Stage::Ended;
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
