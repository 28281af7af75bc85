//! How fast MPEG-TS is demultiplexed: bytes per second of one core, beside ffmpeg's demultiplexer.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ingest::source::Unit;
use ingest::ts::{Demuxer, Event, Want};

use super::{Measure, cpu};
use crate::process;
use crate::{Context, Failure, Result};

/// Seconds of 720p at 8 Mb/s in the stream.
const SECONDS: u32 = 10;
/// How often the stream is read by each: long enough for the kernel's count of CPU time.
const TIMES: u32 = 100;
/// Bytes handed over at a time: a datagram's.
const PIECE: usize = 1316;
/// Bytes per second of a core that there should be.
const BAR: f64 = 1e9;

/// Measures it.
///
/// # Errors
/// ffmpeg fails, or nothing comes of the stream.
pub fn measure() -> Result<Vec<Measure>> {
    let dir = tempfile::tempdir().context("a folder")?;
    let path = dir.path().join("stream.ts");
    make(&path)?;
    let bytes = std::fs::read(&path).context("the stream")?;
    let total = bytes.len() as f64 * f64::from(TIMES);
    let (ours, pictures) = ours(&bytes)?;
    let theirs = theirs(&bytes, &dir.path().join("long.ts"))?;
    let rate = |time: Duration| total / time.as_secs_f64();
    let print = |rate: f64| format!("{:.2} GB/s", rate / 1e9);
    Ok(vec![Measure {
        name: "MPEG-TS demultiplexed by one core".into(),
        ours: print(rate(ours)),
        peer: format!("{} (ffmpeg -c copy -f null)", print(rate(theirs))),
        ratio: format!("{:.1}", rate(ours) / rate(theirs)),
        bar: "≥ 1 GB/s".into(),
        met: rate(ours) >= BAR,
        method: format!(
            "A stream of {SECONDS} s, 1280x720 at 30 frames a second and 8 Mb/s with AAC, \
             {:.1} MB, {TIMES} times, in pieces of {PIECE} bytes from memory to samples with NAL \
             lengths ({pictures} pictures a time); CPU time of this process. ffmpeg reads a file of \
             the same length and copies the packets nowhere; CPU time of its process, start included.",
            bytes.len() as f64 / 1e6
        ),
    }])
}

fn make(path: &Path) -> Result {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
    command.args(["-f", "lavfi", "-i"]);
    command.arg(format!("testsrc2=size=1280x720:rate=30:duration={SECONDS},noise=alls=20:allf=t"));
    command.args(["-f", "lavfi", "-i", &format!("sine=duration={SECONDS}")]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60"]);
    command.args(["-b:v", "8M", "-maxrate", "8M", "-bufsize", "8M", "-c:a", "aac"]);
    run(command.arg(path))
}

/// CPU time that it takes us, and how many pictures come out each time.
fn ours(bytes: &[u8]) -> Result<(Duration, u32)> {
    let id = std::process::id();
    let (before, mut pictures) = (cpu::of(id)?, 0);
    for _ in 0..TIMES {
        let mut demuxer = Demuxer::new(Want::default());
        pictures = 0;
        for piece in bytes.chunks(PIECE) {
            demuxer.push(piece, Instant::now());
            while let Some(event) = demuxer.poll() {
                pictures += u32::from(matches!(event, Event::Unit(Unit::Video(_))));
            }
        }
    }
    match pictures {
        0 => Err(Failure::new("no picture came of the stream")),
        _ => Ok((cpu::of(id)?.saturating_sub(before), pictures)),
    }
}

/// CPU time that it takes ffmpeg.
fn theirs(bytes: &[u8], path: &Path) -> Result<Duration> {
    let mut file = std::fs::File::create(path).context("a long stream")?;
    for _ in 0..TIMES {
        file.write_all(bytes).context("a long stream")?;
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "quiet", "-i"]).arg(path);
    command.args(["-map", "0", "-c", "copy", "-f", "null", "-"]);
    // A child that was waited for counts.
    let before = cpu::of(std::process::id())?;
    run(&mut command)?;
    Ok(cpu::of(std::process::id())?.saturating_sub(before))
}

fn run(command: &mut Command) -> Result {
    let output = process::run("ffmpeg", command, Duration::from_secs(120))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("ffmpeg ended with {}: {}", output.status, output.stderr)))
}
