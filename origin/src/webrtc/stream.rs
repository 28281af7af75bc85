//! One RTP stream that is sent: its numbers, what of it can be sent again, and what is told of it.
//!
//! Sequence numbers and times begin anywhere (RFC 3550 §5.1). The last [`HISTORY`] packets are kept as
//! references to the payloads that all viewers share, for those that are asked for again (RFC 4588); how many
//! that may be is bounded, so that nobody makes the server send more than a part of what it sends anyway.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::packets::{self, Header};
use super::rtcp::SenderReport;

/// Packets that can be sent again: two seconds of 4 Mb/s.
const HISTORY: usize = 1_024;
/// Packets that may be sent again at once, and in a second: as many as a second of 2.5 Mb/s has.
const RESENT_AT_ONCE: f64 = 256.0;
const RESENT_PER_SECOND: f64 = 256.0;
/// A packet is not sent again within this of the last time: the answer to that is still on its way.
const RESENT_APART: Duration = Duration::from_millis(20);

/// A packet that was sent.
#[derive(Debug)]
struct Sent {
    header: Header,
    payload: Bytes,
    again_at: Option<Instant>,
}

/// Where packets go that are sent again.
#[derive(Debug)]
struct Again {
    ssrc: u32,
    payload_type: u8,
    sequence: u16,
}

/// A stream of ours.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    payload_type: u8,
    /// Ticks per second.
    clock: u32,
    sequence: u16,
    /// The time on the stream's clock when the session began.
    origin: u32,
    packets: u32,
    octets: u32,
    history: VecDeque<Sent>,
    again: Option<Again>,
    at_once: Option<u8>,
    /// How many packets may be sent again now, as of when.
    allowance: (f64, Instant),
    resent: u64,
    begun: bool,
}

/// What a stream is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) clock: u32,
    /// SSRC and payload type of what is sent again.
    pub(super) again: Option<(u32, u8)>,
    /// The number of the header extension that key frames bear, if the receiver knows it.
    pub(super) at_once: Option<u8>,
}

impl Stream {
    pub(super) fn new(terms: Terms, random: [u8; 8], now: Instant) -> Self {
        let [a, b, c, d, e, f, g, h] = random;
        let again = terms.again.map(|(ssrc, payload_type)| Again {
            ssrc,
            payload_type,
            sequence: u16::from_be_bytes([g, h]) >> 1,
        });
        Self {
            ssrc: terms.ssrc,
            payload_type: terms.payload_type,
            clock: terms.clock,
            // Below half, so that receivers see the first turn (RFC 3711 §3.3.1).
            sequence: u16::from_be_bytes([a, b]) >> 1,
            origin: u32::from_be_bytes([c, d, e, f]),
            packets: 0,
            octets: 0,
            history: VecDeque::new(),
            again,
            at_once: terms.at_once,
            allowance: (RESENT_AT_ONCE, now),
            resent: 0,
            begun: false,
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Whether a report or request is about this.
    pub(super) fn is(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc
    }

    /// Whether anything was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Packets and bytes sent so far, and packets sent again.
    pub(super) fn sent(&self) -> (u32, u32, u64) {
        (self.packets, self.octets, self.resent)
    }

    /// A time of the session, in nanoseconds since it began, on the stream's clock.
    pub(super) fn timestamp(&self, nanos: i64) -> u32 {
        let ticks = i128::from(nanos) * i128::from(self.clock) / 1_000_000_000;
        // The clock turns over.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        self.origin.wrapping_add(ticks as u32)
    }

    /// Writes the next packet, and says whether it is marked and of a key frame.
    pub(super) fn write(
        &mut self,
        into: &mut BytesMut,
        timestamp: u32,
        (marker, key): (bool, bool),
        payload: &Bytes,
    ) {
        let header = Header {
            payload_type: self.payload_type,
            marker,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            // What one says holds for those that follow.
            at_once: self.at_once.filter(|_| key),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.begun = true;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        packets::write(into, header, None, payload);
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Sent { header, payload: payload.clone(), again_at: None });
    }

    /// Writes a packet that was asked for again; false if it is gone, was just sent, or too many were.
    pub(super) fn write_again(&mut self, into: &mut BytesMut, sequence: u16, now: Instant) -> bool {
        let (left, at) = self.allowance;
        let more = now.saturating_duration_since(at).as_secs_f64() * RESENT_PER_SECOND;
        let left = (left + more).min(RESENT_AT_ONCE);
        self.allowance = (left, now);
        if left < 1.0 {
            return false;
        }
        let Some(newest) = self.history.back().map(|sent| sent.header.sequence) else {
            return false;
        };
        let back = usize::from(newest.wrapping_sub(sequence)).saturating_add(1);
        let at = self.history.len().checked_sub(back);
        let Some(sent) = at.and_then(|at| self.history.get_mut(at)) else { return false };
        if sent.again_at.is_some_and(|at| now.saturating_duration_since(at) < RESENT_APART) {
            return false;
        }
        sent.again_at = Some(now);
        match &mut self.again {
            Some(again) => {
                let header = Header {
                    payload_type: again.payload_type,
                    sequence: again.sequence,
                    ssrc: again.ssrc,
                    ..sent.header
                };
                again.sequence = again.sequence.wrapping_add(1);
                packets::write(into, header, Some(sent.header.sequence), &sent.payload);
            }
            // It is the same packet once more, which its receiver has no key's position against.
            None => packets::write(into, sent.header, None, &sent.payload),
        }
        self.allowance.0 = left - 1.0;
        self.resent = self.resent.saturating_add(1);
        true
    }

    /// What is told of it, so many nanoseconds after the session began.
    pub(super) fn report(&self, nanos: i64, ntp: u64) -> SenderReport {
        SenderReport {
            ssrc: self.ssrc,
            ntp,
            rtp: self.timestamp(nanos),
            packets: self.packets,
            octets: self.octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::receive::Packet;
    use super::*;

    const TERMS: Terms =
        Terms { ssrc: 7, payload_type: 102, clock: 90_000, again: Some((8, 103)), at_once: None };

    fn stream(terms: Terms) -> (Stream, Instant) {
        let now = Instant::now();
        (Stream::new(terms, [0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0, 0], now), now)
    }

    fn send(stream: &mut Stream, count: usize) -> BytesMut {
        let mut packet = BytesMut::new();
        for index in 0..count {
            let payload = Bytes::from(vec![u8::try_from(index % 256).unwrap(); 4]);
            stream.write(&mut packet, 0, (true, false), &payload);
        }
        packet
    }

    #[test]
    fn what_is_asked_for_again_comes_on_its_own_stream_with_its_number() {
        let (mut stream, now) = stream(TERMS);
        let last = send(&mut stream, 3);
        assert_eq!(last[1], 0x80 | 102);
        let sequence = u16::from_be_bytes([last[2], last[3]]);
        let mut again = BytesMut::new();
        assert!(stream.write_again(&mut again, sequence.wrapping_sub(1), now));
        assert_eq!((again[1] & 0x7f, &again[8..12]), (103, &[0, 0, 0, 8][..]));
        assert_eq!(&again[12..], [&sequence.wrapping_sub(1).to_be_bytes()[..], &[1; 4]].concat());
        assert!(!stream.write_again(&mut again, sequence.wrapping_sub(1), now), "just sent");
        assert!(!stream.write_again(&mut again, sequence.wrapping_sub(3), now), "never sent");
        assert!(!stream.write_again(&mut again, sequence.wrapping_add(1), now), "not sent yet");
        let later = now + RESENT_APART;
        assert!(stream.write_again(&mut again, sequence.wrapping_sub(1), later));
    }

    #[test]
    fn key_frames_say_how_soon_they_are_shown_and_can_be_read() {
        let now = Instant::now();
        let mut stream = Stream::new(Terms { at_once: Some(6), ..TERMS }, [0; 8], now);
        let (mut packet, payload) = (BytesMut::new(), Bytes::from_static(b"picture"));
        stream.write(&mut packet, 9, (true, true), &payload);
        assert_eq!(packet[12..20], [0xbe, 0xde, 0, 1, 6 << 4 | 2, 0, 0, 40]);
        let read = Packet::read(packet.clone().freeze()).unwrap();
        assert_eq!((&read.payload, read.timestamp), (&payload, stream.timestamp(0) + 9));
        assert!(stream.write_again(&mut packet, 0, now));
        let again = Packet::read(packet.clone().freeze()).unwrap();
        assert_eq!(again.original(102, 7).unwrap().payload, payload);
        stream.write(&mut packet, 10, (true, false), &payload);
        assert_eq!(packet.len(), 12 + payload.len());
    }

    #[test]
    fn the_history_and_what_is_sent_again_are_bounded() {
        let (mut stream, now) = stream(TERMS);
        let last = send(&mut stream, 70_000);
        let newest = u16::from_be_bytes([last[2], last[3]]);
        assert_eq!(stream.history.len(), HISTORY);
        let mut again = BytesMut::new();
        assert!(!stream.write_again(&mut again, newest.wrapping_sub(1_024), now));
        let written = (0..1_024u16)
            .filter(|back| stream.write_again(&mut again, newest.wrapping_sub(*back), now))
            .count();
        assert_eq!(written, 256);
    }

    #[test]
    fn times_turn_over() {
        let (stream, _) = stream(TERMS);
        assert_eq!(stream.timestamp(0), 0xffff_fff0);
        assert_eq!(stream.timestamp(1_000_000_000), 0xffff_fff0u32.wrapping_add(90_000));
        let day = 24 * 3_600 * 1_000_000_000i64;
        #[allow(clippy::cast_possible_truncation)]
        let ticks = (24u64 * 3_600 * 90_000) as u32;
        assert_eq!(stream.timestamp(day), 0xffff_fff0u32.wrapping_add(ticks));
    }
}
