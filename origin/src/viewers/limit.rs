//! How fast one address may report, and open sessions: two token buckets each, in a bounded table.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

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
/// Addresses remembered, about 1 MB. Beyond them newcomers are refused until one is forgotten.
const MAX_ADDRESSES: usize = 16_384;
/// An address that has been silent for so long has all its tokens back.
const FORGET_AFTER: Duration = Duration::from_secs(15);

/// What every address may still do.
#[derive(Debug, Default)]
pub(super) struct Limits {
    addresses: HashMap<IpAddr, Allowance>,
}

#[derive(Debug)]
struct Allowance {
    at: Instant,
    reports: f64,
    joins: f64,
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.reports = (self.reports + seconds * REPORTS_PER_SECOND).min(REPORTS_AT_ONCE);
        self.joins = (self.joins + seconds * JOINS_PER_SECOND).min(JOINS_AT_ONCE);
    }
}

impl Limits {
    /// Whether an address may send one more report now; then it has one less.
    pub(super) fn may_report(&mut self, address: IpAddr, now: Instant) -> bool {
        self.allowance(address, now).is_some_and(|allowance| spend(&mut allowance.reports))
    }

    /// Whether an address may open one more session now; then it has one less.
    pub(super) fn may_join(&mut self, address: IpAddr, now: Instant) -> bool {
        self.allowance(address, now).is_some_and(|allowance| spend(&mut allowance.joins))
    }

    /// Forgets the addresses that have all their tokens back.
    pub(super) fn expire(&mut self, now: Instant) {
        self.addresses.retain(|_, a| now.saturating_duration_since(a.at) < FORGET_AFTER);
    }

    fn allowance(&mut self, address: IpAddr, now: Instant) -> Option<&mut Allowance> {
        let network = network(address);
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&network) {
            return None;
        }
        let full = Allowance { at: now, reports: REPORTS_AT_ONCE, joins: JOINS_AT_ONCE };
        let allowance = self.addresses.entry(network).or_insert(full);
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

/// What one household or server has: an IPv4 address, or 64 bits of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
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
        let host = |n: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + n));
        let allowed = (0..2_000).filter(|n| limits.may_join(host(*n), now)).count();
        assert_eq!(allowed as f64, JOINS_AT_ONCE);
        assert!(limits.may_join(host(1 << 64), now), "another network");
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
