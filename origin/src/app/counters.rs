//! Brings the counters of `ingest` into the program's metrics, which `ingest` knows nothing of.

use std::sync::Arc;
use std::time::Duration;

use ingest::rtmp::server::Stats;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::RtmpMetrics;

/// Scrapes come every few seconds; a second old is new enough.
const EVERY: Duration = Duration::from_secs(1);

/// Copies the RTMP server's counters until cancelled.
pub(super) async fn copy_rtmp(stats: Arc<Stats>, metrics: RtmpMetrics, cancel: CancellationToken) {
    let mut before = stats.snapshot();
    let mut tick = tokio::time::interval(EVERY);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        let now = stats.snapshot();
        let refused = |s: &ingest::rtmp::server::Snapshot| s.refused.values().sum::<u64>();
        metrics.accepted.inc_by(now.connections.saturating_sub(before.connections));
        metrics.refused.inc_by(refused(&now).saturating_sub(refused(&before)));
        metrics.publishers.set(i64::try_from(now.publishing).unwrap_or(i64::MAX));
        before = now;
    }
}
