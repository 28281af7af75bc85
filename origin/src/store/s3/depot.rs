//! What `headwater package` stores: objects of a film under the bucket's prefix.
//!
//! There is no spool to fall back on, and somebody watches: where a server would wait for as long as it
//! takes, this gives up when the store refuses, or has been away for a minute, and says what can be done
//! about it. What is stored stays, so that it can be gone on with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::bucket::{Bucket, Error, Kind};
use super::probe::explain;
use super::{Unusable, Upstream, gate};

/// How long something is tried, the last attempt not counted: a store that is restarted is back by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an object is, for its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An init segment or segment.
    Media {
        /// Whether it is sound.
        sound: bool,
    },
    /// A playlist of HLS that does not change any more.
    Playlist,
    /// A manifest of DASH that does not change any more.
    Manifest,
    /// What is noted for ourselves.
    Notes,
}

impl Item {
    fn kind(self) -> Kind {
        match self {
            Self::Media { sound } => Kind::Media { sound },
            Self::Playlist => Kind::Whole { manifest: false },
            Self::Manifest => Kind::Whole { manifest: true },
            Self::Notes => Kind::Index { fixed: false },
        }
    }
}

impl Upstream {
    /// Stores an object under the prefix, over whatever is there. Media that is there already, with the same
    /// bytes, is left as it is.
    ///
    /// # Errors
    /// The store refuses, or is away for longer than there is patience.
    pub async fn store(
        self: &Arc<Self>,
        name: &str,
        bytes: Bytes,
        item: Item,
    ) -> Result<(), Unusable> {
        let stored = self.patiently(name, move |bucket, key, within| {
            let bytes = bytes.clone();
            async move {
                match item {
                    Item::Media { .. } => bucket.put_over(&key, bytes, item.kind(), within).await,
                    _ => bucket.put(&key, bytes, item.kind(), false, within).await,
                }
            }
        });
        stored.await
    }

    /// Reads an object under the prefix; `None` where there is none.
    ///
    /// # Errors
    /// The store refuses, or is away for longer than there is patience.
    pub async fn read(self: &Arc<Self>, name: &str) -> Result<Option<Bytes>, Unusable> {
        let read = self.patiently(name, |bucket, key, within| async move {
            match bucket.get(&key, None, within).await {
                Ok(object) => Ok(Some(object.bytes)),
                Err(Error::Missing) => Ok(None),
                Err(error) => Err(error),
            }
        });
        read.await
    }

    /// Whether there is such an object under the prefix.
    ///
    /// # Errors
    /// The store refuses, or is away for longer than there is patience.
    pub async fn has(self: &Arc<Self>, name: &str) -> Result<bool, Unusable> {
        self.patiently(name, |bucket, key, within| async move { bucket.has(&key, within).await })
            .await
    }

    /// Deletes an object under the prefix; one that is not there is deleted.
    ///
    /// # Errors
    /// The store refuses, or is away for longer than there is patience.
    pub async fn discard(self: &Arc<Self>, name: &str) -> Result<(), Unusable> {
        self.patiently(name, |bucket, key, within| async move { bucket.delete(&key, within).await })
            .await
    }

    /// Tries, on the runtime of S3, for as long as there is any sense in it.
    async fn patiently<T, F>(
        self: &Arc<Self>,
        name: &str,
        attempt: impl Fn(Arc<Bucket>, String, Duration) -> F + Send + Sync + 'static,
    ) -> Result<T, Unusable>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (upstream, key) = (Arc::clone(self), format!("{}{name}", self.prefix()));
        let tried = self.handle.spawn(async move {
            let (began, mut tries) = (Instant::now(), 0);
            loop {
                let once = |bucket, within| attempt(bucket, key.clone(), within);
                let error = match upstream.attempt(tries, once).await {
                    Ok(done) => return Ok(done),
                    Err(error) => error,
                };
                let lasting = matches!(error, Error::Refused { .. }) || error.is_answer();
                if lasting || began.elapsed() >= PATIENCE {
                    return Err(explain(&upstream.bucket.settings().bucket, error));
                }
                tracing::debug!(%error, key, tries, "S3 did not take or give something");
                tokio::time::sleep(gate::retry_wait(tries)).await;
                tries = tries.saturating_add(1);
            }
        });
        tried.await.unwrap_or_else(|error| Err(Unusable::Away(error.to_string())))
    }
}
