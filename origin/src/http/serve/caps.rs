//! How much viewers may hold at one time, all together and from one address.
//!
//! Counted are connections and requests that wait. A CDN's machines are few addresses with many
//! requests: those of the trusted networks are counted in a pool of their own, without a bound per
//! address, so that a crowd that comes past the CDN takes nothing from it. What is held is the proxy's,
//! so whose request it passes on (`X-Forwarded-For`) is not looked at; only who wants to know what a
//! viewer does rather than what it holds asks for that ([`Visitor::viewer`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;

use crate::network::{Network, subscriber};
use crate::telemetry::metrics::{HttpMetrics, Refused};

/// Where proxies write whom they pass a request on for, each behind those before it.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What may be held at one time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of viewers and the trusted together: what the system lets the process open.
    pub all_connections: u32,
    /// Connections of all viewers; the trusted have as many to themselves.
    pub connections: u32,
    /// Connections from one address, or one network of 64 bits of IPv6.
    pub connections_per_address: u32,
    /// Waiting requests of all viewers; the trusted have as many to themselves.
    pub waiting: u32,
    /// Waiting requests from one address.
    pub waiting_per_address: u32,
    /// Whose connections and requests are not counted by address: a CDN, proxies.
    pub trusted: Vec<Network>,
}

/// Keeps count of what viewers hold.
#[derive(Debug)]
pub(crate) struct Caps {
    limits: Limits,
    metrics: HttpMetrics,
    held: Mutex<Held>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    connections: u32,
    waiting: u32,
}

#[derive(Debug, Default)]
struct Held {
    viewers: Tally,
    trusted: Tally,
    /// Addresses that hold something: never more than there are connections.
    by_address: HashMap<IpAddr, Tally>,
}

/// One connection, counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Visitor {
    caps: Arc<Caps>,
    peer: IpAddr,
    /// Under what it is counted; `None`: trusted.
    address: Option<IpAddr>,
}

/// A request that waits, counted for as long as it does.
#[derive(Debug)]
pub(crate) struct WaitingSlot(Arc<Visitor>);

impl Caps {
    /// Nobody holds anything.
    pub(crate) fn new(limits: Limits, metrics: HttpMetrics) -> Arc<Self> {
        Arc::new(Self { limits, metrics, held: Mutex::default() })
    }

    /// A connection from an address.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn visit(self: &Arc<Self>, peer: IpAddr) -> Result<Arc<Visitor>, Refused> {
        let trusted = self.trusts(peer);
        let address = (!trusted).then(|| subscriber(peer));
        let Limits { all_connections, connections, .. } = self.limits;
        let mut held = self.held();
        // A quarter of what can be opened is never taken by viewers alone.
        let kept = if trusted { 0 } else { all_connections / 4 };
        let all = held.viewers.connections + held.trusted.connections;
        if held.pool(address).connections >= connections.min(all_connections - kept)
            || all >= all_connections
        {
            return Err(self.refuse(Refused::Connections));
        }
        if let Some(address) = address {
            let of_address = held.by_address.entry(address).or_default();
            if of_address.connections >= self.limits.connections_per_address {
                return Err(self.refuse(Refused::ConnectionsOfAddress));
            }
            of_address.connections += 1;
        }
        held.pool(address).connections += 1;
        self.metrics.connections.inc();
        Ok(Arc::new(Visitor { caps: Arc::clone(self), peer, address }))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.limits.trusted.iter().any(|network| network.contains(address))
    }

    fn refuse(&self, why: Refused) -> Refused {
        self.metrics.refused(why);
        why
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Counting does not panic half-way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn pool(&mut self, address: Option<IpAddr>) -> &mut Tally {
        if address.is_some() { &mut self.viewers } else { &mut self.trusted }
    }

    fn release(&mut self, address: Option<IpAddr>, release: impl Fn(&mut Tally)) {
        release(self.pool(address));
        if let Some(address) = address
            && let Entry::Occupied(mut entry) = self.by_address.entry(address)
        {
            release(entry.get_mut());
            if *entry.get() == Tally::default() {
                entry.remove();
            }
        }
    }
}

impl Visitor {
    /// Where what is refused and cut is counted.
    pub(super) fn metrics(&self) -> &HttpMetrics {
        &self.caps.metrics
    }

    /// Where it comes from.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The address of the viewer whose request this is: of one that a trusted proxy passes on, the last
    /// that no trusted proxy has, which is the one that was seen and not told. `None`: the proxy names
    /// none.
    pub(crate) fn viewer(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.is_trusted() {
            return Some(self.peer);
        }
        let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
        let names = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut addresses = names.map(|name| address(name.trim()));
        addresses.find(|address| address.is_none_or(|known| !self.caps.trusts(known))).flatten()
    }

    /// Whether it is a CDN or a proxy.
    pub(super) fn is_trusted(&self) -> bool {
        self.address.is_none()
    }

    /// Lets one more of its requests wait.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn wait(self: &Arc<Self>) -> Result<WaitingSlot, Refused> {
        let limits = &self.caps.limits;
        let mut held = self.caps.held();
        if held.pool(self.address).waiting >= limits.waiting {
            return Err(self.caps.refuse(Refused::Waiting));
        }
        if let Some(address) = self.address {
            let of_address = held.by_address.entry(address).or_default();
            if of_address.waiting >= limits.waiting_per_address {
                return Err(self.caps.refuse(Refused::WaitingOfAddress));
            }
            of_address.waiting += 1;
        }
        held.pool(self.address).waiting += 1;
        self.caps.metrics.waiting.inc();
        Ok(WaitingSlot(Arc::clone(self)))
    }
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    text.parse().ok().or_else(with_port)
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.caps.held().release(self.address, |tally| {
            tally.connections = tally.connections.saturating_sub(1);
        });
        self.caps.metrics.connections.dec();
    }
}

impl Drop for WaitingSlot {
    fn drop(&mut self) {
        let caps = &self.0.caps;
        caps.held()
            .release(self.0.address, |tally| tally.waiting = tally.waiting.saturating_sub(1));
        caps.metrics.waiting.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CDN: &str = "10.0.0.1";

    fn caps(connections: u32, of_address: u32) -> Arc<Caps> {
        let limits = Limits {
            all_connections: 1_000,
            connections,
            connections_per_address: of_address,
            waiting: connections,
            waiting_per_address: of_address,
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
        };
        Caps::new(limits, HttpMetrics::default())
    }

    fn from(caps: &Arc<Caps>, address: &str) -> Result<Arc<Visitor>, Refused> {
        caps.visit(address.parse().unwrap())
    }

    #[test]
    fn one_address_has_its_share_and_all_together_theirs() {
        let caps = caps(3, 2);
        let first = from(&caps, "192.0.2.1").unwrap();
        let _second = from(&caps, "192.0.2.1").unwrap();
        assert_eq!(from(&caps, "192.0.2.1").unwrap_err(), Refused::ConnectionsOfAddress);
        let _third = from(&caps, "192.0.2.2").unwrap();
        assert_eq!(from(&caps, "192.0.2.3").unwrap_err(), Refused::Connections);
        drop(first);
        from(&caps, "192.0.2.1").unwrap();
    }

    #[test]
    fn the_trusted_have_a_pool_to_themselves_and_no_share() {
        let caps = caps(2, 1);
        let _crowd = [from(&caps, "192.0.2.1").unwrap(), from(&caps, "192.0.2.2").unwrap()];
        let cdn = [from(&caps, CDN).unwrap(), from(&caps, CDN).unwrap()];
        assert_eq!(from(&caps, CDN).unwrap_err(), Refused::Connections);
        let _waiting = [cdn[0].wait().unwrap(), cdn[0].wait().unwrap()];
        assert_eq!(cdn[1].wait().unwrap_err(), Refused::Waiting);
    }

    #[test]
    fn a_viewer_behind_a_trusted_proxy_is_the_last_address_that_was_seen() {
        let caps = caps(9, 9);
        let viewer = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            from(&caps, peer).unwrap().viewer(&headers).map(|address| address.to_string())
        };
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], Some("192.0.2.1")),
            (CDN, &["198.51.100.7"], Some("198.51.100.7")),
            (CDN, &["203.0.113.9, 198.51.100.7"], Some("198.51.100.7")),
            (CDN, &["203.0.113.9", "198.51.100.7:4711, 10.9.9.9"], Some("198.51.100.7")),
            (CDN, &["[2001:db8::1]:443,10.9.9.9"], Some("2001:db8::1")),
            (CDN, &["198.51.100.7, unknown"], None),
            (CDN, &["10.9.9.9"], None),
            (CDN, &[], None),
        ] {
            assert_eq!(viewer(peer, lines).as_deref(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn viewers_never_take_all_that_the_system_allows() {
        let mut limits = caps(100, 100).limits.clone();
        limits.all_connections = 8;
        let caps = Caps::new(limits, HttpMetrics::default());
        let _crowd: Vec<_> = (0..6).map(|_| from(&caps, "192.0.2.1").unwrap()).collect();
        assert_eq!(from(&caps, "192.0.2.1").unwrap_err(), Refused::Connections);
        let _cdn = [from(&caps, CDN).unwrap(), from(&caps, CDN).unwrap()];
        assert_eq!(from(&caps, CDN).unwrap_err(), Refused::Connections);
    }

    #[test]
    fn waiting_requests_are_counted_by_address_over_its_connections() {
        let caps = caps(9, 2);
        let [a, b] = [(), ()].map(|()| from(&caps, "2001:db8::1").unwrap());
        let slots = [a.wait().unwrap(), b.wait().unwrap()];
        assert_eq!(b.wait().unwrap_err(), Refused::WaitingOfAddress);
        let other = from(&caps, "192.0.2.1").unwrap();
        other.wait().unwrap();
        drop(slots);
        a.wait().unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_those_who_have_left() {
        let caps = caps(9, 9);
        let visitor = from(&caps, "192.0.2.1").unwrap();
        let slot = visitor.wait().unwrap();
        // A slot keeps its connection counted.
        drop(visitor);
        assert_eq!(caps.held().viewers, Tally { connections: 1, waiting: 1 });
        drop(slot);
        assert_eq!(caps.held().viewers, Tally::default());
        assert!(caps.held().by_address.is_empty());
        assert_eq!((caps.metrics.connections.get(), caps.metrics.waiting.get()), (0, 0));
    }
}
