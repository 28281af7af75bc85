//! Previews of a channel whose encoder can't keep up.

use std::time::Duration;

use harness::publisher::Source;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Result};

use super::{OFFER, RATE, on_air, post, watch_with_aiortc};
use crate::workers;

/// A rung goes and previews with it. They are back soon, of what is left, and not with the picture that the
/// rung had when it went.
#[test]
fn a_preview_is_of_a_rung_that_is_made() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["480p", "96p"])])?;
    let mut publisher = on_air(&server, "a", Source::tiny(RATE).with_size(854, 480))?;
    workers::switch_off_highest(&server, "a")?;
    assert_eq!(post(&server, "/live/a/whep", OFFER)?.status, 503, "there is no room");
    until("a preview that is let in", Duration::from_secs(60), || {
        let answer = post(&server, "/live/a/whep", OFFER)?;
        if answer.status != 201 {
            return Ok(Look::at(None, format!("{}: {:?}", answer.status, answer.text())));
        }
        let session = server.url(answer.header("location").context("Location")?);
        server.client.send("DELETE", &session, &[], b"")?;
        Ok(Look::at(Some(()), ""))
    })?;
    let seen = &watch_with_aiortc(&server, "a", &["--seconds", "5"])?[0];
    publisher.check()?;
    assert!(seen["pictures"].as_u64() >= Some(50), "{seen:#}");
    assert_eq!(seen["sizes"], serde_json::json!([[170, 96]]), "{seen:#}");
    Ok(())
}
