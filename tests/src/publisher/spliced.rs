//! A broadcaster with a splicer behind it: ffmpeg encodes, sections of SCTE-35 are put between its packets
//! as they come, and `srt-live-transmit` sends the stream.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ingest::ts::PACKET;
use tempfile::TempDir;

use super::srt::Srt;
use super::{Broadcaster, Publisher, Source};
use crate::process::{Process, Stdout};
use crate::splicer::{Splicer, Stream};
use crate::{Context, Result};

/// The stream of cues, registered as SCTE 35 §8.1 has it.
const CUES: Stream<'_> = Stream { pid: 0x1f0, descriptors: b"\x05\x04CUEI" };

/// A running broadcaster and its splicer. Dropping it kills both.
#[derive(Debug)]
pub struct Spliced {
    publisher: Publisher,
    wire: Arc<Mutex<Wire>>,
    sender: Process,
    thread: Option<JoinHandle<Result>>,
    _dir: TempDir,
}

/// What the test and the splicer's thread share.
#[derive(Debug, Default)]
struct Wire {
    /// Sections that stand before the next picture.
    waiting: Vec<Vec<u8>>,
    /// Time of the first picture, at 90 kHz.
    first: Option<u64>,
}

impl Spliced {
    /// Starts to publish.
    ///
    /// # Errors
    /// If ffmpeg or the sender can't be started.
    pub fn start(source: Source, to: &Srt) -> Result<Self> {
        let dir = tempfile::tempdir().context("temporary folder")?;
        let mut command = Command::new("srt-live-transmit");
        command.args(["-quiet", "-chunk:1316", "file://con"]);
        command.arg(to.url(Broadcaster::SrtLiveTransmit));
        let log = dir.path().join("log");
        let mut sender = Process::spawn("srt-live-transmit", &mut command, Stdout::Log, &log)?;
        let into = sender.stdin()?;
        let (publisher, pipe) = Publisher::start_piped_ts(source)?;
        let wire = Arc::<Mutex<Wire>>::default();
        let shared = Arc::clone(&wire);
        let thread = std::thread::spawn(move || pass(pipe, into, &shared));
        Ok(Self { publisher, wire, sender, thread: Some(thread), _dir: dir })
    }

    /// The publisher behind it, for its feed.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Fails if either has ended, with what it said.
    ///
    /// # Errors
    /// As told.
    pub fn check(&mut self) -> Result {
        self.publisher.check()?;
        match self.sender.exited() {
            None => Ok(()),
            Some(status) => {
                let said = self.sender.log_tail(10);
                Err(crate::Failure::new(format!("the sender ended with {status}: {said}")))
            }
        }
    }

    /// What the stream says of when picture `n` is to be shown: 33 bits of 1/90000 s.
    ///
    /// # Errors
    /// If none has come.
    pub fn time_of(&self, n: u64) -> Result<u64> {
        let first = self.wire().first.context("a picture")?;
        let rate = self.publisher.feed().rate;
        let (num, den) = (u64::from(rate.num), u64::from(rate.den));
        Ok((first + (n * 90_000 * den + num / 2) / num) % (1 << 33))
    }

    /// Sends a section in front of the next picture.
    pub fn send(&self, section: &[u8]) {
        self.wire().waiting.push(section.to_vec());
    }

    fn wire(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spliced {
    fn drop(&mut self) {
        // Without its encoder the pipe ends, and with it the thread.
        self.publisher.kill();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Hands packets on until there are no more, or nobody takes them.
fn pass(mut pipe: ChildStdout, mut into: ChildStdin, wire: &Mutex<Wire>) -> Result {
    let streams = [CUES];
    let mut splicer = Splicer::new(&streams);
    let (mut packet, mut out) = ([0; PACKET], Vec::new());
    while pipe.read_exact(&mut packet).is_ok() {
        out.clear();
        if splicer.begins_picture(&packet) {
            let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
            wire.first = wire.first.or_else(|| time(&packet));
            for section in wire.waiting.drain(..) {
                splicer.send(CUES.pid, &section, &mut out)?;
            }
        }
        splicer.pass(&packet, &mut out)?;
        if into.write_all(&out).is_err() {
            break;
        }
    }
    Ok(())
}

/// The presentation time at the head of a picture's packet (ISO/IEC 13818-1 §2.4.3.7).
fn time(packet: &[u8]) -> Option<u64> {
    let adaptation = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
    let pes = packet.get(4 + adaptation..)?;
    let &[high, a, b, c, d] = pes.get(9..14)?.first_chunk::<5>()?;
    let [high, a, b, c, d] = [high, a, b, c, d].map(u64::from);
    Some((high >> 1 & 7) << 30 | a << 22 | (b >> 1) << 15 | c << 7 | d >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pictures_time_is_read() {
        let mut packet = [0; PACKET];
        packet[..4].copy_from_slice(&[0x47, 0x41, 0, 0x30]);
        packet[4] = 7;
        packet[12..26]
            .copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x2f, 0xff, 0xfd, 0xa0, 0x71]);
        assert_eq!(time(&packet), Some(8_589_889_592), "half a second before the clock wraps");
    }
}
