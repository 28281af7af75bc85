//! The answer to an offer.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::super::packets::PLAYOUT_DELAY;
use super::{Codec, Kind, Media, Offer, print_fingerprint};

/// Of host candidates of the first component (RFC 8445 §5.1.2.1); those behind the first are liked less.
const PRIORITY: u32 = 2_130_706_431;

/// What we do with a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::webrtc) struct Agreed {
    pub(in crate::webrtc) codec: Codec,
    /// Our streams: of the media, and of what is sent again. `None`: we take media.
    pub(in crate::webrtc) sends: Option<(u32, Option<u32>)>,
    /// The number of the header extension that has pictures shown at once.
    pub(in crate::webrtc) at_once: Option<u8>,
    /// More parameters of the codec, `a=b`.
    pub(in crate::webrtc) more: &'static str,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(in crate::webrtc) struct Answer<'a> {
    /// Id of the session description.
    pub(in crate::webrtc) id: u64,
    pub(in crate::webrtc) ufrag: &'a str,
    pub(in crate::webrtc) password: &'a str,
    pub(in crate::webrtc) fingerprint: &'a [u8],
    pub(in crate::webrtc) candidates: &'a [SocketAddr],
    /// By the sections of the offer; `None`: it is turned down.
    pub(in crate::webrtc) sections: &'a [Option<Agreed>],
    /// Name of the stream and of who sends it.
    pub(in crate::webrtc) cname: &'a str,
}

/// Writes an answer to an offer.
pub(in crate::webrtc) fn write(offer: &Offer, answer: &Answer<'_>) -> String {
    let mut text = String::with_capacity(2_048);
    // Writing to a string does not fail.
    let _ = write_session(&mut text, offer, answer);
    let mut first = true;
    for (index, media) in offer.media.iter().enumerate() {
        let _ = match answer.sections.get(index).and_then(Option::as_ref) {
            Some(agreed) => {
                let with_candidates = std::mem::take(&mut first);
                write_section(&mut text, media, agreed, answer, with_candidates)
            }
            None => write_refused(&mut text, media),
        };
    }
    text
}

fn write_session(text: &mut String, offer: &Offer, answer: &Answer<'_>) -> std::fmt::Result {
    write!(text, "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", answer.id)?;
    let sections = offer.media.iter().zip(answer.sections).filter(|(_, agreed)| agreed.is_some());
    // What was not offered is not answered (RFC 9143 §7.3).
    if !offer.bundle.is_empty() {
        write!(text, "a=group:BUNDLE")?;
        for (media, _) in sections {
            write!(text, " {}", media.mid)?;
        }
        write!(text, "\r\n")?;
    }
    write!(text, "a=ice-lite\r\na=msid-semantic: WMS {}\r\n", answer.cname)
}

fn write_section(
    text: &mut String,
    media: &Media,
    agreed: &Agreed,
    answer: &Answer<'_>,
    with_candidates: bool,
) -> std::fmt::Result {
    let Agreed { codec, sends, at_once, more } = agreed;
    let kind = match media.kind {
        Kind::Video => "video",
        Kind::Audio | Kind::Other => "audio",
    };
    write!(text, "m={kind} 9 {} {}", media.protocol, codec.payload_type)?;
    if let Some(rtx) = codec.rtx {
        write!(text, " {rtx}")?;
    }
    write!(text, "\r\nc=IN IP4 0.0.0.0\r\n")?;
    write_mid(text, media)?;
    write!(text, "a=rtcp-mux\r\n{}", if media.reduced { "a=rtcp-rsize\r\n" } else { "" })?;
    let direction = if sends.is_some() { "sendonly" } else { "recvonly" };
    write!(text, "a={direction}\r\n")?;
    write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", answer.ufrag, answer.password)?;
    let fingerprint = print_fingerprint(answer.fingerprint);
    write!(text, "a=fingerprint:sha-256 {fingerprint}\r\na=setup:passive\r\n")?;
    write!(text, "a=rtpmap:{} {}\r\n", codec.payload_type, codec.name)?;
    let parameters: Vec<&str> =
        [codec.parameters.as_str(), more].into_iter().filter(|text| !text.is_empty()).collect();
    if !parameters.is_empty() {
        write!(text, "a=fmtp:{} {}\r\n", codec.payload_type, parameters.join(";"))?;
    }
    for feedback in &codec.feedback {
        write!(text, "a=rtcp-fb:{} {feedback}\r\n", codec.payload_type)?;
    }
    if let Some(rtx) = codec.rtx {
        write!(text, "a=rtpmap:{rtx} rtx/90000\r\n")?;
        write!(text, "a=fmtp:{rtx} apt={}\r\n", codec.payload_type)?;
    }
    if let Some(number) = at_once {
        write!(text, "a=extmap:{number} {PLAYOUT_DELAY}\r\n")?;
    }
    if let Some((ssrc, again)) = *sends {
        let name = answer.cname;
        write!(text, "a=msid:{name} {name}-{kind}\r\n")?;
        if let Some(again) = again {
            write!(text, "a=ssrc-group:FID {ssrc} {again}\r\n")?;
        }
        // Chromium takes the first that is named for the one of the media.
        for ssrc in std::iter::once(ssrc).chain(again) {
            write!(text, "a=ssrc:{ssrc} cname:{name}\r\n")?;
        }
    }
    if with_candidates {
        write_candidates(text, answer.candidates)?;
    }
    Ok(())
}

fn write_mid(text: &mut String, media: &Media) -> std::fmt::Result {
    if media.mid.is_empty() { Ok(()) } else { write!(text, "a=mid:{}\r\n", media.mid) }
}

fn write_candidates(text: &mut String, candidates: &[SocketAddr]) -> std::fmt::Result {
    for (index, at) in candidates.iter().enumerate() {
        let less = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(256);
        let priority = PRIORITY.saturating_sub(less);
        let (ip, port) = (at.ip(), at.port());
        write!(text, "a=candidate:{index} 1 udp {priority} {ip} {port} typ host\r\n")?;
    }
    write!(text, "a=end-of-candidates\r\n")
}

/// The section that has the candidates, as fragments name it (RFC 8840 §9.2).
pub(in crate::webrtc) fn first_section(offer: &Offer, sections: &[Option<Agreed>]) -> String {
    let mut agreed = offer.media.iter().zip(sections).filter(|(_, agreed)| agreed.is_some());
    let mut text = String::new();
    if let Some((media, _)) = agreed.next() {
        let kind = if media.kind == Kind::Video { "video" } else { "audio" };
        // Writing to a string does not fail.
        let _ = write!(text, "m={kind} 9 RTP/AVP 0\r\n");
        let _ = write_mid(&mut text, media);
    }
    text
}

/// What answers the beginning of another generation of ICE: a body of type `application/trickle-ice-sdpfrag`
/// with a fragment, its password, and where they are used.
pub(in crate::webrtc) fn restarted(
    section: &str,
    (ufrag, password): (&str, &str),
    candidates: &[SocketAddr],
) -> String {
    let mut text =
        format!("a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{section}");
    // Writing to a string does not fail.
    let _ = write_candidates(&mut text, candidates);
    text
}

/// A section of port 0 is turned down (RFC 3264 §6).
fn write_refused(text: &mut String, media: &Media) -> std::fmt::Result {
    let mut words = media.words.split_ascii_whitespace();
    let (kind, _) = (words.next().unwrap_or("application"), words.next());
    write!(text, "m={kind} 0")?;
    for word in words {
        write!(text, " {word}")?;
    }
    write!(text, "\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")?;
    write_mid(text, media)
}
