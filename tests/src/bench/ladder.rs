//! What the ladder costs beside the `ffmpeg` command that does the same.
//!
//! Both decode the same clip in real time and make three rungs and one sound of it with the same
//! encoder settings. The command writes into nothing; Headwater also packages, stores and lists.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ingest::av::ladder::{Plan, Profile, Wish, plan};
use packager::time::FrameRate;

use super::{Measure, NO_BAR, cpu};
use crate::process::{self, Process, Stdout};
use crate::server::{ChannelConfig, Server};
use crate::{Context, Failure, Result, workspace};

/// The clip is this long; the first and last seconds are not measured.
const CLIP: Duration = Duration::from_secs(40);
/// From when on CPU time is counted: everything has started.
const WARM_UP: Duration = Duration::from_secs(8);
/// How long CPU time is counted in each round.
const MEASURED: Duration = Duration::from_secs(15);
/// Rounds of the command and Headwater, turn by turn: a virtual machine's speed varies by a tenth
/// from one minute to the next, and so does what both cost.
const ROUNDS: usize = 5;
/// The ladder.
const RUNGS: [&str; 3] = ["720p", "480p", "360p"];
/// The clip's rate.
const RATE: FrameRate = FrameRate::new(25, 1);

/// Measures it.
///
/// # Errors
/// A part is missing or does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir().context("folder for the benchmark")?;
    let clip = clip(folder.path())?;
    let wishes: Vec<Wish> = RUNGS.iter().filter_map(|rung| rung.parse().ok()).collect();
    let plan = plan((1280, 720), &wishes, RATE);
    let (mut peer, mut worker, mut server) = (0.0, 0.0, 0.0);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let theirs = command(&clip, &plan, folder.path())?;
        let (ours, around) = headwater(&clip, folder.path())?;
        rounds.push(format!("{:.3}", ours / theirs));
        peer += theirs;
        worker += ours;
        server += around;
    }
    let seconds = MEASURED.as_secs_f64() * ROUNDS as f64;
    let of_core = |cpu: f64| format!("{:.3} of a core", cpu / seconds);
    let method = format!(
        "Big Buck Bunny, 1280x720 at 25 fps, 4 Mb/s H.264, looped and sent in real time; rungs {} \
         with the worker's bit rates and settings (x264 veryfast, zerolatency, one thread a rung, \
         IDR every 1.92 s) and AAC at 128 kb/s. {ROUNDS} rounds of the command (Debian's ffmpeg, \
         decoder with one thread) and Headwater, turn by turn; CPU time of {} s after {} s in each, \
         as the kernel counts it, added up. Ratios of the rounds: {}.",
        RUNGS.join(", "),
        MEASURED.as_secs(),
        WARM_UP.as_secs(),
        rounds.join(", ")
    );
    let row = |name: &str, ours: f64, bar: &str, met: bool, method: String| Measure {
        name: name.into(),
        ours: of_core(ours),
        peer: format!("ffmpeg {}", of_core(peer)),
        ratio: format!("{:.3}", ours / peer),
        bar: bar.into(),
        met,
        method,
    };
    Ok(vec![
        row("ladder, worker process", worker, "≤ 1.05", worker / peer <= 1.05, method),
        row(
            "ladder, whole server",
            worker + server,
            NO_BAR,
            true,
            "The same rounds, with RTMP in, packaging, spool and playlists added; nobody watches."
                .into(),
        ),
    ])
}

/// A minute of film in FLV, as a broadcaster would send it.
fn clip(folder: &Path) -> Result<PathBuf> {
    let film = workspace::film()?;
    let clip = folder.join("clip.flv");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-y", "-stream_loop", "-1", "-i"])
        .arg(film)
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-map", "0:v", "-map", "1:a", "-t", &CLIP.as_secs().to_string()])
        .args(["-vf", "scale=1280:720,fps=25,format=yuv420p", "-c:v", "libx264"])
        .args(["-preset", "veryfast", "-b:v", "4M", "-maxrate", "5M", "-bufsize", "4M", "-g", "50"])
        .args(["-bf", "0", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv"])
        .arg(&clip);
    let output = process::run("ffmpeg", &mut command, Duration::from_secs(300))?;
    if output.status.success() { Ok(clip) } else { Err(Failure::new(output.stderr)) }
}

/// CPU seconds of the command.
fn command(clip: &Path, plan: &Plan, folder: &Path) -> Result<f64> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-threads", "1", "-i"]).arg(clip);
    let mut graph = format!("[0:v]split={}", plan.rungs.len());
    for n in 0..plan.rungs.len() {
        graph += &format!("[s{n}]");
    }
    for (n, rung) in plan.rungs.iter().enumerate() {
        graph += &format!(";[s{n}]scale={}:{}[v{n}]", rung.width, rung.height);
    }
    command.args(["-filter_complex", &graph]);
    for (n, rung) in plan.rungs.iter().enumerate() {
        let profile = if rung.profile == Profile::High { "high" } else { "main" };
        let buffer = rung.peak_bitrate / 1000 * 384;
        command.args(["-map", &format!("[v{n}]"), "-c:v", "libx264", "-preset", "veryfast"]);
        command.args(["-tune", "zerolatency", "-threads", "1", "-profile:v", profile]);
        command.args(["-b:v", &rung.average_bitrate.to_string()]);
        command.args(["-maxrate", &rung.peak_bitrate.to_string(), "-bufsize", &buffer.to_string()]);
        command.args(["-forced-idr", "1", "-force_key_frames", "expr:gte(t,n_forced*1.92)"]);
        command.args(["-x264-params", "keyint=infinite:min-keyint=1:scenecut=0:sliced-threads=0"]);
        command.args(["-f", "null", "-"]);
    }
    command.args(["-map", "0:a", "-c:a", "aac", "-b:a", "128k", "-f", "null", "-"]);
    let process = Process::spawn("ffmpeg", &mut command, Stdout::Log, &folder.join("peer.log"))?;
    std::thread::sleep(WARM_UP);
    let before = cpu::of(process.id())?;
    std::thread::sleep(MEASURED);
    Ok((cpu::of(process.id())? - before).as_secs_f64())
}

/// CPU seconds of the worker process and of the server that feeds it.
fn headwater(clip: &Path, folder: &Path) -> Result<(f64, f64)> {
    let channel = ChannelConfig::tiny("bench").with_ladder(&RUNGS);
    let server = Server::start(&[channel])?;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-i"]).arg(clip).args(["-c", "copy", "-f", "flv"]);
    command.arg(server.publish_url("bench", None));
    let _publisher = Process::spawn("ffmpeg", &mut command, Stdout::Log, &folder.join("pub.log"))?;
    server.wait_playable("bench", Duration::from_secs(15))?;
    std::thread::sleep(WARM_UP);
    let worker = server
        .worker_pids("bench")
        .first()
        .copied()
        .ok_or_else(|| Failure::new("the server has no worker process"))?;
    let before = (cpu::of(worker)?, cpu::of(server.serving_id()?)?);
    std::thread::sleep(MEASURED);
    let after = (cpu::of(worker)?, cpu::of(server.serving_id()?)?);
    Ok(((after.0 - before.0).as_secs_f64(), (after.1 - before.1).as_secs_f64()))
}
