//! What operators see: `check`, the admin listener, and that keys stay where they belong.

use std::process::Command;
use std::time::Duration;

use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::witness::{Watch, Witness};
use harness::{Context, Result, process, workspace};
use packager::time::FrameRate;

/// Runs `headwater check` on a text.
fn check(text: &str) -> Result<process::Output> {
    let dir = tempfile::tempdir().context("folder")?;
    let file = dir.path().join("headwater.toml");
    std::fs::write(&file, text).context("configuration")?;
    let mut command = Command::new(workspace::headwater()?);
    command.arg("check").arg("--config").arg(&file);
    process::run("headwater check", &mut command, Duration::from_secs(10))
}

#[test]
fn check_lists_every_problem_of_a_file_at_once() -> Result {
    let output = check(
        "[http]\nlisten = \"nowhere\"\n[rtmp]\nlistne = \"0.0.0.0:1935\"\n\
         [[channel]]\nname = \"../x\"\nladder = [\"721p\", \"180p\"]\nsegment = \"2 parsecs\"\n\
         [[channel]]\nname = \"b\"\nladder = [\"180p\"]\nkey = \"canary-in-check\"\nwindwo = \"1m\"\n",
    )?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
    for part in [
        "http.listen",
        "rtmp.listne",
        "listen",
        "name",
        "ladder",
        "721p",
        "segment",
        "windwo",
        "window",
    ] {
        assert!(said.contains(part), "nothing of {part} in:\n{said}");
    }
    assert!(!said.contains("canary-in-check"), "{said}");
    Ok(())
}

#[test]
fn check_accepts_what_is_shipped() -> Result {
    for file in
        ["config/headwater.example.toml", "compose/headwater.toml", "kubernetes/headwater.toml"]
    {
        let path = workspace::root().join("infra").join(file);
        let output = check(&std::fs::read_to_string(&path).context(file)?)?;
        assert!(
            output.status.success(),
            "{file}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            output.stderr
        );
    }
    Ok(())
}

#[test]
fn keys_are_nowhere_but_on_the_operators_page() -> Result {
    const KEY: &str = "canary-7f3a";
    let server = Server::start(&[ChannelConfig::tiny("a").with_key(KEY)])?;
    let dir = server.dir().to_string_lossy().into_owned();
    let watch = Watch::new(&server.url(""), "a").with_secrets(&[KEY, &dir]);
    let witness = Witness::start(watch);
    let refused = Source::tiny(FrameRate::new(25, 1))
        .publish(&server.publish_url("a", Some("canary-wrong")))?;
    let mut publisher =
        Source::tiny(FrameRate::new(25, 1)).publish(&server.publish_url("a", Some(KEY)))?;
    server.wait_playable("a", Duration::from_secs(10))?;
    publisher.check()?;
    drop(refused);
    for url in [
        server.admin_url("/healthz"),
        server.admin_url("/readyz"),
        server.admin_url("/metrics"),
        server.admin_url("/api/v1/channels"),
        server.url("/live/a/status.json"),
        server.url("/"),
        server.url("/watch/a"),
    ] {
        let text = server.client.text(&url)?;
        assert!(!text.contains("canary"), "a key in {url}");
    }
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    assert!(metrics.contains("# TYPE headwater_"), "{metrics:.300}");
    let api = server.client.text(&server.admin_url("/api/v1/channels"))?;
    let api: serde_json::Value = serde_json::from_str(&api).context("API")?;
    assert!(api.to_string().contains("\"live\""), "{api}");
    let page = server.client.text(&server.admin_url("/"))?;
    assert!(page.contains("/live/a") && page.contains(KEY), "no publish settings on the page");
    witness.finish()?.clean()?;
    assert!(!server.log().contains("canary"), "a key in the log");
    server.stop()
}
