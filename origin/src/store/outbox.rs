//! What S3 does not have yet of a channel, and what its index is made of.
//!
//! ```text
//! writing thread ─► note (a journal's record) ─► Outbox ─► batch ─► drain ─► drained
//!       └─◄ may_leave, position ◄──────────────────┘
//! ```
//! Numbers leave in order and whole: a number is ready when every rendition of its run has closed it,
//! or when it can't be waited for any more. It holds records and no media: those lie in the spool.
//! After a restart the journal says the same again, and up to which number S3 had everything.
//!
//! It does no I/O and knows no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packager::grid::splices::Splices;
use packager::media::{Name, RunId};
use packager::scte35::Cue;
use tokio::sync::Notify;

use super::journal::{Record, RunRecord, SegmentKey, SegmentRecord, State, StoredFormat};

/// Numbers that a rendition may lag behind the others before it is not waited for: two segments late
/// is beyond what any rendition of a run that goes on can be.
const LAG: u64 = 2;

/// Times that are remembered until they are counted, which is once a second.
const MOST_TIMES: usize = 1_024;

/// What S3 does not have yet of a channel.
#[derive(Debug)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    channel: ChannelRecord,
    /// Records of segments by number.
    waiting: BTreeMap<u64, Vec<SegmentRecord>>,
    bytes: u64,
    /// S3 has everything up to this number.
    drained: Option<u64>,
    /// Segments that had to be given up, since the disk was full before S3 was back.
    given_up: u64,
    /// Those of them that the index does not know of yet.
    holes: BTreeSet<SegmentKey>,
    /// Something has changed that the index tells, apart from segments.
    dirty: bool,
    /// Nobody adds anything any more.
    closing: bool,
    tally: Tally,
    /// How long media objects took, until somebody asks.
    times: Vec<Duration>,
}

/// What the index tells of a channel apart from its segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ChannelRecord {
    pub(super) format: Option<StoredFormat>,
    pub(super) runs: BTreeMap<String, RunRecord>,
    pub(super) live: bool,
    pub(super) cues: Vec<Cue>,
    pub(super) splices: Splices,
    /// Number of the oldest segment that playlists list.
    pub(super) first_k: u64,
}

/// What is counted of the way to S3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Objects that got there.
    pub(super) uploads: u64,
    /// Bytes of them.
    pub(super) uploaded_bytes: u64,
    /// Attempts that failed.
    pub(super) failures: u64,
    /// Segments that were lost before they could be sent.
    pub(super) lost: u64,
    /// What is wrong now, in words; `None` if nothing is.
    pub(super) trouble: Option<String>,
}

/// Whole numbers to be sent, in order, and what the index is to say with them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) channel: ChannelRecord,
    pub(super) numbers: Vec<(u64, Vec<SegmentRecord>)>,
    /// Segments that were given up.
    pub(super) holes: Vec<SegmentKey>,
}

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Waiting {
    /// Segments of all renditions.
    pub(super) segments: u64,
    pub(super) bytes: u64,
    /// End of the oldest, in milliseconds since the epoch; `None` if nothing waits.
    pub(super) oldest_ms: Option<i64>,
    pub(super) given_up: u64,
    pub(super) tally: Tally,
}

impl Outbox {
    /// What a journal says.
    pub(super) fn of(state: &State) -> Self {
        let mut inner = Inner {
            channel: ChannelRecord {
                format: state.format.clone(),
                runs: state.runs.clone(),
                live: state.live,
                cues: state.cues.clone(),
                splices: state.splices.clone(),
                first_k: 0,
            },
            drained: state.drained,
            // What the journal remembers may be newer than what S3 was told.
            dirty: state.format.is_some() && !state.runs.is_empty(),
            ..Inner::default()
        };
        for segment in state.segments.records() {
            if Some(segment.key.k) > state.drained {
                inner.add(segment);
            }
        }
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what is written into the journal.
    pub(super) fn note(&self, record: &Record) {
        self.lock().note(record);
        self.changed.notify_one();
    }

    /// Takes note of the oldest number that playlists list.
    pub(super) fn window_from(&self, k: u64) {
        let mut inner = self.lock();
        if k > inner.channel.first_k {
            inner.channel.first_k = k;
            // Of a channel that is on the air the next number tells it.
            inner.dirty |= !inner.channel.live;
            self.changed.notify_one();
        }
    }

    /// Says that nobody adds anything any more.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// The next numbers that are ready, `most` at the most; waits for one, or for something else to
    /// tell. `None` when nothing is left and nobody adds anything.
    pub(super) async fn batch(&self, most: usize) -> Option<Batch> {
        loop {
            {
                let mut inner = self.lock();
                let numbers = inner.ready(most);
                if !numbers.is_empty() || inner.dirty {
                    inner.dirty = false;
                    let holes = std::mem::take(&mut inner.holes).into_iter().collect();
                    return Some(Batch { channel: inner.channel.clone(), numbers, holes });
                }
                if inner.closing {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// S3 has this number and everything before it, and its index says so.
    pub(super) fn drained(&self, k: u64) {
        let mut inner = self.lock();
        let left = inner.waiting.split_off(&k.saturating_add(1));
        let gone = std::mem::replace(&mut inner.waiting, left);
        let bytes: u64 = gone.values().flatten().map(|segment| segment.closed.parts.bytes()).sum();
        inner.bytes = inner.bytes.saturating_sub(bytes);
        inner.drained = inner.drained.max(Some(k));
    }

    /// Forgets what S3 has already, as its index says.
    pub(super) fn reconcile(&self, last_k: Option<u64>, has: impl Fn(&SegmentRecord) -> bool) {
        let mut inner = self.lock();
        let mut gone = 0u64;
        for segments in inner.waiting.values_mut() {
            segments.retain(|segment| {
                let there = has(segment);
                gone = gone.saturating_add(if there { segment.closed.parts.bytes() } else { 0 });
                !there
            });
        }
        inner.waiting.retain(|_, segments| !segments.is_empty());
        inner.bytes = inner.bytes.saturating_sub(gone);
        let next = inner.waiting.keys().next().copied();
        let there = next.map_or(last_k, |next| last_k.min(next.checked_sub(1)));
        inner.drained = inner.drained.max(there);
    }

    /// Up to which number S3 has everything.
    pub(super) fn position(&self) -> Option<u64> {
        self.lock().drained
    }

    /// Whether the spool may delete a segment of this number.
    pub(super) fn may_leave(&self, k: u64) -> bool {
        !self.lock().waiting.contains_key(&k)
    }

    /// Gives up a segment that could not be kept until S3 took it. Its number stays, as a gap: numbers
    /// have no hole.
    pub(super) fn give_up(&self, run: &RunId, rendition: &Name, k: u64) {
        let mut inner = self.lock();
        let waiting = inner.waiting.get_mut(&k);
        let is_it = |segment: &&mut SegmentRecord| {
            segment.key.run == run.as_str() && segment.key.rendition == rendition.as_str()
        };
        let Some(segment) = waiting.and_then(|waiting| waiting.iter_mut().find(is_it)) else {
            return;
        };
        let gone = segment.closed.parts.bytes();
        segment.closed.lose();
        let key = segment.key.clone();
        inner.holes.insert(key);
        inner.bytes = inner.bytes.saturating_sub(gone);
        inner.given_up = inner.given_up.saturating_add(1);
    }

    /// Counts what happened on the way to S3.
    pub(super) fn tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.lock().tally);
    }

    /// Notes how long a media object took.
    pub(super) fn took(&self, time: Duration) {
        let times = &mut self.lock().times;
        if times.len() < MOST_TIMES {
            times.push(time);
        }
    }

    /// Takes how long media objects took.
    pub(super) fn take_times(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().times)
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> Waiting {
        let inner = self.lock();
        let segments = inner.waiting.values().map(|segments| segments.len() as u64).sum();
        let oldest = inner.waiting.values().next();
        let oldest_ms =
            oldest.and_then(|oldest| oldest.iter().filter_map(|s| inner.end_ms(s)).min());
        let (bytes, given_up, tally) = (inner.bytes, inner.given_up, inner.tally.clone());
        Waiting { segments, bytes, oldest_ms, given_up, tally }
    }
}

impl Inner {
    fn add(&mut self, segment: SegmentRecord) {
        self.bytes = self.bytes.saturating_add(segment.closed.parts.bytes());
        self.waiting.entry(segment.key.k).or_default().push(segment);
    }

    fn note(&mut self, record: &Record) {
        let channel = &mut self.channel;
        match record {
            Record::Format(format) => {
                if channel.format.as_ref().is_some_and(|before| before.grid != format.grid) {
                    // Numbers so far are those of another grid: what is there of them stays as it is.
                    channel.runs.clear();
                    channel.cues.clear();
                    self.waiting.clear();
                    (self.bytes, self.drained) = (0, None);
                }
                self.channel.format = Some(format.clone());
            }
            Record::Run(run) => {
                channel.runs.insert(run.id.clone(), run.clone());
                channel.live = true;
            }
            Record::Stretch { run, stretch } => {
                if let Some(run) = channel.runs.get_mut(run) {
                    run.stretches.retain(|before| before.stretch < stretch.stretch);
                    run.stretches.push(stretch.clone());
                }
            }
            Record::Cues(cues) => {
                channel.splices = cues.splices.clone();
                channel.cues.retain(|cue| !cues.gone.contains(&cue.id));
                for cue in &cues.told {
                    match channel.cues.iter_mut().find(|known| known.id == cue.id) {
                        Some(known) => *known = cue.clone(),
                        None => channel.cues.push(cue.clone()),
                    }
                }
                self.dirty = true;
            }
            Record::Ended => {
                channel.live = false;
                self.dirty = true;
            }
            Record::Segment(segment) => self.add(segment.clone()),
            Record::Removed(key) => {
                // Runs of which nothing is listed or waits any more; the newest one's first segment is
                // to come.
                let newest = channel.runs.keys().next_back().cloned();
                let waiting: BTreeSet<_> =
                    self.waiting.values().flatten().map(|s| &s.key.run).collect();
                channel.runs.retain(|id, _| {
                    *id >= key.run || Some(id) == newest.as_ref() || waiting.contains(id)
                });
            }
            Record::Mark { .. } | Record::Boot { .. } | Record::Drained { .. } => {}
        }
    }

    /// The first numbers that are ready.
    fn ready(&self, most: usize) -> Vec<(u64, Vec<SegmentRecord>)> {
        let newest = self.waiting.keys().next_back().copied().unwrap_or(0);
        let is_ready = |(k, segments): &(&u64, &Vec<SegmentRecord>)| {
            let late = newest.saturating_sub(**k) > LAG || self.closing || !self.channel.live;
            late || self.is_whole(segments)
        };
        let ready = self.waiting.iter().take(most).take_while(is_ready);
        ready.map(|(k, segments)| (*k, segments.clone())).collect()
    }

    /// Whether every rendition of its run has closed a number.
    fn is_whole(&self, segments: &[SegmentRecord]) -> bool {
        let Some(run) = segments.iter().map(|segment| &segment.key.run).max() else { return true };
        let Some(run) = self.channel.runs.get(run) else { return true };
        let has = |name: &str| segments.iter().any(|s| s.key.rendition == name);
        run.renditions.iter().all(|rendition| has(&rendition.name))
    }

    fn end_ms(&self, segment: &SegmentRecord) -> Option<i64> {
        self.channel.runs.get(&segment.key.run)?.end_ms(segment)
    }
}

#[cfg(test)]
pub(super) mod tests;
