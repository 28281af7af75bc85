//! Which `Host` the admin listener answers to.
//!
//! A browser lets a page at `http://evil.example` read `http://evil.example:9997`, and its owner can
//! point that name at 127.0.0.1 (DNS rebinding). A request that names a machine by anything but a
//! loopback name, a plain address or a configured name is therefore somebody else's.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

/// The host a request names, without its port.
pub(super) fn of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let mut hosts = headers.get_all(HOST).iter();
    let authority = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => authority.clone(),
        (None, Some(host), None) => host.to_str().ok()?.parse::<Authority>().ok()?,
        _ => return None,
    };
    // User information has no place here, and hides what follows it from a reader.
    if authority.as_str().contains('@') {
        return None;
    }
    Some(authority.host().to_ascii_lowercase())
}

/// Whether a request names this machine.
pub(super) fn allowed(headers: &HeaderMap, uri: &Uri, configured: &[String]) -> bool {
    of(headers, uri).is_some_and(|host| {
        loopback_name(&host)
            || address(&host).is_some()
            || configured.iter().any(|name| name.eq_ignore_ascii_case(&host))
    })
}

/// Names that resolvers keep for the machine itself (RFC 6761 §6.3).
fn loopback_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// A plain address can't be rebound.
fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        allowed(&headers, &Uri::from_static("/"), &["ops.example".to_owned()])
    }

    #[test]
    fn this_machine_is_named_by_loopback_address_or_configuration() {
        for host in [
            "localhost",
            "LOCALHOST:9997",
            "a.localhost:1",
            "127.0.0.1:9997",
            "[::1]:9997",
            "192.0.2.7",
            "ops.example:80",
        ] {
            assert!(asked(host), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "",
        ] {
            assert!(!asked(host), "{host}");
        }
        assert!(!allowed(&HeaderMap::new(), &Uri::from_static("/"), &[]), "no host at all");
    }

    #[test]
    fn two_hosts_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(!allowed(&headers, &Uri::from_static("/"), &[]));
    }
}
