//! The addresses that browsers are told to come to.

use std::net::{IpAddr, SocketAddr};

/// Addresses of this machine that are told: browsers try them all.
const MAX_OWN_ADDRESSES: usize = 16;

/// Where browsers are told to come.
pub(super) fn candidates(advertised: &[SocketAddr], bound: SocketAddr) -> Vec<SocketAddr> {
    let port = bound.port();
    if !advertised.is_empty() {
        let with_port = |at: &SocketAddr| {
            SocketAddr::new(at.ip(), if at.port() == 0 { port } else { at.port() })
        };
        return advertised.iter().map(with_port).collect();
    }
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // A socket of IPv4 can't be reached over IPv6.
    let fits = |ip: &IpAddr| bound.is_ipv6() || ip.is_ipv4();
    let own = rtc_shared::ifaces::ifaces().unwrap_or_default();
    let mut found: Vec<IpAddr> = own
        .into_iter()
        .filter_map(|interface| interface.addr.map(|at| at.ip()))
        .filter(|ip| fits(ip) && !is_link_local(ip))
        .collect();
    // Those of this machine alone come last.
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    found.dedup();
    found.truncate(MAX_OWN_ADDRESSES);
    found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // Of no use without a zone, which a candidate has no room for.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
