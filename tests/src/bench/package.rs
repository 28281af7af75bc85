//! How much of a file is packaged per second of CPU time, beside `ffmpeg -f dash` and shaka-packager.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Measure, cpu};
use crate::{Context, Failure, Result, process, workspace};

/// How long the film is: a few seconds, again and again.
const SECONDS: u32 = 600;
/// How long each may take.
const WITHIN: Duration = Duration::from_secs(300);
/// How often each packages it: the fastest counts, as what else runs only adds.
const TIMES: usize = 3;

/// Measures it.
///
/// # Errors
/// A packager fails.
pub fn measure() -> Result<Vec<Measure>> {
    let dir = tempfile::tempdir().context("a folder")?;
    let film = dir.path().join("film.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-stream_loop", "-1", "-i"]);
    command.arg(workspace::film()?).args(["-t", &SECONDS.to_string(), "-c", "copy"]).arg(&film);
    run("ffmpeg", &mut command)?;
    let bytes = std::fs::metadata(&film).context("the film")?.len();
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();

    let ours = fastest(|n| {
        let mut command = Command::new(workspace::headwater()?);
        command.arg("package").arg(&film).arg("--out").arg(folder(dir.path(), "ours", n)?);
        Ok(command)
    })?;
    let ffmpeg = fastest(|n| {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "quiet", "-i"]).arg(&film);
        command.args(["-map", "0", "-c", "copy", "-f", "dash", "-seg_duration", "4"]);
        command.args(["-hls_playlist", "1"]);
        command.arg(folder(dir.path(), "ffmpeg", n)?.join("manifest.mpd"));
        Ok(command)
    })?;
    let shaka = match workspace::shaka_packager() {
        Ok(program) => Some(fastest(|n| shaka(&program, &film, &folder(dir.path(), "shaka", n)?))?),
        Err(_) => None,
    };
    let best = rate(shaka.unwrap_or(Duration::MAX).min(ffmpeg));
    let print = |rate: f64| format!("{rate:.0} MB/s");
    let others = shaka.map_or_else(|| "not installed".to_owned(), |time| print(rate(time)));
    Ok(vec![Measure {
        name: "file packaged as it is, per second of CPU time".into(),
        ours: print(rate(ours)),
        peer: format!("{} (ffmpeg -f dash), {others} (shaka-packager)", print(rate(ffmpeg))),
        ratio: format!("{:.2}", rate(ours) / best),
        bar: "≥ 1.0 of the better".into(),
        met: rate(ours) >= best,
        method: format!(
            "Big Buck Bunny, looped to {SECONDS} s, {:.0} MB of MP4, into HLS and DASH in segments of about \
             4 s; CPU time of each with its children, start included, the best of {TIMES}.",
            bytes as f64 / 1e6
        ),
    }])
}

fn folder(dir: &Path, name: &str, n: usize) -> Result<PathBuf> {
    let folder = dir.join(format!("{name}{n}"));
    std::fs::create_dir_all(&folder).context("a folder")?;
    Ok(folder)
}

fn shaka(program: &Path, film: &Path, out: &Path) -> Result<Command> {
    let (film, out) = (film.to_str().context("a path")?, out.to_str().context("a path")?);
    let stream = |kind: &str| {
        format!(
            "in={film},stream={kind},init_segment={out}/{kind}/init.mp4,\
             segment_template={out}/{kind}/$Number$.m4s"
        )
    };
    let mut command = Command::new(program);
    command.args([stream("video"), stream("audio")]).args(["--segment_duration", "4", "--quiet"]);
    command.args(["--mpd_output", &format!("{out}/manifest.mpd")]);
    command.args(["--hls_master_playlist_output", &format!("{out}/index.m3u8")]);
    Ok(command)
}

/// The least CPU time that a packager takes.
fn fastest(command: impl Fn(usize) -> Result<Command>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for n in 0..TIMES {
        // A child that was waited for counts.
        let before = cpu::of(std::process::id())?;
        run("packager", &mut command(n)?)?;
        best = best.min(cpu::of(std::process::id())?.saturating_sub(before));
    }
    Ok(best)
}

fn run(name: &str, command: &mut Command) -> Result {
    let output = process::run(name, command, WITHIN)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{name} ended with {}: {}", output.status, output.stderr)))
}
