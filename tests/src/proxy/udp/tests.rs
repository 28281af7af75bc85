use std::net::UdpSocket as StdSocket;
use std::time::Instant as StdInstant;

use super::*;

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(300);
/// Sent in one go, so few enough for any socket's buffer.
const COUNT: u16 = 150;

struct Path {
    proxy: UdpProxy,
    near: StdSocket,
    far: StdSocket,
}

fn path(seed: u64) -> Path {
    let far = StdSocket::bind("127.0.0.1:0").unwrap();
    let proxy = UdpProxy::start(far.local_addr().unwrap(), seed).unwrap();
    let near = StdSocket::bind("127.0.0.1:0").unwrap();
    near.connect(proxy.listen).unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(SOON)).unwrap();
    }
    Path { proxy, near, far }
}

/// The numbers of the datagrams that arrive when some are sent.
fn arrived(path: &Path, faults: Faults) -> Vec<u16> {
    path.proxy.set(Way::Up, faults);
    for n in 0..COUNT {
        path.near.send(&n.to_be_bytes()).unwrap();
    }
    let deadline = StdInstant::now() + SOON;
    let mut got = Vec::new();
    loop {
        let tally = path.proxy.tally(Way::Up);
        let due = u64::from(COUNT) + tally.duplicated - tally.lost - tally.overflowed;
        // All were looked at when they add up; what was let through comes.
        let looked_at = tally.passed + tally.lost + tally.overflowed - tally.duplicated;
        if looked_at == u64::from(COUNT) && got.len() as u64 == due {
            return got;
        }
        assert!(StdInstant::now() < deadline, "{tally:?}");
        let mut datagram = [0; 2];
        path.far.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        if path.far.recv(&mut datagram).is_ok() {
            got.push(u16::from_be_bytes(datagram));
        }
    }
}

fn all() -> Vec<u16> {
    (0..COUNT).collect()
}

#[test]
fn datagrams_go_both_ways_and_each_peer_has_its_own_port() {
    let Path { proxy, near, far } = path(1);
    let other = StdSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(SOON)).unwrap();
    other.connect(proxy.listen).unwrap();
    let mut buffer = [0; 16];
    let mut ports = Vec::new();
    for (socket, text) in [(&near, b"one"), (&other, b"two")] {
        socket.send(text).unwrap();
        let (count, from) = far.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], text);
        far.send_to(&buffer[..count], from).unwrap();
        ports.push(from);
    }
    assert_ne!(ports[0], ports[1]);
    for (socket, text) in [(&near, b"one"), (&other, b"two")] {
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], text);
    }
    assert_eq!(proxy.tally(Way::Down).passed, 2);
}

#[test]
fn without_faults_all_arrive_in_order() {
    assert_eq!(arrived(&path(1), Faults::default()), all());
}

#[test]
fn datagrams_are_late_by_what_was_set_and_in_order() {
    let path = path(1);
    let timing =
        Timing { delay: Duration::from_millis(150), jitter: Duration::from_millis(50), rate: None };
    let begun = StdInstant::now();
    assert_eq!(arrived(&path, Faults { timing, ..Faults::default() }), all());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(150), "{took:?}");
}

#[test]
fn the_same_seed_loses_the_same_datagrams_in_bursts() {
    let faults = Faults { loss: Loss::bursts(0.3, 5.0), ..Faults::default() };
    let first = path(9);
    let got = arrived(&first, faults);
    assert_eq!(arrived(&path(9), faults), got);
    assert_ne!(arrived(&path(10), faults), got);
    let lost = first.proxy.tally(Way::Up).lost;
    assert_eq!(lost, u64::from(COUNT) - got.len() as u64);
    assert!((15..90).contains(&lost), "{lost} of {COUNT}");
}

#[test]
fn nothing_comes_out_of_a_blackhole() {
    let Path { proxy, near, far } = path(1);
    proxy.set_both(Faults { loss: Loss::ALL, ..Faults::default() });
    near.send(b"x").unwrap();
    far.set_read_timeout(Some(A_WHILE)).unwrap();
    assert!(far.recv(&mut [0; 4]).is_err());
    assert_eq!(proxy.tally(Way::Up).lost, 1);
}

#[test]
fn some_come_twice() {
    let path = path(2);
    let got = arrived(&path, Faults { duplicate: 0.2, ..Faults::default() });
    let tally = path.proxy.tally(Way::Up);
    assert!((10..60).contains(&tally.duplicated), "{tally:?}");
    assert_eq!(got.len() as u64, u64::from(COUNT) + tally.duplicated);
    let mut once = got.clone();
    once.dedup();
    assert_eq!(once, all());
}

#[test]
fn some_are_overtaken_and_none_is_lost() {
    let path = path(3);
    let mut got = arrived(&path, Faults { reorder: 0.2, ..Faults::default() });
    let late = got.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    let tally = path.proxy.tally(Way::Up);
    assert!(tally.reordered >= 10 && late > 0 && late <= tally.reordered, "{late}, {tally:?}");
    got.sort_unstable();
    assert_eq!(got, all());
}

#[test]
fn some_have_a_wrong_bit() {
    let path = path(4);
    let got = arrived(&path, Faults { corrupt: 0.2, ..Faults::default() });
    let wrong: Vec<u32> = got.iter().zip(all()).map(|(a, b)| (a ^ b).count_ones()).collect();
    assert!(wrong.iter().all(|bits| *bits <= 1));
    let wrong = u64::from(wrong.iter().sum::<u32>());
    assert_eq!(wrong, path.proxy.tally(Way::Up).corrupted);
    assert!((10..60).contains(&wrong), "{wrong}");
}

#[test]
fn a_narrow_place_drops_what_its_buffer_does_not_hold() {
    let path = path(5);
    // 150 datagrams of 2 bytes, 20 of which go through per second.
    let timing = Timing { rate: Some(40), ..Timing::default() };
    let got = arrived(&path, Faults { timing, ..Faults::default() });
    let tally = path.proxy.tally(Way::Up);
    assert!(tally.overflowed > 0 && got.len() < 20, "{tally:?}");
    assert_eq!(tally.overflowed + got.len() as u64, u64::from(COUNT));
}
