//! Ad breaks on the running program: asked for, cut on their frame in every rendition, told in HLS and in
//! DASH, and over when they should be.

use std::process::Command;
use std::time::Duration;

use harness::publisher::{Feed, Source};
use harness::reader::{Object, ffmpeg, fragments, hls, join};
use harness::server::{ChannelConfig, Server};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result, process, rules, workspace};
use packager::time::{FrameRate, Timescale, Timestamp, iso};
use serde_json::Value;

mod interstitials;
pub(crate) mod live;
pub(crate) mod often;
mod restart;
mod rtmp;
pub(crate) mod stream;
pub(crate) mod styles;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// Segments from the newest that is known of to the break: some seconds are over before the message comes.
const AHEAD: u64 = 8;

/// What `headwater cue` says of channel `a`, and whether something was done.
fn cue(server: &Server, arguments: &[&str]) -> Result<(Value, bool)> {
    cue_of(server, "a", arguments)
}

/// The same of any channel.
fn cue_of(server: &Server, channel: &str, arguments: &[&str]) -> Result<(Value, bool)> {
    let mut command = Command::new(workspace::headwater()?);
    command.args(["cue", channel, "--admin", &server.admin.to_string()]).args(arguments);
    let output = process::run("cue", &mut command, Duration::from_secs(10))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).ok();
    Ok((
        answer.context(format!("cue said {text:?} and {}", output.stderr))?,
        output.status.success(),
    ))
}

/// Where the newest listed segment of channel `a` begins, in video ticks, and the source's picture there.
fn shown(server: &Server, feed: Feed) -> Result<(i64, u64)> {
    let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
    let (_, list) = lists.iter().find(|(rendition, _)| !rendition.audio).context("pictures")?;
    let object = list.objects.last().context("a segment")?;
    let get = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
    let init = fragments::read_init(&get(&object.init)?)?;
    let first = fragments::read_segment(&init, &get(&object.url)?)?;
    let start = first.first().context("a fragment")?.tfdt.cast_signed();
    let picture = feed.frame_of(first_mark(server, object)?);
    Ok((start, picture.context("a picture of the source")?))
}

/// The mark of the first picture of a segment.
fn first_mark(server: &Server, object: &Object) -> Result<u64> {
    let get = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
    let frames = ffmpeg::frames_of_bytes(&join(&get(&object.init)?, &[get(&object.url)?]))?;
    frames.first().and_then(|frame| frame.mark).context("a mark")
}

/// Attributes of the tag of a cue in a playlist.
fn tag<'a>(playlist: &'a str, id: &str) -> Result<&'a str> {
    let start = format!("#EXT-X-DATERANGE:ID=\"{id}\",");
    let found = playlist.lines().find_map(|line| line.strip_prefix(start.as_str()));
    found.context(format!("a tag of {id} in {playlist}"))
}

#[test]
fn a_break_is_cut_on_its_frame_in_every_rendition_and_told_in_both_manifests() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let mut publisher =
        Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    assert!(!cue(&server, &["out"])?.1, "nothing is on the air yet");
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    // A tenth of a second behind a boundary of 1.6 s; for 7.3 s, which is none either.
    let (_, last) = server.numbers("a")?;
    let wished = (last + AHEAD) * 1_600 + 100;
    let at = |millis: u64| iso(Timestamp::new(millis.cast_signed(), Timescale::MILLIS));
    let order = ["out", "--at", &at(wished), "--duration", "7.3", "--event", "7", "--key", "k"];
    let (answer, done) = cue(&server, &order)?;
    assert!(done, "{answer}");
    assert_eq!(cue(&server, &order)?, (answer.clone(), true), "the same key, the same answer");
    let repeated = cue(&server, &order[..7])?.0;
    assert_eq!(repeated["outcomes"][0]["what"], "repeated", "{repeated}");
    // The key is taken, and nobody knows another break.
    let other = ["out", "--duration", "7.3", "--event", "8", "--key", "k"];
    let (refused, done) = cue(&server, &other)?;
    assert!(!done && refused["error"].to_string().contains("key"), "{refused}");
    let (refused, done) = cue(&server, &["cancel", "--event", "99"])?;
    assert!(!done && refused["outcomes"][0]["reason"] == "unknown", "{refused}");
    assert!(refused["error"].to_string().contains("no break of this number"), "{refused}");
    let told = &answer["cues"][0];
    assert_eq!((told["start_ms"].as_u64(), &told["moved"]), (Some(wished), &Value::Null), "{told}");
    let (k, id) = (told["segment"].as_u64().context("k")?, told["id"].as_str().context("id")?);
    let end_k = told["end_segment"].as_u64().context("end")?;
    let before = server.client.text(&server.url("/live/a/180p/index.m3u8"))?;
    let announced = tag(&before, id)?;
    assert!(announced.starts_with(&format!("START-DATE=\"{}\",", at(wished))), "{announced}");
    assert!(
        announced.contains(",SCTE35-OUT=0xFC30") || announced.contains("PLANNED"),
        "{announced}"
    );

    server.wait_segment("a", end_k + 1, Duration::from_secs(40))?;
    let mut tags = Vec::new();
    for (rendition, playlist) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        tags.push(tag(&text, id)?.to_owned());
        for (k, at) in [(k, wished), (end_k, wished + 7_300)] {
            let object = playlist.objects.iter().find(|object| object.k == k).context("segment")?;
            let date = object.date_ns.context("a date")?;
            let late = date - at.cast_signed() * 1_000_000;
            // Sound begins with the first of its frames at or after the cut.
            let allowed = if rendition.audio { 0..21_333_334 } else { 0..1 };
            assert!(allowed.contains(&late), "{}: {k} is {late} ns late", rendition.name);
            let before = playlist.objects.iter().find(|object| object.k + 1 == k);
            let before = &before.context("the segment before")?.init;
            let before = server.client.get(before)?.ok(before)?.body;
            let init = server.client.get(&object.init)?.ok(&object.init)?.body;
            assert_eq!(rules::cmaf::check_splice(&before, &init), []);
            let init = fragments::read_init(&init)?;
            let bytes = server.client.get(&object.url)?.ok(&object.url)?.body;
            let first = fragments::read_segment(&init, &bytes)?;
            let first = first.first().context("a fragment")?;
            assert!(first.samples[0].sync, "{} does not begin with a key frame", object.url);
            let start = i128::from(first.tfdt) * 1_000_000_000 / i128::from(init.timescale);
            assert!((start - i128::from(date)).abs() < 1_000_000, "{start} {date}");
        }
    }
    assert!(tags.iter().all(|one| *one == tags[0]), "{tags:#?}");
    let ended =
        format!(",END-DATE=\"{}\",DURATION=7.30000,PLANNED-DURATION=7.30000,", at(wished + 7_300));
    assert!(tags[0].contains(&ended), "{}", tags[0]);
    let mpd = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    let event = format!("presentationTime=\"{}\" duration=\"657000\">", wished * 90);
    assert!(mpd.contains(&event), "{mpd}");
    let section = answer["section"].as_str().context("a section")?;
    assert!(mpd.contains(&format!("<Binary>{section}</Binary>")), "{mpd}");
    let known = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
    let known: Value = serde_json::from_str(&known).map_err(|e| Failure::new(e.to_string()))?;
    assert_eq!(known["cues"][0]["phase"], "ended", "{known}");
    let log = known["log"].as_array().context("log")?;
    let words: Vec<_> = log.iter().map(|entry| entry["outcome"]["what"].to_string()).collect();
    assert_eq!(words, ["\"accepted\"", "\"repeated\"", "\"refused\""], "{known}");
    assert_eq!(log[0]["section"], section, "{known}");
    assert!(
        log[0]["decoded"].to_string().contains("outOfNetworkIndicator=\\\"true\\\""),
        "{known}"
    );
    assert_eq!(
        (&log[0]["cue"]["segment"], log[0]["at_ms"].as_u64()),
        (&told["segment"], Some(wished))
    );
    assert!(log[0]["late_ms"].as_i64().is_some_and(|late| late < -4_000), "{known}");

    // At once, and back at once.
    let (answer, done) = cue(&server, &["out"])?;
    assert!(done && answer["cues"][0]["moved"].is_null(), "{answer}");
    let id = answer["cues"][0]["id"].as_str().context("id")?.to_owned();
    let k = answer["cues"][0]["segment"].as_u64().context("k")?;
    server.wait_segment("a", k + 1, Duration::from_secs(20))?;
    let (answer, done) = cue(&server, &["in"])?;
    assert!(done, "{answer}");
    let end_k = answer["cues"][0]["end_segment"].as_u64().context("end")?;
    server.wait_segment("a", end_k, Duration::from_secs(20))?;
    let text = server.client.text(&server.url("/live/a/audio/index.m3u8"))?;
    assert!(tag(&text, &id)?.contains(",SCTE35-IN=0xFC30"), "{text}");
    assert!(!cue(&server, &["in"])?.1, "no break is on");
    publisher.check()?;
    witness.finish()?.clean()?;
    server.stop()
}
