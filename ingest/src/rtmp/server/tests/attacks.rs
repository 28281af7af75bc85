//! Peers that mean no good, or are broken: each gets little, and is gone in time.

use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, advance};

use super::*;
use bytes::BytesMut;

use crate::door::Snapshot;
use crate::rtmp::amf0::Value;
use crate::rtmp::chunk::Reader;
use crate::rtmp::client::{self, Publisher};
use crate::rtmp::message::{self, Incoming};

/// A session recorded from ffmpeg 5.1, publishing to `news` with the right key.
const RECORDED: &[u8] = include_bytes!("../../session/tests/ffmpeg.rtmp");
/// Units it gives.
const UNITS: usize = 62;
const HANDSHAKE: usize = 1 + 2 * 1536;

/// A connection in memory, so that its time can be paused.
struct Line {
    peer: DuplexStream,
    stats: Arc<Stats>,
    doors: HashMap<Name, Subscription>,
    task: tokio::task::JoinHandle<()>,
}

fn line() -> Line {
    let (hub, doors) = Hub::new(channels());
    let (peer, ours) = duplex(1 << 20);
    let stats = Arc::new(Stats::default());
    let address = "127.0.0.1:9".parse().unwrap();
    let connection = Connection::new(address, hub, stats.clone(), Arc::default(), None);
    let task = tokio::spawn(connection.run(ours, CancellationToken::new()));
    Line { peer, stats, doors, task }
}

impl Line {
    /// Waits for the end; what was answered, and after how many whole seconds.
    async fn end(mut self) -> (Vec<u8>, u64, Snapshot) {
        let begin = Instant::now();
        let mut answer = Vec::new();
        self.peer.read_to_end(&mut answer).await.unwrap();
        let seconds = begin.elapsed().as_secs();
        drop(self.peer);
        self.task.await.unwrap();
        (answer, seconds, self.stats.snapshot())
    }
}

/// The text of the last status in an answer.
fn reason(answer: &[u8]) -> String {
    let mut reader = Reader::new();
    reader.authenticate();
    let mut input = BytesMut::from(&answer[HANDSHAKE..]);
    let mut last = String::new();
    while let Some(message) = reader.read(&mut input).unwrap() {
        if let Ok(Incoming::Command(command)) = message::parse(&message) {
            let text = command.arguments.iter().find_map(|value| value.member("description"));
            last = text.and_then(Value::as_str).unwrap_or_default().to_owned();
        }
    }
    last
}

/// As [`reason`], of an answer that may end before there is one.
fn reason_or_none(answer: &[u8]) -> String {
    if answer.len() > HANDSHAKE { reason(answer) } else { String::new() }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_the_first_deadline() {
    let (answer, seconds, stats) = line().end().await;
    assert_eq!((answer.len(), seconds), (0, DEADLINE_HELLO.as_secs()));
    assert_eq!(stats.refused.get("deadline"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_ends_after_the_second_deadline() {
    let mut line = line();
    line.peer.write_all(&RECORDED[..1537]).await.unwrap();
    let (answer, seconds, _) = line.end().await;
    assert_eq!((answer.len(), seconds), (HANDSHAKE, DEADLINE_HANDSHAKE.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_whole_handshake_and_nothing_else_ends_after_the_third() {
    let mut line = line();
    line.peer.write_all(&RECORDED[..HANDSHAKE]).await.unwrap();
    let (_, seconds, _) = line.end().await;
    assert_eq!(seconds, DEADLINE_PUBLISH.as_secs());
}

#[tokio::test(start_paused = true)]
async fn dripping_the_handshake_buys_no_time() {
    for part in [0..1537, 1537..HANDSHAKE] {
        let mut line = line();
        line.peer.write_all(&RECORDED[..part.start]).await.unwrap();
        let begin = Instant::now();
        for byte in &RECORDED[part.clone()] {
            if line.peer.write_all(&[*byte]).await.is_err() || line.task.is_finished() {
                break;
            }
            advance(Duration::from_millis(10)).await;
            tokio::task::yield_now().await;
        }
        let deadline = if part.start == 0 { DEADLINE_HELLO } else { DEADLINE_HANDSHAKE };
        assert!(begin.elapsed() <= deadline + LINGER + Duration::from_millis(50));
        assert_eq!(line.stats.snapshot().refused.get("deadline"), Some(&1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_at_any_byte_of_handshake_and_commands_ends_in_time() {
    let mut seen = [0; 4];
    for cut in 0..HANDSHAKE + 900 {
        let mut line = line();
        line.peer.write_all(&RECORDED[..cut]).await.unwrap();
        let (answer, seconds, stats) = line.end().await;
        let published = stats.publications == 1;
        let (stage, deadline) = match cut {
            0..1537 => (0, DEADLINE_HELLO),
            1537..HANDSHAKE => (1, DEADLINE_HANDSHAKE),
            _ if !published => (2, DEADLINE_PUBLISH),
            _ => (3, DEADLINE_SILENCE),
        };
        seen[stage] += 1;
        assert_eq!(seconds, deadline.as_secs(), "{cut} bytes");
        let ends = if published { stats.ended } else { stats.refused };
        assert_eq!(ends.get("deadline"), Some(&1), "{cut} bytes");
        assert_eq!(published, reason_or_none(&answer).contains("not a byte"), "{cut} bytes");
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_of_whom_no_byte_comes_is_let_go() {
    let mut line = line();
    line.peer.write_all(&RECORDED[..RECORDED.len() - 200]).await.unwrap();
    let door = line.doors.get_mut("news").unwrap();
    let begin = Instant::now();
    let units = units(door).await;
    assert!(units.len() > UNITS / 2, "{}", units.len());
    assert_eq!(begin.elapsed().as_secs(), DEADLINE_SILENCE.as_secs());
    let (answer, _, stats) = line.end().await;
    assert_eq!(reason(&answer), "not a byte within 5 s");
    assert_eq!(stats.ended.get("deadline"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_sends_no_media_is_let_go_later() {
    let mut line = line();
    line.peer.write_all(RECORDED).await.unwrap();
    let begin = Instant::now();
    let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1];
    while !line.task.is_finished() {
        let _ = line.peer.write_all(&ping).await;
        sleep(Duration::from_secs(1)).await;
    }
    let seconds = begin.elapsed().as_secs();
    assert!(seconds.abs_diff(DEADLINE_MEDIA.as_secs()) <= 2, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_does_not_read_stops_the_publisher_and_nothing_is_lost() {
    let mut line = line();
    let door = line.doors.get_mut("news").unwrap();
    line.peer.write_all(RECORDED).await.unwrap();
    let mut session = door.next().await.unwrap();
    sleep(DEADLINE_MEDIA * 10).await;
    let mut count = 0;
    while session.next().await.is_some() {
        count += 1;
    }
    assert_eq!(count, UNITS);
}

#[tokio::test]
async fn garbage_ends_at_once() {
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xFF; 5_000], &[0; 1]] {
        let mut line = line();
        line.peer.write_all(garbage).await.unwrap();
        let (_, seconds, stats) = line.end().await;
        assert_eq!(seconds, 0);
        assert_eq!(stats.refused.get("handshake"), Some(&1));
    }
}

#[tokio::test]
async fn garbage_after_the_handshake_is_a_protocol_error() {
    let mut line = line();
    line.peer.write_all(&RECORDED[..HANDSHAKE]).await.unwrap();
    line.peer.write_all(&[0xFF; 5_000]).await.unwrap();
    let (_, seconds, stats) = line.end().await;
    assert_eq!(seconds, 0);
    assert_eq!(stats.refused.get("protocol"), Some(&1));
}

#[tokio::test]
async fn a_deeply_nested_array_is_refused_with_the_reason() {
    for depth in [17, 1_000, 3_000] {
        let mut line = line();
        line.peer.write_all(&RECORDED[..HANDSHAKE]).await.unwrap();
        let mut body = b"\x02\0\x07connect".to_vec();
        body.extend([0x0A, 0, 0, 0, 1].repeat(depth));
        body.push(0x05);
        let [_, length @ ..] = (body.len() as u32).to_be_bytes();
        let mut wire = [[3, 0, 0, 0].as_slice(), &length, &[20, 0, 0, 0, 0]].concat();
        for (n, chunk) in body.chunks(128).enumerate() {
            if n > 0 {
                wire.push(0xC3);
            }
            wire.extend_from_slice(chunk);
        }
        line.peer.write_all(&wire).await.unwrap();
        let (answer, _, stats) = line.end().await;
        let reason = reason(&answer);
        assert!(reason.contains("nested deeper than 16 levels"), "{depth}: {reason}");
        assert_eq!(stats.refused.get("protocol"), Some(&1));
    }
}

#[tokio::test]
async fn a_megabyte_of_nested_array_is_refused_at_its_header() {
    let mut line = line();
    line.peer.write_all(&RECORDED[..HANDSHAKE]).await.unwrap();
    line.peer.write_all(&[3, 0, 0, 0, 0x0F, 0x42, 0x40, 20, 0, 0, 0, 0]).await.unwrap();
    let (answer, _, _) = line.end().await;
    assert!(reason(&answer).contains("claims 1000000 bytes"));
}

#[tokio::test]
async fn names_that_break_the_rule_are_refused_as_such() {
    let server = Server::start().await;
    let long = "x".repeat(4_000);
    for name in ["../x", "..", "a/../b", "a\0b", "a\r\nb", "%2e%2e", " ", &long] {
        match Publisher::connect(server.address, "live", name).await {
            Err(client::Error::Refused { code, description }) => {
                assert_eq!(code, "NetStream.Publish.BadName");
                assert!(description.starts_with("bad channel name"), "{description}");
            }
            other => panic!("{other:?}"),
        }
    }
    let error = Publisher::connect(server.address, "live", &"x".repeat(10_000)).await.unwrap_err();
    assert!(error.to_string().contains("string of 10000 bytes is too long"));
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_channel_sound_the_same() {
    let server = Server::start().await;
    for name in ["news?key=wrong", "news", "news?key=", "nowhere?key=canary"] {
        let error = Publisher::connect(server.address, "live", name).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "NetStream.Publish.Denied: unknown channel or wrong key", "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_channel_that_rejects_a_source_says_why() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(server.address, "live", "open").await.unwrap();
    let session = server.door("open").next().await.unwrap();
    session.close(Closed::Rejected("the picture's GOP is too long".into()));
    drop(session);
    let error = loop {
        if let Err(error) = publisher.send_audio_config(&[0x11, 0x90], 0).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.to_string().contains("GOP is too long"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn the_twenty_first_silent_socket_of_an_address_is_closed_and_a_publisher_is_not() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(server.address, "live", "open").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..crate::door::MAX_PER_ADDRESS {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
    publisher.send_audio_config(&[0x11, 0x90], 0).await.unwrap();
    let mut session = server.door("open").next().await.unwrap();
    assert!(matches!(session.next().await, Some(Unit::AudioConfig(_))));
    assert_eq!(server.stats.snapshot().refused.get("too many connections"), Some(&1));
    server.stop().await;
}

#[tokio::test]
async fn stopping_the_server_tells_its_publishers() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(server.address, "live", "open").await.unwrap();
    let _session = server.door("open").next().await.unwrap();
    server.cancel.cancel();
    let error = loop {
        if let Err(error) = publisher.send_audio_config(&[0x11, 0x90], 0).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.to_string().contains("shutting down"), "{error}");
    drop(publisher);
    server.task.await.unwrap();
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_a_line_per_event_and_never_a_key() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // While there is one subscriber alone, a line that another test's thread is the first to reach
    // is off for everybody, as that thread has none. It fails where another test has set one.
    let everywhere = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(io::sink)
        .finish();
    let _ = tracing::subscriber::set_global_default(everywhere);
    // The runtime of this test has this one thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut server = Server::start().await;
    // Lines that were reached before are off until they are looked at again.
    tracing::callsite::rebuild_interest_cache();
    for (app, stream) in [
        ("live", "news?key=canary1"),
        ("live", "news/canary2"),
        ("live/news", "canary3"),
        ("live?key=canary4", "news"),
        ("vod?key=canary5", "news"),
        ("live", "\u{1b}[2J\nforged?key=canary6"),
    ] {
        assert!(Publisher::connect(server.address, app, stream).await.is_err());
    }
    let publisher = Publisher::connect(server.address, "live", "news?key=canary").await.unwrap();
    publisher.finish().await.unwrap();
    units(server.door("news")).await;
    server.stop().await;

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("canary"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("publish refused"), 5, "{text}");
    assert_eq!(lines("unknown application"), 1, "{text}");
    assert_eq!(lines("publisher connected"), 1, "{text}");
    assert_eq!(lines("publisher gone"), 1, "{text}");
}
