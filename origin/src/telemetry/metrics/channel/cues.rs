//! Figures of ad breaks: what was heard, by which way, in time or not, and whether one is on.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::ChannelLabel;

/// Upper bounds of how long before its time a message comes, in seconds: what is below 0 was late, what
/// is below 4 came later than it should (ANSI/SCTE 35 §9.9.2.1).
const LEADS: [f64; 7] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// Of all channels.
#[derive(Clone, Debug)]
pub(super) struct CueFamilies {
    cues: Family<SourceLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    heartbeats: Family<ChannelLabel, Counter>,
    on: Family<ChannelLabel, Gauge>,
    lead: Family<ChannelLabel, Histogram, fn() -> Histogram>,
}

/// Of one channel.
#[derive(Clone, Debug)]
pub struct CueMetrics {
    families: CueFamilies,
    channel: String,
    /// Sections that say nothing but that the way of cues is there.
    pub heartbeats: Counter,
    /// 1 within a break.
    pub on: Gauge,
    lead: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    channel: String,
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    channel: String,
    outcome: &'static str,
}

impl Default for CueFamilies {
    fn default() -> Self {
        Self {
            cues: Family::default(),
            outcomes: Family::default(),
            heartbeats: Family::default(),
            on: Family::default(),
            lead: Family::new_with_constructor(|| Histogram::new(LEADS)),
        }
    }
}

impl CueFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "scte35_cues",
            "Events of SCTE-35 that were heard, by the way they came",
            self.cues.clone(),
        );
        registry.register(
            "scte35_outcomes",
            "The same by what became of them",
            self.outcomes.clone(),
        );
        registry.register(
            "scte35_heartbeats",
            "Sections that say nothing but that the way of cues is there",
            self.heartbeats.clone(),
        );
        registry.register("scte35_break", "1 within an ad break, else 0", self.on.clone());
        registry.register_with_unit(
            "scte35_lead",
            "How long before its time a message came",
            Unit::Seconds,
            self.lead.clone(),
        );
    }

    pub(super) fn channel(&self, name: &str) -> CueMetrics {
        let label = ChannelLabel { channel: name.to_owned() };
        CueMetrics {
            families: self.clone(),
            channel: name.to_owned(),
            heartbeats: self.heartbeats.get_or_create_owned(&label),
            on: self.on.get_or_create_owned(&label),
            lead: self.lead.get_or_create_owned(&label),
        }
    }
}

impl CueMetrics {
    /// Counts an event: the way it came, what became of it, and how late it was in milliseconds, where it
    /// has a time.
    pub fn heard(&self, source: &'static str, outcome: &'static str, late_ms: Option<i64>) {
        let channel = || self.channel.clone();
        let labels = SourceLabels { channel: channel(), source };
        self.families.cues.get_or_create(&labels).inc();
        let labels = OutcomeLabels { channel: channel(), outcome };
        self.families.outcomes.get_or_create(&labels).inc();
        if let Some(late) = late_ms {
            self.lead.observe(-(late as f64) / 1_000.0);
        }
    }
}
