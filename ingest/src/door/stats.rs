//! Counters of a door, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a door has seen since it was opened. Shared; read with [`Stats::snapshot`].
#[derive(Debug, Default)]
pub struct Stats {
    connections: AtomicU64,
    publications: AtomicU64,
    publishing: AtomicU64,
    bytes: AtomicU64,
    crashes: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections accepted.
    pub connections: u64,
    /// Publications granted.
    pub publications: u64,
    /// Publications that go on now.
    pub publishing: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Connections that ended by a bug of ours.
    pub crashes: u64,
    /// Connections that ended without a publication, by reason: `denied`, `bad name`, `handshake`,
    /// `protocol`, `deadline`, `too many connections`…
    pub refused: BTreeMap<&'static str, u64>,
    /// Publications that ended, by reason: `closed`, `taken over`, `rejected`, `media`, `deadline`…
    pub ended: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let copy = |map: &Mutex<BTreeMap<_, _>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        Snapshot {
            connections: self.connections.load(Relaxed),
            publications: self.publications.load(Relaxed),
            publishing: self.publishing.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            crashes: self.crashes.load(Relaxed),
            refused: copy(&self.refused),
            ended: copy(&self.ended),
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn crashed(&self) {
        self.crashes.fetch_add(1, Relaxed);
    }

    pub(crate) fn publishing(self: &Arc<Self>) -> Publishing {
        self.publications.fetch_add(1, Relaxed);
        self.publishing.fetch_add(1, Relaxed);
        Publishing(Arc::clone(self))
    }

    pub(crate) fn unpublished(&self, reason: &'static str) {
        count(&self.ended, reason);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        count(&self.refused, reason);
    }
}

/// A publication that goes on; dropped when it is over, also by a bug of ours.
#[derive(Debug)]
pub(crate) struct Publishing(Arc<Stats>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.publishing.fetch_sub(1, Relaxed);
    }
}

fn count(map: &Mutex<BTreeMap<&'static str, u64>>, reason: &'static str) {
    *map.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
}
