//! Reading a segment while it is being written.
//!
//! A follower holds its place and no bytes: parts that it has not asked for stay the live edge's, which
//! drops them when it likes. Neither the writer nor memory waits for one that is slow.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::channel::Shared;
use super::live_edge::{Key, Next};

/// The bytes of a segment that were still to come are not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("part {part} of segment {k} has left memory, or its channel has gone")]
pub struct Lost {
    /// Number of the segment.
    pub k: u64,
    /// Number of the part, from 0.
    pub part: usize,
}

/// Gives an open segment part by part, as they come.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    key: Key,
    next: usize,
    grown: watch::Receiver<()>,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, (key, grown): (Key, watch::Receiver<()>)) -> Self {
        Self { shared, key, next: 0, grown }
    }

    /// The pieces of the next part; `None` when the segment is closed and was read to its end. Nothing
    /// is lost where this is dropped while it waits.
    ///
    /// # Errors
    /// The part can't be had any more.
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Lost> {
        loop {
            // First, so that what comes between the look and the wait wakes it.
            self.grown.mark_unchanged();
            let lost = Lost { k: self.key.k, part: self.next };
            match self.shared.read().next_of(&self.key, self.next) {
                Next::Part(pieces) => {
                    self.next = self.next.saturating_add(1);
                    return Ok(Some(pieces));
                }
                Next::Whole => return Ok(None),
                Next::Gone => return Err(lost),
                Next::Open => {}
            }
            if self.grown.changed().await.is_err() {
                // Closed, or removed, which comes to the same.
                match self.shared.read().next_of(&self.key, self.next) {
                    Next::Open => return Err(lost),
                    _ => continue,
                }
            }
        }
    }
}
