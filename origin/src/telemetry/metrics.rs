//! Metrics in the Prometheus text format: every name of the program stands in this file, those of
//! viewers in `viewers` and those of the process in `process`.
//!
//! Names begin with `headwater_`, carry their unit, and end in `_total` where they count. Labels
//! have closed sets of values: configured channels, their renditions, and words of ours; nothing a
//! peer sends becomes one. Updating is an atomic addition on a handle that was made before.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

mod process;
mod viewers;

use process::Process;
pub use viewers::{AudienceMetrics, ProtocolMetrics, ViewerMetrics};

/// States of a channel, as in its status.
const STATES: [&str; 5] = ["idle", "starting", "live", "holding", "ended"];

/// Upper bounds of the part publish latency in seconds: fine around the 10 ms that are promised.
const PUBLISH_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// All metrics of the program. The fields are updated by the parts they are named after.
pub struct Metrics {
    registry: Registry,
    /// Of the HTTP origin.
    pub http: HttpMetrics,
    /// Of the RTMP server.
    pub rtmp: RtmpMetrics,
    /// Of what the machine takes on.
    pub admission: AdmissionMetrics,
    /// Of those who watch.
    pub viewers: ViewerMetrics,
    channels: ChannelFamilies,
}

/// What the HTTP origin counts.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    sent: Family<ClassLabel, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    cuts: Family<CutLabels, Counter>,
    /// Connections of viewers.
    pub connections: Gauge,
    /// Requests that wait for the live edge.
    pub waiting: Gauge,
    /// 1 while the certificate on disk can't be used and an older one is.
    pub certificate_alarm: Gauge,
}

/// Why there was no room for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// All connections are taken.
    Connections,
    /// The address has all the connections it may have.
    ConnectionsOfAddress,
    /// As many requests wait as may.
    Waiting,
    /// As many requests of the address wait as may.
    WaitingOfAddress,
}

/// Why a connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Its request or handshake did not come to an end.
    SlowRequest,
    /// It took less than the least rate.
    SlowReader,
    /// It gave up request after request.
    Resets,
}

/// What the RTMP server counts.
#[derive(Clone, Debug, Default)]
pub struct RtmpMetrics {
    /// Publications that go on now.
    pub publishers: Gauge,
    /// Connections accepted since the start.
    pub accepted: Counter,
    /// Publishers refused since the start: wrong key, broken protocol, a source we can't use.
    pub refused: Counter,
}

/// A counter of time.
type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;

/// What the machine takes on.
#[derive(Clone, Debug, Default)]
pub struct AdmissionMetrics {
    /// Cores that ladders may use; 0 if they are not counted.
    pub cores: Measure,
    /// Cores that the channels taken on need.
    pub used: Measure,
    /// Publishers refused for want of room since the start.
    pub refused: Counter,
}

/// A gauge of something that is no whole number.
type Measure = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Clone, Debug)]
struct ChannelFamilies {
    state: Family<StateLabels, Gauge>,
    segments: Family<RenditionLabels, Counter>,
    parts: Family<RenditionLabels, Counter>,
    filler: Family<RenditionLabels, Seconds>,
    ingest_bytes: Family<ChannelLabel, Counter>,
    ingest_frames: Family<ChannelLabel, Counter>,
    worker_restarts: Family<ChannelLabel, Counter>,
    takeovers: Family<ChannelLabel, Counter>,
    repairs: Family<RepairLabels, Counter>,
    gop: Family<ChannelLabel, Measure>,
    av_skew: Family<ChannelLabel, Measure>,
    encoder_lag: Family<ChannelLabel, Measure>,
    store_segments: Family<ChannelLabel, Gauge>,
    store_memory: Family<ChannelLabel, Gauge>,
    store_journal: Family<ChannelLabel, Gauge>,
    store_write_errors: Family<ChannelLabel, Counter>,
    store_late_writes: Family<ChannelLabel, Counter>,
    store_lost_segments: Family<ChannelLabel, Counter>,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    class: &'static str,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    /// What there was too much of.
    of: &'static str,
    /// In all, or from one address.
    scope: &'static str,
}

impl Cut {
    const fn labels(self) -> CutLabels {
        let reason = match self {
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
            Self::Resets => "resets",
        };
        CutLabels { reason }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: String,
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
struct RepairLabels {
    channel: String,
    kind: &'static str,
}

/// A status code, of the few that the origin sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Status(u16);

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&u64::from(self.0), encoder)
    }
}

impl Metrics {
    /// All metrics at zero. `version` is the program's.
    pub fn new(version: &str) -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let registry = root.sub_registry_with_prefix("headwater");
        let build = Info::new(vec![("version".to_owned(), version.to_owned())]);
        registry.register("build", "The program that runs", build);
        let http = HttpMetrics::default();
        http.register(registry);
        let rtmp = RtmpMetrics::default();
        rtmp.register(registry);
        let admission = AdmissionMetrics::default();
        admission.register(registry);
        let viewers = ViewerMetrics::default();
        viewers.register(registry);
        let channels = ChannelFamilies::new();
        channels.register(registry);
        Self { registry: root, http, rtmp, admission, viewers, channels }
    }

    /// The metrics of a configured channel.
    pub fn channel(&self, name: &str) -> ChannelMetrics {
        let label = ChannelLabel { channel: name.to_owned() };
        let families = self.channels.clone();
        let metrics = ChannelMetrics {
            channel: name.to_owned(),
            ingest_bytes: families.ingest_bytes.get_or_create_owned(&label),
            ingest_frames: families.ingest_frames.get_or_create_owned(&label),
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
            },
            part_publish: families.part_publish.get_or_create_owned(&label),
            families,
        };
        metrics.state("idle");
        metrics
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only where a metric's own encoder does; ours do not.
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(fmt::Error) => String::from("# EOF\n"),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl HttpMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests answered, by class of resource and status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_sent",
            "Bytes of bodies sent, by class of resource",
            Unit::Bytes,
            self.sent.clone(),
        );
        registry.register("http_connections", "Connections of viewers", self.connections.clone());
        registry.register(
            "http_refusals",
            "Connections and waiting requests there was no room for",
            self.refusals.clone(),
        );
        registry.register(
            "http_cut_connections",
            "Connections ended because of what the client did",
            self.cuts.clone(),
        );
        registry.register(
            "http_certificate_alarm",
            "1 while the certificate on disk can't be used and an older one is",
            self.certificate_alarm.clone(),
        );
        registry.register(
            "http_waiting_requests",
            "Requests that wait for the live edge",
            self.waiting.clone(),
        );
    }

    /// Counts an answered request; gives the counter of the bytes sent for its class.
    pub fn answered(&self, class: &'static str, status: u16) -> Counter {
        self.requests.get_or_create(&RequestLabels { class, status: Status(status) }).inc();
        self.sent.get_or_create_owned(&ClassLabel { class })
    }

    /// Counts a viewer there was no room for.
    pub fn refused(&self, why: Refused) {
        let (of, scope) = match why {
            Refused::Connections => ("connections", "all"),
            Refused::ConnectionsOfAddress => ("connections", "address"),
            Refused::Waiting => ("waiting", "all"),
            Refused::WaitingOfAddress => ("waiting", "address"),
        };
        self.refusals.get_or_create(&RefusalLabels { of, scope }).inc();
    }

    /// Counts a connection that was cut.
    pub fn cut(&self, why: Cut) {
        self.cuts.get_or_create(&why.labels()).inc();
    }

    /// Connections that were cut for this reason.
    #[cfg(test)]
    pub(crate) fn cuts(&self, why: Cut) -> u64 {
        self.cuts.get_or_create(&why.labels()).get()
    }
}

impl RtmpMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "rtmp_publishers",
            "Publishers connected over RTMP now",
            self.publishers.clone(),
        );
        registry.register("rtmp_connections", "RTMP connections accepted", self.accepted.clone());
        registry.register("rtmp_refusals", "Publishers refused", self.refused.clone());
    }
}

impl AdmissionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "admission_cores",
            "Cores that ladders may use; 0 if they are not counted",
            self.cores.clone(),
        );
        registry.register(
            "admission_used_cores",
            "Cores that the channels taken on need",
            self.used.clone(),
        );
        registry.register(
            "admission_refusals",
            "Publishers refused because the machine is used up",
            self.refused.clone(),
        );
    }
}

impl ChannelFamilies {
    fn new() -> Self {
        Self {
            state: Family::default(),
            segments: Family::default(),
            parts: Family::default(),
            filler: Family::default(),
            ingest_bytes: Family::default(),
            ingest_frames: Family::default(),
            worker_restarts: Family::default(),
            takeovers: Family::default(),
            repairs: Family::default(),
            gop: Family::default(),
            av_skew: Family::default(),
            encoder_lag: Family::default(),
            store_segments: Family::default(),
            store_memory: Family::default(),
            store_journal: Family::default(),
            store_write_errors: Family::default(),
            store_late_writes: Family::default(),
            store_lost_segments: Family::default(),
            part_publish: Family::new_with_constructor(|| Histogram::new(PUBLISH_BUCKETS)),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "channel_state",
            "1 for the state a channel is in, 0 for the others",
            self.state.clone(),
        );
        registry.register("segments", "Segments finished", self.segments.clone());
        registry.register("parts", "Parts made fetchable", self.parts.clone());
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
        registry.register(
            "ingest_frames",
            "Pictures received from publishers",
            self.ingest_frames.clone(),
        );
        registry.register(
            "worker_restarts",
            "Times a worker process had to be started again",
            self.worker_restarts.clone(),
        );
        registry.register(
            "ingest_timestamp_repairs",
            "Repairs made to a source's timestamps, by kind",
            self.repairs.clone(),
        );
        registry.register(
            "publisher_takeovers",
            "Times a publisher took the place of another",
            self.takeovers.clone(),
        );
        registry.register_with_unit(
            "ingest_gop",
            "From the source's last key frame but one to its last",
            Unit::Seconds,
            self.gop.clone(),
        );
        registry.register_with_unit(
            "ingest_av_skew",
            "How far the sound's times lie ahead of the pictures' they arrive with",
            Unit::Seconds,
            self.av_skew.clone(),
        );
        registry.register_with_unit(
            "encoder_lag",
            "How far the encoder is behind the output clock",
            Unit::Seconds,
            self.encoder_lag.clone(),
        );
        self.register_store(registry);
        registry.register_with_unit(
            "part_publish_latency",
            "From the last frame of a part received from the worker to the part being fetchable",
            Unit::Seconds,
            self.part_publish.clone(),
        );
    }
}

impl ChannelFamilies {
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

    /// Counts repairs of one kind made to the source's timestamps.
    pub fn repaired(&self, kind: &'static str, times: u64) {
        let labels = RepairLabels { channel: self.channel.clone(), kind };
        self.families.repairs.get_or_create(&labels).inc_by(times);
    }

    /// Records how long a part took from the encoder to being fetchable.
    pub fn part_published(&self, took: Duration) {
        self.part_publish.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_is_written() {
        let metrics = Metrics::new("1.2.3");
        let channel = metrics.channel("news");
        channel.state("live");
        channel.ingest_bytes.inc_by(7);
        channel.repaired("jump", 2);
        channel.rendition("720p").segments.inc();
        channel.part_published(Duration::from_millis(3));
        channel.encoder_lag.set(0.25);
        channel.takeovers.inc();
        channel.gop.set(2.0);
        channel.av_skew.set(-0.5);
        channel.store.memory.set(4_096);
        channel.store.write_errors.inc();
        metrics.http.answered("playlist", 200).inc_by(512);
        metrics.rtmp.publishers.set(1);
        metrics.http.waiting.inc();
        metrics.http.refused(Refused::WaitingOfAddress);
        metrics.http.cut(Cut::SlowReader);
        let text = metrics.encode();
        for line in [
            "headwater_build_info{version=\"1.2.3\"} 1",
            "headwater_channel_state{channel=\"news\",state=\"live\"} 1",
            "headwater_channel_state{channel=\"news\",state=\"idle\"} 0",
            "headwater_ingest_bytes_total{channel=\"news\"} 7",
            "headwater_publisher_takeovers_total{channel=\"news\"} 1",
            "headwater_ingest_gop_seconds{channel=\"news\"} 2.0",
            "headwater_ingest_av_skew_seconds{channel=\"news\"} -0.5",
            "headwater_ingest_timestamp_repairs_total{channel=\"news\",kind=\"jump\"} 2",
            "headwater_segments_total{channel=\"news\",rendition=\"720p\"} 1",
            "headwater_part_publish_latency_seconds_count{channel=\"news\"} 1",
            "headwater_part_publish_latency_seconds_bucket{le=\"0.005\",channel=\"news\"} 1",
            "headwater_encoder_lag_seconds{channel=\"news\"} 0.25",
            "headwater_store_memory_bytes{channel=\"news\"} 4096",
            "headwater_store_write_errors_total{channel=\"news\"} 1",
            "headwater_store_late_writes_total{channel=\"news\"} 0",
            "headwater_http_requests_total{class=\"playlist\",status=\"200\"} 1",
            "headwater_http_sent_bytes_total{class=\"playlist\"} 512",
            "headwater_http_waiting_requests 1",
            "headwater_http_refusals_total{of=\"waiting\",scope=\"address\"} 1",
            "headwater_http_cut_connections_total{reason=\"slow_reader\"} 1",
            "headwater_rtmp_publishers 1",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_cpu_seconds counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

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
