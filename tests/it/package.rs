//! `headwater package`: every picture of a file comes out once, as it was or as a ladder, also when it was
//! broken off.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, Stdout};
use harness::publisher::{Feed, Source};
use harness::reader::ffmpeg;
use harness::rules;
use harness::rules::dash::{Schema, check_schema};
use harness::wait::{Look, until};
use harness::{Context, Result, process, workspace};
use packager::time::FrameRate;
use rustix::process::Signal;

const RATE: FrameRate = FrameRate::new(25, 1);
const SOON: Duration = Duration::from_secs(60);

fn command(input: &Path, out: &Path, ladder: &str) -> Result<Command> {
    let mut command = Command::new(workspace::headwater()?);
    command
        .arg("package")
        .arg(input)
        .args(["--ladder", ladder, "--segment", "2", "--out"])
        .arg(out);
    Ok(command)
}

/// What the program says when it is done.
fn package(input: &Path, out: &Path, ladder: &str) -> Result<String> {
    let output = process::run("package", &mut command(input, out, ladder)?, SOON)?;
    assert!(output.status.success(), "{}", output.stderr);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Any web server, on a folder; and its address.
fn serve(out: &Path) -> Result<(Process, String)> {
    let mut command = Command::new(workspace::python());
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(out);
    let server = Process::spawn("http.server", &mut command, Stdout::Log, &out.join("server.log"))?;
    let port = until("a web server", SOON, || {
        let log = server.log();
        let port = log.split("port ").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(Look::at(port.map(str::to_owned), log.clone()))
    })?;
    Ok((server, format!("http://127.0.0.1:{port}")))
}

/// A folder has the pictures of a file from the first to the last, by HLS and by DASH, and what is written
/// in it keeps the rules.
fn is_whole(out: &Path, feed: Feed, frames: u64) -> Result {
    // ffmpeg 5.1 reads a manifest of DASH from a server only: it looks for files in the wrong folder.
    let (_server, address) = serve(out)?;
    for manifest in ["index.m3u8", "manifest.mpd"] {
        let seen = ffmpeg::frames(&format!("{address}/{manifest}"), &[], None)?;
        let shown: Vec<_> =
            seen.iter().map(|f| f.mark.and_then(|mark| feed.frame_of(mark))).collect();
        assert_eq!(shown, (0..frames).map(Some).collect::<Vec<_>>(), "{manifest}");
        let length = seen[seen.len() - 1].pts_ns - seen[0].pts_ns;
        let expected = (frames as i64 - 1) * 40_000_000;
        assert!((length - expected).abs() < 40_000_000, "{manifest}: {length} ns");
    }
    let read = |name: &str| std::fs::read_to_string(out.join(name)).context(name.to_owned());
    let multivariant = read("index.m3u8")?;
    assert_eq!(rules::hls::check_multivariant(&multivariant), [], "{multivariant}");
    let mpd = read("manifest.mpd")?;
    if let Some(schema) = Schema::find() {
        assert_eq!(check_schema(&schema, &mpd).context("xmllint")?, [], "{mpd}");
    }
    assert!(!mpd.contains(".keys") && !read("audio/index.m3u8")?.contains("DATE-TIME"));
    assert!(!out.join("unfinished").exists());
    Ok(())
}

#[test]
fn a_file_is_packaged_as_it_is_and_as_a_ladder_that_was_broken_off() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let input = dir.path().join("in.flv");
    // Segments of a source end at its key frames: B-frames, so that its order is not that of time.
    let source = Source { gop: 50, ..Source::tiny(RATE).with_b_frames(2) };
    let feed = source.record(&input, 500)?;
    let frames = ffmpeg::frames(input.to_str().context("a path")?, &[], None)?.len() as u64;

    let plain = dir.path().join("plain");
    let said = package(&input, &plain, "source")?;
    assert!(said.contains("source, audio"), "{said}");
    is_whole(&plain, feed, frames)?;
    let again = process::run("package", &mut command(&input, &plain, "source")?, SOON)?;
    assert!(!again.status.success() && again.stderr.contains("another folder"), "{}", again.stderr);

    let ladder = dir.path().join("ladder");
    let log = dir.path().join("log");
    let mut first = command(&input, &ladder, "180p,96p")?;
    let broken = Process::spawn("package", &mut first, Stdout::Log, &log)?;
    until("some segments", SOON, || {
        let notes = std::fs::read_to_string(ladder.join("unfinished")).unwrap_or_default();
        let lines = notes.lines().count();
        Ok(Look::at((lines > 9).then_some(()), format!("{lines} lines; {}", broken.log_tail(3))))
    })?;
    broken.signal(Signal::KILL);
    drop(broken);
    let said = package(&input, &ladder, "180p,96p")?;
    assert!(said.contains("segments were there before"), "{said}");
    is_whole(&ladder, feed, frames)
}
