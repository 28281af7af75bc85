//! RTCP: what a peer says of the packets it was sent, and what it is told (RFC 3550 §6, RFC 4585 §6,
//! RFC 5104 §4.3.1).
//!
//! What is written begins with a report and the sender's name, as every compound packet does (RFC 3550 §6.1).
//! Reading is a pure function over a compound packet that yields the few messages that are acted upon; all
//! else is passed over by its length, and the rest of a packet that is not whole is left out.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut as _, BytesMut};

/// Sender report.
const SR: u8 = 200;
/// Receiver report.
const RR: u8 = 201;
/// Source description.
const SDES: u8 = 202;
/// Goodbye.
const BYE: u8 = 203;
/// Transport layer feedback.
const RTPFB: u8 = 205;
/// Payload specific feedback.
const PSFB: u8 = 206;
/// Packets that one message may ask for again: what is lost of a burst, not of a minute.
const MAX_NACKS: usize = 512;
/// Reports and messages that are read of one compound packet.
const MAX_MESSAGES: usize = 64;

/// Our name in reports, which ties our streams together; that of the answer.
pub(super) const CNAME: &str = "headwater";

/// Something a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// How a stream of ours arrives.
    Reception(Reception),
    /// Where a stream of the peer's stands.
    Sender {
        /// The stream.
        ssrc: u32,
        /// The peer's wall clock, in units of 2^-32 s since 1900.
        ntp: u64,
        /// The same instant on the stream's clock.
        rtp: u32,
    },
    /// Packets of a stream of ours are asked for again.
    Nack {
        /// The stream.
        ssrc: u32,
        /// Sequence numbers.
        lost: Vec<u16>,
    },
    /// A key frame of a stream of ours is asked for.
    KeyFrame {
        /// The stream.
        ssrc: u32,
    },
    /// The peer stops to send.
    Bye,
}

/// A report block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reception {
    /// The stream of ours.
    pub(super) ssrc: u32,
    /// Packets lost since the last report, in 256ths.
    pub(super) fraction: u8,
    /// Packets lost so far.
    pub(super) lost: u32,
    /// Highest sequence number, extended.
    pub(super) highest: u32,
    /// Jitter on the stream's clock.
    pub(super) jitter: u32,
    /// Middle of the NTP time of the last sender report.
    pub(super) last_sr: u32,
    /// How long ago that came, in 65536ths of a second.
    pub(super) delay: u32,
}

/// What of a compound packet is acted upon.
pub(super) fn read(mut compound: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((kind, count, body, rest)) = packet(compound) {
        read_packet(kind, count, body, &mut messages);
        if messages.len() >= MAX_MESSAGES {
            messages.truncate(MAX_MESSAGES);
            break;
        }
        compound = rest;
    }
    messages
}

/// The first packet: its type, its count or format, what follows the header, and the packets behind it.
fn packet(compound: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let [first, kind, ..] = *compound.get(..4)? else { return None };
    if first >> 6 != 2 {
        return None;
    }
    let words = usize::from(u16_at(compound, 2)?);
    let length = words.checked_add(1)?.checked_mul(4)?;
    let whole = compound.get(..length)?;
    Some((kind, first & 0x1f, whole.get(4..)?, compound.get(length..)?))
}

fn read_packet(kind: u8, count: u8, body: &[u8], messages: &mut Vec<Message>) {
    match (kind, count) {
        (SR, _) => {
            let sender = (|| {
                let (ssrc, ntp) = (u32_at(body, 0)?, u64_at(body, 4)?);
                Some(Message::Sender { ssrc, ntp, rtp: u32_at(body, 12)? })
            })();
            messages.extend(sender);
            receptions(count, body.get(24..).unwrap_or_default(), messages);
        }
        (RR, _) => receptions(count, body.get(4..).unwrap_or_default(), messages),
        (BYE, _) => messages.push(Message::Bye),
        (RTPFB, 1) => messages.extend(nack(body)),
        (PSFB, 1) => messages.extend(u32_at(body, 4).map(|ssrc| Message::KeyFrame { ssrc })),
        // FIR names its streams in its own entries.
        (PSFB, 4) => {
            let entries = body.get(8..).unwrap_or_default().chunks_exact(8);
            messages.extend(
                entries.filter_map(|e| u32_at(e, 0)).map(|ssrc| Message::KeyFrame { ssrc }),
            );
        }
        _ => {}
    }
}

fn receptions(count: u8, blocks: &[u8], messages: &mut Vec<Message>) {
    for block in blocks.chunks_exact(24).take(count.into()) {
        let read = (|| {
            let loss = u32_at(block, 4)?;
            Some(Reception {
                ssrc: u32_at(block, 0)?,
                fraction: loss.to_be_bytes()[0],
                lost: loss & 0x00ff_ffff,
                highest: u32_at(block, 8)?,
                jitter: u32_at(block, 12)?,
                last_sr: u32_at(block, 16)?,
                delay: u32_at(block, 20)?,
            })
        })();
        messages.extend(read.map(Message::Reception));
    }
}

fn nack(body: &[u8]) -> Option<Message> {
    let ssrc = u32_at(body, 4)?;
    let mut lost = Vec::new();
    for item in body.get(8..)?.chunks_exact(4) {
        let (first, mask) = (u16_at(item, 0)?, u16_at(item, 2)?);
        lost.push(first);
        let others = (0u16..16).filter(|bit| mask & (1 << bit) != 0);
        lost.extend(others.map(|bit| first.wrapping_add(bit).wrapping_add(1)));
        if lost.len() >= MAX_NACKS {
            lost.truncate(MAX_NACKS);
            break;
        }
    }
    Some(Message::Nack { ssrc, lost })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    Some(u64::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// What a sender says of a stream of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderReport {
    pub(super) ssrc: u32,
    /// Our wall clock, in units of 2^-32 s since 1900.
    pub(super) ntp: u64,
    /// The same instant on the stream's clock.
    pub(super) rtp: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// Writes a sender report and the name that ties streams together (RFC 3550 §6.4.1, §6.5.1).
pub(super) fn write_sender_report(into: &mut BytesMut, report: &SenderReport, cname: &str) {
    head(into, 0, SR, 6);
    into.put_u32(report.ssrc);
    into.put_u64(report.ntp);
    into.put_u32(report.rtp);
    into.put_u32(report.packets);
    into.put_u32(report.octets);
    write_cname(into, report.ssrc, cname);
}

fn write_cname(into: &mut BytesMut, ssrc: u32, cname: &str) {
    let name = cname.as_bytes().get(..cname.len().min(255)).unwrap_or_default();
    // SSRC, item type, its length, the name, and at least one byte of nought, up to a whole word.
    let length = name.len().saturating_add(7);
    let padding = 4usize.saturating_sub(length % 4) % 4;
    let words = length.saturating_add(padding) / 4;
    head(into, 1, SDES, u16::try_from(words).unwrap_or(0));
    into.put_u32(ssrc);
    into.put_u8(1);
    into.put_u8(u8::try_from(name.len()).unwrap_or(0));
    into.put_slice(name);
    into.put_bytes(0, padding.saturating_add(1));
}

/// Writes that streams of ours end (RFC 3550 §6.6).
pub(super) fn write_bye(into: &mut BytesMut, ssrcs: &[u32], cname: &str) {
    let count = u8::try_from(ssrcs.len().min(31)).unwrap_or(0);
    write_receiver_report(into, ssrcs.first().copied().unwrap_or(0), &[], cname);
    head(into, count, BYE, count.into());
    ssrcs.iter().take(count.into()).for_each(|ssrc| into.put_u32(*ssrc));
}

/// Writes a receiver report of streams of the peer's, and our name.
pub(super) fn write_receiver_report(
    into: &mut BytesMut,
    own: u32,
    blocks: &[Reception],
    cname: &str,
) {
    let count = u8::try_from(blocks.len().min(31)).unwrap_or(0);
    head(into, count, RR, u16::from(count).saturating_mul(6).saturating_add(1));
    into.put_u32(own);
    for block in blocks.iter().take(count.into()) {
        into.put_u32(block.ssrc);
        into.put_u32(u32::from(block.fraction) << 24 | block.lost & 0x00ff_ffff);
        into.put_u32(block.highest);
        into.put_u32(block.jitter);
        into.put_u32(block.last_sr);
        into.put_u32(block.delay);
    }
    write_cname(into, own, cname);
}

/// Asks for a key frame (RFC 4585 §6.3.1).
pub(super) fn write_pli(into: &mut BytesMut, own: u32, of: u32) {
    head(into, 1, PSFB, 2);
    into.put_u32(own);
    into.put_u32(of);
}

/// Asks for packets again (RFC 4585 §6.2.1).
pub(super) fn write_nack(into: &mut BytesMut, own: u32, of: u32, lost: &[u16]) {
    let mut items: Vec<(u16, u16)> = Vec::new();
    for seq in lost {
        let bit = items.last().and_then(|(first, _)| {
            let ahead = seq.wrapping_sub(*first);
            (1..=16).contains(&ahead).then(|| ahead.saturating_sub(1))
        });
        match (bit, items.last_mut()) {
            (Some(bit), Some((_, mask))) => *mask |= 1 << bit,
            _ => items.push((*seq, 0)),
        }
    }
    let words = u16::try_from(items.len()).unwrap_or(0).saturating_add(2);
    head(into, 1, RTPFB, words);
    into.put_u32(own);
    into.put_u32(of);
    for (first, mask) in items {
        into.put_u16(first);
        into.put_u16(mask);
    }
}

fn head(into: &mut BytesMut, count: u8, kind: u8, words: u16) {
    into.put_u8(0x80 | count & 0x1f);
    into.put_u8(kind);
    into.put_u16(words);
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut written = BytesMut::new();
        let report =
            SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp: 9, packets: 1, octets: 2 };
        write_sender_report(&mut written, &report, CNAME);
        let block =
            Reception { ssrc: 5, fraction: 128, lost: 3, highest: 70_000, ..Default::default() };
        write_receiver_report(&mut written, 1, &[block], CNAME);
        write_pli(&mut written, 1, 5);
        write_nack(&mut written, 1, 5, &[65_535, 0, 15, 16, 400]);
        write_bye(&mut written, &[7, 8], CNAME);
        assert_eq!(written.len() % 4, 0);
        assert_eq!(
            read(&written),
            [
                Message::Sender { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp: 9 },
                Message::Reception(block),
                Message::KeyFrame { ssrc: 5 },
                Message::Nack { ssrc: 5, lost: vec![65_535, 0, 15, 16, 400] },
                Message::Bye,
            ]
        );
        for length in 0..written.len() {
            read(&written[..length]);
        }
    }

    #[test]
    fn a_full_intra_request_asks_for_a_key_frame() {
        let fir = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0];
        assert_eq!(read(&fir), [Message::KeyFrame { ssrc: 5 }]);
    }

    #[test]
    fn nobody_makes_us_send_without_end() {
        let mut many = BytesMut::new();
        let all: Vec<u16> = (0..=u16::MAX).collect();
        write_nack(&mut many, 1, 5, &all[..20_000]);
        let Some(Message::Nack { lost, .. }) = read(&many).into_iter().next() else { panic!() };
        assert_eq!(lost.len(), MAX_NACKS);
        let mut many = BytesMut::new();
        (0..1_000).for_each(|_| write_pli(&mut many, 1, 5));
        assert_eq!(read(&many).len(), MAX_MESSAGES);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in proptest::collection::vec(0u8.., 0..300)) {
            read(&bytes);
        }
    }
}
