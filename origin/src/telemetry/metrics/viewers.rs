//! Metrics of those who watch, as their players report it: sums, never one viewer.
//!
//! How much of their time viewers wait is
//! `rate(headwater_viewer_rebuffered_seconds_total) / rate(headwater_viewer_watched_seconds_total)`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{ChannelLabel, Measure, Seconds};

/// Upper bounds of viewers' latency in seconds: fine where low latency is, coarse where plain
/// players are.
const LATENCY_BUCKETS: [f64; 14] =
    [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 40.0];

/// Words that protocols are labelled with.
const PROTOCOLS: [&str; 3] = ["hls", "dash", "other"];

/// What is counted of viewers.
#[derive(Clone, Debug)]
pub struct ViewerMetrics {
    reports: Family<ResultLabel, Counter>,
    viewers: Family<AudienceLabels, Gauge>,
    watched: Family<AudienceLabels, Seconds>,
    rebuffered: Family<AudienceLabels, Seconds>,
    starved: Family<AudienceLabels, Counter>,
    bitrate: Family<AudienceLabels, Measure>,
    rebuffer_ratio: Family<ChannelLabel, Measure>,
    latency: Family<AudienceLabels, Histogram, fn() -> Histogram>,
}

/// What is counted of one channel's viewers.
#[derive(Clone, Debug)]
pub struct AudienceMetrics {
    protocols: [ProtocolMetrics; PROTOCOLS.len()],
    /// Time spent waiting over time spent watching, of the last minutes.
    pub rebuffer_ratio: Measure,
}

/// What is counted of one channel's viewers of one protocol.
#[derive(Clone, Debug)]
pub struct ProtocolMetrics {
    /// Sessions that report now.
    pub viewers: Gauge,
    /// Seconds watched, waits for data included.
    pub watched: Seconds,
    /// Seconds of it spent waiting for data.
    pub rebuffered: Seconds,
    /// Waits for data.
    pub starved: Counter,
    /// Mean bit rate of what is played.
    pub bitrate: Measure,
    /// Distance to the live edge, one observation a report.
    pub latency: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AudienceLabels {
    channel: String,
    protocol: &'static str,
}

impl Default for ViewerMetrics {
    fn default() -> Self {
        Self {
            reports: Family::default(),
            viewers: Family::default(),
            watched: Family::default(),
            rebuffered: Family::default(),
            starved: Family::default(),
            bitrate: Family::default(),
            rebuffer_ratio: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
        }
    }
}

impl ViewerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "viewer_reports",
            "Requests with players' reports, by what became of them",
            self.reports.clone(),
        );
        registry.register(
            "viewers_cmcd",
            "Players that report, by what they play",
            self.viewers.clone(),
        );
        registry.register_with_unit(
            "viewer_watched",
            "Time that reporting viewers watched, waits for data included",
            Unit::Seconds,
            self.watched.clone(),
        );
        registry.register_with_unit(
            "viewer_rebuffered",
            "Time that reporting viewers waited for data",
            Unit::Seconds,
            self.rebuffered.clone(),
        );
        registry.register(
            "viewer_buffer_starved",
            "Times that reporting viewers had to wait for data",
            self.starved.clone(),
        );
        registry.register(
            "viewer_bitrate_bits_per_second",
            "Mean bit rate of what reporting viewers play",
            self.bitrate.clone(),
        );
        registry.register(
            "viewer_rebuffer_ratio",
            "Time spent waiting for data over time spent watching, of the last minutes",
            self.rebuffer_ratio.clone(),
        );
        registry.register_with_unit(
            "viewer_latency",
            "Viewers' distance to the live edge as their players report it",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    /// Counts a request with reports, by what became of it.
    pub fn reported(&self, result: &'static str) {
        self.reports.get_or_create(&ResultLabel { result }).inc();
    }

    /// The metrics of a configured channel's viewers.
    pub fn channel(&self, name: &str) -> AudienceMetrics {
        let protocols = PROTOCOLS.map(|protocol| {
            let labels = AudienceLabels { channel: name.to_owned(), protocol };
            ProtocolMetrics {
                viewers: self.viewers.get_or_create_owned(&labels),
                watched: self.watched.get_or_create_owned(&labels),
                rebuffered: self.rebuffered.get_or_create_owned(&labels),
                starved: self.starved.get_or_create_owned(&labels),
                bitrate: self.bitrate.get_or_create_owned(&labels),
                latency: self.latency.get_or_create_owned(&labels),
            }
        });
        let label = ChannelLabel { channel: name.to_owned() };
        AudienceMetrics {
            protocols,
            rebuffer_ratio: self.rebuffer_ratio.get_or_create_owned(&label),
        }
    }
}

impl AudienceMetrics {
    /// Those of a protocol; an unknown word counts as the last.
    pub fn of(&self, protocol: &str) -> &ProtocolMetrics {
        let [hls, dash, other] = &self.protocols;
        match protocol {
            "hls" => hls,
            "dash" => dash,
            _ => other,
        }
    }
}
