//! Transport streams in RTP (RFC 2250 §2, RFC 3550 §5.1): headers off, packets in order.
//!
//! A packet that is early waits for those before it, as long as they may still come; then they are
//! lost. What comes later than that, or twice, is left out. Times and the payload type of the header
//! are not looked at: the transport stream has its own clock, and senders number the type as they like.
//!
//! Forward error correction (SMPTE 2022-1) and RTCP are not done.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

/// How long a packet waits for those before it. On a network that is not broken, other ways differ by
/// less.
const LONGEST_WAIT: Duration = Duration::from_millis(80);
/// Packets that wait at one time: 80 ms of 80 Mb/s.
const MAX_WAITING: usize = 600;
/// Numbers further apart than this are another beginning, and no loss (RFC 3550 appendix A.1 has
/// 3000 for MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3_000;

/// So many packets in a row that seem to be late are a sender that has begun anew a little further back.
const RESTARTED_AFTER: u16 = 16;

/// What happened to packets on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets taken.
    pub packets: u64,
    /// Packets that did not come, or too late.
    pub lost: u64,
    /// Packets that came before one that was sent earlier.
    pub reordered: u64,
    /// Packets that came twice, or after they were given up.
    pub late: u64,
    /// Datagrams that are no RTP.
    pub invalid: u64,
    /// Times the sender began anew.
    pub restarts: u64,
}

impl Counts {
    /// Everything that is wrong, by its name in JSON and metrics.
    pub fn faults(&self) -> [(&'static str, u64); 5] {
        [
            ("rtp_lost", self.lost),
            ("rtp_reordered", self.reordered),
            ("rtp_late", self.late),
            ("rtp_invalid", self.invalid),
            ("rtp_restarts", self.restarts),
        ]
    }
}

/// What stands in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    number: u16,
    sender: u32,
    payload: Bytes,
}

/// Reads the header of a datagram; `None` if it is no RTP.
fn parse(mut datagram: Bytes) -> Option<Packet> {
    let [first, _, high, low, _, _, _, _, a, b, c, d, rest @ ..] = datagram.as_ref() else {
        return None;
    };
    if first >> 6 != 2 {
        return None;
    }
    let (number, sender) =
        (u16::from_be_bytes([*high, *low]), u32::from_be_bytes([*a, *b, *c, *d]));
    let sources = usize::from(first & 0x0f).saturating_mul(4);
    let mut head = sources.saturating_add(12);
    if first & 0x10 != 0 {
        let [_, _, high, low, ..] = rest.get(sources..)? else { return None };
        let words = usize::from(u16::from_be_bytes([*high, *low]));
        head = head.saturating_add(4).saturating_add(words.saturating_mul(4));
    }
    let padding = if first & 0x20 == 0 { 0 } else { usize::from(*datagram.last()?) };
    let end = datagram.len().checked_sub(padding)?;
    if head >= end {
        return None;
    }
    datagram.truncate(end);
    datagram.advance(head);
    Some(Packet { number, sender, payload: datagram })
}

/// What a datagram carries; `None` if it is no RTP.
pub(super) fn payload(datagram: Bytes) -> Option<Bytes> {
    parse(datagram).map(|packet| packet.payload)
}

/// Puts packets in order. See the module's page.
#[derive(Debug, Default)]
pub struct Reorder {
    sender: Option<u32>,
    /// The number that is due.
    next: u16,
    /// What waits: place n is the packet `next + n`, the first place is empty.
    waiting: VecDeque<Option<(Bytes, Instant)>>,
    ready: VecDeque<(Bytes, Instant)>,
    /// The newest packet that was late, and how many were, one behind the other, up to it.
    stragglers: (u16, u16),
    counts: Counts,
}

impl Reorder {
    /// Takes a datagram that came at `now`.
    pub fn push(&mut self, datagram: Bytes, now: Instant) {
        let Some(Packet { number, sender, payload }) = parse(datagram) else {
            self.counts.invalid = self.counts.invalid.saturating_add(1);
            return;
        };
        let ahead = number.wrapping_sub(self.next);
        let behind = self.next.wrapping_sub(number);
        let is_late = ahead > MAX_DROPOUT && behind <= MAX_DROPOUT;
        let is_far = ahead > MAX_DROPOUT && (!is_late || self.has_restarted(number));
        if self.sender != Some(sender) || is_far {
            if self.sender.replace(sender).is_some() {
                self.counts.restarts = self.counts.restarts.saturating_add(1);
            }
            self.give_up(self.waiting.len());
            self.next = number;
        } else if is_late {
            self.counts.late = self.counts.late.saturating_add(1);
            return;
        }
        let place = usize::from(number.wrapping_sub(self.next));
        while self.waiting.len() <= place {
            self.waiting.push_back(None);
        }
        let is_last = self.waiting.len() == place.saturating_add(1);
        match self.waiting.get_mut(place) {
            Some(empty @ None) => *empty = Some((payload, now)),
            _ => {
                self.counts.late = self.counts.late.saturating_add(1);
                return;
            }
        }
        self.counts.packets = self.counts.packets.saturating_add(1);
        if !is_last {
            self.counts.reordered = self.counts.reordered.saturating_add(1);
        }
        self.settle();
        self.expire(now);
        let surplus = self.waiting.len().saturating_sub(MAX_WAITING);
        self.give_up(surplus);
        self.settle();
    }

    /// Whether a packet that seems to be late is one of many that follow each other.
    fn has_restarted(&mut self, number: u16) -> bool {
        let (last, count) = self.stragglers;
        let count = if number == last.wrapping_add(1) { count.saturating_add(1) } else { 0 };
        self.stragglers = (number, count);
        count >= RESTARTED_AFTER
    }

    /// The next payload in order, and when it came.
    pub fn poll(&mut self) -> Option<(Bytes, Instant)> {
        self.ready.pop_front()
    }

    /// When packets that wait are handed on without those before them; `None` while none waits.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, since) = self.waiting.iter().flatten().min_by_key(|(_, since)| *since)?;
        since.checked_add(LONGEST_WAIT)
    }

    /// Gives up what should have come by `now`.
    pub fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let missing = self.waiting.iter().take_while(|place| place.is_none()).count();
            self.give_up(missing);
            self.settle();
        }
    }

    /// What happened to packets so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Hands on the first `places`; those that are empty are lost.
    fn give_up(&mut self, places: usize) {
        for _ in 0..places {
            match self.waiting.pop_front() {
                Some(Some(packet)) => self.ready.push_back(packet),
                Some(None) => self.counts.lost = self.counts.lost.saturating_add(1),
                None => return,
            }
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Hands on what is in order.
    fn settle(&mut self) {
        let in_order = self.waiting.iter().take_while(|place| place.is_some()).count();
        self.give_up(in_order);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A datagram whose payload is its number.
    fn datagram(number: u16, sender: u32) -> Bytes {
        let [high, low] = number.to_be_bytes();
        let mut bytes = vec![0x80, 33, high, low, 0, 0, 0, 0];
        bytes.extend(sender.to_be_bytes());
        bytes.extend([high, low]);
        bytes.into()
    }

    fn drain(reorder: &mut Reorder) -> Vec<u16> {
        std::iter::from_fn(|| reorder.poll())
            .map(|(payload, _)| u16::from_be_bytes([payload[0], payload[1]]))
            .collect()
    }

    fn push(reorder: &mut Reorder, numbers: &[u16], now: Instant) -> Vec<u16> {
        numbers.iter().for_each(|number| reorder.push(datagram(*number, 7), now));
        drain(reorder)
    }

    #[test]
    fn headers_with_everything_in_them_come_off() {
        // Two contributing sources, an extension of one word, three bytes of padding.
        let mut bytes = vec![0xb2, 0xa1, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 9];
        bytes.extend([1; 8]);
        bytes.extend([0xbe, 0xde, 0, 1, 2, 2, 2, 2]);
        bytes.extend([0x47, 0x48, 0, 0, 3]);
        let packet = parse(bytes.clone().into()).unwrap();
        assert_eq!((packet.number, packet.sender), (0x1234, 9));
        assert_eq!(packet.payload, &[0x47, 0x48][..]);
        for end in 0..bytes.len() {
            let _ = parse(bytes[..end].to_vec().into());
        }
        assert_eq!(parse(Bytes::from_static(&[0x47; 188])), None, "a bare transport packet");
        assert_eq!(parse(datagram(1, 1).slice(..12)), None, "nothing in it");
    }

    #[test]
    fn packets_out_of_order_are_put_in_order_over_the_end_of_the_numbers() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        assert_eq!(
            push(&mut reorder, &[65_534, 0, 65_535, 2, 3, 1, 1], now),
            [65_534, 65_535, 0, 1, 2, 3]
        );
        let counts = reorder.counts();
        assert_eq!((counts.packets, counts.reordered, counts.late, counts.lost), (6, 2, 1, 0));
    }

    #[test]
    fn what_does_not_come_in_time_is_lost_and_what_comes_then_is_late() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        assert_eq!(push(&mut reorder, &[10, 13, 14], now), [10]);
        let deadline = reorder.deadline().unwrap();
        assert_eq!(deadline, now + LONGEST_WAIT);
        reorder.expire(deadline - Duration::from_millis(1));
        assert!(drain(&mut reorder).is_empty());
        reorder.expire(deadline);
        assert_eq!(drain(&mut reorder), [13, 14]);
        assert_eq!(push(&mut reorder, &[11, 15], deadline), [15]);
        let counts = reorder.counts();
        assert_eq!((counts.lost, counts.late, reorder.deadline()), (2, 1, None));
    }

    #[test]
    fn no_more_wait_than_may() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        let numbers: Vec<u16> = (0..1).chain(2..2_000).collect();
        let found = push(&mut reorder, &numbers, now);
        assert_eq!((found.len(), reorder.counts().lost), (1_999, 1));
        assert!(reorder.waiting.len() <= MAX_WAITING);
    }

    #[test]
    fn another_sender_and_a_far_number_begin_anew() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        push(&mut reorder, &[5, 6], now);
        reorder.push(datagram(5, 8), now);
        assert_eq!(drain(&mut reorder), [5]);
        reorder.push(datagram(40_000, 8), now);
        assert_eq!(drain(&mut reorder), [40_000]);
        assert_eq!((reorder.counts().restarts, reorder.counts().lost), (2, 0));
        // A little further back: only many in a row show that they are not late.
        let found = push(&mut reorder, &(39_000..39_100).collect::<Vec<_>>(), now);
        assert_eq!(found.last(), Some(&39_099));
        assert!(found.len() >= 80, "{}", found.len());
    }

    proptest! {
        #[test]
        fn what_comes_out_is_in_order_and_everything_is_accounted_for(
            start: u16,
            kept in prop::collection::vec(any::<bool>(), 1..200),
            swaps in prop::collection::vec((0usize..200, 1usize..8), 0..40),
        ) {
            let mut numbers: Vec<u16> =
                (0..kept.len() as u16).map(|n| start.wrapping_add(n)).collect();
            for (at, distance) in swaps {
                let at = at % numbers.len();
                let other = (at + distance).min(numbers.len() - 1);
                numbers.swap(at, other);
            }
            // The first one says where it begins.
            let first = numbers.iter().position(|n| *n == start).unwrap();
            numbers.swap(0, first);
            let (mut reorder, now) = (Reorder::default(), Instant::now());
            let sent: Vec<u16> = numbers
                .iter()
                .copied()
                .filter(|n| *n == start || kept[usize::from(n.wrapping_sub(start))])
                .collect();
            let mut found = push(&mut reorder, &sent, now);
            reorder.expire(now + LONGEST_WAIT);
            found.extend(drain(&mut reorder));
            let places: Vec<u16> = found.iter().map(|n| n.wrapping_sub(start)).collect();
            prop_assert!(places.is_sorted_by(|a, b| a < b), "{:?}", places);
            prop_assert_eq!(places.len(), sent.len());
            prop_assert_eq!(reorder.counts().late, 0);
        }

        #[test]
        fn garbage_is_survived(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..60),
        ) {
            let (mut reorder, now) = (Reorder::default(), Instant::now());
            for mut datagram in datagrams {
                if let Some(first) = datagram.first_mut() {
                    *first = 0x80 | *first & 0x3f;
                }
                reorder.push(datagram.into(), now);
                while reorder.poll().is_some() {}
            }
            prop_assert!(reorder.waiting.len() <= MAX_WAITING);
        }
    }
}
