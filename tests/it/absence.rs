//! The publisher is away for a while: viewers watch on, others join, nobody notices more than a
//! picture that stands.

use std::time::Duration;

use harness::player::{Library, Player, Stage};
use harness::publisher::{Publisher, Source};
use harness::reader::full_mark;
use harness::server::{ChannelConfig, Server};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;

use crate::examine;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// What a viewer who joins has to wait for the picture.
const JOINS_WITHIN: Duration = Duration::from_secs(5);
/// From the first frame of a publisher that returns to its first picture on the channel: one GOP
/// and half a second, three times that on a machine that is shared.
const BACK_WITHIN: Duration = Duration::from_millis(3 * (1_000 + 500));

/// A channel with viewers whose publisher is killed, and comes back with another size when `away` has
/// been made without it. Gives what the witness has seen.
pub(crate) fn absence(away: Duration) -> Result<Record> {
    let (record, second) = absence_on(ChannelConfig::tiny("a").patient(), away, &Library::ALL)?;
    let back = first_picture(&record, &second)?;
    println!("first new picture after {back:?}");
    assert!(back <= BACK_WITHIN, "the first new picture came after {back:?}");
    Ok(record)
}

/// The same on a channel `a` that is configured like this, watched by these; gives the second
/// publisher too.
pub(crate) fn absence_on(
    channel: ChannelConfig,
    away: Duration,
    watched_by: &[Library],
) -> Result<(Record, Publisher)> {
    let server = Server::start(&[channel.with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut first = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let join = |library| Player::start(&stage, library, &server.url(""), "a");
    let viewers = watched_by.iter().map(|library| join(*library)).collect::<Result<Vec<_>>>()?;
    for viewer in &viewers {
        viewer.wait_started(PLAYABLE_WITHIN)?;
        viewer.wait_played(Duration::from_secs(3), PLAYABLE_WITHIN)?;
    }
    first.kill();
    let (_, left) = server.numbers("a")?;
    server.wait_state("a", "holding", Duration::from_secs(10))?;
    // Deep enough in the hole that all that a player starts with was made without a source.
    server.wait_made("a", left, away / 2)?;
    let joined = [Library::HlsJs, Library::DashJs].map(join);
    for player in joined.into_iter().collect::<Result<Vec<_>>>()? {
        let took = player.wait_started(PLAYABLE_WITHIN)?;
        println!("{:?} joined within the hole after {took:?}", player.library());
        assert!(took <= JOINS_WITHIN, "{:?} started after {took:?}", player.library());
        player.wait_played(Duration::from_secs(3), PLAYABLE_WITHIN)?;
        player.smooth()?;
    }
    server.wait_made("a", left, away)?;
    let second = Source::tiny(FrameRate::new(30, 1)).with_size(480, 270).publish(&url)?;
    // Long enough that all have what they had in store behind them.
    let more = Duration::from_secs(10);
    let goals =
        viewers.iter().map(|viewer| Ok(viewer.played()? + more)).collect::<Result<Vec<_>>>()?;
    for (viewer, goal) in viewers.iter().zip(goals) {
        viewer.wait_played(goal, more * 3)?;
        let report = viewer.smooth()?;
        println!("{:?} played {:.1} s without a stall", viewer.library(), report.played_seconds);
    }
    let record = witness.finish()?;
    record.clean()?;
    server.stop()?;
    Ok((record, second))
}

/// How long after a publisher's first frame a picture of its own stands on the channel's clock.
fn first_picture(record: &Record, publisher: &Publisher) -> Result<Duration> {
    let track = record.tracks.iter().find(|t| !t.rendition.audio).context("a video rendition")?;
    let start_ms = publisher.feed().start_ms;
    let frames = examine::frames(track)?;
    let new = frames
        .iter()
        .find(|frame| frame.mark.is_some_and(|mark| full_mark(mark, start_ms) >= start_ms));
    let at_ms = new.context("a new picture")?.pts_ns / 1_000_000;
    Ok(Duration::from_millis(at_ms.unsigned_abs().saturating_sub(start_ms)))
}

/// All is one run, listed without a gap.
pub(crate) fn one_run(record: &Record) -> Result {
    for track in &record.tracks {
        let name = &track.rendition.name;
        if track.inits.len() != 1 || track.segments.values().any(|s| s.object.discontinuity) {
            return Err(Failure::new(format!("{name}: a new run")));
        }
    }
    Ok(())
}

#[test]
fn a_publisher_away_for_eight_seconds_costs_viewers_nothing() -> Result {
    one_run(&absence(Duration::from_secs(8))?)
}
