//! Hostile and broken peers beside a live neighbour: they are told why, the log says why, and the
//! neighbour does not notice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use harness::publisher::Source;
use harness::publisher::relay::{Body, Edit, Relay};
use harness::server::{ChannelConfig, Server, publish_url};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use ingest::rtmp::client;
use packager::time::FrameRate;

const RATE: FrameRate = FrameRate::new(25, 1);
/// How long a stranger may be silent: 10 s at the RTMP door, 20 s at the others.
const CUT_WITHIN: Duration = Duration::from_secs(25);
/// A refusal comes at once, but the machine is shared.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// A server with a live channel `good` under the eyes of a witness, and a channel `bad` to attack.
struct Street {
    server: Server,
    witness: Witness,
    neighbour: harness::publisher::Publisher,
}

impl Street {
    fn open() -> Result<Self> {
        let channels = [
            ChannelConfig::tiny("good").patient().with_key("k"),
            ChannelConfig::tiny("bad").patient().with_key("b").with_ladder(&["96p"]),
        ];
        let server = Server::start(&channels)?;
        let witness = Witness::start(Watch::new(&server.url(""), "good"));
        let neighbour = Source::tiny(RATE).publish(&server.publish_url("good", Some("k")))?;
        server.wait_playable("good", Duration::from_secs(10))?;
        Ok(Self { server, witness, neighbour })
    }

    /// The neighbour is live, whole and on time, and the server has not panicked.
    fn close(mut self) -> Result {
        // However short the attack was: two segments after what its first picture fills.
        let (first, last) = self.server.numbers("good")?;
        let moving = last.max(first + harness::server::LEAD_IN);
        self.server.wait_segment("good", moving + 2, Duration::from_secs(15))?;
        self.neighbour.check()?;
        let record = self.witness.finish()?;
        let filled = crate::examine::Filled::of(&self.server, "good")?;
        crate::examine::whole(&record, &self.neighbour, &filled)?;
        let log = self.server.log();
        let panicked = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panicked, None);
        self.server.stop()
    }
}

/// Tries to publish with our own client; gives the refusal.
fn refusal(server: SocketAddr, app: &str, stream: &str) -> Result<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    let outcome = runtime.block_on(async {
        let publish = client::Publisher::connect(server, app, stream);
        tokio::time::timeout(TOLD_WITHIN, publish).await
    });
    match outcome.context(format!("answer to {stream:.20}"))? {
        Ok(_) => Err(Failure::new(format!("{stream:.20} was taken"))),
        Err(error) => Ok(error.to_string()),
    }
}

/// Sends bytes and waits until the server has closed the connection; gives what it said.
fn send_and_be_cut(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).context("connect")?;
    stream.set_read_timeout(Some(CUT_WITHIN)).context("time-out")?;
    // The server may cut before everything is sent.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let begun = Instant::now();
    match stream.read_to_end(&mut said) {
        Ok(_) => Ok(said),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(said),
        Err(error) => Err(Failure::new(format!("not cut after {:?}: {error}", begun.elapsed()))),
    }
}

#[test]
fn strangers_and_bad_names_are_refused_with_a_reason() -> Result {
    let street = Street::open()?;
    let rtmp = street.server.rtmp;
    for key in [Some("wrong"), Some(""), None] {
        let mut ffmpeg = Source::tiny(RATE).publish(&publish_url(rtmp, "bad", key))?;
        ffmpeg.wait(TOLD_WITHIN)?;
        let said = ffmpeg.log();
        assert!(said.contains("unknown channel or wrong key"), "ffmpeg was told:\n{said}");
    }
    let unknown = refusal(rtmp, "live", "nobody?key=b")?;
    let wrong = refusal(rtmp, "live", "bad?key=x")?;
    assert_eq!(unknown, wrong, "a stranger learns which channels there are");
    for name in ["../etc/passwd?key=b", "a/b?key=b", "%2e%2e?key=b", "-x?key=b", "a\0b?key=b"] {
        let said = refusal(rtmp, "live", name)?;
        // A slash is read as another application's name before it is a channel's.
        let clear = ["name", "unknown"].iter().any(|word| said.contains(word));
        assert!(clear, "{name:?}: {said}");
    }
    let long = "n".repeat(10_000);
    let said = refusal(rtmp, "live", &long)?;
    assert!(!said.is_empty());
    street.server.wait_log(&["wrong key"], TOLD_WITHIN)?;
    for path in [
        "/live/../../etc/passwd",
        "/live/good/../bad/index.m3u8",
        "/live/%2e%2e/%2e%2e/x",
        "/live/good/180p/..%2f..%2fheadwater.toml",
        "//live//good//index.m3u8",
    ] {
        let answer = street.server.client.get(&street.server.url(path))?;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    let path = format!("/live/{long}/index.m3u8");
    let answer = street.server.client.get(&street.server.url(&path))?;
    assert!((400..500).contains(&answer.status), "10 kB name: {}", answer.status);
    street.close()
}

#[test]
fn garbage_and_half_handshakes_are_cut_on_every_port() -> Result {
    let street = Street::open()?;
    // Bytes without a pattern, from a generator of one line.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(100_000)
    .collect();
    let (server, neighbour) = (&street.server, &garbage);
    let mut attacks: Vec<(SocketAddr, Vec<u8>)> =
        [server.http, server.rtmp, server.admin].map(|port| (port, neighbour.clone())).to_vec();
    let mut hello = vec![3];
    hello.extend_from_slice(&garbage[..1536]);
    // Nothing; half of C1; all of it and then garbage; a head of HTTP that never ends.
    attacks.push((server.rtmp, vec![]));
    attacks.push((server.rtmp, hello[..700].to_vec()));
    attacks.push((server.rtmp, [hello.as_slice(), &garbage].concat()));
    attacks.push((server.http, b"GET /live/good/index.m3u8 HTTP/1.1\r\nHost: h\r\nX: ".to_vec()));
    let cuts: Vec<_> = attacks
        .into_iter()
        .map(|(to, bytes)| std::thread::spawn(move || send_and_be_cut(to, &bytes)))
        .collect();
    for (index, cut) in cuts.into_iter().enumerate() {
        let outcome = cut.join().map_err(|_| Failure::new("an attack panicked"))?;
        outcome.context(format!("attack {index}"))?;
    }
    street.server.wait_log(&["handshake"], TOLD_WITHIN)?;
    street.close()
}

/// A handshake, and then one message of chunks of 128 bytes.
fn after_handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend_from_slice(&[0; 1536]);
    // C2 is not looked at by a server of the simple handshake.
    bytes.extend_from_slice(&[0; 1536]);
    let length = (body.len() as u32).to_be_bytes();
    bytes.extend_from_slice(&[3, 0, 0, 0, length[1], length[2], length[3], kind, 0, 0, 0, 0]);
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xC3);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

#[test]
fn a_megabyte_of_nested_arrays_is_cut_off_with_a_reason() -> Result {
    let street = Street::open()?;
    const COMMAND: u8 = 20;
    let mut body = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00".to_vec();
    while body.len() < 1_000_000 {
        // A strict array with one element: the next one.
        body.extend_from_slice(&[0x0A, 0, 0, 0, 1]);
    }
    send_and_be_cut(street.server.rtmp, &after_handshake(COMMAND, &body))?;
    // The same small enough for the budget of a stranger, so that the decoder sees it.
    send_and_be_cut(street.server.rtmp, &after_handshake(COMMAND, &body[..4_000]))?;
    street.server.wait_log(&["nested"], TOLD_WITHIN)?;
    street.close()
}

#[test]
fn sound_that_cannot_be_decoded_is_refused_with_a_reason() -> Result {
    let street = Street::open()?;
    let url = street.server.publish_url("bad", Some("b"));
    let mut ffmpeg = Source::tiny(RATE)
        .with_output_args(&["-c:a", "libmp3lame", "-ar", "44100"])
        .publish(&url)?;
    ffmpeg.wait(TOLD_WITHIN)?;
    street.server.wait_log(&["audio codec", "send AAC"], TOLD_WITHIN)?;
    street.close()
}

#[test]
fn a_picture_of_16384_by_16384_is_refused_with_a_reason() -> Result {
    let street = Street::open()?;
    let edit: Edit = Box::new(|mut tag| {
        if let Body::VideoConfig(record) = &mut tag.body {
            *record = with_sps(record, &huge_sps());
        }
        vec![tag]
    });
    let rtmp = street.server.rtmp.to_string();
    let relay = Relay::start(Source::tiny(RATE).with_sound(None), &rtmp, "bad?key=b", edit)?;
    let told = relay.ended(TOLD_WITHIN)?;
    assert!(told.contains("16384"), "the peer was told: {told}");
    street.server.wait_log(&["16384"], TOLD_WITHIN)?;
    street.close()
}

/// An avcC with another sequence parameter set in the place of its own.
fn with_sps(record: &[u8], sps: &[u8]) -> Vec<u8> {
    let old = usize::from(u16::from_be_bytes([record[6], record[7]]));
    let mut new = record[..6].to_vec();
    new[1..4].copy_from_slice(&sps[1..4]);
    new.extend_from_slice(&(sps.len() as u16).to_be_bytes());
    new.extend_from_slice(sps);
    new.extend_from_slice(&record[8 + old..]);
    new
}

/// A baseline sequence parameter set (ISO/IEC 14496-10 §7.3.2.1.1) of 1024 by 1024 macroblocks.
fn huge_sps() -> Vec<u8> {
    let mut bits = String::new();
    let mut ue = |value: u32| {
        let code = format!("{:b}", value + 1);
        bits.push_str(&"0".repeat(code.len() - 1));
        bits.push_str(&code);
    };
    // Id, frame number and order count of least size, one reference.
    for value in [0, 0, 2, 1] {
        ue(value);
    }
    bits.push('0');
    for macroblocks in [1024, 1024] {
        let code = format!("{macroblocks:b}");
        bits.push_str(&"0".repeat(code.len() - 1));
        bits.push_str(&code);
    }
    // Frames only, direct 8x8, no cropping, no VUI, stop bit.
    bits.push_str("11001");
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let mut sps = vec![0x67, 66, 0, 62];
    for byte in bits.as_bytes().chunks(8) {
        sps.push(byte.iter().fold(0, |value, bit| value << 1 | (bit - b'0')));
    }
    assert!(!sps.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] <= 3), "needs escaping");
    sps
}
