//! The store of one channel: what its task writes into and everybody reads from.
//!
//! The methods that change it hand a job to the writing thread, wait a moment for it and go on;
//! the ones that read look into the index. It decides nothing about segments.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use packager::cmaf::Chunk;
use packager::media::{Name, Rendition, RunId};
use packager::timeline::{Promise, Run, Segment};
use tokio::sync::oneshot;

use super::assets::{self, Asset};
use super::fs::{Directory, Files};
use super::holds::Holds;
use super::journal::{
    CuesRecord, Journal, Record, RunRecord, SegmentKey, SegmentRecord, StoredFormat,
};
use super::live_edge::{Caps, Index, Key, Place};
use super::outbox::Outbox;
use super::recovery::{self, Left};
use super::s3::keys::Keys;
use super::s3::{Estate, Keep, Source, Upstream};
use super::writer::{Done, Job, Writer};
use super::{
    Error, Follower, Limits, Media, MediaBody, Recovered, Role, Root, Stats, io, join, spawn,
};

mod adopted;
mod far;
mod kept;
mod shared;
use adopted::Adopted;
pub use far::{Far, TextKind};
use shared::Counters;
pub(super) use shared::Shared;

/// Jobs a channel may have waiting for its disk: about 15 s of four renditions in parts of 0.3 s.
/// The bytes they hold are those of the live edge. What comes when it is full is written when its
/// segment is closed.
const QUEUE_JOBS: usize = 256;

/// The store of one channel. The channel's task alone calls the methods that change it; anybody
/// reads. Dropping it waits until what was written is synced; [`Self::flush`] first, where a
/// thread must not block.
#[derive(Debug)]
pub struct ChannelStore {
    directory: Directory,
    shared: Arc<Shared>,
    assets: Mutex<BTreeMap<String, Asset>>,
    recovered: Recovered,
    left: Mutex<Option<Left>>,
    limits: Limits,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    late: AtomicBool,
    behind: Option<(Arc<Upstream>, Keys)>,
    _root: Arc<Root>,
}

/// The store behind a channel's spool.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) upstream: Arc<Upstream>,
    pub(super) role: Role,
    pub(super) keep: Keep,
}

impl Drop for ChannelStore {
    fn drop(&mut self) {
        self.jobs = None;
        join(self.thread.take());
    }
}

impl ChannelStore {
    pub(super) fn open(
        root: Arc<Root>,
        name: &Name,
        limits: Limits,
        behind: Option<Behind>,
    ) -> Result<Self, Error> {
        let directory = Directory::new(&root.path, name);
        let path = directory.path();
        std::fs::create_dir_all(path).map_err(io("make", path))?;
        let journal_path = directory.journal();
        let mut journal =
            Journal::open(journal_path.clone()).map_err(io("open the journal", &journal_path))?;
        if let Some(behind) = behind.as_ref().filter(|behind| behind.role == Role::Primary)
            && journal.state().format.is_none()
        {
            inherit(behind, name, &directory, &mut journal)
                .map_err(io("write the journal", &journal_path))?;
        }
        let assets = assets::read_all(&directory).map_err(io("read the assets in", path))?;
        let mut holds = Holds::default();
        for asset in &assets {
            holds.hold(&asset.id, asset.holds.clone());
        }
        let found = directory.runs().map_err(io("read", path))?;
        let runs = recovery::without_held(&found, journal.state(), &holds);
        for segment in recovery::unrecorded(journal.state(), &directory, &runs) {
            tracing::warn!(channel = %name, key = ?segment.key, "a segment was not in the journal");
            journal
                .append(Record::Segment(segment))
                .map_err(io("write the journal", &journal_path))?;
        }
        match recovery::boot_id() {
            Some(id) if journal.state().boot.as_ref() != Some(&id) => {
                let record = Record::Boot { id };
                journal.append(record).map_err(io("write the journal", &journal_path))?;
            }
            Some(_) => {}
            None => tracing::warn!(
                channel = %name, file = recovery::BOOT_ID,
                "can't tell whether the machine went down: names may be used twice after a power cut"
            ),
        }
        // What S3 has is not lost with the disk.
        let far = journal.state().drained.filter(|_| behind.is_some());
        let left = recovery::read_back(journal.state(), &directory, &runs, far);
        let going_on = left.as_ref().and_then(Left::run).map(|run| run.id.clone());
        let age = i64::try_from(limits.live_edge.as_nanos()).unwrap_or(i64::MAX);
        let mut index = Index::new(Caps { age, bytes: limits.live_edge_bytes });
        let mut adopted = Adopted::default();
        for files in &runs {
            let Files { run, tracks } = files;
            let goes_on = going_on.as_ref() == Some(run);
            let stays = adopted.take(journal.state(), &directory, files, goes_on, &mut index);
            if stays
                && let Some(promise) = left.as_ref().and_then(|left| left.promise.as_ref())
                && promise.run == *run
            {
                adopted.take_promised(promise, &directory, &mut index);
            }
            if !stays && !holds.has_run(run.as_str()) {
                directory.remove_run(run).map_err(io("delete an old run in", path))?;
            } else if !stays {
                directory
                    .remove_segments(run, tracks)
                    .map_err(io("delete old segments in", path))?;
            }
        }
        // Files of a run that the journal has forgotten are numbered on the grid before this one.
        let is_counted = |files: &&Files| {
            let (state, run) = (journal.state(), files.run.as_str());
            state.runs.contains_key(run) || state.last_run.as_deref() < Some(run)
        };
        let last_k = found.iter().filter(is_counted).filter_map(Files::last_k).max();
        let last_run = runs.iter().map(|files| files.run.to_string()).max();
        journal
            .reconcile(last_k, last_run, &adopted.runs)
            .map_err(io("write the journal", &journal_path))?;
        let state = journal.state();
        let recovered = Recovered {
            last_discontinuity: state.last_discontinuity,
            last_k: state.last_k,
            last_run: state.last_run.as_deref().and_then(RunId::parse),
            live: state.live,
            format: state.format.clone(),
            newest_start: left.as_ref().and_then(Left::newest_start),
            cues: state.cues.clone(),
            splices: state.splices.clone(),
        };

        let due = Instant::now() + limits.grace;
        let removed = adopted.segments.into_iter().map(|(key, name)| (due, key, name)).collect();
        let primary = behind.as_ref().is_some_and(|behind| behind.role == Role::Primary);
        let shared = Arc::new(Shared {
            channel: name.clone(),
            directory: directory.clone(),
            outbox: primary.then(|| Arc::new(Outbox::of(journal.state()))),
            index: RwLock::new(index),
            holds: RwLock::new(holds),
            removed: Mutex::new(removed),
            current: Mutex::default(),
            counters: Counters::default(),
        });
        shared.counters.journal_bytes.set(journal.len());
        let (jobs, queue): (_, Receiver<Job>) = sync_channel(QUEUE_JOBS);
        let Some(syncer) = root.syncer.clone() else {
            return Err(Error::InUse { root: root.path.clone() });
        };
        let behind = behind.map(|Behind { upstream, keep, .. }| {
            let keys = upstream.keys(name.as_str());
            if let Some(outbox) = shared.outbox.clone() {
                let (shared, directory) = (Arc::clone(&shared), directory.clone());
                let (channel, keys) = (name.clone(), keys.clone());
                upstream.drain(Source { channel, keys, outbox, shared, directory, keep });
            }
            (upstream, keys)
        });
        let writer = Writer::new(directory.clone(), Arc::clone(&shared), journal, syncer);
        let thread = spawn(format!("store-{name}"), move || writer.run(&queue))
            .map_err(io("start the writing thread of", path))?;
        Ok(Self {
            directory,
            shared,
            assets: Mutex::new(assets.into_iter().map(|asset| (asset.id.clone(), asset)).collect()),
            recovered,
            left: Mutex::new(left),
            limits,
            jobs: Some(jobs),
            thread: Some(thread),
            late: AtomicBool::new(false),
            behind,
            _root: root,
        })
    }

    /// What the journal remembered when this store was opened.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// What an earlier process left of the channel's timeline; once.
    pub fn take_left(&self) -> Option<Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Goes on with what an earlier process left: what is in its window stays, and parts can be
    /// appended to the segments that are open.
    pub async fn resume(&self, left: &Left) {
        let Some(run) = left.run() else { return };
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.id.clone());
        let mut window = HashSet::new();
        for (rendition, track) in left.tracks.iter().enumerate() {
            let key = |s: &Segment| Key { run: s.run.id.clone(), rendition, k: s.k };
            window.extend(track.segments.iter().map(key));
        }
        self.shared.keep(&window);
        if let (Some(outbox), Some(first)) = (&self.shared.outbox, left.first_k()) {
            outbox.window_from(first);
        }
        for (&rendition, parts) in &left.open {
            let open = left.tracks.get(rendition).and_then(|track| track.open.as_ref());
            let Some(open) = open else { continue };
            let key = Key { run: open.run.id.clone(), rendition, k: open.k };
            {
                let mut index = self.shared.write();
                parts.iter().for_each(|part| index.push(&key, vec![part.clone()]));
            }
            let len = parts.iter().map(|part| part.len() as u64).sum();
            let parts = parts.len();
            self.hand_over(|done| Job::Resume { key, len, parts, done }).await;
        }
    }

    /// Remembers the channel's format across restarts.
    pub async fn fix_format(&self, format: StoredFormat) {
        self.hand_over(|done| Job::Format(format, done)).await;
    }

    /// Remembers what has changed of the channel's cues.
    pub async fn remember_cues(&self, record: CuesRecord) {
        self.hand_over(|done| Job::Cues(record, done)).await;
    }

    /// Begins a run: its init segments, one per rendition and in that order, can be read from now
    /// on, and its segments be appended.
    pub async fn begin_run(&self, run: &Run, renditions: &[Rendition]) {
        self.begin(run, renditions, false).await;
    }

    /// The same for a run that opens a window: playlists list nothing from before it.
    pub async fn begin_window(&self, run: &Run, renditions: &[Rendition]) {
        self.begin(run, renditions, true).await;
    }

    async fn begin(&self, run: &Run, renditions: &[Rendition], fresh: bool) {
        let tracks = renditions
            .iter()
            .zip(&run.inits)
            .map(|(r, init)| (r.name.clone(), r.track.timescale, init.clone()))
            .collect();
        self.shared.write().begin_run(&run.id, tracks);
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.id.clone());
        let (id, record) = (run.id.clone(), RunRecord::new(run, renditions, fresh));
        self.hand_over(|done| Job::Begin { id, record, done }).await;
    }

    /// Remembers another stretch of a run.
    pub async fn stretch(&self, run: &Run) {
        let record = Record::Stretch { run: run.id.to_string(), stretch: run.into() };
        self.hand_over(|done| Job::Stretch { record, done }).await;
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

    /// Closes a segment: it has all its parts, or is a gap that never had any. Who follows it is told
    /// when it is in the journal, unless the disk is slow: a process that died before would go on with
    /// it, and the whole of it be another one then.
    pub async fn close(&self, run: &RunId, rendition: usize, k: u64, segment: &Segment) {
        let key = Key { run: run.clone(), rendition, k };
        let name = self.shared.read().name(&key);
        let Some(name) = name else {
            tracing::error!(channel = %self.shared.channel, ?key, "no such rendition to close");
            return;
        };
        let journal_key = SegmentKey { run: run.to_string(), rendition: name.to_string(), k };
        let record = SegmentRecord { key: journal_key, closed: segment.into() };
        let closed = key.clone();
        self.hand_over(|done| Job::Close { key, record, done }).await;
        self.shared.write().close(&closed, segment.end());
    }

    /// Keeps a whole segment in memory, until [`Self::remove`]d like any other: it is listed nowhere.
    pub fn keep(&self, run: &RunId, rendition: usize, k: u64, chunks: Vec<Chunk>, end: i64) {
        let key = Key { run: run.clone(), rendition, k };
        let mut index = self.shared.write();
        if index.next_part(&key) != Some(0) {
            return;
        }
        for Chunk { head, samples } in chunks {
            index.push(&key, std::iter::once(head).chain(samples).collect());
        }
        index.close(&key, end);
    }

    /// Remembers across restarts what was [kept](Self::keep) of a run, once another has begun.
    pub async fn promise(&self, promise: &Promise) {
        self.hand_over(|done| Job::Promise(promise.clone(), done)).await;
    }

    /// Deletes a segment that left the window, [`Limits::grace`] from now.
    pub fn remove(&self, run: &RunId, rendition: usize, k: u64) {
        let key = Key { run: run.clone(), rendition, k };
        let Some(name) = self.shared.read().name(&key) else { return };
        let mut removed = self.shared.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.push_back((Instant::now() + self.limits.grace, key, name));
        if let Some(outbox) = &self.shared.outbox {
            outbox.window_from(k.saturating_add(1));
        }
    }

    /// Notes that the channel has ended: nobody waits for it after a restart.
    pub async fn end(&self) {
        self.hand_over(Job::End).await;
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

    /// An open segment, to be read as it is written; `None` if there is no such segment that is open.
    pub fn follow(&self, run: &str, rendition: &str, k: u64) -> Option<Follower> {
        let found = self.shared.read().follow(run, rendition, k)?;
        Some(Follower::new(Arc::clone(&self.shared), found))
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

    /// A segment that is listed nowhere any more and is part of an asset: its file, or of that the first
    /// `len` bytes.
    pub fn held(&self, run: &str, rendition: &str, k: u64, len: Option<u64>) -> Option<Media> {
        if !self.holds(run, k) || self.shared.read().find(run, rendition, k, None).is_some() {
            return None;
        }
        let path = self.directory.segment(&RunId::parse(run)?, &Name::parse(rendition).ok()?, k);
        let whole = std::fs::metadata(&path).ok()?.len();
        let len = len.map_or(whole, |len| len.min(whole));
        let etag = Some(format!("\"{run}-{rendition}-{k}-{len}\""));
        Some(Media { len, etag, body: MediaBody::File { path, offset: 0 }, open: false })
    }

    /// The init segment of a run of which only assets are left.
    pub fn held_init(&self, run: &str, rendition: &str) -> Option<Media> {
        if !self.held_any(run) || self.init(run, rendition).is_some() {
            return None;
        }
        let path = self.directory.init(&RunId::parse(run)?, &Name::parse(rendition).ok()?);
        let len = std::fs::metadata(&path).ok()?.len();
        let etag = Some(format!("\"{run}-{rendition}-init-{len}\""));
        Some(Media { len, etag, body: MediaBody::File { path, offset: 0 }, open: false })
    }

    /// Whether a segment is part of an asset.
    pub fn holds(&self, run: &str, k: u64) -> bool {
        self.shared.holds.read().unwrap_or_else(PoisonError::into_inner).has(run, k)
    }

    fn held_any(&self, run: &str) -> bool {
        self.shared.holds.read().unwrap_or_else(PoisonError::into_inner).has_run(run)
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
            upstream: self.upstream_stats(),
        }
    }

    fn find(&self, run: &str, rendition: &str, k: u64, part: Option<usize>) -> Option<Media> {
        let found = self.shared.read().find(run, rendition, k, part)?;
        let len = found.len;
        // A name is never used for other bytes, so the name and the length are the tag.
        let etag = (!found.open).then(|| match part {
            None => segment_tag(run, rendition, k, len),
            Some(n) => part_tag(run, rendition, k, n, len),
        });
        let body = match found.place {
            Place::Memory { pieces, file: None } => MediaBody::Memory(pieces),
            Place::Memory { pieces, file: Some(offset) } => {
                let path = self.directory.segment(&found.run, &found.rendition, k);
                MediaBody::Both { pieces, path, offset }
            }
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

/// Puts what another machine has made of a channel into a journal that has nothing of it, if S3
/// has any.
fn inherit(
    behind: &Behind,
    name: &Name,
    directory: &Directory,
    journal: &mut Journal,
) -> std::io::Result<()> {
    let Estate { state, inits } = match behind.upstream.estate(&behind.upstream.keys(name.as_str()))
    {
        Ok(Some(estate)) => estate,
        Ok(None) => return Ok(()),
        Err(error) => {
            tracing::warn!(
                channel = %name, %error,
                "S3 does not say whether another machine has made this channel: it begins anew"
            );
            return Ok(());
        }
    };
    for (run, inits) in &inits {
        directory.write_inits(run, inits)?;
    }
    journal.begin_with(state)?;
    let state = journal.state();
    tracing::info!(
        channel = %name, segments = state.segments.len(), last = ?state.drained,
        "the channel is taken over from the machine that made it, with what S3 has"
    );
    Ok(())
}

/// The entity tag of a whole segment, wherever it is read from.
fn segment_tag(run: &str, rendition: &str, k: u64, len: u64) -> String {
    format!("\"{run}-{rendition}-{k}-{len}\"")
}

/// The entity tag of a part.
fn part_tag(run: &str, rendition: &str, k: u64, n: usize, len: u64) -> String {
    format!("\"{run}-{rendition}-{k}.{n}-{len}\"")
}
