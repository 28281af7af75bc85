//! The door for transport streams in datagrams: UDP as it is, or RTP, sent to this machine or to a
//! multicast group.
//!
//! ```text
//! socket ─► the first sender's datagrams ─► (rtp::Reorder) ─► Feed
//! ```
//! Nobody can be asked for a key here: who may send is decided by the address that is listened on, the
//! sender that the configuration names, and the network around. While one sender is heard, others are
//! not; one becomes it with a datagram that may hold transport packets.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packager::media::Name;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::door::End;
use super::feed::Feed;
use super::framing::may_hold_packets;
use super::rtp::{self, Reorder};
use crate::hub::{Hub, Publication, Request};
use crate::receive_buffer;
use crate::source::{Peer, Protocol};

/// After so long without a datagram the sender is gone.
pub const DEADLINE_SILENCE: Duration = Duration::from_secs(5);
/// Largest datagram there is; seven transport packets are usual.
const LARGEST: usize = 65_536;

/// What carries the transport packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams of transport packets.
    Udp,
    /// The same with a header of RTP.
    Rtp,
}

impl Carrier {
    fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Rtp => Protocol::Rtp,
        }
    }

    /// Whether a datagram may be part of a transport stream: what anybody sends to any port must not keep
    /// the sender out.
    fn may_carry(self, datagram: &Bytes) -> bool {
        let payload = match self {
            Self::Udp => Some(datagram.clone()),
            Self::Rtp => rtp::payload(datagram.clone()),
        };
        payload.is_some_and(|payload| may_hold_packets(&payload))
    }
}

/// Where datagrams come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The local address to listen on, or the multicast group to join; and the port.
    pub address: SocketAddr,
    /// The address of the interface on which the group is joined; IPv4 only. `None`: the system chooses.
    pub interface: Option<Ipv4Addr>,
    /// The one sender that is heard; `None`: the first. A group of IPv4 is joined for it alone (IGMPv3), as
    /// groups of 232.0.0.0/8 have to be.
    pub from: Option<IpAddr>,
}

/// An open door.
#[derive(Debug)]
pub struct Door {
    socket: UdpSocket,
    carrier: Carrier,
    place: Place,
}

impl Door {
    /// Opens the socket, and joins the group.
    ///
    /// # Errors
    /// The system's.
    pub fn open(carrier: Carrier, place: Place) -> io::Result<Self> {
        let socket = bind(&place)?;
        Ok(Self { socket, carrier, place })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a sender, publishes what it sends to a channel, and returns when that has ended. Safe
    /// to cancel.
    pub async fn serve(&self, hub: &Hub, channel: &Name) -> End {
        match self.attend(hub, channel).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn attend(&self, hub: &Hub, channel: &Name) -> Result<Infallible, End> {
        let mut room = vec![0; LARGEST];
        let (sender, first) = self.first(&mut room).await?;
        let peer = format!("{sender} at {}", self.place.address);
        let request = Request {
            channel: channel.as_str(),
            key: None,
            peer: Peer::Configured(Arc::from(peer)),
            protocol: self.carrier.protocol(),
        };
        let mut feed = Feed::new(hub.publish(&request)?);
        let mut order = Order::new(self.carrier);
        order.take(first, Instant::now().into_std());
        let mut silent = Instant::now() + DEADLINE_SILENCE;
        loop {
            while let Some((payload, received)) = order.next() {
                feed.push(&payload, received).await?;
            }
            order.tell(feed.publication());
            let wake = order.deadline().map_or(silent, |due| silent.min(due.into()));
            let came = tokio::select! {
                biased;
                reason = feed.closed() => return Err(super::feed::Error::from(reason).into()),
                came = self.socket.recv_from(&mut room) => Some(came?),
                () = tokio::time::sleep_until(wake) => None,
            };
            let now = Instant::now();
            match came {
                Some((length, from)) if from == sender => {
                    silent = now + DEADLINE_SILENCE;
                    let datagram = room.get(..length).unwrap_or_default();
                    order.take(Bytes::copy_from_slice(datagram), now.into_std());
                }
                // Somebody else's.
                Some(_) => {}
                None if now >= silent => return Err(End::Silent),
                None => order.expire(now.into_std()),
            }
        }
    }

    /// The first datagram of somebody who may send.
    async fn first(&self, room: &mut [u8]) -> io::Result<(SocketAddr, Bytes)> {
        loop {
            let (length, from) = self.socket.recv_from(room).await?;
            if self.place.from.is_some_and(|only| only != from.ip().to_canonical()) {
                continue;
            }
            let datagram = Bytes::copy_from_slice(room.get(..length).unwrap_or_default());
            if self.carrier.may_carry(&datagram) {
                return Ok((from, datagram));
            }
        }
    }
}

/// Payloads in order, whatever carries them.
enum Order {
    Udp(Option<(Bytes, std::time::Instant)>),
    Rtp(Box<Reorder>),
}

impl Order {
    fn new(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Udp => Self::Udp(None),
            Carrier::Rtp => Self::Rtp(Box::default()),
        }
    }

    fn take(&mut self, datagram: Bytes, now: std::time::Instant) {
        match self {
            Self::Udp(waiting) => *waiting = Some((datagram, now)),
            Self::Rtp(reorder) => reorder.push(datagram, now),
        }
    }

    fn next(&mut self) -> Option<(Bytes, std::time::Instant)> {
        match self {
            Self::Udp(waiting) => waiting.take(),
            Self::Rtp(reorder) => reorder.poll(),
        }
    }

    fn deadline(&self) -> Option<std::time::Instant> {
        match self {
            Self::Udp(_) => None,
            Self::Rtp(reorder) => reorder.deadline(),
        }
    }

    fn expire(&mut self, now: std::time::Instant) {
        if let Self::Rtp(reorder) = self {
            reorder.expire(now);
        }
    }

    /// Tells the channel what has happened to datagrams on their way.
    fn tell(&self, publication: &Publication) {
        if let Self::Rtp(reorder) = self {
            publication.report(|report| report.rtp = Some(reorder.counts()));
        }
    }
}

/// A socket on the place's port. A group's socket listens on the group's own address, so that what is
/// sent to the same port of other groups stays out; several may.
fn bind(place: &Place) -> io::Result<UdpSocket> {
    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt,
    };
    let family = match place.address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    receive_buffer::enlarge(&socket, "udp source");
    let group = place.address.ip();
    if group.is_multicast() {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &place.address)?;
    let socket = std::net::UdpSocket::from(socket);
    match group {
        IpAddr::V4(group) if group.is_multicast() => {
            let interface = place.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
            match place.from {
                Some(IpAddr::V4(from)) => {
                    sockopt::set_ip_add_source_membership(&socket, &group, &interface, &from)?;
                }
                _ => socket.join_multicast_v4(&group, &interface)?,
            }
        }
        // On the interface that the system chooses.
        IpAddr::V6(group) if group.is_multicast() => socket.join_multicast_v6(&group, 0)?,
        _ => {}
    }
    UdpSocket::from_std(socket)
}

#[cfg(test)]
mod tests;
