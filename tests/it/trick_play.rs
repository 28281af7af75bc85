//! Searching: key frames alone, as DASH players fetch them and as independent readers see them.

use std::time::{Duration, Instant};

use harness::player::{Library, Player, Stage};
use harness::publisher::Source;
use harness::reader::{self, dash, ffmpeg};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Result};
use packager::time::FrameRate;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(20);
/// How fast the viewer searches.
const RATE: f64 = 4.0;
/// Media that the viewer goes through meanwhile, in seconds.
const SEARCHED: f64 = 6.0;

#[test]
fn shaka_searches_by_key_frames_that_are_whole_segments_and_plays_on() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let mut source = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (first, _) = server.numbers("a")?;
    // What a viewer has in store is searched as it is: he comes when there is more before that.
    server.wait_segment("a", first + 8, SOON)?;
    let stage = Stage::open()?;
    let viewer = Player::start(&stage, Library::ShakaSearch, &server.url(""), "a")?;
    viewer.wait_started(PLAYABLE_WITHIN)?;
    assert_eq!(viewer.report()?.key_frames, 0, "who does not search has no use for them");

    viewer.search(RATE)?;
    let (begin, from) = until("key frames in shaka-player", SOON, || {
        let report = viewer.report()?;
        let searching = report.key_frames > 0 && report.buffer_seconds > 0.0;
        let now = (Instant::now(), report.time);
        Ok(Look::at(searching.then_some(now), format!("{report:?}")))
    })?;
    until("search", SOON, || {
        let report = viewer.report()?;
        let is_there = report.time >= from + SEARCHED;
        Ok(Look::at(is_there.then_some(()), format!("{report:?}")))
    })?;
    let elapsed = begin.elapsed().as_secs_f64();
    assert!(elapsed < SEARCHED, "{SEARCHED} s were searched in {elapsed} s, which is playing");
    viewer.search(1.0)?;
    let played = viewer.played()?;
    viewer.wait_played(played + Duration::from_secs(3), SOON)?;
    let report = viewer.report()?;
    assert!(report.fatal.is_empty() && !report.ended, "{report:#?}");

    // As others read them: every segment one picture, which lasts as long as the segment.
    let url = server.url("/live/a/manifest.mpd");
    let manifest = dash::manifest(&url, &server.client.text(&url)?)?;
    let now_ns = (harness::clock::now_ms() * 1_000_000) as i64;
    let rungs = manifest.representations.iter().filter(|r| !r.audio).count();
    assert_eq!(manifest.key_frames.len(), rungs);
    for keys in &manifest.key_frames {
        let init = server.client.get(&keys.init)?.ok(&keys.init)?.body;
        let mut segments = Vec::new();
        for k in keys.available(&manifest, now_ns) {
            let url = keys.object(k).url;
            let answer = server.client.get(&url)?.ok(&url)?;
            assert_eq!(answer.header("content-type"), Some("video/mp4"));
            assert!(answer.header("cache-control").is_some_and(|c| c.contains("immutable")));
            assert!(answer.header("etag").is_some());
            segments.push(answer.body);
        }
        assert!(segments.len() >= 6, "{} key frames of {}", segments.len(), keys.id);
        let frames = ffmpeg::frames_of_bytes(&reader::join(&init, &segments))?;
        assert_eq!(frames.len(), segments.len(), "{}: one picture each", keys.id);
        let apart = frames.windows(2).map(|pair| pair[1].pts_ns - pair[0].pts_ns);
        let length = keys.time_of(&manifest, keys.start_number).1;
        assert!(
            apart.clone().all(|a| a.abs_diff(length) < 1_000_000),
            "{:?}",
            apart.collect::<Vec<_>>()
        );
    }
    source.check()?;
    drop(viewer);
    server.stop().context("the server's end")
}
