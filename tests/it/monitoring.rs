//! What is shipped for Prometheus and Grafana speaks of series that there are, and raises its alerts; and the
//! image's health check tells whether a server is well.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::{Context, Result, process, workspace};
use packager::time::FrameRate;

const UP_WITHIN: Duration = Duration::from_secs(15);

/// Names of the series that a text of OpenMetrics describes: what a query names.
fn series(metrics: &str) -> BTreeSet<String> {
    let described =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = described.flat_map(|(name, kind)| match kind {
        "counter" => vec![format!("{name}_total")],
        "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
        "info" => vec![format!("{name}_info")],
        _ => vec![name.to_owned()],
    });
    names.collect()
}

/// Names of ours in a text of any kind.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("headwater_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn alerts_and_the_dashboard_ask_for_series_that_there_are() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let publisher = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", UP_WITHIN)?;
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let there = series(&metrics);
    let folder = workspace::root().join("infra/monitoring");
    for file in ["alerts.yml", "grafana/dashboard.json"] {
        let text = std::fs::read_to_string(folder.join(file)).context(file)?;
        let asked = names(&text);
        assert!(asked.len() >= 10, "{file} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(unknown.is_empty(), "{file}: no {unknown:?}");
    }
    drop(publisher);
    server.stop()
}

#[test]
fn the_page_of_metrics_names_every_one_that_there_is() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let publisher = Source::tiny(FrameRate::new(30, 1)).publish(&server.publish_url("a", None))?;
    server.wait_playable("a", UP_WITHIN)?;
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let page = workspace::root().join("infra/METRICS.md");
    let page = names(&std::fs::read_to_string(&page).context("the page")?);
    // A histogram is named once there, and its three series here.
    let known = |name: &String| {
        let parts = ["_bucket", "_sum", "_count"];
        page.contains(name)
            || parts.iter().filter_map(|part| name.strip_suffix(part)).any(|n| page.contains(n))
    };
    let there = series(&metrics);
    let missing: Vec<_> = there.iter().filter(|name| !known(name)).collect();
    assert!(there.len() >= 40 && missing.is_empty(), "not in infra/METRICS.md: {missing:?}");
    drop(publisher);
    server.stop()
}

/// The command of the image's health check, as the shell gets it.
fn health_check() -> Result<(String, Vec<String>)> {
    let file = workspace::root().join("infra/container/Dockerfile");
    let text = std::fs::read_to_string(&file).context("the Dockerfile")?.replace("\\\n", "");
    let line =
        text.lines().find(|line| line.starts_with("HEALTHCHECK")).context("a health check")?;
    let (_, command) = line.split_once("CMD").context("its command")?;
    let mut words: Vec<String> = serde_json::from_str(command).context("its words")?;
    Ok((words.remove(0), words))
}

#[test]
fn the_images_health_check_finds_a_server_that_is_well_and_none_where_there_is_none() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let (program, arguments) = health_check()?;
    let address = server.admin_url("");
    let (_, port) = address.trim_end_matches('/').rsplit_once(':').context("a port")?;
    let arguments: Vec<_> = arguments.iter().map(|word| word.replace("9997", port)).collect();
    assert!(arguments.concat().contains(port), "{arguments:?}");
    let check = || process::run("health check", Command::new(&program).args(&arguments), UP_WITHIN);
    let told = check()?;
    assert!(told.status.success(), "{}", told.stderr);
    server.stop()?;
    assert!(!check()?.status.success());
    Ok(())
}

#[test]
fn every_alert_is_raised_by_what_it_is_for_and_by_nothing_else() -> Result {
    let folder = workspace::root().join("infra/monitoring");
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]] {
        let mut promtool = Command::new("promtool");
        let told =
            process::run("promtool", promtool.args(arguments).current_dir(&folder), UP_WITHIN)?;
        let text = format!("{}{}", String::from_utf8_lossy(&told.stdout), told.stderr);
        assert!(told.status.success(), "{arguments:?}: {text}");
    }
    let alerts = std::fs::read_to_string(folder.join("alerts.yml")).context("alerts")?;
    let tests = std::fs::read_to_string(folder.join("alerts.test.yml")).context("their tests")?;
    let named = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<_> = named.filter(|name| !tests.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
    Ok(())
}
