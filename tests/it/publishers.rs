//! Real broadcasters of every kind: each frame comes out once, at the right time, in every
//! rendition, with its sound.

use std::time::{Duration, Instant};

use harness::Result;
use harness::publisher::obs::{self, Obs};
use harness::publisher::{Broadcaster, Publisher, Sound, Source};
use harness::server::{ChannelConfig, LEAD_IN, Server};
use harness::witness::{Record, Watch, Witness};
use packager::time::FrameRate;

use crate::examine::{self, Filled};

/// Segments to look at: 8 to 10 s with the lengths that the grid makes of a wish of 2 s.
const SEGMENTS: u64 = 5;
/// How long after its start a broadcaster's channel must be playable. The bar of 3 s after the first
/// key frame is for the demo alone on a machine; here encoders of four processes share two cores.
const PLAYABLE_WITHIN: Duration = Duration::from_secs(10);

/// What a witness has seen of a channel, its publisher, and what was filled.
pub(crate) type Taken = (Record, Publisher, Filled);

/// Publishes to a server of its own and gives what a witness saw of the first segments.
fn take(source: Source) -> Result<Taken> {
    take_on(ChannelConfig::tiny("a").patient().with_key("k"), source)
}

/// The same on a channel `a` with the key `k`, configured like this.
pub(crate) fn take_on(channel: ChannelConfig, source: Source) -> Result<Taken> {
    let server = Server::start(&[channel])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let mut publisher = source.publish(&server.publish_url("a", Some("k")))?;
    let started = Instant::now();
    let playable = server.wait_playable("a", PLAYABLE_WITHIN);
    publisher.check()?;
    playable?;
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + LEAD_IN + SEGMENTS - 1, Duration::from_secs(20))?;
    publisher.check()?;
    let record = witness.finish()?;
    assert!(started.elapsed() < Duration::from_secs(40));
    let filled = Filled::of(&server, "a")?;
    publisher.kill();
    server.stop()?;
    Ok((record, publisher, filled))
}

/// The same, with everything examined; the sound must have been heard.
fn comes_out_whole(source: Source) -> Result {
    let audible = source.sound.is_some();
    let (record, publisher, filled) = take(source)?;
    let ticks = examine::whole(&record, &publisher, &filled)?;
    assert_eq!(ticks >= 4, audible, "{ticks} ticks heard");
    Ok(())
}

const STEREO_44: Option<Sound> = Some(Sound { rate: 44_100, channels: 2 });
const MONO_48: Option<Sound> = Some(Sound { rate: 48_000, channels: 1 });

#[test]
fn film_at_24_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(24, 1)))
}

#[test]
fn video_at_25_with_sound_at_44100_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(25, 1)).with_sound(STEREO_44))
}

#[test]
fn video_at_29_97_with_b_frames_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(30_000, 1001)).with_b_frames(2))
}

#[test]
fn video_at_30_with_mono_sound_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(30, 1)).with_sound(MONO_48))
}

#[test]
fn video_at_50_without_sound_comes_out_whole_and_silent() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(50, 1)).with_sound(None))
}

#[test]
fn video_at_60_with_b_frames_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(60, 1)).with_b_frames(3))
}

#[test]
fn hevc_by_enhanced_rtmp_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(25, 1)).by(Broadcaster::NewerFfmpegHevc))
}

#[test]
fn a_gstreamer_broadcast_comes_out_whole() -> Result {
    comes_out_whole(Source::tiny(FrameRate::new(30, 1)).by(Broadcaster::GStreamer))
}

/// What OBS draws bears no clock: its dialect of RTMP and its times are what is tried.
#[test]
fn obs_studio_broadcasts_without_a_gap_or_a_discontinuity() -> Result {
    if !obs::installed() {
        return Err(harness::Failure::new("OBS is missing: run `infra/setup.sh test`"));
    }
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let obs = Obs::stream_to(&format!("rtmp://{}/live", server.rtmp), "a?key=k")?;
    // OBS starts a whole desktop program with a software renderer first.
    let started = server.wait_playable("a", Duration::from_secs(60));
    assert!(started.is_ok(), "{started:?}; OBS said:\n{}", obs.log_tail());
    let (first, _) = server.numbers("a")?;
    server.wait_segment("a", first + LEAD_IN + SEGMENTS - 1, Duration::from_secs(30))?;
    let record = witness.finish()?;
    record.clean()?;
    let source = server.status("a")?["source"].clone();
    assert_eq!(source["size"], serde_json::json!([640, 360]), "{source}");
    assert!(source["audio"].is_string(), "{source}");
    drop(obs);
    server.stop()
}
