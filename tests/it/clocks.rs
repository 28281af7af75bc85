//! The latency meter is itself measured.

use std::collections::BTreeMap;
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
/// Each of the two broadcasters' pictures are placed within this of their arrival, which is as even as
/// its machine is idle.
const PLACED_MS: i64 = 2 * 75;
/// Measuring begins this long after the change: what the browser had buffered before is played.
const SETTLE_MS: u64 = 10_000;

/// The page's figure is the median of a second, to which comes a look of its own.
const STEADY_FOR_MS: u64 = 1_500;
/// How far a player that stands still is from its place, at the most.
const STEADY_MS: i64 = 100;

/// What the page said at a moment.
#[derive(Clone, Copy)]
struct Look {
    /// Milliseconds since the epoch.
    at: u64,
    /// How old the picture on the screen was, in milliseconds.
    latency: i64,
    /// How far the player is behind the clock of the media, in milliseconds.
    behind: i64,
}

impl Look {
    /// How much of the latency is not the player's own place: one that stalls and goes on elsewhere
    /// changes that.
    fn apart(&self) -> i64 {
        self.latency - self.behind
    }

    /// The moment that was drawn into the picture.
    fn picture(&self) -> u64 {
        self.at.saturating_sub(self.latency.unsigned_abs())
    }
}

fn looks(seen: &Value) -> Result<Vec<Look>> {
    let looks = seen["latencySeries"].as_array().context("latencySeries")?;
    let look = |look: &Value| {
        let (at, latency, behind) = (look[0].as_u64()?, look[1].as_i64()?, look[2].as_i64()?);
        Some(Look { at, latency, behind })
    };
    Ok(steady(looks.iter().filter_map(look).collect()))
}

/// Those before which the player stood at one place for as long as its figure is the median of: the age of
/// pictures on the screen says nothing of one that stalls or seeks, on a machine that is shared.
fn steady(looks: Vec<Look>) -> Vec<Look> {
    let is_steady = |(index, look): &(usize, &Look)| {
        let before = looks.iter().take(*index).rev();
        let mut before = before.take_while(|before| before.at + STEADY_FOR_MS > look.at);
        before.all(|before| (before.behind - look.behind).abs() < STEADY_MS)
    };
    let steady = looks.iter().enumerate().filter(is_steady);
    steady.map(|(_, look)| *look).collect()
}

/// How old each picture was at its own time, by the moment drawn into it.
fn ages(record: &Record, near_ms: u64) -> Result<BTreeMap<u64, i64>> {
    let track = record.tracks.iter().find(|track| !track.rendition.audio).context("a picture")?;
    let frames = examine::frames(track)?;
    let marked = frames.iter().filter_map(|frame| Some((frame.pts_ns, frame.mark?)));
    let age = |(pts_ns, mark): (i64, u64)| {
        let mark_ms = full_mark(mark, near_ms);
        (mark_ms, pts_ns / 1_000_000 - mark_ms.cast_signed())
    };
    Ok(marked.map(age).collect())
}

/// The age of the picture that was drawn at `mark_ms` or last before.
fn age_at(ages: &BTreeMap<u64, i64>, mark_ms: u64) -> Option<i64> {
    ages.range(..=mark_ms).next_back().map(|(_, age)| *age)
}

/// Median of the values within a time.
fn median(values: impl Iterator<Item = (u64, i64)>, from_ms: u64, to_ms: u64) -> Result<i64> {
    let within = values.filter(|(at, _)| (from_ms..to_ms).contains(at));
    let mut within: Vec<i64> = within.map(|(_, value)| value).collect();
    within.sort_unstable();
    let middle = within.get(within.len() / 2).copied();
    middle.context(format!("nothing measured from {from_ms} to {to_ms}"))
}

/// A second broadcaster, whose pictures are late from the first on, takes over. (A path that becomes
/// slower midway is caught by the adaptive buffer and by the player's, and shows as nothing.) The player
/// keeps to real time: it would make up for what the path adds while that is measured.
#[test]
fn half_a_second_put_into_the_path_shows_as_half_a_second() -> Result {
    // Of one rung, which stays on whatever else the machine does.
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["180p"])])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let source = Source::tiny(FrameRate::new(30, 1));
    let mut direct = source.clone().publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(10))?;
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + 3, Duration::from_secs(20))?;
    let url = server.url("/watch/a");
    let browser = std::thread::spawn(move || play(&url, "hls", 38, &["--steady"]));
    let begun = clock::now_ms();
    // Half of the time for each broadcaster.
    let (_, now) = server.numbers("a")?;
    server.wait_segment("a", now + 12, Duration::from_secs(30))?;
    direct.check()?;
    let changed = clock::now_ms();
    let mut late = source.with_lag(DELAY).publish(&server.publish_url("a", None))?;
    let seen = browser.join().map_err(|_| Failure::new("the browser's thread panicked"))??;
    late.check()?;
    let record = witness.finish()?;
    record.clean()?;
    let (looks, ages) = (looks(&seen)?, ages(&record, begun)?);
    let end = looks.last().context("a look")?.at;
    let of = |value: fn(&Look) -> i64, from: u64, to: u64| {
        median(looks.iter().map(|look| (look.at, value(look))), from, to)
    };
    // Of the very pictures that were on the screen then: where a source is placed on the output clock
    // follows the machine's load, by some tens of milliseconds and within seconds.
    let beside = |from: u64, to: u64| {
        let off = |look: &Look| Some((look.at, look.apart() - age_at(&ages, look.picture())?));
        median(looks.iter().filter_map(off), from, to)
    };
    let settled = changed + SETTLE_MS;
    let shown = of(Look::apart, settled, end)? - of(Look::apart, begun, changed)?;
    let (before, after) = (beside(begun, changed)?, beside(settled, end)?);
    let wanted = DELAY.as_millis() as i64;
    let latency = |look: &Look| look.latency;
    let measured = format!(
        "meter {} -> {}, {shown} of it added, {before} and {after} beside the pictures' age",
        of(latency, begun, changed)?,
        of(latency, settled, end)?
    );
    println!("{measured}");
    assert!((after - before).abs() <= TOLERANCE_MS, "the meter is wrong: {measured}");
    assert!((shown - wanted).abs() <= TOLERANCE_MS + PLACED_MS, "{shown} ms shown: {measured}");
    Ok(())
}
