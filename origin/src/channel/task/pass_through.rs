//! The task of a pass-through channel: from the source's units to its own samples on the timeline.
//!
//! What [`crate::channel::passing`] decides is done here: a run begins, a sample is packaged, a source
//! is refused.

use std::sync::Arc;

use ingest::hub::Closed;
use ingest::source::{SourceSample, Unit};
use packager::media::Rendition;
use packager::time::{Rounding, Timescale, rescale};
use packager::timeline::{Lengths, State};
use tracing::info;

use super::report::describe;
use super::{Context, Task};
use crate::channel::cutting::Begin;
use crate::channel::incidents::{Cause, Happening};
use crate::channel::making::{self, AUDIO_RATE, Making};
use crate::channel::packaging::{Begun, Packaging};
use crate::channel::passing::{Known, Queued, nanos};
use crate::channel::status::Health;
use crate::clock::Clock as _;
use crate::config::Fallback;

/// Segments that players stay behind the newest one: they begin at once where so many are there.
const HELD_SEGMENTS: u64 = 3;

impl Task {
    /// One unit of a source that is packaged as it is.
    pub(super) async fn pass(&mut self, unit: &Unit) {
        self.context.preview.passed(unit);
        if self.passing.configure(unit) {
            info!(channel = %self.context.config.name, "the source has another configuration");
            self.rejoin();
        }
        let (Unit::Video(SourceSample { received, .. })
        | Unit::Audio(SourceSample { received, .. })) = unit
        else {
            return;
        };
        let took = received.elapsed();
        if matches!(unit, Unit::Video(_)) {
            self.stages.ingest.add(took);
        }
        let ago = i64::try_from(took.as_nanos()).unwrap_or(0);
        let now = self.context.clock.now().ticks_in(Timescale::NANOS, Rounding::Nearest);
        let Some(sample) = self.passing.sample(unit, now.saturating_sub(ago)) else { return };
        if self.passing.is_on() {
            self.pass_sample(sample).await;
            if self.passing.is_off() {
                info!(channel = %self.context.config.name, "the source's clock is too far off");
                self.rejoin();
            }
        } else {
            self.passing.wait(sample);
            self.join().await;
        }
    }

    /// Another source is there, which is packaged as it is if it can be.
    pub(super) fn expect_source(&mut self) {
        if std::mem::take(&mut self.encoding) {
            self.encoder = None;
            self.restart_at = None;
            self.context.admission.release(&self.context.config.name);
        }
        if let Some((_, packaging)) = &mut self.making {
            packaging.lose_encoder();
            packaging.expect_source();
        }
    }

    /// Begins a run of the source's own samples, once there is enough of them.
    pub(super) async fn join(&mut self) {
        let Context { config, store, snapshots, .. } = &self.context;
        let packaging = self.making.as_ref().map(|(_, packaging)| packaging);
        let end = packaging.and_then(Packaging::source_end);
        let on_air = snapshots.borrow().clone().filter(|s| s.state == State::Live);
        let known = Known {
            grid: self.making.as_ref().map(|(making, _)| &making.grid),
            codec: on_air.as_ref().and_then(|s| s.renditions.first()?.video().map(|v| v.codec)),
            on_air: packaging.and_then(Packaging::source_segmenter),
            found: self.source.as_ref().and_then(|source| source.found),
            segment: nanos(config.segment),
            lengths: on_air.as_ref().and_then(|s| s.lengths()).unwrap_or_default(),
        };
        let joined = match self.passing.join(known) {
            Ok(Some(joined)) => joined,
            Ok(None) => return,
            Err(refusal) => return self.refuse(refusal.to_string()).await,
        };
        if self.making.is_none() {
            let scale = joined.rate().timescale();
            let gop = rescale(joined.gop, Timescale::NANOS, scale, Rounding::Nearest);
            let gop = gop.max(1).unsigned_abs();
            let (rate, audio_rate) = (joined.rate(), joined.audio_rate());
            let making = Making::of_source(config, store.recovered(), rate, audio_rate, gop);
            info!(channel = %config.name, fps = %rate, gop_ns = joined.gop, "format decided");
            let packaging = self.context.packaging(making.grid);
            self.making = Some((making, packaging));
        }
        let millis = self.context.clock.now_millis();
        let Some((making, packaging)) = &mut self.making else { return };
        let grid = making.grid;
        self.context.preview.paced(joined.rate());
        let renditions = joined.renditions(&grid);
        let at = rescale(joined.start, Timescale::NANOS, grid.video_scale(), Rounding::Nearest);
        // Rounding must not put it before what is there.
        let at = at.max(end.map_or(at, |end| end.ticks_in(grid.video_scale(), Rounding::Ceil)));
        let begin = Begin::Source { at, lengths: joined.lengths, mute: joined.mute };
        packaging.begin_source(Arc::clone(&renditions), begin, false, millis).await;
        self.status.renditions = renditions.iter().map(describe).collect();
        info!(channel = %self.context.config.name, mute = joined.mute, "run began");
        self.happened(Happening::RunBegan, "a new run began".to_owned());
        self.over(&Cause::Refused);
        self.enter(Health::Live);
        for sample in self.passing.begin(joined, &grid) {
            self.pass_sample(sample).await;
        }
        self.report();
    }

    /// Packages a sample of the source.
    pub(super) async fn pass_sample(&mut self, sample: Queued) {
        let Some((_, packaging)) = &mut self.making else { return };
        let Some(segmenter) = packaging.source_segmenter() else { return };
        let Some((rendition, sample)) = self.passing.place(sample, segmenter) else { return };
        if let Err(error) = packaging.push(rendition, sample, std::time::Instant::now()).await {
            return self.refuse(error.to_string()).await;
        }
        let listed = self.context.snapshots.borrow().as_ref().and_then(|s| s.first_k());
        if self.status.first_segment.is_none() && listed.is_some() {
            self.report();
        }
    }

    /// The source's run has ended; it begins another. Filler goes on until then.
    pub(super) fn rejoin(&mut self) {
        self.count_passing_repairs();
        self.passing.rejoin();
        if let Some((_, packaging)) = &mut self.making {
            packaging.lose_encoder();
            packaging.expect_source();
        }
    }

    /// Encodes a source that can't be packaged as it is, in its own size: the encoder's samples are
    /// packaged as a source's are. False if too little is known of it.
    fn encode_instead(&mut self, reason: &str) -> bool {
        let Context { config, store, .. } = &self.context;
        let Some(source) = &self.source else { return false };
        let rate = self.making.as_ref().map(|(making, _)| making.grid.rate).or(source.found);
        let (Some(video), Some(rate)) = (source.intake.video(), rate) else { return false };
        let size = video.size();
        if self.making.is_none() {
            let gop = u64::from(rate.frame_ticks());
            let making = Making::of_source(config, store.recovered(), rate, AUDIO_RATE, gop);
            let packaging = self.context.packaging(making.grid);
            self.making = Some((making, packaging));
        }
        let Some((making, packaging)) = &mut self.making else { return false };
        making.plan = making::own_size(size, making.grid.rate);
        packaging.lose_encoder();
        self.passing.lose();
        self.encoding = true;
        self.fail(Cause::Refused, format!("the source is encoded: {reason}"));
        self.start_encoder();
        self.report();
        true
    }

    /// Begins a run of an encoder that stands between the source and its packaging, or goes on in the
    /// one on the air. Gives when it begins, in video ticks.
    pub(super) async fn begin_encoded(
        &mut self,
        renditions: Arc<[Rendition]>,
        start: i64,
    ) -> Begun {
        let millis = self.context.clock.now_millis();
        let Some((making, packaging)) = &mut self.making else { return Begun::New };
        if packaging.is_run_of(&renditions) {
            return Begun::Resumed;
        }
        // The encoder makes a key frame at every boundary.
        let grid = making.grid;
        let end =
            packaging.source_end().map(|end| end.ticks_in(grid.video_scale(), Rounding::Ceil));
        let free = end.map(|end| {
            let next = grid.number_at(end - 1) + 1;
            let left = grid.boundary(next) - end;
            // Nothing can be shown for less than half a frame.
            let short = left > 0 && left * 2 < i64::from(grid.rate.frame_ticks());
            grid.boundary(next + u64::from(short))
        });
        // The source has been sending for as long as it took to see what it is. A fresh window needs
        // what players hold, and the encoder no longer to make it than that takes.
        let now = self.context.clock.now().ticks_in(grid.video_scale(), Rounding::Floor);
        let recent = grid.boundary(grid.number_at(now).saturating_sub(HELD_SEGMENTS));
        let at = free.unwrap_or(recent).max(start);
        let begin = Begin::Source { at, lengths: Lengths::Even, mute: false };
        packaging.begin_source(renditions, begin, true, millis).await;
        Begun::New
    }

    /// Tells the publisher why its source is not taken, and goes on without it.
    pub(super) async fn refuse(&mut self, reason: String) {
        let may = self.context.config.fallback == Fallback::Encode && !self.encoding;
        if may && self.encode_instead(&reason) {
            return;
        }
        if let Some(source) = &self.source {
            source.session.close(Closed::Rejected(reason.clone()));
            self.lose_source().await;
            self.fail(Cause::Refused, format!("the source was refused: {reason}"));
            self.report();
        }
    }

    /// Counts what was repaired since this was done last.
    pub(super) fn count_passing_repairs(&mut self) {
        let repairs = self.passing.repairs();
        self.count_repairs(repairs);
    }
}
