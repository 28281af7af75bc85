//! Other people's players on the live addresses, and other people's parsers on every manifest.

use std::time::Duration;

use harness::publisher::{Publisher, Source};
use harness::reader::{self, Frame, dash, ffmpeg, gstreamer, hls};
use harness::rules::dash::{Schema, check_schema};
use harness::server::{ChannelConfig, Server};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Result};
use packager::grid::Grid;
use packager::time::{FrameRate, Span};

use crate::examine;

/// 10 s at 25 frames per second.
const FRAMES: u64 = 250;

fn all_follow(frames: &[Frame], publisher: &Publisher) -> Result {
    let shown = examine::shown(frames, publisher.feed())?;
    assert!(shown.len() as u64 >= FRAMES);
    examine::every_frame_once(&shown, publisher.feed(), publisher.excused(FRAMES))
}

#[test]
fn ten_seconds_play_in_gstreamer_and_ffmpeg_by_hls_and_dash() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_ladder(&["180p"])])?;
    let mut publisher =
        Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(10))?;
    let (list, manifest) = (server.url("/live/a/index.m3u8"), server.url("/live/a/manifest.mpd"));
    let bound = Duration::from_secs(40);
    let live = ["-live_start_index", "0"];
    all_follow(&ffmpeg::frames(&list, &live, Some(FRAMES))?, &publisher).context("ffmpeg, HLS")?;
    // One rendition's list, as gst-launch does not follow its player from one to the other.
    let one = server.url("/live/a/180p/index.m3u8");
    all_follow(&gstreamer::frames(&one, FRAMES, bound)?, &publisher).context("GStreamer, HLS")?;
    publisher.check()?;
    // Both programs' DASH players count segments from the availability start and not from the
    // Period's: ffmpeg always, GStreamer 1.22 because it reads no duration of more than 24 hours. So
    // they get the segments that the MPD names.
    let read = dash::manifest(&manifest, &server.client.text(&manifest)?)?;
    let video = read.representations.iter().find(|r| !r.audio).context("a video Representation")?;
    let now_ns = (harness::clock::now_ms() * 1_000_000) as i64;
    let numbers = video.available(&read, now_ns - 500_000_000);
    let init = server.client.get(&video.init)?.ok(&video.init)?.body;
    let mut segments = Vec::new();
    for k in numbers {
        let url = video.object(k).url;
        segments.push(server.client.get(&url)?.ok(&url)?.body);
    }
    let joined = reader::join(&init, &segments);
    all_follow(&ffmpeg::frames_of_bytes(&joined)?, &publisher).context("ffmpeg, DASH")?;
    all_follow(&gstreamer::frames_of_bytes(&joined, bound)?, &publisher).context("GStreamer, DASH")
}

#[test]
fn every_manifest_is_valid_and_tells_the_exact_time() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let rate = FrameRate::new(30, 1);
    let mut publisher = Source::tiny(rate).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(10))?;
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + 6, Duration::from_secs(30))?;
    publisher.check()?;
    let url = server.url("/live/a/index.m3u8");
    let lists = hls::fetch(&server.client, &url)?;
    let record = witness.finish()?;
    record.clean()?;
    match Schema::find() {
        Some(schema) => {
            for text in &record.manifests {
                assert_eq!(check_schema(&schema, text).context("xmllint")?, [], "{text}");
            }
        }
        None => skipped("no DASH schema"),
    }
    exact(&record, &lists, rate)
}

/// Segment k is the k-th since the epoch, and its date, its decode time and the sum of the durations
/// before it are the same instant, to a tick.
pub(crate) fn exact(
    record: &Record,
    lists: &[(hls::Rendition, hls::Playlist)],
    rate: FrameRate,
) -> Result {
    let grid = Grid::choose(rate, 48_000, Span::millis(2000), Span::millis(300));
    for (rendition, playlist) in lists {
        let track = record.track(&rendition.name)?;
        let scale = i128::from(track.timescale()?);
        let tick = 1_000_000_000 / scale + 1;
        let mut expected: Option<i128> = None;
        for object in &playlist.objects {
            let Some(seen) = track.segments.get(&object.k) else { continue };
            let start = i128::from(seen.start());
            let date = i128::from(object.date_ns.context("EXT-X-PROGRAM-DATE-TIME")?);
            let decode = start * 1_000_000_000 / scale;
            assert!((date - decode).abs() <= tick.max(1_000_000), "date {date}, tfdt {decode}");
            let length = i128::from(seen.end()) - start;
            let stated = (object.duration * scale as f64).round() as i128;
            assert!((stated - length).abs() <= 1, "EXTINF {stated} ticks, media {length}");
            if let Some(expected) = expected {
                assert_eq!(start, expected);
            }
            expected = Some(start + length);
            if rendition.audio {
                assert_eq!(start, i128::from(grid.audio_boundary(object.k)));
            } else {
                assert_eq!(start, i128::from(grid.boundary(object.k)));
            }
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a skipped check is said")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

#[test]
fn a_channel_is_not_there_before_its_first_publisher() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_key("k")])?;
    for path in ["/live/a/index.m3u8", "/live/a/manifest.mpd", "/live/a/180p/index.m3u8"] {
        let answer = server.client.get(&server.url(path))?;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
    }
    let _publisher =
        Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", Some("k")))?;
    server.wait_state("a", "live", Duration::from_secs(15))?;
    server.wait_playable("a", Duration::from_secs(5))
}
