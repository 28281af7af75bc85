//! A primary that is gone, and the replica that an edge turns to.

use harness::edge::Edge;
use harness::player::{Library, Player, Stage};

use super::*;

/// How long the primary is gone before it is started again.
const GONE: Duration = Duration::from_secs(5);

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn players_behind_an_edge_play_on_while_a_replica_stands_in_for_a_dead_primary() -> Result {
    let store = Store::start()?;
    let section = store.section(store.address);
    let (mut server, mut publisher) = on_air(&section, "")?;
    let replica = Server::start_storing(
        &[ChannelConfig::pass_through("a")],
        &format!("{section}role = \"replica\"\n"),
    )?;
    server.wait_more("a", 3)?;
    replica.wait_playable("a", SOON)?;
    let edge = Edge::with_replica(server.http, replica.http)?;
    let stage = Stage::open()?;
    let join = |library| Player::start(&stage, library, &edge.url(""), "a");
    let players =
        [Library::HlsJs, Library::DashJs].map(join).into_iter().collect::<Result<Vec<_>>>()?;
    for player in &players {
        player.wait_started(SOON)?;
        player.wait_played(Duration::from_secs(4), SOON)?;
    }
    // With its guardian: nobody holds the ports.
    server.signal(rustix::process::Signal::KILL)?;
    let killed = Instant::now();
    publisher.wait(SOON).context("the publisher loses its connection")?;
    // A viewer who comes now finds a channel, with everything that S3 has.
    let mut listed = 0;
    for (_, list) in hls::fetch(&Client::afresh(), &edge.url("/live/a/index.m3u8"))? {
        for object in &list.objects {
            Client::afresh().get(&object.url)?.ok(&object.url)?;
            listed += 1;
        }
    }
    assert!(listed >= 8, "{listed}");
    std::thread::sleep(GONE.saturating_sub(killed.elapsed()));
    server.start_again()?;
    let source = Source { gop: 25, ..Source::tiny(RATE) };
    let mut publisher = source.publish(&server.publish_url("a", None))?;
    for player in &players {
        player.wait_played(player.played()? + Duration::from_secs(6), Duration::from_secs(40))?;
    }
    for player in &players {
        let report = player.report()?;
        println!("{:?} stalls {:?}", player.library(), report.stalls);
        let attached = report.reloads == 0 && !report.ended && report.fatal.is_empty();
        assert!(attached, "{report:#?}");
    }
    publisher.check()?;
    drained(&server, SOON)?;
    replica.stop()?;
    server.stop()
}
