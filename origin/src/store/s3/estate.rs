//! What a channel's index in S3 leaves to a primary that has nothing of the channel itself: the machine
//! that made it is gone, and another one takes its place.
//!
//! ```text
//! head, pages, init segments (S3) ─► Estate: what a journal says ─► the ordinary recovery
//! ```
//! The heir goes on as if it had made all of that and its own machine had gone down since: the window is
//! listed again under the same names and read from S3, nothing of the run is gone on with, and the next run
//! has higher numbers than the dead one can have listed since S3 heard of it (`channel/packaging/lost`). Of a
//! run of which S3 has no segment yet only the numbers are known.
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
use crate::store::journal::{CuesRecord, Record, RunRecord, SegmentRecord, State};

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
    pub(in crate::store) state: State,
    /// The init segments of its runs.
    pub(in crate::store) inits: Vec<(RunId, Vec<(Name, Bytes)>)>,
}

impl Upstream {
    /// What S3 has of a channel that this machine has nothing of; `None` if nobody has ever made it. Blocks.
    ///
    /// # Errors
    /// S3 does not give it. Where it does not answer at all it is not asked for the next channel's: a server
    /// must come up without it.
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
        read.unwrap_or_else(|error| {
            self.gives_no_estate.store(true, Ordering::Relaxed);
            Err(FarError::Trouble(error.to_string()))
        })
    }

    async fn read_estate(self: &Arc<Self>, keys: &Keys) -> Result<Option<Estate>, FarError> {
        let head = match self.bucket.get(&keys.head(), None, WITHIN).await {
            Ok(object) => Head::read(&object.bytes),
            Err(Error::Missing) => return Ok(None),
            Err(error) => {
                self.gives_no_estate.store(true, Ordering::Relaxed);
                return Err(FarError::Trouble(error.to_string()));
            }
        };
        let unreadable = |error: super::index::Unreadable| FarError::Trouble(error.to_string());
        let head = head.map_err(unreadable)?;
        let Some(mut state) = begun(&head) else { return Ok(None) };
        let mut inits = Vec::new();
        for run in &head.runs {
            state.apply(Record::Run(run.clone()));
            let pages = head.listed_pages().filter(|page| page.run == run.id);
            let pages = pages.filter_map(|page| Some(keys.page(&page.run()?, page.first_k)));
            for some in pages.collect::<Vec<_>>().chunks(AT_ONCE) {
                let mut reading = JoinSet::new();
                for key in some {
                    let (upstream, key) = (Arc::clone(self), key.clone());
                    reading.spawn(async move { upstream.read_object(&key).await });
                }
                while let Some(read) = reading.join_next().await {
                    let read = read.map_err(|error| FarError::Trouble(error.to_string()))??;
                    add(&mut state, &head, run, Page::read(&read).map_err(unreadable)?.segments);
                }
            }
            add(&mut state, &head, run, head.recent.iter().cloned());
            inits.extend(self.inits_of(keys, run).await?);
        }
        finish(&mut state, &head, self.now_ms());
        Ok(Some(Estate { state, inits }))
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

/// What a journal says before its first run; `None` if no channel ever ran.
fn begun(head: &Head) -> Option<State> {
    let mut state = State::default();
    state.apply(Record::Format(head.format.clone()?));
    state.apply(boot("another machine"));
    Some(state)
}

fn boot(id: &str) -> Record {
    Record::Boot { id: id.to_owned() }
}

/// Adds those of some segments that are of a run and in the window.
fn add(
    state: &mut State,
    head: &Head,
    run: &RunRecord,
    segments: impl IntoIterator<Item = SegmentRecord>,
) {
    let listed = |s: &SegmentRecord| s.key.run == run.id && s.key.k >= head.first_k;
    segments.into_iter().filter(listed).for_each(|s| state.apply(Record::Segment(s)));
}

/// Adds what a journal says behind its segments.
fn finish(state: &mut State, head: &Head, now_ms: i64) {
    // What comes of another machine is nothing that this one can go on with.
    state.apply(boot("its heir"));
    let (splices, told) = (head.splices.clone(), head.cues.clone());
    state.apply(Record::Cues(CuesRecord { splices, told, gone: Vec::new() }));
    if let Some(k) = head.last_k {
        state.apply(Record::Drained { k });
    }
    let last_run = head.runs.last().map(|run| run.id.clone());
    let (last_k, live) = (used_k(head, now_ms), head.live);
    state.apply(Record::Mark { last_k, last_discontinuity: None, last_run, live });
}

/// The highest number that may have been listed: what S3 has, and what the machine that is gone can have
/// made since then at the most.
fn used_k(head: &Head, now_ms: i64) -> Option<u64> {
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
            let ends = head.recent.iter().filter_map(|s| run(&s.key.run)?.end_ms(s));
            let paged = head.pages.iter().map(|page| page.end_ms);
            let since = now_ms.saturating_sub(ends.chain(paged).max()?).max(0).unsigned_abs();
            let segment = grid.segment().ticks_in(Timescale::MILLIS, Rounding::Floor).max(1);
            Some(last_k.saturating_add(since / segment))
        }
    }
}

#[cfg(test)]
mod tests;
