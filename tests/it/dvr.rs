//! Searching back, start-over, clips and recordings: views of what is there, in stock players and as
//! independent readers see them.

use std::process::Command;
use std::time::Duration;

use harness::player::{Library, Player, Stage};
use harness::publisher::Source;
use harness::reader::{self, Object, ffmpeg, hls};
use harness::rules::dash::{Schema, check_schema};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, process, workspace};
use packager::time::{FrameRate, Timescale, Timestamp, iso};
use serde_json::Value;

use crate::passing::PLAYERS;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(30);

/// Segments of D = 1.6 s.
const D_MS: u64 = 1_600;

/// What a command of an operator says, and whether something was done.
fn command(server: &Server, arguments: &[&str]) -> Result<(Value, bool)> {
    let mut command = Command::new(workspace::headwater()?);
    command.args(arguments).args(["--admin", &server.admin.to_string()]);
    let output = process::run("headwater", &mut command, Duration::from_secs(10))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).context(format!("{text:?}"))?
    };
    Ok((answer, output.status.success()))
}

fn date(millis: u64) -> String {
    iso(Timestamp::new(millis.cast_signed(), Timescale::MILLIS))
}

/// The pictures of a list of segments, as marks.
fn marks(server: &Server, objects: &[Object]) -> Result<Vec<u64>> {
    let mut marks = Vec::new();
    // Of one run after the other: each has its own init segment.
    for run in objects.chunk_by(|a, b| a.init == b.init) {
        let get = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
        let segments = run.iter().map(|object| get(&object.url)).collect::<Result<Vec<_>>>()?;
        let frames = ffmpeg::frames_of_bytes(&reader::join(&get(&run[0].init)?, &segments))?;
        marks.extend(frames.iter().filter_map(|frame| frame.mark));
    }
    Ok(marks)
}

/// The list of the highest rung below a folder of the server.
fn pictures(server: &Server, folder: &str) -> Result<hls::Playlist> {
    let lists = hls::fetch(&server.client, &server.url(&format!("{folder}index.m3u8")))?;
    let (_, list) =
        lists.into_iter().find(|(rendition, _)| !rendition.audio).context("pictures")?;
    Ok(list)
}

/// Everything that has both its ends plays through, once and to the end.
fn plays_through(stage: &Stage, with: &[Library], folder: &str, seconds: f64) -> Result {
    let open = |library: &Library| Player::open(stage, *library, folder);
    let players = with.iter().map(open).collect::<Result<Vec<_>>>()?;
    for player in players {
        let report = player.wait_ended(Duration::from_secs_f64(seconds) + SOON)?;
        let library = player.library();
        assert!(report.fatal.is_empty() && report.ended, "{library:?}: {report:#?}");
        // A player looks ten times a second, and closes holes by a jump.
        assert!(report.played_seconds > seconds - 1.5, "{library:?}, {seconds} s: {report:#?}");
        let stood: u64 = report.stalls.iter().map(|stall| stall.lasted_ms).sum();
        assert!(stood < 1_500, "{library:?}: {report:#?}");
    }
    Ok(())
}

/// Viewers of a live channel go back by so much, play there, and come back to its edge.
fn back_and_live(viewers: &[Player], back: Duration) -> Result {
    let seconds = back.as_secs_f64();
    let behind = |viewer: &Player, what: &str, within: std::ops::Range<f64>| {
        until(&format!("{what} in {:?}", viewer.library()), SOON, || {
            let report = viewer.report()?;
            let there = report.behind_ms.is_some_and(|ms| within.contains(&(ms / 1_000.0)));
            Ok(Look::at(there.then_some(()), format!("{report:?}")))
        })
    };
    for viewer in viewers {
        viewer.wait_played(Duration::from_secs(5), SOON)?;
        viewer.go_back(back)?;
    }
    for viewer in viewers {
        behind(viewer, "a picture from then", seconds - 1.0..seconds + 8.0)?;
        let played = viewer.played()?;
        viewer.wait_played(played + Duration::from_secs(2), SOON)?;
        behind(viewer, "still one from then", seconds - 1.0..seconds + 10.0)?;
        viewer.go_live()?;
    }
    for viewer in viewers {
        behind(viewer, "the live edge", 0.0..8.0)?;
        assert!(viewer.report()?.fatal.is_empty(), "{:#?}", viewer.report()?);
    }
    Ok(())
}

/// Ten minutes and more of a channel, and back over all of them.
pub(crate) fn ten_minutes_back() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with("window = \"15m\"")])?;
    let mut source = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (first, _) = server.numbers("a")?;
    let minutes = Duration::from_secs(630);
    let segments = minutes.as_millis() as u64 / D_MS;
    server.wait_segment("a", first + segments, minutes + Duration::from_secs(60))?;
    let stage = Stage::open()?;
    let live = [Library::HlsJs, Library::DashJs];
    let live = live.map(|library| Player::start(&stage, library, &server.url(""), "a"));
    let live = live.into_iter().collect::<Result<Vec<_>>>()?;
    back_and_live(&live, Duration::from_secs(600))?;
    source.check()
}

#[test]
#[ignore = "a minute of real time: `make soak`"]
fn viewers_search_back_and_start_over_and_a_clip_has_its_exact_pictures() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut source = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (first, _) = server.numbers("a")?;
    let stage = Stage::open()?;
    let live = [Library::HlsJs, Library::DashJs];
    let live = live.map(|library| Player::start(&stage, library, &server.url(""), "a"));
    let live = live.into_iter().collect::<Result<Vec<_>>>()?;
    server.wait_segment("a", first + 12, Duration::from_secs(60))?;

    back_and_live(&live, Duration::from_secs(10))?;
    drop(live);

    // From a second within segment first + 5 on.
    let from = ((first + 5) * D_MS).div_ceil(1_000);
    let over = pictures(&server, &format!("/live/a/from/{from}/"))?;
    assert_eq!((over.sequence, over.ended), (first + 5, false));
    let folder = server.url(&format!("/live/a/from/{from}/"));
    let players = [Library::HlsJs, Library::DashJs, Library::ShakaSearch];
    for library in players {
        let viewer = Player::open_at(&stage, library, &folder, from)?;
        viewer.wait_started(SOON)?;
        let behind = viewer.report()?.behind_ms.context("a date")?;
        let begun = harness::clock::now_ms() as f64 - behind;
        let late = begun / 1_000.0 - from as f64;
        assert!((-2.0..4.0).contains(&late), "{library:?} begins {late:.1} s behind the instant");
        let played = viewer.played()?;
        viewer.wait_played(played + Duration::from_secs(2), SOON)?;
        assert!(viewer.report()?.fatal.is_empty(), "{:#?}", viewer.report()?);
    }

    // A clip of four segments, from within the first to within the last.
    let (start, end) = ((first + 5) * D_MS + 300, (first + 8) * D_MS + 900);
    let order = [
        "clip",
        "a",
        "--start",
        &date(start),
        "--end",
        &date(end),
        "--title",
        "Four",
        "--id",
        "four",
    ];
    let (asset, done) = command(&server, &order)?;
    assert!(done, "{asset}");
    assert_eq!(asset["start"], date((first + 5) * D_MS), "{asset}");
    assert_eq!(asset["duration"].as_f64(), Some(6.4), "{asset}");
    let clip = pictures(&server, "/vod/four/")?;
    assert!(clip.ended);
    assert_eq!(
        clip.objects.iter().map(|o| o.k).collect::<Vec<_>>(),
        (first + 5..first + 9).collect::<Vec<_>>()
    );
    let window = pictures(&server, "/live/a/")?;
    let of_window: Vec<_> =
        window.objects.into_iter().filter(|o| (first + 5..first + 9).contains(&o.k)).collect();
    let expected = marks(&server, &of_window)?;
    assert_eq!(expected.len(), 4 * 48, "30 pictures a second");
    let shown = ffmpeg::frames(&server.url("/vod/four/index.m3u8"), &[], None)?;
    let shown: Vec<_> = shown.iter().filter_map(|frame| frame.mark).collect();
    assert_eq!(shown, expected, "ffmpeg, HLS");
    let mpd = server.client.text(&server.url("/vod/four/manifest.mpd"))?;
    assert!(mpd.contains("mediaPresentationDuration=\"PT6.4S\""), "{mpd}");
    if let Some(schema) = Schema::find() {
        assert_eq!(check_schema(&schema, &mpd).context("xmllint")?, [], "{mpd}");
    }
    let shown = ffmpeg::frames(&server.url("/vod/four/manifest.mpd"), &[], None)?;
    let shown: Vec<_> = shown.iter().filter_map(|frame| frame.mark).collect();
    assert_eq!(shown, expected, "ffmpeg, DASH");
    plays_through(&stage, &Library::ALL, &server.url("/vod/four/"), 6.4)?;

    // It is there after a crash, can be renamed, and deleting it costs the window nothing.
    source.check()?;
    server.kill()?;
    until("the clip after a crash", SOON, || {
        let answer = server.client.get(&server.url("/vod/four/index.m3u8"));
        let there = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        Ok(Look::at(there.then_some(()), format!("{:?}", answer.map(|answer| answer.status))))
    })?;
    assert_eq!(marks(&server, &pictures(&server, "/vod/four/")?.objects)?, expected);
    let (renamed, _) = command(&server, &["assets", "rename", "four", "Five"])?;
    assert_eq!(renamed["title"], "Five", "{renamed}");
    assert_eq!(command(&server, &["assets", "list"])?.0[0]["id"], "four");
    assert!(command(&server, &["assets", "delete", "four"])?.1);
    assert_eq!(server.client.get(&server.url("/vod/four/index.m3u8"))?.status, 404);
    for object in &of_window {
        server.client.get(&object.url)?.ok(&object.url)?;
    }
    Ok(())
}

/// A window with two runs, a hole where bytes were lost, and an ad break: over the live addresses, from its
/// beginning, and as a recording.
#[test]
fn two_runs_a_gap_and_a_break_play_through_live_and_as_a_recording() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a").patient()])?;
    let rate = FrameRate::new(25, 1);
    let url = server.publish_url("a", None);
    let mut first = Source::tiny(rate).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (oldest, _) = server.numbers("a")?;
    server.wait_more("a", 2)?;
    assert!(command(&server, &["cue", "a", "out", "--duration", "3"])?.1);
    server.wait_segment("a", oldest + 11, SOON)?;
    first.kill();

    // A disk loses a segment of pictures and sound, behind the break, and the server is started again.
    let before = pictures(&server, "/live/a/")?;
    let lost = &before.objects[9];
    let path = lost.url.split("/live/").nth(1).context("a path")?;
    let spool = server.dir().join("data");
    for rendition in ["source", "audio"] {
        let path = spool.join(path.replace("/source/", &format!("/{rendition}/")));
        std::fs::remove_file(&path).context(path.display().to_string())?;
    }
    server.kill()?;
    let mut second = Source::tiny(rate).publish(&url)?;
    until("another run", SOON, || {
        let list = pictures(&server, "/live/a/").map_err(|failure| failure.to_string());
        let list = match list {
            Ok(list) => list,
            Err(error) => return Ok(Look::at(None, error)),
        };
        let behind = list.objects.iter().rposition(|object| object.discontinuity);
        let behind = behind.map_or(0, |at| list.objects.len() - at);
        Ok(Look::at((behind >= 6).then_some(()), format!("{behind} segments")))
    })?;
    second.check()?;
    let window = pictures(&server, "/live/a/")?;
    assert_eq!(
        window.objects.iter().filter(|object| object.gap).count(),
        1,
        "{:#?}",
        window.objects
    );
    let text = server.client.text(&server.url("/live/a/source/index.m3u8"))?;
    assert!(text.contains("#EXT-X-DATERANGE:ID="), "{text}");

    // Live, from the beginning: over all of it to what has come since.
    let stage = Stage::open()?;
    let start = window.objects[0].date_ns.context("a date")? / 1_000_000_000 + 1;
    let folder = server.url(&format!("/live/a/from/{start}/"));
    let viewer = Player::open(&stage, Library::HlsJs, &folder)?;
    let clip = command(&server, &["clip", "a", "--id", "all"])?;
    assert!(clip.1, "{}", clip.0);
    let seconds = clip.0["duration"].as_f64().context("duration")?;
    let vod = pictures(&server, "/vod/all/")?;
    assert!(vod.objects.iter().all(|object| !object.gap), "holes are closed up");
    assert_eq!(vod.objects.iter().filter(|object| object.discontinuity).count(), 2);
    let mpd = server.client.text(&server.url("/vod/all/manifest.mpd"))?;
    assert!(mpd.matches("<Period ").count() >= 3 && mpd.contains("<Event "), "{mpd}");
    if let Some(schema) = Schema::find() {
        assert_eq!(check_schema(&schema, &mpd).context("xmllint")?, [], "{mpd}");
    }
    // shaka-player on HLS plays all of it too, but stands on the last picture of a passed source.
    plays_through(&stage, &PLAYERS, &server.url("/vod/all/"), seconds)?;
    viewer.wait_played(Duration::from_secs_f64(seconds - 3.0), SOON)?;
    let report = viewer.report()?;
    assert!(report.fatal.is_empty(), "{report:#?}");
    second.check()
}
