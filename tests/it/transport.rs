//! MPEG transport streams: what the demultiplexer reads of them, beside ffprobe, and channels that
//! take them from files and datagrams.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::dice::Dice;
use harness::publisher::Source;
use harness::reader::ffmpeg;
use harness::server::{ChannelConfig, LEAD_IN, Server};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result, process};
use ingest::source::{AudioCodec, SoundConfig, Unit};
use ingest::ts::{Counts, Demuxer, Event, PACKET, Want};
use packager::media::VideoCodec;
use packager::time::FrameRate;

use crate::{absence, examine};

mod cues;

const RATE: FrameRate = FrameRate::new(25, 1);
/// Turn of the clock of 33 bits, at 90 kHz.
const TURN: i64 = 1 << 33;
/// Half a second before it, in seconds.
const NEAR_THE_TURN: &str = "95443.2";

/// Longer than a door waits before it tries to open again.
const SOON: Duration = Duration::from_secs(25);

/// What stands in a stream: codecs and the times of its packets.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    codecs: [String; 2],
    pictures: Vec<i64>,
    sound: Vec<i64>,
}

/// Runs a program that has to succeed.
fn run(name: &str, command: &mut Command) -> Result<process::Output> {
    let output = process::run(name, command, Duration::from_secs(60))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Failure::new(format!("{name} ended with {}: {}", output.status, output.stderr)))
}

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

/// What the demultiplexer finds, and what was wrong.
fn by_us(bytes: &[u8], piece: usize) -> (Contents, Counts) {
    let mut demuxer = Demuxer::new(Want::default());
    let mut contents =
        Contents { codecs: Default::default(), pictures: Vec::new(), sound: Vec::new() };
    let mut take = |event| match event {
        Event::Unit(Unit::VideoConfig(config)) => {
            contents.codecs[0] = match config.codec {
                VideoCodec::H264 => "h264".into(),
                VideoCodec::H265 => "hevc".into(),
            };
        }
        Event::Unit(Unit::AudioConfig(config)) => {
            contents.codecs[1] = match config.codec() {
                AudioCodec::Aac if matches!(config, SoundConfig::Aac(_)) => "aac".into(),
                AudioCodec::Mp2 => "mp2".into(),
                AudioCodec::Ac3 => "ac3".into(),
                AudioCodec::Eac3 => "eac3".into(),
                other => format!("{other:?}"),
            };
        }
        Event::Unit(Unit::Video(sample)) => {
            contents.pictures.push(sample.pts.ticks.rem_euclid(TURN))
        }
        Event::Unit(Unit::Audio(sample)) => contents.sound.push(sample.pts.ticks.rem_euclid(TURN)),
        _ => {}
    };
    for piece in bytes.chunks(piece) {
        demuxer.push(piece, Instant::now());
        std::iter::from_fn(|| demuxer.poll()).for_each(&mut take);
    }
    demuxer.finish();
    std::iter::from_fn(|| demuxer.poll()).for_each(&mut take);
    (contents, demuxer.counts())
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

/// A port on which nobody listens.
fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("a port")?;
    Ok(socket.local_addr().context("a port")?.port())
}

/// One encoder sends to two channels, a ladder by UDP and a passed source by RTP, and a third channel
/// gets the same stream with damage in it; every picture of the two comes out once, at its time. A fourth
/// can't listen where another program does, says so, and takes the port when it is free.
#[test]
#[ignore = "half a minute of real time, with encoders for several channels: `make soak`"]
fn datagrams_come_out_whole_beside_a_channel_whose_datagrams_are_damaged() -> Result {
    let (udp, rtp, damaged) = (free_port()?, free_port()?, free_port()?);
    let taken = UdpSocket::bind("127.0.0.1:0").context("a port")?;
    let place = taken.local_addr().context("a port")?;
    let source = |url: String| format!("source = {url:?}");
    let server = Server::start(&[
        ChannelConfig::tiny("a")
            .with_ladder(&["96p"])
            .patient()
            .with(&source(format!("udp://127.0.0.1:{udp}"))),
        ChannelConfig::pass_through("b").with(&source(format!("rtp://127.0.0.1:{rtp}"))),
        ChannelConfig::pass_through("c").with(&source(format!("udp://127.0.0.1:{damaged}"))),
        ChannelConfig::pass_through("d").with(&source(format!("udp://{place}"))),
    ])?;
    let trouble = |words: Option<&str>| {
        until("trouble of a door", SOON, || {
            let said = server.status("d")?["last_error"].clone();
            let is_so = match (said.as_str(), words) {
                (Some(said), Some(words)) => said.contains(words),
                (said, words) => said == words,
            };
            Ok(Look::at(is_so.then_some(()), said.to_string()))
        })
    };
    trouble(Some("can't listen: Address already in use"))?;
    drop(taken);
    let witnesses = ["a", "b"].map(|name| Witness::start(Watch::new(&server.url(""), name)));
    let vandal = Vandal::between(free_port()?, damaged)?;
    let to = format!(
        "[f=mpegts:pes_payload_size=0]udp://127.0.0.1:{udp}?pkt_size=1316|\
         [f=rtp_mpegts]rtp://127.0.0.1:{rtp}?pkt_size=1328|\
         [f=mpegts]udp://127.0.0.1:{}?pkt_size=1316",
        vandal.port
    );
    let mut publisher = Source::tiny(RATE).with_b_frames(2).publish(&to)?;
    for name in ["a", "b"] {
        let playable = server.wait_playable(name, Duration::from_secs(15));
        publisher.check()?;
        playable.context(name)?;
        let (first, _) = server.numbers(name)?;
        server.wait_segment(name, first + LEAD_IN + 4, Duration::from_secs(25))?;
    }
    until("damage that is told", Duration::from_secs(10), || {
        let status = server.status("c")?;
        let lost = status["source"]["transport_faults"]["lost"].as_u64();
        Ok(Look::at(lost.filter(|lost| *lost > 10), status.to_string()))
    })?;
    publisher.check()?;
    let status = server.status("b")?;
    assert_eq!(status["source"]["protocol"], "rtp", "{status}");
    assert_eq!(status["source"]["transport_faults"], serde_json::json!({}), "{status}");
    for (name, witness) in ["a", "b"].into_iter().zip(witnesses) {
        let record = witness.finish()?;
        let filled = examine::Filled::of(&server, name)?;
        let ticks = examine::whole(&record, &publisher, &filled).context(name)?;
        assert!(ticks >= 3, "{name}: {ticks} ticks heard");
        absence::one_run(&record).context(name)?;
    }
    trouble(None)?;
    drop(vandal);
    publisher.kill();
    server.stop()
}

/// Stands between a sender and a channel and damages a third of the datagrams.
struct Vandal {
    port: u16,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Vandal {
    fn between(port: u16, to: u16) -> Result<Self> {
        let from = UdpSocket::bind(("127.0.0.1", port)).context("a port")?;
        from.set_read_timeout(Some(Duration::from_millis(100))).context("a bound")?;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut dice, mut room) = (Dice::new(11), [0; 2048]);
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(length) = from.recv(&mut room) else { continue };
                let datagram = &mut room[..length];
                if dice.hits(0.1) {
                    continue;
                }
                if dice.hits(0.3) {
                    for _ in 0..20 {
                        let at = dice.below(length as u64) as usize;
                        datagram[at] = dice.below(256) as u8;
                    }
                }
                // Nobody may be there yet.
                let _ = from.send_to(datagram, ("127.0.0.1", to));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

impl Drop for Vandal {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A recording whose clock turns over plays in ladders, with its sound as MPEG audio and, beside H.265, as
/// AC-3, and as it is, with AAC in ADTS and in LATM: the pictures of a turn of the file one after the
/// other, with the sound that belongs to them, and the next turn behind it in the same run.
#[test]
#[ignore = "half a minute of real time, with encoders for several channels: `make soak`"]
fn a_file_whose_clock_turns_over_is_played_again_and_again_in_one_run() -> Result {
    let dir = tempfile::tempdir().context("a folder")?;
    let [aac, mp2, latm, hevc] =
        ["aac.ts", "mp2.ts", "latm.ts", "hevc.ts"].map(|name| dir.path().join(name));
    let offset = ["-output_ts_offset", NEAR_THE_TURN];
    let source = Source::tiny(RATE).with_b_frames(2).with_output_args(&offset);
    let publisher = source.publish(&aac.display().to_string())?;
    let feed = publisher.feed();
    until("six seconds", Duration::from_secs(20), || {
        let frames = publisher.frames();
        Ok(Look::at((frames >= 150).then_some(()), format!("{frames} frames")))
    })?;
    publisher.finish()?;
    for (to, how) in [
        (&mp2, &["-c:v", "copy", "-c:a", "mp2", "-b:a", "192k"][..]),
        (&latm, &["-c", "copy", "-mpegts_flags", "latm"]),
        (&hevc, &["-c:v", "libx265", "-x265-params", "log-level=error:keyint=25", "-c:a", "ac3"]),
    ] {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-i"]).arg(&aac);
        command.args(how).args(offset).arg(to);
        run("ffmpeg", &mut command)?;
    }

    let source = |path: &Path| format!("source = {:?}", path.display().to_string());
    let ladder = |name| ChannelConfig::tiny(name).with_ladder(&["96p"]).patient();
    let server = Server::start(&[
        ladder("mp2").with(&source(&mp2)),
        ladder("hevc").with(&source(&hevc)),
        ChannelConfig::pass_through("aac").with(&source(&aac)),
        ChannelConfig::pass_through("latm").with(&source(&latm)),
        // As it is, MPEG audio can't be packaged: the reason is told.
        ChannelConfig::pass_through("refused").with(&source(&mp2)),
    ])?;
    let names = ["mp2", "hevc", "aac", "latm"];
    let witnesses = names.map(|name| Witness::start(Watch::new(&server.url(""), name)));
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
    for (name, video, audio) in [("mp2", "avc1", "mp2"), ("hevc", "hvc1", "ac-3")] {
        let status = server.status(name)?;
        assert_eq!(status["source"]["audio"], audio, "{status}");
        assert!(status["source"]["video"].to_string().contains(video), "{status}");
        assert_eq!(status["source"]["transport_faults"], serde_json::json!({}), "{status}");
    }
    for (name, witness) in names.into_iter().zip(witnesses) {
        let record = witness.finish()?;
        record.clean().context(name)?;
        absence::one_run(&record).context(name)?;
        turns(&record, feed, &examine::Filled::of(&server, name)?).context(name)?;
    }
    server.stop()
}

/// The pictures of a record go by one by one, but where the file begins again, with their sound.
fn turns(record: &Record, feed: harness::publisher::Feed, filled: &examine::Filled) -> Result {
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
