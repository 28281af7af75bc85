//! What can be read, and from where: the live edge in memory, the rest on disk.
//!
//! One index per channel, behind a lock that is held for a look-up or a push and never while bytes
//! move. A segment's bytes are a list of [`Bytes`] as the encoder and the packager made them,
//! never joined. They leave memory when the segment is old and whole on disk, or when the byte cap
//! says so, oldest first; a segment that did not reach the disk stays as long as the cap allows.
//! Segments still being written are never dropped: the cap may be exceeded by those.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use packager::media::{Name, RunId};
use packager::time::{Rounding, Timescale, rescale};
use tokio::sync::watch;

/// Names a segment inside a channel. `rendition` is its position in the run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) run: RunId,
    pub(super) rendition: usize,
    pub(super) k: u64,
}

/// How much stays in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Age of a segment's end behind the newest one, in nanoseconds of media time.
    pub(super) age: i64,
    /// Bytes of all segments together.
    pub(super) bytes: u64,
}

/// What is known of the segments of a channel.
#[derive(Debug)]
pub(super) struct Index {
    caps: Caps,
    runs: HashMap<Box<str>, RunEntry>,
    /// Closed segments whose bytes are in memory, in the order they were closed.
    resident: VecDeque<Key>,
    /// Bytes in memory, open segments included.
    bytes: u64,
    /// End of the newest closed segment of any rendition, in nanoseconds.
    newest: i64,
    /// Segments that were dropped from memory without being on disk.
    lost: u64,
}

#[derive(Debug)]
struct RunEntry {
    renditions: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    name: Name,
    scale: Timescale,
    init: Bytes,
    segments: BTreeMap<u64, Entry>,
}

/// One segment. A window of a day has tens of thousands.
#[derive(Debug, Default)]
struct Entry {
    /// Bytes of each part.
    parts: Vec<u32>,
    /// While its bytes are in memory.
    memory: Option<Box<InMemory>>,
    /// End of the last sample in nanoseconds; `None` while the segment is open.
    end: Option<i64>,
    on_disk: bool,
}

/// A segment's bytes.
#[derive(Debug, Default)]
struct InMemory {
    /// The pieces of each part.
    parts: Vec<Vec<Bytes>>,
    /// Tells those who follow an open segment that it has grown; dropped when it is closed.
    grown: Option<watch::Sender<()>>,
}

impl Entry {
    fn open() -> Self {
        let memory = InMemory { grown: Some(watch::Sender::new(())), ..InMemory::default() };
        Self { memory: Some(Box::new(memory)), ..Self::default() }
    }

    fn len(&self) -> u64 {
        bytes_of(&self.parts)
    }
}

fn bytes_of(parts: &[u32]) -> u64 {
    parts.iter().map(|bytes| u64::from(*bytes)).sum()
}

/// A look-up's answer.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) run: RunId,
    pub(super) rendition: Name,
    pub(super) len: u64,
    pub(super) open: bool,
    pub(super) place: Place,
}

/// What follows a number of parts of a segment.
#[derive(Debug)]
pub(super) enum Next {
    /// Another part.
    Part(Vec<Bytes>),
    /// Nothing yet.
    Open,
    /// Nothing: the segment is whole.
    Whole,
    /// Bytes that are not in memory any more.
    Gone,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Place {
    /// In memory, and if the segment is whole on disk, from this byte of its file on.
    Memory { pieces: Vec<Bytes>, file: Option<u64> },
    /// From this byte of the segment's file on.
    Disk { offset: u64 },
}

impl Index {
    pub(super) fn new(caps: Caps) -> Self {
        Self {
            caps,
            runs: HashMap::new(),
            resident: VecDeque::new(),
            bytes: 0,
            newest: i64::MIN,
            lost: 0,
        }
    }

    /// Adds a run's renditions with their init segments.
    pub(super) fn begin_run(&mut self, run: &RunId, tracks: Vec<(Name, Timescale, Bytes)>) {
        let renditions = tracks
            .into_iter()
            .map(|(name, scale, init)| Track { name, scale, init, segments: BTreeMap::new() })
            .collect();
        self.runs.insert(run.as_str().into(), RunEntry { renditions });
    }

    /// Adds a segment that is whole, on disk or only in S3, with the bytes of each of its parts.
    pub(super) fn adopt(&mut self, key: &Key, parts: Vec<u32>, on_disk: bool) {
        let Some(track) = self.track_mut(key) else { return };
        let entry = Entry { parts, end: Some(i64::MIN), on_disk, ..Entry::default() };
        track.segments.insert(key.k, entry);
    }

    /// Number of parts a segment has; 0 for one that does not exist yet. `None` when there is no
    /// such rendition, or the segment is closed.
    pub(super) fn next_part(&self, key: &Key) -> Option<usize> {
        let track = self.track(key)?;
        match track.segments.get(&key.k) {
            None => Some(0),
            Some(entry) => entry.end.is_none().then_some(entry.parts.len()),
        }
    }

    /// Adds a part to a segment, which it opens if it is the first.
    pub(super) fn push(&mut self, key: &Key, pieces: Vec<Bytes>) {
        let Some(track) = self.track_mut(key) else { return };
        let len = pieces.iter().map(Bytes::len).sum::<usize>();
        let entry = track.segments.entry(key.k).or_insert_with(Entry::open);
        entry.parts.push(u32::try_from(len).unwrap_or(u32::MAX));
        let memory = entry.memory.get_or_insert_default();
        memory.parts.push(pieces);
        if let Some(grown) = &memory.grown {
            grown.send_replace(());
        }
        self.bytes += len as u64;
    }

    /// Closes a segment whose last sample ends at `end`, in ticks of the rendition.
    pub(super) fn close(&mut self, key: &Key, end: i64) {
        let Some(track) = self.track_mut(key) else { return };
        let nanos = rescale(end, track.scale, Timescale::NANOS, Rounding::Nearest);
        let Some(entry) = track.segments.get_mut(&key.k) else { return };
        entry.parts.shrink_to_fit();
        if let Some(memory) = &mut entry.memory {
            memory.grown = None;
        }
        if entry.end.replace(nanos).is_none() {
            self.resident.push_back(key.clone());
        }
        self.newest = self.newest.max(nanos);
        self.evict();
    }

    /// Notes that a segment is whole on disk.
    pub(super) fn on_disk(&mut self, key: &Key) {
        if let Some(entry) = self.entry_mut(key) {
            entry.on_disk = true;
        }
        self.evict();
    }

    /// A closed segment's bytes, if they are all in memory.
    pub(super) fn memory(&self, key: &Key) -> Option<Vec<Bytes>> {
        let entry = self.track(key)?.segments.get(&key.k)?;
        entry.memory.as_ref().map(|memory| memory.parts.concat())
    }

    /// Forgets a segment; true when its run has none left.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let entry = self.track_mut(key).and_then(|track| track.segments.remove(&key.k));
        if let Some(entry) = entry
            && entry.memory.is_some()
        {
            self.bytes = self.bytes.saturating_sub(entry.len());
            self.resident.retain(|resident| resident != key);
        }
        let run = self.runs.get(key.run.as_str());
        run.is_some_and(|run| run.renditions.iter().all(|track| track.segments.is_empty()))
    }

    /// Forgets a run.
    pub(super) fn remove_run(&mut self, run: &RunId) {
        self.runs.remove(run.as_str());
    }

    /// The init segment of a rendition.
    pub(super) fn init(&self, run: &str, rendition: &str) -> Option<Bytes> {
        let (_, track) = self.named(run, rendition)?;
        Some(track.init.clone())
    }

    /// The init segments of a run.
    pub(super) fn inits(&self, run: &RunId) -> Vec<(Name, Bytes)> {
        let run = self.runs.get(run.as_str());
        let tracks = run.map_or(&[][..], |run| run.renditions.as_slice());
        tracks.iter().map(|track| (track.name.clone(), track.init.clone())).collect()
    }

    /// The names of a run's renditions; none if there is no such run.
    pub(super) fn names(&self, run: &RunId) -> Vec<Name> {
        let run = self.runs.get(run.as_str());
        let tracks = run.map_or(&[][..], |run| run.renditions.as_slice());
        tracks.iter().map(|track| track.name.clone()).collect()
    }

    /// Whether there is such a segment.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.track(key).is_some_and(|track| track.segments.contains_key(&key.k))
    }

    /// The name of a rendition.
    pub(super) fn name(&self, key: &Key) -> Option<Name> {
        self.track(key).map(|track| track.name.clone())
    }

    /// Finds a segment, or with `part` that part of it.
    pub(super) fn find(
        &self,
        run: &str,
        rendition: &str,
        k: u64,
        part: Option<usize>,
    ) -> Option<Found> {
        let (id, track) = self.named(run, rendition)?;
        let entry = track.segments.get(&k)?;
        let (offset, len) = match part {
            None => (0, entry.len()),
            Some(n) => (bytes_of(entry.parts.get(..n)?), (*entry.parts.get(n)?).into()),
        };
        let place = match (&entry.memory, part) {
            (Some(memory), _) => {
                let parts = &memory.parts;
                let pieces =
                    part.map_or_else(|| Some(parts.concat()), |n| parts.get(n).cloned())?;
                Place::Memory { pieces, file: entry.on_disk.then_some(offset) }
            }
            (None, _) if entry.on_disk => Place::Disk { offset },
            (None, _) => return None,
        };
        // A part is whole as soon as it can be seen.
        let open = entry.end.is_none() && part.is_none();
        Some(Found { run: id, rendition: track.name.clone(), len, open, place })
    }

    /// An open segment by its names, and what tells that it grows or is closed.
    pub(super) fn follow(
        &self,
        run: &str,
        rendition: &str,
        k: u64,
    ) -> Option<(Key, watch::Receiver<()>)> {
        let (id, track) = self.named(run, rendition)?;
        let grown = track.segments.get(&k)?.memory.as_ref()?.grown.as_ref()?.subscribe();
        let tracks = &self.runs.get(run)?.renditions;
        let rendition = tracks.iter().position(|each| each.name == track.name)?;
        Some((Key { run: id, rendition, k }, grown))
    }

    /// What comes after the first `n` parts of a segment.
    pub(super) fn next_of(&self, key: &Key, n: usize) -> Next {
        let entry = self.track(key).and_then(|track| track.segments.get(&key.k));
        let Some(Entry { parts, memory, end, .. }) = entry else { return Next::Gone };
        match (memory.as_ref().and_then(|memory| memory.parts.get(n)), end) {
            (Some(part), _) => Next::Part(part.clone()),
            (None, _) if n < parts.len() => Next::Gone,
            (None, Some(_)) => Next::Whole,
            (None, None) => Next::Open,
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of segments that can be read, and of those that were lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        let tracks = self.runs.values().flat_map(|run| &run.renditions);
        (tracks.map(|track| track.segments.len() as u64).sum(), self.lost)
    }

    fn evict(&mut self) {
        let horizon = self.newest.saturating_sub(self.caps.age);
        self.evict_where(|index, entry| {
            let old = entry.end.is_some_and(|end| end <= horizon);
            entry.on_disk && (old || index.bytes > index.caps.bytes)
        });
        self.evict_where(|index, _| index.bytes > index.caps.bytes);
    }

    /// Takes from memory what `drop` chooses, asked about the oldest first.
    fn evict_where(&mut self, drop: impl Fn(&Self, &Entry) -> bool) {
        let mut kept = VecDeque::with_capacity(self.resident.len());
        while let Some(key) = self.resident.pop_front() {
            let entry = self.track(&key).and_then(|track| track.segments.get(&key.k));
            let Some(entry) = entry else { continue };
            if !drop(self, entry) {
                kept.push_back(key);
                continue;
            }
            let (len, on_disk) = (entry.len(), entry.on_disk);
            self.bytes = self.bytes.saturating_sub(len);
            self.lost += u64::from(!on_disk);
            if let Some(entry) = self.entry_mut(&key) {
                entry.memory = None;
            }
        }
        self.resident = kept;
    }

    fn track(&self, key: &Key) -> Option<&Track> {
        self.runs.get(key.run.as_str())?.renditions.get(key.rendition)
    }

    fn track_mut(&mut self, key: &Key) -> Option<&mut Track> {
        self.runs.get_mut(key.run.as_str())?.renditions.get_mut(key.rendition)
    }

    fn entry_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.track_mut(key)?.segments.get_mut(&key.k)
    }

    fn named(&self, run: &str, rendition: &str) -> Option<(RunId, &Track)> {
        let id = RunId::parse(run)?;
        let tracks = &self.runs.get(run)?.renditions;
        Some((id, tracks.iter().find(|track| track.name.as_str() == rendition)?))
    }
}
