//! Brings the counters of `ingest`, of the store and of admission into the program's metrics, which
//! they know nothing of.

use std::sync::Arc;
use std::time::Duration;

use ingest::door::{Snapshot, Stats};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::store::{self, ChannelStore};
use crate::telemetry::metrics::{AdmissionMetrics, DoorMetrics, StoreMetrics, UpstreamMetrics};

/// Scrapes come every few seconds; a second old is new enough.
const EVERY: Duration = Duration::from_secs(1);

/// Copies a publishers' door's counters until cancelled.
pub(super) async fn copy_door(stats: Arc<Stats>, metrics: DoorMetrics, cancel: CancellationToken) {
    let mut before = stats.snapshot();
    let mut tick = tokio::time::interval(EVERY);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        let now = stats.snapshot();
        let refused = |s: &Snapshot| s.refused.values().sum::<u64>();
        metrics.accepted.inc_by(now.connections.saturating_sub(before.connections));
        metrics.refused.inc_by(refused(&now).saturating_sub(refused(&before)));
        metrics.publishers.set(i64::try_from(now.publishing).unwrap_or(i64::MAX));
        before = now;
    }
}

/// Copies what there is of the machine until cancelled.
pub(super) async fn copy_admission(
    admission: Arc<Admission>,
    metrics: AdmissionMetrics,
    cancel: CancellationToken,
) {
    let mut refused = 0;
    let mut tick = tokio::time::interval(EVERY);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        let now = admission.capacity();
        metrics.cores.set(now.cores.unwrap_or(0.0));
        metrics.used.set(now.used);
        metrics.refused.inc_by(now.refused.saturating_sub(refused));
        refused = now.refused;
    }
}

/// Copies the counters of channels' stores until cancelled.
pub(super) async fn copy_stores(
    stores: Vec<(Arc<ChannelStore>, StoreMetrics)>,
    cancel: CancellationToken,
) {
    let mut before = vec![store::Stats::default(); stores.len()];
    let mut tick = tokio::time::interval(EVERY);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        for ((store, metrics), before) in stores.iter().zip(&mut before) {
            let now = store.stats();
            copy_store(metrics, before, &now);
            for time in store.take_upload_times() {
                metrics.upstream.upload.observe(time.as_secs_f64());
            }
            *before = now;
        }
    }
}

fn copy_store(metrics: &StoreMetrics, before: &store::Stats, now: &store::Stats) {
    for (gauge, value) in [
        (&metrics.segments, now.segments),
        (&metrics.memory, now.memory_bytes),
        (&metrics.journal, now.journal_bytes),
    ] {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    for (counter, before, now) in [
        (&metrics.write_errors, before.write_errors, now.write_errors),
        (&metrics.late_writes, before.late_writes, now.late_writes),
        (&metrics.lost_segments, before.lost_segments, now.lost_segments),
    ] {
        counter.inc_by(now.saturating_sub(before));
    }
    if let Some(now) = &now.upstream {
        let before = before.upstream.clone().unwrap_or_default();
        copy_upstream(&metrics.upstream, &before, now);
    }
}

fn copy_upstream(
    metrics: &UpstreamMetrics,
    before: &store::UpstreamStats,
    now: &store::UpstreamStats,
) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    metrics.backlog.set(gauge(now.backlog_bytes));
    metrics.backlog_segments.set(gauge(now.backlog_segments));
    metrics.backlog_age.set(now.backlog_ms as f64 / 1_000.0);
    for (counter, before, now) in [
        (&metrics.uploads, before.uploads, now.uploads),
        (&metrics.uploaded_bytes, before.uploaded_bytes, now.uploaded_bytes),
        (&metrics.failed, before.failed, now.failed),
        (&metrics.missing, before.missing_segments, now.missing_segments),
    ] {
        counter.inc_by(now.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn what_a_store_counts_is_added_once() {
        let metrics = Metrics::new("test").channel("news").store;
        let first = store::Stats { write_errors: 2, memory_bytes: 9, ..Default::default() };
        let second = store::Stats { write_errors: 5, memory_bytes: 7, ..Default::default() };
        copy_store(&metrics, &store::Stats::default(), &first);
        copy_store(&metrics, &first, &second);
        assert_eq!((metrics.write_errors.get(), metrics.memory.get()), (5, 7));
    }
}
