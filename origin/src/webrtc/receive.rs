//! One RTP stream that is received: in order again, with what was lost asked for, and reported on
//! (RFC 3550 §6.4, §A.3, §A.8; RFC 4585 §6.2.1; RFC 4588).
//!
//! ```text
//! packet ─► extended number ─► waits for those before it ─► ready, in order │ gap
//!                 └► missing: asked for, again and again, up to PATIENCE
//! ```
//! What does not come in time is a gap, which who puts pictures together is told of. Nothing is held longer than
//! that, and never more than [`MAX_WAITING`] packets.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use packager::time::Unroller;

use super::rtcp::Reception;

/// Packets that may wait for one before them: a second of 4 Mb/s.
const MAX_WAITING: usize = 512;
/// Numbers that may be missing at one time; a longer gap is a sender that began anew.
const MAX_GAP: i64 = 256;
/// A packet is asked for again after this. What is asked for twice over a long way is sent twice.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Packets that are asked for at once, so that the question fits a datagram.
const MAX_ASKED_AT_ONCE: usize = 256;
/// How often it is asked for.
const MAX_ASKED: u32 = 8;

/// A packet of media, its header read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) payload: Bytes,
}

impl Packet {
    /// Reads a whole packet (RFC 3550 §5.1, §5.3.1); `None` if it is none.
    pub(super) fn read(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 12 {
            return None;
        }
        let (first, second) = (bytes.get_u8(), bytes.get_u8());
        if first >> 6 != 2 {
            return None;
        }
        let (sequence, timestamp, ssrc) = (bytes.get_u16(), bytes.get_u32(), bytes.get_u32());
        let contributors = usize::from(first & 0x0f).checked_mul(4)?;
        bytes = bytes.get(contributors..).map(|rest| bytes.slice_ref(rest))?;
        if first & 0x10 != 0 {
            if bytes.len() < 4 {
                return None;
            }
            bytes.advance(2);
            let length = usize::from(bytes.get_u16()).checked_mul(4)?;
            bytes = bytes.get(length..).map(|rest| bytes.slice_ref(rest))?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*bytes.last()?);
            let length = bytes.len().checked_sub(padding.max(1))?;
            bytes.truncate(length);
        }
        Some(Self {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence,
            timestamp,
            ssrc,
            payload: bytes,
        })
    }

    /// The packet that one of a retransmission stream stands for (RFC 4588 §4); `None` if it holds none, as
    /// those that only fill the line.
    pub(super) fn original(mut self, payload_type: u8, ssrc: u32) -> Option<Self> {
        if self.payload.len() < 3 {
            return None;
        }
        let sequence = self.payload.get_u16();
        Some(Self { payload_type, ssrc, sequence, ..self })
    }
}

/// What comes out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Packet(Packet),
    /// So many packets are missing here.
    Gap(u64),
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    ask_at: Instant,
    asked: u32,
}

/// A stream of the peer's.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Ticks per second.
    clock: u32,
    /// How long a packet may be waited for.
    patience: Duration,
    numbers: Unroller,
    /// The next number that goes out.
    next: Option<i64>,
    waiting: BTreeMap<i64, Packet>,
    missing: BTreeMap<i64, Missing>,
    // For reports.
    first: i64,
    highest: i64,
    received: u64,
    /// Packets expected and received as of the last report.
    reported: (i64, u64),
    jitter: f64,
    transit: Option<f64>,
    began: Instant,
    /// Middle of the last sender report's wall clock, and when it came.
    sender: Option<(u32, Instant)>,
}

impl Receiver {
    pub(super) fn new(clock: u32, patience: Duration, now: Instant) -> Self {
        Self {
            clock,
            patience,
            numbers: Unroller::new(16),
            next: None,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            first: 0,
            highest: i64::MIN,
            received: 0,
            reported: (0, 0),
            jitter: 0.0,
            transit: None,
            began: now,
            sender: None,
        }
    }

    /// A packet that came; one of those sent again is not of the line's own pace.
    pub(super) fn take(&mut self, packet: Packet, again: bool, now: Instant) {
        let number = self.numbers.unroll(packet.sequence.into());
        if self.next.is_none() {
            (self.next, self.first, self.highest) = (Some(number), number, number - 1);
            self.reported.0 = number - 1;
        }
        self.received = self.received.saturating_add(1);
        if !again {
            self.measure(packet.timestamp, now);
        }
        if number.saturating_sub(self.highest) > MAX_GAP {
            // Whatever lies between will not be asked for.
            self.missing.clear();
        } else {
            for lost in self.highest.saturating_add(1)..number {
                let ask_at = now;
                self.missing.insert(lost, Missing { since: now, ask_at, asked: 0 });
            }
        }
        self.highest = self.highest.max(number);
        self.missing.remove(&number);
        if self.next.is_some_and(|next| number >= next) {
            self.waiting.insert(number, packet);
        }
    }

    fn measure(&mut self, timestamp: u32, now: Instant) {
        // RFC 3550 §A.8, in ticks.
        let arrived =
            now.saturating_duration_since(self.began).as_secs_f64() * f64::from(self.clock);
        let transit = arrived - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let off = (transit - before).abs();
            // A clock that turned over tells nothing.
            if off < f64::from(self.clock) {
                self.jitter += (off - self.jitter) / 16.0;
            }
        }
    }

    /// What is next in order, if it is there or has been given up.
    pub(super) fn ready(&mut self, now: Instant) -> Option<Ready> {
        let next = self.next?;
        if let Some(packet) = self.waiting.remove(&next) {
            self.next = Some(next.saturating_add(1));
            return Some(Ready::Packet(packet));
        }
        let (&first, _) = self.waiting.first_key_value()?;
        let given_up = self
            .missing
            .get(&next)
            .is_none_or(|m| now.saturating_duration_since(m.since) >= self.patience);
        if !given_up && self.waiting.len() < MAX_WAITING {
            return None;
        }
        self.next = Some(first);
        self.missing = self.missing.split_off(&first);
        Some(Ready::Gap(first.saturating_sub(next).unsigned_abs()))
    }

    /// Numbers to be asked for now.
    pub(super) fn wanted(&mut self, now: Instant) -> Vec<u16> {
        let due = self.missing.iter_mut().filter(|(_, m)| m.ask_at <= now && m.asked < MAX_ASKED);
        due.take(MAX_ASKED_AT_ONCE)
            .map(|(number, missing)| {
                missing.ask_at = now + ASK_AGAIN;
                missing.asked = missing.asked.saturating_add(1);
                u16::try_from(number.rem_euclid(1 << 16)).unwrap_or(0)
            })
            .collect()
    }

    /// When [`Self::ready`] or [`Self::wanted`] has something new to say though nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let asks = self.missing.values().filter(|m| m.asked < MAX_ASKED).map(|m| m.ask_at).min();
        let gives_up = self.missing.values().map(|m| m.since + self.patience).min();
        let gives_up = gives_up.filter(|_| !self.waiting.is_empty());
        asks.into_iter().chain(gives_up).min()
    }

    /// Notes what the peer says of the stream.
    pub(super) fn hear_sender(&mut self, ntp: u64, now: Instant) {
        #[allow(clippy::cast_possible_truncation)]
        let middle = (ntp >> 16) as u32;
        self.sender = Some((middle, now));
    }

    /// What is told of the stream; `None` before there is anything of it.
    pub(super) fn report(&mut self, ssrc: u32, now: Instant) -> Option<Reception> {
        self.next?;
        let expected = self.highest.saturating_sub(self.first).saturating_add(1);
        let lost = expected.saturating_sub(i64::try_from(self.received).unwrap_or(i64::MAX)).max(0);
        let (highest, received) =
            std::mem::replace(&mut self.reported, (self.highest, self.received));
        let expected_since = self.highest.saturating_sub(highest).max(0);
        let received_since = i64::try_from(self.received.saturating_sub(received)).unwrap_or(0);
        let lost_since = expected_since.saturating_sub(received_since).max(0);
        let fraction = (lost_since.saturating_mul(256)).checked_div(expected_since).unwrap_or(0);
        let (last_sr, delay) = self.sender.map_or((0, 0), |(middle, at)| {
            let delay = now.saturating_duration_since(at).as_secs_f64() * 65_536.0;
            (middle, delay as u32)
        });
        Some(Reception {
            ssrc,
            fraction: u8::try_from(fraction.min(255)).unwrap_or(u8::MAX),
            lost: u32::try_from(lost.min(0x7f_ffff)).unwrap_or(0),
            highest: u32::try_from(self.highest.rem_euclid(1 << 32)).unwrap_or(0),
            jitter: self.jitter as u32,
            last_sr,
            delay,
        })
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn packet(sequence: u16) -> Packet {
        let payload = Bytes::from_static(b"x");
        Packet { payload_type: 96, marker: true, sequence, timestamp: 0, ssrc: 7, payload }
    }

    fn drain(receiver: &mut Receiver, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| receiver.ready(now))
            .map(|ready| match ready {
                Ready::Packet(packet) => packet.sequence.to_string(),
                Ready::Gap(count) => format!("gap {count}"),
            })
            .collect()
    }

    #[test]
    fn what_comes_out_of_order_is_put_in_order_over_the_turn() {
        let now = Instant::now();
        let mut receiver = Receiver::new(90_000, PATIENCE, now);
        for sequence in [65_534, 0, 65_535, 1] {
            receiver.take(packet(sequence), false, now);
        }
        assert_eq!(drain(&mut receiver, now), ["65534", "65535", "0", "1"]);
        receiver.take(packet(65_535), false, now);
        assert_eq!(drain(&mut receiver, now), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_asked_for_and_then_given_up() {
        let now = Instant::now();
        let mut receiver = Receiver::new(90_000, PATIENCE, now);
        receiver.take(packet(10), false, now);
        receiver.take(packet(13), false, now);
        assert_eq!(drain(&mut receiver, now), ["10"]);
        assert_eq!(receiver.wanted(now), [11, 12]);
        assert_eq!(receiver.wanted(now), [0; 0]);
        let later = now + Duration::from_millis(60);
        receiver.take(packet(11), true, later);
        assert_eq!(drain(&mut receiver, later), ["11"]);
        assert_eq!(receiver.wanted(later), [12]);
        assert_eq!(drain(&mut receiver, now + PATIENCE), ["gap 1", "13"]);
        assert_eq!(receiver.due(), None);
        let report = receiver.report(7, later).unwrap();
        assert_eq!((report.lost, report.fraction, report.highest), (1, 64, 13));
    }

    #[test]
    fn what_is_asked_for_at_once_fits_a_datagram() {
        let now = Instant::now();
        let mut receiver = Receiver::new(90_000, PATIENCE, now);
        for sequence in (0..1_000).step_by(3) {
            receiver.take(packet(sequence), false, now);
        }
        assert_eq!(receiver.wanted(now).len(), MAX_ASKED_AT_ONCE);
        assert_eq!(receiver.wanted(now).len(), MAX_ASKED_AT_ONCE);
        assert!(receiver.wanted(now).len() < MAX_ASKED_AT_ONCE);
    }

    #[test]
    fn a_sender_who_begins_anew_is_followed() {
        let now = Instant::now();
        let mut receiver = Receiver::new(90_000, PATIENCE, now);
        for sequence in [10, 11, 5_000, 5_001] {
            receiver.take(packet(sequence), false, now);
        }
        assert_eq!(drain(&mut receiver, now), ["10", "11", "gap 4988", "5000", "5001"]);
    }

    #[test]
    fn headers_are_read_and_what_is_none_is_not() {
        let plain = [0x80, 0xe0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2];
        let read = Packet::read(Bytes::copy_from_slice(&plain)).unwrap();
        assert_eq!((read.payload_type, read.marker, read.sequence), (96, true, 5));
        assert_eq!((read.timestamp, read.ssrc, &read.payload[..]), (9, 7, &[1, 2][..]));
        let full = [
            0xb1, 0x60, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 8,
            9, 0, 2,
        ];
        assert_eq!(&Packet::read(Bytes::copy_from_slice(&full)).unwrap().payload[..], [8, 9]);
        for length in 0..full.len() {
            let _ = Packet::read(Bytes::copy_from_slice(&full[..length]));
        }
        let again = Packet { payload: Bytes::from_static(&[0, 4, 9]), ..packet(1) };
        assert_eq!(
            again.original(102, 5).map(|p| (p.sequence, p.ssrc, p.payload.len())),
            Some((4, 5, 1))
        );
        assert!(packet(1).original(102, 5).is_none());
    }

    proptest::proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_panics(
            packets in proptest::collection::vec((0u16.., proptest::bool::ANY, 0u64..50), 0..2_000)
        ) {
            let mut now = Instant::now();
            let mut receiver = Receiver::new(90_000, PATIENCE, now);
            for (sequence, again, wait) in packets {
                now += Duration::from_millis(wait);
                receiver.take(packet(sequence), again, now);
                let _ = (drain(&mut receiver, now), receiver.wanted(now), receiver.due());
                proptest::prop_assert!(receiver.waiting.len() <= MAX_WAITING + 1);
                proptest::prop_assert!(receiver.missing.len() <= 4 * MAX_GAP as usize + MAX_WAITING);
            }
            receiver.report(7, now);
        }
    }
}
