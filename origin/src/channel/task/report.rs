//! What a channel's task tells people: its state, incidents and figures.

use std::sync::Arc;
use std::time::Duration;

use ingest::hub::Doorway;
use packager::media::{Name, Rendition};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Lengths, Snapshot};
use tokio::time::Instant;
use tracing::warn;

use super::{PICTURE_WITHIN, Task};
use crate::channel::incidents::{Cause, Happening};
use crate::channel::stages;
use crate::channel::status::{
    BreakStatus, Health, LeftOut, PictureFault, RenditionStatus, RepairKind,
};
use crate::clock::Clock as _;
use crate::config::Periods;
use crate::telemetry::metrics::{Counted, LinkTimes};

/// A segment is in S3 within a second of its end where all is well, and within several where a store is
/// slow; this old and with errors, somebody should look.
const LATE_IN_S3: Duration = Duration::from_secs(30);

impl Task {
    /// Something is wrong from now on, until it is [`over`](Self::over).
    pub(super) fn fail(&mut self, cause: Cause, what: String) {
        warn!(channel = %self.context.config.name, error = %what, "channel trouble");
        self.incidents.open(cause, self.context.clock.now_millis(), what);
    }

    pub(super) fn over(&mut self, cause: &Cause) {
        self.incidents.close(cause, self.context.clock.now_millis());
    }

    pub(super) fn happened(&mut self, what: Happening, text: String) {
        self.incidents.note(what, self.context.clock.now_millis(), text);
    }

    pub(super) fn enter(&mut self, state: Health) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = self.context.clock.now_millis();
        }
    }

    /// What is done now and then.
    pub(super) fn look_around(&mut self, doorway: Doorway) {
        let late = |by: &mut Instant| *by <= Instant::now();
        if self.source.as_mut().is_some_and(|source| source.picture_by.take_if(late).is_some()) {
            let seconds = PICTURE_WITHIN.as_secs();
            self.fail(
                Cause::NoPicture,
                format!(
                    "the source has sent no picture for {seconds} s; the channel waits for one"
                ),
            );
        }
        if self.ahead_until.take_if(late).is_some() {
            self.over(&Cause::Clock);
        }
        self.count_passing_repairs();
        self.look_at_door(doorway);
        self.report();
    }

    /// Who has not come through the door, and why. Whoever keeps the door has logged it.
    fn look_at_door(&mut self, Doorway { absent, turned_away }: Doorway) {
        match absent.filter(|_| self.source.is_none()) {
            Some(why) => {
                let now = self.context.clock.now_millis();
                let words = format!("the channel's source is not there: {why}");
                self.incidents.open(Cause::Absent, now, words);
            }
            None => self.over(&Cause::Absent),
        }
        for (why, times) in &turned_away {
            let before = self.status.turned_away.get(why).copied().unwrap_or(0);
            self.context.metrics.count(Counted::TurnedAway, why, times.saturating_sub(before));
        }
        self.status.turned_away = turned_away;
    }

    /// The highest rung that the source is large enough for and that a smaller first one has kept from
    /// being made.
    pub(super) fn outgrown(&self) -> Option<Name> {
        let (making, _) = self.making.as_ref()?;
        let video = self.source.as_ref()?.intake.video()?;
        making.outgrown(&self.context.config, video.size().1)
    }

    /// Publishes the status as of now.
    pub(super) fn report(&mut self) {
        let segment = self.making.as_ref().map(|(making, _)| making.grid.segment());
        let segment = segment
            .map(|s| Duration::from_millis(s.ticks_in(Timescale::MILLIS, Rounding::Nearest)));
        let found = self.source.as_mut().map(|source| source.intake.take_found());
        self.count_repairs(found.into_iter().flatten());
        self.count_transport_faults();
        self.follow_link();
        self.status.source = self.source.as_mut().map(|source| {
            source.intake.describe(&mut source.status, segment, std::time::Instant::now());
            source.status.clone()
        });
        if let Some((making, packaging)) = &self.making {
            let millis = |span: Span| span.ticks as f64 * 1000.0 / f64::from(span.scale.get());
            self.status.segment_ms = Some(millis(making.grid.segment()).round() as u64);
            self.status.part_ms = Some((millis(making.grid.part()) * 10.0).round() / 10.0);
            self.status.fps = Some(making.grid.rate.to_string());
            self.status.left_out = making
                .plan
                .left_out
                .iter()
                .map(|l| LeftOut { name: l.name.to_string(), reason: l.reason.clone() })
                .collect();
            self.status.latency = stages::summary(&self.stages, Some(packaging.publishing()));
        }
        if let (Some(name), Some(source)) = (self.outgrown(), &mut self.status.source) {
            source.warnings.push(format!(
                "the first source was smaller, and so the ladder has no {name}; change `ladder` to plan \
                 anew"
            ));
        }
        self.status.clock_ahead_ms = self.context.clock.nanos().unsigned_abs() / 1_000_000;
        let listed = self.context.snapshots.borrow().clone();
        let lengths = listed.as_ref().and_then(|s| s.lengths());
        self.status.dash_low_latency = lengths.map(|lengths| lengths == Lengths::Even);
        if lengths == Some(Lengths::Uneven)
            && self.context.config.cues.periods == Periods::Runs
            && let Some(source) = &mut self.status.source
        {
            source.warnings.push(
                "key frames come as they please: DASH is not at low latency; set a fixed key frame \
                 interval"
                    .to_owned(),
            );
        }
        self.status.first_segment = listed.as_ref().and_then(|s| s.first_k());
        self.status.last_segment = listed.as_ref().and_then(|s| s.last_k());
        self.status.breaks = listed.as_deref().map(breaks).unwrap_or_default();
        self.look_at_upstream();
        self.status.interrupted &= self.status.last_segment.is_none();
        self.status.last_error = self.incidents.trouble().map(str::to_owned);
        self.status.events = self.incidents.events().to_vec();
        self.status.cues = self.cues.log.entries();
        let source = self.status.source.as_ref();
        let gop = source.and_then(|source| source.gop_seconds);
        let skew_ms = source.and_then(|source| source.av_skew_ms);
        self.context.metrics.gop.set(gop.unwrap_or(0.0));
        self.context.metrics.av_skew.set(skew_ms.unwrap_or(0.0) / 1_000.0);
        self.context.metrics.state(self.status.state.word());
        self.context.status.send_replace(Arc::new(self.status.clone()));
    }

    /// Whether S3 takes what is made.
    fn look_at_upstream(&mut self) {
        self.status.s3 = self.context.store.stats().upstream;
        let Some(s3) = &self.status.s3 else { return };
        let late = Duration::from_millis(s3.backlog_ms) > LATE_IN_S3;
        if s3.away || late && s3.trouble.is_some() {
            let now = self.context.clock.now_millis();
            let words = format!(
                "S3 does not take segments: {} of them wait on disk, and nothing else is affected",
                s3.backlog_segments
            );
            self.incidents.open(Cause::Upstream, now, words);
        } else if !late {
            self.over(&Cause::Upstream);
        }
    }

    /// Takes the newest figures of the source's connection.
    fn follow_link(&mut self) {
        let metrics = &self.context.metrics;
        let Some((source, link)) = self
            .source
            .as_mut()
            .and_then(|source| source.session.report().link.map(|l| (source, l)))
        else {
            return metrics.link(None);
        };
        let seconds = |millis: u32| f64::from(millis) / 1_000.0;
        metrics.link(Some(LinkTimes {
            rtt: link.rtt_ms / 1_000.0,
            latency: seconds(link.latency_ms),
            buffer: seconds(link.buffer_ms),
        }));
        let before = source.status.link.replace(link).unwrap_or_default();
        for ((kind, now), (_, before)) in link.packets().into_iter().zip(before.packets()) {
            metrics.link_packets(kind, now.saturating_sub(before));
        }
    }

    /// Counts what has gone wrong in the source's transport stream since this was done last.
    fn count_transport_faults(&mut self) {
        let Some(source) = &mut self.source else { return };
        for (kind, times) in source.session.report().faults().filter(|(_, times)| *times > 0) {
            let before = source.status.transport_faults.insert(kind, times).unwrap_or(0);
            self.context.metrics.count(
                Counted::TransportFaults,
                kind,
                times.saturating_sub(before),
            );
        }
    }

    /// Counts pictures of the ladder that are not the source's next one.
    pub(super) fn count_picture_faults(&mut self, new: [(PictureFault, u64); 3]) {
        for (kind, new) in new.into_iter().filter(|(_, new)| *new > 0) {
            self.context.metrics.count(Counted::PictureFaults, kind.word(), new);
            *self.status.picture_faults.entry(kind).or_default() += new;
        }
    }

    /// Counts repairs made to the source's timestamps.
    pub(super) fn count_repairs(&mut self, new: impl IntoIterator<Item = (RepairKind, u64)>) {
        for (kind, new) in new.into_iter().filter(|(_, new)| *new > 0) {
            self.context.metrics.count(Counted::Repairs, kind.word(), new);
            self.status.timestamp_repairs += new;
            *self.status.repairs.entry(kind).or_default() += new;
        }
    }
}

/// The breaks of a timeline.
fn breaks(snapshot: &Snapshot) -> Vec<BreakStatus> {
    let scale = snapshot.format.grid.video_scale();
    let millis =
        |ticks| Timestamp::new(ticks, scale).ticks_in(Timescale::MILLIS, Rounding::Nearest);
    let ends = snapshot.cues.iter().filter_map(|cue| Some((cue, cue.end.as_ref()?)));
    ends.map(|(cue, end)| BreakStatus { start_ms: millis(cue.start), end_ms: millis(end.at) })
        .collect()
}

/// A rendition as the status shows it.
pub(in crate::channel) fn describe(rendition: &Rendition) -> RenditionStatus {
    RenditionStatus {
        name: rendition.name.to_string(),
        codec: rendition.track.config.codec_string().to_owned(),
        size: rendition.video().map(|video| (video.width, video.height)),
        bitrate: rendition.average_bitrate,
    }
}
