//! A channel as its index in S3 tells it: what a replica lists.
//!
//! The head is asked for again and again, and answered without a body while nothing is new. Pages and
//! init segments never change and are read once. What comes out has the same runs, segments and part
//! tables that the primary had, and so the same lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packager::media::{Name, Rendition, RunId};
use packager::scte35::Cue;
use packager::timeline::{Lengths, Run, Segment, Track};

use super::bucket::Error;
use super::index::{Head, Page};
use super::keys::Keys;
use super::{FarError, Upstream};
use crate::store::journal::{RunRecord, SegmentRecord, StoredFormat};
use crate::store::recovery;

/// How long asking for the head may take.
const WITHIN: Duration = Duration::from_secs(4);

/// Follows a channel.
#[derive(Debug)]
pub struct Mirror {
    upstream: Arc<Upstream>,
    keys: Keys,
    etag: Option<String>,
    pages: BTreeMap<(String, u64), Page>,
    /// Manifests are to name each segment, since none can be had before it is listed.
    naming: bool,
}

/// A channel's timeline as S3 has it.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// What never changes.
    pub format: StoredFormat,
    /// The newest run's stretches, oldest first; at least one.
    pub stretches: Vec<Arc<Run>>,
    /// The segments of each rendition from the oldest on that the primary listed.
    pub tracks: Vec<Track>,
    /// The cues that are not over for good.
    pub cues: Vec<Cue>,
    /// Whether the channel has ended.
    pub ended: bool,
}

impl Mirror {
    pub(in crate::store) fn new(upstream: Arc<Upstream>, keys: Keys) -> Self {
        Self { upstream, keys, etag: None, pages: BTreeMap::new(), naming: false }
    }

    /// The same for manifests that name each segment: who computes names from the clock would ask a
    /// bucket for what is not there yet.
    #[must_use]
    pub fn naming(self) -> Self {
        Self { naming: true, ..self }
    }

    /// The channel as it is now; `None` if nothing is new since the last look that gave something.
    ///
    /// # Errors
    /// S3 does not have it, or gives nothing.
    pub async fn look(&mut self) -> Result<Option<Mirrored>, FarError> {
        let (bucket, key) = (Arc::clone(&self.upstream.bucket), self.keys.head());
        let etag = self.etag.clone();
        let asked = self
            .upstream
            .handle
            .spawn(async move { bucket.get(&key, etag.as_deref(), WITHIN).await });
        let object = match asked.await {
            Ok(Ok(object)) => object,
            Ok(Err(Error::Unchanged)) => return Ok(None),
            Ok(Err(Error::Missing)) => return Err(FarError::Missing),
            Ok(Err(error)) => return Err(FarError::Trouble(error.to_string())),
            Err(error) => return Err(FarError::Trouble(error.to_string())),
        };
        let head = Head::read(&object.bytes).map_err(|e| FarError::Trouble(e.to_string()))?;
        let mirrored = self.assemble(&head).await?;
        // Only what has been read whole is not read again.
        self.etag = object.etag;
        Ok(mirrored)
    }

    /// Reads what a head names; `None` if nothing of that can be played yet.
    async fn assemble(&mut self, head: &Head) -> Result<Option<Mirrored>, FarError> {
        let Some(format) = head.format.clone() else { return Ok(None) };
        self.read_pages(head).await?;
        let fresh = head.runs.iter().rposition(|run| run.fresh).unwrap_or(0);
        let mut listed = Vec::new();
        for record in head.runs.iter().skip(fresh) {
            listed.push(self.run(head, record).await?);
        }
        // Of a run that a rendition has nothing of yet, nothing was listed.
        let Some(newest) = listed.iter().rposition(Listed::is_whole) else {
            // One that has ended and left the air, or one that is about to begin.
            return if head.live { Ok(None) } else { Err(FarError::Missing) };
        };
        let Some((newest, older)) = listed.get(..=newest).and_then(|runs| runs.split_last()) else {
            return Ok(None);
        };
        let same: Vec<_> =
            older.iter().filter(|run| run.names() == newest.names()).chain([newest]).collect();
        let track = |index: usize| Track {
            segments: same
                .iter()
                .filter_map(|run| run.tracks.get(index))
                .flatten()
                .cloned()
                .collect(),
            open: None,
        };
        let tracks = (0..newest.tracks.len()).map(track).collect();
        let (stretches, cues, ended) = (newest.stretches.clone(), head.cues.clone(), !head.live);
        Ok(Some(Mirrored { format, stretches, tracks, cues, ended }))
    }

    /// Reads the pages that the window stands in, and forgets the others.
    async fn read_pages(&mut self, head: &Head) -> Result<(), FarError> {
        let wanted: Vec<_> = head.listed_pages().cloned().collect();
        self.pages.retain(|(run, k), _| wanted.iter().any(|p| p.run == *run && p.first_k == *k));
        for page in wanted {
            let at = (page.run.clone(), page.first_k);
            let Some(run) = page.run().filter(|_| !self.pages.contains_key(&at)) else { continue };
            let bytes = self.upstream.fetch(self.keys.page(&run, page.first_k)).await?;
            let read = Page::read(&bytes).map_err(|error| FarError::Trouble(error.to_string()))?;
            self.pages.insert(at, read);
        }
        Ok(())
    }

    /// A run with what is listed of it.
    async fn run(&self, head: &Head, record: &RunRecord) -> Result<Listed, FarError> {
        let unreadable = || FarError::Trouble(format!("run {} can't be read", record.id));
        let id = RunId::parse(&record.id).ok_or_else(unreadable)?;
        let (mut renditions, mut inits) = (Vec::new(), Vec::<Bytes>::new());
        for stored in &record.renditions {
            let name = Name::parse(&stored.name).map_err(|_| unreadable())?;
            let init = match self.upstream.fetch(self.keys.init(&id, name.as_str())).await {
                // A run that has just begun, of which nothing was sent.
                Err(FarError::Missing) => return Ok(Listed::default()),
                init => init?,
            };
            renditions.push(recovery::rendition(stored, name, &init).ok_or_else(unreadable)?);
            inits.push(init);
        }
        let renditions: Arc<[Rendition]> = renditions.into();
        let stretches: Vec<_> = record
            .stretches
            .iter()
            .map(|stretch| {
                let mut run = stretch.run(&id, record.discontinuity, &renditions, &inits);
                if self.naming {
                    run.lengths = Lengths::Uneven;
                }
                Arc::new(run)
            })
            .collect();
        let paged = self.pages.values().flat_map(|page| &page.segments);
        let records = paged.chain(&head.recent).filter(|s| s.key.run == record.id);
        let records = records.filter(|segment| segment.key.k >= head.first_k);
        let mut tracks = vec![BTreeMap::new(); renditions.len()];
        for segment in records {
            let named = |r: &Rendition| r.name.as_str() == segment.key.rendition;
            let index = renditions.iter().position(named);
            let Some(track) = index.and_then(|index| tracks.get_mut(index)) else { continue };
            if let Some(run) = stretch_of(&stretches, segment) {
                track.insert(segment.key.k, segment.closed.segment(segment.key.k, run));
            }
        }
        let tracks = tracks.into_iter().map(|track| track.into_values().collect()).collect();
        Ok(Listed { stretches, tracks })
    }
}

/// The stretch that a segment belongs to.
fn stretch_of(stretches: &[Arc<Run>], segment: &SegmentRecord) -> Option<Arc<Run>> {
    let behind = stretches.partition_point(|run| run.first_k <= segment.key.k);
    stretches.get(behind.saturating_sub(1)).cloned()
}

/// A run and its segments.
#[derive(Debug, Default)]
struct Listed {
    stretches: Vec<Arc<Run>>,
    tracks: Vec<Vec<Segment>>,
}

impl Listed {
    fn is_whole(&self) -> bool {
        let has = |track: &Vec<Segment>| track.iter().any(|segment| segment.has_media());
        !self.tracks.is_empty() && !self.stretches.is_empty() && self.tracks.iter().all(has)
    }

    fn names(&self) -> Vec<&Name> {
        let run = self.stretches.first();
        run.iter().flat_map(|run| run.renditions.iter()).map(|r| &r.name).collect()
    }
}
