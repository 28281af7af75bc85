//! Cues in a recorded stream, on the running program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harness::reader::{hls, scte35};
use harness::splicer::{Message, Stream, splice};
use packager::grid::Grid;
use packager::scte35::Section;
use packager::scte35::section::{BreakDuration, Command as Splicing, Insert, Splice, SpliceTime};
use packager::time::Span;

use super::*;

/// With and without the descriptor that SCTE 35 §8.1 asks for, as splicers do it.
const REGISTERED: Stream<'_> = Stream { pid: 0x1f0, descriptors: b"\x05\x04CUEI" };
const PLAIN: Stream<'_> = Stream { pid: 0x1f1, descriptors: &[] };
/// Seconds of the recording: where each section stands, where the first break begins, and the end of it
/// all.
const STAND: [u64; 2] = [1, 9];
const BEGINS: u64 = 5;
const ENDS: u64 = 20;

/// A break of so many ticks at a time, that ends by itself.
fn out(event_id: u32, at: i64, ticks: u64) -> Result<Bytes> {
    let splice = Splice {
        out: true,
        compliance: true,
        time: SpliceTime::Program(Some(at.unsigned_abs())),
        duration: Some(BreakDuration { auto_return: true, ticks }),
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let insert = Splicing::Insert(Insert { event_id, splice: Some(splice) });
    Section::new(insert, Vec::new()).encode().context("a section")
}

/// A recording with two streams of cues, whose clock turns over, is played: each break begins and ends
/// with the picture that its section names, in every rendition, and is told with the section as it was
/// sent.
pub(crate) fn session(rate: FrameRate) -> Result {
    let frames = |seconds: u64| seconds * u64::from(rate.num) / u64::from(rate.den);
    // Each break and the programme between them last as long as two segments, which is the least between
    // two splices, so that each of the four is as far from a boundary of the grid as the first, wherever
    // that is.
    let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(1_000));
    let length = 2 * grid.segment_ticks / u64::from(rate.frame_ticks());
    let ticks = length * 90_000 * u64::from(rate.den) / u64::from(rate.num);
    // Between two key frames of the recording, which has one a second.
    let first = frames(BEGINS) + 7;
    let breaks = [first, first + 2 * length];

    let dir = tempfile::tempdir().context("a folder")?;
    let [plain, cued] = ["plain.ts", "cued.ts"].map(|name| dir.path().join(name));
    let source = Source::tiny(rate).with_output_args(&["-output_ts_offset", NEAR_THE_TURN]);
    let feed = source.record(&plain, frames(ENDS))?;
    let plain = std::fs::read(&plain).context("the recording")?;
    let pictures = by_us(&plain, 1316).0.pictures;
    let time = |picture: u64| pictures.get(picture as usize).copied().context("a picture");
    let times = [time(breaks[0])?, time(breaks[1])?];
    let sections = [out(7, times[0], ticks)?, out(8, times[1], ticks)?];
    let read = scte35::read(&sections.each_ref().map(|section| STANDARD.encode(section)))?;
    for (read, at) in read.iter().zip(times) {
        // It tells microseconds.
        let seconds = read.command["pts_time"].as_f64().context("pts_time")?;
        assert_eq!((seconds * 90_000.0).round() as i64, at, "{read:?}");
    }
    let message = |of: usize, stream: Stream<'_>| Message {
        pid: stream.pid,
        before: frames(STAND[of]) as usize,
        section: &sections[of],
    };
    let messages = [message(0, REGISTERED), message(1, PLAIN)];
    std::fs::write(&cued, splice(&plain, &[REGISTERED, PLAIN], &messages)?).context("cues")?;

    let source = format!("source = {:?}\nrepeat = \"once\"", cued.display().to_string());
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with(&source)])?;
    server.wait_playable("a", Duration::from_secs(15))?;
    let known = until("two breaks that have ended", Duration::from_secs(60), || {
        let text = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
        let known: serde_json::Value = serde_json::from_str(&text).context("cues")?;
        let cues = known["cues"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ended = cues.len() == 2 && cues.iter().all(|cue| cue["phase"] == "ended");
        Ok(Look::at(ended.then(|| known.clone()), known.to_string()))
    })?;
    let cue = |event: u64| {
        let mut cues = known["cues"].as_array().into_iter().flatten();
        cues.find(|cue| cue["event_id"] == event).context(format!("{event} in {known}"))
    };
    let last = cue(8)?["end_segment"].as_u64().context("an end")?;
    server.wait_segment("a", last + 1, Duration::from_secs(20))?;
    let manifest = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    for ((event, section), picture) in [7, 8].into_iter().zip(&sections).zip(breaks) {
        let (cue, base64) = (cue(event)?, STANDARD.encode(section));
        assert!(cue["moved"].is_null(), "{cue}");
        let mut log = known["log"].as_array().into_iter().flatten();
        let logged = log.any(|one| one["from"] == "ts" && one["section"] == base64.as_str());
        assert!(logged, "{base64} in {known}");
        assert!(manifest.contains(&format!("<Binary>{base64}</Binary>")), "{base64}: {manifest}");
        let hex: String = section.iter().map(|byte| format!("{byte:02X}")).collect();
        for (rendition, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
            let text = server.client.text(&rendition.url)?;
            assert!(text.contains(&format!("SCTE35-OUT=0x{hex}")), "{text}");
            if rendition.audio {
                continue;
            }
            for (edge, picture) in [("segment", picture), ("end_segment", picture + length)] {
                let k = cue[edge].as_u64().context(edge)?;
                let object = list.objects.iter().find(|object| object.k == k).context("listed")?;
                let init = server.client.get(&object.init)?.ok(&object.init)?.body;
                let bytes = server.client.get(&object.url)?.ok(&object.url)?.body;
                let frames = ffmpeg::frames_of_bytes(&[init, bytes].concat())?;
                let shown = examine::shown(&frames, feed)?;
                assert_eq!(shown[0].source, picture, "{edge} of {event} in {}", rendition.name);
            }
        }
    }
    server.stop()
}

#[test]
fn cues_of_a_recording_cut_on_their_pictures_with_and_without_a_registration() -> Result {
    session(FrameRate::new(30_000, 1_001))
}
