//! What a viewer by WebRTC costs the server.
//!
//! A looped clip is passed through; the server's CPU time is counted without viewers and with some. They are
//! those of aiortc, in a process of their own.

use std::process::Command;
use std::time::Duration;

use rtc_srtp::context::Context as Srtp;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::{Measure, cpu, passing};
use crate::process::{Process, Stdout};
use crate::server::{ChannelConfig, Server};
use crate::wait::{Look, until};
use crate::{Context, Result, workspace};

/// Viewers at once: one alone is too cheap to be counted in the kernel's ticks.
const VIEWERS: u32 = 4;
/// How long CPU time is counted.
const MEASURED: Duration = Duration::from_secs(40);
/// How long viewers may take to connect, and what they leave for the measuring.
const SETTLE: Duration = Duration::from_secs(10);
/// Most that a viewer may cost, in percent of a core.
const MOST: f64 = 2.0;

/// Measures it.
///
/// # Errors
/// A part is missing or does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir().context("folder for the benchmark")?;
    let clip = passing::clip(folder.path())?;
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let url = server.publish_url("a", None);
    let _publisher = passing::publish(&clip, folder.path(), 1, |_| url.clone())?;
    server.wait_playable("a", Duration::from_secs(30))?;
    let alone = counted(&server)?;
    let mut command = Command::new(workspace::python());
    command.arg(workspace::root().join("tests/webrtc/watch.py"));
    command.arg(server.url("/live/a/whep"));
    let seconds = (SETTLE + MEASURED + SETTLE).as_secs().to_string();
    command.args(["--seconds", &seconds, "--viewers", &VIEWERS.to_string()]);
    let log = folder.path().join("viewers.log");
    let mut viewers = Process::spawn("watch.py", &mut command, Stdout::Log, &log)?;
    until("viewers", Duration::from_secs(30), || {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        let there = format!("headwater_webrtc_sessions {VIEWERS}");
        Ok(Look::at(metrics.lines().any(|line| line == there).then_some(()), "not all are there"))
    })?;
    std::thread::sleep(SETTLE);
    let before = [sent(&server, "bytes")?, sent(&server, "packets")?];
    let with = counted(&server)?;
    let [bytes, packets] =
        [sent(&server, "bytes")? - before[0], sent(&server, "packets")? - before[1]];
    viewers.terminate()?;
    server.stop()?;
    let percent = 100.0 * (with - alone) / MEASURED.as_secs_f64() / f64::from(VIEWERS);
    let srtp = packets * protecting(bytes / packets.max(1.0))?.as_secs_f64();
    let share = 100.0 * srtp / (with - alone).max(f64::EPSILON);
    let rate = bytes * 8.0 / MEASURED.as_secs_f64() / f64::from(VIEWERS) / 1e6;
    Ok(vec![Measure {
        name: "a viewer by WebRTC, 720p25 at 2.5 Mb/s".into(),
        ours: format!("{percent:.2} % of a core, {share:.0} % of that SRTP"),
        bar: format!("≤ {MOST} % of a core"),
        met: percent <= MOST,
        method: format!(
            "Big Buck Bunny, 1280x720 at 25 fps, 2.5 Mb/s H.264 and AAC, looped and passed through; {VIEWERS} \
             viewers of aiortc, each sent {rate:.2} Mb/s of picture. CPU time of the server in {} s with them \
             less that in {} s without, as the kernel counts it; of the sound's worker nothing. SRTP is reckoned: \
             the {packets:.0} packets that were sent, times what it takes to protect one of their mean size with \
             the same library and profile (AES-128-GCM) in a loop.",
            MEASURED.as_secs(),
            MEASURED.as_secs()
        ),
        ..Measure::without_peer()
    }])
}

/// CPU seconds of the server process in the time that counts.
fn counted(server: &Server) -> Result<f64> {
    let id = server.serving_id()?;
    let before = cpu::of(id)?;
    std::thread::sleep(MEASURED);
    Ok((cpu::of(id)? - before).as_secs_f64())
}

fn sent(server: &Server, what: &str) -> Result<f64> {
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let name = format!("headwater_webrtc_sent_{what}_total ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|value| value.parse().ok()).context(format!("{what} sent"))
}

/// CPU time of this thread that protecting a packet of so many bytes takes.
fn protecting(bytes: f64) -> Result<Duration> {
    const PACKETS: u16 = 50_000;
    let crypto = rtc_crypto::default_provider().context("a provider of ciphers")?;
    let (key, salt) = ([7; 16], [9; 12]);
    let profile = ProtectionProfile::AeadAes128Gcm;
    let mut context =
        Srtp::new(&key, &salt, profile, None, None, crypto.crypto()).context("SRTP")?;
    let mut packet = vec![0x5a; (bytes as usize).max(12)];
    // Version 2, nothing more.
    packet[..2].copy_from_slice(&[0x80, 96]);
    let before = cpu::of_thread();
    for number in 0..PACKETS {
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        std::hint::black_box(context.encrypt_rtp(&packet).context("a packet")?);
    }
    Ok((cpu::of_thread() - before) / u32::from(PACKETS))
}
