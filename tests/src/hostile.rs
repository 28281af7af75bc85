//! Hostile peers at the RTMP door: what they send is drawn from a seed, thousands come at once.
//!
//! An [`Attack`] is one connection: bytes, pauses, an end. They come from many addresses of
//! 127.0.0.0/8, so that the limits per address let them in. [`assault`] sends any number of them,
//! [`silent`] opens connections that say nothing.
//!
//! Hostile viewers are in [`viewers`], strangers at the SRT port in [`srt`]. Not here: what a hostile stream holds inside its pictures.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::dice::Dice;
use crate::{Context, Failure, Result};

pub mod srt;
pub mod viewers;

/// Peers that attack at the same time.
const AT_ONCE: usize = 64;
/// How long a peer listens for what the server says to its bytes.
const LISTENS: Duration = Duration::from_millis(20);
/// How long a connection or a write may take before the peer gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a silent peer comes.
const SILENT_EVERY: Duration = Duration::from_millis(1);
/// Connections from one address: the server lets in more than this at once.
const PER_ADDRESS: u64 = 16;

/// One connection of a hostile peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attack {
    /// What it sends, each followed by a pause.
    pub steps: Vec<(Bytes, Duration)>,
    /// Whether it ends with a reset.
    pub reset: bool,
}

/// What kinds of attack there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Garbage,
    Mutated,
    NestedAmf,
    ChunkGames,
    Drip,
}

impl Attack {
    /// Attack `number` of a seed. `sessions` are recordings of real publishers, to be mutated.
    pub fn draw(seed: u64, number: u64, sessions: &[Bytes]) -> Self {
        let mut dice = Dice::of(seed, number);
        let kinds: &[Kind] = if sessions.is_empty() {
            &[Kind::Garbage, Kind::NestedAmf, Kind::ChunkGames, Kind::Drip]
        } else {
            // What looks most like the real thing gets furthest.
            &[
                Kind::Garbage,
                Kind::Mutated,
                Kind::Mutated,
                Kind::Mutated,
                Kind::NestedAmf,
                Kind::ChunkGames,
                Kind::ChunkGames,
                Kind::Drip,
            ]
        };
        let steps = match *dice.pick(kinds) {
            Kind::Garbage => at_once(garbage(&mut dice)),
            Kind::Mutated => at_once(mutated(&mut dice, sessions)),
            Kind::NestedAmf => at_once(nested(&mut dice)),
            Kind::ChunkGames => at_once(chunk_games(&mut dice)),
            Kind::Drip => drip(&mut dice),
        };
        Self { steps, reset: dice.hits(0.3) }
    }
}

fn at_once(bytes: Vec<u8>) -> Vec<(Bytes, Duration)> {
    vec![(bytes.into(), Duration::ZERO)]
}

/// Bytes without a pattern, or after the version byte of RTMP.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let count = 1 + dice.below(8_000) as usize;
    let mut bytes = dice.bytes(count);
    if dice.hits(0.5) {
        bytes[0] = 3;
    }
    bytes
}

/// A real session with some things changed.
fn mutated(dice: &mut Dice, sessions: &[Bytes]) -> Vec<u8> {
    let mut bytes = dice.pick(sessions).to_vec();
    let keep = 1 + dice.below(bytes.len() as u64) as usize;
    if dice.hits(0.5) {
        bytes.truncate(keep);
    }
    for _ in 0..=dice.below(8) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len() as u64) as usize;
        let end = (at + 1 + dice.below(64) as usize).min(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = *dice.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => {
                let other = dice.bytes(end - at);
                bytes[at..end].copy_from_slice(&other);
            }
            _ => {
                // A length that is more than there is.
                let most = (at + 4).min(bytes.len());
                bytes[at..most].fill(0xFF);
            }
        }
    }
    bytes
}

/// C0, C1 and C2: the simple handshake, whose answer is not looked at.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

/// A message in chunks of 128 bytes on chunk stream 3.
fn message(bytes: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
    bytes.extend_from_slice(&[3, 0, 0, 0, l0, l1, l2, kind, 0, 0, 0, 0]);
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xC3);
        }
        bytes.extend_from_slice(chunk);
    }
}

/// A command whose values are in each other, 17 to some thousand deep.
fn nested(dice: &mut Dice) -> Vec<u8> {
    const COMMAND: u8 = 20;
    const DATA: u8 = 18;
    let array: &[u8] = &[0x0A, 0, 0, 0, 1];
    let object: &[u8] = &[0x03, 0, 1, b'a'];
    let map: &[u8] = &[0x08, 0, 0, 0, 1, 0, 1, b'a'];
    let mut body = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00".to_vec();
    let most = if dice.hits(0.1) { 100_000 } else { 2_000 };
    let depth = 17 + dice.below(most);
    let kind = *dice.pick(&[array, object, map]);
    for _ in 0..depth {
        body.extend_from_slice(kind);
    }
    let mut bytes = handshake();
    message(&mut bytes, *dice.pick(&[COMMAND, DATA]), &body);
    bytes
}

/// Chunks of all forms with lies in them.
fn chunk_games(dice: &mut Dice) -> Vec<u8> {
    const SET_CHUNK_SIZE: u8 = 1;
    const ABORT: u8 = 2;
    let mut bytes = handshake();
    for _ in 0..=dice.below(40) {
        match dice.below(5) {
            0 => {
                let size = *dice.pick(&[0, 1, 127, 128, 0xFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF_u32]);
                message(&mut bytes, SET_CHUNK_SIZE, &size.to_be_bytes());
            }
            1 => {
                let stream = dice.draw() as u32;
                message(&mut bytes, ABORT, &stream.to_be_bytes());
            }
            2 => {
                // Great messages begun on many chunk streams, none of which ever ends.
                for stream in 3..19 {
                    bytes.extend_from_slice(&[stream, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0]);
                    bytes.extend_from_slice(&dice.bytes(128));
                }
            }
            3 => {
                // Continues what was never begun, on streams of one, two and three bytes.
                let first = dice.draw() as u8;
                bytes.push(first);
                let rest = dice.below(20) as usize;
                bytes.extend_from_slice(&dice.bytes(rest));
            }
            _ => {
                let length = dice.below(300) as usize;
                let body = dice.bytes(length);
                let kind = dice.draw() as u8;
                message(&mut bytes, kind, &body);
            }
        }
    }
    bytes
}

/// The start of a handshake, byte by byte.
fn drip(dice: &mut Dice) -> Vec<(Bytes, Duration)> {
    let count = 2 + dice.below(6);
    let step = |_| {
        let bytes = if dice.hits(0.5) { vec![3] } else { dice.bytes(1) };
        (bytes.into(), Duration::from_millis(1 + dice.below(40)))
    };
    (0..count).map(step).collect()
}

/// What became of an assault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Connections that were made.
    pub connected: u64,
    /// Connections that could not be made.
    pub refused: u64,
}

/// Sends attacks `0..count` of a seed to a server, `rate` a second at the most.
///
/// # Errors
/// If this machine can't make connections at all.
pub fn assault(
    server: SocketAddr,
    seed: u64,
    count: u64,
    rate: u64,
    sessions: &[Bytes],
) -> Result<Outcome> {
    let next = Arc::new(AtomicU64::new(0));
    let connected = Arc::new(AtomicU64::new(0));
    let sessions: Arc<[Bytes]> = sessions.into();
    runtime()?.block_on(async {
        let begun = Instant::now();
        let mut peers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, connected) = (Arc::clone(&next), Arc::clone(&connected));
            let sessions = Arc::clone(&sessions);
            peers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let due = begun + Duration::from_micros(number * 1_000_000 / rate.max(1));
                    tokio::time::sleep_until(due.into()).await;
                    let attack = Attack::draw(seed, number, &sessions);
                    if attack_once(server, number, &attack).await {
                        connected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while let Some(peer) = peers.join_next().await {
            peer.context("a hostile peer")?;
        }
        let connected = connected.load(Ordering::Relaxed);
        let outcome = Outcome { connected, refused: count - connected };
        if connected > 0 { Ok(outcome) } else { Err(Failure::new(format!("{outcome:?}"))) }
    })
}

/// Makes one connection; false if it could not be made.
async fn attack_once(server: SocketAddr, number: u64, attack: &Attack) -> bool {
    let Ok(Ok(mut stream)) = timeout(PATIENCE, connect(server, number)).await else { return false };
    for (bytes, pause) in &attack.steps {
        // The server may have had enough.
        if !matches!(timeout(PATIENCE, stream.write_all(bytes)).await, Ok(Ok(()))) {
            break;
        }
        tokio::time::sleep(*pause).await;
    }
    let mut said = [0; 4096];
    while let Ok(Ok(1..)) = timeout(LISTENS, stream.read(&mut said)).await {}
    if attack.reset {
        let _ = stream.set_zero_linger();
    }
    true
}

/// A connection from an address of its own.
async fn connect(server: SocketAddr, number: u64) -> std::io::Result<TcpStream> {
    let address = 1 + number / PER_ADDRESS % 0x00FF_FFF0;
    let [_, a, b, c] = (address as u32).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    // Two halves, so that the address of the tests themselves is not among them.
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 128 | a, b, c), 0)))?;
    socket.connect(server).await
}

/// Opens `count` connections that say nothing; gives how long each was kept open, shortest first.
///
/// # Errors
/// If one is not closed within `bound`.
pub fn silent(server: SocketAddr, count: u64, bound: Duration) -> Result<Vec<Duration>> {
    runtime()?.block_on(async {
        let mut peers = tokio::task::JoinSet::new();
        for number in 0..count {
            // One by one: a kernel whose queue of new connections is full lets a client believe that
            // it is connected, seconds before the server hears of it.
            tokio::time::sleep(SILENT_EVERY).await;
            peers.spawn(async move {
                let stream = timeout(bound, connect(server, number)).await;
                let mut stream = stream.context("time to connect")?.context("silent peer")?;
                let opened = Instant::now();
                let closed = async { while let Ok(1..) = stream.read(&mut [0; 64]).await {} };
                timeout(bound, closed).await.context(format!("end of silent peer {number}"))?;
                Ok::<_, Failure>(opened.elapsed())
            });
        }
        let mut kept = Vec::new();
        while let Some(peer) = peers.join_next().await {
            kept.push(peer.context("a silent peer")??);
        }
        kept.sort_unstable();
        Ok(kept)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("runtime of the hostile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_attacks_of_every_kind() {
        let sessions = [Bytes::from(Dice::new(1).bytes(5_000))];
        let draw = |seed| (0..400).map(|n| Attack::draw(seed, n, &sessions)).collect::<Vec<_>>();
        let attacks = draw(1);
        assert_eq!(draw(1), attacks);
        assert_ne!(draw(2), attacks);
        assert!(attacks.iter().any(|a| a.steps.len() > 1), "no drip");
        let begins = |with: &[u8]| {
            let same = |a: &&Attack| a.steps[0].0.starts_with(with);
            attacks.iter().filter(same).count()
        };
        assert!(begins(&sessions[0][..16]) > 50, "no session");
        assert!(begins(&[3, 0, 0, 0, 0, 0, 0, 0]) > 50, "no handshake");
        assert!(attacks.iter().all(|a| a.steps.iter().all(|(bytes, _)| !bytes.is_empty())));
    }
}
