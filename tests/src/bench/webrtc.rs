//! What a viewer by WebRTC costs the server.
//!
//! A looped clip is passed through; the server's CPU time is counted without viewers and with some. They are
//! those of aiortc, in a process of their own.

use std::process::Command;
use std::time::Duration;

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
    let sent = sent_bytes(&server)?;
    let with = counted(&server)?;
    let sent = sent_bytes(&server)? - sent;
    viewers.terminate()?;
    server.stop()?;
    let percent = 100.0 * (with - alone) / MEASURED.as_secs_f64() / f64::from(VIEWERS);
    let rate = sent * 8.0 / MEASURED.as_secs_f64() / f64::from(VIEWERS) / 1e6;
    Ok(vec![Measure {
        name: "a viewer by WebRTC, 720p25 at 2.5 Mb/s".into(),
        ours: format!("{percent:.2} % of a core"),
        peer: "none".into(),
        ratio: "–".into(),
        bar: format!("≤ {MOST} % of a core"),
        met: percent <= MOST,
        method: format!(
            "Big Buck Bunny, 1280x720 at 25 fps, 2.5 Mb/s H.264 and AAC, looped and passed through; {VIEWERS} \
             viewers of aiortc, each sent {rate:.2} Mb/s of picture. CPU time of the server in {} s with them \
             less that in {} s without, as the kernel counts it; of the sound's worker nothing.",
            MEASURED.as_secs(),
            MEASURED.as_secs()
        ),
    }])
}

/// CPU seconds of the server process in the time that counts.
fn counted(server: &Server) -> Result<f64> {
    let id = server.serving_id()?;
    let before = cpu::of(id)?;
    std::thread::sleep(MEASURED);
    Ok((cpu::of(id)? - before).as_secs_f64())
}

fn sent_bytes(server: &Server) -> Result<f64> {
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("headwater_webrtc_sent_bytes_total "));
    line.and_then(|value| value.parse().ok()).context("bytes sent")
}
