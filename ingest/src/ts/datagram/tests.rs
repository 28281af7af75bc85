#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use tokio::time::timeout;

use super::super::fixture::*;
use super::*;
use crate::hub::{Access, Session, Subscription};
use crate::source::Unit;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Fixture {
    hub: Hub,
    channel: Name,
    subscription: Subscription,
    sender: std::net::UdpSocket,
}

impl Fixture {
    fn new() -> Self {
        let channel = Name::parse("news").unwrap();
        let access = Access {
            channel: channel.clone(),
            key: None,
            max_bitrate: None,
            program: None,
            open_groups: false,
            has_source: true,
        };
        let (hub, mut subscriptions) = Hub::new([access]);
        let subscription = subscriptions.remove(&channel).unwrap();
        Self { hub, channel, subscription, sender: sender() }
    }

    /// Sends datagrams and gives the session they make, and how the door's turn ended.
    async fn run(
        &mut self,
        door: &Door,
        datagrams: &[Vec<u8>],
        pictures: usize,
    ) -> (Session, usize) {
        let address = door.local_addr().unwrap();
        for datagram in datagrams {
            self.sender.send_to(datagram, address).unwrap();
        }
        let watching = async {
            let mut session = self.subscription.next().await.unwrap();
            let mut seen = 0;
            while seen < pictures {
                match session.next().await {
                    Some(Unit::Video(_)) => seen += 1,
                    Some(_) => {}
                    None => break,
                }
            }
            (session, seen)
        };
        tokio::select! {
            end = door.serve(&self.hub, &self.channel) => panic!("{end}"),
            seen = watching => seen,
        }
    }
}

fn sender() -> std::net::UdpSocket {
    std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap()
}

fn place(address: IpAddr) -> Place {
    Place { address: SocketAddr::new(address, 0), interface: Some(Ipv4Addr::LOCALHOST), from: None }
}

/// A program of twenty pictures, in datagrams of seven packets.
fn datagrams() -> Vec<Vec<u8>> {
    let mut mux = Mux::default();
    mux.tables().program(90_000, 20);
    mux.bytes.chunks(7 * super::super::PACKET).map(<[u8]>::to_vec).collect()
}

fn in_rtp(number: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    [&[0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 1], payload].concat()
}

#[tokio::test]
async fn datagrams_become_the_source_of_a_channel() {
    let mut fixture = Fixture::new();
    let door = Door::open(Carrier::Udp, place(LOOPBACK)).unwrap();
    // The last picture ends where another begins.
    let (session, seen) = fixture.run(&door, &datagrams(), 19).await;
    assert_eq!((session.protocol, seen), (Protocol::Udp, 19));
    let from = fixture.sender.local_addr().unwrap();
    assert!(session.peer.to_string().starts_with(&from.to_string()), "{}", session.peer);
    assert_eq!(session.report().transport.unwrap().lost, 0);
}

#[tokio::test]
async fn a_group_is_joined() {
    let mut fixture = Fixture::new();
    let group = IpAddr::V4(Ipv4Addr::new(239, 255, 77, 1));
    let door = Door::open(Carrier::Udp, place(group)).unwrap();
    rustix::net::sockopt::set_ip_multicast_if(&fixture.sender, &Ipv4Addr::LOCALHOST).unwrap();
    let (_, seen) = fixture.run(&door, &datagrams(), 19).await;
    assert_eq!(seen, 19);
}

#[tokio::test]
async fn a_group_is_joined_for_the_sender_that_is_named_alone() {
    let mut fixture = Fixture::new();
    let group = IpAddr::V4(Ipv4Addr::new(232, 255, 77, 2));
    let only = |from| Place { from: Some(from), ..place(group) };
    rustix::net::sockopt::set_ip_multicast_if(&fixture.sender, &Ipv4Addr::LOCALHOST).unwrap();
    let door = Door::open(Carrier::Udp, only(LOOPBACK)).unwrap();
    let (_, seen) = fixture.run(&door, &datagrams(), 19).await;
    assert_eq!(seen, 19);
    let door = Door::open(Carrier::Udp, only("127.0.0.2".parse().unwrap())).unwrap();
    fixture.sender.send_to(&datagrams()[0], door.local_addr().unwrap()).unwrap();
    let waited = timeout(Duration::from_millis(100), door.socket.readable()).await;
    assert!(waited.is_err(), "the system keeps others out");
}

#[tokio::test]
async fn packets_of_rtp_that_come_out_of_order_lose_nothing_and_missing_ones_are_counted() {
    let mut fixture = Fixture::new();
    let door = Door::open(Carrier::Rtp, place(LOOPBACK)).unwrap();
    let plain = datagrams();
    let mut sent: Vec<_> =
        (0..).zip(&plain).map(|(n, payload)| in_rtp(65_534u16.wrapping_add(n), payload)).collect();
    sent.swap(1, 2);
    let (session, _) = fixture.run(&door, &sent, 19).await;
    let report = session.report();
    let rtp = report.rtp.unwrap();
    assert_eq!((rtp.reordered, rtp.lost, report.transport.unwrap().lost), (1, 0, 0));
    drop(session);

    let mut missing = sent;
    missing.remove(1);
    let (session, _) = fixture.run(&door, &missing, 13).await;
    let report = session.report();
    assert!(report.rtp.unwrap().lost == 1 && report.transport.unwrap().lost > 0, "{report:?}");
}

#[tokio::test]
async fn one_sender_is_heard_at_a_time_and_only_one_who_may() {
    let mut fixture = Fixture::new();
    let door = Door::open(Carrier::Udp, place(LOOPBACK)).unwrap();
    let address = door.local_addr().unwrap();
    let stranger = sender();
    let plain = datagrams();
    // Whoever sends anything else first is not the sender.
    stranger.send_to(b"GET / HTTP/1.1\r\n\r\n", address).unwrap();
    stranger.send_to(&[], address).unwrap();
    fixture.sender.send_to(&plain[0], address).unwrap();
    for datagram in &plain {
        stranger.send_to(datagram, address).unwrap();
    }
    let (session, seen) = fixture.run(&door, &plain[1..], 19).await;
    assert_eq!(seen, 19);
    // The stranger's packets would have broken the counters.
    assert_eq!(session.report().transport.unwrap().lost, 0);

    let only = Place { from: Some("192.0.2.1".parse().unwrap()), ..place(LOOPBACK) };
    let door = Door::open(Carrier::Udp, only).unwrap();
    fixture.sender.send_to(&plain[0], door.local_addr().unwrap()).unwrap();
    let serving = door.serve(&fixture.hub, &fixture.channel);
    let waited = timeout(Duration::from_millis(100), serving).await;
    assert!(waited.is_err(), "nobody who may has come");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stops_is_gone() {
    let mut fixture = Fixture::new();
    let door = Door::open(Carrier::Udp, place(LOOPBACK)).unwrap();
    fixture.sender.send_to(&datagrams()[0], door.local_addr().unwrap()).unwrap();
    let (end, session) =
        tokio::join!(door.serve(&fixture.hub, &fixture.channel), fixture.subscription.next());
    assert!(session.is_some());
    assert!(matches!(end, End::Silent), "{end}");
}
