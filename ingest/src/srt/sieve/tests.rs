use std::net::{SocketAddr, UdpSocket};

use super::*;

fn sieve(now: Instant) -> (UdpSocket, Arc<Sieve>) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    port.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let copy = port.try_clone().unwrap();
    (port, Sieve::new(copy.into(), now))
}

/// A packet to a socket of the library; to none it is a handshake.
fn packet(receiver: u32) -> Vec<u8> {
    of_kind(0x8000, receiver)
}

/// A packet whose first two bytes say what it is.
fn of_kind(kind: u16, receiver: u32) -> Vec<u8> {
    let mut packet = kind.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(receiver.to_be_bytes());
    packet.extend([0; 48]);
    packet
}

/// How many of a hundred packets of an address arrive.
fn arrive(port: &UdpSocket, from: &str, receiver: u32) -> usize {
    let to: SocketAddr = port.local_addr().unwrap();
    let stranger = UdpSocket::bind((from, 0)).unwrap();
    let mut arrived = 0;
    // A few at a time, as there is little room.
    for _ in 0..10 {
        for _ in 0..10 {
            stranger.send_to(&packet(receiver), to).unwrap();
        }
        port.set_nonblocking(true).unwrap();
        while port.recv(&mut [0; 100]).is_ok() {
            arrived += 1;
        }
    }
    arrived
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn of_a_group_that_asks_too_often_a_share_passes_and_of_others_everything() {
    let now = Instant::now();
    let (port, sieve) = sieve(now);
    let (flood, other) = ("127.0.0.1", "127.0.0.2");
    assert_ne!(program::group_of(address(flood)), program::group_of(address(other)));
    assert_eq!(arrive(&port, flood, 0), 100, "nothing is wrong yet");
    for _ in 0..MOST - 1 {
        sieve.asked(address(flood), now);
    }
    assert!(!sieve.is_tight());
    for _ in 0..1 + 11 * MOST {
        sieve.asked(address(flood), now + WINDOW / 2);
    }
    assert!(sieve.is_tight());
    assert!(arrive(&port, flood, 0) < 20, "one of 4,096 passes");
    assert_eq!(arrive(&port, flood, 7), 100, "a connection that is there");
    assert_eq!(arrive(&port, other, 0), 100, "another address");
    for _ in 0..MAX_HALVINGS + 1 {
        sieve.ease();
    }
    assert!(!sieve.is_tight());
    assert_eq!(arrive(&port, flood, 0), 100, "it is over");
}

#[test]
fn of_a_connection_arrives_what_a_receiver_needs_and_nothing_that_speaks_to_a_sender() {
    let (port, sieve) = sieve(Instant::now());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(port.local_addr().unwrap()).unwrap();
    let arrives = |kind: u16| {
        sender.send(&of_kind(kind, 7)).unwrap();
        port.recv(&mut [0; 100]).is_ok()
    };
    for data in [0, 1, 7, 0x7fff] {
        assert!(arrives(data), "{data:x}");
    }
    // Handshakes, keep-alives, the end, answers to acknowledgements, keys.
    for kind in [0x8000, 0x8001, 0x8005, 0x8006, 0xffff] {
        assert!(arrives(kind), "{kind:x}");
    }
    // Acknowledgements, losses, congestion, drop requests, errors, and what nobody knows.
    for kind in [0x8002, 0x8003, 0x8004, 0x8007, 0x8008, 0x8009, 0xfffe] {
        assert!(!arrives(kind), "{kind:x}");
    }
    assert!(!sieve.is_tight());
}

#[test]
fn half_of_a_group_passes_after_one_halving() {
    let now = Instant::now();
    let (port, sieve) = sieve(now);
    for _ in 0..MOST {
        sieve.asked(address("127.0.0.1"), now);
    }
    let arrived: usize = (0..10).map(|_| arrive(&port, "127.0.0.1", 0)).sum();
    assert!((350..650).contains(&arrived), "{arrived} of 1,000");
}

#[test]
fn a_flood_from_everywhere_is_held_back_as_a_whole() {
    let now = Instant::now();
    let (_port, sieve) = sieve(now);
    for n in 0..MOST_OF_ALL {
        sieve.asked(IpAddr::V4((0x0a00_0000 + n).into()), now);
    }
    assert!(sieve.is_tight());
}

#[test]
fn callers_who_come_one_after_the_other_are_never_held_back() {
    let now = Instant::now();
    let (_port, sieve) = sieve(now);
    for n in 0..10 * MOST {
        sieve.asked(address("10.0.0.1"), now + WINDOW / (MOST - 2) * n);
    }
    assert!(!sieve.is_tight());
}

#[test]
fn a_group_that_still_floods_is_not_eased() {
    let now = Instant::now();
    let (_port, sieve) = sieve(now);
    for _ in 0..MOST {
        sieve.asked(address("10.0.0.1"), now);
    }
    sieve.ease();
    assert!(sieve.is_tight());
    sieve.ease();
    assert!(!sieve.is_tight());
}

#[test]
fn a_port_that_another_process_has_left_filtered_lets_everything_pass() {
    let (port, sieve) = sieve(Instant::now());
    program::attach(
        &sieve.port,
        &program::of(&[(program::group_of(address("127.0.0.1")) as u32, 0)]),
    )
    .unwrap();
    assert_eq!(arrive(&port, "127.0.0.1", 0), 0);
    let _next = Sieve::new(port.try_clone().unwrap().into(), Instant::now());
    assert_eq!(arrive(&port, "127.0.0.1", 0), 100);
}

#[test]
fn the_kernel_finds_the_group_of_an_ipv6_address_too_and_takes_every_size_of_program() {
    let port = UdpSocket::bind("[::1]:0").unwrap();
    let fd = port.try_clone().unwrap().into();
    let all: Vec<_> = (0..GROUPS as u32).map(|group| (group, 0)).collect();
    program::attach(&fd, &program::of(&all)).unwrap();
    assert_eq!(arrive(&port, "::1", 0), 0, "no group passes");
    let own = program::group_of(address("::1")) as u32;
    let others: Vec<_> = all.into_iter().filter(|(group, _)| *group != own).collect();
    program::attach(&fd, &program::of(&others)).unwrap();
    assert_eq!(arrive(&port, "::1", 0), 100, "its own group does");
}
