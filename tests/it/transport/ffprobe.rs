//! The demultiplexer and ffprobe read the same streams, as they were made and damaged.

use harness::dice::Dice;

use super::*;

/// Makes two seconds of a stream.
fn make(to: &Path, maker: &[&str]) -> Result {
    let mut command = match maker {
        ["gst", ..] => {
            let mut command = Command::new("gst-launch-1.0");
            let pipeline = format!(
                "videotestsrc num-buffers=50 ! video/x-raw,width=64,height=48,framerate=25/1 ! \
                 x264enc threads=1 bframes=2 key-int-max=10 bitrate=60 ! h264parse ! \
                 mpegtsmux name=mux ! filesink location={} \
                 audiotestsrc num-buffers=94 samplesperbuffer=1024 ! \
                 audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! mux.",
                to.display()
            );
            command.arg("-q").args(pipeline.split_whitespace());
            command
        }
        arguments => {
            let mut command = Command::new("ffmpeg");
            command.args(["-hide_banner", "-nostdin", "-y", "-loglevel", "error"]);
            command.args(["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2"]);
            command.args(["-f", "lavfi", "-i", "sine=frequency=997:sample_rate=48000:duration=2"]);
            command.args(["-pix_fmt", "yuv420p", "-b:v", "60k", "-g", "10", "-threads", "1"]);
            command.args(["-b:a", "96k"]).args(arguments).args(["-f", "mpegts"]).arg(to);
            command
        }
    };
    run("a maker of MPEG-TS", &mut command).map(drop)
}

/// What ffprobe finds.
fn by_ffprobe(path: &Path) -> Result<Contents> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json", "-show_streams", "-show_packets"]).arg(path);
    let output = run("ffprobe", &mut command)?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("its report")?;
    let of = |kind: &str| {
        let streams = report["streams"].as_array().into_iter().flatten();
        let stream = streams.into_iter().find(|s| s["codec_type"] == kind).context("a stream")?;
        let packets = report["packets"].as_array().into_iter().flatten();
        let ours = packets.filter(|p| p["stream_index"] == stream["index"]);
        let times = ours.map(|p| p["pts"].as_i64().unwrap_or(i64::MIN).rem_euclid(TURN));
        let codec = stream["codec_name"].as_str().unwrap_or_default().to_owned();
        Ok::<_, Failure>((codec, times.collect::<Vec<_>>()))
    };
    let ((video, pictures), (audio, sound)) = (of("video")?, of("audio")?);
    Ok(Contents { codecs: [video, audio], pictures, sound })
}

/// Both find the same; times within a tick of rounding.
fn agree(name: &str, ours: &Contents, theirs: &Contents) {
    let codecs = theirs.codecs.each_ref().map(|codec| codec.replace("aac_latm", "aac"));
    assert_eq!(ours.codecs, codecs, "{name}");
    for (what, ours, theirs) in
        [("pictures", &ours.pictures, &theirs.pictures), ("sound", &ours.sound, &theirs.sound)]
    {
        assert_eq!(ours.len(), theirs.len(), "{name}: {what}");
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let off = (ours - theirs).rem_euclid(TURN);
            assert!(off <= 1 || off >= TURN - 1, "{name}: {what} {at}: {ours} and {theirs}");
        }
    }
}

/// Damage that loses nothing: other sizes of packets, packets twice, bytes between them.
fn harmless(bytes: &[u8], kind: usize) -> Vec<u8> {
    let packets = bytes.chunks_exact(PACKET).enumerate();
    packets
        .flat_map(|(at, packet)| match kind {
            0 => [packet, &[0xee; 16]].concat(),
            1 => [&[0, 0, 0, at as u8][..], packet].concat(),
            2 if at % 5 == 0 => packet.repeat(2),
            // Stuffing packets between the others.
            3 if at % 7 == 0 => [packet, &[0x47, 0x1f, 0xff, 0x10], &[0xff; PACKET - 4]].concat(),
            _ => packet.to_vec(),
        })
        .collect()
}

#[test]
fn the_demultiplexer_agrees_with_ffprobe_on_what_ffmpeg_and_gstreamer_make() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let mut dice = Dice::new(7);
    for (name, maker) in [
        ("h264 and aac", &["-c:v", "libx264", "-c:a", "aac"][..]),
        (
            "b-frames and mp2 over the turn of the clock",
            &["-c:v", "libx264", "-bf", "2", "-c:a", "mp2", "-output_ts_offset", NEAR_THE_TURN],
        ),
        (
            "hevc and ac-3",
            &["-c:v", "libx265", "-x265-params", "log-level=error:bframes=2", "-c:a", "ac3"],
        ),
        ("e-ac-3", &["-c:v", "libx264", "-c:a", "eac3"]),
        ("latm", &["-c:v", "libx264", "-c:a", "aac", "-mpegts_flags", "latm"]),
        ("gstreamer", &["gst"]),
    ] {
        let path = dir.path().join("stream.ts");
        make(&path, maker).context(name)?;
        let bytes = std::fs::read(&path).context("the stream")?;
        let theirs = by_ffprobe(&path).context(name)?;
        assert!(theirs.pictures.len() == 50 && theirs.sound.len() > 60, "{name}: {theirs:?}");
        let (ours, counts) = by_us(&bytes, 1316);
        agree(name, &ours, &theirs);
        let packets = bytes.len() / PACKET;
        assert_eq!(Counts { packets: packets as u64, ..Counts::default() }, counts, "{name}");
        for kind in 0..4 {
            let (ours, counts) = by_us(&harmless(&bytes, kind), 1000);
            agree(&format!("{name}, mutation {kind}"), &ours, &theirs);
            assert_eq!((counts.lost, counts.broken), (0, 0), "{name}, mutation {kind}");
        }
        // Packets that are lost cost their picture, and the one before it where they begin one; they bring
        // nothing that was not there.
        let kept: Vec<u8> = bytes
            .chunks_exact(PACKET)
            .enumerate()
            .filter(|(at, _)| *at < 10 || !dice.hits(0.05))
            .flat_map(|(_, packet)| packet.to_vec())
            .collect();
        let lost = packets - kept.len() / PACKET;
        let (ours, counts) = by_us(&kept, 777);
        assert!(counts.lost > 0 && lost > 0, "{name}: {counts:?}");
        assert!(
            ours.pictures.len() + 2 * lost >= 50,
            "{name}: {} of 50, {lost} lost",
            ours.pictures.len()
        );
        let invented: Vec<_> =
            ours.pictures.iter().filter(|at| !theirs.pictures.contains(at)).collect();
        assert!(invented.is_empty(), "{name}: {invented:?}");
    }
    Ok(())
}
