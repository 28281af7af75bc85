//! Publishers who come, go and come again: takeovers, lines cut without a word, and a machine that
//! is used up. What the operator is told of it.

use std::time::{Duration, Instant};

use harness::proxy::Way;
use harness::proxy::tcp::{Faults, Flow, TcpProxy};
use harness::publisher::Source;
use harness::server::{ChannelConfig, Server, publish_url};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Result};
use packager::time::FrameRate;
use serde_json::Value;

use crate::faults::{ends_with, one_run};

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// Time for what takes a moment on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);
/// The server's own bound on the silence of a publisher.
const SILENCE: Duration = Duration::from_secs(5);
/// What a server may grow by while publishers come and go: allocators keep what they had at the
/// busiest moment.
const GROWTH: u64 = 64 << 20;

/// A channel as the operator's API has it.
fn channel(server: &Server, name: &str) -> Result<Value> {
    let url = server.admin_url(&format!("/api/v1/channels/{name}"));
    serde_json::from_str(&server.client.text(&url)?).context("API")
}

/// The events of a kind: whether each is over.
fn events(server: &Server, name: &str, kind: &str) -> Result<Vec<bool>> {
    let channel = channel(server, name)?;
    let events = channel["events"].as_array().context("no events")?;
    let of_kind = events.iter().filter(|event| event["kind"] == kind);
    Ok(of_kind.map(|event| !event["ended"].is_null()).collect())
}

/// Waits until so many publishers have been let in since the start.
fn wait_connected(server: &Server, count: usize) -> Result {
    until(&format!("publisher {count}"), SOON, || {
        let lines = server.log().matches("publisher connected").count();
        Ok(Look::at((lines >= count).then_some(()), format!("{lines} so far")))
    })
}

#[test]
fn twenty_reconnects_within_a_minute_leave_one_run_and_no_memory_behind() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut publisher = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let begin = Instant::now();
    let mut settled = 0;
    for n in 2..=21 {
        publisher.kill();
        publisher = Source::tiny(RATE).publish(&url)?;
        wait_connected(&server, n)?;
        if n == 4 {
            settled = server.resident_bytes();
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?} is no flapping", begin.elapsed());
    server.wait_more("a", 4)?;
    let grown = server.resident_bytes().saturating_sub(settled);
    assert!(grown < GROWTH, "it grew by {grown} bytes");
    one_run(&witness.finish()?)?;
    assert_eq!(channel(&server, "a")?["worker_restarts"], 0);
    ends_with(&server, &publisher)
}

#[test]
fn a_line_cut_without_a_word_is_told_once_and_over_when_the_publisher_is_back() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let proxy = TcpProxy::start(server.rtmp, 1)?;
    let _cut = Source::tiny(RATE).publish(&publish_url(proxy.listen, "a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    proxy.set_both(Faults::stopped(Flow::Forgotten));
    let begin = Instant::now();
    server.wait_state("a", "holding", SOON)?;
    let found = begin.elapsed();
    assert!(found < SILENCE + Duration::from_secs(3), "found after {found:?}");
    assert!(proxy.tally(Way::Up).lost > 0, "else nothing was cut");
    // Told within 2 s, and once.
    server.wait_more("a", 1)?;
    assert_eq!(events(&server, "a", "source lost")?, [false]);
    let again = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    server.wait_state("a", "live", SOON)?;
    server.wait_more("a", 2)?;
    assert_eq!(events(&server, "a", "source lost")?, [true]);
    assert_eq!(events(&server, "a", "source arrived")?, [true, true]);
    assert_eq!(channel(&server, "a")?["last_error"], Value::Null);
    one_run(&witness.finish()?)?;
    ends_with(&server, &again)
}

#[test]
fn a_publisher_whose_line_was_cut_takes_his_channel_back_at_once() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let proxy = TcpProxy::start(server.rtmp, 2)?;
    let _cut = Source::tiny(RATE).publish(&publish_url(proxy.listen, "a", Some("k")))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    proxy.set_both(Faults::stopped(Flow::Forgotten));
    let again = Source::tiny(RATE).publish(&server.publish_url("a", Some("k")))?;
    wait_connected(&server, 2)?;
    server.wait_more("a", 3)?;
    assert_eq!(events(&server, "a", "taken over")?, [true]);
    assert!(events(&server, "a", "source lost")?.is_empty());
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    let counted = "headwater_publisher_takeovers_total{channel=\"a\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    one_run(&witness.finish()?)?;
    ends_with(&server, &again)
}

#[test]
fn a_machine_that_is_used_up_refuses_a_new_channel_with_the_figures_and_no_reconnect() -> Result {
    let last = ChannelConfig::tiny("b").with("[admission]\ncores = \"0.1\"");
    let server = Server::start(&[ChannelConfig::tiny("a"), last])?;
    let url = server.publish_url("a", None);
    let mut first = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;

    let mut refused = Source::tiny(RATE).publish(&server.publish_url("b", None))?;
    refused.wait(SOON).context("the publisher of the second channel is told to end")?;
    let said = refused.log();
    assert!(said.contains("this machine is used up"), "{said}");
    server.wait_log(&["no room for the channel", "channel=b"], SOON)?;
    let capacity = server.client.text(&server.admin_url("/api/v1/capacity"))?;
    let capacity: Value = serde_json::from_str(&capacity).context("capacity")?;
    assert_eq!(capacity["refused"], 1, "{capacity}");
    assert_eq!(capacity["last_refusal"][0], "b", "{capacity}");
    assert_eq!(server.status("b")?["state"], "idle");

    first.kill();
    server.wait_state("a", "holding", SOON)?;
    let back = Source::tiny(RATE).publish(&url)?;
    server.wait_state("a", "live", SOON)?;
    server.wait_more("a", 2)?;
    ends_with(&server, &back)
}
