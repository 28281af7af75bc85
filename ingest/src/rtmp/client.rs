//! A minimal publisher: for the built-in demo broadcaster and for tests.
//!
//! Sends what it is given, in FLV's terms (configuration records, length-prefixed pictures, raw AAC
//! frames, milliseconds); waits where the server's socket makes it wait. It does not play,
//! reconnect or repair times.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use packager::media::VideoCodec;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};

use super::amf0::{self, Value};
use super::chunk::{self, Message, Reader};
use super::message::{self, Command, Incoming, Writer, kind};

/// Chunks as large as the server takes them: fewest headers.
const CHUNK_SIZE: u32 = chunk::MAX_CHUNK_SIZE;
/// The message stream to publish on, once the server has named it.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 2.0;
const PUBLISH: f64 = 3.0;
/// Room made for each read; the server says little.
const READ: usize = 4_096;

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket failed, or the server closed it.
    #[error("rtmp connection: {0}")]
    Io(#[from] io::Error),
    /// The server's handshake is none.
    #[error("the server's handshake is not RTMP")]
    Handshake,
    /// The server's chunk stream is broken.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// A message of the server's is broken.
    #[error(transparent)]
    Message(#[from] message::Error),
    /// The server said no.
    #[error("{code}: {description}")]
    Refused {
        /// Such as `NetStream.Publish.Denied`.
        code: String,
        /// The server's reason.
        description: String,
    },
}

/// A publication on a server.
#[derive(Debug)]
pub struct Publisher {
    stream: TcpStream,
    input: BytesMut,
    reader: Reader,
    writer: Writer,
    stream_id: u32,
}

impl Publisher {
    /// Connects and publishes: `rtmp://{server}/{app}/{stream}`, the key being part of `stream`
    /// (`news?key=K`). Returns when the server has granted it.
    ///
    /// # Errors
    /// The server can't be reached, speaks something else, or refuses.
    pub async fn connect(
        server: impl ToSocketAddrs,
        app: &str,
        stream: &str,
    ) -> Result<Self, Error> {
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let host = socket.peer_addr()?;
        let mut this = Self {
            stream: socket,
            input: BytesMut::new(),
            reader: Reader::new(),
            writer: Writer::new(),
            stream_id: 0,
        };
        // What a server sends in all is little, but over days more than a stranger may send.
        this.reader.authenticate();
        this.shake_hands().await?;
        this.writer.set_chunk_size(CHUNK_SIZE);
        let object = Value::Object(vec![
            ("app".into(), Value::string(app)),
            ("type".into(), Value::string("nonprivate")),
            ("flashVer".into(), Value::string("FMLE/3.0 (compatible; Headwater)")),
            ("tcUrl".into(), Value::string(format!("rtmp://{host}/{app}"))),
        ]);
        this.writer.command(0, "connect", CONNECT, &[object]);
        this.result(CONNECT).await?;
        this.writer.command(0, "createStream", CREATE_STREAM, &[Value::Null]);
        let created = this.result(CREATE_STREAM).await?;
        let id = created.arguments.get(1).and_then(Value::as_number);
        this.stream_id = id.map_or(1, |id| id as u32);
        let arguments = [Value::Null, Value::string(stream), Value::string("live")];
        this.writer.command(this.stream_id, "publish", PUBLISH, &arguments);
        this.published().await?;
        Ok(this)
    }

    async fn shake_hands(&mut self) -> Result<(), Error> {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().map_err(|_| Error::Handshake)?;
        self.writer.raw(&hello);
        loop {
            self.flush().await?;
            self.read().await?;
            let bytes = self.input.split();
            match handshake.process_bytes(&bytes).map_err(|_| Error::Handshake)? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    self.writer.raw(&response_bytes);
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    self.writer.raw(&response_bytes);
                    self.input.extend_from_slice(&remaining_bytes);
                    return Ok(());
                }
            }
        }
    }

    /// Waits for the answer to a call.
    async fn result(&mut self, transaction: f64) -> Result<Command, Error> {
        loop {
            let command = self.next_command().await?;
            if command.name == "_result" && command.transaction == transaction {
                return Ok(command);
            }
        }
    }

    async fn published(&mut self) -> Result<(), Error> {
        loop {
            let command = self.next_command().await?;
            let code = information(&command, "code");
            if command.name == "onStatus" && code == "NetStream.Publish.Start" {
                return Ok(());
            }
        }
    }

    /// The next command from the server, unless it is a refusal.
    async fn next_command(&mut self) -> Result<Command, Error> {
        loop {
            self.flush().await?;
            if let Some(command) = self.parse()? {
                return Ok(command);
            }
            self.read().await?;
        }
    }

    /// Takes the next command out of what has been read.
    fn parse(&mut self) -> Result<Option<Command>, Error> {
        while let Some(message) = self.reader.read(&mut self.input)? {
            match message::parse(&message)? {
                Incoming::Command(command) => {
                    refusal(&command)?;
                    return Ok(Some(command));
                }
                Incoming::PingRequest(value) => self.writer.ping_response(value),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<(), Error> {
        self.input.reserve(READ);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let output = self.writer.take();
        Ok(self.stream.write_all(&output).await?)
    }

    /// Reads what the server has said meanwhile, without waiting.
    fn listen(&mut self) -> Result<(), Error> {
        loop {
            while self.parse()?.is_some() {}
            self.input.reserve(READ);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self, kind: u8, at_ms: u32, payload: Bytes) -> Result<(), Error> {
        self.listen()?;
        let stream_id = self.stream_id;
        self.writer.message(Message { kind, stream_id, timestamp: at_ms, payload });
        match self.flush().await {
            // The reason stands in what the server sent before it closed.
            Err(Error::Io(error)) => Err(self.listen().err().unwrap_or(Error::Io(error))),
            done => done,
        }
    }

    /// Sends a video decoder's configuration: avcC or hvcC.
    ///
    /// # Errors
    /// The server has closed, or refused what was sent so far.
    pub async fn send_video_config(
        &mut self,
        codec: VideoCodec,
        record: &[u8],
        at_ms: u32,
    ) -> Result<(), Error> {
        let mut body = BytesMut::with_capacity(record.len() + 5);
        match codec {
            VideoCodec::H264 => body.put_slice(&[0x17, 0, 0, 0, 0]),
            VideoCodec::H265 => body.put_slice(b"\x90hvc1"),
        }
        body.put_slice(record);
        self.send(kind::VIDEO, at_ms, body.freeze()).await
    }

    /// Sends an audio decoder's configuration: AudioSpecificConfig.
    ///
    /// # Errors
    /// As [`Self::send_video_config`].
    pub async fn send_audio_config(&mut self, record: &[u8], at_ms: u32) -> Result<(), Error> {
        let body = [[0xAF, 0].as_slice(), record].concat();
        self.send(kind::AUDIO, at_ms, body.into()).await
    }

    /// Sends a coded picture: NAL units with the lengths its configuration announced. `at_ms` is
    /// its decoding time, modulo 2^32; `composition_ms` is added for its presentation time.
    ///
    /// # Errors
    /// As [`Self::send_video_config`].
    pub async fn send_video(
        &mut self,
        codec: VideoCodec,
        key: bool,
        at_ms: u32,
        composition_ms: i32,
        data: &[u8],
    ) -> Result<(), Error> {
        let mut body = BytesMut::with_capacity(data.len() + 8);
        let frame_type = if key { 0x10 } else { 0x20 };
        match codec {
            VideoCodec::H264 => body.put_slice(&[frame_type | 7, 1]),
            VideoCodec::H265 => {
                body.put_u8(0x80 | frame_type | 1);
                body.put_slice(b"hvc1");
            }
        }
        let [_, composition @ ..] = composition_ms.to_be_bytes();
        body.put_slice(&composition);
        body.put_slice(data);
        self.send(kind::VIDEO, at_ms, body.freeze()).await
    }

    /// Sends one raw AAC frame.
    ///
    /// # Errors
    /// As [`Self::send_video_config`].
    pub async fn send_audio(&mut self, at_ms: u32, data: &[u8]) -> Result<(), Error> {
        let body = [[0xAF, 1].as_slice(), data].concat();
        self.send(kind::AUDIO, at_ms, body.into()).await
    }

    /// Sends a data message: `onMetaData` wrapped as broadcasters do, anything else as it is.
    ///
    /// # Errors
    /// As [`Self::send_video_config`].
    pub async fn metadata(
        &mut self,
        name: &str,
        values: &[Value],
        at_ms: u32,
    ) -> Result<(), Error> {
        let mut all = Vec::with_capacity(values.len() + 2);
        if name == "onMetaData" {
            all.push(Value::string("@setDataFrame"));
        }
        all.push(Value::string(name));
        all.extend_from_slice(values);
        self.send(kind::DATA, at_ms, amf0::encode(&all)).await
    }

    /// Ends the publication in good order.
    ///
    /// # Errors
    /// As [`Self::send_video_config`].
    pub async fn finish(mut self) -> Result<(), Error> {
        let id = f64::from(self.stream_id);
        self.writer.command(0, "deleteStream", 0.0, &[Value::Null, Value::Number(id)]);
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }
}

/// A text of a reply's information object.
fn information<'a>(command: &'a Command, key: &str) -> &'a str {
    let object = command.arguments.iter().rev().find_map(|value| value.member(key));
    object.and_then(Value::as_str).unwrap_or_default()
}

/// An error if the command is a refusal.
fn refusal(command: &Command) -> Result<(), Error> {
    if command.name == "_error" || information(command, "level") == "error" {
        return Err(Error::Refused {
            code: information(command, "code").to_owned(),
            description: information(command, "description").to_owned(),
        });
    }
    Ok(())
}
