//! RTP: a coded picture cut into payloads (RFC 6184), and the header of a packet (RFC 3550 §5.1).
//!
//! A picture is cut once for all its viewers. What fits is sent as it is, a reference into the picture; what
//! does not, in fragments (FU-A). A key frame is preceded by its parameter sets in one packet (STAP-A), since
//! the container that it came in keeps them apart. Access unit delimiters and filler are left out.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use packager::codec::h264;
use packager::codec::nal::{LengthSize, Units};
use packager::media::VideoCodec;

use crate::channel::preview::Picture;

/// Bytes of a payload: with headers of IPv6, UDP, RTP, an extension, RTX and SRTP it stays below 1280, what every way
/// bears (RFC 8200 §5).
pub(super) const MAX_PAYLOAD: usize = 1_180;
/// Ticks per second of pictures' times.
pub(super) const VIDEO_CLOCK: u32 = 90_000;
/// Ticks per second of Opus, whatever it is coded at (RFC 7587 §4.1).
pub(super) const OPUS_CLOCK: u32 = 48_000;
/// Types of NAL units: delimiter, filler, sequence and picture parameter set.
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const SPS: u8 = 7;
/// Types of packets.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// The payloads of a picture; none if it can't be read.
pub(super) fn cut(picture: &Picture) -> Arc<[Bytes]> {
    let mut payloads = Vec::new();
    let mut kinds = Vec::new();
    for unit in Units::new(&picture.data, LengthSize::Four) {
        let Ok(unit) = unit else { break };
        let kind = unit.kind(VideoCodec::H264);
        kinds.push(kind);
        if !matches!(kind, DELIMITER | FILLER) {
            push_unit(&picture.data.slice_ref(unit.bytes), &mut payloads);
        }
    }
    if let Some(config) = &picture.key
        && !kinds.contains(&SPS)
        && let Ok(sets) = h264::parameter_sets(&config.record)
    {
        payloads.insert(0, together(&sets));
    }
    payloads.into()
}

fn push_unit(unit: &Bytes, payloads: &mut Vec<Bytes>) {
    if unit.len() <= MAX_PAYLOAD {
        payloads.push(unit.clone());
        return;
    }
    let Some((head, rest)) = unit.split_first() else { return };
    let indicator = head & 0xe0 | FU_A;
    let mut pieces = rest.chunks(MAX_PAYLOAD.saturating_sub(2)).peekable();
    let mut flags = 0x80;
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= 0x40;
        }
        let mut payload = BytesMut::with_capacity(piece.len().saturating_add(2));
        payload.put_u8(indicator);
        payload.put_u8(flags | head & 0x1f);
        payload.put_slice(piece);
        payloads.push(payload.freeze());
        flags = 0;
    }
}

fn together(sets: &[Bytes]) -> Bytes {
    // The highest importance of those inside (RFC 6184 §5.7.1): parameter sets have the highest there is.
    let mut payload = BytesMut::new();
    payload.put_u8(0x60 | STAP_A);
    for set in sets {
        payload.put_u16(u16::try_from(set.len()).unwrap_or(0));
        payload.put_slice(set);
    }
    payload.freeze()
}

/// What a packet's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_type: u8,
    /// Whether it is the last of its picture.
    pub(super) marker: bool,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// The number of the header extension by which a picture is to be shown as soon as it can be.
    pub(super) at_once: Option<u8>,
}

/// That extension: the least and the most that the receiver may hold pictures back for, 12 bits each, in
/// hundredths of a second. A least of nought has browsers show what is decoded without a plan.
pub(super) const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const AT_ONCE: [u8; 3] = [0, 0, 40];

/// Writes a packet; `original` is the sequence number that one of a retransmission stream stands for
/// (RFC 4588 §4).
pub(super) fn write(into: &mut BytesMut, header: Header, original: Option<u16>, payload: &[u8]) {
    into.clear();
    into.put_u8(if header.at_once.is_some() { 0x90 } else { 0x80 });
    into.put_u8(u8::from(header.marker) << 7 | header.payload_type & 0x7f);
    into.put_u16(header.sequence);
    into.put_u32(header.timestamp);
    into.put_u32(header.ssrc);
    if let Some(number) = header.at_once {
        // One word, of elements with a header of one byte (RFC 8285 §4.2).
        into.put_u32(0xbede_0001);
        into.put_u8(number << 4 | 2);
        into.put_slice(&AT_ONCE);
    }
    if let Some(original) = original {
        into.put_u16(original);
    }
    into.put_slice(payload);
}
