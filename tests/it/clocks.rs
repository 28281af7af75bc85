//! The latency meter is itself measured.

use std::time::Duration;

use harness::publisher::{Publisher, Source};
use harness::server::{ChannelConfig, Server};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result, clock};
use packager::time::FrameRate;
use serde_json::Value;

use crate::browser::play;
use crate::examine;

/// Put into the path between the moment and its broadcaster.
const DELAY: Duration = Duration::from_millis(500);
/// What the meter may be wrong by.
const TOLERANCE_MS: i64 = 50;
/// Measuring begins this long after the change: what the browser had buffered before is played.
const SETTLE_MS: u64 = 10_000;

/// Median of the latencies measured within a time.
fn median(series: &Value, from_ms: u64, to_ms: u64) -> Result<i64> {
    let mut within: Vec<i64> = series
        .as_array()
        .context("latencySeries")?
        .iter()
        .filter(|pair| pair[0].as_u64().is_some_and(|at| (from_ms..to_ms).contains(&at)))
        .filter_map(|pair| pair[1].as_i64())
        .collect();
    within.sort_unstable();
    let middle = within.get(within.len() / 2).copied();
    middle.context(format!("no latency measured from {from_ms} to {to_ms}"))
}

/// How old the newest picture was at its own time, in milliseconds.
fn age(server: &Server, publisher: &Publisher) -> Result<i64> {
    let frames = examine::newest(server, "a")?;
    let shown = examine::shown(&frames, publisher.feed())?;
    let last = shown.last().context("a picture")?;
    Ok(last.pts_ns / 1_000_000 - last.mark_ms as i64)
}

/// A second broadcaster, whose pictures are late from the first on, takes over. (A path that becomes
/// slower midway is caught by the adaptive buffer and by the player's, and shows as nothing.)
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
    let browser = std::thread::spawn(move || play(&url, "hls", 35, &[]));
    let begun = clock::now_ms();
    // Half of the time for each broadcaster.
    let (_, now) = server.numbers("a")?;
    server.wait_segment("a", now + 9, Duration::from_secs(30))?;
    direct.check()?;
    let age_before = age(&server, &direct)?;
    let changed = clock::now_ms();
    let mut late = source.with_lag(DELAY).publish(&server.publish_url("a", None))?;
    let seen = browser.join().map_err(|_| Failure::new("the browser's thread panicked"))??;
    late.check()?;
    let added = age(&server, &late)? - age_before;
    witness.finish()?.clean()?;
    let series = &seen["latencySeries"];
    let before = median(series, begun, changed)?;
    let after = median(series, changed + SETTLE_MS, u64::MAX)?;
    let shown = after - before;
    let wanted = DELAY.as_millis() as i64;
    let measured = format!("meter {before} -> {after}, pictures {age_before} + {added}");
    assert!((shown - added).abs() <= TOLERANCE_MS, "the meter is wrong: {measured}");
    assert!((shown - wanted).abs() <= TOLERANCE_MS, "{shown} ms shown: {measured}");
    Ok(())
}
