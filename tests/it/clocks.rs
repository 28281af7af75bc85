//! The latency meter is itself measured.

use std::time::Duration;

use harness::publisher::Source;
use harness::reader::full_mark;
use harness::server::{ChannelConfig, Server};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result, clock};
use packager::time::FrameRate;
use serde_json::Value;

use crate::browser::play;
use crate::examine;

/// Put into the path between the moment and its broadcaster.
const DELAY: Duration = Duration::from_millis(500);
/// What the meter may be wrong by.
const TOLERANCE_MS: i64 = 50;
/// Each of the two broadcasters' pictures are placed within this of their arrival.
const PLACED_MS: i64 = 2 * 30;
/// Measuring begins this long after the change: what the browser had buffered before is played.
const SETTLE_MS: u64 = 10_000;

/// Values by moment: milliseconds since the epoch, and milliseconds.
type Series = Vec<(u64, i64)>;

/// Latencies that the page measured, and how much of each is not the player's own place: one that stalls
/// and goes on elsewhere changes the first.
fn latencies(seen: &Value) -> Result<(Series, Series)> {
    let looks = seen["latencySeries"].as_array().context("latencySeries")?;
    let looks = looks
        .iter()
        .filter_map(|look| Some((look[0].as_u64()?, look[1].as_i64()?, look[2].as_i64()?)));
    Ok(looks.map(|(at, latency, behind)| ((at, latency), (at, latency - behind))).unzip())
}

/// How old each picture was at its own time, by the moment drawn into it.
fn ages(record: &Record, near_ms: u64) -> Result<Series> {
    let track = record.tracks.iter().find(|track| !track.rendition.audio).context("a picture")?;
    let frames = examine::frames(track)?;
    let marked = frames.iter().filter_map(|frame| Some((frame.pts_ns, frame.mark?)));
    let age = |(pts_ns, mark): (i64, u64)| {
        let mark_ms = full_mark(mark, near_ms);
        (mark_ms, pts_ns / 1_000_000 - mark_ms.cast_signed())
    };
    Ok(marked.map(age).collect())
}

/// Median of the values within a time.
fn median(series: &Series, from_ms: u64, to_ms: u64) -> Result<i64> {
    let within = series.iter().filter(|(at, _)| (from_ms..to_ms).contains(at));
    let mut within: Vec<i64> = within.map(|(_, value)| *value).collect();
    within.sort_unstable();
    let middle = within.get(within.len() / 2).copied();
    middle.context(format!("nothing measured from {from_ms} to {to_ms}"))
}

/// A second broadcaster, whose pictures are late from the first on, takes over. (A path that becomes
/// slower midway is caught by the adaptive buffer and by the player's, and shows as nothing.) The player
/// keeps to real time: it would make up for what the path adds while that is measured.
#[test]
fn half_a_second_put_into_the_path_shows_as_half_a_second() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let source = Source::tiny(FrameRate::new(30, 1));
    let mut direct = source.clone().publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(10))?;
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + 3, Duration::from_secs(20))?;
    let url = server.url("/watch/a");
    let browser = std::thread::spawn(move || play(&url, "hls", 35, &["--steady"]));
    let begun = clock::now_ms();
    // Half of the time for each broadcaster.
    let (_, now) = server.numbers("a")?;
    server.wait_segment("a", now + 9, Duration::from_secs(30))?;
    direct.check()?;
    let changed = clock::now_ms();
    let mut late = source.with_lag(DELAY).publish(&server.publish_url("a", None))?;
    let seen = browser.join().map_err(|_| Failure::new("the browser's thread panicked"))??;
    late.check()?;
    let record = witness.finish()?;
    record.clean()?;
    let ((latencies, apart), ages) = (latencies(&seen)?, ages(&record, begun)?);
    let end = latencies.last().context("a latency")?.0;
    let before = median(&latencies, begun, changed)?;
    let after = median(&latencies, changed + SETTLE_MS, end)?;
    // Of the very pictures that were on the screen then: where a source is placed on the output clock
    // follows the machine's load, by some tens of milliseconds and within seconds.
    let drawn = |from: u64, to: u64, latency: i64| {
        let latency = latency.unsigned_abs();
        median(&ages, from.saturating_sub(latency), to.saturating_sub(latency))
    };
    let age_before = drawn(begun, changed, before)?;
    let added = drawn(changed + SETTLE_MS, end, after)? - age_before;
    let shown = median(&apart, changed + SETTLE_MS, end)? - median(&apart, begun, changed)?;
    let wanted = DELAY.as_millis() as i64;
    let measured =
        format!("meter {before} -> {after}, {shown} of it added, pictures {age_before} + {added}");
    assert!((shown - added).abs() <= TOLERANCE_MS, "the meter is wrong: {measured}");
    assert!((shown - wanted).abs() <= TOLERANCE_MS + PLACED_MS, "{shown} ms shown: {measured}");
    Ok(())
}
