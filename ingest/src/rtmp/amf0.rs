//! AMF0 values (Action Message Format 0): the arguments of commands and the contents of metadata.
//!
//! [`decode`] reads a message's values under budgets on depth, number and size, and checks every
//! count against the bytes left before it allocates. [`encode`] writes replies. References, movie
//! clips, record sets and the switch to AMF3 are not supported; they end decoding with what was
//! read so far.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use bytes::{BufMut, Bytes, BytesMut};

/// Deepest nesting; real metadata has two levels.
pub const MAX_DEPTH: usize = 16;
/// Values in one message, at all levels.
pub const MAX_NODES: usize = 1_024;
/// Longest short string or key.
pub const MAX_STRING: usize = 4 * 1024;
/// Longest message; also bounds long strings.
pub const MAX_TOTAL: usize = 64 * 1024;

/// An AMF0 value. Objects keep the order of their members.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A text: string, long string or XML document.
    String(String),
    /// Named members: an object, typed or not.
    Object(Vec<(String, Self)>),
    /// Named members, written as an associative array.
    EcmaArray(Vec<(String, Self)>),
    /// Values by position.
    StrictArray(Vec<Self>),
    /// Milliseconds since the Unix epoch.
    Date(f64),
    /// Nothing.
    Null,
    /// Not even that.
    Undefined,
}

impl Value {
    /// A text value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The member called `key`, if this has members.
    pub fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) | Self::EcmaArray(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The same value in JSON. Whole numbers become integers; what JSON has no word for (NaN,
    /// undefined) becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        /// Above this a double does not tell neighbouring integers apart.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Number(n) | Self::Date(n) if n.fract() == 0.0 && n.abs() <= EXACT => {
                Json::from(*n as i64)
            }
            Self::Number(n) | Self::Date(n) => Json::from(*n),
            Self::Boolean(b) => Json::from(*b),
            Self::String(text) => Json::from(text.as_str()),
            Self::Object(members) | Self::EcmaArray(members) => {
                Json::Object(members.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
            }
            Self::StrictArray(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Null | Self::Undefined => Json::Null,
        }
    }
}

/// Why values can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends within a value.
    #[error("incomplete value at byte {offset}")]
    Incomplete {
        /// Byte offset into the message.
        offset: usize,
    },
    /// A marker outside AMF0, or one that is not supported.
    #[error("unsupported type marker {marker:#04x} at byte {offset}")]
    Marker {
        /// As read.
        marker: u8,
        /// Byte offset into the message.
        offset: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {offset}")]
    Depth {
        /// Byte offset into the message.
        offset: usize,
    },
    /// More than [`MAX_NODES`] values.
    #[error("more than {MAX_NODES} values at byte {offset}")]
    Nodes {
        /// Byte offset into the message.
        offset: usize,
    },
    /// A string longer than [`MAX_STRING`], or than the message.
    #[error("string of {length} bytes is too long at byte {offset}")]
    String {
        /// Length claimed.
        length: usize,
        /// Byte offset into the message.
        offset: usize,
    },
    /// An array that claims more elements than bytes are left.
    #[error("array claims {count} elements with {left} bytes left at byte {offset}")]
    Count {
        /// Elements claimed.
        count: u32,
        /// Bytes left.
        left: usize,
        /// Byte offset into the message.
        offset: usize,
    },
    /// The message is longer than [`MAX_TOTAL`].
    #[error("message of {length} bytes is longer than {MAX_TOTAL}")]
    Total {
        /// Its length.
        length: usize,
    },
}

impl Error {
    /// Whether a budget was exceeded, as opposed to a form we do not know.
    pub fn is_limit(&self) -> bool {
        !matches!(self, Self::Incomplete { .. } | Self::Marker { .. })
    }
}

/// Reads all values of a message. What was read before an error comes with it.
///
/// # Errors
/// The values so far, and what is wrong with the next one.
pub fn decode(input: &[u8]) -> Result<Vec<Value>, (Vec<Value>, Error)> {
    if input.len() > MAX_TOTAL {
        return Err((Vec::new(), Error::Total { length: input.len() }));
    }
    let mut decoder = Decoder { input, offset: 0, nodes: 0 };
    let mut values = Vec::new();
    while decoder.left() > 0 {
        match decoder.value(0) {
            Ok(value) => values.push(value),
            Err(error) => return Err((values, error)),
        }
    }
    Ok(values)
}

struct Decoder<'a> {
    input: &'a [u8],
    offset: usize,
    nodes: usize,
}

impl<'a> Decoder<'a> {
    fn left(&self) -> usize {
        self.input.len().saturating_sub(self.offset)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let offset = self.offset;
        let end = offset.saturating_add(count);
        let bytes = self.input.get(offset..end).ok_or(Error::Incomplete { offset })?;
        self.offset = end;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let offset = self.offset;
        self.bytes(N)?.first_chunk().copied().ok_or(Error::Incomplete { offset })
    }

    fn number(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// A text of `length` bytes. What is not UTF-8 in it is replaced.
    fn text(&mut self, length: usize, limit: usize) -> Result<String, Error> {
        if length > limit {
            return Err(Error::String { length, offset: self.offset });
        }
        Ok(String::from_utf8_lossy(self.bytes(length)?).into_owned())
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.fixed()?);
        self.text(usize::from(length), MAX_STRING)
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let length = u32::from_be_bytes(self.fixed()?);
        self.text(length as usize, MAX_TOTAL)
    }

    /// Recursive, but never deeper than [`MAX_DEPTH`].
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let offset = self.offset;
        if depth > MAX_DEPTH {
            return Err(Error::Depth { offset });
        }
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return Err(Error::Nodes { offset });
        }
        let [marker] = self.fixed()?;
        Ok(match marker {
            0x00 => Value::Number(self.number()?),
            0x01 => Value::Boolean(self.fixed::<1>()? != [0]),
            0x02 => Value::String(self.short_text()?),
            0x03 => Value::Object(self.members(depth, None)?),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x08 => {
                let count = u32::from_be_bytes(self.fixed()?);
                Value::EcmaArray(self.members(depth, Some(count))?)
            }
            0x0A => Value::StrictArray(self.items(depth)?),
            0x0B => {
                let millis = self.number()?;
                let _time_zone: [u8; 2] = self.fixed()?;
                Value::Date(millis)
            }
            0x0C | 0x0F => Value::String(self.long_text()?),
            0x10 => {
                let _class = self.short_text()?;
                Value::Object(self.members(depth, None)?)
            }
            marker => return Err(Error::Marker { marker, offset }),
        })
    }

    /// Members up to the end marker. An associative array states a count, which senders get wrong
    /// in both directions, so the end marker decides; some leave that out at the message's end.
    fn members(&mut self, depth: usize, count: Option<u32>) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            if self.left() == 0
                && count.is_some_and(|count| members.len() as u64 == u64::from(count))
            {
                return Ok(members);
            }
            let key = self.short_text()?;
            if key.is_empty() && self.input.get(self.offset) == Some(&0x09) {
                self.bytes(1)?;
                return Ok(members);
            }
            members.push((key, self.value(depth.saturating_add(1))?));
        }
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value>, Error> {
        let offset = self.offset;
        let count = u32::from_be_bytes(self.fixed()?);
        let left = self.left();
        // Every element has at least its marker.
        if count as usize > left {
            return Err(Error::Count { count, left, offset });
        }
        let mut items = Vec::with_capacity((count as usize).min(MAX_NODES));
        for _ in 0..count {
            items.push(self.value(depth.saturating_add(1))?);
        }
        Ok(items)
    }
}

/// Writes values one after the other. A key above 65,535 bytes is cut.
pub fn encode(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    for value in values {
        write_value(&mut out, value);
    }
    out.freeze()
}

fn write_value(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(0x00);
            out.put_f64(*number);
        }
        Value::Boolean(flag) => {
            out.put_u8(0x01);
            out.put_u8(u8::from(*flag));
        }
        Value::String(text) if text.len() > usize::from(u16::MAX) => {
            out.put_u8(0x0C);
            out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            out.put_slice(text.as_bytes());
        }
        Value::String(text) => {
            out.put_u8(0x02);
            write_key(out, text);
        }
        Value::Object(members) => {
            out.put_u8(0x03);
            write_members(out, members);
        }
        Value::EcmaArray(members) => {
            out.put_u8(0x08);
            out.put_u32(u32::try_from(members.len()).unwrap_or(u32::MAX));
            write_members(out, members);
        }
        Value::StrictArray(items) => {
            out.put_u8(0x0A);
            out.put_u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
            for item in items {
                write_value(out, item);
            }
        }
        Value::Date(millis) => {
            out.put_u8(0x0B);
            out.put_f64(*millis);
            out.put_u16(0);
        }
        Value::Null => out.put_u8(0x05),
        Value::Undefined => out.put_u8(0x06),
    }
}

fn write_members(out: &mut BytesMut, members: &[(String, Value)]) {
    for (key, value) in members {
        write_key(out, key);
        write_value(out, value);
    }
    out.put_slice(&[0, 0, 9]);
}

fn write_key(out: &mut BytesMut, key: &str) {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(key.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests;
