//! How many connections may be open that have not authenticated yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At once, from everywhere: at 64 KiB each, 128 MiB.
pub(super) const MAX_UNAUTHENTICATED: usize = 2_000;
/// At once, from one address (IPv6: from one /64, which one subscriber holds).
pub(super) const MAX_PER_ADDRESS: usize = 20;

/// Counts connections until they authenticate or end.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place behind the gate; dropping it gives the place free.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    /// A place for a connection from `address`, if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Pass> {
        let address = subscriber(address);
        let mut counts = self.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= MAX_UNAUTHENTICATED || here >= MAX_PER_ADDRESS {
            return None;
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        Some(Pass { gate: self.clone(), address })
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

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let gate = Gate::default();
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        let mut passes: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| gate.enter(here).unwrap()).collect();
        assert!(gate.enter(here).is_none());
        assert!(gate.enter("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(gate.enter("10.0.0.2".parse().unwrap()).is_some());
        passes.pop();
        assert!(gate.enter(here).is_some());
    }

    #[test]
    fn one_ipv6_subscriber_is_one_address() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..MAX_PER_ADDRESS as u128)
            .map(|n| gate.enter(IpAddr::V6((0x2001_0db8_u128 << 96 | n).into())).unwrap())
            .collect();
        assert!(gate.enter("2001:db8::ffff".parse().unwrap()).is_none());
        drop(passes);
        assert!(gate.lock().by_address.is_empty());
    }

    #[test]
    fn there_is_a_total() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..MAX_UNAUTHENTICATED as u32)
            .map(|n| gate.enter(IpAddr::V4(n.into())).unwrap())
            .collect();
        assert!(gate.enter("10.0.0.1".parse().unwrap()).is_none());
        drop(passes);
        assert!(gate.enter("10.0.0.1".parse().unwrap()).is_some());
    }
}
