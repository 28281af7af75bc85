//! What anybody can send, as plain functions of bytes that panic when a promise is broken. libFuzzer calls them
//! from `tests/fuzz`, the tests of this module with every file of its corpus and with changes of those.
//!
//! They stand here since nothing that they call is of use to others, and are built for tests and fuzzing only.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ingest::source::Unit;
use packager::codec::nal::{LengthSize, Units};

use super::agreeing::agree_to_take;
use super::pictures::Coding;
use super::receive::Packet;
use super::rtcp::{self, Message};
use super::sdp::{self, Answer, Offer};
use super::stun;
use super::whip::{Agreed, Publisher};

const PASSWORD: &str = "0123456789abcdefghijkl";
/// What a publisher of [`media`] sends.
const AGREED: Agreed =
    Agreed { coding: Coding::H264, video: 102, again: Some(103), audio: Some(111) };

/// A check is read or not, whole; it is theirs only with the password. The input is tried as a datagram, and as
/// what stands before a right proof.
pub fn stun(data: &[u8]) {
    let Ok(provider) = rtc_crypto::default_provider() else { return };
    let crypto = provider.crypto();
    let sealed = stun::sealed_from(data, PASSWORD, crypto).unwrap_or_default();
    for (datagram, right) in [(data, false), (&sealed, true)] {
        if let Some(mut answer) = stun::Answer::read(datagram) {
            assert!(!answer.verify("nobody's", crypto));
            assert!(!right || answer.verify(PASSWORD, crypto));
        }
        let Some(mut request) = stun::Request::read(datagram) else { continue };
        let (ours, theirs) = request.fragments();
        assert!(ours.len() + theirs.len() < datagram.len() && !ours.contains(':'));
        assert!(!request.verify("nobody's", crypto));
        assert!(!right || request.verify(PASSWORD, crypto));
        let _ = request.nominates();
        let from = ([192, 0, 2, 1], 9).into();
        let answer = request.success(from, PASSWORD, crypto).expect("an answer");
        let answer = stun::Answer::read(&answer).expect("an answer that can be read");
        assert_eq!(answer.transaction(), request.transaction());
    }
}

/// An offer is read or refused, within its bounds; its answer has a section for each of its own, whatever it says.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Some((ufrag, password))) = sdp::fragment(text) {
        assert!(ufrag.len() <= 256 && (22..=256).contains(&password.len()));
    }
    let Ok(offer) = Offer::read(text) else { return };
    assert!(offer.media.len() <= 8 && offer.bundle.len() <= 8);
    for media in &offer.media {
        assert!(media.formats.len() <= 128 && media.ssrcs.len() <= 16);
        assert!(media.formats.iter().all(|format| format.feedback.len() <= 16));
    }
    let Ok((sections, _)) = agree_to_take(&offer) else { return };
    let answer = sdp::write(
        &offer,
        &Answer {
            id: 1,
            ufrag: "ours",
            password: PASSWORD,
            fingerprint: &[0; 32],
            candidates: &[([192, 0, 2, 1], 9).into()],
            sections: &sections,
            cname: rtcp::CNAME,
        },
    );
    let count = answer.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(count, offer.media.len(), "{answer}");
}

/// Of a compound of control packets no more is read than is acted upon; what it says moves no publisher's clock
/// out of this world.
pub fn control(data: &[u8]) {
    let messages = rtcp::read(data);
    assert!(messages.len() <= 64);
    let now = Instant::now();
    let mut publisher = Publisher::new(AGREED, 1, now);
    for message in messages {
        if let Message::Nack { lost, .. } = &message {
            assert!(lost.len() <= 512);
        }
        if !publisher.hear(&message, now) {
            break;
        }
    }
}

/// Packets of a publisher, opened: each is a byte of how long it is, a byte of how many milliseconds have passed,
/// and itself. The pictures that come of them are whole units of a bounded length, or frames of VP8, and what is
/// told is bounded.
pub fn media(data: &[u8]) {
    for coding in [Coding::H264, Coding::Vp8] {
        publish(Agreed { coding, ..AGREED }, data);
    }
}

fn publish(agreed: Agreed, mut data: &[u8]) {
    let mut now = Instant::now();
    let mut publisher = Publisher::new(agreed, 1, now);
    let mut units = Vec::new();
    while let [length, millis, after @ ..] = data {
        let (packet, after) = after.split_at(usize::from(*length).min(after.len()));
        now += Duration::from_millis(u64::from(*millis));
        if let Some(packet) = Packet::read(Bytes::copy_from_slice(packet))
            && publisher.expects(packet.payload_type, packet.ssrc)
        {
            publisher.take(packet, now, &mut units);
        }
        publisher.pass_time(now, &mut units, |compound| {
            assert!(compound.len() <= 1_200 && compound.len() % 4 == 0, "{}", compound.len());
        });
        for unit in units.drain(..) {
            let Unit::Video(sample) = unit else { continue };
            assert!(!sample.data.is_empty() && sample.data.len() <= 4 << 20);
            if agreed.coding == Coding::Vp8 {
                continue;
            }
            let mut count = 0;
            for unit in Units::new(&sample.data, LengthSize::Four) {
                assert!(!unit.expect("a whole unit").bytes.is_empty());
                count += 1;
            }
            assert!(count > 0);
        }
        data = after;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Changes that are made of each file of a corpus.
    const CHANGES: usize = 300;

    /// Calls a target with every file of its corpus, and with as many changes of each.
    fn replay(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
        let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file?.path());
        let files = std::fs::read_dir(&folder).unwrap().map(read);
        let files: Vec<Vec<u8>> = files.collect::<Result<_, _>>().unwrap();
        assert!(files.len() >= 10, "{name}: {}", files.len());
        let mut dice = fastrand::Rng::with_seed(7);
        for file in &files {
            target(file);
            for _ in 0..CHANGES {
                let mut changed = file.clone();
                for _ in 0..dice.usize(1..=4) {
                    change(&mut changed, &files, &mut dice);
                }
                target(&changed);
            }
        }
    }

    fn change(bytes: &mut Vec<u8>, files: &[Vec<u8>], dice: &mut fastrand::Rng) {
        let at = dice.usize(0..=bytes.len());
        match dice.u8(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.u8(..)),
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.u8(0..8);
                }
            }
            3 => drop(bytes.drain(at..bytes.len().min(at + dice.usize(0..20)))),
            _ => {
                let Some(other) = dice.choice(files) else { return };
                let from = dice.usize(0..=other.len());
                let piece = other.iter().skip(from).take(dice.usize(0..200)).copied();
                bytes.splice(at..at, piece.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn checks_survive_their_corpus() {
        replay("stun", stun);
    }

    #[test]
    fn offers_survive_their_corpus() {
        replay("sdp", sdp);
    }

    #[test]
    fn control_packets_survive_their_corpus() {
        replay("control", control);
    }

    #[test]
    fn what_publishers_send_survives_its_corpus() {
        replay("media", media);
    }
}
