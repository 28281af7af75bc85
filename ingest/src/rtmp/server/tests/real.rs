//! Real publishers from the system's packages.

use std::process::Stdio;

use tokio::process::Command;

use super::*;
use crate::source::SoundConfig;
use crate::source::SourceSample;

/// Starts Debian's ffmpeg publishing a test picture with `args` between the inputs and the URL.
pub(super) fn ffmpeg(args: &[&str], seconds: &str, url: &str) -> tokio::process::Child {
    Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .args(["-f", "lavfi", "-i", "testsrc=size=160x90:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", seconds, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
        .args(["-g", "25"])
        .args(["-c:a", "aac", "-b:a", "32k"])
        .args(args)
        .args(["-f", "flv", url])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn samples(units: &[Unit], video: bool) -> Vec<&SourceSample> {
    fn wanted(unit: &Unit, video: bool) -> Option<&SourceSample> {
        match unit {
            Unit::Video(sample) if video => Some(sample),
            Unit::Audio(sample) if !video => Some(sample),
            _ => None,
        }
    }
    units.iter().filter_map(|unit| wanted(unit, video)).collect()
}

#[tokio::test]
async fn ffmpeg_publishes_with_b_frames_and_every_sample_arrives_on_time() {
    let mut server = Server::start().await;
    let url = format!("rtmp://{}/live/news?key=canary", server.address);
    let mut ffmpeg = ffmpeg(&["-bf", "2"], "2", &url);
    let units = units(server.door("news")).await;
    assert!(ffmpeg.wait().await.unwrap().success());

    let Some(Unit::VideoConfig(video)) = units.iter().find(|u| matches!(u, Unit::VideoConfig(_)))
    else {
        panic!("no video configuration");
    };
    assert_eq!(video.size(), (160, 90));
    let Some(Unit::AudioConfig(SoundConfig::Aac(audio))) =
        units.iter().find(|u| matches!(u, Unit::AudioConfig(_)))
    else {
        panic!("no audio configuration");
    };
    assert_eq!(audio.sample_rate, 48_000);
    assert!(units.iter().any(|u| matches!(u, Unit::Data(d) if d.name == "onMetaData"
        && d.values[0]["width"] == 160)));

    let pictures = samples(&units, true);
    assert_eq!(pictures.len(), 50);
    let dts: Vec<_> = pictures.iter().map(|s| s.dts.ticks - pictures[0].dts.ticks).collect();
    assert_eq!(dts, (0..50).map(|n| n * 40).collect::<Vec<_>>());
    let mut pts: Vec<_> = pictures.iter().map(|s| s.pts.ticks - pictures[0].pts.ticks).collect();
    assert_ne!(pts, dts, "there are B-frames");
    pts.sort_unstable();
    assert_eq!(pts, dts);
    let sync: Vec<_> =
        pictures.iter().enumerate().filter(|(_, s)| s.sync).map(|(n, _)| n).collect();
    assert_eq!(sync, [0, 25]);

    let frames = samples(&units, false);
    // 2 s and the encoder's priming, in frames of 1024 samples.
    assert!((94..=96).contains(&frames.len()), "{}", frames.len());
    assert!(frames.windows(2).all(|w| matches!(w[1].dts.ticks - w[0].dts.ticks, 21 | 22)));
    let snapshot = server.stats.snapshot();
    assert_eq!((snapshot.connections, snapshot.publications, snapshot.crashes), (1, 1, 0));
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_with_a_wrong_key_is_told_why() {
    let server = Server::start().await;
    let url = format!("rtmp://{}/live/news?key=wrong", server.address);
    let ffmpeg = ffmpeg(&[], "2", &url);
    let output = ffmpeg.wait_with_output().await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("unknown channel or wrong key"), "{text}");
    assert_eq!(server.stats.snapshot().refused.get("denied"), Some(&1));
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_sending_mp3_is_told_why() {
    let mut server = Server::start().await;
    let url = format!("rtmp://{}/live/open", server.address);
    let mut ffmpeg = ffmpeg(&["-c:a", "libmp3lame", "-ar", "44100"], "20", &url);
    let _session = server.door("open").next().await.unwrap();
    assert!(!ffmpeg.wait().await.unwrap().success());
    assert_eq!(server.stats.snapshot().ended.get("media"), Some(&1));
    server.stop().await;
}

#[tokio::test]
#[ignore = "writes the recorded session that other tests replay; run by hand when it must change"]
async fn record_a_session_of_ffmpeg() {
    let mut server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://{}/live/news?key=canary", listener.local_addr().unwrap());
    let mut ffmpeg = ffmpeg(&["-bf", "2", "-crf", "40"], "0.8", &url);
    let (mut publisher, _) = listener.accept().await.unwrap();
    let mut upstream = TcpStream::connect(server.address).await.unwrap();
    let mut recorded = Vec::new();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let recording = async {
        loop {
            tokio::select! {
                count = publisher.read(&mut up) => match count.unwrap() {
                    0 => break,
                    count => {
                        recorded.extend_from_slice(&up[..count]);
                        upstream.write_all(&up[..count]).await.unwrap();
                    }
                },
                count = upstream.read(&mut down) => {
                    let count = count.unwrap();
                    publisher.write_all(&down[..count]).await.unwrap();
                }
            }
        }
    };
    let (_, units) = tokio::join!(recording, units(server.door("news")));
    assert!(ffmpeg.wait().await.unwrap().success());
    assert_eq!(samples(&units, true).len(), 20);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rtmp/session/tests/ffmpeg.rtmp");
    std::fs::write(path, recorded).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn gstreamer_publishes_and_every_sample_arrives() {
    let mut server = Server::start().await;
    let location = format!("location=rtmp://{}/live/news?key=canary", server.address);
    let mut gstreamer = Command::new("gst-launch-1.0")
        .args("-q flvmux name=mux streamable=true ! rtmp2sink".split(' '))
        .arg(location)
        .args(
            "videotestsrc num-buffers=50 ! video/x-raw,width=160,height=90,framerate=25/1"
                .split(' '),
        )
        .args("! x264enc key-int-max=25 speed-preset=ultrafast tune=zerolatency ! mux.".split(' '))
        .args("audiotestsrc num-buffers=90 samplesperbuffer=1024 ! audioconvert".split(' '))
        .args("! audio/x-raw,rate=48000,channels=2 ! voaacenc ! mux.".split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let units = units(server.door("news")).await;
    assert!(gstreamer.wait().await.unwrap().success());
    let pictures = samples(&units, true);
    assert_eq!(pictures.len(), 50);
    assert!(pictures.windows(2).all(|w| w[1].dts.ticks - w[0].dts.ticks == 40));
    assert!(samples(&units, false).len() >= 80, "{}", samples(&units, false).len());
    assert!(units.iter().any(|u| matches!(u, Unit::Data(d) if d.name == "onMetaData")));
    server.stop().await;
}
