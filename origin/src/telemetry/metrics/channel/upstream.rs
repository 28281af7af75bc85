//! Metrics of a channel's way into S3.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::telemetry::metrics::{ChannelLabel, Measure};

/// Upper bounds of upload times in seconds: from a store next door to one that has to be asked again.
const UPLOAD_BUCKETS: [f64; 12] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// What a channel's way into S3 counts.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// Bytes that wait in the spool.
    pub backlog: Gauge,
    /// Seconds since the oldest of them was made.
    pub backlog_age: Measure,
    /// Segments that wait.
    pub backlog_segments: Gauge,
    /// Objects that S3 has taken.
    pub uploads: Counter,
    /// Bytes of them.
    pub uploaded_bytes: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Segments that S3 will never have.
    pub missing: Counter,
    /// Seconds that S3 took for media objects, attempts that failed and waits between them included.
    pub upload: Histogram,
}

#[derive(Clone, Debug)]
pub(super) struct UpstreamFamilies {
    backlog: Family<ChannelLabel, Gauge>,
    backlog_age: Family<ChannelLabel, Measure>,
    backlog_segments: Family<ChannelLabel, Gauge>,
    uploads: Family<ChannelLabel, Counter>,
    uploaded_bytes: Family<ChannelLabel, Counter>,
    failed: Family<ChannelLabel, Counter>,
    missing: Family<ChannelLabel, Counter>,
    upload: Family<ChannelLabel, Histogram, fn() -> Histogram>,
}

impl Default for UpstreamFamilies {
    fn default() -> Self {
        Self {
            backlog: Family::default(),
            backlog_age: Family::default(),
            backlog_segments: Family::default(),
            uploads: Family::default(),
            uploaded_bytes: Family::default(),
            failed: Family::default(),
            missing: Family::default(),
            upload: Family::new_with_constructor(|| Histogram::new(UPLOAD_BUCKETS)),
        }
    }
}

impl UpstreamFamilies {
    pub(super) fn of(&self, label: &ChannelLabel) -> UpstreamMetrics {
        UpstreamMetrics {
            backlog: self.backlog.get_or_create_owned(label),
            backlog_age: self.backlog_age.get_or_create_owned(label),
            backlog_segments: self.backlog_segments.get_or_create_owned(label),
            uploads: self.uploads.get_or_create_owned(label),
            uploaded_bytes: self.uploaded_bytes.get_or_create_owned(label),
            failed: self.failed.get_or_create_owned(label),
            missing: self.missing.get_or_create_owned(label),
            upload: self.upload.get_or_create_owned(label),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "s3_upload_backlog",
            "What waits in the spool for S3",
            Unit::Bytes,
            self.backlog.clone(),
        );
        registry.register_with_unit(
            "s3_upload_backlog_age",
            "Since the oldest segment was made that waits for S3",
            Unit::Seconds,
            self.backlog_age.clone(),
        );
        registry.register(
            "s3_upload_backlog_segments",
            "Segments that wait in the spool for S3",
            self.backlog_segments.clone(),
        );
        registry.register("s3_uploads", "Media objects that S3 has taken", self.uploads.clone());
        registry.register_with_unit(
            "s3_uploaded",
            "Bytes of media that S3 has taken",
            Unit::Bytes,
            self.uploaded_bytes.clone(),
        );
        registry.register(
            "s3_uploads_failed",
            "Requests to S3 that failed and were made again",
            self.failed.clone(),
        );
        registry.register(
            "s3_missing_segments",
            "Segments that S3 will never have: given up on a full disk, or lost with it",
            self.missing.clone(),
        );
        registry.register_with_unit(
            "s3_upload",
            "From the first attempt to send a media object until S3 has taken it",
            Unit::Seconds,
            self.upload.clone(),
        );
    }
}
