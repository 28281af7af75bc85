//! Metrics of the HTTP origin: what is answered, what is refused, and whose connection is cut.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// A status code, of the few that the origin sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Status(u16);

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&u64::from(self.0), encoder)
    }
}

impl Refused {
    const ALL: [Self; 4] =
        [Self::Connections, Self::ConnectionsOfAddress, Self::Waiting, Self::WaitingOfAddress];

    const fn labels(self) -> RefusalLabels {
        let (of, scope) = match self {
            Self::Connections => ("connections", "all"),
            Self::ConnectionsOfAddress => ("connections", "address"),
            Self::Waiting => ("waiting", "all"),
            Self::WaitingOfAddress => ("waiting", "address"),
        };
        RefusalLabels { of, scope }
    }
}

impl Cut {
    const ALL: [Self; 3] = [Self::SlowRequest, Self::SlowReader, Self::Resets];

    const fn labels(self) -> CutLabels {
        let reason = match self {
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
            Self::Resets => "resets",
        };
        CutLabels { reason }
    }
}

impl HttpMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        // A rate needs the value from before the first time.
        for why in Refused::ALL {
            self.refusals.get_or_create(&why.labels()).inc_by(0);
        }
        for why in Cut::ALL {
            self.cuts.get_or_create(&why.labels()).inc_by(0);
        }
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
        self.refusals.get_or_create(&why.labels()).inc();
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
