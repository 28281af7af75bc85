//! How many connections may be open that have not authenticated yet, and how fast they may come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// At once, from everywhere: at 64 KiB each, 128 MiB.
pub(crate) const MAX_UNAUTHENTICATED: usize = 2_000;
/// At once, from one address (IPv6: from one /64, which one subscriber holds).
pub(crate) const MAX_PER_ADDRESS: usize = 20;

/// Time a connection of an address is paid for with: ten a second, which is a guess at a key each.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Connections an address may open at once before it has to wait: an encoder's outputs that all
/// reconnect after a cut.
pub(crate) const BURST: u32 = 30;
/// Addresses remembered. More of them at a time are an attack from everywhere, which the total
/// holds off.
const MAX_REMEMBERED: usize = 16_384;

/// Counts connections until they authenticate or end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// When the connections an address has opened will be paid for; later than now where they are
    /// not (a leaky bucket).
    paid_at: HashMap<IpAddr, Instant>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// Too many that are not authenticated.
    TooMany,
    /// Its address opens them too fast.
    TooFast,
}

impl Shut {
    /// For the log and for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::TooMany => "too many connections",
            Self::TooFast => "connecting too fast",
        }
    }
}

impl Counts {
    /// Takes a connection of `address` into account, unless there have been too many.
    fn pay(&mut self, address: IpAddr, now: Instant) -> bool {
        let paid_at = self.paid_at.get(&address).copied().unwrap_or(now).max(now) + INTERVAL;
        if paid_at > now + INTERVAL * BURST {
            return false;
        }
        if self.paid_at.len() >= MAX_REMEMBERED {
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        if self.paid_at.len() < MAX_REMEMBERED {
            self.paid_at.insert(address, paid_at);
        }
        true
    }
}

/// A place behind the gate; dropping it gives the place free.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    /// A place for a connection that comes from `address` at `now`. This machine's own may come as
    /// fast as they like.
    ///
    /// # Errors
    /// Says what there is too much of.
    pub(crate) fn enter(&self, address: IpAddr, now: Instant) -> Result<Pass, Shut> {
        let local = address.to_canonical().is_loopback();
        let address = subscriber(address);
        let mut counts = self.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= MAX_UNAUTHENTICATED || here >= MAX_PER_ADDRESS {
            return Err(Shut::TooMany);
        }
        if !local && !counts.pay(address, now) {
            return Err(Shut::TooFast);
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        Ok(Pass { gate: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.gate.lock();
        counts.total = counts.total.saturating_sub(1);
        let here = counts.by_address.get(&self.address).copied().unwrap_or(0).saturating_sub(1);
        match here {
            0 => counts.by_address.remove(&self.address),
            here => counts.by_address.insert(self.address, here),
        };
    }
}

/// What stands for one subscriber: an IPv4 address, or an IPv6 /64.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Gate {
        /// At a time of its own, far from all others.
        fn let_in(&self, address: IpAddr) -> Option<Pass> {
            self.lock().paid_at.clear();
            self.enter(address, Instant::now()).ok()
        }
    }

    #[test]
    fn an_address_that_connects_too_fast_waits_for_its_turn_and_no_other_does() {
        let (gate, now) = (Gate::default(), Instant::now());
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        for _ in 0..BURST {
            gate.enter(here, now).unwrap();
        }
        assert_eq!(gate.enter(here, now).unwrap_err(), Shut::TooFast);
        gate.enter("10.0.0.2".parse().unwrap(), now).unwrap();
        gate.enter(here, now + INTERVAL).unwrap();
        assert_eq!(gate.enter(here, now + INTERVAL).unwrap_err(), Shut::TooFast);
        for _ in 0..100 {
            gate.enter("127.0.0.1".parse().unwrap(), now).unwrap();
        }
    }

    #[test]
    fn addresses_are_not_remembered_without_a_limit() {
        let (gate, now) = (Gate::default(), Instant::now());
        for n in 0..2 * MAX_REMEMBERED as u32 {
            gate.enter(IpAddr::V4(n.into()), now).unwrap();
        }
        assert!(gate.lock().paid_at.len() <= MAX_REMEMBERED);
        gate.enter("10.0.0.1".parse().unwrap(), now + INTERVAL * 2).unwrap();
        assert_eq!(gate.lock().paid_at.len(), 1);
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let gate = Gate::default();
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        let mut passes: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| gate.let_in(here).unwrap()).collect();
        assert!(gate.let_in(here).is_none());
        assert!(gate.let_in("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(gate.let_in("10.0.0.2".parse().unwrap()).is_some());
        passes.pop();
        assert!(gate.let_in(here).is_some());
    }

    #[test]
    fn one_ipv6_subscriber_is_one_address() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..MAX_PER_ADDRESS as u128)
            .map(|n| gate.let_in(IpAddr::V6((0x2001_0db8_u128 << 96 | n).into())).unwrap())
            .collect();
        assert!(gate.let_in("2001:db8::ffff".parse().unwrap()).is_none());
        drop(passes);
        assert!(gate.lock().by_address.is_empty());
    }

    #[test]
    fn there_is_a_total() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..MAX_UNAUTHENTICATED as u32)
            .map(|n| gate.let_in(IpAddr::V4(n.into())).unwrap())
            .collect();
        assert!(gate.let_in("10.0.0.1".parse().unwrap()).is_none());
        drop(passes);
        assert!(gate.let_in("10.0.0.1".parse().unwrap()).is_some());
    }
}
