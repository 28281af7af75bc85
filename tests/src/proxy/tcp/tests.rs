use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;

/// Loopback needs far less; the machine is shared.
const SOON: Duration = Duration::from_secs(10);
/// Long enough that what was to come would have come.
const A_WHILE: Duration = Duration::from_millis(300);

/// A proxy with one connection through it.
struct Path {
    proxy: TcpProxy,
    near: TcpStream,
    far: TcpStream,
    listener: TcpListener,
}

fn path_with(seed: u64, set: impl FnOnce(&TcpProxy)) -> Path {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), seed).unwrap();
    set(&proxy);
    let near = TcpStream::connect(proxy.listen).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(SOON)).unwrap();
        end.set_nodelay(true).unwrap();
    }
    Path { proxy, near, far, listener }
}

fn path() -> Path {
    path_with(1, |_| {})
}

/// Nothing comes, not even an end.
fn silent(end: &mut TcpStream) {
    end.set_read_timeout(Some(A_WHILE)).unwrap();
    let error = end.read(&mut [0; 16]).expect_err("silence");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    end.set_read_timeout(Some(SOON)).unwrap();
}

fn is_reset(end: &mut TcpStream) -> bool {
    loop {
        match end.read(&mut [0; 4096]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn received(end: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    end.read_exact(&mut bytes).unwrap();
    bytes
}

/// Waits until a tally says this.
fn await_tally(proxy: &TcpProxy, way: Way, holds: impl Fn(Tally) -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds(proxy.tally(way)) {
        assert!(Instant::now() < deadline, "{:?}", proxy.tally(way));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_goes_through_is_whole_and_delayed_by_what_was_set() {
    let Path { proxy, mut near, mut far, .. } = path();
    for millis in [0, 200] {
        proxy.set(Way::Up, Faults::late(Duration::from_millis(millis)));
        let sent = Instant::now();
        near.write_all(&[1]).unwrap();
        assert_eq!(received(&mut far, 1), [1]);
        let took = sent.elapsed();
        assert!(took >= Duration::from_millis(millis), "{took:?}");
        assert!(took < Duration::from_millis(millis + 500), "{took:?}");
    }
    let sent = Instant::now();
    far.write_all(b"back").unwrap();
    assert_eq!(received(&mut near, 4), b"back");
    assert!(sent.elapsed() < Duration::from_millis(190), "the other way is delayed too");
    await_tally(&proxy, Way::Up, |tally| tally.bytes == 2);
    // An end is handed on, and the other way stays open.
    drop(near.shutdown(std::net::Shutdown::Write));
    assert_eq!(far.read(&mut [0]).unwrap(), 0);
    far.write_all(b"more").unwrap();
    assert_eq!(received(&mut near, 4), b"more");
}

#[test]
fn jitter_varies_the_delay_and_keeps_the_order() {
    let Path { proxy, mut near, mut far, .. } = path();
    let jitter = Duration::from_millis(60);
    let timing = Timing { jitter, ..Timing::default() };
    proxy.set(Way::Up, Faults { timing, ..Faults::default() });
    let mut took = Vec::new();
    for n in 0..12u8 {
        let sent = Instant::now();
        near.write_all(&[n; 1460]).unwrap();
        assert_eq!(received(&mut far, 1460), [n; 1460]);
        took.push(sent.elapsed());
    }
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(*most - *least > jitter / 4, "{took:?}");
}

#[test]
fn a_narrow_place_lets_as_much_through_as_was_set() {
    let Path { proxy, mut near, mut far, .. } = path();
    proxy.set(Way::Up, Faults::narrow(100_000));
    let begun = Instant::now();
    std::thread::spawn(move || near.write_all(&vec![7; 50_000]).unwrap());
    received(&mut far, 50_000);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");
    assert!(took < Duration::from_millis(2_000), "{took:?}");
}

#[test]
fn the_same_seed_turns_the_same_bits_over_however_the_stream_is_cut() {
    let corrupted = |seed: u64, block: usize| {
        let faults = Faults { corrupt_every: Some(1_000), ..Faults::default() };
        let Path { proxy, mut near, mut far, .. } = path_with(seed, |p| p.set(Way::Up, faults));
        let writing = std::thread::spawn(move || {
            for block in vec![0u8; 60_000].chunks(block) {
                near.write_all(block).unwrap();
            }
        });
        let bytes = received(&mut far, 60_000);
        writing.join().unwrap();
        let bits: u64 = bytes.iter().map(|b| u64::from(b.count_ones())).sum();
        assert_eq!(proxy.tally(Way::Up).corrupted, bits);
        bytes
    };
    let bytes = corrupted(5, 60_000);
    assert_eq!(corrupted(5, 777), bytes);
    assert_ne!(corrupted(6, 60_000), bytes);
    let bits: u32 = bytes.iter().map(|b| b.count_ones()).sum();
    assert!((30..120).contains(&bits), "{bits} bits in 60 blocks of 1,000 bytes");
}

#[test]
fn a_blackhole_accepts_and_never_forwards() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), 1).unwrap();
    proxy.set_door(Door::Blackhole);
    let mut near = TcpStream::connect(proxy.listen).unwrap();
    near.write_all(b"hello").unwrap();
    await_tally(&proxy, Way::Up, |tally| tally.lost == 5);
    silent(&mut near);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.reset();
    assert!(is_reset(&mut near));
}

#[test]
fn a_half_open_connection_forgets_everything_even_its_end() {
    let Path { proxy, mut near, mut far, .. } = path();
    near.write_all(b"a").unwrap();
    received(&mut far, 1);
    proxy.set_both(Faults::stopped(Flow::Forgotten));
    near.write_all(b"lost").unwrap();
    await_tally(&proxy, Way::Up, |tally| tally.lost == 4);
    drop(near);
    silent(&mut far);
    // A new peer can come while the old one lingers.
    proxy.set_both(Faults::default());
    far.write_all(b"x").unwrap();
    proxy.reset();
    assert!(is_reset(&mut far));
}

#[test]
fn a_reset_reaches_both_sides_and_spares_those_who_come_after() {
    let Path { proxy, mut near, mut far, listener: _listener } = path();
    near.write_all(b"a").unwrap();
    received(&mut far, 1);
    proxy.reset();
    assert!(is_reset(&mut near));
    assert!(is_reset(&mut far));
    let mut later = TcpStream::connect(proxy.listen).unwrap();
    silent(&mut later);
    assert_eq!(proxy.connections(), 2);
    proxy.set_door(Door::Reset);
    let mut refused = TcpStream::connect(proxy.listen).unwrap();
    refused.set_read_timeout(Some(SOON)).unwrap();
    assert!(is_reset(&mut refused));
}

#[test]
fn the_reset_of_one_side_is_handed_on_to_the_other() {
    let Path { proxy: _proxy, near, mut far, .. } = path();
    // Closing with unread bytes resets (RFC 2525 §2.17).
    far.write_all(b"unread").unwrap();
    near.peek(&mut [0]).unwrap();
    drop(near);
    assert!(is_reset(&mut far));
}

#[test]
fn one_who_stops_reading_closes_the_sender_s_window() {
    let Path { proxy, mut near, mut far, .. } = path();
    proxy.set(Way::Up, Faults::stopped(Flow::Unread));
    near.set_write_timeout(Some(A_WHILE)).unwrap();
    let block = vec![0; 1 << 20];
    let mut written = 0;
    let stuck = loop {
        match near.write(&block) {
            Ok(count) => written += count,
            Err(error) => break error.kind(),
        }
        assert!(written < 64 << 20, "no end of its window");
    };
    assert!(matches!(stuck, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
    assert_eq!(proxy.tally(Way::Up).bytes, 0);
    // It reads again, and nothing was lost.
    proxy.set(Way::Up, Faults::default());
    let all = received(&mut far, written);
    assert!(all.iter().all(|byte| *byte == 0));
}

#[test]
fn a_connection_is_cut_after_as_many_bytes_as_were_set() {
    let faults = Faults { cut_after: Some(10_000), ..Faults::default() };
    let Path { proxy, mut near, mut far, .. } = path_with(1, |p| p.set(Way::Up, faults));
    let writing = std::thread::spawn(move || {
        // It is cut in the middle of this.
        let _ = near.write_all(&vec![1; 100_000]);
        is_reset(&mut near)
    });
    let mut got = 0;
    let end = loop {
        match far.read(&mut [0; 4096]) {
            Ok(0) => break None,
            Ok(count) => got += count,
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert!(got <= 10_000, "{got}");
    await_tally(&proxy, Way::Up, |tally| tally.bytes == 10_000);
    writing.join().unwrap();
}

#[test]
fn what_connections_send_is_kept_up_to_a_bound() {
    let Path { proxy, mut near, mut far, .. } = path_with(1, |p| p.record(6));
    for text in [b"abcd", b"efgh"] {
        near.write_all(text).unwrap();
        received(&mut far, 4);
    }
    assert_eq!(proxy.records(), [Bytes::from_static(b"abcdef")]);
}
