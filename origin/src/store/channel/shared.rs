//! What the two sides of a channel's store share: the task that writes into it with everybody who reads,
//! and the writing thread.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use packager::media::{Name, RunId};

use crate::store::fs::Directory;
use crate::store::holds::Holds;
use crate::store::live_edge::{Index, Key};
use crate::store::outbox::Outbox;

/// What the channel's side and the writing thread share.
#[derive(Debug)]
pub(in crate::store) struct Shared {
    pub(in crate::store) channel: Name,
    pub(super) directory: Directory,
    pub(super) index: RwLock<Index>,
    /// What is kept beyond its time.
    pub(in crate::store) holds: RwLock<Holds>,
    /// Removed segments with the instant their time is up; the oldest first.
    pub(super) removed: Mutex<VecDeque<(Instant, Key, Name)>>,
    pub(super) current: Mutex<Option<RunId>>,
    /// What S3 does not have yet, where this process sends anything there.
    pub(in crate::store) outbox: Option<Arc<Outbox>>,
    pub(in crate::store) counters: Counters,
}

impl Shared {
    pub(in crate::store) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these off the list of what was removed.
    pub(super) fn keep(&self, window: &HashSet<Key>) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.retain(|(_, key, _)| !window.contains(key));
        // After a restart that was the whole window.
        removed.shrink_to_fit();
    }

    /// The next removed segment whose time is up at `now`, and which S3 has, if that is to have it.
    pub(in crate::store) fn take_due(&self, now: Instant) -> Option<(Key, Name)> {
        let may_leave = |k| self.outbox.as_ref().is_none_or(|outbox| outbox.may_leave(k));
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let next = removed.pop_front_if(|(due, key, _)| *due <= now && may_leave(key.k));
        next.map(|(_, key, name)| (key, name))
    }

    /// The oldest removed segment whose number is one of those, whatever time it has, and which no asset
    /// is made of.
    pub(in crate::store) fn take_removed(
        &self,
        is_one: impl Fn(u64) -> bool,
    ) -> Option<(Key, Name)> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = |key: &Key| is_one(key.k) && !self.is_held(&key.run, key.k);
        let at = removed.iter().position(|(_, key, _)| is_free(key))?;
        removed.remove(at).map(|(_, key, name)| (key, name))
    }

    /// Whether a segment stays beyond its time.
    pub(in crate::store) fn is_held(&self, run: &RunId, k: u64) -> bool {
        self.holds.read().unwrap_or_else(PoisonError::into_inner).has(run.as_str(), k)
    }

    /// Whether anything of a run does.
    pub(in crate::store) fn holds_run(&self, run: &RunId) -> bool {
        self.holds.read().unwrap_or_else(PoisonError::into_inner).has_run(run.as_str())
    }

    /// Lets go of what a holder held: what is not in the index any more, and so has had its time, is
    /// deleted after the grace. The rest goes its way.
    pub(super) fn release(&self, holder: &str, grace: Duration) {
        let free = self.holds.write().unwrap_or_else(PoisonError::into_inner).release(holder);
        let due = Instant::now() + grace;
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for (run, k) in free {
            let names = self.read().names(&run);
            let names = if names.is_empty() { self.directory.renditions(&run) } else { names };
            for (rendition, name) in names.into_iter().enumerate() {
                let key = Key { run: run.clone(), rendition, k };
                if !self.read().has(&key) {
                    removed.push_back((due, key, name));
                }
            }
        }
    }

    /// Whether a run is not the channel's current one.
    pub(in crate::store) fn is_over(&self, run: &RunId) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(run)
    }
}

#[derive(Debug, Default)]
pub(in crate::store) struct Counter(AtomicU64);

impl Counter {
    pub(in crate::store) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(in crate::store) fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
    pub(in crate::store) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    pub(in crate::store) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(in crate::store) struct Counters {
    /// Jobs handed over and not done.
    pub(in crate::store) waiting: Counter,
    pub(in crate::store) journal_bytes: Counter,
    pub(in crate::store) write_errors: Counter,
    pub(in crate::store) late_writes: Counter,
}
