//! Stills: what a bar shows of the past, as the page, two players and independent readers see it.

use std::process::Command;
use std::time::Duration;

use harness::player::{Library, Player, Stage};
use harness::publisher::Source;
use harness::reader::{ffmpeg, join, resolve};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, process, workspace};
use packager::time::FrameRate;
use serde_json::Value;

const RATE: FrameRate = FrameRate::new(30, 1);
/// Segments of D = 1.6 s.
const D_MS: u64 = 1_600;
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(30);

/// The number of the segment that a still is of, by its address.
fn number(url: &str) -> Result<u64> {
    let name = url.rsplit('/').next().and_then(|file| file.strip_suffix(".jpg"));
    name.and_then(|k| k.parse().ok()).context(format!("the still {url}"))
}

/// The addresses in the image playlist below a folder.
fn listed(server: &Server, folder: &str) -> Result<Vec<String>> {
    let url = server.url(&format!("{folder}96p/images.m3u8"));
    let text = server.client.text(&url)?;
    assert!(text.contains("#EXT-X-IMAGES-ONLY") && !text.contains("EXT-X-PART"), "{text}");
    let tiles = text.matches("#EXT-X-TILES:RESOLUTION=170x96,LAYOUT=1x1,DURATION=1.60000\n");
    let lines: Vec<_> = text.lines().filter(|line| line.ends_with(".jpg")).collect();
    assert_eq!(tiles.count(), lines.len(), "{text}");
    Ok(lines.iter().map(|line| resolve(&url, line)).collect())
}

#[test]
fn a_still_is_what_its_segment_begins_with_in_two_players_and_in_a_clip() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut source = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + 8, SOON)?;

    let multivariant = server.client.text(&server.url("/live/a/index.m3u8"))?;
    let tag = multivariant.lines().find(|line| line.starts_with("#EXT-X-IMAGE-STREAM-INF:"));
    let tag = tag.context(multivariant.clone())?;
    assert!(tag.contains("RESOLUTION=170x96") && tag.ends_with("URI=\"96p/images.m3u8\""), "{tag}");
    let stills = listed(&server, "/live/a/")?;
    let numbers = stills.iter().map(|url| number(url)).collect::<Result<Vec<_>>>()?;
    assert!(numbers.len() >= 8, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    for url in stills.iter().rev().take(4) {
        let answer = server.client.get(url)?.ok(url)?;
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        assert!(answer.header("cache-control").is_some_and(|c| c.contains("immutable")), "{url}");
        assert!(answer.header("etag").is_some(), "{url}");
        let still = ffmpeg::frames_of_bytes(&answer.body)?;
        let media = url.replace("96p.stills", "96p").replace(".jpg", ".m4s");
        let init = media.rsplit_once('/').context("a folder")?.0.to_owned() + "/init.mp4";
        let body = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
        let segment = ffmpeg::frames_of_bytes(&join(&body(&init)?, &[body(&media)?]))?;
        assert_eq!(still.len(), 1);
        assert!(still[0].mark.is_some() && still[0].mark == segment[0].mark, "{url}");
    }
    // Sound has none, and neither has what is still to come or never was.
    for nothing in ["/live/a/audio/images.m3u8", "/live/a/0199aabbccd/96p.stills/7.jpg"] {
        assert_eq!(server.client.get(&server.url(nothing))?.status, 404, "{nothing}");
    }

    let stage = Stage::open()?;
    for library in [Library::DashJs, Library::ShakaSearch] {
        let viewer = Player::start(&stage, library, &server.url(""), "a")?;
        viewer.wait_started(PLAYABLE_WITHIN)?;
        let back = Duration::from_millis(4 * D_MS);
        let (still, at) = until(&format!("a still in {library:?}"), SOON, || {
            let behind = viewer.report()?.behind_ms;
            let still = viewer.still(back)?;
            let at = behind.map(|ms| harness::clock::now_ms().saturating_sub(ms as u64));
            let seen = format!("{still:?}, {at:?}");
            Ok(Look::at(still.zip(at), seen))
        })?;
        let begins = number(&still.url)? * D_MS;
        let wanted = at - back.as_millis() as u64;
        // The clock is read on either side of the question.
        assert!(
            (begins..begins + 2 * D_MS).contains(&(wanted + D_MS / 2)),
            "{library:?}: {wanted}, {still:?}"
        );
        assert_eq!((still.width, still.height), (170.0, 96.0), "{library:?}");
        assert_eq!(server.client.get(&still.url)?.status, 200, "{}", still.url);
        assert!(viewer.report()?.fatal.is_empty(), "{:#?}", viewer.report()?);
    }

    // A clip has those of its segments.
    let mut clip = Command::new(workspace::headwater()?);
    clip.args(["clip", "a", "--id", "c", "--admin", &server.admin.to_string()]);
    let clip = process::run("clip", &mut clip, SOON)?;
    assert!(clip.status.success(), "{}", clip.stderr);
    let kept = listed(&server, "/vod/c/")?;
    assert!(kept.contains(&stills[numbers.len() - 1]), "{kept:#?}");
    source.check()?;
    server.stop().context("the server's end")
}

/// A viewer points at the bar, sees what was on, goes there, and comes back.
fn seeks(format: &str) -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut source = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let (first, _) = server.numbers("a")?;
    // A quarter into the window is further back than what is taken for live.
    server.wait_segment("a", first + 17, SOON)?;
    let mut command = Command::new("node");
    command.arg(workspace::root().join("tests/browser/seek.mjs"));
    command.args(["--url", &server.url("/watch/a"), "--format", format]);
    let output = process::run("seek.mjs", &mut command, Duration::from_secs(150))?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen: Value = serde_json::from_str(line.trim())
        .context(format!("seek.mjs said {line:?} and {}", output.stderr))?;
    let whole = format!("{seen:#}");
    assert!(output.status.success(), "{whole}");
    source.check()?;

    let at = |value: &Value| value.as_f64().context(whole.clone());
    let still = &seen["pointed"]["still"];
    let begins = number(still["url"].as_str().context(whole.clone())?)? * D_MS;
    let wanted = at(&seen["wanted"])?;
    // The bar moves on while it is looked at.
    let off = wanted - begins as f64;
    assert!((-500.0..D_MS as f64 + 1_000.0).contains(&off), "{off} ms into its segment: {whole}");
    assert_eq!(
        (still["width"].as_u64(), still["height"].as_u64()),
        (Some(170), Some(96)),
        "{whole}"
    );
    let words = seen["pointed"]["preview"].as_str().unwrap_or_default();
    assert!(words.starts_with('−') && words.contains(" · "), "{whole}");
    let shown = at(&seen["back"]["shown"])?;
    assert!((shown - wanted).abs() < 4_000.0, "{} ms from there: {whole}", shown - wanted);
    assert!(seen["back"]["words"].as_str().is_some_and(|words| words.starts_with('−')), "{whole}");
    assert!(at(&seen["live"]["shown"])? > shown + 8_000.0, "{whole}");
    // dash.js goes back to the edge by itself from further behind only.
    assert_eq!(seen["returned"].is_object(), format == "hls", "{whole}");
    assert_eq!(seen["consoleErrors"], Value::Array(vec![]), "{whole}");
    Ok(())
}

#[test]
fn the_pages_bar_shows_what_was_on_goes_there_and_comes_back_in_hls() -> Result {
    seeks("hls")
}

#[test]
fn the_pages_bar_shows_what_was_on_goes_there_and_comes_back_in_dash() -> Result {
    seeks("dash")
}
