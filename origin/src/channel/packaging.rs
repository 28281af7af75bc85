//! From coded samples to listed segments: one session of a channel's packaging.
//!
//! Owns the segmenter of the current run and the channel's timeline, and keeps their order: the
//! bytes of a part go to the store first, then the part is listed, then a new snapshot is
//! published. So whatever a snapshot names can be fetched.
//!
//! `runs` has where one run ends and the next begins, `filling` what stands for what an encoder does not
//! deliver in time, `lost` what may have been listed by a machine that went down, `cues` the breaks. Knows
//! nothing of sources and workers.

use std::sync::Arc;
use std::time::Instant;

use packager::media::{Rendition, RunId, Sample};
use packager::scte35::Cue;
use packager::scte35::breaks::Breaks;
use packager::segmenter::{self, Output, PartChunk};
use packager::time::{Timescale, Timestamp};
use packager::timeline::{Format, Part, Run, Snapshot, Timeline};
use tokio::sync::watch;

use super::cutting::Cutting;
use super::making;
use super::stages::Publishing;
use crate::config;
use crate::crash;
use crate::store::{ChannelStore, Left, StoredFormat};
use crate::telemetry::metrics::{ChannelMetrics, RenditionMetrics};

mod cues;
mod filling;
mod lost;
mod runs;
pub(super) use cues::When;
pub(super) use runs::Begun;

use cues::Telling;
use runs::Coming;

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
    /// Whether the newest run broke off with its machine.
    broke_off: bool,
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
            broke_off: false,
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
        self.broke_off = left.machine_went_down && !left.ended;
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
            crash::point("listed");
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
        self.broke_off = false;
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
