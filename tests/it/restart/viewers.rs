//! Viewers and publishers while the server is killed: players play on, numbers go on, and nobody is
//! refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::client::Client;
use harness::player::{Library, Player, Stage};
use harness::publisher::{Publisher, Source};
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result, clock, process};
use packager::time::FrameRate;

use super::{UP_WITHIN, successor};
use crate::absence;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// So long encoders wait before they connect again.
const RECONNECT_AFTER: Duration = Duration::from_millis(1_500);

fn publish(server: &Server) -> Result<Publisher> {
    Source::tiny(RATE).publish(&server.publish_url("a", None))
}

/// A server whose channel `a` has some segments, and who publishes it.
fn live(environment: &[(&str, &Path)]) -> Result<(Server, Publisher)> {
    let server = Server::start_in(&[ChannelConfig::tiny("a")], environment)?;
    let publisher = publish(&server)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    Ok((server, publisher))
}

/// Everything that the playlists of channel `a` list, with its bytes.
fn listed(server: &Server) -> Result<Vec<(hls::Playlist, BTreeMap<String, Bytes>)>> {
    let client = Client::afresh();
    let lists = hls::fetch(&client, &server.url("/live/a/index.m3u8"))?;
    let get = |url: &String| Ok((url.clone(), client.get(url)?.ok(url)?.body));
    let with_bytes = |(_, list): (hls::Rendition, hls::Playlist)| {
        let objects = list.objects.iter().flat_map(|object| [&object.init, &object.url]);
        let bytes = objects.map(get).collect::<Result<_>>()?;
        Ok((list, bytes))
    };
    lists.into_iter().map(with_bytes).collect()
}

#[test]
fn after_a_kill_the_whole_window_is_listed_and_goes_on_without_its_publisher() -> Result {
    let (server, mut publisher) = live(&[])?;
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 2, Duration::from_secs(20))?;
    let before = listed(&server)?;
    let old = server.kill()?;
    publisher.kill();
    let after = listed(&server)?;
    successor(&server, old)?;
    for ((then, bytes), (now, bytes_now)) in before.iter().zip(&after) {
        let first = now.objects.first().context("a segment")?.k;
        assert_eq!(now.objects.get(..then.objects.len()), Some(&*then.objects), "{first}");
        for (url, bytes) in bytes {
            assert!(bytes_now.get(url) == Some(bytes), "{url}: other bytes than before");
        }
    }
    // The open segments are completed, and others follow them on time, in the same run.
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 3, Duration::from_secs(20))?;
    assert_eq!(server.status("a")?["state"], "holding");
    let log = server.wait_log(&["goes on where an earlier process stopped"], UP_WITHIN)?;
    println!("{log}");
    let _publisher = publish(&server)?;
    until("live channel", PLAYABLE_WITHIN, || {
        let state = server.status("a")?["state"].clone();
        Ok(Look::at((state == "live").then_some(()), state.to_string()))
    })?;
    for (list, _) in listed(&server)? {
        let gaps = list.objects.iter().filter(|object| object.gap).count();
        let seams = list.objects.iter().filter(|object| object.discontinuity).count();
        assert_eq!((gaps, seams), (0, 0), "{:?}", list.objects);
        assert_eq!(before[0].0.sequence, list.sequence);
    }
    server.stop()
}

/// Long enough that players have what they had in store behind them.
const BETWEEN: Duration = Duration::from_secs(12);
/// How long a killed server may be away, on a machine that is shared.
const DEAD: Duration = Duration::from_secs(3);

/// Kills the server so many times under a witness and players, who play for `between` after each, while
/// the publisher comes back as encoders do.
pub(crate) fn killed(channel: ChannelConfig, kills: u32, between: Duration) -> Result<Record> {
    let server = Server::start(&[channel])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a").with_kills(DEAD));
    let mut publisher = publish(&server)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let join = |library| Player::start(&stage, library, &server.url(""), "a");
    let players =
        [Library::HlsJs, Library::DashJs].map(join).into_iter().collect::<Result<Vec<_>>>()?;
    for player in &players {
        player.wait_started(PLAYABLE_WITHIN)?;
        player.wait_played(Duration::from_secs(4), PLAYABLE_WITHIN)?;
    }
    for _ in 0..kills {
        let old = server.kill()?;
        let killed = Instant::now();
        publisher.wait(Duration::from_secs(15)).context("the publisher loses its connection")?;
        std::thread::sleep(RECONNECT_AFTER.saturating_sub(killed.elapsed()));
        publisher = publish(&server)?;
        successor(&server, old)?;
        for player in &players {
            player.wait_played(player.played()? + between, between * 3)?;
        }
    }
    for player in &players {
        let report = player.report()?;
        println!(
            "{:?} {:.1} s, stalls {:?}",
            player.library(),
            report.played_seconds,
            report.stalls
        );
        let attached = report.reloads == 0 && !report.ended && report.fatal.is_empty();
        assert!(attached && report.jumps.is_empty(), "{report:#?}");
        let stood = report.stalls.iter().map(|stall| stall.lasted_ms).max().unwrap_or(0);
        assert!(stood <= 1_000, "{report:#?}");
    }
    let record = witness.finish()?;
    record.clean()?;
    server.stop()?;
    Ok(record)
}

#[test]
fn j_11_players_play_on_when_the_server_is_killed_and_see_one_run() -> Result {
    let record = killed(ChannelConfig::tiny("a").patient(), 2, BETWEEN)?;
    absence::one_run(&record)
}

#[test]
fn j_11_players_of_a_passed_source_play_on_when_the_server_is_killed() -> Result {
    let record = killed(ChannelConfig::pass_through("a"), 2, BETWEEN)?;
    for track in &record.tracks {
        let seams = track.segments.values().filter(|s| s.object.discontinuity).count();
        assert_eq!((track.inits.len(), seams), (3, 2), "{}", track.rendition.name);
    }
    Ok(())
}

/// Replaces the system's UTC by one that is off by as many milliseconds as a file says.
const CLOCK_SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        long long millis = 0;
        FILE *file = fopen(getenv("CLOCK_SHIM_FILE"), "r");
        if (file) {
            if (fscanf(file, "%lld", &millis) != 1)
                millis = 0;
            fclose(file);
        }
        long long nanos = now->tv_nsec + millis % 1000 * 1000000;
        now->tv_sec += millis / 1000;
        if (nanos < 0) {
            nanos += 1000000000;
            now->tv_sec -= 1;
        }
        now->tv_sec += nanos / 1000000000;
        now->tv_nsec = nanos % 1000000000;
    }
    return result;
}
"#;

/// Compiles the shim.
fn clock_shim(folder: &Path) -> Result<PathBuf> {
    let (source, shim) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, CLOCK_SHIM).context("the clock shim's source")?;
    let mut command = Command::new("cc");
    command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl");
    let output = process::run("cc", &mut command, Duration::from_secs(60))?;
    if output.status.success() { Ok(shim) } else { Err(Failure::new(output.stderr)) }
}

/// What a server says the time is, in milliseconds.
fn time_at(server: &Server, path: &str) -> Result<i64> {
    let text = server.client.text(&server.url(path))?;
    let nanos = harness::rules::date_nanos(text.trim()).context("a date")?;
    i64::try_from(nanos / 1_000_000).context("a date of our time")
}

#[test]
fn f_01_a_clock_that_is_set_while_the_server_is_down_makes_no_number_fall() -> Result {
    let folder = tempfile::tempdir().context("folder")?;
    let (shim, offset) = (clock_shim(folder.path())?, folder.path().join("offset"));
    let set = |millis: i64| std::fs::write(&offset, millis.to_string()).context("the offset");
    set(0)?;
    let (server, mut publisher) = live(&[("LD_PRELOAD", &shim), ("CLOCK_SHIM_FILE", &offset)])?;
    let mut before: Option<(u64, u64, u64, String)> = None;
    // By two seconds and by an hour, forth and back.
    for millis in [0, 2_000, 0, 3_600_000, 0] {
        if before.is_some() {
            set(millis)?;
            let old = server.kill()?;
            successor(&server, old)?;
            publisher.wait(Duration::from_secs(15)).context("the publisher is told")?;
            publisher = publish(&server)?;
            server.wait_playable("a", PLAYABLE_WITHIN)?;
        }
        let off = time_at(&server, "/time")? - clock::now_ms() as i64;
        assert!((off - millis).abs() < 1_000, "the shim works: {off} and not {millis}");
        let (_, last) = server.numbers("a")?;
        server.wait_segment("a", last + 2, Duration::from_secs(20))?;
        let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
        let (_, list) = lists.first().context("a playlist")?;
        let newest = list.objects.last().context("a segment")?;
        if let Some((first, last, discontinuity, init)) = &before {
            assert!(list.sequence >= *first && newest.k > *last, "{millis}: {before:?}");
            assert!(list.discontinuity_sequence >= *discontinuity, "{millis}: {before:?}");
            // Run ids sort by time. Where the hour was a dead time, the window is another.
            assert!(newest.init >= *init, "{millis}: {} after {init}", newest.init);
            assert_eq!(list.sequence > *last, millis == 3_600_000, "{millis}: {before:?}");
        }
        let discontinuity = list.discontinuity_sequence;
        before = Some((list.sequence, newest.k, discontinuity, newest.init.clone()));
    }
    // The channel is an hour ahead, says so, and has a clock that agrees with its segments.
    let ahead = server.status("a")?["clock_ahead_ms"].as_u64().context("clock_ahead_ms")?;
    assert!((3_590_000..=3_610_000).contains(&ahead), "{ahead} ms");
    let manifest = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    assert!(manifest.contains("/live/a/time"), "{manifest}");
    let apart = time_at(&server, "/live/a/time")? - time_at(&server, "/time")?;
    assert!((apart - ahead as i64).abs() < 1_000, "{apart} ms");
    server.stop()
}
