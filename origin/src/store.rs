//! The store: every segment that can be fetched, in memory and on disk.
//!
//! ```text
//! channel task ─► append, close, remove ─► writer thread ─► spool files, journal ─► sync thread
//!                        └► live edge (index) ◄── read, part, init ◄── http
//! ```
//! Order of writing (DESIGN §7): a part's bytes are in its segment's file, in the page cache, then
//! they can be read, then the caller puts them into a snapshot; so `kill -9` loses nothing that was
//! listed. A disk that takes longer than 20 ms, or fails, is not waited for: the live edge goes on
//! from memory and the store says so. `fsync` follows within about a second, in groups.
//!
//! A removed segment stays fetchable for [`Limits::grace`] (RFC 8216bis §6.2.2).
//!
//! What it does not do yet: bring the window back after a restart. It remembers the numbers used
//! and the channel's format; media of earlier processes is deleted when a channel is opened. It
//! knows nothing of HTTP, and never lists a directory to answer a read.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packager::cmaf::Chunk;
use packager::media::{Name, Rendition, RunId};
use packager::timeline::{Run, Segment};
use tokio::sync::oneshot;

mod fs;
mod journal;
mod live_edge;
mod writer;

pub use journal::{StoredFormat, StoredRendition};

use fs::Directory;
use journal::{Journal, RunRecord, SegmentKey, SegmentRecord};
use live_edge::{Caps, Index, Key, Place};
use writer::{Batch, Done, Job, Writer};

/// Jobs a channel may have waiting for its disk: about 15 s of four renditions in parts of 0.3 s.
/// The bytes they hold are those of the live edge. What comes when it is full is written when its
/// segment is closed.
const QUEUE_JOBS: usize = 256;

/// Batches waiting to be synced; a writer whose batch does not fit keeps it for a second more.
const QUEUE_BATCHES: usize = 16;

/// What a channel's store may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far behind the newest segment the live edge reaches in memory.
    pub live_edge: Duration,
    /// Bytes of media one channel may hold in memory.
    pub live_edge_bytes: u64,
    /// How long a removed segment stays fetchable: at least its own duration and that of the
    /// longest playlist it stood in (RFC 8216bis §6.2.2).
    pub grace: Duration,
    /// How long the live edge waits for the disk.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            live_edge: Duration::from_secs(30),
            live_edge_bytes: 64 << 20,
            grace: Duration::from_secs(610),
            patience: Duration::from_millis(20),
        }
    }
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the lock.
    #[error("the store {root} is in use by another process", root = root.display())]
    InUse {
        /// The store.
        root: PathBuf,
    },
    /// The file system says no.
    #[error("can't {doing} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// A directory of channels, owned by this process.
#[derive(Debug)]
pub struct Store {
    root: Arc<Root>,
    limits: Limits,
    channels: Mutex<HashMap<Name, Arc<ChannelStore>>>,
}

/// What channels share: the lock and the syncing thread, alive as long as any of them.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Held, not read: the lock goes with the descriptor.
    _lock: File,
    syncer: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.syncer = None;
        join(self.thread.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the store panicked");
    }
}

impl Store {
    /// Opens the store at `root`, which is made if it is not there, for this process alone. Does
    /// blocking I/O.
    ///
    /// # Errors
    /// Another process has it, or the file system says no.
    pub fn open(root: &Path, limits: Limits) -> Result<Self, Error> {
        std::fs::create_dir_all(root).map_err(io("make", root))?;
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(io("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => Error::InUse { root: root.to_owned() },
            std::fs::TryLockError::Error(source) => io("lock", &lock_path)(source),
        })?;
        let (syncer, batches) = sync_channel(QUEUE_BATCHES);
        let thread = spawn("store-sync".to_owned(), move || writer::sync(&batches))
            .map_err(io("start the syncing thread of", root))?;
        let root =
            Root { path: root.to_owned(), _lock: lock, syncer: Some(syncer), thread: Some(thread) };
        Ok(Self { root: Arc::new(root), limits, channels: Mutex::default() })
    }

    /// The store of a channel, opened when first asked for: its journal is read, media of earlier
    /// processes is deleted. Does blocking I/O.
    ///
    /// # Errors
    /// The file system says no.
    pub fn channel(&self, name: &Name) -> Result<Arc<ChannelStore>, Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(name) {
            return Ok(Arc::clone(channel));
        }
        let channel = Arc::new(ChannelStore::open(Arc::clone(&self.root), name, self.limits)?);
        channels.insert(name.clone(), Arc::clone(&channel));
        Ok(channel)
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(work)
}

/// What a channel's journal remembers of earlier processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Discontinuity number of the last run.
    pub last_discontinuity: Option<u64>,
    /// Highest segment number that any rendition has closed or begun.
    pub last_k: Option<u64>,
    /// The channel's format, if it ever ran.
    pub format: Option<StoredFormat>,
}

/// Media to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Bytes there are now.
    pub len: u64,
    /// Strong entity tag with its quotes; `None` while the segment is open.
    pub etag: Option<String>,
    /// The bytes, or where they are.
    pub body: MediaBody,
    /// Whether parts will be added.
    pub open: bool,
}

/// Where the bytes of [`Media`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaBody {
    /// In memory, in order.
    Memory(Vec<Bytes>),
    /// In a file, [`Media::len`] bytes from `offset` on. If it is not there any more when it is
    /// opened, the segment's time was up.
    File {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
    },
}

/// Numbers for monitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments that can be fetched.
    pub segments: u64,
    /// Bytes of media in memory.
    pub memory_bytes: u64,
    /// Size of the journal in bytes.
    pub journal_bytes: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Writes the live edge did not wait for: slower than [`Limits::patience`], or the queue was
    /// full.
    pub late_writes: u64,
    /// Segments the byte cap dropped from memory before they were on disk.
    pub lost_segments: u64,
}

#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Counters {
    /// Jobs handed over and not done.
    waiting: Counter,
    journal_bytes: Counter,
    write_errors: Counter,
    late_writes: Counter,
}

/// What the channel's side and the writing thread share.
#[derive(Debug)]
struct Shared {
    channel: Name,
    index: RwLock<Index>,
    /// Removed segments with the instant their time is up; the oldest first.
    removed: Mutex<VecDeque<(Instant, Key, Name)>>,
    current: Mutex<Option<RunId>>,
    counters: Counters,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next removed segment whose time is up at `now`.
    fn take_due(&self, now: Instant) -> Option<(Key, Name)> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.pop_front_if(|(due, ..)| *due <= now).map(|(_, key, name)| (key, name))
    }

    /// Whether a run is not the channel's current one.
    fn is_over(&self, run: &RunId) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(run)
    }
}

/// The store of one channel. The channel's task alone calls the methods that change it; anybody
/// reads. Dropping it waits until what was written is synced; [`Self::flush`] first, where a
/// thread must not block.
#[derive(Debug)]
pub struct ChannelStore {
    directory: Directory,
    shared: Arc<Shared>,
    recovered: Recovered,
    limits: Limits,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    late: AtomicBool,
    _root: Arc<Root>,
}

impl Drop for ChannelStore {
    fn drop(&mut self) {
        self.jobs = None;
        join(self.thread.take());
    }
}

impl ChannelStore {
    fn open(root: Arc<Root>, name: &Name, limits: Limits) -> Result<Self, Error> {
        let directory = Directory::new(&root.path, name);
        let path = directory.path();
        std::fs::create_dir_all(path).map_err(io("make", path))?;
        let journal_path = directory.journal();
        let mut journal =
            Journal::open(journal_path.clone()).map_err(io("open the journal", &journal_path))?;
        let runs = directory.runs().map_err(io("read", path))?;
        let recovered = Recovered {
            last_discontinuity: journal.state().last_discontinuity,
            last_k: runs.iter().map(|(_, k)| *k).max().flatten().max(journal.state().last_k),
            format: journal.state().format.clone(),
        };
        journal.forget_media(recovered.last_k).map_err(io("write the journal", &journal_path))?;
        for (run, _) in &runs {
            directory.remove_run(run).map_err(io("delete an old run in", path))?;
        }

        let age = i64::try_from(limits.live_edge.as_nanos()).unwrap_or(i64::MAX);
        let caps = Caps { age, bytes: limits.live_edge_bytes };
        let shared = Arc::new(Shared {
            channel: name.clone(),
            index: RwLock::new(Index::new(caps)),
            removed: Mutex::default(),
            current: Mutex::default(),
            counters: Counters::default(),
        });
        shared.counters.journal_bytes.set(journal.len());
        let (jobs, queue): (_, Receiver<Job>) = sync_channel(QUEUE_JOBS);
        let Some(syncer) = root.syncer.clone() else {
            return Err(Error::InUse { root: root.path.clone() });
        };
        let writer = Writer::new(directory.clone(), Arc::clone(&shared), journal, syncer);
        let thread = spawn(format!("store-{name}"), move || writer.run(&queue))
            .map_err(io("start the writing thread of", path))?;
        Ok(Self {
            directory,
            shared,
            recovered,
            limits,
            jobs: Some(jobs),
            thread: Some(thread),
            late: AtomicBool::new(false),
            _root: root,
        })
    }

    /// What the journal remembered when this store was opened.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Remembers the channel's format across restarts.
    pub async fn fix_format(&self, format: StoredFormat) {
        self.hand_over(|done| Job::Format(format, done)).await;
    }

    /// Begins a run: its init segments, one per rendition and in that order, can be read from now
    /// on, and its segments be appended.
    pub async fn begin_run(&self, run: &Run, renditions: &[Rendition]) {
        let tracks = renditions
            .iter()
            .zip(&run.inits)
            .map(|(r, init)| (r.name.clone(), r.track.timescale, init.clone()))
            .collect();
        self.shared.write().begin_run(&run.id, tracks);
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.id.clone());
        let (id, record) = (run.id.clone(), RunRecord::new(run, renditions));
        self.hand_over(|done| Job::Begin { id, record, done }).await;
    }

    /// Adds a part to segment `k` of a rendition, which begins with its first part. When this
    /// returns the part can be read, and is in its file unless the disk is slow or failing.
    pub async fn append(&self, run: &RunId, rendition: usize, k: u64, chunk: &Chunk) {
        let key = Key { run: run.clone(), rendition, k };
        let Some(part) = self.shared.read().next_part(&key) else {
            tracing::error!(channel = %self.shared.channel, ?key, "no such segment to append to");
            return;
        };
        let mut pieces = Vec::with_capacity(chunk.samples.len() + 1);
        pieces.push(chunk.head.clone());
        pieces.extend(chunk.samples.iter().cloned());
        let (job_key, job_pieces) = (key.clone(), pieces.clone());
        self.hand_over(|done| Job::Append { key: job_key, part, pieces: job_pieces, done }).await;
        self.shared.write().push(&key, pieces);
    }

    /// Closes a segment: it has all its parts, or is a gap that never had any.
    pub async fn close(&self, run: &RunId, rendition: usize, k: u64, segment: &Segment) {
        let key = Key { run: run.clone(), rendition, k };
        let name = {
            let mut index = self.shared.write();
            index.close(&key, segment.end());
            index.name(&key)
        };
        let Some(name) = name else {
            tracing::error!(channel = %self.shared.channel, ?key, "no such rendition to close");
            return;
        };
        let journal_key = SegmentKey { run: run.to_string(), rendition: name.to_string(), k };
        let record = SegmentRecord::new(journal_key, segment);
        self.hand_over(|done| Job::Close { key, record, done }).await;
    }

    /// Deletes a segment that left the window, [`Limits::grace`] from now.
    pub fn remove(&self, run: &RunId, rendition: usize, k: u64) {
        let key = Key { run: run.clone(), rendition, k };
        let Some(name) = self.shared.read().name(&key) else { return };
        let mut removed = self.shared.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.push_back((Instant::now() + self.limits.grace, key, name));
    }

    /// Waits until everything so far is on the disk, or has failed to get there.
    pub async fn flush(&self) {
        let Some(jobs) = self.jobs.clone() else { return };
        let (done, flushed) = oneshot::channel();
        // The queue may be full, and a slow disk is waited for here: not on this thread.
        self.shared.counters.waiting.add(1);
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Flush(done)).is_ok());
        if matches!(sent.await, Ok(true)) {
            let _ = flushed.await;
        }
    }

    /// A segment, as far as it exists.
    pub fn read(&self, run: &str, rendition: &str, k: u64) -> Option<Media> {
        self.find(run, rendition, k, None)
    }

    /// Part `n`, from 0, of a segment.
    pub fn part(&self, run: &str, rendition: &str, k: u64, n: usize) -> Option<Media> {
        self.find(run, rendition, k, Some(n))
    }

    /// The init segment of a rendition.
    pub fn init(&self, run: &str, rendition: &str) -> Option<Media> {
        let init = self.shared.read().init(run, rendition)?;
        let len = init.len() as u64;
        Some(Media {
            len,
            etag: Some(format!("\"{run}-{rendition}-init-{len}\"")),
            body: MediaBody::Memory(vec![init]),
            open: false,
        })
    }

    /// Numbers for monitors.
    pub fn stats(&self) -> Stats {
        let (memory_bytes, (segments, lost_segments)) = {
            let index = self.shared.read();
            (index.bytes(), index.counts())
        };
        let counters = &self.shared.counters;
        Stats {
            segments,
            memory_bytes,
            journal_bytes: counters.journal_bytes.value(),
            write_errors: counters.write_errors.value(),
            late_writes: counters.late_writes.value(),
            lost_segments,
        }
    }

    fn find(&self, run: &str, rendition: &str, k: u64, part: Option<usize>) -> Option<Media> {
        let found = self.shared.read().find(run, rendition, k, part)?;
        let len = found.len;
        // A name is never used for other bytes, so the name and the length are the tag.
        let etag = (!found.open).then(|| match part {
            None => format!("\"{run}-{rendition}-{k}-{len}\""),
            Some(n) => format!("\"{run}-{rendition}-{k}.{n}-{len}\""),
        });
        let body = match found.place {
            Place::Memory(pieces) => MediaBody::Memory(pieces),
            Place::Disk { offset } => {
                let path = self.directory.segment(&found.run, &found.rendition, k);
                MediaBody::File { path, offset }
            }
        };
        Some(Media { len, etag, body, open: found.open })
    }

    /// Gives the writing thread a job and waits for it, but not longer than [`Limits::patience`],
    /// and not at all while it is still busy with one that took too long.
    async fn hand_over(&self, job: impl FnOnce(Done) -> Job) {
        let Some(jobs) = &self.jobs else { return };
        let (done, written) = oneshot::channel();
        let waiting = &self.shared.counters.waiting;
        let stuck = self.late.load(Ordering::Relaxed) && waiting.value() > 0;
        waiting.add(1);
        let in_time = match jobs.try_send(job(done)) {
            Ok(()) if stuck => false,
            Ok(()) => tokio::time::timeout(self.limits.patience, written).await.is_ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                waiting.subtract(1);
                false
            }
        };
        if !in_time {
            self.shared.counters.late_writes.add(1);
        }
        match (in_time, self.late.swap(!in_time, Ordering::Relaxed)) {
            (false, false) => tracing::warn!(
                channel = %self.shared.channel,
                patience_ms = self.limits.patience.as_millis(),
                "the disk is slow: the live edge goes on without waiting for it"
            ),
            (true, true) => {
                tracing::info!(channel = %self.shared.channel, "the disk is in time again")
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
