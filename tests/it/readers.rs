//! The harness against software that is known to be right: what a publisher draws, the readers read.

use std::process::Command;
use std::time::Duration;

use harness::publisher::{Broadcaster, Publisher, Source};
use harness::reader::{ffmpeg, fragments, full_mark, hls};
use harness::wait::{Look, until};
use harness::{Context, Result, process};
use ingest::av::mark;
use packager::time::FrameRate;

/// Publishes into a file until at least this many frames are sent.
fn record(source: Source, path: &str, frames: u64) -> Result<Publisher> {
    let mut publisher = source.publish(path)?;
    until("frames sent", Duration::from_secs(30), || {
        publisher.check()?;
        let sent = publisher.frames();
        Ok(Look::at((sent >= frames).then_some(()), format!("{sent} frames")))
    })?;
    Ok(publisher)
}

#[test]
fn every_frame_and_tick_of_a_publisher_is_read_back() -> Result {
    let dir = tempfile::tempdir().context("folder")?;
    let flv = dir.path().join("a.flv");
    let source = Source::tiny(FrameRate::new(25, 1)).with_b_frames(2);
    let publisher = record(source, flv.to_str().context("path")?, 75)?;
    let feed = publisher.feed();
    let sent = publisher.finish()?;
    let frames = ffmpeg::frames(flv.to_str().context("path")?, &[], None)?;
    assert_eq!(frames.len() as u64, sent);
    for (n, frame) in frames.iter().enumerate() {
        let mark = frame.mark.context(format!("mark of frame {n}"))?;
        assert_eq!(feed.frame_of(mark), Some(n as u64));
    }
    assert!(frames.windows(2).all(|w| w[0].pts_ns < w[1].pts_ns));
    let sound = ffmpeg::sound(flv.to_str().context("path")?)?;
    let ticks = mark::read_ticks(&sound.samples, sound.rate);
    assert!(ticks.len() >= 2, "{ticks:?}");
    for tick in ticks {
        let at = sound.start_ns + tick.offset_samples as i64 * 1_000_000_000 / 48_000;
        let first = full_mark(frames[0].mark.context("mark")?, feed.start_ms) as i64;
        let wall_ms = first + (at - frames[0].pts_ns) / 1_000_000;
        let second = i64::from(tick.second_mod_64);
        // A whole second, and the one that is sounded: off by the AAC priming of 1024 samples.
        let off = (wall_ms - second * 1000).rem_euclid(64_000);
        let off = off.min(64_000 - off);
        assert!(off <= 40, "tick {second} at {wall_ms}: {off} ms off");
    }
    Ok(())
}

#[test]
fn segments_of_another_packager_are_read() -> Result {
    let dir = tempfile::tempdir().context("folder")?;
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let publisher = record(Source::tiny(FrameRate::new(30, 1)), &path("a.flv"), 90)?;
    let feed = publisher.feed();
    let sent = publisher.finish()?;
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-i", &path("a.flv"), "-an", "-c", "copy"]);
    command.args(["-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4"]);
    command.args(["-hls_playlist_type", "event", &path("a.m3u8")]);
    let made = process::run("ffmpeg", &mut command, Duration::from_secs(20))?;
    assert!(made.status.success(), "{}", made.stderr);
    let text = std::fs::read_to_string(path("a.m3u8")).context("playlist")?;
    let playlist = hls::media("http://h/a.m3u8", &text)?;
    assert_eq!(playlist.objects.len() as u64, sent.div_ceil(30));
    let file = |url: &str| -> Result<bytes::Bytes> {
        let name = url.rsplit('/').next().context("name")?;
        Ok(std::fs::read(path(name)).context(url)?.into())
    };
    let init_bytes = file(&playlist.objects[0].init)?;
    let init = fragments::read_init(&init_bytes)?;
    let mut expected = 0;
    let mut segments = Vec::new();
    for object in &playlist.objects {
        let bytes = file(&object.url)?;
        for fragment in fragments::read_segment(&init, &bytes)? {
            assert_eq!(fragment.tfdt, expected);
            assert!(fragment.samples[0].sync);
            expected = fragment.end();
        }
        segments.push(bytes);
    }
    let frames = ffmpeg::frames_of_bytes(&harness::reader::join(&init_bytes, &segments))?;
    let seen: Vec<_> = frames.iter().map(|f| f.mark.and_then(|m| feed.frame_of(m))).collect();
    assert_eq!(seen, (0..sent).map(Some).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_other_broadcasters_send_the_same_frames() -> Result {
    let dir = tempfile::tempdir().context("folder")?;
    let path = dir.path().join("hevc.flv").to_string_lossy().into_owned();
    let source = Source::tiny(FrameRate::new(30_000, 1001)).by(Broadcaster::NewerFfmpegHevc);
    let publisher = record(source, &path, 60)?;
    let sent = publisher.finish()?;
    let bytes = std::fs::read(&path).context(&path)?;
    // FourCC of an Enhanced RTMP video tag; Debian's ffmpeg can't read it back.
    assert!(bytes.windows(4).any(|w| w == b"hvc1"), "{} bytes without hvc1", bytes.len());
    assert!(sent >= 60);
    Ok(())
}
