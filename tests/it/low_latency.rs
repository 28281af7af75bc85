//! Players of low latency, and then such without it, on one channel while its worker dies and its source
//! is lost; every playlist and manifest of the session is judged. Six at once want more of a machine of
//! two cores than it has beside the server and its encoder.

use std::time::Duration;

use harness::player::{Library, Player, Report, Stage};
use harness::process::harm;
use harness::publisher::Source;
use harness::rules::dash::{Schema, check_schema};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;
use rustix::process::Signal;

const RATE: FrameRate = FrameRate::new(30, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// A viewer of low latency is this close to live on a machine that is shared; without it nobody is
/// closer than three segments of 1.6 s.
const CLOSE: Duration = Duration::from_secs(4);

/// Players that stay as close to live as they can.
pub(crate) const CLOSE_ONES: [Library; 3] =
    [Library::HlsJs, Library::DashJs, Library::ShakaDashLow];
/// Players of the same playlists and manifests that do not.
pub(crate) const OTHERS: [Library; 3] =
    [Library::HlsJsWithoutLowLatency, Library::ShakaDash, Library::ShakaHls];

/// Who plays, and how long each part of a session lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// The players.
    pub(crate) players: [Library; 3],
    /// Play before, between and after the faults.
    pub(crate) play: Duration,
    /// How long the source is away.
    pub(crate) away: Duration,
}

/// Runs a session and judges it.
pub(crate) fn session(Session { players, play, away }: Session) -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut source = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let join = |library| Player::start(&stage, library, &server.url(""), "a");
    let viewers = players.into_iter().map(join).collect::<Result<Vec<_>>>()?;
    for viewer in &viewers {
        viewer.wait_started(PLAYABLE_WITHIN)?;
    }
    let play_on = || -> Result {
        let goals = viewers.iter().map(|viewer| Ok(viewer.played()? + play));
        let goals = goals.collect::<Result<Vec<_>>>()?;
        for (viewer, goal) in viewers.iter().zip(goals) {
            viewer.wait_played(goal, play * 2 + PLAYABLE_WITHIN)?;
        }
        Ok(())
    };
    play_on()?;
    for viewer in &viewers {
        let report = viewer.report()?;
        let behind = report.behind_ms.context("distance to live")?;
        println!("{:?} is {behind:.0} ms behind live", viewer.library());
        if CLOSE_ONES.contains(&viewer.library()) && behind > CLOSE.as_millis() as f64 {
            return Err(Failure::new(format!("{:?}: {report:#?}", viewer.library())));
        }
    }
    let worker = server.wait_worker("a", None, PLAYABLE_WITHIN)?;
    harm::signal(worker, Signal::KILL)?;
    server.wait_worker("a", Some(worker), PLAYABLE_WITHIN)?;
    play_on()?;
    source.kill();
    until("holding channel", Duration::from_secs(10), || {
        let state = server.status("a")?["state"].clone();
        Ok(Look::at((state == "holding").then_some(()), state.to_string()))
    })?;
    std::thread::sleep(away);
    let _source = Source::tiny(RATE).publish(&url)?;
    play_on()?;
    for viewer in &viewers {
        let report = viewer.smooth()?;
        let Report { played_seconds, latency_ms, .. } = report;
        println!(
            "{:?} played {played_seconds:.1} s smoothly, {latency_ms:?} behind",
            viewer.library()
        );
    }
    let record = witness.finish()?;
    record.clean()?;
    // What players in low latency live on came bit by bit, but for a moment of burden here and there.
    let open = record.streams.iter().filter(|stream| stream.was_open()).count();
    let live = record.streams.iter().filter(|stream| stream.came_bit_by_bit()).count();
    if live == 0 || live * 2 < open {
        return Err(Failure::new(format!("{live} of {open} open segments came bit by bit")));
    }
    if let Some(schema) = Schema::find() {
        for text in &record.manifests {
            assert_eq!(check_schema(&schema, text).context("xmllint")?, [], "{text}");
        }
    }
    server.stop()
}

#[test]
#[ignore = "players at the live edge need the machine for themselves: `make soak`"]
fn players_play_on_through_a_crash_and_a_lost_source_and_every_manifest_is_valid() -> Result {
    for players in [CLOSE_ONES, OTHERS] {
        session(Session { players, play: Duration::from_secs(6), away: Duration::from_secs(3) })?;
    }
    Ok(())
}
