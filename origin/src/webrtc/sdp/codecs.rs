//! Which of the offered formats is used.

use super::{Format, Media};

/// What is agreed on for one media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::webrtc) struct Codec {
    pub(in crate::webrtc) payload_type: u8,
    /// As it was offered.
    pub(in crate::webrtc) name: String,
    /// As it was offered.
    pub(in crate::webrtc) parameters: String,
    /// The number under which its packets are sent again, if the offerer knows how (RFC 4588).
    pub(in crate::webrtc) rtx: Option<u8>,
    /// What feedback both sides know.
    pub(in crate::webrtc) feedback: Vec<&'static str>,
}

/// What feedback we act upon, and give.
const FEEDBACK: [&str; 3] = ["nack", "nack pli", "ccm fir"];

fn parameter<'a>(format: &'a Format, name: &str) -> Option<&'a str> {
    let parameters = format.parameters.split(';').filter_map(|p| p.trim().split_once('='));
    parameters.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

fn is(format: &Format, name: &str) -> bool {
    format.name.eq_ignore_ascii_case(name)
}

fn codec(media: &Media, format: &Format) -> Codec {
    let again = media.formats.iter().find(|other| {
        is(other, "rtx/90000")
            && parameter(other, "apt").and_then(|apt| apt.parse().ok()) == Some(format.payload_type)
    });
    let feedback = FEEDBACK.into_iter().filter(|known| format.feedback.iter().any(|f| f == known));
    Codec {
        payload_type: format.payload_type,
        name: format.name.clone(),
        parameters: format.parameters.clone(),
        rtx: again.map(|format| format.payload_type),
        feedback: feedback.collect(),
    }
}

/// H.264 in packetization mode 1 (RFC 6184 §6.3), of the profile that the pictures have if that is offered:
/// `profile` is the first byte of profile-level-id. Browsers decode what is in the stream whichever is
/// chosen, so another one is better than none.
pub(in crate::webrtc) fn choose_h264(media: &Media, profile: Option<u8>) -> Option<Codec> {
    let offered: Vec<&Format> = media
        .formats
        .iter()
        .filter(|f| is(f, "H264/90000") && parameter(f, "packetization-mode") == Some("1"))
        .collect();
    let profile_of = |format: &Format| {
        let id = parameter(format, "profile-level-id").unwrap_or("42");
        u8::from_str_radix(id.get(..2)?, 16).ok()
    };
    let same = offered.iter().find(|f| profile.is_some() && profile_of(f) == profile);
    same.or_else(|| offered.first()).map(|format| codec(media, format))
}

/// VP8 (RFC 7741).
pub(in crate::webrtc) fn choose_vp8(media: &Media) -> Option<Codec> {
    media.formats.iter().find(|f| is(f, "VP8/90000")).map(|format| codec(media, format))
}

/// Opus (RFC 7587).
pub(in crate::webrtc) fn choose_opus(media: &Media) -> Option<Codec> {
    media.formats.iter().find(|f| is(f, "opus/48000/2")).map(|format| codec(media, format))
}
