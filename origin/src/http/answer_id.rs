//! A name for each answer, so that caches can be seen from outside.
//!
//! A cache keeps an answer's header fields with its body: answers that viewers got with one id were
//! made of one request to the origin. `headwater cdn-check` counts by it. Ids say nothing of who
//! asked or how many did: they are a counter behind a permutation that is new in each process.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderName, HeaderValue};

/// The header field.
pub const ANSWER_ID: HeaderName = HeaderName::from_static("headwater-answer");

/// Digits of an id: all of 64 bits, so that no two answers share one.
const DIGITS: usize = 16;

/// Gives each answer its id.
#[derive(Debug)]
pub(super) struct AnswerIds {
    key: u64,
    given: AtomicU64,
}

impl AnswerIds {
    /// Ids that no other process gives.
    pub(super) fn new() -> Self {
        // A hasher of the standard library has random keys.
        Self { key: RandomState::new().build_hasher().finish(), given: AtomicU64::new(0) }
    }

    /// The next one.
    pub(super) fn next(&self) -> HeaderValue {
        let id = scrambled(self.given.fetch_add(1, Ordering::Relaxed) ^ self.key);
        let mut text = [0; DIGITS];
        for (at, digit) in text.iter_mut().enumerate() {
            let nibble = id >> (4 * at) & 0xf;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): no two numbers become the same.
const fn scrambled(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_answers_have_one_id() {
        let (one, other) = (AnswerIds::new(), AnswerIds::new());
        let ids: HashSet<_> = (0..1_000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 2_000);
        assert!(ids.iter().all(|id| id.len() == DIGITS));
    }
}
