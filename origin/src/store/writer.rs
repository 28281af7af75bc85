//! The one thread that writes a channel's files, and the one that syncs everybody's.
//!
//! The channel's task hands over jobs through a bounded queue and waits 20 ms for each at most;
//! whatever the disk does, the task never blocks. The order of jobs is the order on disk. A part
//! that could not be written spoils its segment's file: when the segment is closed, the file is
//! written again from memory, once. Syncing is another thread's work, once a second and in groups,
//! so that a slow `fsync` does not make parts late.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use packager::media::{Name, RunId};
use packager::timeline::Promise;
use tokio::sync::oneshot;

use super::channel::Shared;
use super::fs::{self, Directory};
use super::journal::{
    CuesRecord, Journal, Record, RunRecord, SegmentKey, SegmentRecord, StoredFormat,
};
use super::live_edge::Key;
use crate::crash;

/// How often files are synced and old ones deleted.
const TURN: Duration = Duration::from_secs(1);

/// Closed files waiting to be synced. When the disk is slower than this, the rest is left to the
/// kernel, which writes back on its own within half a minute.
const MAX_UNSYNCED: usize = 64;

/// Segments that are given up in a turn where the disk is full: more than are made in one.
const GIVEN_UP_AT_ONCE: usize = 16;

/// Something to do for a channel. `done` is answered when it is in the page cache, or has failed.
#[derive(Debug)]
pub(super) enum Job {
    Format(StoredFormat, Done),
    Begin {
        id: RunId,
        record: RunRecord,
        done: Done,
    },
    /// A segment goes on that an earlier process has begun.
    Resume {
        key: Key,
        len: u64,
        parts: usize,
        done: Done,
    },
    /// A run goes on in another stretch.
    Stretch {
        record: Record,
        done: Done,
    },
    Append {
        key: Key,
        part: usize,
        pieces: Vec<Bytes>,
        done: Done,
    },
    Close {
        key: Key,
        record: SegmentRecord,
        done: Done,
    },
    /// Cues have changed.
    Cues(CuesRecord, Done),
    /// What the manifests of an ended run had promised is in memory, and belongs on the disk too.
    Promise(Promise, Done),
    /// The channel has ended.
    End(Done),
    /// Sync everything so far; `done` is answered when it is on the disk.
    Flush(Done),
}

pub(super) type Done = oneshot::Sender<()>;

/// Files for the syncing thread.
#[derive(Debug)]
pub(super) struct Batch {
    files: Vec<File>,
    journal: Arc<File>,
    done: Option<Done>,
}

/// Syncs what it is handed until nobody is left to hand over. A failure is logged once until a
/// batch succeeds.
pub(super) fn sync(batches: &Receiver<Batch>) {
    let mut failing = false;
    while let Ok(batch) = batches.recv() {
        // Segments first: a record in the journal must not outlive what it speaks of.
        let synced = batch.files.iter().try_for_each(File::sync_data);
        match synced.and_then(|()| batch.journal.sync_data()) {
            Ok(()) => failing = false,
            Err(error) if failing => tracing::debug!(%error, "can't sync"),
            Err(error) => {
                failing = true;
                tracing::error!(%error, "can't sync the store: a power cut now would lose segments");
            }
        }
        if let Some(done) = batch.done {
            let _ = done.send(());
        }
    }
}

struct Open {
    file: File,
    parts: usize,
    /// The file does not hold all parts: one could not be written, or never came.
    spoiled: bool,
}

/// The writing thread's state.
pub(super) struct Writer {
    pub(super) directory: Directory,
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) syncer: SyncSender<Batch>,
    open: HashMap<Key, Open>,
    unsynced: VecDeque<File>,
    journal_changed: bool,
    failing: bool,
    /// The disk is nearly full.
    crowded: bool,
}

impl Writer {
    pub(super) fn new(
        directory: Directory,
        shared: Arc<Shared>,
        journal: Journal,
        syncer: SyncSender<Batch>,
    ) -> Self {
        Self {
            directory,
            shared,
            journal,
            syncer,
            open: HashMap::new(),
            unsynced: VecDeque::new(),
            journal_changed: false,
            failing: false,
            crowded: false,
        }
    }

    /// Works until the channel's store is dropped and its last job is done.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut turn = Instant::now() + TURN;
        loop {
            match jobs.recv_timeout(turn.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    self.work(job);
                    self.shared.counters.waiting.subtract(1);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if now >= turn {
                turn = now + TURN;
                self.keep_position();
                self.make_room();
                self.delete_due(now);
                self.hand_to_syncer();
            }
        }
        self.flush(None);
    }

    fn work(&mut self, job: Job) {
        let (result, done) = match job {
            Job::Format(format, done) => (self.record(Record::Format(format)), done),
            Job::Begin { id, record, done } => {
                // Recorded even if its files could not be made: its numbers are used.
                let begun = self.begin(&id);
                crash::point("inits-written");
                let recorded = self.record(Record::Run(record));
                crash::point("run-recorded");
                (begun.and(recorded), done)
            }
            Job::Resume { key, len, parts, done } => (self.resume(key, len, parts), done),
            Job::Stretch { record, done } => (self.record(record), done),
            Job::Append { key, part, pieces, done } => (self.append(key, part, &pieces), done),
            Job::Close { key, record, done } => (self.close(&key, record), done),
            Job::Cues(record, done) => (self.record(Record::Cues(record)), done),
            Job::Promise(promise, done) => (self.promise(&promise), done),
            Job::End(done) => (self.record(Record::Ended), done),
            Job::Flush(done) => return self.flush(Some(done)),
        };
        self.note(result);
        // Nobody waits any more if it took too long.
        let _ = done.send(());
    }

    fn begin(&mut self, run: &RunId) -> io::Result<()> {
        let inits = self.shared.read().inits(run);
        let files = self.directory.write_inits(run, &inits)?;
        self.unsynced.extend(files);
        Ok(())
    }

    fn append(&mut self, key: Key, part: usize, pieces: &[Bytes]) -> io::Result<()> {
        if !self.open.contains_key(&key) {
            let file = self.create(&key)?;
            crash::point("file-created");
            self.open.insert(key.clone(), Open { file, parts: 0, spoiled: false });
        }
        let Some(open) = self.open.get_mut(&key) else { return Ok(()) };
        open.spoiled |= open.parts != part;
        if open.spoiled {
            return Ok(());
        }
        if crash::is_due("part-torn") {
            drop(fs::append(&mut open.file, &half(pieces)));
            crash::die();
        }
        let written = fs::append(&mut open.file, pieces);
        crash::point("part-written");
        open.spoiled = written.is_err();
        open.parts += 1;
        written
    }

    /// Opens the file of a segment that goes on behind its first `len` bytes. What can't be is written
    /// whole when the segment is closed, like any other.
    fn resume(&mut self, key: Key, len: u64, parts: usize) -> io::Result<()> {
        let Some(name) = self.shared.read().name(&key) else { return Ok(()) };
        let path = self.directory.segment(&key.run, &name, key.k);
        let file = fs::reopen_segment(&path, len)?;
        crash::point("segment-reopened");
        self.open.insert(key, Open { file, parts, spoiled: false });
        Ok(())
    }

    /// Begins a segment's file, and its run's directories too if they could not be made before.
    fn create(&mut self, key: &Key) -> io::Result<File> {
        let Some(name) = self.shared.read().name(key) else {
            return Err(io::Error::other("the run is not there any more"));
        };
        let path = self.directory.segment(&key.run, &name, key.k);
        match fs::create_segment(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.begin(&key.run)?;
                fs::create_segment(&path)
            }
            result => result,
        }
    }

    fn close(&mut self, key: &Key, record: SegmentRecord) -> io::Result<()> {
        if !record.closed.gap {
            let file = match self.open.remove(key) {
                Some(open) if !open.spoiled && open.parts == record.closed.parts.len() => open.file,
                _ => match self.write_whole(key) {
                    Ok(file) => file,
                    Err(error) => {
                        // S3 can have it from memory.
                        if let Some(outbox) = &self.shared.outbox {
                            outbox.note(&Record::Segment(record));
                        }
                        return Err(error);
                    }
                },
            };
            if self.unsynced.len() >= MAX_UNSYNCED {
                self.unsynced.pop_front();
            }
            self.unsynced.push_back(file);
            self.shared.write().on_disk(key);
        }
        crash::point("segment-whole");
        let recorded = self.record(Record::Segment(record));
        crash::point("segment-recorded");
        recorded
    }

    /// Writes a segment's file from memory.
    fn write_whole(&mut self, key: &Key) -> io::Result<File> {
        let Some(pieces) = self.shared.read().memory(key) else {
            return Err(io::Error::other("the segment left memory before it was on disk"));
        };
        let mut file = self.create(key)?;
        fs::append(&mut file, &pieces)?;
        Ok(file)
    }

    /// Writes what a run had promised beside its window. It is not synced: a machine takes longer to
    /// start than anybody relies on it.
    fn promise(&mut self, promise: &Promise) -> io::Result<()> {
        let names = self.shared.read().inits(&promise.run).into_iter().map(|(name, _)| name);
        for (rendition, name) in names.enumerate() {
            for k in promise.numbers.clone() {
                let key = Key { run: promise.run.clone(), rendition, k };
                let Some(pieces) = self.shared.read().memory(&key) else { continue };
                let path = self.directory.promised(&promise.run, &name, k);
                fs::write_whole(&path, &pieces)?;
                crash::point("promise-torn");
            }
        }
        Ok(())
    }

    fn record(&mut self, record: Record) -> io::Result<()> {
        self.journal_changed = true;
        if let Some(outbox) = &self.shared.outbox {
            outbox.note(&record);
        }
        let written = self.journal.append(record);
        self.shared.counters.journal_bytes.set(self.journal.len());
        written
    }

    /// Remembers up to where S3 has everything.
    fn keep_position(&mut self) {
        let position = self.shared.outbox.as_ref().and_then(|outbox| outbox.position());
        if let Some(k) = position.filter(|k| self.journal.state().drained < Some(*k)) {
            let kept = self.record(Record::Drained { k });
            self.note(kept);
        }
    }

    /// Makes room on a disk that is nearly full, where S3 has what goes, or nothing else helps: first
    /// what S3 has and nobody lists, then, loudly, the oldest that S3 does not have and nobody lists. What
    /// is listed stays: where even that does not fit, the live edge goes on from memory.
    fn make_room(&mut self) {
        let Some(outbox) = self.shared.outbox.clone() else { return };
        if !fs::is_nearly_full(self.directory.path()) {
            self.crowded = false;
            return;
        }
        if !std::mem::replace(&mut self.crowded, true) {
            tracing::warn!(channel = %self.shared.channel, "the disk is nearly full: making room");
        }
        while let Some((key, name)) = self.shared.take_removed(|k| outbox.may_leave(k)) {
            let deleted = self.delete(&key, &name);
            self.note(deleted);
        }
        for _ in 0..GIVEN_UP_AT_ONCE {
            if !fs::is_nearly_full(self.directory.path()) {
                return;
            }
            let Some((key, name)) = self.shared.take_removed(|_| true) else { return };
            tracing::error!(
                channel = %self.shared.channel, run = %key.run, rendition = %name, k = key.k,
                "given up: the disk is full, and S3 has not taken it"
            );
            outbox.give_up(&key.run, &name, key.k);
            let deleted = self.delete(&key, &name);
            self.note(deleted);
        }
    }

    /// Deletes what was removed long enough ago.
    fn delete_due(&mut self, now: Instant) {
        while let Some((key, name)) = self.shared.take_due(now) {
            let deleted = self.delete(&key, &name);
            self.note(deleted);
        }
    }

    fn delete(&mut self, key: &Key, name: &Name) -> io::Result<()> {
        self.open.remove(key);
        let run_is_empty = self.shared.write().remove(key);
        let journal_key =
            SegmentKey { run: key.run.to_string(), rendition: name.to_string(), k: key.k };
        // A file without a record is one that was open, or whose record is lost, or that was held.
        if !self.shared.is_held(&key.run, key.k) {
            fs::remove_file(&self.directory.segment(&key.run, name, key.k))?;
        }
        fs::remove_file(&self.directory.promised(&key.run, name, key.k))?;
        crash::point("file-deleted");
        self.record(Record::Removed(journal_key))?;
        if run_is_empty && self.shared.is_over(&key.run) {
            self.shared.write().remove_run(&key.run);
            if !self.shared.holds_run(&key.run) {
                self.directory.remove_run(&key.run)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, done: Option<Done>) -> Batch {
        self.journal_changed = false;
        Batch { files: self.unsynced.drain(..).collect(), journal: self.journal.file(), done }
    }

    /// Hands over what is to be synced; if the syncing thread has enough to do, next time.
    fn hand_to_syncer(&mut self) {
        if self.unsynced.is_empty() && !self.journal_changed {
            return;
        }
        let batch = self.batch(None);
        if let Err(TrySendError::Full(batch)) = self.syncer.try_send(batch) {
            self.unsynced.extend(batch.files);
            self.journal_changed = true;
        }
    }

    fn flush(&mut self, done: Option<Done>) {
        let open = self.open.values().filter_map(|open| open.file.try_clone().ok());
        let open: Vec<_> = open.collect();
        self.unsynced.extend(open);
        let batch = self.batch(done);
        let _ = self.syncer.send(batch);
    }

    /// Counts failures, and logs the first of each incident.
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!(channel = %self.shared.channel, "the disk takes segments again");
            }
            Ok(()) => {}
            Err(error) => {
                self.shared.counters.write_errors.add(1);
                if !self.failing {
                    self.failing = true;
                    tracing::error!(
                        channel = %self.shared.channel, %error,
                        "can't write to the store: the live edge goes on from memory"
                    );
                }
            }
        }
    }
}

/// The first half of the bytes of `pieces`.
fn half(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut left = pieces.iter().map(Bytes::len).sum::<usize>() / 2;
    let mut half = Vec::new();
    for piece in pieces {
        half.push(piece.slice(..piece.len().min(left)));
        left = left.saturating_sub(piece.len());
    }
    half
}
