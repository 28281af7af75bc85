//! How fast one address may report, and open sessions: two token buckets each, in a bounded table; and
//! two for all whose address is not known, because the CDN or proxy that they come through keeps it to
//! itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::network::subscriber;

/// Reports a second from one address, in the long run: a thousand viewers behind one address who
/// report every 20 s.
const REPORTS_PER_SECOND: f64 = 50.0;
/// Reports at once: a channel that comes back makes all players report.
const REPORTS_AT_ONCE: f64 = 500.0;
/// New sessions a second from one address, which bounds what an address can invent: with the time
/// after which a silent session is forgotten, less than a thousand viewers.
const JOINS_PER_SECOND: f64 = 10.0;
/// New sessions at once: a school that opens the page together.
const JOINS_AT_ONCE: f64 = 100.0;
/// As many times what one address may, viewers of unknown addresses may together: a hundred thousand.
const UNKNOWN: f64 = 100.0;
/// Addresses remembered, about 1 MB. Beyond them newcomers are refused until one is forgotten.
const MAX_ADDRESSES: usize = 16_384;
/// An address that has been silent for so long has all its tokens back.
const FORGET_AFTER: Duration = Duration::from_secs(15);

/// What every address may still do.
#[derive(Debug, Default)]
pub(super) struct Limits {
    addresses: HashMap<IpAddr, Allowance>,
    unknown: Option<Allowance>,
}

#[derive(Debug)]
struct Allowance {
    at: Instant,
    /// How many times what one address may.
    times: f64,
    reports: f64,
    joins: f64,
}

impl Allowance {
    fn full(times: f64, now: Instant) -> Self {
        Self { at: now, times, reports: times * REPORTS_AT_ONCE, joins: times * JOINS_AT_ONCE }
    }

    fn refill(&mut self, now: Instant) {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * self.times;
        self.at = now;
        let grown =
            |tokens: f64, rate: f64, most: f64| (tokens + more * rate).min(self.times * most);
        self.reports = grown(self.reports, REPORTS_PER_SECOND, REPORTS_AT_ONCE);
        self.joins = grown(self.joins, JOINS_PER_SECOND, JOINS_AT_ONCE);
    }
}

impl Limits {
    /// Whether an address, or somebody of unknown address, may send one more report now; then there is
    /// one less.
    pub(super) fn may_report(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        self.allowance(from, now).is_some_and(|allowance| spend(&mut allowance.reports))
    }

    /// The same of one more session.
    pub(super) fn may_join(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        self.allowance(from, now).is_some_and(|allowance| spend(&mut allowance.joins))
    }

    /// Forgets the addresses that have all their tokens back.
    pub(super) fn expire(&mut self, now: Instant) {
        self.addresses.retain(|_, a| now.saturating_duration_since(a.at) < FORGET_AFTER);
    }

    fn allowance(&mut self, from: Option<IpAddr>, now: Instant) -> Option<&mut Allowance> {
        let allowance = match from.map(subscriber) {
            None => self.unknown.get_or_insert_with(|| Allowance::full(UNKNOWN, now)),
            Some(address) => {
                let room = self.addresses.len() < MAX_ADDRESSES;
                if !room && !self.addresses.contains_key(&address) {
                    return None;
                }
                self.addresses.entry(address).or_insert_with(|| Allowance::full(1.0, now))
            }
        };
        allowance.refill(now);
        Some(allowance)
    }
}

fn spend(tokens: &mut f64) -> bool {
    let may = *tokens >= 1.0;
    if may {
        *tokens -= 1.0;
    }
    may
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn address(n: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(n.into()))
    }

    #[test]
    fn an_address_gets_its_rate_and_disturbs_no_other() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let allowed = (0..2_000).filter(|_| limits.may_report(address(1), now)).count();
        assert_eq!(allowed as f64, REPORTS_AT_ONCE);
        assert!(limits.may_report(address(2), now));
        let later = now + Duration::from_secs(2);
        let allowed = (0..2_000).filter(|_| limits.may_report(address(1), later)).count();
        assert_eq!(allowed as f64, 2.0 * REPORTS_PER_SECOND);
        let joined = (0..2_000).filter(|_| limits.may_join(address(1), later)).count();
        assert_eq!(joined as f64, JOINS_AT_ONCE);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let host = |n: u128| Some(IpAddr::V6(((0x2001_0db8 << 96) + n).into()));
        let allowed = (0..2_000).filter(|n| limits.may_join(host(*n), now)).count();
        assert_eq!(allowed as f64, JOINS_AT_ONCE);
        assert!(limits.may_join(host(1 << 64), now), "another network");
    }

    #[test]
    fn who_comes_through_a_proxy_that_tells_nothing_shares_what_many_may() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let reports = (0..100_000).filter(|_| limits.may_report(None, now)).count();
        assert_eq!(reports as f64, UNKNOWN * REPORTS_AT_ONCE);
        assert!(limits.may_report(address(1), now), "who is known has their own");
        let later = now + Duration::from_secs(1);
        let reports = (0..100_000).filter(|_| limits.may_report(None, later)).count();
        assert_eq!(reports as f64, UNKNOWN * REPORTS_PER_SECOND);
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let known = (0..MAX_ADDRESSES as u32 + 9).filter(|n| limits.may_report(address(*n), now));
        assert_eq!(known.count(), MAX_ADDRESSES);
        limits.expire(now + LONG);
        assert!(limits.addresses.is_empty());
        assert!(limits.may_report(address(u32::MAX), now + LONG));
    }

    #[test]
    fn an_address_is_forgotten_only_when_it_has_all_its_tokens_back() {
        let seconds = FORGET_AFTER.as_secs_f64();
        assert!(seconds * REPORTS_PER_SECOND >= REPORTS_AT_ONCE);
        assert!(seconds * JOINS_PER_SECOND >= JOINS_AT_ONCE);
    }
}
