//! Figures of the connections that bring sources over SRT.

use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{ChannelLabel, ChannelMetrics, Counter, KindLabels, Measure};

/// Of all channels. A channel without such a connection has no gauge.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkFamilies {
    rtt: Family<ChannelLabel, Measure>,
    latency: Family<ChannelLabel, Measure>,
    buffer: Family<ChannelLabel, Measure>,
    packets: Family<KindLabels, Counter>,
}

/// Of one connection, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkTimes {
    /// From here to the peer and back.
    pub rtt: f64,
    /// How long packets are held for those before them.
    pub latency: f64,
    /// What is held just now.
    pub buffer: f64,
}

impl LinkFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, family) in [
            ("srt_rtt", "Round trip time to a source", &self.rtt),
            ("srt_latency", "How long packets are held for those before them", &self.latency),
            ("srt_buffer", "Packets of a source that are held just now", &self.buffer),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        registry.register(
            "srt_packets",
            "Packets of sources, by what became of them",
            self.packets.clone(),
        );
    }
}

impl ChannelMetrics {
    /// Sets the times of the connection that brings the source; `None`: there is none.
    pub fn link(&self, times: Option<LinkTimes>) {
        let label = ChannelLabel { channel: self.channel.clone() };
        let LinkFamilies { rtt, latency, buffer, .. } = &self.families.link;
        match times {
            Some(times) => {
                rtt.get_or_create(&label).set(times.rtt);
                latency.get_or_create(&label).set(times.latency);
                buffer.get_or_create(&label).set(times.buffer);
            }
            None => [rtt, latency, buffer].into_iter().for_each(|family| {
                family.remove(&label);
            }),
        }
    }

    /// Counts packets of the source by what became of them.
    pub fn link_packets(&self, kind: &'static str, count: u64) {
        let labels = KindLabels { channel: self.channel.clone(), kind };
        self.families.link.packets.get_or_create(&labels).inc_by(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_channel_has_times_of_a_connection_while_it_has_one() {
        let metrics = Metrics::new("0");
        let channel = metrics.channel("news");
        channel.link_packets("lost", 3);
        channel.link(Some(LinkTimes { rtt: 0.08, latency: 0.32, buffer: 0.25 }));
        let text = metrics.encode();
        for line in [
            "headwater_srt_rtt_seconds{channel=\"news\"} 0.08",
            "headwater_srt_latency_seconds{channel=\"news\"} 0.32",
            "headwater_srt_buffer_seconds{channel=\"news\"} 0.25",
            "headwater_srt_packets_total{channel=\"news\",kind=\"lost\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        channel.link(None);
        let text = metrics.encode();
        assert!(!text.contains("headwater_srt_rtt_seconds{"), "{text}");
        assert!(text.contains("headwater_srt_packets_total{"), "counts stay: {text}");
    }
}
