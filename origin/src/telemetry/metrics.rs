//! Metrics in the Prometheus text format: every name of the program stands here and in the modules
//! below, each of which has those of one part of it.
//!
//! Names begin with `headwater_`, carry their unit, and end in `_total` where they count. Labels
//! have closed sets of values: configured channels, their renditions, and words of ours; nothing a
//! peer sends becomes one. Updating is an atomic addition on a handle that was made before.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

mod channel;
mod http;
mod process;
mod viewers;
mod webrtc;

use channel::ChannelFamilies;
pub use channel::{
    ChannelMetrics, Counted, CueMetrics, LinkTimes, RenditionMetrics, StoreMetrics, UpstreamMetrics,
};
pub use http::{Cut, HttpMetrics, Refused};
use process::Process;
pub use viewers::{AudienceMetrics, ProtocolMetrics, ViewerMetrics};
pub use webrtc::WebRtcMetrics;

/// All metrics of the program. The fields are updated by the parts they are named after.
pub struct Metrics {
    registry: Registry,
    /// Of the HTTP origin.
    pub http: HttpMetrics,
    /// Of the RTMP door.
    pub rtmp: DoorMetrics,
    /// Of the SRT door.
    pub srt: DoorMetrics,
    /// Of WebRTC.
    pub webrtc: WebRtcMetrics,
    /// Of what the machine takes on.
    pub admission: AdmissionMetrics,
    /// Of those who watch.
    pub viewers: ViewerMetrics,
    channels: ChannelFamilies,
}

/// What a publishers' door counts.
#[derive(Clone, Debug, Default)]
pub struct DoorMetrics {
    /// Publications that go on now.
    pub publishers: Gauge,
    /// Connections accepted since the start.
    pub accepted: Counter,
    /// Publishers refused since the start: wrong key, broken protocol, a source we can't use.
    pub refused: Counter,
}

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

/// A counter of time.
type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;

/// A gauge of something that is no whole number.
type Measure = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: String,
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
        let [rtmp, srt] = ["rtmp", "srt"].map(|protocol| DoorMetrics::new(protocol, registry));
        let webrtc = WebRtcMetrics::default();
        webrtc.register(registry);
        let admission = AdmissionMetrics::default();
        admission.register(registry);
        let viewers = ViewerMetrics::default();
        viewers.register(registry);
        let channels = ChannelFamilies::new();
        channels.register(registry);
        Self { registry: root, http, rtmp, srt, webrtc, admission, viewers, channels }
    }

    /// The metrics of a configured channel.
    pub fn channel(&self, name: &str) -> ChannelMetrics {
        self.channels.channel(name)
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

impl DoorMetrics {
    fn new(protocol: &str, registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            format!("{protocol}_publishers"),
            "Publishers connected to this door now",
            metrics.publishers.clone(),
        );
        registry.register(
            format!("{protocol}_connections"),
            "Connections accepted at this door",
            metrics.accepted.clone(),
        );
        registry.register(
            format!("{protocol}_refusals"),
            "Publishers refused at this door",
            metrics.refused.clone(),
        );
        metrics
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    /// Has a series of everything: a family without one is not written.
    fn all() -> Metrics {
        let metrics = Metrics::new("0");
        let channel = metrics.channel("news");
        let _ = metrics.viewers.channel("news");
        let _ = channel.rendition("720p");
        for what in [
            Counted::TransportFaults,
            Counted::Repairs,
            Counted::PictureFaults,
            Counted::TurnedAway,
        ] {
            channel.count(what, "kind", 1);
        }
        channel.link(Some(LinkTimes::default()));
        channel.link_packets("lost", 1);
        channel.cues.heard("ts", "accepted", Some(0));
        let _ = metrics.http.answered("media", 200);
        metrics.viewers.reported("taken");
        metrics
    }

    #[test]
    fn the_page_of_metrics_says_what_there_is_and_nothing_else() {
        let page = include_str!("../../../infra/METRICS.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let cells = |row: &'static str| -> Vec<&'static str> {
            row.split('|').map(|cell| cell.trim().trim_matches('`')).collect()
        };
        let rows: Vec<_> = rows.map(cells).collect();
        let documented: BTreeSet<_> =
            rows.iter().map(|row| format!("{} {}", row[1], row[2])).collect();
        let text = all().encode();
        let exported: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total counter"),
                "info" => format!("{name}_info info"),
                _ => format!("{name} {kind}"),
            })
            .collect();
        assert_eq!(documented, exported);
        for row in &rows {
            let name = row[1];
            let is_of = |line: &&str| {
                let rest = line.strip_prefix(name).unwrap_or_default();
                [rest, rest.strip_prefix("_bucket").unwrap_or_default()]
                    .iter()
                    .any(|rest| rest.starts_with(['{', ' ']))
            };
            let sample = text.lines().find(is_of);
            let labels = sample.and_then(|line| line.split_once('{')).map_or("", |(_, rest)| rest);
            let labels = labels.split('}').next().unwrap_or_default().split(',');
            let labels = labels.filter_map(|label| label.split_once('=')).map(|(label, _)| label);
            let labels: BTreeSet<_> = labels.filter(|label| *label != "le").collect();
            let said = row[3].split(',').map(|label| label.trim().trim_matches('`'));
            let said: BTreeSet<_> = said.filter(|label| !label.is_empty()).collect();
            assert_eq!(said, labels, "{name}");
        }
    }

    #[test]
    fn what_is_counted_is_what_is_written() {
        let metrics = Metrics::new("1.2.3");
        let channel = metrics.channel("news");
        channel.state("live");
        channel.ingest_bytes.inc_by(7);
        channel.count(Counted::Repairs, "jump", 2);
        channel.rendition("720p").segments.inc();
        channel.part_published(Duration::from_millis(3));
        channel.encoder_lag.set(0.25);
        channel.takeovers.inc();
        channel.cues.heard("ts", "accepted", Some(-4_000));
        channel.gop.set(2.0);
        channel.av_skew.set(-0.5);
        channel.store.memory.set(4_096);
        channel.store.write_errors.inc();
        metrics.http.answered("playlist", 200).inc_by(512);
        metrics.rtmp.publishers.set(1);
        metrics.srt.refused.inc();
        metrics.webrtc.sessions.inc();
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
            "headwater_scte35_cues_total{channel=\"news\",source=\"ts\"} 1",
            "headwater_scte35_outcomes_total{channel=\"news\",outcome=\"accepted\"} 1",
            "headwater_scte35_break{channel=\"news\"} 0",
            "headwater_scte35_lead_seconds_sum{channel=\"news\"} 4.0",
            "headwater_store_memory_bytes{channel=\"news\"} 4096",
            "headwater_store_write_errors_total{channel=\"news\"} 1",
            "headwater_store_late_writes_total{channel=\"news\"} 0",
            "headwater_http_requests_total{class=\"playlist\",status=\"200\"} 1",
            "headwater_http_sent_bytes_total{class=\"playlist\"} 512",
            "headwater_http_waiting_requests 1",
            "headwater_http_refusals_total{of=\"waiting\",scope=\"address\"} 1",
            "headwater_http_cut_connections_total{reason=\"slow_reader\"} 1",
            "headwater_rtmp_publishers 1",
            "headwater_srt_publishers 0",
            "headwater_srt_refusals_total 1",
            "headwater_webrtc_sessions 1",
            "headwater_webrtc_accepted_total 0",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_cpu_seconds counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
