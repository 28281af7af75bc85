//! S3 as the durable store behind the spool.
//!
//! ```text
//! Outbox ─► drain ─► gate ─► bucket ─► S3: segments, then the index that names them
//!                                       │
//! http ─► reader (cache, one flight per object) ◄──┤
//! replica ─► mirror (head, pages, init segments) ◄─┤
//! a primary with nothing of its own ─► estate ◄─────┘
//! ```
//! `headwater package` has no spool and no outbox: what it stores goes through the gate by `depot`.
//!
//! It has a runtime of its own with one thread, so that signing, hashing and TLS never make a part
//! late. S3 away is a backlog and nothing else: whatever is written here waits in the spool until the
//! index in S3 names it. Nothing is listed, ever: keys follow from URLs (`keys`), and the index
//! from a name that is known (`index`).
//!
//! Conditions on writes are a check where a store heeds them, and no lock.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;

use super::outbox::Outbox;
use crate::clock::Clock;

mod bucket;
mod credentials;
mod depot;
mod drain;
mod estate;
mod gate;
mod index;
pub(super) mod keys;
mod mirror;
mod probe;
mod reader;
mod retention;

pub use bucket::Settings;
pub use depot::Item;
pub(super) use drain::Source;
pub(super) use estate::Estate;
pub use mirror::{Mirror, Mirrored};
pub use probe::{Abilities, Unusable};
pub use reader::FarError;
pub use retention::Keep;

pub(super) use bucket::Kind;
pub use keys::placed;

use bucket::{Bucket, Error};
use gate::{Gate, Outcome};
use reader::Reader;

/// How often it is looked whether anything is left to be sent when the server goes down.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a deadline is doubled for an attempt that was too late.
const MOST_DOUBLED: u32 = 3;

/// A bucket, and what works on it.
#[derive(Debug)]
pub struct Upstream {
    bucket: Arc<Bucket>,
    gate: Gate,
    reader: Reader,
    clock: Arc<dyn Clock>,
    handle: Handle,
    tasks: TaskTracker,
    /// It did not say what it has of some channel when that was asked.
    gives_no_estate: AtomicBool,
    runtime: Mutex<Option<Runtime>>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
    }
}

impl Upstream {
    /// Makes what works on a bucket. Asks nobody anything.
    ///
    /// # Errors
    /// The system lets no thread be started.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> std::io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()?;
        let reader = Reader::new(settings.cache);
        Ok(Arc::new(Self {
            bucket: Arc::new(Bucket::new(settings, Arc::clone(&clock))),
            gate: Gate::default(),
            reader,
            clock,
            handle: runtime.handle().clone(),
            tasks: TaskTracker::new(),
            gives_no_estate: AtomicBool::new(false),
            runtime: Mutex::new(Some(runtime)),
        }))
    }

    /// Tries out what the store can do.
    ///
    /// # Errors
    /// It can't be used, or can't be reached now.
    pub async fn probe(self: &Arc<Self>) -> Result<Abilities, Unusable> {
        let bucket = Arc::clone(&self.bucket);
        let key = format!("{}.headwater-probe-{:016x}", self.prefix(), fastrand::u64(..));
        let tried = self.handle.spawn(async move { probe::probe(&bucket, &key).await });
        tried.await.unwrap_or_else(|error| Err(Unusable::Away(error.to_string())))
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        let Settings { bucket, prefix, endpoint, .. } = self.bucket.settings();
        let at = endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        format!("s3://{bucket}/{prefix}{at}")
    }

    fn prefix(&self) -> &str {
        &self.bucket.settings().prefix
    }

    /// The names of a channel's objects.
    pub(super) fn keys(&self, channel: &str) -> keys::Keys {
        keys::Keys::new(self.prefix(), channel)
    }

    /// Sends what a channel's outbox has, until nobody adds anything any more.
    pub(super) fn drain(self: &Arc<Self>, source: Source) {
        let upstream = Arc::clone(self);
        self.tasks.spawn_on(drain::drain(upstream, source), &self.handle);
    }

    /// Milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_millis()).unwrap_or(i64::MAX)
    }

    /// Whether it is left alone for the moment, since most of what was tried has failed.
    pub fn is_away(&self) -> bool {
        self.gate.is_open()
    }

    /// Waits until everything is sent, for as long as there is any sense in it and not longer than
    /// `within`; true if all is. What is left waits in the spool.
    pub async fn finish(&self, within: Duration) -> bool {
        self.tasks.close();
        let all = self.tasks.wait();
        let hopeless = async {
            while !self.is_away() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = all => true,
            () = hopeless => false,
            () = tokio::time::sleep(within) => false,
        }
    }

    /// Ends everything that works on the bucket, at once.
    pub fn end(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    /// Tries once, when the gate lets it, and for as long as that is reasonable after so many tries.
    async fn attempt<T, F>(
        &self,
        tries: u32,
        attempt: impl Fn(Arc<Bucket>, Duration) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let place = self.gate.enter().await;
        let within = self.gate.deadline() * (1 << tries.min(MOST_DOUBLED));
        let result = attempt(Arc::clone(&self.bucket), within).await;
        let answered = result.as_ref().map_or_else(Error::is_answer, |_| true);
        place.done(if answered { Outcome::Good } else { Outcome::Bad });
        result
    }

    /// Tries until the store has answered; what fails is counted at the channel and tried again.
    ///
    /// # Errors
    /// What the store answered, if that is not success: see [`Error::is_answer`].
    async fn insist<T, F>(
        &self,
        outbox: &Outbox,
        attempt: impl Fn(Arc<Bucket>, Duration) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        loop {
            let error = match self.attempt(tries, &attempt).await {
                Err(error) if !error.is_answer() => error,
                answer => {
                    outbox.tally(|tally| tally.trouble = None);
                    return answer;
                }
            };
            tracing::debug!(%error, tries, "S3 did not take or give something");
            outbox.tally(|tally| {
                tally.failures = tally.failures.saturating_add(1);
                tally.trouble = Some(error.to_string());
            });
            tokio::time::sleep(gate::retry_wait(tries)).await;
            tries = tries.saturating_add(1);
        }
    }

    /// Writes a text for players beside a channel's media, and tries until that is done.
    ///
    /// # Errors
    /// What the store says where it does not take it.
    pub(super) async fn write(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        key: String,
        text: String,
        kind: Kind,
    ) -> Result<(), FarError> {
        let (upstream, outbox, text) = (Arc::clone(self), Arc::clone(outbox), Bytes::from(text));
        let writing = self.handle.spawn(async move {
            let put = upstream.insist(&outbox, |bucket, within| {
                let (key, text) = (key.clone(), text.clone());
                async move { bucket.put(&key, text, kind, false, within).await }
            });
            put.await
        });
        match writing.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(FarError::Trouble(error.to_string())),
            Err(error) => Err(FarError::Trouble(error.to_string())),
        }
    }

    /// Reads an object through the cache.
    pub(super) async fn fetch(&self, key: String) -> Result<Bytes, FarError> {
        self.reader.fetch(&self.bucket, &self.handle, key).await
    }
}
