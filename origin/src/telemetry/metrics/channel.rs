//! Metrics of one channel: its source, its encoder, its packaging and its store.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{ChannelLabel, Measure, Seconds};

mod cues;
mod link;
mod upstream;

use cues::CueFamilies;
pub use cues::CueMetrics;
use link::LinkFamilies;
pub use link::LinkTimes;
use upstream::UpstreamFamilies;
pub use upstream::UpstreamMetrics;

/// States of a channel, as in its status.
const STATES: [&str; 5] = ["idle", "starting", "live", "holding", "ended"];

/// Kinds of picture faults, as in its status.
const PICTURE_FAULTS: [&str; 3] = ["repeated", "dropped", "skipped"];

/// Upper bounds of the part publish latency in seconds: fine around the 10 ms that are promised.
const PUBLISH_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// All channels' metrics, by channel.
#[derive(Clone, Debug)]
pub(super) struct ChannelFamilies {
    state: Family<StateLabels, Gauge>,
    segments: Family<RenditionLabels, Counter>,
    parts: Family<RenditionLabels, Counter>,
    filler: Family<RenditionLabels, Seconds>,
    ingest_bytes: Family<ChannelLabel, Counter>,
    ingest_frames: Family<ChannelLabel, Counter>,
    ingest_sections: Family<ChannelLabel, Counter>,
    kinds: [Family<KindLabels, Counter>; Counted::ALL.len()],
    link: LinkFamilies,
    cues: CueFamilies,
    worker_restarts: Family<ChannelLabel, Counter>,
    takeovers: Family<ChannelLabel, Counter>,
    gop: Family<ChannelLabel, Measure>,
    av_skew: Family<ChannelLabel, Measure>,
    encoder_lag: Family<ChannelLabel, Measure>,
    store_segments: Family<ChannelLabel, Gauge>,
    store_memory: Family<ChannelLabel, Gauge>,
    store_journal: Family<ChannelLabel, Gauge>,
    store_write_errors: Family<ChannelLabel, Counter>,
    store_late_writes: Family<ChannelLabel, Counter>,
    store_lost_segments: Family<ChannelLabel, Counter>,
    upstream: UpstreamFamilies,
    part_publish: Family<ChannelLabel, Histogram, fn() -> Histogram>,
}

/// One channel's metrics. Make it once; updating it is cheap.
#[derive(Clone, Debug)]
pub struct ChannelMetrics {
    families: ChannelFamilies,
    channel: String,
    /// Bytes of media received from publishers.
    pub ingest_bytes: Counter,
    /// Pictures received from publishers.
    pub ingest_frames: Counter,
    /// Sections of SCTE-35 received from publishers.
    pub ingest_sections: Counter,
    /// Times the worker process had to be started again.
    pub worker_restarts: Counter,
    /// Times a publisher took the place of another.
    pub takeovers: Counter,
    /// Seconds between the source's last two key frames; 0 without a source.
    pub gop: Measure,
    /// Seconds by which the sound's times lie ahead of the pictures' they arrive with.
    pub av_skew: Measure,
    /// Seconds the encoder is behind the output clock.
    pub encoder_lag: Measure,
    /// Of its ad breaks.
    pub cues: CueMetrics,
    /// Of its store.
    pub store: StoreMetrics,
    part_publish: Histogram,
}

/// What a channel's store counts.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Segments that can be fetched.
    pub segments: Gauge,
    /// Bytes of media in memory.
    pub memory: Gauge,
    /// Size of the journal in bytes.
    pub journal: Gauge,
    /// Writes that failed.
    pub write_errors: Counter,
    /// Writes the live edge did not wait for.
    pub late_writes: Counter,
    /// Segments dropped from memory before they were on disk.
    pub lost_segments: Counter,
    /// Of its way into S3.
    pub upstream: UpstreamMetrics,
}

/// What one rendition of a channel counts.
#[derive(Clone, Debug)]
pub struct RenditionMetrics {
    /// Segments finished.
    pub segments: Counter,
    /// Parts made fetchable.
    pub parts: Counter,
    /// Seconds of filler among them: what the encoder did not make in time.
    pub filler: Seconds,
}

/// What is counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Faults in a source's transport stream.
    TransportFaults,
    /// Repairs made to a source's timestamps.
    Repairs,
    /// Pictures of a ladder that are not the source's next one.
    PictureFaults,
    /// Publishers that were turned away.
    TurnedAway,
}

impl Counted {
    /// Name and help of each, in their order.
    const ALL: [(&str, &str); 4] = [
        ("ingest_transport_faults", "What was wrong with a source's transport stream, by kind"),
        ("ingest_timestamp_repairs", "Repairs made to a source's timestamps, by kind"),
        (
            "encoder_picture_faults",
            "Pictures of a ladder that are not the source's next one, by kind",
        ),
        (
            "publishers_turned_away",
            "Publishers that wanted to come to a channel and were turned away, by reason",
        ),
    ];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    channel: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenditionLabels {
    channel: String,
    rendition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    channel: String,
    kind: &'static str,
}

impl ChannelFamilies {
    pub(super) fn new() -> Self {
        Self {
            state: Family::default(),
            segments: Family::default(),
            parts: Family::default(),
            filler: Family::default(),
            ingest_bytes: Family::default(),
            ingest_frames: Family::default(),
            ingest_sections: Family::default(),
            kinds: Default::default(),
            link: LinkFamilies::default(),
            cues: CueFamilies::default(),
            worker_restarts: Family::default(),
            takeovers: Family::default(),
            gop: Family::default(),
            av_skew: Family::default(),
            encoder_lag: Family::default(),
            store_segments: Family::default(),
            store_memory: Family::default(),
            store_journal: Family::default(),
            store_write_errors: Family::default(),
            store_late_writes: Family::default(),
            store_lost_segments: Family::default(),
            upstream: UpstreamFamilies::default(),
            part_publish: Family::new_with_constructor(|| Histogram::new(PUBLISH_BUCKETS)),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "channel_state",
            "1 for the state a channel is in, 0 for the others",
            self.state.clone(),
        );
        for (name, help, family) in [
            ("segments", "Segments finished", &self.segments),
            ("parts", "Parts made fetchable", &self.parts),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register_with_unit(
            "filler",
            "Time filled because no encoder made it in time",
            Unit::Seconds,
            self.filler.clone(),
        );
        registry.register_with_unit(
            "ingest",
            "Bytes of media received from publishers",
            Unit::Bytes,
            self.ingest_bytes.clone(),
        );
        for (family, (name, help)) in self.kinds.iter().zip(Counted::ALL) {
            registry.register(name, help, family.clone());
        }
        self.link.register(registry);
        self.cues.register(registry);
        for (name, help, family) in [
            ("ingest_frames", "Pictures received from publishers", &self.ingest_frames),
            (
                "ingest_sections",
                "Sections of SCTE-35 received from publishers",
                &self.ingest_sections,
            ),
            (
                "worker_restarts",
                "Times a worker process had to be started again",
                &self.worker_restarts,
            ),
            ("publisher_takeovers", "Times a publisher took the place of another", &self.takeovers),
        ] {
            registry.register(name, help, family.clone());
        }
        for (name, help, family) in [
            ("ingest_gop", "From the source's last key frame but one to its last", &self.gop),
            (
                "ingest_av_skew",
                "How far the sound's times lie ahead of the pictures' they arrive with",
                &self.av_skew,
            ),
            ("encoder_lag", "How far the encoder is behind the output clock", &self.encoder_lag),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        self.register_store(registry);
        self.upstream.register(registry);
        registry.register_with_unit(
            "part_publish_latency",
            "From the last frame of a part received from the worker to the part being fetchable",
            Unit::Seconds,
            self.part_publish.clone(),
        );
    }

    /// The metrics of the channel with this name.
    pub(super) fn channel(&self, name: &str) -> ChannelMetrics {
        let label = ChannelLabel { channel: name.to_owned() };
        let families = self.clone();
        let metrics = ChannelMetrics {
            channel: name.to_owned(),
            cues: families.cues.channel(name),
            ingest_bytes: families.ingest_bytes.get_or_create_owned(&label),
            ingest_frames: families.ingest_frames.get_or_create_owned(&label),
            ingest_sections: families.ingest_sections.get_or_create_owned(&label),
            worker_restarts: families.worker_restarts.get_or_create_owned(&label),
            takeovers: families.takeovers.get_or_create_owned(&label),
            gop: families.gop.get_or_create_owned(&label),
            av_skew: families.av_skew.get_or_create_owned(&label),
            encoder_lag: families.encoder_lag.get_or_create_owned(&label),
            store: StoreMetrics {
                segments: families.store_segments.get_or_create_owned(&label),
                memory: families.store_memory.get_or_create_owned(&label),
                journal: families.store_journal.get_or_create_owned(&label),
                write_errors: families.store_write_errors.get_or_create_owned(&label),
                late_writes: families.store_late_writes.get_or_create_owned(&label),
                lost_segments: families.store_lost_segments.get_or_create_owned(&label),
                upstream: families.upstream.of(&label),
            },
            part_publish: families.part_publish.get_or_create_owned(&label),
            families,
        };
        metrics.state("idle");
        // A rate needs the value from before the first time.
        for kind in PICTURE_FAULTS {
            metrics.count(Counted::PictureFaults, kind, 0);
        }
        metrics
    }

    fn register_store(&self, registry: &mut Registry) {
        registry.register(
            "store_segments",
            "Segments that can be fetched",
            self.store_segments.clone(),
        );
        for (name, help, family) in [
            ("store_memory", "Media held in memory", &self.store_memory),
            ("store_journal", "Size of the journal", &self.store_journal),
        ] {
            registry.register_with_unit(name, help, Unit::Bytes, family.clone());
        }
        for (name, help, family) in [
            ("store_write_errors", "Writes that failed", &self.store_write_errors),
            ("store_late_writes", "Writes the live edge did not wait for", &self.store_late_writes),
            (
                "store_lost_segments",
                "Segments dropped from memory before they were on disk",
                &self.store_lost_segments,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
    }
}

impl ChannelMetrics {
    /// Sets the channel's state: one of the words of its status.
    pub fn state(&self, state: &str) {
        for known in STATES {
            let labels = StateLabels { channel: self.channel.clone(), state: known };
            self.families.state.get_or_create(&labels).set(i64::from(known == state));
        }
    }

    /// The counters of one of the channel's renditions.
    pub fn rendition(&self, name: &str) -> RenditionMetrics {
        let labels = RenditionLabels { channel: self.channel.clone(), rendition: name.to_owned() };
        RenditionMetrics {
            segments: self.families.segments.get_or_create_owned(&labels),
            parts: self.families.parts.get_or_create_owned(&labels),
            filler: self.families.filler.get_or_create_owned(&labels),
        }
    }

    /// Counts what is of a kind; one of our words.
    pub fn count(&self, what: Counted, kind: &'static str, times: u64) {
        let labels = KindLabels { channel: self.channel.clone(), kind };
        self.families.kinds[what as usize].get_or_create(&labels).inc_by(times);
    }

    /// Records how long a part took from the encoder to being fetchable.
    pub fn part_published(&self, took: Duration) {
        self.part_publish.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn a_channel_is_in_one_state() {
        let metrics = Metrics::new("0");
        let channel = metrics.channel("a");
        for state in STATES {
            channel.state(state);
            let text = metrics.encode();
            let set = text.lines().filter(|l| l.contains("channel_state{") && l.ends_with(" 1"));
            assert_eq!(set.count(), 1, "{state}");
        }
    }
}
