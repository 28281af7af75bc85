//! Worker processes: found by their channel's name, and harmed.

use std::time::Duration;

use harness::Result;
use harness::process::{harm, tree};
use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use packager::time::FrameRate;

const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// An encoder that asks for no memory for as long as this is not one of ours.
const HUNGRY_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn a_worker_without_memory_dies_alone_and_another_takes_its_place() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a"), ChannelConfig::tiny("b")])?;
    let source = Source::tiny(FrameRate::new(25, 1));
    let _a = source.clone().publish(&server.publish_url("a", None))?;
    let _b = source.publish(&server.publish_url("b", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_playable("b", PLAYABLE_WITHIN)?;
    let first = server.wait_worker("a", None, PLAYABLE_WITHIN)?;
    let neighbours = server.worker_pids("b");
    assert_eq!(neighbours.len(), 1);
    assert!(!neighbours.contains(&first));
    harm::starve(first)?;
    until("end of the starved worker", HUNGRY_WITHIN, || {
        Ok(Look::at(tree::title(first).is_none().then_some(()), "it lives"))
    })?;
    server.wait_worker("a", Some(first), PLAYABLE_WITHIN)?;
    assert_eq!(server.worker_pids("b"), neighbours);
    server.stop()
}
