//! Decoding by Debian's ffmpeg, of an address or of joined segments.

use std::process::Command;
use std::time::Duration;

use ingest::av::mark;

use super::{Frame, Sound};
use crate::process::{self, Output};
use crate::{Context, Failure, Result};

/// How long decoding may take: live input comes in real time, and the machine is shared.
const DECODE_WITHIN: Duration = Duration::from_secs(60);

/// Decodes the pictures of a file or address; the first `count` if given, which a live address
/// needs. `input_options` stand before `-i`.
///
/// # Errors
/// If ffmpeg fails, complains about the stream, or its report does not match its pictures.
pub fn frames(input: &str, input_options: &[&str], count: Option<u64>) -> Result<Vec<Frame>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-threads", "1", "-copyts"]).args(input_options);
    command.args(["-i", input, "-map", "0:v:0", "-fps_mode", "passthrough"]);
    command.args(["-vf", "showinfo=checksum=0,format=gray"]);
    if let Some(count) = count {
        command.args(["-frames:v", &count.to_string()]);
    }
    command.args(["-f", "rawvideo", "pipe:1"]);
    let output = run(&mut command, input)?;
    let mut shown = shown_frames(&output.stderr)?;
    if let Some(count) = count {
        // The filter may have seen more than was written.
        shown.truncate(count as usize);
    }
    let mut rest = output.stdout.as_slice();
    let mut frames = Vec::with_capacity(shown.len());
    for frame in &shown {
        let size = frame.width * frame.height;
        let (picture, after) = rest.split_at_checked(size).context("fewer pictures than shown")?;
        rest = after;
        let mark = mark::read(picture, frame.width, frame.width, frame.height);
        frames.push(Frame { pts_ns: frame.pts_ns, mark });
    }
    if rest.is_empty() { Ok(frames) } else { Err(Failure::new("more pictures than shown")) }
}

/// Decodes the pictures of joined segments.
///
/// # Errors
/// As [`frames`].
pub fn frames_of_bytes(bytes: &[u8]) -> Result<Vec<Frame>> {
    in_file(bytes, |path| frames(path, &[], None))
}

/// Decodes the sound of a file or address into one channel.
///
/// # Errors
/// If ffmpeg fails or complains about the stream, or the sound has a hole.
pub fn sound(input: &str) -> Result<Sound> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-threads", "1", "-copyts", "-i", input]);
    command.args(["-map", "0:a:0", "-af", "ashowinfo", "-f", "f32le", "-ac", "1", "pipe:1"]);
    let output = run(&mut command, input)?;
    let blocks: Vec<Block> = output.stderr.lines().filter_map(Block::parse).collect();
    let first = *blocks.first().context("no sound was decoded")?;
    for (before, after) in blocks.iter().zip(blocks.iter().skip(1)) {
        let expected = before.pts + before.samples;
        // FLV counts in milliseconds.
        if expected.abs_diff(after.pts) > u64::from(first.rate / 1000) {
            let text = format!("sound jumps from sample {expected} to {}", after.pts);
            return Err(Failure::new(text));
        }
    }
    let (chunks, _) = output.stdout.as_chunks::<4>();
    let samples = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let start = i128::from(first.pts) * 1_000_000_000 / i128::from(first.rate);
    Ok(Sound { rate: first.rate, start_ns: start as i64, samples })
}

/// Decodes the sound of joined segments.
///
/// # Errors
/// As [`sound`].
pub fn sound_of_bytes(bytes: &[u8]) -> Result<Sound> {
    in_file(bytes, sound)
}

/// Decodes everything in joined segments, and minds every complaint.
///
/// # Errors
/// With the first complaints.
pub fn decodes(bytes: &[u8]) -> Result {
    in_file(bytes, |path| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-threads", "1", "-copyts", "-i", path]);
        // In the clock of the media: in whole frames two pictures of a clock that is steered could seem to
        // be one.
        command.args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"]);
        let output = process::run("ffmpeg", &mut command, DECODE_WITHIN)?;
        if output.status.success() && output.stderr.trim().is_empty() {
            return Ok(());
        }
        let said: Vec<&str> = output.stderr.lines().take(3).collect();
        Err(Failure::new(format!("ffmpeg: {}: {}", output.status, said.join("; "))))
    })
}

fn in_file<T>(bytes: &[u8], read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let path = dir.path().join("joined.mp4");
    std::fs::write(&path, bytes).context("joined segments")?;
    read(path.to_str().context("a path that is text")?)
}

fn run(command: &mut Command, input: &str) -> Result<Output> {
    let output = process::run("ffmpeg", command, DECODE_WITHIN)?;
    let complaint = output.stderr.lines().find(|line| is_complaint(line));
    if output.status.success() && complaint.is_none() {
        return Ok(output);
    }
    let reason = complaint.unwrap_or("it failed");
    let lines = output.stderr.lines().filter(|line| !line.contains("showinfo"));
    let tail: Vec<&str> = lines.rev().take(12).collect();
    Err(Failure::new(format!("ffmpeg on {input}: {reason}; newest lines first: {tail:#?}")))
}

/// What a decoder says, at its standard log level, about a stream that is not whole.
fn is_complaint(line: &str) -> bool {
    const COMPLAINTS: [&str; 9] = [
        "error while decoding",
        "Invalid data found",
        "concealing",
        "non-existing PPS",
        "no frame!",
        "Non-monotonous",
        "non monotonically",
        "Missing reference",
        "decode_slice_header error",
    ];
    COMPLAINTS.iter().any(|text| line.contains(text))
}

/// A picture in the report of the `showinfo` filter.
#[derive(Clone, Copy, Debug)]
struct Shown {
    pts_ns: i64,
    width: usize,
    height: usize,
}

fn shown_frames(report: &str) -> Result<Vec<Shown>> {
    let mut time_base = None;
    let mut shown = Vec::new();
    for line in report.lines().filter(|line| line.contains("Parsed_showinfo")) {
        if let Some(text) = value(line, "config in time_base:") {
            time_base = text.trim_end_matches(',').split_once('/').and_then(|(num, den)| {
                Some((num.parse::<i128>().ok()?, den.parse::<i128>().ok()?))
            });
        } else if line.contains(" n:") && line.contains(" pts:") {
            let (num, den) = time_base.context("no time base in ffmpeg's report")?;
            let pts = value(line, " pts:").and_then(|p| p.parse::<i128>().ok());
            let pts = pts.context(format!("a picture without time: {line}"))?;
            let size = value(line, " s:").and_then(|s| s.split_once('x'));
            let (width, height) = size.context(format!("a picture without size: {line}"))?;
            shown.push(Shown {
                pts_ns: (pts * num * 1_000_000_000 / den) as i64,
                width: width.parse().context("width")?,
                height: height.parse().context("height")?,
            });
        }
    }
    Ok(shown)
}

/// A block of sound in the report of the `ashowinfo` filter.
#[derive(Clone, Copy, Debug)]
struct Block {
    pts: i64,
    samples: i64,
    rate: u32,
}

impl Block {
    fn parse(line: &str) -> Option<Self> {
        if !line.contains("Parsed_ashowinfo") {
            return None;
        }
        Some(Self {
            pts: value(line, " pts:")?.parse().ok()?,
            samples: value(line, " nb_samples:")?.parse().ok()?,
            rate: value(line, " rate:")?.parse().ok()?,
        })
    }
}

/// The word after `name` in a line of a filter's report.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(name)?;
    rest.split_whitespace().next()
}
