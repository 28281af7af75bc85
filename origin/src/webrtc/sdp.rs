//! What an offer says, as far as it is answered, and the answer (RFC 8866, RFC 8829, RFC 9725 §4.2).
//!
//! An offer is read line by line within limits, and what is of no use to us is passed over: a hostile one
//! costs no more than its length. Candidates are counted and thrown away. A lite agent waits to be found
//! (RFC 8445 §2.5), so no address that stands in an offer is ever sent anything.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::fmt::Write as _;

mod answer;
mod codecs;
pub(super) use answer::{Agreed, Answer, first_section, restarted, write};
pub(super) use codecs::{Codec, choose_h264, choose_opus, choose_vp8};

/// Bytes of an offer: those of browsers with every codec have 8 KiB.
pub const MAX_SDP: usize = 64 * 1024;
/// Media sections: picture and sound, and what a browser may add.
const MAX_MEDIA: usize = 8;
/// Candidates: a machine with many addresses has a few for each of them.
const MAX_CANDIDATES: usize = 50;
/// Lines of an offer: those of browsers with every codec have 250.
const MAX_LINES: usize = 2_048;
/// Bytes of a line.
const MAX_LINE: usize = 2_048;
/// Formats of a media section: there are as many numbers as this.
const MAX_FORMATS: usize = 128;
/// Streams that a media section names.
const MAX_STREAMS: usize = 16;
/// Characters of a fragment (RFC 8839 §5.4 allows 4 to 256) and of a password (22 to 256).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=256;

/// Why an offer can't be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no session description.
    #[error("line {line}: {what}")]
    Malformed {
        /// From 1.
        line: usize,
        /// In words.
        what: &'static str,
    },
    /// There is more of something than any browser sends.
    #[error("more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Something is missing that every session needs.
    #[error("the offer has no {0}")]
    Missing(&'static str),
    /// It wants something that is not done here.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// What kind of media a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Audio,
    Other,
}

/// What the offerer wants of a section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    /// Whether the offerer takes media.
    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Whether it has media.
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// A codec that is offered under a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    /// `H264/90000`, in the offerer's spelling.
    pub(super) name: String,
    /// Its parameters as they stand there.
    pub(super) parameters: String,
    /// What feedback it may be given: `nack`, `nack pli`.
    pub(super) feedback: Vec<String>,
}

/// A media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) kind: Kind,
    /// The line's own words, for a section that is turned down.
    pub(super) words: String,
    pub(super) protocol: String,
    pub(super) mid: String,
    pub(super) direction: Direction,
    pub(super) formats: Vec<Format>,
    pub(super) mux: bool,
    /// Whether control packets may come alone (RFC 5506).
    pub(super) reduced: bool,
    /// Streams that the offerer will send.
    pub(super) ssrcs: Vec<u32>,
    /// Header extensions: their numbers and names.
    pub(super) extensions: Vec<(u8, String)>,
}

/// An offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) ufrag: String,
    pub(super) password: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) media: Vec<Media>,
    /// Names of the sections that share a transport.
    pub(super) bundle: Vec<String>,
}

/// What is read on the way.
#[derive(Default)]
struct Reading {
    offer: Offer,
    has_fingerprint: bool,
    candidates: usize,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// Says what of it can't be answered.
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_SDP {
            return Err(Error::TooMany { what: "bytes", most: MAX_SDP });
        }
        let mut reading = Reading::default();
        for (index, line) in text.lines().enumerate() {
            if index >= MAX_LINES {
                return Err(Error::TooMany { what: "lines", most: MAX_LINES });
            }
            let line = line.trim_end_matches('\r');
            let number = index.saturating_add(1);
            let malformed = |what| Error::Malformed { line: number, what };
            if number == 1 && line != "v=0" {
                return Err(malformed("a session description begins with v=0"));
            }
            if line.len() > MAX_LINE {
                return Err(malformed("the line is too long"));
            }
            match line.split_once('=') {
                Some(("m", value)) => reading.media(value, number)?,
                Some(("a", value)) => reading.attribute(value, number)?,
                Some((kind, _)) if kind.len() == 1 => {}
                _ if line.is_empty() => {}
                _ => return Err(malformed("it has no type")),
            }
        }
        reading.finish()
    }
}

impl Reading {
    fn media(&mut self, value: &str, line: usize) -> Result<(), Error> {
        if self.offer.media.len() >= MAX_MEDIA {
            return Err(Error::TooMany { what: "media sections", most: MAX_MEDIA });
        }
        let malformed = |what| Error::Malformed { line, what };
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(|| malformed("a media line has four fields"));
        let (kind, _port, protocol) = (word()?, word()?, word()?);
        let kind = match kind {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => Kind::Other,
        };
        let mut formats = Vec::new();
        for format in words {
            if formats.len() >= MAX_FORMATS {
                return Err(Error::TooMany { what: "formats", most: MAX_FORMATS });
            }
            if kind != Kind::Other {
                let number: Option<u8> = format.parse().ok().filter(|number| *number < 128);
                let payload_type = number.ok_or_else(|| malformed("a format is a number"))?;
                formats.push(Format { payload_type, ..Format::default() });
            }
        }
        self.offer.media.push(Media {
            kind,
            words: value.to_owned(),
            protocol: protocol.to_owned(),
            mid: String::new(),
            direction: Direction::default(),
            formats,
            mux: false,
            reduced: false,
            ssrcs: Vec::new(),
            extensions: Vec::new(),
        });
        Ok(())
    }

    fn attribute(&mut self, value: &str, line: usize) -> Result<(), Error> {
        let malformed = |what| Error::Malformed { line, what };
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        let value = value.trim();
        match name {
            "ice-ufrag" => {
                if !is_ice_text(value, UFRAG) {
                    return Err(malformed("that is no ice-ufrag"));
                }
                // With one transport for all there is one of them (RFC 9143 §7.1.3).
                if self.offer.ufrag.is_empty() {
                    value.clone_into(&mut self.offer.ufrag);
                }
            }
            "ice-pwd" => {
                if !is_ice_text(value, PASSWORD) {
                    return Err(malformed("that is no ice-pwd"));
                }
                if self.offer.password.is_empty() {
                    value.clone_into(&mut self.offer.password);
                }
            }
            "fingerprint" if !self.has_fingerprint => {
                let Some((hash, value)) = value.split_once(' ') else {
                    return Err(malformed("that is no fingerprint"));
                };
                // Others beside it are allowed (RFC 8122 §5); this one every browser has.
                if hash.eq_ignore_ascii_case("sha-256") {
                    let read = fingerprint(value.trim());
                    self.offer.fingerprint =
                        read.ok_or_else(|| malformed("that is no fingerprint"))?;
                    self.has_fingerprint = true;
                }
            }
            "setup" if value == "passive" => {
                return Err(Error::Unsupported("the offerer has to begin the handshake"));
            }
            "candidate" => {
                self.candidates = self.candidates.saturating_add(1);
                if self.candidates > MAX_CANDIDATES {
                    return Err(Error::TooMany { what: "candidates", most: MAX_CANDIDATES });
                }
            }
            "ice-lite" => {
                return Err(Error::Unsupported("both sides are ice-lite: nobody would begin"));
            }
            "group" if self.offer.media.is_empty() => {
                if let Some(mids) = value.strip_prefix("BUNDLE ")
                    && self.offer.bundle.is_empty()
                {
                    let mids = mids.split_ascii_whitespace().take(MAX_MEDIA);
                    self.offer.bundle = mids.map(str::to_owned).collect();
                }
            }
            _ => {
                if let Some(media) = self.offer.media.last_mut() {
                    media.attribute(name, value).map_err(malformed)?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Offer, Error> {
        let offer = self.offer;
        for (missing, what) in [
            (offer.media.is_empty(), "media"),
            (offer.ufrag.is_empty(), "ice-ufrag"),
            (offer.password.is_empty(), "ice-pwd"),
            (!self.has_fingerprint, "fingerprint of SHA-256"),
        ] {
            if missing {
                return Err(Error::Missing(what));
            }
        }
        Ok(offer)
    }
}

impl Media {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "mid" => {
                let token = value.len() <= 32 && value.bytes().all(|b| b.is_ascii_graphic());
                if !token || value.is_empty() {
                    return Err("that is no mid");
                }
                value.clone_into(&mut self.mid);
            }
            "rtcp-mux" => self.mux = true,
            "rtcp-rsize" => self.reduced = true,
            "rtpmap" => {
                let (number, name) = value.split_once(' ').ok_or("that is no rtpmap")?;
                if let Some(format) = self.format(number) {
                    name.trim().clone_into(&mut format.name);
                }
            }
            "fmtp" => {
                let (number, parameters) = value.split_once(' ').ok_or("that is no fmtp")?;
                if let Some(format) = self.format(number) {
                    parameters.trim().clone_into(&mut format.parameters);
                }
            }
            "rtcp-fb" => {
                let (number, kind) = value.split_once(' ').ok_or("that is no rtcp-fb")?;
                let all = number == "*";
                let number = number.parse::<u8>().ok();
                let given =
                    self.formats.iter_mut().filter(|f| all || Some(f.payload_type) == number);
                for format in given.filter(|format| format.feedback.len() < MAX_STREAMS) {
                    format.feedback.push(kind.trim().to_owned());
                }
            }
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|number| number.parse().ok());
                let ssrc: u32 = ssrc.ok_or("that is no ssrc")?;
                if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < MAX_STREAMS {
                    self.ssrcs.push(ssrc);
                }
            }
            "extmap" => {
                let (number, uri) = value.split_once(' ').ok_or("that is no extmap")?;
                let number = number.split('/').next().and_then(|number| number.parse().ok());
                if let Some(number @ 1..=14) = number
                    && self.extensions.len() < MAX_STREAMS
                {
                    let uri = uri.split(' ').next().unwrap_or_default();
                    self.extensions.push((number, uri.to_owned()));
                }
            }
            _ => {
                if let Some(direction) = Direction::of(name) {
                    self.direction = direction;
                }
            }
        }
        Ok(())
    }

    /// The number of a header extension, if it is offered.
    pub(super) fn extension(&self, name: &str) -> Option<u8> {
        self.extensions.iter().find(|(_, known)| known == name).map(|(number, _)| *number)
    }

    fn format(&mut self, number: &str) -> Option<&mut Format> {
        let number: u8 = number.parse().ok()?;
        self.formats.iter_mut().find(|format| format.payload_type == number)
    }
}

/// `ice-char`s (RFC 8839 §5.4).
fn is_ice_text(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut pairs = text.split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}

fn print_fingerprint(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a string does not fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// The ICE fragment and password in a body of type `application/trickle-ice-sdpfrag` (RFC 8840 §9), if it has
/// both: those that its candidates belong to, or those of a new generation.
///
/// # Errors
/// It is no such body.
pub(super) fn fragment(text: &str) -> Result<Option<(String, String)>, Error> {
    if text.len() > MAX_SDP {
        return Err(Error::TooMany { what: "bytes", most: MAX_SDP });
    }
    let (mut ufrag, mut password, mut candidates) = (None, None, 0usize);
    for (index, line) in text.lines().enumerate() {
        let malformed = |what| Error::Malformed { line: index.saturating_add(1), what };
        match line.trim().split_once(':') {
            Some(("a=ice-ufrag", value)) if is_ice_text(value, UFRAG) => ufrag = Some(value),
            Some(("a=ice-pwd", value)) if is_ice_text(value, PASSWORD) => password = Some(value),
            Some(("a=ice-ufrag" | "a=ice-pwd", _)) => {
                return Err(malformed("that is no ice-ufrag or ice-pwd"));
            }
            Some(("a=candidate", _)) => candidates = candidates.saturating_add(1),
            _ if index == 0 && !line.contains('=') => return Err(malformed("it has no type")),
            _ => {}
        }
        if candidates > MAX_CANDIDATES {
            return Err(Error::TooMany { what: "candidates", most: MAX_CANDIDATES });
        }
    }
    match (ufrag, password) {
        (Some(ufrag), Some(password)) => Ok(Some((ufrag.to_owned(), password.to_owned()))),
        _ => Ok(None),
    }
}

#[cfg(test)]
pub(super) mod tests;
