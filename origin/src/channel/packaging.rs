//! From coded samples to listed segments: one session of a channel's packaging.
//!
//! Owns the segmenter of the current run and the channel's timeline, and keeps their order: the
//! bytes of a part go to the store first, then the part is listed, then a new snapshot is
//! published. So whatever a snapshot names can be fetched.
//!
//! A run that has begun never stops by itself: what an encoder does not deliver in time is filled
//! ([`Packaging::fill`], when [`Packaging::fill_at`] says so), until an encoder with the same init
//! segments goes on in it, or another run begins at a boundary and takes over there.
//!
//! Knows nothing of sources and workers.

use std::sync::Arc;
use std::time::Instant;

use packager::media::{Rendition, RunId, Sample};
use packager::scte35::Cue;
use packager::scte35::breaks::Breaks;
use packager::segmenter::{self, Output, PartChunk, SourceSegmenter};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Beginning, Format, Lengths, Part, Promise, Run, Snapshot, Timeline};
use tokio::sync::watch;

use super::cutting::{Begin, Cutting};
use super::making;
use super::stages::Publishing;
use crate::config;
use crate::store::{ChannelStore, Left, StoredFormat, StoredRendition};
use crate::telemetry::metrics::{ChannelMetrics, RenditionMetrics};

mod cues;
use cues::Telling;
pub(super) use cues::When;

/// How long an encoder may take to make what lies before its start, in nanoseconds: as long as it may
/// take to begin. Filler completes the rest, or a channel whose machine is too slow would never begin.
const CATCHES_UP_WITHIN: i64 = 10_000_000_000;

/// How long an MPD may be acted upon after the one with the next run is there: twice the time after
/// which players read it again and a cache may have kept it (DESIGN §4).
const PROMISED: Span = Span::millis(2 * (2_000 + 1_000));
/// How many segments more a run's manifests promise: they go on until the next run's first segment is
/// listed, and announce one before it is whole.
const PROMISED_AHEAD: u64 = 2;

/// Packages what a channel's encoder makes.
#[derive(Debug)]
pub(super) struct Packaging {
    format: Arc<Format>,
    /// The rungs the operator wished for.
    wishes: Vec<String>,
    store: Arc<ChannelStore>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    metrics: ChannelMetrics,
    timeline: Option<Timeline>,
    current: Option<Current>,
    /// How cues are told.
    telling: Telling,
    /// Cues, and where they cut.
    breaks: Breaks,
    /// The cues as they were last stored.
    told: Vec<Cue>,
    /// A run that takes over with its first sample.
    coming: Option<Coming>,
    last_discontinuity: Option<u64>,
    last_k: Option<u64>,
    last_run_millis: u64,
    /// The format as it was last stored.
    stored: Option<StoredFormat>,
    publishing: Publishing,
}

/// The run being written.
#[derive(Debug)]
struct Current {
    run: Arc<Run>,
    /// Its newest stretch.
    stretch: Arc<Run>,
    renditions: Arc<[Rendition]>,
    segmenter: Cutting,
    metrics: Vec<RenditionMetrics>,
    /// When the first sample of each picture's open part came.
    opened: Vec<Option<Instant>>,
    /// Whether the encoder still makes what lies before its start, as fast as it can.
    catching_up: bool,
    /// When it counts as caught up in any case.
    caught_up_by: Option<Timestamp>,
    /// Whether nobody is shown anything before it has caught up: a manifest implies what is not there.
    unseen: bool,
}

impl Current {
    /// Ticks per second of a rendition.
    fn scale(&self, rendition: usize) -> f64 {
        let scale = self.renditions.get(rendition).map(|r| r.track.timescale);
        f64::from(scale.unwrap_or(Timescale::MILLIS).get())
    }
}

/// A run that has been announced while another is on the air.
#[derive(Debug)]
struct Coming {
    renditions: Arc<[Rendition]>,
    begin: Begin,
    now_millis: u64,
}

/// What an encoder's start means for the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// A new run.
    New,
    /// The run on the air goes on: its init segments are the same.
    Resumed,
}

/// Why a sample could not be packaged. The run can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Error {
    /// No run has begun.
    #[error("a sample came before its run began")]
    NoRun,
    /// The run would use numbers again.
    #[error("the run begins at segment {first_k}, and segments below {next_k} are used")]
    UsedNumber {
        /// Where it would begin.
        first_k: u64,
        /// The lowest number that is free.
        next_k: u64,
    },
    /// The sample does not fit the run.
    #[error(transparent)]
    Segmenter(#[from] segmenter::Error),
}

impl Packaging {
    pub(super) fn new(
        format: Arc<Format>,
        wishes: Vec<String>,
        store: Arc<ChannelStore>,
        snapshots: watch::Sender<Option<Arc<Snapshot>>>,
        metrics: ChannelMetrics,
        cues: &config::Cues,
    ) -> Self {
        let recovered = store.recovered();
        let last_k = making::last_k(recovered, &format.grid);
        if last_k != recovered.last_k {
            tracing::warn!(
                before = recovered.last_k,
                now = last_k,
                "segments have another length than before: their numbers begin anew, and players reload"
            );
        }
        let grid = format.grid;
        let same = recovered.format.as_ref().is_some_and(|format| format.grid == grid);
        let (told, splices) = (recovered.cues.clone(), recovered.splices.clone());
        let breaks = match same {
            true => Breaks::restore(grid, cues.max_break, splices, told.clone()),
            false => Breaks::new(grid, cues.max_break),
        };
        Self {
            telling: Telling::of(cues),
            breaks,
            told,
            format,
            wishes,
            snapshots,
            metrics,
            timeline: None,
            current: None,
            coming: None,
            last_discontinuity: recovered.last_discontinuity,
            last_k,
            last_run_millis: recovered.last_run.as_ref().map_or(0, RunId::millis),
            stored: recovered.format.clone(),
            publishing: Publishing::default(),
            store,
        }
    }

    /// The smallest number a new run may begin with: above all that was ever listed or opened, and
    /// never 0 (players skip blocking reloads at sequence number 0).
    pub(super) fn next_k(&self) -> u64 {
        let listed = self.timeline.as_ref().map_or(0, Timeline::next_k);
        listed.max(self.last_k.map_or(1, |k| k.saturating_add(1)))
    }

    /// Goes on with what an earlier process left of the timeline, as if its encoder had been lost when
    /// that died: [`Self::fill`] does the rest. Nothing is published before that.
    pub(super) async fn restore(&mut self, left: &Left) {
        let (Some(run), Some(stretch)) = (left.stretches.first().cloned(), left.run().cloned())
        else {
            return;
        };
        self.store.resume(left).await;
        let format = Arc::clone(&self.format);
        let mut timeline = Timeline::restore(format, left.stretches.clone(), left.tracks.clone());
        if let Some(promise) = left.promise.clone() {
            timeline.promise(promise);
        }
        self.timeline = Some(timeline);
        self.tell_cues();
        self.remember_format(&run.renditions).await;
        if left.ended || left.machine_went_down {
            return;
        }
        let renditions = Arc::clone(&run.renditions);
        let mut segmenter = Cutting::resume(self.format.grid, self.breaks.splices(), left);
        self.telling.announce(&mut segmenter, self.breaks.cues());
        self.current = Some(self.writing(run, stretch, renditions, segmenter));
    }

    /// A run that is being written, by an encoder that has nothing to catch up with.
    fn writing(
        &self,
        run: Arc<Run>,
        stretch: Arc<Run>,
        renditions: Arc<[Rendition]>,
        segmenter: Cutting,
    ) -> Current {
        let metrics = renditions.iter().map(|r| self.metrics.rendition(r.name.as_str())).collect();
        let pictures = renditions.iter().filter(|r| r.video().is_some()).count();
        let opened = vec![None; pictures];
        Current {
            run,
            stretch,
            renditions,
            segmenter,
            metrics,
            opened,
            catching_up: false,
            caught_up_by: None,
            unseen: false,
        }
    }

    /// Publishes the timeline as it is.
    pub(super) fn publish(&mut self) {
        if let Some(timeline) = &mut self.timeline {
            self.snapshots.send_replace(Some(timeline.snapshot()));
        }
    }

    /// Takes the samples of another encoder from now on, whose first segment is `first_k`, at
    /// `now_millis` since the epoch. With the init segments of the run on the air it goes on in that
    /// run, wherever filler has got to. Otherwise a new run begins: at once if there is none, else
    /// with its first sample, filler completing the old one until then.
    ///
    /// # Errors
    /// [`Error::UsedNumber`].
    pub(super) async fn begin(
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
    pub(super) async fn begin_source(
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
    pub(super) fn expect_source(&mut self) {
        if let Some(current) = &mut self.current {
            current.segmenter.expect();
        }
    }

    /// Whether the run on the air has these init segments, so that it can go on with them.
    pub(super) fn is_run_of(&self, renditions: &[Rendition]) -> bool {
        self.current.as_ref().is_some_and(|current| {
            renditions.iter().map(packager::cmaf::init).eq(current.run.inits.iter().cloned())
        })
    }

    /// Where the samples of the source's run on the air end.
    pub(super) fn source_end(&self) -> Option<Timestamp> {
        match &self.current.as_ref()?.segmenter {
            Cutting::Source(segmenter) => segmenter.end(),
            Cutting::Grid(_) => None,
        }
    }

    /// The segmenter of the source's run on the air, for where its renditions are.
    pub(super) fn source_segmenter(&self) -> Option<&SourceSegmenter> {
        match &self.current.as_ref()?.segmenter {
            Cutting::Source(segmenter) => Some(segmenter),
            Cutting::Grid(_) => None,
        }
    }

    async fn begin_run(&mut self, coming: Coming) {
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
        if !same {
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

    /// Notes that the encoder is gone. The run goes on with filler.
    pub(super) fn lose_encoder(&mut self) {
        self.coming = None;
        if let Some(current) = &mut self.current {
            current.segmenter.lose();
            current.catching_up = false;
        }
    }

    /// Notes that the encoder does not make a rendition from the boundary at `at` on, in video ticks, or
    /// makes it again from there on.
    pub(super) fn switch(&mut self, rendition: usize, on: bool, at: i64) {
        let Some(current) = &mut self.current else { return };
        if on {
            current.segmenter.switch_on(rendition);
        } else {
            current.segmenter.switch_off(rendition, at);
            // What it was behind with may never come, and every rendition would wait for it.
            current.catching_up = false;
        }
    }

    /// Whether a run is on the air, which another encoder may go on with.
    pub(super) fn is_on_air(&self) -> bool {
        self.current.is_some()
    }

    /// When [`Self::fill`] has to be called, unless a sample comes before.
    pub(super) fn fill_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let patience = self.patience();
        let current = self.current.as_mut()?;
        let due = current.segmenter.due(patience)?;
        if current.catching_up {
            let latest =
                Timestamp::new(nanos(now).saturating_add(CATCHES_UP_WITHIN), Timescale::NANOS);
            let by = *current.caught_up_by.get_or_insert(latest);
            current.catching_up = nanos(due) <= nanos(now) && nanos(now) < nanos(by);
        }
        (!current.catching_up).then_some(due)
    }

    /// Completes with filler what should be there at `now`. Gives the rungs whose encoder is alive and
    /// should make a key frame for them, and from when on in video ticks.
    pub(super) async fn fill(&mut self, now: Timestamp) -> Vec<(usize, i64)> {
        if self.current.as_ref().is_none_or(|current| current.catching_up) {
            return Vec::new();
        }
        self.fill_until(now).await;
        self.current.as_ref().map_or_else(Vec::new, |current| current.segmenter.overtaken())
    }

    /// Makes filler until none is due at `now`. Of a long time it is stored piece by piece, and shown when
    /// all is there.
    async fn fill_until(&mut self, now: Timestamp) {
        let (patience, began) = (self.patience(), Instant::now());
        let (mut before, mut all) = (None, Made::default());
        while let Some(current) = &mut self.current
            && let Some(due) = current.segmenter.due(patience).map(nanos)
            // What can't be filled is due for ever.
            && due <= nanos(now) && before < Some(due)
        {
            before = Some(due);
            current.segmenter.fill(now, patience);
            let made = self.store_ready(began).await;
            all = Made { changed: all.changed | made.changed, parts: all.parts + made.parts };
        }
        self.show(all, began).await;
    }

    /// How long after its end a part of a living encoder, or of a source, may come.
    fn patience(&self) -> Span {
        self.format.grid.patience(self.format.publish_delay)
    }

    /// Stores what players may rely on from now on, if it is new.
    async fn remember_format(&mut self, renditions: &[Rendition]) {
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

    /// How long parts have taken lately.
    pub(super) fn publishing(&self) -> &Publishing {
        &self.publishing
    }

    /// Packages one coded sample, which was there at `received`.
    ///
    /// # Errors
    /// The run can't go on.
    pub(super) async fn push(
        &mut self,
        rendition: usize,
        sample: Sample,
        received: Instant,
    ) -> Result<(), Error> {
        if let Some(coming) = self.coming.take() {
            self.begin_run(coming).await;
        }
        let current = self.current.as_mut().ok_or(Error::NoRun)?;
        if let Some(opened) = current.opened.get_mut(rendition) {
            opened.get_or_insert(received);
        }
        current.segmenter.push(rendition, sample)?;
        self.drain(received).await;
        Ok(())
    }

    /// Completes the open segments with filler, for another process to go on behind them.
    pub(super) async fn complete(&mut self) {
        self.coming = None;
        if let Some(current) = &mut self.current {
            current.segmenter.complete();
            self.drain(Instant::now()).await;
            self.current = None;
        }
    }

    /// Ends the current run: its open segments are closed as they are.
    pub(super) async fn finish_run(&mut self) {
        self.coming = None;
        if let Some(mut current) = self.current.take() {
            current.segmenter.finish();
            self.current = Some(current);
            self.drain(Instant::now()).await;
            self.current = None;
        }
    }

    /// Ends the channel: nothing follows until a run begins, which then opens a fresh window.
    pub(super) async fn end(&mut self) {
        self.finish_run().await;
        if let Some(timeline) = &mut self.timeline {
            timeline.end();
        }
        self.publish();
    }

    /// Takes the ended presentation off the air.
    pub(super) fn forget_window(&mut self) {
        if let Some(mut timeline) = self.timeline.take() {
            self.last_k = Some(timeline.next_k().saturating_sub(1)).max(self.last_k);
            for removed in timeline.clear() {
                let segment = &removed.segment;
                self.store.remove(&segment.run.id, removed.rendition, segment.k);
            }
        }
        self.snapshots.send_replace(None);
    }

    /// Stores and lists what the segmenter has ready, and shows it.
    async fn drain(&mut self, received: Instant) {
        let made = self.store_ready(received).await;
        self.show(made, received).await;
    }

    /// Shows what has been made since `received`, if anything.
    async fn show(&mut self, Made { changed, parts }: Made, received: Instant) {
        if changed {
            let hidden = self.current.as_ref().is_some_and(|c| c.unseen && c.catching_up);
            self.advance_cues().await;
            if !hidden {
                self.publish();
            }
        }
        // Only now can they be fetched by who read of them.
        let took = received.elapsed();
        for _ in 0..parts {
            self.metrics.part_published(took);
        }
    }

    /// Stores and lists what the segmenter has ready.
    async fn store_ready(&mut self, received: Instant) -> Made {
        let (Some(current), Some(timeline)) = (&mut self.current, &mut self.timeline) else {
            return Made::default();
        };
        let (mut changed, mut parts) = (false, 0_u32);
        while let Some(output) = current.segmenter.poll() {
            changed = true;
            match output {
                // Taken when the run began.
                Output::Init { .. } => {}
                Output::Shifted(beginning) => timeline.shift(self.telling.beginning(beginning)),
                Output::Spliced { splice, k, at } => {
                    self.breaks.cut(splice, k, at);
                }
                Output::Chunk(chunk) => {
                    let PartChunk {
                        rendition,
                        k,
                        start,
                        duration,
                        independent,
                        first_sample,
                        filler,
                        chunk,
                        ..
                    } = chunk;
                    let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                    self.telling.begin_period(timeline, self.breaks.cues(), k);
                    self.store.append(&current.run.id, rendition, k, &chunk).await;
                    let part = Part { duration, bytes, independent, first_sample };
                    timeline.push_part(rendition, k, start, part);
                    parts += 1;
                    if let Some(opened) = current.opened.get_mut(rendition).and_then(Option::take) {
                        self.publishing.part.add(opened.elapsed());
                        self.publishing.package.add(received.elapsed());
                    }
                    if let Some(metrics) = current.metrics.get(rendition) {
                        metrics.parts.inc();
                        metrics.filler.inc_by(f64::from(filler) / current.scale(rendition));
                    }
                }
                Output::Off { rendition, k, start } => {
                    self.telling.begin_period(timeline, self.breaks.cues(), k);
                    timeline.open_gap(rendition, k, start);
                }
                Output::SegmentClosed { rendition, k } => {
                    timeline.close(rendition);
                    if let Some(segment) = timeline.last_segment(rendition) {
                        self.store.close(&current.run.id, rendition, k, segment).await;
                    }
                    if let Some(metrics) = current.metrics.get(rendition) {
                        metrics.segments.inc();
                    }
                    self.last_k = Some(k).max(self.last_k);
                }
            }
            if let Some(newest) = timeline.newest_run().filter(|run| **run != current.stretch) {
                current.stretch = Arc::clone(newest);
                self.store.stretch(newest).await;
            }
        }
        if changed {
            for removed in timeline.trim() {
                let segment = &removed.segment;
                self.store.remove(&segment.run.id, removed.rendition, segment.k);
            }
        }
        Made { changed, parts }
    }
}

/// What came out of a segmenter.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    /// Whether there was anything.
    changed: bool,
    /// Parts among it.
    parts: u32,
}

fn nanos(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::NANOS, Rounding::Ceil)
}
