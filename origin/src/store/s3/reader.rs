//! Reading objects back for viewers: old segments, and everything a replica serves.
//!
//! However many ask for the same object, one request fetches it; it is checked against its length and
//! hash, and kept in memory within a bound. So many requests are under way at a time and so many wait,
//! whatever viewers of old segments do: the rest are sent away for a moment. That something is not
//! there is remembered for a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::bucket::{Bucket, Error};

/// Requests under way: beyond that a store is not faster.
const UNDER_WAY: usize = 32;
/// Requests that wait for one of those; with 0.5 s an object, the last of them waits four seconds.
const WAITING: usize = 256;
/// How long one attempt may take.
const WITHIN: Duration = Duration::from_secs(4);
/// Attempts for one object.
const TRIES: u32 = 2;
/// How long it is remembered that there is no such object.
const ABSENT_FOR: Duration = Duration::from_secs(1);
/// Names of objects that are not there to be remembered.
const MOST_ABSENT: u64 = 10_000;

/// Why an object can't be had from S3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FarError {
    /// There is none of that name.
    #[error("no such object")]
    Missing,
    /// Too many are being read.
    #[error("too many objects are being read")]
    Busy,
    /// S3 does not give it.
    #[error("S3 does not give it: {0}")]
    Trouble(String),
}

#[derive(Debug)]
pub(super) struct Reader {
    objects: Cache<String, Bytes>,
    absent: Cache<String, ()>,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Reader {
    /// Keeps so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let weigh = |key: &String, object: &Bytes| {
            u32::try_from(key.len().saturating_add(object.len())).unwrap_or(u32::MAX)
        };
        Self {
            objects: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
            absent: Cache::builder().max_capacity(MOST_ABSENT).time_to_live(ABSENT_FOR).build(),
            places: Arc::new(Semaphore::new(UNDER_WAY)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// An object, from memory or from `bucket` by way of a task on `handle`.
    pub(super) async fn fetch(
        &self,
        bucket: &Arc<Bucket>,
        handle: &Handle,
        key: String,
    ) -> Result<Bytes, FarError> {
        if self.absent.contains_key(&key) {
            return Err(FarError::Missing);
        }
        let fetched =
            self.objects.try_get_with_by_ref(&key, self.flight(bucket, handle, &key)).await;
        let fetched = fetched.map_err(|error: Arc<FarError>| FarError::clone(&error));
        if fetched == Err(FarError::Missing) {
            self.absent.insert(key, ()).await;
        }
        fetched
    }

    async fn flight(
        &self,
        bucket: &Arc<Bucket>,
        handle: &Handle,
        key: &str,
    ) -> Result<Bytes, FarError> {
        let place = {
            let _turn = Turn::take(&self.waiting)?;
            Arc::clone(&self.places).acquire_owned().await.map_err(|_| FarError::Busy)?
        };
        let (bucket, key) = (Arc::clone(bucket), key.to_owned());
        let reading = handle.spawn(async move {
            let _place = place;
            let mut last = Error::Missing;
            for _ in 0..TRIES {
                match bucket.get(&key, None, WITHIN).await {
                    Ok(object) => return Ok(object.bytes),
                    Err(Error::Missing) => return Err(FarError::Missing),
                    Err(error) => last = error,
                }
            }
            tracing::debug!(key, error = %last, "S3 does not give an object");
            Err(FarError::Trouble(last.to_string()))
        });
        reading.await.unwrap_or_else(|error| Err(FarError::Trouble(error.to_string())))
    }
}

/// One of those who wait.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, FarError> {
        let turn = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            Ok(turn)
        } else {
            Err(FarError::Busy)
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
