//! What a connection tells of its way.

use serde::Serialize;

/// Figures of an SRT connection, as the receiver has them. Counts are of packets, since the
/// connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Link {
    /// Milliseconds from here to the peer and back.
    pub rtt_ms: f64,
    /// Milliseconds for which packets are held, so that lost ones can be sent again.
    pub latency_ms: u32,
    /// Milliseconds of packets that are held just now.
    pub buffer_ms: u32,
    /// Packets that came, with those sent again.
    pub received: u64,
    /// Packets that were missing when a later one came.
    pub lost: u64,
    /// Packets that came because they were asked for again.
    pub retransmitted: u64,
    /// Packets that never came in time: viewers miss what was in them.
    pub dropped: u64,
    /// Packets that came too late for their place, and were thrown away.
    pub belated: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Bits of the key that the stream is encrypted with; `None`: it is not.
    pub encryption_bits: Option<u16>,
}

impl Link {
    /// Its counts of packets, by a word for each.
    pub fn packets(&self) -> [(&'static str, u64); 6] {
        [
            ("received", self.received),
            ("lost", self.lost),
            ("retransmitted", self.retransmitted),
            ("dropped", self.dropped),
            ("belated", self.belated),
            ("undecrypted", self.undecrypted),
        ]
    }
}
