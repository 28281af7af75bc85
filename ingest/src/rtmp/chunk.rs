//! The chunk stream (RTMP 1.0 §5.3): bytes in, whole messages out, at any split of the input.
//!
//! [`Reader::read`] takes what it can from the front of the input and keeps one partial message per
//! chunk stream, so interleaved messages come out whole. It obeys Set Chunk Size and Abort itself,
//! since they change how the next byte is read; both are handed on as well. Every limit of a
//! connection's memory and work is here: what a message may claim by its type, what all
//! unfinished ones may claim together, chunk streams, and the budget before authentication.
//!
//! Two dialects exist for extended timestamps: most senders repeat the four bytes in every type 3
//! chunk of a message (§5.3.1.3), some do not. The reader looks whether the next four bytes are the
//! time it expects.
//!
//! Writing chunks is rml_rtmp's business ([`super::message::Writer`]).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use bytes::{Buf, Bytes, BytesMut};

/// Chunk size until the peer sets another (§5.4.1).
const DEFAULT_CHUNK_SIZE: usize = 128;

/// Largest chunk size a peer may set. Larger ones do exist in the specification only; a peer that
/// asks for more wants one message to block all others.
pub const MAX_CHUNK_SIZE: u32 = 65_536;

/// Chunk streams a connection may use. Real senders use three to six.
pub const MAX_CHUNK_STREAMS: usize = 16;

/// Longest command, control or unknown message: room for a `connect` with a very long URL.
pub const MAX_COMMAND: usize = 16 * 1024;
/// Longest metadata message; a base64 SCTE-35 section is below 6 KiB.
pub const MAX_METADATA: usize = 64 * 1024;
/// Longest audio message: AAC at 512 kb/s is 1.4 KiB per frame.
pub const MAX_AUDIO: usize = 256 * 1024;
/// Longest video message: an IDR of 2160p at 80 Mb/s is below 2 MiB.
pub const MAX_VIDEO: usize = 4 * 1024 * 1024;

/// What unfinished messages may claim together, whatever their chunk streams: one large picture and
/// a bit more, so that sixteen claims can't add up.
pub const MAX_UNFINISHED: usize = 6 * 1024 * 1024;

/// What a peer may send before it is authenticated: commands are below 4 KiB in all.
pub const MAX_BYTES_BEFORE_AUTH: u64 = 64 * 1024;

/// Chunk headers a peer may send before it is authenticated, so that chunks of one byte cost no
/// more than their bytes.
pub const MAX_HEADERS_BEFORE_AUTH: u32 = 2_000;

/// Message type of Set Chunk Size.
const SET_CHUNK_SIZE: u8 = 1;
/// Message type of Abort Message.
const ABORT: u8 = 2;
/// A timestamp field of this value announces an extended timestamp.
const EXTENDED: u32 = 0x00FF_FFFF;

/// A whole message, as its chunks carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message type id (§5.4, §7.1).
    pub kind: u8,
    /// Message stream id: 0 for the connection, else as given out by createStream.
    pub stream_id: u32,
    /// Absolute time in milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// Why a chunk stream can't be read on. All are final: the place in the stream is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A compressed header on a chunk stream that had no full one.
    #[error(
        "chunk type {format} on chunk stream {csid} without a header before it, at byte {offset}"
    )]
    NoHeader {
        /// Chunk type, 2 or 3.
        format: u8,
        /// Chunk stream.
        csid: u32,
        /// Bytes of the connection read before this chunk.
        offset: u64,
    },
    /// More than [`MAX_CHUNK_STREAMS`].
    #[error("more than {MAX_CHUNK_STREAMS} chunk streams, at byte {offset}")]
    TooManyStreams {
        /// Bytes of the connection read before this chunk.
        offset: u64,
    },
    /// A message longer than its type may be.
    #[error(
        "message of type {kind} claims {length} bytes, at most {limit} allowed, at byte {offset}"
    )]
    TooLong {
        /// Message type.
        kind: u8,
        /// Length claimed.
        length: usize,
        /// What is allowed.
        limit: usize,
        /// Bytes of the connection read before this chunk.
        offset: u64,
    },
    /// Unfinished messages claim more than [`MAX_UNFINISHED`] together.
    #[error("unfinished messages claim {claimed} bytes, at most {limit} allowed, at byte {offset}")]
    TooMuchUnfinished {
        /// Sum of the lengths claimed.
        claimed: usize,
        /// What is allowed.
        limit: usize,
        /// Bytes of the connection read before this chunk.
        offset: u64,
    },
    /// Set Chunk Size outside 1..=[`MAX_CHUNK_SIZE`].
    #[error("chunk size {size} is outside 1..={MAX_CHUNK_SIZE}, at byte {offset}")]
    ChunkSize {
        /// As sent.
        size: u32,
        /// Bytes of the connection read so far.
        offset: u64,
    },
    /// A control message too short for its value.
    #[error("control message of type {kind} has {length} bytes, needs 4, at byte {offset}")]
    ShortControl {
        /// Message type.
        kind: u8,
        /// Its length.
        length: usize,
        /// Bytes of the connection read so far.
        offset: u64,
    },
    /// More than [`MAX_BYTES_BEFORE_AUTH`] or [`MAX_HEADERS_BEFORE_AUTH`].
    #[error("more than {limit} {what} before authentication, at byte {offset}")]
    BeforeAuth {
        /// `bytes` or `chunk headers`.
        what: &'static str,
        /// What is allowed.
        limit: u64,
        /// Bytes of the connection read so far.
        offset: u64,
    },
}

/// What a chunk stream remembers of its last message header.
#[derive(Clone, Copy, Debug)]
struct Header {
    timestamp: u32,
    /// What a type 3 chunk that starts a message adds to the time.
    delta: u32,
    /// The extended timestamp field, where the last header had one.
    extended: Option<u32>,
    length: usize,
    kind: u8,
    stream_id: u32,
}

/// One chunk stream.
#[derive(Debug)]
struct Stream {
    csid: u32,
    header: Option<Header>,
    /// The message being collected. Its header is `header`.
    partial: Option<BytesMut>,
}

/// A chunk header as parsed, not yet applied.
struct Parsed {
    csid: u32,
    format: u8,
    /// Bytes of all header parts.
    size: usize,
    /// Timestamp or delta of types 0–2.
    time: u32,
    extended: Option<u32>,
    length: usize,
    kind: u8,
    stream_id: u32,
}

/// Where the reader is between two calls.
#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    /// Payload of the chunk on the stream at `index`.
    Payload {
        index: usize,
        left: usize,
    },
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Reader {
    streams: Vec<Stream>,
    chunk_size: usize,
    state: State,
    offset: u64,
    headers: u32,
    authenticated: bool,
    claimed: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the first byte after the handshake, its peer not authenticated.
    pub fn new() -> Self {
        Self {
            streams: Vec::new(),
            chunk_size: DEFAULT_CHUNK_SIZE,
            state: State::Header,
            offset: 0,
            headers: 0,
            authenticated: false,
            claimed: 0,
        }
    }

    /// Lifts the budget before authentication.
    pub fn authenticate(&mut self) {
        self.authenticated = true;
    }

    /// Bytes taken from the input so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next whole message, or `None` when the input has no more of one. What is left in
    /// `input` then is less than a chunk header (18 bytes) and must be there again next time.
    ///
    /// # Errors
    /// The peer broke the format or a limit; reading on makes no sense.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            match self.state {
                State::Header => {
                    let Some(parsed) = self.parse_header(input)? else { return Ok(None) };
                    self.take(input, parsed.size)?;
                    self.state = self.apply(&parsed)?;
                }
                State::Payload { index, left } => {
                    let count = left.min(input.len());
                    if count == 0 && left > 0 {
                        return Ok(None);
                    }
                    let Some(partial) =
                        self.streams.get_mut(index).and_then(|s| s.partial.as_mut())
                    else {
                        self.state = State::Header;
                        continue;
                    };
                    partial.extend_from_slice(input.get(..count).unwrap_or_default());
                    self.take(input, count)?;
                    let left = left.saturating_sub(count);
                    if left > 0 {
                        self.state = State::Payload { index, left };
                        return Ok(None);
                    }
                    self.state = State::Header;
                    if let Some(message) = self.finish(index)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    /// Removes `count` bytes from the input and counts them.
    fn take(&mut self, input: &mut BytesMut, count: usize) -> Result<(), Error> {
        input.advance(count.min(input.len()));
        self.offset = self.offset.saturating_add(count as u64);
        if !self.authenticated && self.offset > MAX_BYTES_BEFORE_AUTH {
            let offset = self.offset;
            return Err(Error::BeforeAuth { what: "bytes", limit: MAX_BYTES_BEFORE_AUTH, offset });
        }
        Ok(())
    }

    /// Parses the header at the front of the input; `None` while it is not whole.
    fn parse_header(&self, input: &[u8]) -> Result<Option<Parsed>, Error> {
        let mut fields = Fields { input, size: 0 };
        Ok(self.parse_fields(&mut fields)?.map(|parsed| Parsed { size: fields.size, ..parsed }))
    }

    fn parse_fields(&self, fields: &mut Fields<'_>) -> Result<Option<Parsed>, Error> {
        let Some(first) = fields.big_endian(1) else { return Ok(None) };
        let format = (first >> 6) as u8;
        let csid = match first & 0x3F {
            0 => fields.big_endian(1).map(|b| b.saturating_add(64)),
            1 => fields.big_endian(2).map(|b| b.swap_bytes().wrapping_shr(16).saturating_add(64)),
            csid => Some(csid),
        };
        let Some(csid) = csid else { return Ok(None) };
        let before = self.streams.iter().find(|s| s.csid == csid).and_then(|s| s.header);
        let before = match (format, before) {
            (_, Some(header)) => header,
            // Some senders begin a chunk stream with type 1; the message stream is the connection.
            (0 | 1, None) => {
                Header { timestamp: 0, delta: 0, extended: None, length: 0, kind: 0, stream_id: 0 }
            }
            (format, None) => {
                return Err(Error::NoHeader { format, csid, offset: self.offset });
            }
        };
        let mut parsed = Parsed {
            csid,
            format,
            size: 0,
            time: before.delta,
            extended: None,
            length: before.length,
            kind: before.kind,
            stream_id: before.stream_id,
        };
        if format == 3 {
            return Ok(match before.extended {
                None => Some(parsed),
                Some(extended) => match fields.matches(extended, before.timestamp) {
                    None => None,
                    Some(_) => {
                        parsed.extended = Some(extended);
                        Some(parsed)
                    }
                },
            });
        }
        let Some(time) = fields.big_endian(3) else { return Ok(None) };
        parsed.time = time;
        if format < 2 {
            let (Some(length), Some(kind)) = (fields.big_endian(3), fields.big_endian(1)) else {
                return Ok(None);
            };
            parsed.length = length as usize;
            parsed.kind = kind as u8;
        }
        if format == 0 {
            let Some(id) = fields.big_endian(4) else { return Ok(None) };
            parsed.stream_id = id.swap_bytes();
        }
        if time == EXTENDED {
            let Some(extended) = fields.big_endian(4) else { return Ok(None) };
            parsed.time = extended;
            parsed.extended = Some(extended);
        }
        Ok(Some(parsed))
    }

    /// Starts or continues the message the header belongs to.
    fn apply(&mut self, parsed: &Parsed) -> Result<State, Error> {
        let offset = self.offset;
        self.headers = self.headers.saturating_add(1);
        if !self.authenticated && self.headers > MAX_HEADERS_BEFORE_AUTH {
            let limit = u64::from(MAX_HEADERS_BEFORE_AUTH);
            return Err(Error::BeforeAuth { what: "chunk headers", limit, offset });
        }
        let index = match self.streams.iter().position(|s| s.csid == parsed.csid) {
            Some(index) => index,
            None if self.streams.len() >= MAX_CHUNK_STREAMS => {
                return Err(Error::TooManyStreams { offset });
            }
            None => {
                self.streams.push(Stream { csid: parsed.csid, header: None, partial: None });
                self.streams.len().saturating_sub(1)
            }
        };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(State::Header) };
        let had = match (&stream.partial, stream.header) {
            // Inside a message only type 3 is legal. Some senders repeat the full header; anything
            // else on this chunk stream means that they gave the message up.
            (Some(partial), Some(header)) => {
                let same = header.length == parsed.length && header.kind == parsed.kind;
                let repeated = parsed.format == 0 && same && header.timestamp == parsed.time;
                if parsed.format == 3 || repeated {
                    Some(partial.len())
                } else {
                    self.claimed = self.claimed.saturating_sub(header.length);
                    stream.partial = None;
                    None
                }
            }
            _ => None,
        };
        let left = match had {
            Some(had) => parsed.length.saturating_sub(had),
            None => {
                let limit = limit_of(parsed.kind);
                if parsed.length > limit {
                    let (kind, length) = (parsed.kind, parsed.length);
                    return Err(Error::TooLong { kind, length, limit, offset });
                }
                self.claimed = self.claimed.saturating_add(parsed.length);
                let limit = match self.authenticated {
                    true => MAX_UNFINISHED,
                    false => MAX_BYTES_BEFORE_AUTH as usize,
                };
                if self.claimed > limit {
                    let claimed = self.claimed;
                    return Err(Error::TooMuchUnfinished { claimed, limit, offset });
                }
                stream.header = Some(parsed.header_after(stream.header));
                stream.partial = Some(BytesMut::with_capacity(parsed.length));
                parsed.length
            }
        };
        Ok(State::Payload { index, left: left.min(self.chunk_size) })
    }

    /// Takes the message off the stream at `index` if it is whole.
    fn finish(&mut self, index: usize) -> Result<Option<Message>, Error> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        let (Some(header), Some(partial)) = (stream.header, stream.partial.take()) else {
            return Ok(None);
        };
        if partial.len() < header.length {
            stream.partial = Some(partial);
            return Ok(None);
        }
        self.claimed = self.claimed.saturating_sub(header.length);
        let message = Message {
            kind: header.kind,
            stream_id: header.stream_id,
            timestamp: header.timestamp,
            payload: partial.freeze(),
        };
        match message.kind {
            SET_CHUNK_SIZE => self.set_chunk_size(&message)?,
            ABORT => self.abort(&message)?,
            _ => {}
        }
        Ok(Some(message))
    }

    fn set_chunk_size(&mut self, message: &Message) -> Result<(), Error> {
        let size = self.control_value(message)?;
        if size == 0 || size > MAX_CHUNK_SIZE {
            return Err(Error::ChunkSize { size, offset: self.offset });
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    fn abort(&mut self, message: &Message) -> Result<(), Error> {
        let csid = self.control_value(message)?;
        if let Some(stream) = self.streams.iter_mut().find(|s| s.csid == csid)
            && stream.partial.take().is_some()
            && let Some(header) = stream.header
        {
            self.claimed = self.claimed.saturating_sub(header.length);
        }
        Ok(())
    }

    fn control_value(&self, message: &Message) -> Result<u32, Error> {
        let (kind, length) = (message.kind, message.payload.len());
        let value = message.payload.first_chunk().map(|b| u32::from_be_bytes(*b));
        value.ok_or(Error::ShortControl { kind, length, offset: self.offset })
    }
}

impl Parsed {
    /// What the chunk stream remembers once this header has started a message.
    fn header_after(&self, before: Option<Header>) -> Header {
        let last = before.map_or(0, |h| h.timestamp);
        let timestamp = match self.format {
            0 => self.time,
            // After a type 0 the delta is its time (§5.3.1.2.4), which above 4.6 hours no sender
            // means: there the time is simply repeated.
            3 if self.extended.is_some_and(|extended| extended == last) => last,
            _ => last.wrapping_add(self.time),
        };
        Header {
            timestamp,
            delta: self.time,
            extended: self.extended,
            length: self.length,
            kind: self.kind,
            stream_id: self.stream_id,
        }
    }
}

/// Longest message of a type.
fn limit_of(kind: u8) -> usize {
    match kind {
        8 => MAX_AUDIO,
        // Aggregates carry several audio and video messages.
        9 | 22 => MAX_VIDEO,
        15 | 18 => MAX_METADATA,
        _ => MAX_COMMAND,
    }
}

/// Takes header fields off the front of the input.
struct Fields<'a> {
    input: &'a [u8],
    size: usize,
}

impl Fields<'_> {
    /// A number of 1 to 4 bytes.
    fn big_endian(&mut self, count: usize) -> Option<u32> {
        let end = self.size.checked_add(count)?;
        let bytes = self.input.get(self.size..end)?;
        self.size = end;
        Some(bytes.iter().fold(0, |value, &byte| (value << 8) | u32::from(byte)))
    }

    /// Whether the next four bytes are one of two times, and takes them if so; `None` while too few
    /// bytes are there to tell.
    fn matches(&mut self, extended: u32, absolute: u32) -> Option<bool> {
        let rest = self.input.get(self.size..).unwrap_or_default();
        let head = rest.get(..4).unwrap_or(rest);
        let possible = [extended, absolute].iter().any(|t| t.to_be_bytes().starts_with(head));
        match (possible, head.len()) {
            (false, _) => Some(false),
            (true, 4) => {
                self.size = self.size.saturating_add(4);
                Some(true)
            }
            (true, _) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
