//! Where the sections listen: no two of them at one place.

use std::net::SocketAddr;

use toml::de::{DeTable, DeValue};

use super::Walk;
use crate::config::Config;

/// A section that listens.
struct Door {
    /// Its name.
    section: &'static str,
    /// Whether it takes connections, rather than datagrams.
    stream: bool,
    address: SocketAddr,
}

impl Door {
    /// Whether the system gives a socket to only one of the two. The wildcard of IPv6 takes what comes over
    /// IPv4 too.
    fn clashes(&self, other: &Self) -> bool {
        let (one, two) = (self.address, other.address);
        let takes = |one: SocketAddr, two: SocketAddr| {
            one.ip() == two.ip() || one.ip().is_unspecified() && (one.is_ipv6() || two.is_ipv4())
        };
        self.stream == other.stream
            && one.port() == two.port()
            && one.port() != 0
            && (takes(one, two) || takes(two, one))
    }
}

impl Walk<'_> {
    /// Tells of sections that listen where another one does.
    pub(super) fn doors(&mut self, config: &Config, table: &DeTable<'_>) {
        // Of a place that can't be read the default stands in the configuration.
        if self.problems.iter().any(|problem| problem.key.ends_with(".listen")) {
            return;
        }
        let door = |section, stream, address: Option<SocketAddr>| {
            Some(Door { section, stream, address: address? })
        };
        let doors: Vec<_> = [
            door("http", true, Some(config.http.listen)),
            door("http.tls", true, config.http.tls.as_ref().map(|tls| tls.listen)),
            door("rtmp", true, Some(config.rtmp.listen)),
            door("admin", true, Some(config.admin.listen)),
            door("srt", false, Some(config.srt.listen)),
            door("webrtc", false, config.webrtc.listen),
        ]
        .into_iter()
        .flatten()
        .collect();
        for (index, one) in doors.iter().enumerate() {
            let Some(other) = doors.iter().take(index).find(|other| other.clashes(one)) else {
                continue;
            };
            // Where the file says nothing of one of them, its default is in the way of the other.
            let places = (place(table, one.section), place(table, other.section));
            let (told, at, beside) = match places {
                (Some(at), _) => (one, at, other),
                (None, Some(at)) => (other, at, one),
                (None, None) => continue,
            };
            let message = format!("[{}] listens on {} too", beside.section, beside.address);
            self.problem(&format!("{}.listen", told.section), Some(at), message);
        }
    }
}

/// Where the file says where a section listens.
fn place(table: &DeTable<'_>, section: &str) -> Option<usize> {
    let mut table = table;
    for part in section.split('.') {
        let (_, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        let DeValue::Table(inner) = value.get_ref() else { return None };
        table = inner;
    }
    let (_, value) = table.iter().find(|(name, _)| name.get_ref() == "listen")?;
    Some(value.span().start)
}
