//! Decoding by GStreamer: a live HLS address through its own player, or joined segments.

use std::process::Command;
use std::time::Duration;

use ingest::av::mark;
use rustix::process::Signal;

use super::Frame;
use crate::process::{Process, Stdout};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result};

/// Width and height that pictures are scaled to: a player may switch renditions on the way.
const SIZE: (usize, usize) = (192, 108);

/// Plays the list of one video rendition until `count` pictures are decoded.
///
/// # Errors
/// If GStreamer fails, or takes longer than `bound`.
pub fn frames(url: &str, count: u64, bound: Duration) -> Result<Vec<Frame>> {
    let mut frames = decode(url, Some(count), bound)?;
    frames.truncate(count as usize);
    Ok(frames)
}

/// Decodes the pictures of joined segments.
///
/// # Errors
/// As [`frames`].
pub fn frames_of_bytes(bytes: &[u8], bound: Duration) -> Result<Vec<Frame>> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let path = dir.path().join("joined.mp4");
    std::fs::write(&path, bytes).context("joined segments")?;
    decode(&format!("file://{}", path.display()), None, bound)
}

/// Decodes until the end, or until there are `count` pictures.
fn decode(url: &str, count: Option<u64>, bound: Duration) -> Result<Vec<Frame>> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let file = dir.path().join("pictures");
    let (width, height) = SIZE;
    let pipeline = format!(
        "uridecodebin uri={url} ! queue ! videoconvert ! videoscale ! \
         video/x-raw,format=GRAY8,width={width},height={height},pixel-aspect-ratio=1/1 ! \
         identity silent=false ! filesink sync=false buffer-mode=unbuffered location={}",
        file.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-v").args(pipeline.split_whitespace());
    let log = dir.path().join("log");
    let mut process = Process::spawn("gst-launch-1.0", &mut command, Stdout::Log, &log)?;
    drop(process.stdin()?);
    let enough = count.map(|count| count * (width * height) as u64);
    until("picture enough from GStreamer", bound, || {
        let size = std::fs::metadata(&file).map_or(0, |file| file.len());
        let done = process.exited().is_some() || enough.is_some_and(|enough| size >= enough);
        Ok(Look::at(done.then_some(()), format!("{size} bytes; {}", process.log_tail(5))))
    })?;
    // A live source has no end by itself; on this signal it stops and says the rest.
    process.signal(Signal::INT);
    process.wait(bound)?;
    let report = process.log();
    let stamps: Vec<i64> = report.lines().filter_map(pts).collect();
    let pictures = std::fs::read(&file).context("pictures by GStreamer")?;
    // Caps are negotiated before the first picture and stay, so that each has the same size.
    let frames: Vec<Frame> = pictures
        .chunks_exact(width * height)
        .zip(&stamps)
        .map(|(picture, pts)| Frame {
            pts_ns: *pts,
            mark: mark::read(picture, width, width, height),
        })
        .collect();
    let errors: Vec<&str> = report.lines().filter(|l| l.contains("ERROR")).take(8).collect();
    let got = frames.len() as u64;
    if !errors.is_empty() || got < count.unwrap_or(1) {
        return Err(Failure::new(format!("GStreamer on {url}: {got} pictures; {errors:#?}")));
    }
    Ok(frames)
}

/// Presentation time in a message of `identity`: `… pts: 0:00:01.033333333, duration: …`.
fn pts(line: &str) -> Option<i64> {
    if !line.contains("last-message = chain") {
        return None;
    }
    let (_, rest) = line.split_once("pts: ")?;
    let stamp = rest.split(',').next()?;
    let mut parts = stamp.split(':');
    let hours: i64 = parts.next()?.trim().parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let (seconds, nanos) = parts.next()?.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i64 = nanos.parse().ok()?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos)
}
