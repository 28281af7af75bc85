//! Breaks every twenty seconds, and what they cost: the latency of both players is what it is without.

use std::time::Duration;

use harness::clock::now_ms;
use harness::player::{Latency, Library, Player, Stage};
use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::{Context, Result};
use packager::time::{FrameRate, Timescale, Timestamp, iso};

use super::{PLAYABLE_WITHIN, cue_of};

const RATE: FrameRate = FrameRate::new(30, 1);
const EVERY_MS: u64 = 20_000;
/// On no boundary of 1.6 s with either end.
const LASTS: &str = "9.7";
/// How much more latency may be measured with breaks than without: a few frames, as between any two
/// measurements of the same thing.
const MORE_MS: u64 = 150;

/// Plays for so long with these many breaks ahead; gives each player's latency.
fn play(server: &Server, length: Duration, breaks: u64) -> Result<Vec<(Library, Latency)>> {
    let stage = Stage::open()?;
    let mut players = Vec::new();
    for library in [Library::HlsJs, Library::DashJs] {
        players.push(Player::start(&stage, library, &server.url(""), "a")?);
    }
    for player in &players {
        player.wait_started(PLAYABLE_WITHIN)?;
    }
    let begun = now_ms();
    for n in 0..breaks {
        let at = begun + 6_000 + n * EVERY_MS;
        let at = iso(Timestamp::new(at.cast_signed(), Timescale::MILLIS));
        let (answer, done) = cue_of(server, "a", &["out", "--at", &at, "--duration", LASTS])?;
        assert!(done, "{answer}");
    }
    let mut found = Vec::new();
    for player in &players {
        player.wait_played(length, length * 2)?;
        let report = player.smooth()?;
        assert!(report.cues.len() as u64 >= breaks, "{breaks} breaks: {:?}", report.cues);
        for cue in &report.cues {
            println!(
                "{:?}: a cue {:.0} ms behind its frame",
                player.library(),
                cue.shown_ms - cue.date_ms
            );
        }
        found.push((player.library(), report.latency_ms.context("a latency")?));
    }
    Ok(found)
}

/// Plays without breaks and with them.
pub(crate) fn session() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["180p"])])?;
    let mut publisher = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let without = play(&server, Duration::from_secs(60), 0)?;
    let with = play(&server, Duration::from_secs(110), 5)?;
    publisher.check()?;
    println!("without breaks {without:?}\nwith a break every 20 s {with:?}");
    for ((library, without), (_, with)) in without.iter().zip(&with) {
        let kept = with.p50 <= without.p50 + MORE_MS && with.p95 <= without.p95 + MORE_MS;
        assert!(kept, "{library:?}: {without:?} without breaks, {with:?} with them");
    }
    server.stop()
}
