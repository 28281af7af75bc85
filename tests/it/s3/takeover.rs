//! A primary that is gone, the replica that an edge turns to, and the machine that takes its place.

use harness::edge::Edge;
use harness::player::{Library, Player, Stage};
use harness::process::harm;
use harness::reader::Object;

use super::*;

/// How long the primary is gone before it is started again.
const GONE: Duration = Duration::from_secs(5);

/// A primary on the air, a replica of it, and players behind an edge that turns to the replica.
struct Scene {
    _store: Store,
    server: Server,
    publisher: Publisher,
    replica: Server,
    edge: Edge,
    players: Vec<Player>,
    _stage: Stage,
}

impl Scene {
    fn open() -> Result<Self> {
        let store = Store::start()?;
        let section = store.section(store.address);
        let (server, publisher) = on_air(&section, "")?;
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
        Ok(Self { _store: store, server, publisher, replica, edge, players, _stage: stage })
    }

    /// The primary dies with its guardian: nobody holds the ports.
    fn kill(&mut self) -> Result {
        self.server.signal(rustix::process::Signal::KILL)?;
        self.publisher.wait(SOON).context("the publisher loses its connection").map(drop)
    }

    /// Somebody publishes to one of them again, and the players play on as they are.
    fn goes_on(&self, to: &Server) -> Result {
        let source = Source { gop: 25, ..Source::tiny(RATE) };
        let mut publisher = source.publish(&to.publish_url("a", None))?;
        for player in &self.players {
            player
                .wait_played(player.played()? + Duration::from_secs(6), Duration::from_secs(40))?;
        }
        for player in &self.players {
            let report = player.report()?;
            println!("{:?} stalls {:?}", player.library(), report.stalls);
            let attached = report.reloads == 0 && !report.ended && report.fatal.is_empty();
            assert!(attached, "{report:#?}");
        }
        publisher.check()?;
        drained(to, SOON)
    }
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn players_behind_an_edge_play_on_while_a_replica_stands_in_for_a_dead_primary() -> Result {
    let mut scene = Scene::open()?;
    scene.kill()?;
    let killed = Instant::now();
    // A viewer who comes now finds a channel, with everything that S3 has.
    let mut listed = 0;
    for (_, list) in hls::fetch(&Client::afresh(), &scene.edge.url("/live/a/index.m3u8"))? {
        for object in &list.objects {
            Client::afresh().get(&object.url)?.ok(&object.url)?;
            listed += 1;
        }
    }
    assert!(listed >= 8, "{listed}");
    std::thread::sleep(GONE.saturating_sub(killed.elapsed()));
    scene.server.start_again()?;
    scene.goes_on(&scene.server)?;
    scene.replica.stop()?;
    scene.server.stop()
}

/// Addresses below the server and bytes of every segment that a channel lists.
fn listed(server: &Server) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for (_, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        for object in list.objects.iter().filter(|object| !object.gap) {
            let path = object.url.strip_prefix(&server.url("")).context("an address of its own")?;
            let answer = Client::afresh().get(&object.url)?.ok(&object.url)?;
            found.insert(path.to_owned(), answer.body.to_vec());
        }
    }
    Ok(found)
}

#[test]
fn a_machine_with_an_empty_disk_takes_a_dead_ones_place() -> Result {
    let store = Store::start()?;
    let section = store.section(store.address);
    let (mut server, mut publisher) = on_air(&section, "")?;
    server.wait_more("a", 4)?;
    let (first, last) = server.numbers("a")?;
    store.wait_segment("a", last, SOON)?;
    let before = listed(&server)?;
    server.signal(rustix::process::Signal::KILL)?;
    publisher.wait(SOON).context("the publisher loses its connection")?;
    server.wait(SOON)?;
    let mut heir = Server::start_storing(&[ChannelConfig::pass_through("a")], &section)?;
    heir.wait_log(&["taken over from the machine that made it"], SOON)?;
    // The window, before anybody publishes: the same names and bytes, but for what S3 did not get.
    heir.wait_playable("a", SOON)?;
    let after = listed(&heir)?;
    assert!(
        after.len() >= 8 && after.len() + 4 >= before.len(),
        "{} {}",
        after.len(),
        before.len()
    );
    for (path, bytes) in &after {
        // The last of them may have been closed after `before` was looked at.
        assert!(before.get(path).is_none_or(|known| known == bytes), "{path}");
    }
    assert_eq!(heir.numbers("a")?.0, first);
    let source = Source { gop: 25, ..Source::tiny(RATE) };
    let mut publisher = source.publish(&heir.publish_url("a", None))?;
    let goes_on = || {
        let lists = hls::fetch(&heir.client, &heir.url("/live/a/index.m3u8"))?;
        let new = |object: &&Object| {
            let known =
                object.url.strip_prefix(&heir.url("")).is_some_and(|p| after.contains_key(p));
            !known && !object.gap
        };
        let new = lists.iter().map(|(_, list)| list.objects.iter().filter(new).count()).min();
        Ok(Look::at(new.filter(|count| *count >= 2).map(drop), format!("{new:?}")))
    };
    until("segments of the heir's", SOON, goes_on)?;
    let now = listed(&heir)?;
    assert!(
        after.iter().all(|(path, bytes)| now.get(path) == Some(bytes)),
        "names keep their bytes"
    );
    for (name, list) in hls::fetch(&heir.client, &heir.url("/live/a/index.m3u8"))? {
        let runs: Vec<_> = list.objects.iter().map(|object| run_of(&object.url)).collect();
        let changes = runs.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes, 1, "{}: {runs:?}", name.name);
        // What the dead one may have listed and had open keeps the names it had, and times go on.
        let new = list.objects.iter().find(|object| run_of(&object.url) != runs[0]);
        let new = new.context("a segment of the new run")?;
        assert!(!new.gap && new.k > last + 2, "{list:?}");
        let dates: Vec<_> = list.objects.iter().filter_map(|object| object.date_ns).collect();
        assert!(dates.is_sorted(), "{dates:?}");
    }
    publisher.check()?;
    drained(&heir, SOON)?;
    // Names stay what they are, also those of gaps: after a restart, and for who reads S3.
    let names = named(&heir)?;
    heir.signal(rustix::process::Signal::KILL)?;
    publisher.wait(SOON).context("the publisher loses its connection")?;
    heir.wait(SOON)?;
    heir.start_again()?;
    heir.wait_playable("a", SOON)?;
    let again = named(&heir)?;
    let both = names.iter().filter(|(number, _)| again.contains_key(*number));
    assert!(both.clone().count() >= after.len(), "{names:?} {again:?}");
    for (number, name) in both {
        assert_eq!(again.get(number), Some(name), "{number:?}");
    }
    heir.stop()
}

/// Address below the server of everything that a channel lists, by rendition and number.
fn named(server: &Server) -> Result<BTreeMap<(String, u64), String>> {
    let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let of = |(rendition, list): (hls::Rendition, hls::Playlist)| {
        let objects = list.objects.into_iter();
        objects.map(move |object| ((rendition.name.clone(), object.k), object.url))
    };
    Ok(lists.into_iter().flat_map(of).collect())
}

#[test]
#[ignore = "more of real time than every run has: `make soak`"]
fn players_behind_an_edge_play_on_when_the_replica_takes_a_dead_primarys_place() -> Result {
    let mut scene = Scene::open()?;
    scene.kill()?;
    scene.server.wait(SOON)?;
    // What an operator does: another role, and a reload. The guardian keeps the sockets: viewers wait.
    let config = scene.replica.dir().join("headwater.toml");
    let text = std::fs::read_to_string(&config).context("its configuration")?;
    std::fs::write(&config, text.replace("role = \"replica\"", "role = \"primary\""))
        .context("its configuration")?;
    harm::signal(scene.replica.serving_id()?, rustix::process::Signal::TERM)?;
    scene.replica.wait_log(&["taken over from the machine that made it"], SOON)?;
    scene.goes_on(&scene.replica)?;
    scene.replica.stop()
}
