//! Where one run of a channel ends and the next begins.
//!
//! An encoder with the init segments of the run on the air goes on in it; any other begins a run of its
//! own, above every number that was used, and the run before it is completed up to there. What manifests
//! have promised of that beyond its end is made in filler and kept for a while.

use std::sync::Arc;
use std::time::Instant;

use packager::media::{Rendition, RunId};
use packager::segmenter::{Output, SourceSegmenter};
use packager::time::{Span, Timestamp};
use packager::timeline::{Beginning, Lengths, Promise, Timeline};

use super::{Current, Error, Packaging};
use crate::channel::cutting::{Begin, Cutting};
use crate::store::{StoredFormat, StoredRendition};

/// How long an MPD may be acted upon after the one with the next run is there: twice the time after
/// which players read it again and a cache may have kept it.
const PROMISED: Span = Span::millis(2 * (2_000 + 1_000));
/// How many segments more a run's manifests promise: they go on until the next run's first segment is
/// listed, and announce one before it is whole.
const PROMISED_AHEAD: u64 = 2;

/// A run that has been announced while another is on the air.
#[derive(Debug)]
pub(super) struct Coming {
    renditions: Arc<[Rendition]>,
    begin: Begin,
    now_millis: u64,
}

/// What an encoder's start means for the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Begun {
    /// A new run.
    New,
    /// The run on the air goes on: its init segments are the same.
    Resumed,
}

impl Packaging {
    /// Takes the samples of another encoder from now on, whose first segment is `first_k`, at
    /// `now_millis` since the epoch. With the init segments of the run on the air it goes on in that
    /// run, wherever filler has got to. Otherwise a new run begins: at once if there is none, else
    /// with its first sample, filler completing the old one until then.
    ///
    /// # Errors
    /// [`Error::UsedNumber`].
    pub(in crate::channel) async fn begin(
        &mut self,
        renditions: Arc<[Rendition]>,
        first_k: u64,
        now_millis: u64,
    ) -> Result<Begun, Error> {
        if self.is_run_of(&renditions)
            && let Some(current) = &mut self.current
        {
            current.segmenter.expect();
            return Ok(Begun::Resumed);
        }
        let next_k = self.next_k();
        if first_k < next_k {
            return Err(Error::UsedNumber { first_k, next_k });
        }
        let coming = Coming { renditions, begin: Begin::Grid { first_k }, now_millis };
        if self.current.is_some() {
            self.coming = Some(coming);
        } else {
            self.begin_run(coming).await;
        }
        Ok(Begun::New)
    }

    /// Begins a run of a source's own samples, not before [`Self::source_end`]. Filler completes the run
    /// on the air up to there. `encoded`: an encoder of ours makes them, in its own time at first.
    pub(in crate::channel) async fn begin_source(
        &mut self,
        renditions: Arc<[Rendition]>,
        begin: Begin,
        encoded: bool,
        now_millis: u64,
    ) {
        self.begin_run(Coming { renditions, begin, now_millis }).await;
        // Otherwise there is nothing to catch up with: a source's samples come when they come.
        let fresh = self.snapshots.borrow().is_none();
        if let Some(current) = &mut self.current {
            (current.catching_up, current.unseen) = (encoded, encoded && fresh);
        }
    }

    /// Says that another source is there, whose run is to begin.
    pub(in crate::channel) fn expect_source(&mut self) {
        if let Some(current) = &mut self.current {
            current.segmenter.expect();
        }
    }

    /// Whether the run on the air has these init segments, so that it can go on with them.
    pub(in crate::channel) fn is_run_of(&self, renditions: &[Rendition]) -> bool {
        self.current.as_ref().is_some_and(|current| {
            renditions.iter().map(packager::cmaf::init).eq(current.run.inits.iter().cloned())
        })
    }

    /// Where the samples of the source's run on the air end.
    pub(in crate::channel) fn source_end(&self) -> Option<Timestamp> {
        match &self.current.as_ref()?.segmenter {
            Cutting::Source(segmenter) => segmenter.end(),
            Cutting::Grid(_) => None,
        }
    }

    /// The segmenter of the source's run on the air, for where its renditions are.
    pub(in crate::channel) fn source_segmenter(&self) -> Option<&SourceSegmenter> {
        match &self.current.as_ref()?.segmenter {
            Cutting::Source(segmenter) => Some(segmenter),
            Cutting::Grid(_) => None,
        }
    }

    pub(super) async fn begin_run(&mut self, coming: Coming) {
        let Coming { renditions, begin, now_millis } = coming;
        if let Begin::Grid { first_k } = begin {
            self.clear_way_for_run(first_k).await;
        }
        let promise = self.take_over(begin).await;
        // Ids sort by time and are never used twice, also when a worker dies within a millisecond
        // or the clock was set back while the server was down.
        self.last_run_millis = now_millis.max(self.last_run_millis + 1);
        let id = RunId::from_millis(self.last_run_millis);
        // Another ladder can't share a playlist with the one before: a fresh window then. A source may
        // come back otherwise than it was; its two renditions are what they are.
        let same = self.snapshots.borrow().as_ref().is_some_and(|s| match begin {
            // What players have read of it once.
            Begin::Grid { .. } => {
                let promised =
                    |all: &[Rendition]| all.iter().map(StoredRendition::from).collect::<Vec<_>>();
                promised(&s.renditions) == promised(&renditions)
            }
            Begin::Source { .. } => {
                let names =
                    |all: &[Rendition]| all.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
                names(&s.renditions) == names(&renditions)
            }
        });
        if same {
            self.give_up_lost(begin).await;
        } else {
            self.forget_window();
        }
        let grid = self.format.grid;
        let (first_k, start, lengths) = match begin {
            Begin::Grid { first_k } => (first_k, grid.boundary(first_k), Lengths::Even),
            // The grid's number where the window is fresh, else the next one.
            Begin::Source { at, lengths, .. } if same => (self.next_k(), at, lengths),
            Begin::Source { at, lengths, .. } => {
                (self.next_k().max(grid.number_at(at)), at, lengths)
            }
        };
        let mut segmenter = Cutting::new(grid, &renditions, first_k, begin);
        segmenter.follow(self.breaks.splices());
        self.telling.announce(&mut segmenter, self.breaks.cues());
        let mut inits = Vec::with_capacity(renditions.len());
        while inits.len() < renditions.len()
            && let Some(Output::Init { bytes, .. }) = segmenter.poll()
        {
            inits.push(bytes);
        }
        let fresh = self.timeline.is_none();
        let timeline = self.timeline.get_or_insert_with(|| {
            Timeline::new(
                Arc::clone(&self.format),
                Arc::clone(&renditions),
                self.last_discontinuity,
            )
        });
        let beginning = self.telling.beginning(Beginning { first_k, start, lengths });
        let run = timeline.begin_run_at(id, beginning, Arc::clone(&renditions), inits);
        if let Some(promise) = &promise {
            timeline.promise(promise.clone());
        }
        self.last_discontinuity = Some(run.discontinuity);
        self.tell_cues();
        self.remember_format(&renditions).await;
        if fresh {
            self.store.begin_window(&run, &renditions).await;
        } else {
            self.store.begin_run(&run, &renditions).await;
        }
        if let Some(promise) = &promise {
            self.store.promise(promise).await;
        }
        let stretch = Arc::clone(&run);
        let current = self.writing(run, stretch, renditions, segmenter);
        self.current = Some(Current { catching_up: true, ..current });
    }

    /// Ends the run on the air where another one begins, and keeps what its manifests promised beyond
    /// that: some player has read the last of them just now.
    async fn take_over(&mut self, begin: Begin) -> Option<Promise> {
        if let Begin::Source { at, .. } = begin {
            self.fill_until(Timestamp::new(at, self.format.grid.video_scale())).await;
        }
        let next_k = self.next_k();
        let mut current = self.current.take()?;
        let first_k = current.segmenter.end(&self.format.grid, begin, next_k);
        self.current = Some(current);
        self.drain(Instant::now()).await;
        let mut current = self.current.take()?;
        let count = self.format.grid.segments_in(PROMISED) + PROMISED_AHEAD;
        let numbers = first_k..first_k + count;
        current.segmenter.fill_before(numbers.end);
        let mut chunks = Vec::new();
        while let Some(output) = current.segmenter.poll() {
            match output {
                Output::Init { .. }
                | Output::Spliced { .. }
                | Output::Shifted(_)
                | Output::Off { .. } => {}
                Output::Chunk(part) => chunks.push(part),
                Output::SegmentClosed { rendition, k } => {
                    let end = chunks.last().map_or(0, |p| p.start + i64::from(p.duration));
                    let parts = std::mem::take(&mut chunks).into_iter().map(|p| p.chunk).collect();
                    self.store.keep(&current.run.id, rendition, k, parts, end);
                    self.store.remove(&current.run.id, rendition, k);
                }
            }
        }
        Some(Promise { run: current.run.id.clone(), numbers })
    }

    /// Whether a run is on the air, which another encoder may go on with.
    pub(in crate::channel) fn is_on_air(&self) -> bool {
        self.current.is_some()
    }

    /// Stores what players may rely on from now on, if it is new.
    pub(super) async fn remember_format(&mut self, renditions: &[Rendition]) {
        let format = StoredFormat {
            grid: self.format.grid,
            publish_delay: self.format.publish_delay,
            window: self.format.window,
            wishes: self.wishes.clone(),
            renditions: renditions.iter().map(StoredRendition::from).collect(),
        };
        if self.stored.as_ref() != Some(&format) {
            self.stored = Some(format.clone());
            self.store.fix_format(format).await;
        }
    }
}
