//! Strangers at an SRT port: handshakes whose cookie is right and whose rest is drawn by lot, and
//! control packets to connections that may or may not be there. And publishers whose connection is
//! there, and who send control packets that no sender sends.
//!
//! Layouts are those of draft-sharabayko-srt-01 §3.2. Everything follows from a seed.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::dice::Dice;
use crate::{Context, Result};

/// A handshake without extensions: a header of 16 bytes and 48 behind it.
const HANDSHAKE: usize = 64;
/// The control packet that says what is not sent any more.
const DROP_REQUEST: u16 = 7;
/// Strangers that speak at a time.
const AT_ONCE: usize = 8;
/// How long strangers wait for their cookies, all together: a server that is flooded drops what it is asked.
const ANSWER_WITHIN: Duration = Duration::from_millis(20);
/// How much longer each of them looks for its own.
const MOMENT: Duration = Duration::from_millis(1);
/// Packets each of them sends before it comes from another port.
const EACH: u64 = 40;

/// What strangers sent and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Packets sent.
    pub sent: u64,
    /// Answers that came, cookies among them.
    pub answered: u64,
}

/// A control packet of a type, to a socket of the server's.
fn control(kind: u16, information: u32, to: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(16 + body.len());
    packet.extend((0x8000 | kind).to_be_bytes());
    packet.extend(0_u16.to_be_bytes());
    packet.extend(information.to_be_bytes());
    packet.extend(1_u32.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(body);
    packet
}

/// The body of a handshake: version, extension field, type, cookie.
fn handshake(version: u32, field: u32, kind: u32, own: u32, cookie: u32) -> Vec<u8> {
    let address = [127_u8, 0, 0, 1].map(u32::from);
    let address = address[0] | address[3] << 24;
    let fields = [version, field, 1_000, 1_500, 8_192, kind, own, cookie, address, 0, 0, 0];
    fields.iter().flat_map(|field| field.to_be_bytes()).collect()
}

/// An extension of a handshake whose length may lie.
fn extension(kind: u16, words: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + content.len());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(words.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// The cookie that has come for a stranger, if one has.
fn cookie(socket: &UdpSocket) -> Option<u32> {
    let mut answer = [0; 2_048];
    let length = socket.recv(&mut answer).ok()?;
    let cookie = answer.get(..length)?.get(16 + 28..16 + 32)?;
    Some(u32::from_be_bytes(cookie.try_into().ok()?))
}

/// A hostile packet, drawn by lot.
fn draw(dice: &mut Dice, own: u32, cookie: u32) -> Vec<u8> {
    let noise = |dice: &mut Dice, most: u64| -> Vec<u8> {
        let count = dice.below(most + 1) as usize;
        dice.bytes(count)
    };
    let mut packet = match dice.below(4) {
        // A conclusion with extensions: capabilities, keying material, stream identifier, others.
        0..=2 => {
            let mut body = handshake(5, 0x0000_0007, 0xffff_ffff, own, cookie);
            for _ in 0..=dice.below(4) {
                let kind = *dice.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
                let content = noise(dice, 1_300);
                let honest = (content.len() / 4) as u16;
                let words = if dice.hits(0.5) { honest } else { dice.below(65_536) as u16 };
                body.extend(extension(kind, words, &content));
            }
            control(0, 0, 0, &body)
        }
        // Keep-alives, acknowledgements, loss reports, shutdowns, drop requests, user-defined ones.
        _ => {
            let kind = *dice.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 0x7fff]);
            let content = noise(dice, 1_400);
            control(kind, dice.below(1 << 32) as u32, dice.below(1 << 30) as u32, &content)
        }
    };
    if dice.hits(0.3) {
        let bit = dice.below(packet.len() as u64 * 8);
        packet[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
    if dice.hits(0.1) {
        packet.truncate(dice.below(packet.len() as u64 + 1) as usize);
    }
    packet.truncate(HANDSHAKE + 1_400);
    packet
}

/// A request to drop all packets that there can be (§3.2.9), behind a packet of a stream and in its
/// sender's name.
pub fn withdrawal(datagram: &[u8]) -> Option<Bytes> {
    let Stream { to, .. } = stream(datagram)?;
    let all = [0, 0x7fff_ffff_u32].map(u32::to_be_bytes).concat();
    Some(control(DROP_REQUEST, 1, to, &all).into())
}

/// A control packet of any kind but the one that ends the connection, behind a packet of a stream and
/// in its sender's name: numbers in it are the extreme ones, or near the stream's.
pub fn lie(datagram: &[u8]) -> Option<Bytes> {
    let Stream { number, to } = stream(datagram)?;
    let mut dice = Dice::of(11, number.into());
    let kind = *dice.pick(&[1, 2, 3, 4, 6, DROP_REQUEST, 8, 0x7fff]);
    let word = |dice: &mut Dice| {
        let near = number.wrapping_add(dice.below(2_048) as u32).wrapping_sub(1_024);
        *dice.pick(&[0, 1, near, near | 1 << 31, 0x7fff_fffe, 0x7fff_ffff, 1 << 31, u32::MAX])
    };
    let information = word(&mut dice);
    let words = dice.below(9);
    let body: Vec<u8> = (0..words).flat_map(|_| word(&mut dice).to_be_bytes()).collect();
    Some(control(kind, information, to, &body).into())
}

/// Of a packet of a stream.
struct Stream {
    /// Its sequence number.
    number: u32,
    /// The receiver's socket.
    to: u32,
}

/// What a datagram is if it is a packet of a stream (§3.1).
fn stream(datagram: &[u8]) -> Option<Stream> {
    let word = |at: usize| Some(u32::from_be_bytes(datagram.get(at..at + 4)?.try_into().ok()?));
    let (number, to) = (word(0)?, word(12)?);
    (number >> 31 == 0).then_some(Stream { number, to })
}

/// Sends `count` packets to the port at `server`, or fewer if told to `stop`.
///
/// # Errors
/// If there is no port to send from.
pub fn assault(server: SocketAddr, seed: u64, count: u64, stop: &AtomicBool) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut number = 0;
    while outcome.sent < count && !stop.load(Ordering::Relaxed) {
        let mut strangers = Vec::with_capacity(AT_ONCE);
        for place in 0..AT_ONCE {
            let socket = UdpSocket::bind("127.0.0.1:0").context("a stranger's port")?;
            socket.connect(server).context("the SRT port")?;
            let patience = if place == 0 { ANSWER_WITHIN } else { MOMENT };
            socket.set_read_timeout(Some(patience)).context("a stranger's port")?;
            let mut dice = Dice::of(seed, number);
            number += 1;
            let own = 1 + dice.below(1 << 29) as u32;
            // A full buffer is the system's affair, here and below.
            let _ = socket.send(&control(0, 0, 0, &handshake(4, 2, 1, own, 0)));
            strangers.push((socket, dice, own));
        }
        for (socket, dice, own) in &mut strangers {
            let cookie = cookie(socket);
            outcome.answered += u64::from(cookie.is_some());
            for _ in 0..EACH {
                let packet = draw(dice, *own, cookie.unwrap_or(0));
                outcome.sent += u64::from(socket.send(&packet).is_ok());
            }
        }
        // The port is shared with those who mean well.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(outcome)
}
