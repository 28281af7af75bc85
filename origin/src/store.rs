//! The store: every segment that can be fetched, in memory and on disk.
//!
//! ```text
//! channel task ─► append, close, remove ─► writer thread ─► spool files, journal ─► sync thread
//!                        └► live edge (index) ◄── read, part, init ◄── http
//! ```
//! Order of writing: a part's bytes are in its segment's file, in the page cache, then
//! they can be read, then the caller puts them into a snapshot; so `kill -9` loses nothing that was
//! listed. A disk that takes longer than 20 ms, or fails, is not waited for: the live edge goes on
//! from memory and the store says so. `fsync` follows within about a second, in groups.
//!
//! A removed segment stays fetchable for [`Limits::grace`] (RFC 8216bis §6.2.2).
//!
//! A restart loses nothing: what an earlier process left of the window and of the segments that were
//! open is read back ([`Left`]), other segments of its stay fetchable for the grace too, and numbers,
//! the channel's format and whether it was on the air are remembered.
//!
//! What an asset is made of stays beyond its time (`holds`, `assets`).
//! Where there is S3 ([`s3`]), it gets every closed segment and an index of them; a segment leaves the
//! spool when S3 has it, and is read back from there.
//!
//! It knows nothing of HTTP, and never lists a directory to answer a read.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use packager::grid::splices::Splices;
use packager::media::{Name, RunId};
use packager::scte35::Cue;
use packager::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

mod assets;
mod channel;
mod follower;
mod fs;
mod holds;
mod journal;
mod live_edge;
mod outbox;
mod recovery;
pub mod s3;
mod writer;

pub use assets::Asset;
pub use channel::{ChannelStore, Far, TextKind};
pub use follower::{Follower, Lost};
pub use holds::Hold;
pub use journal::{CuesRecord, StoredFormat, StoredRendition};
pub use recovery::Left;

pub(crate) use fs::append as write_pieces;
use writer::Batch;

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
    #[error("can't {doing} {path}", path = path.display())]
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
    /// The durable store behind it, and what this process does with that.
    upstream: Option<(Arc<s3::Upstream>, Role)>,
    channels: Mutex<HashMap<Name, Arc<ChannelStore>>>,
}

/// What a process does with S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It makes channels, and sends what it has made.
    #[default]
    Primary,
    /// It serves what another one has sent.
    Replica,
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
        Ok(Self { root: Arc::new(root), limits, upstream: None, channels: Mutex::default() })
    }

    /// The same with S3 behind it. To be said before the first channel is asked for.
    #[must_use]
    pub fn with_upstream(self, upstream: Arc<s3::Upstream>, role: Role) -> Self {
        Self { upstream: Some((upstream, role)), ..self }
    }

    /// The durable store behind it, and what this process does with that.
    pub fn upstream(&self) -> Option<(&Arc<s3::Upstream>, Role)> {
        self.upstream.as_ref().map(|(upstream, role)| (upstream, *role))
    }

    /// Whether any of these channels, which are open, was on the air when an earlier process ended.
    pub fn was_on_air(&self, channels: &[Name]) -> bool {
        let open = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.iter().filter_map(|name| open.get(name)).any(|store| store.recovered().live)
    }

    /// Waits until S3 has everything that it can be given before this process ends, but not longer
    /// than `within`; at once where it is away. True if nothing is left in the spool.
    pub async fn finish(&self, within: Duration) -> bool {
        let Some((upstream, _)) = &self.upstream else { return true };
        let channels: Vec<_> = {
            let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.values().cloned().collect()
        };
        for channel in channels {
            channel.flush().await;
            channel.nothing_follows();
        }
        let finished = upstream.finish(within).await;
        upstream.end();
        finished
    }

    /// The store of a channel, opened when first asked for: its journal is read, and what earlier
    /// processes left unfinished is deleted. Does blocking I/O.
    ///
    /// # Errors
    /// The file system says no.
    pub fn channel(&self, name: &Name) -> Result<Arc<ChannelStore>, Error> {
        self.channel_kept(name, s3::Keep::default())
    }

    /// The same, with a bound to what S3 keeps of it.
    ///
    /// # Errors
    /// As [`Self::channel`].
    pub fn channel_kept(&self, name: &Name, keep: s3::Keep) -> Result<Arc<ChannelStore>, Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(name) {
            return Ok(Arc::clone(channel));
        }
        let behind = self.upstream.as_ref().map(|(upstream, role)| channel::Behind {
            upstream: Arc::clone(upstream),
            role: *role,
            keep,
        });
        let root = Arc::clone(&self.root);
        let channel = Arc::new(ChannelStore::open(root, name, self.limits, behind)?);
        channels.insert(name.clone(), Arc::clone(&channel));
        Ok(channel)
    }
}

/// The format that a channel has in the store at `root`, as its journal says; `None` if it never ran there.
/// Reads beside the process that has the store.
pub fn stored_format(root: &Path, channel: &Name) -> Option<StoredFormat> {
    let journal = std::fs::read(fs::Directory::new(root, channel).journal()).ok()?;
    journal::Journal::state_of(&journal).format
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
    /// The last run's id. One that is not above it may have been used.
    pub last_run: Option<RunId>,
    /// Whether the channel was on the air: a run had begun, and the channel had not ended since.
    pub live: bool,
    /// The channel's format, if it ever ran.
    pub format: Option<StoredFormat>,
    /// When the newest segment began of which anything is left.
    pub newest_start: Option<Timestamp>,
    /// Cues that are not over for good, by acceptance.
    pub cues: Vec<Cue>,
    /// Which boundaries lie elsewhere because of them.
    pub splices: Splices,
}

impl Recovered {
    /// When the newest segment began that any rendition has closed or begun.
    pub fn newest_start(&self) -> Option<Timestamp> {
        if self.newest_start.is_some() {
            return self.newest_start;
        }
        let grid = &self.format.as_ref()?.grid;
        Some(Timestamp::new(grid.boundary(self.last_k?), grid.video_scale()))
    }
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

impl Media {
    /// All of it, joined where it is in pieces: for what is read here rather than sent.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn whole(self) -> std::io::Result<Bytes> {
        match self.body {
            MediaBody::Memory(pieces) | MediaBody::Both { pieces, .. } => {
                Ok(pieces.concat().into())
            }
            MediaBody::File { path, offset } => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(SeekFrom::Start(offset)).await?;
                let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
                file.read_exact(&mut bytes).await?;
                Ok(bytes.into())
            }
        }
    }
}

/// Where the bytes of [`Media`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaBody {
    /// In memory, in order.
    Memory(Vec<Bytes>),
    /// In memory, and in a file that was written a short while ago: [`Media::len`] bytes from `offset`
    /// on.
    Both {
        /// The bytes, in order.
        pieces: Vec<Bytes>,
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
    },
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// What there is of S3, if there is any.
    pub upstream: Option<UpstreamStats>,
}

/// How a channel's way into S3 stands.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct UpstreamStats {
    /// Segments that wait.
    pub backlog_segments: u64,
    /// Bytes of them.
    pub backlog_bytes: u64,
    /// Milliseconds since the oldest of them was made; 0 if none waits.
    pub backlog_ms: u64,
    /// Newest number of which S3 has everything.
    pub last_segment: Option<u64>,
    /// Objects that S3 has taken since this process began.
    pub uploads: u64,
    /// Bytes of them.
    pub uploaded_bytes: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Segments that S3 will never have: given up for want of room, or lost with the disk.
    pub missing_segments: u64,
    /// Whether S3 is left alone for the moment, since it fails.
    pub away: bool,
    /// What is wrong, in words. For operators: it may name machines.
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests;
