//! What a journal's records say.

use std::sync::Arc;

use bytes::Bytes;
use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::media::{Config, Rendition, RunId};
use packager::scte35::Cue;
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Lengths, Parts, Run, Segment};
use serde::{Deserialize, Serialize};

/// What a channel is for players, fixed when it first ran and changed by its operator only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFormat {
    /// Segment and part lengths, frame and sample rate.
    pub grid: Grid,
    /// Upper bound of the time between the end of a part and its being fetchable.
    pub publish_delay: Span,
    /// How far back a live playlist reaches.
    pub window: Span,
    /// Names of the rungs the operator wished for, made or not.
    pub wishes: Vec<String>,
    /// The renditions, in the order of the timeline.
    pub renditions: Vec<StoredRendition>,
}

impl StoredFormat {
    /// The last number that counts as used on another grid where `last_k` was the last on this one:
    /// the one before the first segment that begins at or after the end of `last_k`.
    pub fn renumbered(&self, last_k: u64, grid: &Grid) -> u64 {
        let end =
            Timestamp::new(self.grid.boundary(last_k.saturating_add(1)), self.grid.video_scale());
        let end = end.ticks_in(grid.video_scale(), Rounding::Ceil);
        grid.number_at(end.saturating_sub(1))
    }
}

/// A rendition as the multivariant playlist promised it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRendition {
    /// Its name.
    pub name: String,
    /// What a tick of its times is worth.
    pub timescale: Timescale,
    /// Frames per second; `None` for sound.
    pub rate: Option<FrameRate>,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Width and height in pixels; `None` for sound.
    pub size: Option<(u16, u16)>,
    /// Bits per second over a long time.
    pub average_bitrate: u32,
    /// Bits per second at the most.
    pub peak_bitrate: u32,
}

impl From<&Rendition> for StoredRendition {
    fn from(rendition: &Rendition) -> Self {
        let size = match &rendition.track.config {
            Config::Video(video) => Some((video.width, video.height)),
            Config::Audio(_) => None,
        };
        Self {
            name: rendition.name.to_string(),
            timescale: rendition.track.timescale,
            rate: rendition.rate,
            codec: rendition.track.config.codec_string().to_owned(),
            size,
            average_bitrate: rendition.average_bitrate,
            peak_bitrate: rendition.peak_bitrate,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(in crate::store) enum Record {
    /// The channel's format was fixed.
    Format(StoredFormat),
    /// What is known of records that are gone: the highest numbers and the last run's id that were
    /// ever used, and whether the channel is on the air.
    Mark {
        last_k: Option<u64>,
        last_discontinuity: Option<u64>,
        last_run: Option<String>,
        live: bool,
    },
    /// What follows was written since the machine was last started: its boot id.
    Boot { id: String },
    /// A run began: the channel is on the air.
    Run(RunRecord),
    /// A run goes on in another stretch.
    Stretch { run: String, stretch: StretchRecord },
    /// Cues are new or have changed, or are forgotten.
    Cues(CuesRecord),
    /// The channel ended: no segment follows the ones there are.
    Ended,
    /// A segment was closed.
    Segment(SegmentRecord),
    /// A segment was deleted.
    Removed(SegmentKey),
    /// S3 has everything up to this number.
    Drained { k: u64 },
}

/// What has changed of a channel's cues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CuesRecord {
    /// Which boundaries lie elsewhere, all of them.
    pub splices: Splices,
    /// Cues that are new or have changed.
    pub told: Vec<Cue>,
    /// Ids of those that are over for good.
    pub gone: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct RunRecord {
    pub(in crate::store) id: String,
    pub(in crate::store) discontinuity: u64,
    /// Whether it opens a window of its own: playlists list nothing from before it.
    pub(in crate::store) fresh: bool,
    /// Its stretches, oldest first.
    pub(in crate::store) stretches: Vec<StretchRecord>,
    pub(in crate::store) renditions: Vec<StoredRendition>,
}

/// What makes a [`Run`] this stretch of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct StretchRecord {
    pub(in crate::store) stretch: u32,
    pub(in crate::store) left_out: Vec<usize>,
    pub(in crate::store) lengths: Lengths,
    pub(in crate::store) first_k: u64,
    /// In video ticks.
    pub(in crate::store) start: i64,
}

impl StretchRecord {
    /// The run in this stretch.
    pub(in crate::store) fn run(
        &self,
        id: &RunId,
        discontinuity: u64,
        renditions: &Arc<[Rendition]>,
        inits: &[Bytes],
    ) -> Run {
        Run {
            id: id.clone(),
            discontinuity,
            stretch: self.stretch,
            left_out: self.left_out.clone(),
            lengths: self.lengths,
            first_k: self.first_k,
            start: self.start,
            renditions: Arc::clone(renditions),
            inits: inits.to_vec(),
        }
    }
}

impl From<&Run> for StretchRecord {
    fn from(run: &Run) -> Self {
        let Run { stretch, ref left_out, lengths, first_k, start, .. } = *run;
        Self { stretch, left_out: left_out.clone(), lengths, first_k, start }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::store) struct SegmentKey {
    pub(in crate::store) run: String,
    pub(in crate::store) rendition: String,
    pub(in crate::store) k: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct SegmentRecord {
    #[serde(flatten)]
    pub(in crate::store) key: SegmentKey,
    #[serde(flatten)]
    pub(in crate::store) closed: Closed,
}

/// A closed segment, but for its names and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Closed {
    /// Decode time of the first sample, in ticks of the rendition's timescale.
    pub(in crate::store) start: i64,
    /// Length in the same ticks.
    pub(in crate::store) duration: u64,
    pub(in crate::store) parts: Parts,
    /// Whether players are told to play another rendition here.
    pub(in crate::store) gap: bool,
}

impl RunRecord {
    pub(in crate::store) fn new(run: &Run, renditions: &[Rendition], fresh: bool) -> Self {
        Self {
            id: run.id.to_string(),
            discontinuity: run.discontinuity,
            fresh,
            stretches: vec![StretchRecord::from(run)],
            renditions: renditions.iter().map(StoredRendition::from).collect(),
        }
    }
}

impl RunRecord {
    /// Whether one of its renditions is sound.
    pub(in crate::store) fn is_sound(&self, rendition: &str) -> bool {
        self.renditions.iter().any(|r| r.name == rendition && r.size.is_none())
    }

    /// When a segment of this run ends, in milliseconds since the epoch.
    pub(in crate::store) fn end_ms(&self, segment: &SegmentRecord) -> Option<i64> {
        let rendition = self.renditions.iter().find(|r| r.name == segment.key.rendition)?;
        let end = segment.closed.start.saturating_add_unsigned(segment.closed.duration);
        let end = Timestamp::new(end, rendition.timescale);
        Some(end.ticks_in(Timescale::MILLIS, Rounding::Nearest))
    }
}

impl Closed {
    /// Whether there is a file.
    pub(in crate::store) fn has_media(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Its bytes are lost: what is left is a gap, as numbers have no hole.
    pub(in crate::store) fn lose(&mut self) {
        self.parts = Parts::default();
        self.gap = true;
    }

    /// The segment, with a number and of a run.
    pub(in crate::store) fn segment(&self, k: u64, run: Arc<Run>) -> Segment {
        let Self { start, duration, ref parts, gap } = *self;
        Segment { k, run, start, duration, parts: parts.clone(), gap }
    }
}

impl From<&Segment> for Closed {
    fn from(segment: &Segment) -> Self {
        let Segment { start, duration, ref parts, gap, .. } = *segment;
        Self { start, duration, parts: parts.clone(), gap }
    }
}
