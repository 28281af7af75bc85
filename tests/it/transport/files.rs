//! Channels that play recordings.

use super::*;

/// Pictures of a recording that is played again and again: six seconds.
const RECORDED: u64 = 150;

/// What is left of a stream that is joined at its second key frame, with the tables before it.
fn joined(bytes: &[u8]) -> Result<&[u8]> {
    let pid = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
    // Where a unit begins, with a random_access_indicator.
    let is_key = |packet: &[u8]| {
        pid(packet) == 0x100
            && packet[1] & 0x40 != 0
            && packet[3] & 0x20 != 0
            && packet[5] & 0x40 != 0
    };
    let packets: Vec<_> = bytes.chunks_exact(PACKET).collect();
    let mut keys = packets.iter().enumerate().filter(|(_, packet)| is_key(packet));
    let (second, _) = keys.nth(1).context("a second key frame")?;
    let tables = packets[..second].iter().rposition(|packet| pid(packet) == 0);
    Ok(&bytes[tables.context("a table")? * PACKET..])
}

/// A recording whose clock turns over plays in a ladder, as H.265 with AC-3, and as it is, with AAC in ADTS
/// and in LATM: the pictures of a turn of the file one after the other, with the sound that belongs to them,
/// and the next turn behind it in the same run. One whose groups of pictures are open, with MPEG audio,
/// plays once, from the middle on, where it has no IDR picture.
#[test]
fn a_file_whose_clock_turns_over_is_played_again_and_again_in_one_run() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let [aac, mp2, latm, hevc, open] =
        ["aac", "mp2", "latm", "hevc", "open"].map(|name| dir.path().join(format!("{name}.ts")));
    let offset = ["-output_ts_offset", NEAR_THE_TURN];
    let source = Source::tiny(RATE).with_b_frames(2).with_output_args(&offset);
    let feed = source.record(&aac, RECORDED)?;
    for (to, how) in [
        (&mp2, &["-c:v", "copy", "-c:a", "mp2"][..]),
        (
            &open,
            &[
                "-c:v",
                "libx264",
                "-x264-params",
                "open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=2:b-adapt=0",
                "-c:a",
                "mp2",
                "-b:a",
                "192k",
                "-mpegts_flags",
                "pat_pmt_at_frames",
            ],
        ),
        // What is in ADTS already would be copied as that, whatever the map says.
        (&latm, &["-c:v", "copy", "-c:a", "aac", "-mpegts_flags", "latm"]),
        (&hevc, &["-c:v", "libx265", "-x265-params", "log-level=error:keyint=25", "-c:a", "ac3"]),
    ] {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-i"]).arg(&aac);
        command.args(how).args(offset).arg(to);
        run("ffmpeg", &mut command)?;
    }
    let bytes = std::fs::read(&open).context("a recording")?;
    std::fs::write(&open, joined(&bytes)?).context("the rest of it")?;

    let source = |path: &Path| format!("source = {:?}", path.display().to_string());
    let ladder = |name| ChannelConfig::tiny(name).with_ladder(&["96p"]).patient();
    let server = Server::start(&[
        ladder("open").with(&source(&open)).with("repeat = \"once\"").with("slate_after = \"2m\""),
        ladder("hevc").with(&source(&hevc)),
        ChannelConfig::pass_through("aac").with(&source(&aac)),
        ChannelConfig::pass_through("latm").with(&source(&latm)),
        // As it is, MPEG audio can't be packaged: the reason is told.
        ChannelConfig::pass_through("refused").with(&source(&mp2)),
    ])?;
    let names = ["open", "hevc", "aac", "latm"];
    let witnesses = names.map(|name| Witness::start(Watch::new(&server.url(""), name)));
    // What plays once is described for as long as it plays.
    for (name, video, audio) in [("open", "avc1", "mp2"), ("hevc", "hvc1", "ac-3")] {
        let status = until("description of a recording", Duration::from_secs(15), || {
            let status = server.status(name)?;
            let is_described = !status["source"]["audio"].is_null();
            Ok(Look::at(is_described.then_some(status.clone()), status.to_string()))
        })?;
        assert_eq!(status["source"]["audio"], audio, "{status}");
        assert!(status["source"]["video"].to_string().contains(video), "{status}");
        assert_eq!(status["source"]["transport_faults"], serde_json::json!({}), "{status}");
    }
    for name in names {
        server.wait_playable(name, Duration::from_secs(15)).context(name)?;
        let (first, _) = server.numbers(name)?;
        server.wait_segment(name, first + LEAD_IN + 5, Duration::from_secs(25))?;
    }
    until("the reason why MPEG audio is not packaged", Duration::from_secs(10), || {
        let status = server.status("refused")?;
        let told = status["last_error"].as_str().is_some_and(|error| error.contains("in mp2"));
        Ok(Look::at(told.then_some(()), status.to_string()))
    })?;
    for (name, witness) in names.into_iter().zip(witnesses) {
        let record = witness.finish()?;
        record.clean().context(name)?;
        absence::one_run(&record).context(name)?;
        let filled = examine::Filled::of(&server, name)?;
        let check = if name == "open" { once } else { turns };
        check(&record, feed, &filled).context(name)?;
    }
    server.stop()
}

/// The pictures of a record go by one by one from the second group of the file on, with their sound.
fn once(record: &Record, feed: Feed, filled: &examine::Filled) -> Result {
    let track = record.tracks.iter().find(|t| !t.rendition.audio).context("pictures")?;
    let shown = examine::decoded(track, feed)?;
    let end = shown.iter().position(|one| one.source + 1 == RECORDED).context("the last one")?;
    let played = &shown[..=end];
    // The two that are shown before the first key frame, and refer to what came before it, are left out.
    assert_eq!(played[0].source, 25, "what is shown first");
    examine::every_frame_once(played, feed, filled.faults(shown.len() as u64))?;
    let sound = ffmpeg::sound_of_bytes(&record.track("audio")?.joined()?)?;
    let ticks = examine::lips_in_sync(&sound, played)?;
    if ticks >= 2 { Ok(()) } else { Err(Failure::new(format!("{ticks} ticks heard"))) }
}

/// The pictures of a record go by one by one, but where the file begins again, with their sound.
fn turns(record: &Record, feed: Feed, filled: &examine::Filled) -> Result {
    let track = record.tracks.iter().find(|t| !t.rendition.audio).context("pictures")?;
    let shown = examine::decoded(track, feed)?;
    let settled = examine::settled(&shown, feed);
    let steps: Vec<i64> =
        settled.windows(2).map(|pair| pair[1].source as i64 - pair[0].source as i64).collect();
    let again = steps.iter().filter(|step| **step < -100).count();
    let odd: Vec<_> = steps.iter().filter(|step| **step != 1 && **step >= -100).collect();
    // Where it begins again a picture may stand a little longer, or be left out.
    let excused = filled.faults(shown.len() as u64) as usize;
    if again == 0 || odd.len() > 2 * again + excused {
        return Err(Failure::new(format!("{again} turns, and steps of {odd:?}")));
    }
    let end = settled.iter().zip(settled.iter().skip(1)).position(|(a, b)| b.source < a.source);
    let one_turn = &settled[..end.context("a turn")?];
    let sound = ffmpeg::sound_of_bytes(&record.track("audio")?.joined()?)?;
    let ticks = examine::lips_in_sync(&sound, one_turn)?;
    if ticks >= 2 { Ok(()) } else { Err(Failure::new(format!("{ticks} ticks heard"))) }
}
