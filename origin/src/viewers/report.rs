//! Reads a player's reports: CMCD version 2, event mode (CTA-5004-B), the body of one request.
//!
//! A body is one report per line. A report is a dictionary of structured fields (RFC 8941): keys with
//! an integer, decimal, boolean, string, token or inner list. Unknown keys are passed over, as the
//! specification asks; known ones must have their type. All reports of a body are of one session.
//!
//! Pure: bytes in, values out. What they mean for a channel is decided in [`super::sessions`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::Protocol;

/// Reports in one body: what a player gathers in minutes without a network.
pub const MAX_REPORTS: usize = 64;
/// Keys of one report: the specification has 60.
const MAX_KEYS: usize = 128;
/// Items of an inner list: one per kind of object.
const MAX_ITEMS: usize = 16;
/// Characters of a session's id (CTA-5004-B, `sid`).
const MAX_ID: usize = 64;
/// What no player is behind the live edge: an hour is a replay.
const MAX_LATENCY_MS: u64 = 3_600_000;
/// What no rendition has.
const MAX_BITRATE_KBPS: u64 = 1_000_000;

/// Why a body is no report. Offsets count bytes from the body's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More reports than a player sends at once.
    #[error("more than {MAX_REPORTS} reports in one body")]
    TooManyReports,
    /// More keys than there are.
    #[error("more than {MAX_KEYS} keys in the report at byte {at}")]
    TooManyKeys {
        /// Where the report begins.
        at: usize,
    },
    /// Not the grammar of a dictionary.
    #[error("no dictionary at byte {at}")]
    Syntax {
        /// Where it ceases to be one.
        at: usize,
    },
    /// A known key with a value of another type, or beyond reason.
    #[error("the value of {key} is wrong in the report at byte {at}")]
    Value {
        /// The key.
        key: &'static str,
        /// Where the report begins.
        at: usize,
    },
    /// A report without `sid`, which nothing can be made of.
    #[error("no session id in the report at byte {at}")]
    NoSession {
        /// Where the report begins.
        at: usize,
    },
    /// Reports of more than one session: a body is of one player.
    #[error("another session in the report at byte {at}")]
    OtherSession {
        /// Where the report begins.
        at: usize,
    },
    /// The keys of version 1 are written and meant otherwise.
    #[error("the report at byte {at} is not of CMCD version 2")]
    Version {
        /// Where the report begins.
        at: usize,
    },
}

/// What a player does (`sta`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It shows moving pictures.
    Playing,
    /// It waits for data in the middle of playing.
    Rebuffering,
    /// It starts, seeks, waits for the channel, or was paused: nothing is watched.
    Resting,
    /// It has ended, failed, or the viewer has left.
    Gone,
}

/// One report, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The session's id (`sid`).
    pub(super) session: String,
    /// Streaming format (`sf`).
    pub(super) protocol: Option<Protocol>,
    /// State of the player (`sta`).
    pub(super) state: Option<State>,
    /// Live latency in milliseconds (`ltc`).
    pub(super) latency_ms: Option<u32>,
    /// Bit rate of what is played, in bits per second (`br`, the highest of the kinds of object).
    pub(super) bitrate: Option<u64>,
    /// Waits for data that are over, added up, in milliseconds (`bsd`).
    pub(super) starved_ms: Option<u64>,
    /// Whether there was a wait for data (`bs`).
    pub(super) starved: bool,
}

/// Reads a body.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Report>, Error> {
    let mut reports: Vec<Report> = Vec::new();
    let mut at = 0usize;
    for line in body.split(|byte| *byte == b'\n') {
        let begin = at;
        at = at.saturating_add(line.len()).saturating_add(1);
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if reports.len() >= MAX_REPORTS {
            return Err(Error::TooManyReports);
        }
        let report = dictionary(line, begin)?;
        if reports.first().is_some_and(|first| first.session != report.session) {
            return Err(Error::OtherSession { at: begin });
        }
        reports.push(report);
    }
    match reports.is_empty() {
        true => Err(Error::Syntax { at: 0 }),
        false => Ok(reports),
    }
}

/// A value of a dictionary's member.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    /// Integers and decimals; CMCD's are never negative where they are used.
    Number(f64),
    Boolean(bool),
    Token(&'a [u8]),
    Text(String),
    /// The numbers of an inner list.
    List(Vec<f64>),
}

impl Value<'_> {
    /// The numbers of a list, or the one that stands for a list of one.
    fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Number(number) => Some(std::slice::from_ref(number)),
            Self::List(numbers) => Some(numbers),
            _ => None,
        }
    }
}

fn dictionary(line: &[u8], begin: usize) -> Result<Report, Error> {
    let mut report = Report {
        session: String::new(),
        protocol: None,
        state: None,
        latency_ms: None,
        bitrate: None,
        starved_ms: None,
        starved: false,
    };
    let mut version = None;
    let mut text = Cursor { rest: line, at: begin };
    for _ in 0..MAX_KEYS {
        let key = text.key()?;
        let value = if text.eat(b'=') { text.value()? } else { Value::Boolean(true) };
        text.parameters()?;
        if key == b"v" {
            version = Some(value);
        } else {
            note(&mut report, key, &value).map_err(|key| Error::Value { key, at: begin })?;
        }
        text.spaces();
        if text.rest.is_empty() {
            if version != Some(Value::Number(2.0)) {
                return Err(Error::Version { at: begin });
            }
            let known = !report.session.is_empty();
            return known.then_some(report).ok_or(Error::NoSession { at: begin });
        }
        if !text.eat(b',') {
            return Err(text.syntax());
        }
        text.spaces();
    }
    Err(Error::TooManyKeys { at: begin })
}

/// Notes a member; gives the key whose value is wrong.
fn note(report: &mut Report, key: &[u8], value: &Value<'_>) -> Result<(), &'static str> {
    match (key, value) {
        (b"sid", Value::Text(id)) if (1..=MAX_ID).contains(&id.len()) => {
            report.session.clone_from(id);
        }
        (b"sid", _) => return Err("sid"),
        (b"sf", Value::Token(token)) => {
            report.protocol = Some(match *token {
                b"h" => Protocol::Hls,
                b"d" => Protocol::Dash,
                _ => Protocol::Other,
            });
        }
        (b"sf", _) => return Err("sf"),
        (b"sta", Value::Token(token)) => {
            report.state = Some(match *token {
                b"p" => State::Playing,
                b"r" => State::Rebuffering,
                b"e" | b"f" | b"q" => State::Gone,
                _ => State::Resting,
            });
        }
        (b"sta", _) => return Err("sta"),
        (b"ltc", Value::Number(ms)) => {
            let ms = whole(*ms, MAX_LATENCY_MS).ok_or("ltc")?;
            report.latency_ms = u32::try_from(ms).ok();
        }
        (b"ltc", _) => return Err("ltc"),
        (b"br", value) => {
            let rates = value.numbers().ok_or("br")?.iter().map(|n| whole(*n, MAX_BITRATE_KBPS));
            let rates = rates.collect::<Option<Vec<_>>>().ok_or("br")?;
            report.bitrate = rates.into_iter().max().map(|kbps| kbps.saturating_mul(1_000));
        }
        (b"bsd", value) => {
            let waits = value.numbers().ok_or("bsd")?.iter().map(|n| whole(*n, MAX_LATENCY_MS));
            let waits = waits.collect::<Option<Vec<_>>>().ok_or("bsd")?;
            report.starved_ms = Some(waits.into_iter().fold(0, u64::saturating_add));
        }
        (b"bs", Value::Boolean(starved)) => report.starved = *starved,
        (b"bs", _) => return Err("bs"),
        _ => {}
    }
    Ok(())
}

/// A number as a whole one, if it is one of ours.
fn whole(number: f64, most: u64) -> Option<u64> {
    let fits = number >= 0.0 && number <= most as f64;
    fits.then_some(number as u64)
}

/// What is still to be read of a line.
struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn syntax(&self) -> Error {
        Error::Syntax { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.at = self.at.saturating_add(1);
        Some(*first)
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.next();
        }
        there
    }

    /// The bytes from here on that are of a kind.
    fn while_is(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.at = self.at.saturating_add(taken.len());
        taken
    }

    fn spaces(&mut self) {
        self.while_is(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn key(&mut self) -> Result<&'a [u8], Error> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*') {
            return Err(self.syntax());
        }
        Ok(self.while_is(|byte| byte.is_ascii_alphanumeric() || b"_-.*".contains(&byte)))
    }

    fn value(&mut self) -> Result<Value<'a>, Error> {
        if self.eat(b'(') { self.list() } else { self.item() }
    }

    fn list(&mut self) -> Result<Value<'a>, Error> {
        let mut numbers = Vec::new();
        for _ in 0..=MAX_ITEMS {
            self.spaces();
            if self.eat(b')') {
                return Ok(Value::List(numbers));
            }
            if let Value::Number(number) = self.item()? {
                numbers.push(number);
            }
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return Err(self.syntax());
            }
        }
        Err(self.syntax())
    }

    /// Of an item: `;v` says that it is of video. They are not needed.
    fn parameters(&mut self) -> Result<(), Error> {
        while self.eat(b';') {
            self.spaces();
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Ok(())
    }

    fn item(&mut self) -> Result<Value<'a>, Error> {
        match self.peek().ok_or_else(|| self.syntax())? {
            b'"' => self.text(),
            b'?' => {
                self.next();
                match self.next() {
                    Some(b'0') => Ok(Value::Boolean(false)),
                    Some(b'1') => Ok(Value::Boolean(true)),
                    _ => Err(self.syntax()),
                }
            }
            b'-' | b'0'..=b'9' => {
                let digits = self.while_is(|byte| matches!(byte, b'-' | b'.' | b'0'..=b'9'));
                // 15 digits, a sign and a point (RFC 8941 §3.3).
                let short = digits.len() <= 17;
                let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                number.filter(|_| short).map(Value::Number).ok_or_else(|| self.syntax())
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                let is =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
                Ok(Value::Token(self.while_is(is)))
            }
            _ => Err(self.syntax()),
        }
    }

    fn text(&mut self) -> Result<Value<'a>, Error> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some(b'"') => return Ok(Value::Text(text)),
                Some(b'\\') => match self.next() {
                    Some(byte @ (b'"' | b'\\')) => text.push(char::from(byte)),
                    _ => return Err(self.syntax()),
                },
                Some(byte @ 0x20..=0x7e) => text.push(char::from(byte)),
                _ => return Err(self.syntax()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
