//! Previews by WebRTC: the page in Chromium, an implementation that is not a browser's, what stands between
//! a viewer and the server, and those who mean no good.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use harness::client::Response;
use harness::process;
use harness::proxy::udp::{Faults, UdpProxy};
use harness::proxy::{Loss, Timing, Way};
use harness::publisher::{Publisher, Source};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Failure, Result, workspace};
use packager::time::FrameRate;
use serde_json::Value;

use crate::browser::play;

mod overload;
mod soak;

const RATE: FrameRate = FrameRate::new(30, 1);
const SDP: (&str, &str) = ("content-type", "application/sdp");
/// A preview is a fraction of a second behind, also on a machine that other tests use: a playlist is not.
const CLOSE_MS: f64 = 1_000.0;
/// Pictures a second, of 30, that are shown whatever else goes on.
const LEAST_RATE: f64 = 12.0;
/// Times that the picture may stand for want of CPU.
const MOST_STALLS: u64 = 2;

/// An offer as browsers write them, of an endpoint that never comes.
const OFFER: &str = include_str!("webrtc/offer.sdp");

fn on_air(server: &Server, channel: &str, source: Source) -> Result<Publisher> {
    let publisher = source.publish(&server.publish_url(channel, None))?;
    server.wait_playable(channel, Duration::from_secs(15))?;
    Ok(publisher)
}

fn post(server: &Server, path: &str, offer: &str) -> Result<Response> {
    server.client.send("POST", &server.url(path), &[SDP], offer.as_bytes())
}

/// A metric without labels.
fn metric(server: &Server, name: &str) -> Result<f64> {
    let text = server.client.text(&server.admin_url("/metrics"))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("headwater_webrtc_{name} ")));
    line.and_then(|value| value.parse().ok()).context(format!("{name} in {text}"))
}

fn wait_sessions(server: &Server, count: f64, bound: Duration) -> Result {
    until("sessions", bound, || {
        let now = metric(server, "sessions")?;
        Ok(Look::at((now == count).then_some(()), format!("{now} sessions and not {count}")))
    })
}

/// What holds of every preview in the page.
fn previews(seen: &Value, seconds: u64) {
    // On a machine that others use; the bars are the benchmark's.
    assert!(seen["stalls"].as_u64().is_some_and(|seen| seen <= MOST_STALLS), "{seen:#}");
    assert_eq!(seen["errors"], Value::Array(vec![]), "{seen:#}");
    assert_eq!(seen["consoleErrors"], Value::Array(vec![]), "{seen:#}");
    // Chromium counts decoded bytes of sound for media sources only; aiortc hears it in another test.
    assert_eq!(seen["format"], "webrtc", "{seen:#}");
    assert!(seen["latencyP50Ms"].as_f64().is_some_and(|seen| seen <= CLOSE_MS), "{seen:#}");
    let frames = seen["totalFrames"].as_f64().unwrap_or(0.0);
    assert!(frames >= seconds as f64 * LEAST_RATE, "{frames} pictures: {seen:#}");
}

#[test]
fn the_page_previews_a_ladder_with_sound_and_switches_renditions() -> Result {
    const SECONDS: u64 = 12;
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let seen = play(&server.url("/watch/a"), "webrtc", SECONDS, &["--select", "96p"])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    assert!(seen["switchMs"].is_number(), "it did not switch to 96p: {seen:#}");
    // The page has gone, with a word or without one.
    wait_sessions(&server, 0.0, Duration::from_secs(40))
}

#[test]
fn a_rendition_in_the_pages_address_is_asked_for_at_once() -> Result {
    const SECONDS: u64 = 6;
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let seen = play(&server.url("/watch/a?rendition=96p"), "webrtc", SECONDS, &[])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    assert_eq!(seen["renditions"], serde_json::json!(["96p"]), "{seen:#}");
    assert_eq!(metric(&server, "accepted_total")?, 1.0, "it began with another one");
    Ok(())
}

#[test]
fn the_page_previews_a_source_that_is_passed_through() -> Result {
    const SECONDS: u64 = 8;
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let seen = play(&server.url("/watch/a"), "webrtc", SECONDS, &[])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    Ok(())
}

#[test]
fn a_muted_preview_has_no_sound_to_wait_for_and_gets_it_when_asked() -> Result {
    const SECONDS: u64 = 12;
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    // Chromium lets the page start muted only; a click unmutes it after a third of the time.
    let seen = play(&server.url("/watch/a"), "webrtc", SECONDS, &["--no-sound"])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    assert_eq!(
        (&seen["startedMuted"], &seen["mutedTracks"]),
        (&true.into(), &0.into()),
        "{seen:#}"
    );
    assert_eq!((&seen["audioTracks"], &seen["restarts"]), (&1.into(), &0.into()), "{seen:#}");
    wait_sessions(&server, 0.0, Duration::from_secs(40))
}

#[test]
fn a_lossy_way_is_made_good() -> Result {
    const SECONDS: u64 = 15;
    // The browser is told of the proxy's port, which is known before the server's is.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).context("a port")?;
    let proxy = UdpProxy::start(port, 7)?;
    let lines = format!("advertise = [\"{}\"]", proxy.listen);
    let server =
        Server::start_previewing(&[ChannelConfig::tiny("a").patient()], Some(port), &lines)?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let timing = Timing { delay: Duration::from_millis(20), ..Timing::default() };
    proxy.set_both(Faults { timing, loss: Loss::even(0.03), ..Faults::default() });
    let seen = play(&server.url("/watch/a"), "webrtc", SECONDS, &[])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    assert!(proxy.tally(Way::Down).lost > 0, "the proxy lost nothing");
    // Counted when the session ends, which the browser may leave to be found.
    wait_sessions(&server, 0.0, Duration::from_secs(40))?;
    assert!(metric(&server, "resent_packets_total")? > 0.0, "nothing was sent again");
    Ok(())
}

/// Goes live from Chromium's fake camera for so long; gives what the page told.
fn publish(server: &Server, channel: &str, seconds: u64, more: &[&str]) -> Result<Value> {
    let mut command = Command::new("node");
    command.arg(workspace::root().join("tests/browser/publish.mjs"));
    command.args(["--url", &server.url(&format!("/publish/{channel}"))]);
    command.args(["--seconds", &seconds.to_string()]).args(more);
    let output = process::run("publish.mjs", &mut command, Duration::from_secs(seconds + 60))?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = serde_json::from_str(line.trim());
    seen.context(format!("publish.mjs said {line:?} and {}", output.stderr))
}

#[test]
fn a_browser_goes_live_and_others_watch() -> Result {
    const SECONDS: u64 = 25;
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("K").patient()])?;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&server, "a", SECONDS, &["--key", "K"]));
        server.wait_playable("a", Duration::from_secs(40))?;
        let status = server.status("a")?;
        assert_eq!(status["source"]["protocol"], "whip", "{status:#}");
        let seen = play(&server.url("/watch/a"), "hls", 8, &[])?;
        // Chromium's fake microphone beeps.
        plays_well_without_clock(&seen);
        let sent = publisher.join().map_err(|_| Failure::new("the publisher panicked"))??;
        assert_eq!(
            sent["states"].as_array().and_then(|s| s.last()),
            Some(&"Live".into()),
            "{sent:#}"
        );
        assert!(sent["pictures"].as_u64() >= Some(15 * SECONDS / 2), "{sent:#}");
        // The tab was closed: the channel lost its source, and goes on without it.
        server.wait_state("a", "holding", Duration::from_secs(40))
    })
}

/// The fake camera's picture has no clock of ours.
fn plays_well_without_clock(seen: &Value) {
    assert_eq!(seen["errors"], Value::Array(vec![]), "{seen:#}");
    assert_eq!(seen["soundOn"], true, "{seen:#}");
    assert!(seen["playedSeconds"].as_f64() >= Some(6.0), "{seen:#}");
}

#[test]
fn keys_are_asked_for_and_another_implementation_publishes() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("K").patient()])?;
    let offer = OFFER.replace("a=recvonly", "a=sendonly");
    let ask = |headers: &[(&str, &str)]| {
        server.client.send("POST", &server.url("/live/a/whip"), headers, offer.as_bytes())
    };
    for headers in
        [&[SDP][..], &[SDP, ("authorization", "Bearer wrong")], &[SDP, ("authorization", "K")]]
    {
        let refused = ask(headers)?;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
        assert!(!refused.text()?.contains("K"), "{:?}", refused.text());
    }
    let granted = ask(&[SDP, ("authorization", "Bearer K")])?;
    assert_eq!(granted.status, 201, "{:?}", granted.text());
    let answer = granted.text()?;
    assert!(answer.contains("a=recvonly") && !answer.contains("a=ssrc"), "{answer}");
    // Asked for and never begun, it is no source.
    assert_eq!(server.status("a")?["state"], "idle");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_with_aiortc(&server, "a", &["K", "15"]));
        server.wait_playable("a", Duration::from_secs(30))?;
        publisher.join().map_err(|_| Failure::new("the publisher panicked"))?
    })?;
    let status = server.status("a")?;
    assert_eq!(status["state"], "holding", "{status:#}");
    Ok(())
}

/// Publishes with aiortc.
fn publish_with_aiortc(server: &Server, channel: &str, arguments: &[&str]) -> Result {
    let mut command = Command::new(workspace::python());
    command.arg(workspace::root().join("tests/webrtc/publish.py"));
    command.arg(server.url(&format!("/live/{channel}/whip"))).args(arguments);
    let said = process::run("publish.py", &mut command, Duration::from_secs(60))?;
    if said.status.success() { Ok(()) } else { Err(Failure::new(said.stderr.to_string())) }
}

/// Firefox without its plug-in, and GStreamer by default.
#[test]
fn who_has_no_h264_publishes_vp8_to_a_ladder() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("K").patient()])?;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_with_aiortc(&server, "a", &["K", "20", "--vp8"]));
        server.wait_playable("a", Duration::from_secs(30))?;
        let (_, last) = server.numbers("a")?;
        server.wait_segment("a", last + 2, Duration::from_secs(30))?;
        let source = &server.status("a")?["source"];
        assert_eq!((&source["protocol"], &source["video"]), (&"whip".into(), &"VP8".into()));
        assert_eq!(source["size"], serde_json::json!([320, 180]), "{source:#}");
        publisher.join().map_err(|_| Failure::new("the publisher panicked"))?
    })
}

/// It may be somebody whose camera is covered, or who means no good: the channel has a source that does better.
#[test]
fn who_connects_and_sends_no_picture_takes_nobodys_place() -> Result {
    let server = Server::start(&[ChannelConfig::pass_through("a").with_key("K")])?;
    let mut publisher = Source::tiny(RATE).publish(&server.publish_url("a", Some("K")))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    publish_with_aiortc(&server, "a", &["K", "5", "--silent"])?;
    publisher.check()?;
    let status = server.status("a")?;
    assert_eq!((&status["state"], &status["source"]["protocol"]), (&"live".into(), &"rtmp".into()));
    Ok(())
}

#[test]
fn a_source_with_b_frames_is_previewed_by_a_rung_of_its_own() -> Result {
    const SECONDS: u64 = 8;
    let server = Server::start(&[ChannelConfig::pass_through("a")])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE).with_b_frames(2))?;
    let workers = || {
        ["a preview", "a sound"].map(|title| server.worker_pids(title).len()).iter().sum::<usize>()
    };
    assert_eq!(workers(), 0, "it costs something though nobody watches");
    let seen = play(&server.url("/watch/a"), "webrtc", SECONDS, &[])?;
    publisher.check()?;
    previews(&seen, SECONDS);
    // Both are kept for ten seconds after the last viewer, who may have left without a word.
    until("its workers to end", Duration::from_secs(60), || {
        let count = workers();
        Ok(Look::at((count == 0).then_some(()), format!("{count} workers are left")))
    })
}

/// Watches with aiortc, which shares no code with browsers; gives what each viewer saw.
fn watch_with_aiortc(server: &Server, channel: &str, more: &[&str]) -> Result<Vec<Value>> {
    let mut command = Command::new(workspace::python());
    command.arg(workspace::root().join("tests/webrtc/watch.py"));
    command.arg(server.url(&format!("/live/{channel}/whep"))).args(more);
    let output = process::run("watch.py", &mut command, Duration::from_secs(60))?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = lines.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<_>>>();
    let seen = seen.ok().filter(|seen| !seen.is_empty());
    seen.context(format!("watch.py said {lines:?} and {}", output.stderr))
}

#[test]
fn another_implementation_watches_too() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let seen = &watch_with_aiortc(&server, "a", &["--seconds", "5"])?[0];
    publisher.check()?;
    assert!(seen["pictures"].as_u64() >= Some(50), "{seen:#}");
    assert!(seen["sounds"].as_u64() >= Some(75), "{seen:#}");
    assert_eq!(seen["sizes"], serde_json::json!([[320, 180]]), "{seen:#}");
    assert!(seen["firstPictureMs"].as_f64().is_some_and(|seen| seen <= 5_000.0), "{seen:#}");
    wait_sessions(&server, 0.0, Duration::from_secs(20))
}

#[test]
fn viewers_who_vanish_are_forgotten() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    // It ends without a word, by its own hand.
    let seen = &watch_with_aiortc(&server, "a", &["--seconds", "2", "--vanish"])?[0];
    assert!(seen["pictures"].as_u64() > Some(0), "{seen:#}");
    assert_eq!(metric(&server, "sessions")?, 1.0);
    wait_sessions(&server, 0.0, Duration::from_secs(35))?;
    publisher.check()
}

#[test]
fn sessions_are_made_changed_and_ended_by_the_book() -> Result {
    let server = Server::start_previewing(
        &[ChannelConfig::tiny("a"), ChannelConfig::tiny("b")],
        None,
        "viewers_per_channel = \"2\"\nice_servers = [\"stun:stun.example.org:3478\"]",
    )?;
    assert_eq!(post(&server, "/live/a/whep", OFFER)?.status, 404, "nothing is on the air");
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let created = post(&server, "/live/a/whep", OFFER)?;
    assert_eq!(created.status, 201, "{:?}", created.text());
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    assert_eq!(created.header("link"), Some("<stun:stun.example.org:3478>; rel=\"ice-server\""));
    assert_eq!(created.header("access-control-allow-origin"), Some("*"));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let answer = created.text()?;
    let candidate = format!("127.0.0.1 {} typ host", server.webrtc.port());
    for part in ["a=ice-lite", "a=setup:passive", "a=sendonly", "H264/90000", "opus", &candidate] {
        assert!(answer.contains(part), "{part} is not in\n{answer}");
    }
    let session = created.header("location").context("Location")?.to_owned();
    let etag = created.header("etag").context("ETag")?.to_owned();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        server.client.send(method, &server.url(path), headers, body.as_bytes())
    };
    let fragment = ("content-type", "application/trickle-ice-sdpfrag");
    let candidates = "a=ice-ufrag:EsAw\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    assert_eq!(ask("PATCH", &session, &[fragment], candidates)?.status, 428);
    let other = ("if-match", "\"other\"");
    assert_eq!(ask("PATCH", &session, &[fragment, other], candidates)?.status, 412);
    let same = ("if-match", etag.as_str());
    assert_eq!(ask("PATCH", &session, &[fragment, same], candidates)?.status, 204);
    // The credentials that there are, as candidates bring them, begin nothing anew.
    let known = format!("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n{candidates}");
    assert_eq!(ask("PATCH", &session, &[fragment, same], &known)?.status, 204);
    assert_eq!(ask("PATCH", &session, &[SDP, same], candidates)?.status, 415);
    let restart = "a=ice-ufrag:next\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
    let restarted = ask("PATCH", &session, &[fragment, ("if-match", "*")], restart)?;
    assert_eq!(restarted.status, 200);
    let text = restarted.text()?;
    assert!(text.contains("a=ice-pwd:") && text.contains(&candidate), "{text}");
    assert_ne!(restarted.header("etag"), Some(&*etag));
    // One more is taken, a third is not, and another channel has its own.
    assert_eq!(post(&server, "/live/a/whep?rendition=96p", OFFER)?.status, 201);
    let crowded = post(&server, "/live/a/whep", OFFER)?;
    assert_eq!((crowded.status, crowded.header("retry-after")), (503, Some("1")));
    assert_eq!(ask("DELETE", &session, &[], "")?.status, 200);
    wait_sessions(&server, 1.0, Duration::from_secs(5))?;
    assert_eq!(ask("DELETE", &session, &[], "")?.status, 404);
    for (method, path, status) in [
        ("GET", "/live/a/whep", 405),
        ("DELETE", "/live/a/whep", 405),
        ("POST", &*session, 405),
        ("GET", &*session, 405),
        ("DELETE", "/live/a/whep/abc", 404),
        ("POST", "/live/nobody/whep", 404),
        ("POST", "/live/a/whep?rendition=97p", 404),
        ("OPTIONS", "/live/a/whep", 204),
    ] {
        assert_eq!(ask(method, path, &[SDP], OFFER)?.status, status, "{method} {path}");
    }
    // Who was answered and never came is forgotten.
    wait_sessions(&server, 0.0, Duration::from_secs(20))?;
    publisher.check()
}

#[test]
fn hostile_offers_are_refused_and_nobody_is_sent_anything() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE))?;
    let lines = |line: &str, count| format!("{OFFER}{}", format!("{line}\r\n").repeat(count));
    for (offer, status) in [
        ("x".repeat(1 << 20), 413),
        (lines("m=video 9 UDP/TLS/RTP/SAVPF 96", 10_000), 413),
        (lines("m=video 9 UDP/TLS/RTP/SAVPF 96", 100), 400),
        (lines("a=candidate:1 1 udp 1 192.0.2.1 9 typ host", 1_000), 400),
        (lines("a=candidate:1 1 udp 1 192.0.2.1 9 typ host", 10_000), 413),
        (String::new(), 400),
        (OFFER.replace("m=video", "m=text"), 406),
        (OFFER.replace("H264/90000", "H265/90000"), 406),
        (OFFER.replace("a=setup:actpass", "a=setup:passive"), 400),
        (OFFER.replace("a=fingerprint:sha-256", "a=fingerprint:md5"), 400),
    ] {
        let answer = post(&server, "/live/a/whep", &offer)?;
        let start: String = offer.chars().take(40).collect();
        assert_eq!(answer.status, status, "{start}: {:?}", answer.text());
    }
    // Candidates are never contacted, whatever they name.
    let bait = UdpSocket::bind("127.0.0.1:0").context("a port")?;
    bait.set_read_timeout(Some(Duration::from_secs(2))).context("a timeout")?;
    let at = bait.local_addr().context("a port")?;
    let named = format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host", at.port());
    assert_eq!(post(&server, "/live/a/whep", &lines(&named, 1))?.status, 201);
    // Nor is anybody answered who knows no password: forged checks, handshakes, media, noise.
    let before = metric(&server, "sent_packets_total")?;
    let answer = post(&server, "/live/a/whep", OFFER)?.text()?;
    let ufrag = answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    let ufrag = ufrag.context("a fragment")?.trim().to_owned();
    for datagram in hostile(&ufrag) {
        bait.send_to(&datagram, server.webrtc).context("sending")?;
    }
    let mut buffer = [0; 2_000];
    if let Ok((length, from)) = bait.recv_from(&mut buffer) {
        return Err(Failure::new(format!("{from} sent {:02x?}", &buffer[..length])));
    }
    assert_eq!(metric(&server, "sent_packets_total")?, before);
    assert!(metric(&server, "foreign_datagrams_total")? >= 20.0);
    // All of this disturbs nobody.
    let seen = &watch_with_aiortc(&server, "a", &["--seconds", "2"])?[0];
    assert!(seen["pictures"].as_u64() >= Some(30), "{seen:#}");
    // Who asks again and again and never comes leaves room for others.
    let headers = [SDP, ("x-forwarded-for", "198.51.100.7")];
    let url = server.url("/live/a/whep");
    let asked = (0..17).map(|_| server.client.send("POST", &url, &headers, OFFER.as_bytes()));
    let answers = asked.collect::<Result<Vec<_>>>()?;
    let last = answers.last().context("an answer")?;
    assert_eq!((last.status, last.header("retry-after")), (429, Some("1")), "{:?}", last.text());
    assert_eq!(answers[0].status, 201);
    publisher.check()
}

/// Datagrams of somebody who has seen a fragment and knows no password.
fn hostile(ufrag: &str) -> Vec<Vec<u8>> {
    let name = format!("{ufrag}:EsAw");
    let mut attributes = vec![0, 6, 0, u8::try_from(name.len()).unwrap_or(0)];
    attributes.extend(name.bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0, 0x25, 0, 0]);
    let check = |integrity: &[u8]| {
        let length = attributes.len() + integrity.len();
        let mut message = vec![0, 1];
        message.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
        message.extend([0x21, 0x12, 0xa4, 0x42]);
        message.extend([7; 12]);
        message.extend(&attributes);
        message.extend(integrity);
        message
    };
    let forged: Vec<u8> = [0, 8, 0, 20].into_iter().chain([9; 20]).collect();
    let mut all = vec![
        check(&[]),
        check(&forged),
        check(&forged.repeat(2)),
        check(&[0, 8, 0, 0]),
        check(&[0, 8, 0xff, 0xff]),
        // A ClientHello, cut; SRTP and SRTCP of nobody's; a length of nothing.
        vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0],
        vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xde, 0xad],
        vec![0x80, 200, 0, 6],
        Vec::new(),
        vec![0xff; 1_500],
    ];
    let whole = check(&forged);
    all.extend((1..whole.len()).step_by(7).map(|length| whole[..length].to_vec()));
    all
}
