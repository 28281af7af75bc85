//! What is shipped for Prometheus and Grafana speaks of series that there are, and raises its alerts.

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
