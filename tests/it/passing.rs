//! A channel that packages its source as it is: every frame comes out as the source coded it, and a
//! hole is filler in one run and then another run.

use std::time::Duration;

use harness::player::{Library, Player, Stage};
use harness::publisher::{Broadcaster, Sound, Source};
use harness::rules::dash::{Schema, check_schema};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;

use crate::absence;
use crate::examine;
use crate::publishers::take_on;

const RATE: FrameRate = FrameRate::new(25, 1);
const STEREO_44: Option<Sound> = Some(Sound { rate: 44_100, channels: 2 });

/// Who watches. shaka-player does not begin low-latency HLS of a passed source reliably.
pub(crate) const PLAYERS: [Library; 3] = [Library::HlsJs, Library::DashJs, Library::ShakaDash];

/// Publishes and examines all that came out: each frame once, in sync with the sound, in one run.
fn comes_out_whole(source: Source) -> Result<Record> {
    let audible = source.sound.is_some();
    let channel = ChannelConfig::pass_through("a").with_key("k");
    let (record, publisher, filled) = take_on(channel, source)?;
    let ticks = examine::whole(&record, &publisher, &filled)?;
    assert_eq!(ticks >= 4, audible, "{ticks} ticks heard");
    absence::one_run(&record)?;
    Ok(record)
}

fn with_gop(source: Source, gop: u32) -> Source {
    Source { gop, ..source }
}

#[test]
fn b_frames_and_sound_at_44100_pass_through_whole_in_segments_of_a_gop() -> Result {
    let source = Source::tiny(RATE).with_b_frames(2).with_sound(STEREO_44);
    let record = comes_out_whole(with_gop(source, 50))?;
    let track = record.track("source")?;
    let scale = u64::from(track.timescale()?);
    for segment in track.segments.values() {
        let length = segment.end() - segment.start();
        assert!(length.abs_diff(2 * scale) <= 20 * 2, "{length} ticks of 1/{scale} s");
    }
    Ok(())
}

#[test]
fn video_at_29_97_passes_through_whole() -> Result {
    comes_out_whole(with_gop(Source::tiny(FrameRate::new(30_000, 1_001)), 60)).map(drop)
}

#[test]
fn hevc_over_enhanced_rtmp_passes_through_whole() -> Result {
    comes_out_whole(Source::tiny(RATE).by(Broadcaster::NewerFfmpegHevc)).map(drop)
}

#[test]
fn a_source_without_sound_passes_through_beside_silence() -> Result {
    comes_out_whole(Source::tiny(RATE).with_sound(None)).map(drop)
}

/// Key frames 1.2, 1.8 and 1.4 s apart: segments are named one by one from the start, and players that
/// have to read the manifest for each play on.
#[test]
fn a_source_whose_key_frames_come_as_they_please_plays_in_dash_too() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let keys = "expr:eq(mod(n,110),0)+eq(mod(n,110),30)+eq(mod(n,110),75)";
    let source = Source::tiny(RATE).with_output_args(&["-force_key_frames", keys]);
    let mut publisher = with_gop(source, 100_000).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    // As old as players are behind: who joins earlier begins with less than they want to have.
    server.wait_more("a", 6)?;
    let stage = Stage::open()?;
    let join = |library: &Library| Player::start(&stage, *library, &server.url(""), "a");
    let players = PLAYERS.iter().map(join).collect::<Result<Vec<_>>>()?;
    for player in &players {
        player.wait_started(Duration::from_secs(15))?;
        player.wait_played(Duration::from_secs(20), Duration::from_secs(60))?;
        player.smooth()?;
    }
    publisher.check()?;
    let status = server.status("a")?;
    assert_eq!(status["dash_low_latency"], false, "{status}");
    let warned = status["source"]["warnings"].to_string();
    assert!(warned.contains("not at low latency"), "{warned}");
    let record = witness.finish()?;
    record.clean()?;
    let last = record.manifests.last().context("a manifest")?;
    assert_eq!(last.matches("<Period").count(), 1, "named from the start:\n{last}");
    // Pictures, key frames and stills to search by, and sound.
    assert_eq!(last.matches("<SegmentTimeline>").count(), 4);
    if let Some(schema) = Schema::find() {
        assert_eq!(check_schema(&schema, last).context("the schema's reader")?, []);
    }
    absence::one_run(&record)
}

/// Filler fills the hole, another run begins behind it, and players watch on or join inside.
#[test]
fn a_passed_source_away_for_eight_seconds_costs_one_discontinuity() -> Result {
    let away = Duration::from_secs(8);
    let channel = ChannelConfig::pass_through("a").patient();
    let (record, _) = absence::absence_on(channel, away, &PLAYERS)?;
    one_seam(&record)
}

#[test]
fn a_passed_source_taken_over_by_another_size_costs_one_discontinuity() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a").with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut first = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", Duration::from_secs(15))?;
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 3, Duration::from_secs(30))?;
    first.check()?;
    let other = Source::tiny(RATE).with_size(480, 270).with_sound(STEREO_44).publish(&url)?;
    first.wait(Duration::from_secs(15)).context("the first publisher is told to end")?;
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 6, Duration::from_secs(30))?;
    drop(other);
    let record = witness.finish()?;
    record.clean()?;
    one_seam(&record)
}

#[test]
fn a_source_without_key_frames_is_refused_with_the_reason() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let source = with_gop(Source::tiny(RATE), 100_000);
    let mut publisher = source.publish(&server.publish_url("a", None))?;
    publisher.wait(Duration::from_secs(30)).context("the publisher is told to end")?;
    until("reason in the status", Duration::from_secs(5), || {
        let status = server.status("a")?;
        let error = status["last_error"].as_str().unwrap_or_default().to_owned();
        Ok(Look::at(error.contains("key frame interval").then_some(()), status.to_string()))
    })
}

/// The same source, where the operator wants it played all the same; and the next one passes as it is.
#[test]
fn a_source_that_cant_pass_is_encoded_where_the_channel_says_so() -> Result {
    let channel = ChannelConfig::pass_through("a").with("fallback = \"encode\"");
    let server = Server::start(&[channel.with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut first = with_gop(Source::tiny(RATE), 100_000).publish(&url)?;
    server.wait_playable("a", Duration::from_secs(40))?;
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 3, Duration::from_secs(30))?;
    let status = server.status("a")?;
    let words = status["last_error"].as_str().unwrap_or_default();
    assert!(words.contains("is encoded"), "{status}");
    first.check()?;
    let other = with_gop(Source::tiny(RATE), 50).publish(&url)?;
    first.wait(Duration::from_secs(15)).context("the first publisher is told to end")?;
    until("the next source as it is", Duration::from_secs(20), || {
        let status = server.status("a")?;
        Ok(Look::at(status["last_error"].is_null().then_some(()), status.to_string()))
    })?;
    let (_, last) = server.numbers("a")?;
    server.wait_segment("a", last + 4, Duration::from_secs(30))?;
    drop(other);
    let record = witness.finish()?;
    record.clean()?;
    one_seam(&record)
}

/// Two runs in every rendition, with the seam at the same number, no gap, and no time left out.
pub(crate) fn one_seam(record: &Record) -> Result {
    let mut seams = Vec::new();
    for track in &record.tracks {
        let name = &track.rendition.name;
        let inits = track.inits.len();
        let marks = track.segments.iter().filter(|(_, s)| s.object.discontinuity);
        let marks: Vec<u64> = marks.map(|(k, _)| *k).collect();
        if inits != 2 || marks.len() != 1 {
            return Err(Failure::new(format!(
                "{name}: {inits} runs, discontinuities at {marks:?}"
            )));
        }
        seams.push(marks);
    }
    assert!(seams.windows(2).all(|pair| pair[0] == pair[1]), "{seams:?}");
    Ok(())
}
