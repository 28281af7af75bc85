//! What SRT adds to the time from a picture's moment to its segment, over RTMP on the same work.

use std::time::{Duration, Instant};

use packager::time::FrameRate;

use super::Measure;
use crate::publisher::{Publisher, Source};
use crate::reader::{ffmpeg, full_mark};
use crate::server::{ChannelConfig, LEAD_IN, Server};
use crate::witness::{Watch, Witness};
use crate::{Context, Result, clock};

const RATE: FrameRate = FrameRate::new(25, 1);
/// Segments that are looked at.
const SEGMENTS: u64 = 15;
/// What the connection is asked for.
const LATENCY: Duration = Duration::from_millis(120);
/// What SRT may add, that included.
const MOST_ADDED_MS: i64 = 200;

/// How long after the moment drawn into its last picture each segment was listed, in milliseconds,
/// shortest first.
fn delays(publish: impl FnOnce(&Server) -> Result<Publisher>) -> Result<Vec<i64>> {
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let mut publisher = publish(&server)?;
    server.wait_playable("a", Duration::from_secs(20))?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let (first, last) = server.numbers("a")?;
    let from = last.max(first + LEAD_IN) + 1;
    server.wait_segment("a", from + SEGMENTS, Duration::from_secs(90))?;
    publisher.check()?;
    let feed = publisher.feed();
    let record = witness.finish()?;
    server.stop()?;
    let (now, now_ms) = (Instant::now(), clock::now_ms() as i64);
    let track = record.track("source")?;
    let (init, _) = track.inits.values().next().context("an init segment")?;
    let mut delays = Vec::new();
    for (_, segment) in track.segments.range(from..) {
        let frames = ffmpeg::frames_of_bytes(&[init.as_ref(), segment.bytes.as_ref()].concat())?;
        let mark = frames.last().and_then(|frame| frame.mark).context("a mark")?;
        let drawn = full_mark(mark, feed.start_ms) as i64;
        let ago = now.saturating_duration_since(segment.listed).as_millis() as i64;
        delays.push(now_ms - ago - drawn);
    }
    delays.sort_unstable();
    Ok(delays)
}

/// Measures it.
///
/// # Errors
/// A server does not start, or a publisher ends.
pub fn measure() -> Result<Vec<Measure>> {
    let source = || Source::tiny(RATE);
    let rtmp = delays(|server| source().publish(&server.publish_url("a", None)))?;
    let srt = delays(|server| source().publish_srt(&server.srt("a", None).with_latency(LATENCY)))?;
    let middle = |delays: &[i64]| delays.get(delays.len() / 2).copied().context("a segment");
    let (srt_ms, rtmp_ms) = (middle(&srt)?, middle(&rtmp)?);
    let added = srt_ms - rtmp_ms;
    let seconds = |ms: i64| format!("{:.2} s", ms as f64 / 1_000.0);
    Ok(vec![Measure {
        name: "last picture drawn → segment listed, pass-through, SRT at 120 ms".into(),
        ours: format!("p50 {}", seconds(srt_ms)),
        peer: format!("{} over RTMP", seconds(rtmp_ms)),
        ratio: format!("{:+.2} s", added as f64 / 1_000.0),
        bar: format!("≤ +{}", seconds(MOST_ADDED_MS)),
        met: added <= MOST_ADDED_MS,
        method: format!(
            "ffmpeg, 320x180 at 25 fps with a key frame each second, on the same machine, to a server \
             of its own each time; the clock in the last picture of {} segments against the moment \
             at which a playlist lists the segment.",
            srt.len()
        ),
    }])
}
