//! Who is let in over SRT, who is told why not, and who takes over from whom.

use std::process::Command;

use harness::process::{Process, Stdout};

use super::*;

#[test]
fn wrong_keys_and_passphrases_are_told_to_the_encoder_and_never_logged() -> Result {
    let secret = format!("passphrase = {PASSPHRASE:?}");
    let server = Server::start(&[
        ChannelConfig::tiny("a").with_key("right-key"),
        ChannelConfig::tiny("b").with_key("right-key").with(&secret),
    ])?;
    let wrong = "wrong-key";
    for (to, said, code) in [
        (server.srt("a", Some(wrong)), "Application-defined rejection", Some("code=1401")),
        (
            server.srt("a", None).with_stream_id("read:a:right-key"),
            "Application-defined rejection",
            Some("code=1405"),
        ),
        // The library's own affair, and its words. Of ours encoders print less than they are told.
        (
            server.srt("b", Some("right-key")).with_passphrase("wrong-passphrase", 128),
            "Incorrect passphrase",
            None,
        ),
        (server.srt("b", Some("right-key")), "Password required", None),
    ] {
        let mut refused = Source::tiny(RATE).by(Broadcaster::SrtLiveTransmit).publish_srt(&to)?;
        until("an encoder that was told", SOON, || {
            let log = refused.log();
            Ok(Look::at(log.contains(said).then_some(()), log))
        })?;
        if let Some(code) = code {
            server.wait_log(&["srt caller refused", code], SOON)?;
        }
        refused.kill();
    }
    // Latency beyond what is held is refused behind the handshake, in which it is settled.
    let greedy = server.srt("a", Some("right-key")).with_latency(Duration::from_secs(9));
    let _greedy = Source::tiny(RATE).publish_srt(&greedy)?;
    server.wait_log(&["publish refused", "9000 ms"], SOON)?;
    let log = server.log();
    for secret in ["right-key", wrong, PASSPHRASE, "wrong-passphrase"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    // Of those the server hears nothing: it finds out that nobody has come.
    server.wait_log(&["srt caller refused", "channel=\"b\"", "passphrase"], SOON)?;
    until("two refusals of the second channel in the API", SOON, || {
        let refused = channel(&server, "b")?["turned_away"].clone();
        Ok(Look::at((refused["passphrase"] == 2).then_some(()), refused.to_string()))
    })?;
    until("three refusals in the metrics", SOON, || {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        let refused = metrics.lines().find_map(|l| l.strip_prefix("headwater_srt_refusals_total "));
        let refused = refused.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        Ok(Look::at((refused >= 3).then_some(()), format!("{refused} so far")))
    })?;
    server.stop()
}

#[test]
fn srt_and_rtmp_publishers_take_over_from_each_other_and_the_port_outlives_the_server() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a").with_kills(SOON));
    let srt = server.srt("a", Some("k"));
    let mut first = Source::tiny(RATE).publish_srt(&srt)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let mut second = Source::tiny(RATE).publish(&server.publish_url("a", Some("k")))?;
    first.wait(SOON).context("the SRT publisher is told to end")?;
    server.wait_more("a", 1)?;
    let third = Source::tiny(RATE).publish_srt(&srt)?;
    second.wait(SOON).context("the RTMP publisher is told to end")?;
    server.wait_more("a", 2)?;
    ends_with(&server, &third)?;

    server.kill()?;
    // Its handshake waits in the socket of the guardian until somebody reads it.
    let fourth = Source::tiny(RATE).publish_srt(&srt)?;
    until("publisher of the new server", SOON, || {
        let lines = server.log().matches("publisher connected").count();
        Ok(Look::at((lines >= 4).then_some(()), format!("{lines} so far")))
    })?;
    server.wait_more("a", 2)?;
    ends_with(&server, &fourth)?;
    one_run(&witness.finish()?)?;
    server.stop()
}

/// ffmpeg that waits to be called, and sends colour bars.
fn listener(port: u16, log: &std::path::Path) -> Result<Process> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-re", "-f", "lavfi", "-i"]);
    command.args(["testsrc2=size=320x180:rate=25", "-c:v", "libx264", "-preset", "ultrafast"]);
    command.args(["-g", "25", "-f", "mpegts"]);
    command.arg(format!("srt://127.0.0.1:{port}?mode=listener&passphrase={PASSPHRASE}"));
    Process::spawn("ffmpeg that is called", &mut command, Stdout::Log, log)
}

fn wait_state(server: &Server, state: &str) -> Result {
    until(&format!("{state} channel"), SOON, || {
        let now = server.status("a")?["state"].clone();
        Ok(Look::at((now == state).then_some(()), now.to_string()))
    })
}

#[test]
fn a_source_that_is_called_is_called_again_when_it_is_back() -> Result {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").context("a free port")?;
    let port = socket.local_addr().context("a free port")?.port();
    drop(socket);
    let dir = tempfile::tempdir().context("folder")?;
    let log = dir.path().join("log");
    let source =
        format!("source = \"srt://127.0.0.1:{port}?latency=200ms&passphrase={PASSPHRASE}\"");
    let called = listener(port, &log)?;
    let server = Server::start(&[ChannelConfig::pass_through("a").with(&source)])?;
    server.wait_playable("a", SOON)?;
    let told = channel(&server, "a")?;
    assert_eq!(told["peer"], format!("srt://127.0.0.1:{port}"), "{told}");
    assert_eq!(told["link"]["encryption_bits"], 128, "{told}");
    called.signal(rustix::process::Signal::KILL);
    wait_state(&server, "holding")?;
    server.wait_log(&["source ended", "nobody answers"], SOON)?;
    let _called = listener(port, &log)?;
    wait_state(&server, "live")?;
    server.wait_more("a", 1)?;
    assert!(!server.log().contains(PASSPHRASE));
    server.stop()
}
