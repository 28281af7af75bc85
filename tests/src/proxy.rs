//! The path between a peer and the server, with faults on it.
//!
//! ```text
//! peer ──up──► proxy ──up──► server
//!      ◄─down─       ◄─down─
//! ```
//! [`tcp::TcpProxy`] carries connections and [`udp::UdpProxy`] datagrams. What they do wrong is set
//! per [`Way`] and can be changed while they run; what they did is counted in a [`Tally`], so that a
//! test can tell that its fault has happened. Everything by chance comes from a seed and the number
//! of the connection, the byte or the datagram, never from how the kernel cut the stream: the same
//! seed makes the same faults.
//!
//! A proxy has a thread of its own; dropping it closes everything that goes through it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Context, Result};

mod plan;
pub mod tcp;
pub mod udp;

pub use plan::Loss;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the peer to the server.
    Up,
    /// From the server to the peer.
    Down,
}

/// How long things take on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// What everything is late by.
    pub delay: Duration,
    /// What is added to that: evenly from nothing to this. Order is kept.
    pub jitter: Duration,
    /// Most bytes per second, if there is a narrow place.
    pub rate: Option<u32>,
}

/// What went one way, over all connections or peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes handed on.
    pub bytes: u64,
    /// Datagrams handed on; copies count.
    pub passed: u64,
    /// Bytes (TCP) or datagrams (UDP) that were read and forgotten.
    pub lost: u64,
    /// Bytes of the datagrams that were lost; 0 for connections.
    pub lost_bytes: u64,
    /// Datagrams that did not fit through the narrow place.
    pub overflowed: u64,
    /// Datagrams handed on twice.
    pub duplicated: u64,
    /// Datagrams handed on after ones that came later.
    pub reordered: u64,
    /// Bits that were turned over.
    pub corrupted: u64,
    /// Datagrams that were sent in addition, in a peer's name.
    pub forged: u64,
}

/// Tallies of both ways, shared by everything that carries.
#[derive(Clone, Debug, Default)]
struct Tallies(Arc<Mutex<[Tally; 2]>>);

impl Tallies {
    fn note(&self, way: Way, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut tallies[way as usize]);
    }

    fn of(&self, way: Way) -> Tally {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[way as usize]
    }
}

/// A narrow place: what comes while it is busy waits.
#[derive(Debug)]
struct Narrow {
    free_at: Instant,
}

impl Narrow {
    fn new() -> Self {
        Self { free_at: Instant::now() }
    }

    /// When `bytes` are through, if they go in at `now` behind everything before them.
    fn through(&self, now: Instant, bytes: usize, rate: Option<u32>) -> Instant {
        let Some(rate) = rate else { return now };
        let takes = Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)));
        self.free_at.max(now) + takes
    }

    fn take(&mut self, until: Instant) {
        self.free_at = until;
    }
}

/// The thread of a proxy.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("runtime of the proxy")
}
