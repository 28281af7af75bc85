//! Cues in a recorded stream, on the running program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harness::reader::hls;
use harness::splicer::{Message, Stream, splice};
use packager::scte35::Section;
use packager::scte35::section::{BreakDuration, Command as Splicing, Insert, Splice, SpliceTime};

use super::*;

/// With and without the descriptor that SCTE 35 §8.1 asks for, as splicers do it.
const REGISTERED: Stream<'_> = Stream { pid: 0x1f0, descriptors: b"\x05\x04CUEI" };
const PLAIN: Stream<'_> = Stream { pid: 0x1f1, descriptors: &[] };
/// Length of each break and of the programme between them, in pictures: that of a segment, so that each
/// of the four splices is as far from a boundary of the grid as the first.
const BREAK: usize = 48;

/// A break of so many pictures at a time, that ends by itself.
fn out(event_id: u32, at: i64) -> Result<Bytes> {
    let splice = Splice {
        out: true,
        compliance: true,
        time: SpliceTime::Program(Some(at.rem_euclid(TURN).unsigned_abs())),
        duration: Some(BreakDuration { auto_return: true, ticks: BREAK as u64 * 3_600 }),
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let insert = Splicing::Insert(Insert { event_id, splice: Some(splice) });
    Section::new(insert, Vec::new()).encode().context("a section")
}

/// A recording with two streams of cues is played: each break begins with the picture that its section
/// names, in every rendition, and is told with the section as it was sent.
#[test]
#[ignore = "half a minute of real time, most of it a recording: `make soak`"]
fn cues_of_a_recording_cut_on_their_pictures_with_and_without_a_registration() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let path = dir.path().join("plain.ts");
    let offset = ["-output_ts_offset", NEAR_THE_TURN];
    let source = Source::tiny(RATE).with_output_args(&offset);
    let publisher = source.publish(&path.display().to_string())?;
    let feed = publisher.feed();
    until("twelve seconds", Duration::from_secs(25), || {
        let frames = publisher.frames();
        Ok(Look::at((frames >= 300).then_some(()), format!("{frames} frames")))
    })?;
    publisher.finish()?;
    let plain = std::fs::read(&path).context("the recording")?;
    let pictures = by_us(&plain, 1316).0.pictures;
    let (first, second) = (out(7, pictures[130])?, out(8, pictures[130 + 2 * BREAK])?);
    let messages = [
        Message { pid: REGISTERED.pid, before: 20, section: &first },
        Message { pid: PLAIN.pid, before: 100, section: &second },
    ];
    let path = dir.path().join("cues.ts");
    let cues = splice(&plain, &[REGISTERED, PLAIN], &messages)?;
    std::fs::write(&path, cues).context("the recording with cues")?;

    let source = format!("source = {:?}\nrepeat = \"once\"", path.display().to_string());
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with(&source)])?;
    server.wait_playable("a", Duration::from_secs(15))?;
    let known = until("two breaks that have ended", Duration::from_secs(30), || {
        let text = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
        let known: serde_json::Value = serde_json::from_str(&text).context("cues")?;
        let cues = known["cues"].as_array().cloned().unwrap_or_default();
        let ended = cues.len() == 2 && cues.iter().all(|cue| cue["phase"] == "ended");
        Ok(Look::at(ended.then_some(cues), known.to_string()))
    })?;
    let last = known.iter().filter_map(|cue| cue["end_segment"].as_u64()).max();
    server.wait_segment("a", last.context("an end")? + 1, Duration::from_secs(20))?;
    let manifest = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    for (event, (section, picture)) in [(7, (&first, 130)), (8, (&second, 130 + 2 * BREAK as u64))]
    {
        let cue =
            known.iter().find(|cue| cue["event_id"] == event).context(format!("{known:?}"))?;
        let hex: String = section.iter().map(|byte| format!("{byte:02X}")).collect();
        for (rendition, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
            let text = server.client.text(&rendition.url)?;
            assert!(text.contains(&format!("SCTE35-OUT=0x{hex}")), "{text}");
            if rendition.audio {
                continue;
            }
            for (edge, picture) in [("segment", picture), ("end_segment", picture + BREAK as u64)] {
                let k = cue[edge].as_u64().context(edge)?;
                let object = list.objects.iter().find(|object| object.k == k).context("listed")?;
                let init = server.client.get(&object.init)?.ok(&object.init)?.body;
                let bytes = server.client.get(&object.url)?.ok(&object.url)?.body;
                let frames = ffmpeg::frames_of_bytes(&[init, bytes].concat())?;
                let shown = examine::shown(&frames, feed)?;
                assert_eq!(shown[0].source, picture, "{edge} of {event} in {}", rendition.name);
            }
        }
        let base64 = STANDARD.encode(section);
        assert!(manifest.contains(&format!("<Binary>{base64}</Binary>")), "{base64}: {manifest}");
    }
    server.stop()
}
