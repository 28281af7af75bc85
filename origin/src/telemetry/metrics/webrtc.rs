//! Metrics of WebRTC.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What WebRTC counts.
#[derive(Clone, Debug, Default)]
pub struct WebRtcMetrics {
    /// Previews that go on now.
    pub sessions: Gauge,
    /// Publishers that are there now.
    pub publishers: Gauge,
    /// Sessions begun since the start.
    pub accepted: Counter,
    /// Offers turned down since the start.
    pub refused: Counter,
    /// Datagrams sent.
    pub sent_packets: Counter,
    /// Bytes sent.
    pub sent_bytes: Counter,
    /// Requests for lost packets, of previews that have ended.
    pub nacks: Counter,
    /// Packets sent again, of previews that have ended.
    pub resent: Counter,
    /// Requests for a key frame, of previews that have ended.
    pub key_frames: Counter,
    /// Datagrams that were nobody's.
    pub foreign: Counter,
    /// Datagrams that a session was too busy for.
    pub overrun: Counter,
}

impl WebRtcMetrics {
    /// The gauge of those who watch, or of those who publish.
    pub fn of(&self, watches: bool) -> &Gauge {
        if watches { &self.sessions } else { &self.publishers }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webrtc_sessions",
            "Previews by WebRTC that go on now",
            self.sessions.clone(),
        );
        registry.register(
            "webrtc_publishers",
            "Publishers by WebRTC that are there now",
            self.publishers.clone(),
        );
        for (name, help, counter) in [
            ("webrtc_accepted", "Sessions of WebRTC begun", &self.accepted),
            ("webrtc_refusals", "Offers of WebRTC turned down", &self.refused),
            ("webrtc_sent_packets", "Datagrams sent to browsers", &self.sent_packets),
            ("webrtc_sent_bytes", "Bytes sent to browsers by WebRTC", &self.sent_bytes),
            ("webrtc_nacks", "Requests for lost packets, counted when a preview ends", &self.nacks),
            (
                "webrtc_resent_packets",
                "Packets that were sent again, counted when a preview ends",
                &self.resent,
            ),
            (
                "webrtc_key_frame_requests",
                "Requests for a key frame, counted when a preview ends",
                &self.key_frames,
            ),
            (
                "webrtc_foreign_datagrams",
                "Datagrams that were no session's, and were dropped",
                &self.foreign,
            ),
            (
                "webrtc_overrun_datagrams",
                "Datagrams that a session was too busy to take",
                &self.overrun,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}
