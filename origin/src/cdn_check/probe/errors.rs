//! Errors: what is not there yet must not be remembered, and what never was only for a moment.

use std::time::Duration;

use tokio::time::sleep_until;

use super::super::channel::{Channel, Playlist};
use super::super::check::Check;
use super::super::client::{Error, Reply};
use super::super::report::Finding;
use super::super::spoken;
use super::lifetime;

/// When an error is asked for again: soon, and when the longest lifetime of one of ours is over.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(1_000), Duration::from_millis(11_500)];
/// How much longer than it may an error is kept before that is a fault: two roundings to seconds.
const SLACK: Duration = Duration::from_millis(1_000);
/// Segments ahead of the live edge: far more than the origin waits for.
const FAR_AHEAD: u64 = 100_000;

pub(super) async fn probe(channel: &Channel, list: &Playlist) -> Finding {
    let mut asked = vec![
        (channel.segment(list, list.open() + FAR_AHEAD), "a segment that is not there yet"),
        (channel.segment(list, 1), "a segment that never was"),
    ];
    if list.blocking {
        let far = format!("{}?_HLS_msn={}", channel.playlist.path(), list.open() + FAR_AHEAD);
        asked.push((Some(far), "a playlist that is too far ahead"));
    }
    let mut told = Vec::new();
    let mut probing = tokio::task::JoinSet::new();
    for (path, what) in asked {
        let Some(path) = path else { continue };
        let channel = channel.clone();
        probing.spawn(async move { remembered(&channel, &path, what).await });
    }
    for outcome in probing.join_all().await {
        match outcome {
            Ok(Ok(measured)) => told.push(measured),
            Ok(Err(measured)) => return Finding::fault(Check::Errors, measured),
            Err(error) => return Finding::unknown(Check::Errors, super::told(&error)),
        }
    }
    told.sort();
    Finding::good(Check::Errors, told.join("; "))
}

/// For how long an error is kept; `Err` in the inner result if it is too long.
async fn remembered(
    channel: &Channel,
    path: &str,
    what: &str,
) -> Result<Result<String, String>, Error> {
    let first = channel.client.get(path).await?;
    let status = first.status.as_u16();
    if first.status.is_success() {
        return Ok(Ok(format!("{what} is answered with status {status}: see key")));
    }
    if !first.status.is_client_error() {
        return Ok(Err(format!("{what} is answered with status {status}")));
    }
    if first.origin_id().is_none() {
        return Ok(Err(format!("{what} is answered by a page of the edge's, not the origin's")));
    }
    let allowed = lifetime(&first).unwrap_or_default();
    let mut kept = Duration::ZERO;
    for after in AGAIN_AFTER {
        sleep_until(first.at + after).await;
        let again = channel.client.get(path).await?;
        if same(&first, &again) {
            kept = again.at - first.at;
        }
    }
    let rule = first.header("cache-control").unwrap_or("no Cache-Control");
    if kept > allowed + SLACK || (allowed.is_zero() && !kept.is_zero()) {
        let kept = spoken(kept);
        return Ok(Err(format!("status {status} for {what} ({rule}) was kept for {kept} or more")));
    }
    Ok(Ok(format!("status {status} for {what} is kept as it says ({rule})")))
}

fn same(first: &Reply, again: &Reply) -> bool {
    again.origin_id().is_some() && again.origin_id() == first.origin_id()
}
