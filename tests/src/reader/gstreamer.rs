//! Decoding by GStreamer, straight from a live address through its own HLS and DASH players.

use std::process::Command;
use std::time::Duration;

use ingest::av::mark;

use super::Frame;
use crate::{Context, Failure, Result, process};

/// Width and height that pictures are scaled to: a player may switch renditions on the way.
const SIZE: (usize, usize) = (192, 108);

/// Plays a live address until `count` pictures are decoded.
///
/// # Errors
/// If GStreamer fails, or takes longer than `bound`.
pub fn frames(url: &str, count: u64, bound: Duration) -> Result<Vec<Frame>> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let file = dir.path().join("pictures");
    let (width, height) = SIZE;
    let pipeline = format!(
        "uridecodebin uri={url} ! queue ! videoconvert ! videoscale ! \
         video/x-raw,format=GRAY8,width={width},height={height},pixel-aspect-ratio=1/1 ! \
         identity name=seen silent=false eos-after={count} ! filesink sync=false location={}",
        file.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-v").args(pipeline.split_whitespace());
    let output = process::run("gst-launch-1.0", &mut command, bound)?;
    let report = String::from_utf8_lossy(&output.stdout);
    let stamps: Vec<i64> = report.lines().filter_map(pts).collect();
    let pictures = std::fs::read(&file).context("pictures by GStreamer")?;
    let frames: Vec<Frame> = pictures
        .chunks_exact(width * height)
        .zip(&stamps)
        .map(|(picture, pts)| Frame {
            pts_ns: *pts,
            mark: mark::read(picture, width, width, height),
        })
        .collect();
    if (frames.len() as u64) < count {
        let lines = report.lines().chain(output.stderr.lines());
        let errors: Vec<&str> =
            lines.filter(|l| l.contains("ERROR") || l.contains("WARN")).take(8).collect();
        let got = frames.len();
        let text = format!("GStreamer on {url}: {got} of {count} pictures; {errors:#?}");
        return Err(Failure::new(text));
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
