//! Parts and held playlists on the running program: a stock player at the live edge, one that knows
//! nothing of it, and the playlists as the rules judge them.

use std::time::Duration;

use harness::player::{Library, Player, Stage};
use harness::publisher::Source;
use harness::reader::{ffmpeg, fragments, resolve};
use harness::rules::hls::{check_key_frames, check_media};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Result};
use packager::time::FrameRate;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn hl_28_players_with_and_without_low_latency_play_the_same_list() -> Result {
    const PLAYED: Duration = Duration::from_secs(15);
    // One rung is never left out, however busy the machine is.
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["96p"])])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let mut publisher =
        Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let player = Player::start(&stage, Library::HlsJs, &server.url(""), "a")?;
    player.wait_started(PLAYABLE_WITHIN)?;
    player.wait_played(PLAYED, 4 * PLAYED)?;
    let report = player.smooth()?;
    println!("hls.js: {} blocking requests, {} of parts", report.blocking, report.parts);
    // Three parts and more a second, of pictures and of sound; switches between rungs cost a few.
    let least = PLAYED.as_secs() * 2;
    assert!(report.blocking >= least, "{report:#?}");
    assert!(report.parts >= least, "{report:#?}");
    // ffmpeg knows neither parts nor hints.
    let list = server.url("/live/a/96p/index.m3u8");
    let frames = ffmpeg::frames(&list, &["-live_start_index", "0"], Some(120))?;
    assert!(frames.len() >= 120);
    publisher.check()?;
    key_frames_are_ranges(&server)?;
    witness.finish()?.clean()?;
    let slow = slow_parts(&server.client.text(&server.admin_url("/metrics"))?)?;
    println!("{:.2} % of the parts took more than 10 ms", slow * 100.0);
    assert!(slow < 0.5, "most parts wait for something other than their last frame");
    server.stop()
}

/// HP-20, HP-21: the I-frame playlist has the key frames of the segments of its rendition.
fn key_frames_are_ranges(server: &Server) -> Result {
    let multivariant = server.client.text(&server.url("/live/a/index.m3u8"))?;
    let lists = multivariant.lines().filter(|line| line.starts_with("#EXT-X-I-FRAME-STREAM-INF"));
    let uris: Vec<&str> =
        lists.filter_map(|line| line.split("URI=\"").nth(1)?.split('"').next()).collect();
    assert!(!uris.is_empty(), "{multivariant}");
    for uri in uris {
        let url = resolve(&server.url("/live/a/index.m3u8"), uri);
        let keys = server.client.text(&url)?;
        assert_eq!(check_media(&keys), [], "{keys}");
        let media = server.client.text(&url.replace("iframes.m3u8", "index.m3u8"))?;
        let mut fetched = 0;
        let broken = check_key_frames(&keys, &media, |uri, length, offset| {
            fetched += 1;
            one_key_frame(server, &resolve(&url, uri), length, offset).ok()
        });
        assert_eq!(broken, [], "{keys}");
        assert!(fetched > 0, "no key frame in {keys}");
    }
    Ok(())
}

/// Whether a byte range of a segment ends with its first sample, which is a sync sample, and is
/// served as such.
fn one_key_frame(server: &Server, url: &str, length: u64, offset: u64) -> Result<bool> {
    let range = format!("bytes={offset}-{}", offset + length - 1);
    let part = server.client.get_with(url, &[("range", range.as_str())])?;
    let whole = server.client.get(url)?.ok(url)?.body;
    let run = url.rsplit_once('/').context("a folder")?.0;
    let init = server.client.get(&format!("{run}/init.mp4"))?.ok(run)?.body;
    let fragments = fragments::read_segment(&fragments::read_init(&init)?, &whole)?;
    let sample =
        fragments.first().and_then(|fragment| fragment.samples.first()).context("a sample")?;
    let data = whole.windows(4).position(|four| four == b"mdat").context("an mdat")? + 4;
    let end = data as u64 + u64::from(sample.size);
    let served = part.status == 206 && whole.get(..length as usize) == Some(&*part.body);
    Ok(served && offset == 0 && length == end && sample.sync)
}

/// The share of parts that took more than 10 ms from their last frame to being fetchable.
fn slow_parts(metrics: &str) -> Result<f64> {
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains("\"a\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).context(name.to_owned())
    };
    let all = value("headwater_part_publish_latency_seconds_count")?;
    let fast = value("headwater_part_publish_latency_seconds_bucket{le=\"0.01\"")?;
    Ok((all - fast) / all.max(1.0))
}

#[test]
fn a_request_for_the_next_part_is_answered_with_it() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let _publisher = Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let list = server.url("/live/a/audio/index.m3u8");
    let before = harness::reader::hls::media(&list, &server.client.text(&list)?)?;
    let hint = before.hint.clone().context("a hint")?;
    let whole = before.sequence + before.objects.len() as u64;
    let answer = server.client.get(&format!("{list}?_HLS_msn={whole}"))?.ok(&list)?;
    let after = harness::reader::hls::media(&list, &answer.text()?)?;
    assert!(after.sequence + after.objects.len() as u64 > whole, "answered without the segment");
    let kept = format!("max-age={}", 6 * before.target);
    assert_eq!(answer.header("cache-control"), Some(kept.as_str()));
    until("the hinted part", Duration::from_secs(5), || {
        let status = server.client.get(&hint)?.status;
        Ok(Look::at((status == 200).then_some(()), status.to_string()))
    })?;
    for query in
        ["_HLS_msn=-1", "_HLS_msn=18446744073709551616", "_HLS_part=1", "_HLS_msn=1&_HLS_msn=1"]
    {
        let answer = server.client.get(&format!("{list}?{query}"))?;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (400, Some("no-store")),
            "{query}"
        );
    }
    server.stop()
}
