//! A channel's own source: a file, datagrams, or somebody who is called.

use std::net::{IpAddr, SocketAddr};

use ingest::srt;

use super::path::{path, unreadable};
use super::{Result, count, meant};
use crate::config::{Datagrams, Source};

/// A channel's own source: `udp://` or `rtp://` with an address and port, or the path of a file.
pub(in crate::config) fn source(text: &str) -> Result<Source> {
    if let Some(rest) = text.strip_prefix("udp://") {
        return datagrams(text, rest, false).map(Source::Datagrams);
    }
    if let Some(rest) = text.strip_prefix("rtp://") {
        return datagrams(text, rest, true).map(Source::Datagrams);
    }
    if text.starts_with("srt://") {
        return text.parse().map(Source::Call).map_err(|bad: srt::BadUrl| bad.to_string());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!(
            "{scheme:?} is no way to a source; there are \"srt://\", \"udp://\", \"rtp://\" and the path \
             of a file"
        ));
    }
    let path = path(text)?;
    let is_file = std::fs::metadata(&path).map(|found| found.is_file());
    match is_file {
        Ok(true) => Ok(Source::File { path, repeat: true }),
        Ok(false) => Err(format!("{text:?} is no file")),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// What stands behind `udp://` or `rtp://`: `239.1.1.1:5000?interface=10.0.0.2&from=10.0.0.7`. Players
/// write an `@` before the address, and the sender before that.
fn datagrams(text: &str, rest: &str, rtp: bool) -> Result<Datagrams> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (from, address) = address.split_once('@').unwrap_or(("", address));
    let parsed = address.parse::<SocketAddr>();
    let address = parsed.ok().filter(|address| address.port() != 0).ok_or_else(|| {
        format!(
            "{text:?} has no address and port such as \"udp://239.1.1.1:5000\" or \
             \"udp://127.0.0.1:5000\"{}",
            meant(address)
        )
    })?;
    let sender = |value: &str| {
        let from = value.parse::<IpAddr>();
        from.map(|from| Some(from.to_canonical()))
            .map_err(|_| format!("{value:?} is not a sender's address such as \"10.0.0.7\""))
    };
    let from = if from.is_empty() { None } else { sender(from)? };
    let mut found = Datagrams { rtp, address, interface: None, from };
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "interface" if !address.is_ipv4() || !address.ip().is_multicast() => {
                return Err("only a group of IPv4 is joined on an interface".to_owned());
            }
            "interface" => {
                let interface = value.parse().map_err(|_| {
                    format!("{value:?} is not the address of an interface such as \"10.0.0.2\"")
                })?;
                found.interface = Some(interface);
            }
            "from" => found.from = sender(value)?,
            _ => return Err(format!("unknown option {key:?}; there are interface and from")),
        }
    }
    Ok(found)
}

/// Whether a file is played again: `forever` or `once`.
pub(in crate::config) fn repeat(text: &str) -> Result<bool> {
    match text {
        "forever" => Ok(true),
        "once" => Ok(false),
        _ => Err(format!("expected \"forever\" or \"once\", found {text:?}")),
    }
}

/// The number of a program in a transport stream. 0 is the network's (ISO/IEC 13818-1 §2.4.4.5).
pub(in crate::config) fn program(text: &str) -> Result<u16> {
    count(text, 1..=u16::MAX.into())
        .and_then(|number| u16::try_from(number).map_err(|error| error.to_string()))
}
