//! What a pass-through channel costs beside nginx with its RTMP module, HLS and DASH on.
//!
//! Both take the same ten publishers, one after the other in the same run: a looped clip in real
//! time, copied and never encoded. Nobody watches.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Measure, cpu};
use crate::process::{Process, Stdout, tree};
use crate::server::{ChannelConfig, Server};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, workspace};

/// Channels at once: one alone is too cheap to be counted in the kernel's ticks.
const CHANNELS: usize = 10;
/// Length of the clip, which is looped.
const CLIP: Duration = Duration::from_secs(20);
/// From when on CPU time is counted: the live edge in memory is full.
const WARM_UP: Duration = Duration::from_secs(40);
/// How long CPU time is counted in each round.
const MEASURED: Duration = Duration::from_secs(30);
/// Rounds of nginx and Headwater, turn by turn.
const ROUNDS: usize = 2;
/// Most memory of a channel beside the media it holds.
const MOST_MEMORY: u64 = 4 << 20;

/// Measures it.
///
/// # Errors
/// A part is missing or does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir().context("folder for the benchmark")?;
    let clip = clip(folder.path())?;
    let (mut peer, mut ours, mut memory) = (0.0, 0.0, 0);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let theirs = nginx(&clip, folder.path())?;
        let (cpu, bytes) = headwater(&clip, folder.path())?;
        rounds.push(format!("{:.3}", cpu / theirs));
        peer += theirs;
        ours += cpu;
        memory = memory.max(bytes);
    }
    let seconds = MEASURED.as_secs_f64() * (ROUNDS * CHANNELS) as f64;
    let of_core = |cpu: f64| format!("{:.2} % of a core", 100.0 * cpu / seconds);
    let mebibytes = memory as f64 / f64::from(1 << 20);
    let method = format!(
        "Big Buck Bunny, 1280x720 at 25 fps, 2.5 Mb/s H.264 with a key frame every 2 s and AAC at \
         128 kb/s, looped and sent over RTMP in real time to {CHANNELS} channels; nginx of Debian \
         with one worker, `hls` and `dash` on, fragments of 2 s. {ROUNDS} rounds of nginx and \
         Headwater, turn by turn; CPU time of {} s after {} s in each, as the kernel counts it. \
         Ratios of the rounds: {}.",
        MEASURED.as_secs(),
        WARM_UP.as_secs(),
        rounds.join(", ")
    );
    Ok(vec![
        Measure {
            name: "pass-through channel at 2.5 Mb/s, HLS and DASH".into(),
            ours: of_core(ours),
            peer: format!("nginx-rtmp {}", of_core(peer)),
            ratio: format!("{:.3}", ours / peer),
            bar: "≤ 1.0".into(),
            met: ours <= peer,
            method,
        },
        Measure {
            name: "memory of a pass-through channel beside its media".into(),
            ours: format!("{mebibytes:.1} MiB"),
            bar: "≤ 4 MiB".into(),
            met: memory <= MOST_MEMORY,
            method: format!(
                "Resident memory of the server at the end of the rounds above, less what it had \
                 before the publishers came and less the media that its metrics say is held in \
                 memory, by {CHANNELS} channels; the larger of the rounds."
            ),
            ..Measure::without_peer()
        },
    ])
}

/// Some film in FLV, as a broadcaster would send it.
pub(super) fn clip(folder: &Path) -> Result<PathBuf> {
    let film = workspace::film()?;
    let clip = folder.join("passed.flv");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-y", "-stream_loop", "-1", "-i"])
        .arg(film)
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-map", "0:v", "-map", "1:a", "-t", &CLIP.as_secs().to_string()])
        .args(["-vf", "scale=1280:720,fps=25,format=yuv420p", "-c:v", "libx264"])
        .args(["-preset", "veryfast", "-b:v", "2500k", "-minrate", "2500k", "-maxrate", "2500k"])
        .args(["-bufsize", "2500k", "-nal-hrd", "cbr", "-g", "50", "-sc_threshold", "0"])
        .args(["-bf", "0", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv"])
        .arg(&clip);
    let output = crate::process::run("ffmpeg", &mut command, Duration::from_secs(300))?;
    if output.status.success() { Ok(clip) } else { Err(Failure::new(output.stderr)) }
}

/// Publishes a clip to so many channels, from 0 up, until it is dropped.
pub(super) fn publish(
    clip: &Path,
    folder: &Path,
    channels: usize,
    url: impl Fn(usize) -> String,
) -> Result<Process> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(clip);
    for channel in 0..channels {
        command.args(["-map", "0", "-c", "copy", "-f", "flv"]).arg(url(channel));
    }
    Process::spawn("ffmpeg", &mut command, Stdout::Log, &folder.join("publisher.log"))
}

/// CPU seconds of a process and its children in the time that counts.
fn measured(id: u32) -> Result<f64> {
    std::thread::sleep(WARM_UP);
    let all = || tree::members(id).into_iter().map(cpu::of).sum::<Result<Duration>>();
    let before = all()?;
    std::thread::sleep(MEASURED);
    Ok((all()? - before).as_secs_f64())
}

/// CPU seconds of nginx.
fn nginx(clip: &Path, folder: &Path) -> Result<f64> {
    let data = folder.join("nginx");
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).context("folder of nginx")?;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
        listener.local_addr().context("a free port")?.port()
    };
    let path = data.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
         daemon off;\nworker_processes 1;\nuser root;\npid {path}/pid;\nerror_log {path}/errors;\n\
         events {{}}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; access_log off; application live {{\n\
         live on;\nhls on;\nhls_path {path}/hls;\nhls_fragment 2s;\nhls_playlist_length 60s;\n\
         dash on;\ndash_path {path}/dash;\ndash_fragment 2s;\ndash_playlist_length 60s;\n\
         }} }} }}\n"
    );
    let file = data.join("nginx.conf");
    std::fs::write(&file, config).context("configuration of nginx")?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file);
    let server = Process::spawn("nginx", &mut command, Stdout::Log, &folder.join("nginx.log"))?;
    until("nginx that listens", Duration::from_secs(10), || {
        let listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        Ok(Look::at(listens.then_some(()), server.log_tail(3)))
    })?;
    let url = |channel| format!("rtmp://127.0.0.1:{port}/live/c{channel}");
    let _publisher = publish(clip, folder, CHANNELS, url)?;
    until("playlists and manifests of nginx", Duration::from_secs(30), || {
        let last = CHANNELS - 1;
        let there = data.join(format!("hls/c{last}.m3u8")).exists()
            && data.join(format!("dash/c{last}.mpd")).exists();
        Ok(Look::at(there.then_some(()), server.log_tail(3)))
    })?;
    measured(server.id())
}

/// CPU seconds of Headwater, and the bytes a channel takes beside its media.
fn headwater(clip: &Path, folder: &Path) -> Result<(f64, u64)> {
    let names: Vec<_> = (0..CHANNELS).map(|channel| format!("c{channel}")).collect();
    let channels: Vec<_> = names.iter().map(|name| ChannelConfig::pass_through(name)).collect();
    let server = Server::start(&channels)?;
    let idle = server.resident_bytes();
    let url = |channel: usize| server.publish_url(&names[channel], None);
    let _publisher = publish(clip, folder, CHANNELS, url)?;
    for name in &names {
        server.wait_playable(name, Duration::from_secs(30))?;
    }
    let cpu = measured(server.id())?;
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let held = metrics.lines().filter(|line| line.starts_with("headwater_store_memory_bytes{"));
    let held: u64 = held.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    let beside = server.resident_bytes().saturating_sub(idle).saturating_sub(held);
    Ok((cpu, beside / CHANNELS as u64))
}
