//! Ad breaks in a transport stream: threefive3 puts sections into a recording, which a channel plays, and
//! the first picture of the segment at a splice is the one that the recording has at the section's time.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::publisher::Source;
use harness::reader::{ffmpeg, hls, join};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, process, workspace};
use packager::scte35::Section;
use packager::scte35::section::{BreakDuration, Command as Ask, Insert, Splice, SpliceTime};
use packager::time::FrameRate;
use serde_json::Value;

use super::{PLAYABLE_WITHIN, tag};

/// Seconds of the recording: where the section stands, where its break begins, how long that is, and the
/// end of it all.
const STANDS: u64 = 3;
const BEGINS: u64 = 8;
const LASTS: u64 = 4;
const ENDS: u64 = 15;
/// Number of the break.
const EVENT: u32 = 4_242;

/// Times of a stream's pictures at 90 kHz, in the order they are shown.
fn times(path: &std::path::Path) -> Result<Vec<i64>> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts"]);
    command.args(["-of", "csv=p=0"]).arg(path);
    let output = process::run("ffprobe", &mut command, Duration::from_secs(60))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok());
    let mut times: Vec<i64> = numbers.collect();
    times.sort_unstable();
    Ok(times)
}

/// A break that returns by itself.
fn section(at: i64) -> Result<String> {
    let splice = Splice {
        out: true,
        compliance: true,
        time: SpliceTime::Program(Some(at.unsigned_abs())),
        duration: Some(BreakDuration { auto_return: true, ticks: LASTS * 90_000 }),
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let command = Ask::Insert(Insert { event_id: EVENT, splice: Some(splice) });
    let bytes = Section::new(command, Vec::new()).encode().context("a section")?;
    Ok(STANDARD.encode(bytes))
}

/// Plays a recording of pictures at `rate`.
pub(crate) fn session(rate: FrameRate) -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let path = |name: &str| dir.path().join(name);
    let (plain, cued, sidecar) = (path("plain.ts"), path("cued.ts"), path("sidecar.txt"));
    let publisher = Source::tiny(rate).publish(&plain.display().to_string())?;
    let feed = publisher.feed();
    let frames = |seconds: u64| seconds * u64::from(rate.num) / u64::from(rate.den);
    until("the recording", Duration::from_secs(ENDS * 4), || {
        let made = publisher.frames();
        Ok(Look::at((made > frames(ENDS)).then_some(()), format!("{made} pictures")))
    })?;
    publisher.finish()?;
    let times = times(&plain)?;
    // One past a whole second: no boundary of anything.
    let splice = frames(BEGINS) + 1;
    let at = *times.get(splice as usize).context("the picture of the splice")?;
    let section = section(at)?;
    let stands = *times.get(frames(STANDS) as usize).context("a picture")? as f64 / 90_000.0;
    std::fs::write(&sidecar, format!("{stands:.6},{section}\n")).context("sidecar")?;
    let mut inject = Command::new(workspace::python().with_file_name("threefive3"));
    inject.arg("inject").arg("-i").arg(&plain).arg("-o").arg(&cued).arg("-s").arg(&sidecar);
    let output = process::run("threefive3", &mut inject, Duration::from_secs(60))?;
    if !output.status.success() {
        return Err(Failure::new(format!("threefive3 {}: {}", output.status, output.stderr)));
    }

    let channel = ChannelConfig::tiny("a").patient();
    let source = format!("source = {:?}\nrepeat = \"once\"", cued.display().to_string());
    let server = Server::start(&[channel.with(&source)])?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let heard = until("the cue", Duration::from_secs(30), || {
        let known = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
        let known: Value = serde_json::from_str(&known).context(known.clone())?;
        let cue = known["cues"].get(0).cloned();
        Ok(Look::at(cue, known.to_string()))
    })?;
    assert_eq!(
        (&heard["event_id"], &heard["moved"]),
        (&Value::from(EVENT), &Value::Null),
        "{heard}"
    );
    let k = heard["segment"].as_u64().context("segment")?;
    let end_k = heard["end_segment"].as_u64().context("end")?;
    server.wait_segment("a", end_k, Duration::from_secs(40))?;
    let id = heard["id"].as_str().context("id")?;
    // The splice's picture, and the first behind the break.
    let back =
        splice + (LASTS * u64::from(rate.num) + u64::from(rate.den) / 2) / u64::from(rate.den);
    for (rendition, playlist) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        let said = tag(&text, id)?;
        assert!(said.contains(",PLANNED-DURATION=4.00000,"), "{said}");
        for (k, frame) in [(k, splice), (end_k, back)] {
            let object = playlist.objects.iter().find(|object| object.k == k).context("segment")?;
            if rendition.audio {
                continue;
            }
            let get = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
            let bytes = join(&get(&object.init)?, &[get(&object.url)?]);
            let shown = ffmpeg::frames_of_bytes(&bytes)?;
            let first = shown.first().and_then(|frame| frame.mark).context("a mark")?;
            let shows = feed.frame_of(first);
            assert_eq!(shows, Some(frame), "{}: segment {k}", rendition.name);
        }
    }
    let log = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
    assert!(
        log.contains(&format!("\"section\":\"{section}\"")) && log.contains("\"from\":\"ts\""),
        "{log}"
    );
    server.stop()
}

#[test]
fn a_section_of_a_transport_stream_is_cut_on_the_picture_it_names() -> Result {
    session(FrameRate::new(30_000, 1_001))
}
