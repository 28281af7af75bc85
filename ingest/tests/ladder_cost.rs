//! What a ladder costs beside the ffmpeg command with the same rungs and settings. A benchmark, run
//! by name and in an optimised build; prints a line and fails where the bar is missed by far.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "ladder/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use std::process::Command;
use std::time::{Duration, SystemTime};

use ingest::av::ladder::{Profile, Rung, plan};
use ingest::av::protocol::{ClockBase, monotonic_nanos};
use ingest::av::supervisor::{LadderConfig, Output, spawn};
use packager::grid::Grid;
use packager::time::{FrameRate, Span};
use tokio::time::{Instant, sleep_until};

/// Above this the ladder does something that the command does not. The target itself (1.05) is
/// judged on a quiet machine by `make bench`.
const FAR_ABOVE: f64 = 1.3;

/// CPU seconds of processes that we have waited for: `cutime` and `cstime` of proc(5).
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap();
    ticks / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a benchmark"]
async fn a_ladder_of_three_costs_what_the_ffmpeg_command_does() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.flv");
    let input: Vec<String> = match std::env::var("HEADWATER_CLIP") {
        Ok(path) => vec!["-t".into(), "20".into(), "-i".into(), path],
        Err(_) => ["-f", "lavfi", "-t", "15", "-i", "mandelbrot=size=1280x720:rate=30"]
            .map(String::from)
            .into(),
    };
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(input)
        .args(["-vf", "scale=1280:720,format=yuv420p", "-r", "30", "-c:v", "libx264"])
        .args(["-preset", "veryfast", "-tune", "zerolatency", "-b:v", "4M", "-g", "60"])
        .args(["-an", "-f", "flv"])
        .arg(&clip)
        .status()
        .unwrap();
    assert!(status.success());
    let source = fixture::flv(&std::fs::read(&clip).unwrap());
    let wishes = ["720p", "480p", "360p"].map(|wish| wish.parse().unwrap());
    let rate = FrameRate::new(30, 1);
    let rungs = plan((1280, 720), &wishes, rate).rungs;

    let before = children_cpu();
    assert!(command(&clip, &rungs).status().unwrap().success());
    let theirs = children_cpu() - before;
    let ours = ladder(&source, rungs, rate).await;
    let ratio = ours / theirs;
    println!(
        "ladder 720p 480p 360p: {ours:.2} CPU s, ffmpeg command {theirs:.2}, ratio {ratio:.3}"
    );
    assert!(ratio < FAR_ABOVE, "{ratio}");
}

/// The same work by the command: decode once, scale, encode each rung with our settings.
fn command(clip: &std::path::Path, rungs: &[Rung]) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1", "-i"]).arg(clip);
    let mut graph = format!("[0:v]split={}", rungs.len());
    for n in 0..rungs.len() {
        graph += &format!("[s{n}]");
    }
    for (n, rung) in rungs.iter().enumerate() {
        graph += &format!(";[s{n}]scale={}:{}[v{n}]", rung.width, rung.height);
    }
    command.args(["-filter_complex", &graph]);
    for (n, rung) in rungs.iter().enumerate() {
        let profile = if rung.profile == Profile::High { "high" } else { "main" };
        let buffer = rung.peak_bitrate / 1000 * 320;
        command.args(["-map", &format!("[v{n}]"), "-c:v", "libx264", "-preset", "veryfast"]);
        command.args(["-tune", "zerolatency", "-threads", "1", "-profile:v", profile]);
        command.args(["-b:v", &rung.average_bitrate.to_string()]);
        command.args(["-maxrate", &rung.peak_bitrate.to_string(), "-bufsize", &buffer.to_string()]);
        command.args(["-forced-idr", "1", "-force_key_frames", "expr:gte(t,n_forced*1.6)"]);
        command.args(["-x264-params", "keyint=infinite:min-keyint=1:scenecut=0:sliced-threads=0"]);
        command.args(["-f", "null", "-"]);
    }
    command
}

/// CPU seconds of a worker that makes the ladder in real time.
#[allow(clippy::disallowed_methods)] // A test has no other clock to begin with.
async fn ladder(source: &[fixture::Timed], rungs: Vec<Rung>, rate: FrameRate) -> f64 {
    let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let utc_minus_monotonic_nanos = utc.as_nanos() as i64 - monotonic_nanos();
    let config = LadderConfig {
        program: fixture::worker(),
        rungs,
        grid: Grid::choose(rate, 48_000, Span::millis(1_600), Span::millis(300)),
        first_k_min: 0,
        clock: ClockBase { utc_minus_monotonic_nanos },
    };
    let before = children_cpu();
    let (mut input, mut outputs) = spawn(config).unwrap();
    let reading = tokio::spawn(async move {
        let mut last = None;
        while let Some(output) = outputs.recv().await {
            match output {
                Output::Stats(stats) => last = Some(stats),
                Output::Exited { reason } => return (reason, last),
                _ => {}
            }
        }
        panic!("the end was not told");
    });
    let begin = Instant::now();
    for timed in source {
        sleep_until(begin + timed.at).await;
        input.send(&fixture::moved(&timed.unit, 0));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(input);
    let (reason, stats) = reading.await.unwrap();
    assert!(reason.contains("exit status: 0"), "{reason}");
    println!("{stats:?}");
    children_cpu() - before
}
