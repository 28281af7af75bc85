//! What of an offer is agreed to: the sections of the answer, and the streams that go with them.

use std::time::Instant;

use super::asking::Refusal;
use super::packets::{OPUS_CLOCK, PLAYOUT_DELAY, VIDEO_CLOCK};
use super::pictures::Coding;
use super::random::Random;
use super::sdp::{self, Agreed, Kind, Media, Offer};
use super::stream::{Stream, Terms};
use super::whip;
use crate::channel::preview::Track;

/// What browsers begin with, in kb/s: without it they take half a minute to get from 300 to a good picture.
const BEGIN_WITH: &str = "x-google-start-bitrate=2000";
/// The transport that every browser offers.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// What of an offer is agreed to: the sections of the answer, and the streams that are sent.
pub(super) type Agreement = (Vec<Option<Agreed>>, Stream, Option<Stream>);

pub(super) fn agree(
    offer: &Offer,
    track: &Track,
    random: &mut Random<'_>,
    now: Instant,
) -> Result<Agreement, Refusal> {
    // Of another rung than the source's own, which takes its place, the profile is not known yet.
    let profile = track.config().record.get(1).copied().filter(|_| track.is_showable());
    let mut sections = Vec::with_capacity(offer.media.len());
    let (mut video, mut audio) = (None, None);
    for media in &offer.media {
        let begun = video.is_some() || audio.is_some();
        let usable = shares_transport(offer, media, begun) && media.direction.receives();
        let codec = match media.kind {
            Kind::Video if usable && video.is_none() => sdp::choose_h264(media, profile),
            Kind::Audio if usable && audio.is_none() => sdp::choose_opus(media),
            _ => None,
        };
        let Some(codec) = codec else {
            sections.push(None);
            continue;
        };
        let ssrc = random.number()?;
        let again = match codec.rtx {
            Some(payload_type) => Some((random.number()?, payload_type)),
            None => None,
        };
        let is_video = media.kind == Kind::Video;
        let clock = if is_video { VIDEO_CLOCK } else { OPUS_CLOCK };
        let at_once = media.extension(PLAYOUT_DELAY).filter(|_| is_video);
        let terms = Terms { ssrc, payload_type: codec.payload_type, clock, again, at_once };
        let stream = Stream::new(terms, random.bytes()?, now);
        if is_video {
            video = Some(stream);
        } else {
            audio = Some(stream);
        }
        sections.push(Some(Agreed {
            codec,
            sends: Some((ssrc, again.map(|(ssrc, _)| ssrc))),
            at_once,
            more: "",
        }));
    }
    let video = video.ok_or(Refusal::NothingInCommon(
        "the offer takes no H.264 in packetization mode 1, bundled and with RTCP multiplexed",
    ))?;
    Ok((sections, video, audio))
}

/// What of an offer is taken: the sections of the answer, and what comes under which number. H.264 is what a
/// channel can pass on as it is; VP8 is taken from who has nothing else.
pub(super) fn agree_to_take(offer: &Offer) -> Result<(Vec<Option<Agreed>>, whip::Agreed), Refusal> {
    let mut sections = Vec::with_capacity(offer.media.len());
    let (mut video, mut audio) = (None, None);
    let mut coding = Coding::H264;
    for media in &offer.media {
        let begun = video.is_some() || audio.is_some();
        let usable = shares_transport(offer, media, begun) && media.direction.sends();
        let (codec, more) = match media.kind {
            Kind::Video if usable && video.is_none() => {
                let h264 = sdp::choose_h264(media, None);
                coding = if h264.is_some() { Coding::H264 } else { Coding::Vp8 };
                (h264.or_else(|| sdp::choose_vp8(media)), BEGIN_WITH)
            }
            Kind::Audio if usable && audio.is_none() => (sdp::choose_opus(media), ""),
            _ => (None, ""),
        };
        if let Some(codec) = &codec {
            let numbers = Some((codec.payload_type, codec.rtx));
            *(if media.kind == Kind::Video { &mut video } else { &mut audio }) = numbers;
        }
        sections.push(codec.map(|codec| Agreed { codec, sends: None, at_once: None, more }));
    }
    let (video, again) = video.ok_or(Refusal::NothingInCommon(
        "the offer sends no H.264 in packetization mode 1 and no VP8, bundled and with RTCP multiplexed",
    ))?;
    Ok((sections, whip::Agreed { coding, video, again, audio: audio.map(|(number, _)| number) }))
}

/// Whether a section can go over the one transport that there is. Without a group each has its own
/// (RFC 9143 §7.3.1): then only the first is taken.
fn shares_transport(offer: &Offer, media: &Media, begun: bool) -> bool {
    let shares = if offer.bundle.is_empty() { !begun } else { offer.bundle.contains(&media.mid) };
    shares && media.mux && media.protocol == PROTOCOL
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a panic here is a failed test")]
mod tests {
    use super::super::sdp::tests::CHROMIUM;
    use super::*;

    #[test]
    fn of_sections_that_share_no_transport_the_first_is_taken() {
        let offer = CHROMIUM.replace("a=recvonly", "a=sendonly");
        let (both, _) = agree_to_take(&Offer::read(&offer).unwrap()).unwrap();
        assert!(both[0].is_some() && both[1].is_some());
        let apart = Offer::read(&offer.replace("a=group:BUNDLE 0 1\r\n", "")).unwrap();
        let (one, _) = agree_to_take(&apart).unwrap();
        assert!(one[0].is_some() && one[1].is_none());
        let odd = Offer::read(&offer.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1")).unwrap();
        assert!(matches!(agree_to_take(&odd), Err(Refusal::NothingInCommon(_))));
    }

    #[test]
    fn of_who_has_no_h264_vp8_is_taken() {
        let offer = CHROMIUM.replace("a=recvonly", "a=sendonly");
        let (_, agreed) = agree_to_take(&Offer::read(&offer).unwrap()).unwrap();
        assert_eq!(agreed.coding, Coding::H264);
        let offer = offer.replace("H264/90000", "H266/90000");
        let (sections, agreed) = agree_to_take(&Offer::read(&offer).unwrap()).unwrap();
        assert_eq!(agreed.coding, Coding::Vp8);
        assert!(sections.iter().flatten().any(|agreed| agreed.codec.name == "VP8/90000"));
        let offer = offer.replace("VP8/90000", "VP7/90000");
        assert!(agree_to_take(&Offer::read(&offer).unwrap()).is_err());
    }
}
