//! Networks of addresses, as `10.0.0.0/8` or `2001:db8::/32`, and what an address is counted under.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Bits of an IPv6 address that name a subscriber: whoever has one address has 2⁶⁴ of them.
const SUBSCRIBER_BITS: u8 = 64;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The addresses of this machine itself.
    pub const LOOPBACK: [Self; 2] = [
        Self { first: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
        Self { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
    ];

    /// Whether an address belongs to it; one of IPv4 that is written as IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.bits) == self.first
    }
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as \"10.0.0.0/8\" or an address")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok(),
            Some(_) => None,
            None => Some(most),
        };
        let bits = bits.filter(|bits| *bits <= most).ok_or_else(wrong)?;
        // Bits beyond the mask are a slip: 10.1.0.0/8 was meant to be something else.
        let first = masked(address, bits);
        if first == address { Ok(Self { first, bits }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The address under which what somebody holds is counted: of IPv6 what names a subscriber.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        address @ IpAddr::V6(_) => masked(address, SUBSCRIBER_BITS),
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(address(inside)), "{inside} in {network}");
            assert!(!network.contains(address(outside)), "{outside} in {network}");
        }
        let loopback = |text| Network::LOOPBACK.iter().any(|n| n.contains(address(text)));
        assert!(loopback("127.9.9.9") && loopback("::1") && !loopback("128.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_said_to_be_none() {
        for text in
            ["", "10.0.0.0/33", "10.1.0.0/8", "10.0.0.0/+8", "10/8", "x", "::/129", "1.2.3.4/"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_is_counted_once() {
        assert_eq!(subscriber(address("2001:db8::1")), subscriber(address("2001:db8::2")));
        assert_ne!(subscriber(address("2001:db8::1")), subscriber(address("2001:db8:0:1::1")));
        assert_eq!(subscriber(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
