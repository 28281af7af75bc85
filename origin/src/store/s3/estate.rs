//! What a channel's index in S3 leaves to a primary that has nothing of the channel itself: the machine
//! that made it is gone, and another one takes its place.
//!
//! ```text
//! head, pages, init segments (S3) ─► Estate: records of a journal ─► the ordinary recovery
//! ```
//! The heir goes on as if it had made all of that and its own machine had gone down since: the window is
//! listed again under the same names and read from S3, nothing of the run is gone on with, and the next run
//! has higher numbers than the dead one can have listed since S3 heard of it.
//!
//! It is no lock: that the other one is gone is for whoever starts this one to know.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use packager::grid::Cut;
use packager::media::{Name, RunId};
use packager::time::{Rounding, Timescale, Timestamp};
use tokio::task::JoinSet;

use super::bucket::Error;
use super::index::{Head, Page};
use super::keys::Keys;
use super::{FarError, Upstream};
use crate::store::journal::{CuesRecord, Record, RunRecord, SegmentRecord};

/// How long asking whether there is anything may take.
const WITHIN: Duration = Duration::from_secs(4);
/// How long all of it may take, per channel: a window of a day has 700 pages.
const ALL_WITHIN: Duration = Duration::from_secs(120);

/// Pages that are read side by side.
const AT_ONCE: usize = 8;
/// How often an object is asked for that is not given.
const TRIES: u32 = 3;

/// What is left of a channel.
#[derive(Debug)]
pub(in crate::store) struct Estate {
    /// What the journal of the machine that is gone said, as far as S3 has heard.
    pub(in crate::store) records: Vec<Record>,
    /// The init segments of its runs.
    pub(in crate::store) inits: Vec<(RunId, Vec<(Name, Bytes)>)>,
}

impl Upstream {
    /// What S3 has of a channel that this machine has nothing of; `None` if nobody has ever made it. Blocks.
    ///
    /// # Errors
    /// S3 gives nothing. It is not asked for the next channel's then: a server must come up without it.
    pub(in crate::store) fn estate(
        self: &Arc<Self>,
        keys: &Keys,
    ) -> Result<Option<Estate>, FarError> {
        if self.gives_no_estate.load(Ordering::Relaxed) {
            return Err(FarError::Trouble("it did not answer for another channel".to_owned()));
        }
        let (told, heard) = std::sync::mpsc::sync_channel(1);
        let (upstream, keys) = (Arc::clone(self), keys.clone());
        let reading = self.handle.spawn(async move {
            let read = upstream.read_estate(&keys).await;
            // Whoever asked may have had enough of waiting.
            let _ = told.send(read);
        });
        let read = heard.recv_timeout(ALL_WITHIN);
        reading.abort();
        let read = read.unwrap_or_else(|error| Err(FarError::Trouble(error.to_string())));
        if read.is_err() {
            self.gives_no_estate.store(true, Ordering::Relaxed);
        }
        read
    }

    async fn read_estate(self: &Arc<Self>, keys: &Keys) -> Result<Option<Estate>, FarError> {
        let head = match self.bucket.get(&keys.head(), None, WITHIN).await {
            Ok(object) => Head::read(&object.bytes),
            Err(Error::Missing) => return Ok(None),
            Err(error) => return Err(FarError::Trouble(error.to_string())),
        };
        let unreadable = |error: super::index::Unreadable| FarError::Trouble(error.to_string());
        let head = head.map_err(unreadable)?;
        let pages =
            head.listed_pages().filter_map(|page| Some(keys.page(&page.run()?, page.first_k)));
        let pages: Vec<_> = pages.collect();
        let mut segments = Vec::new();
        for keys in pages.chunks(AT_ONCE) {
            let mut reading = JoinSet::new();
            for key in keys.iter().cloned() {
                let upstream = Arc::clone(self);
                reading.spawn(async move { upstream.read_object(&key).await });
            }
            while let Some(read) = reading.join_next().await {
                let bytes = read.map_err(|error| FarError::Trouble(error.to_string()))??;
                segments.extend(Page::read(&bytes).map_err(unreadable)?.segments);
            }
        }
        segments.extend(head.recent.iter().cloned());
        segments.retain(|segment| segment.key.k >= head.first_k);
        let mut inits = Vec::new();
        for run in &head.runs {
            if let Some(found) = self.inits_of(keys, run).await? {
                inits.push(found);
            }
        }
        let records = records(&head, &segments, self.now_ms());
        Ok(records.map(|records| Estate { records, inits }))
    }

    /// An object that is wanted once, and so does not go through the cache.
    async fn read_object(&self, key: &str) -> Result<Bytes, FarError> {
        let mut last = FarError::Missing;
        for _ in 0..TRIES {
            match self.bucket.get(key, None, WITHIN).await {
                Ok(object) => return Ok(object.bytes),
                Err(Error::Missing) => return Err(FarError::Missing),
                Err(error) => last = FarError::Trouble(error.to_string()),
            }
        }
        Err(last)
    }

    /// The init segments of a run; `None` if it has just begun and none was sent.
    async fn inits_of(
        &self,
        keys: &Keys,
        run: &RunRecord,
    ) -> Result<Option<(RunId, Vec<(Name, Bytes)>)>, FarError> {
        let Some(id) = RunId::parse(&run.id) else { return Ok(None) };
        let mut inits = Vec::new();
        for rendition in &run.renditions {
            let Ok(name) = Name::parse(&rendition.name) else { return Ok(None) };
            match self.read_object(&keys.init(&id, name.as_str())).await {
                Ok(init) => inits.push((name, init)),
                Err(FarError::Missing) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some((id, inits)))
    }
}

/// The records that add up to what a head and its segments say; `None` if no channel ever ran.
fn records(head: &Head, segments: &[SegmentRecord], now_ms: i64) -> Option<Vec<Record>> {
    // What comes of another machine is nothing that this one can go on with.
    let boot = |id: &str| Record::Boot { id: id.to_owned() };
    let mut records = vec![Record::Format(head.format.clone()?), boot("another machine")];
    for run in &head.runs {
        records.push(Record::Run(run.clone()));
        let of_run = segments.iter().filter(|segment| segment.key.run == run.id);
        records.extend(of_run.cloned().map(Record::Segment));
    }
    records.push(boot("its heir"));
    records
        .push(Record::Cues(CuesRecord { splices: head.splices.clone(), ..CuesRecord::default() }));
    records.extend(head.cues.iter().map(|cue| {
        let (splices, told) = (head.splices.clone(), vec![cue.clone()]);
        Record::Cues(CuesRecord { splices, told, gone: Vec::new() })
    }));
    records.extend(head.last_k.map(|k| Record::Drained { k }));
    let (last_k, last_run) =
        (used_k(head, segments, now_ms), head.runs.last().map(|r| r.id.clone()));
    records.push(Record::Mark { last_k, last_discontinuity: None, last_run, live: head.live });
    Some(records)
}

/// The highest number that may have been listed: what S3 has, and what the machine that is gone can have
/// made since then at the most.
fn used_k(head: &Head, segments: &[SegmentRecord], now_ms: i64) -> Option<u64> {
    let (grid, last_k) = (head.format.as_ref()?.grid, head.last_k?);
    if !head.live {
        return Some(last_k);
    }
    let now = Timestamp::new(now_ms, Timescale::MILLIS);
    match grid.cut {
        // Numbers are the clock's.
        Cut::Grid => {
            let now = now.ticks_in(grid.video_scale(), Rounding::Floor);
            Some(last_k.max(grid.number_at(now)))
        }
        // They follow each other, a segment's length apart.
        Cut::Source => {
            let run = |id: &str| head.runs.iter().find(|run| run.id == id);
            let ends = segments.iter().filter_map(|s| run(&s.key.run)?.end_ms(s));
            let since = now_ms.saturating_sub(ends.max()?).max(0).unsigned_abs();
            let segment = grid.segment().ticks_in(Timescale::MILLIS, Rounding::Floor).max(1);
            Some(last_k.saturating_add(since / segment))
        }
    }
}

#[cfg(test)]
mod tests;
