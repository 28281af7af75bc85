//! The timeline of a channel: what exists, in which run, from when to when.
//!
//! [`Timeline`] has one writer, the channel's task. After each change it publishes a [`Snapshot`],
//! an immutable view that manifests are rendered from; a snapshot is never half of an update.
//! Pages of segments and lists of them are shared between snapshots, so that one for a new part costs next to
//! nothing, and one for a new segment a page.
//!
//! It holds no media bytes and decides no boundary: it records what the segmenter made.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::grid::{Cut, Grid};
use crate::media::{Rendition, RunId};
use crate::scte35;
use crate::time::{Rounding, Span, Timescale, Timestamp, rescale};

mod absence;
mod bandwidth;
mod excerpt;
mod parts;
mod segments;
mod window;
pub use crate::grid::splices::Moved;
pub use crate::scte35::{Cue, CueEvent, End, EndsBy, INBAND_SCHEME};
pub use bandwidth::Bandwidth;
pub use excerpt::NoExcerpt;
pub use parts::Parts;
pub(crate) use segments::WholePage;
pub use segments::{PAGE, Segments, Slice};
pub use window::{Removed, STAYS_NAMED, Timeline};

/// A playlist never lists fewer segments than this, however short the window: players start three
/// target durations from the end (RFC 8216bis §6.2.2), and Apple asks for six (APL 8.11). The newest may be
/// listed by its parts alone, and does not count then.
const MIN_SEGMENTS: u64 = 7;

/// What is fixed when a channel first runs, and changed by its operator only: players read it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Segment and part lengths.
    pub grid: Grid,
    /// How far back a live playlist reaches.
    pub window: Span,
    /// Upper bound of the time between the end of a part and its being fetchable.
    pub publish_delay: Span,
}

impl Format {
    /// How many segments the window holds.
    pub fn window_segments(&self) -> u64 {
        self.grid.segments_in(self.window).max(MIN_SEGMENTS)
    }
}

/// How long the segments of a stretch are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lengths {
    /// About D: a player computes from a number where a segment is.
    #[default]
    Even,
    /// As a source's key frames make them: a segment's length is known when the segment is there, and
    /// manifests have to tell it.
    Uneven,
}

/// Where a run begins, or another stretch of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Number of its first segment.
    pub first_k: u64,
    /// Start of that segment, in video ticks since the epoch.
    pub start: i64,
    /// How long its segments are.
    pub lengths: Lengths,
}

/// One uninterrupted session of encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Stands in every media path of the run.
    pub id: RunId,
    /// The run's discontinuity sequence number.
    pub discontinuity: u64,
    /// Which stretch of the run this is, from 0. Boundaries are counted anew where a source's key
    /// frames have drifted away from them, not at all where its segments are uneven, and other
    /// renditions may be left out; nothing else changes.
    pub stretch: u32,
    /// Positions of the renditions that have been off for so long that a manifest without a word for
    /// gaps leaves them out of this stretch. They are made all the same.
    pub left_out: Vec<usize>,
    /// Number of the first segment of this stretch.
    pub first_k: u64,
    /// Start of that segment, in video ticks since the epoch.
    pub start: i64,
    /// How long the segments of this stretch are.
    pub lengths: Lengths,
    /// What is made, in the order of [`Snapshot::renditions`].
    pub renditions: Arc<[Rendition]>,
    /// Init segment of each rendition.
    pub inits: Vec<Bytes>,
}

impl Run {
    /// The renditions that are not left out of this stretch.
    pub fn offered(&self) -> impl Iterator<Item = &Rendition> {
        let all = self.renditions.iter().enumerate();
        all.filter(|(index, _)| !self.left_out.contains(index)).map(|(_, rendition)| rendition)
    }

    /// Timescale of the times of the rendition at `index`.
    pub fn scale(&self, index: usize) -> Timescale {
        self.renditions.get(index).map_or(Timescale::MPEG, |r| r.track.timescale)
    }

    /// Where segment `k` begins, in video ticks: at its boundary, or where it was cut for one of `cues`.
    fn boundary(&self, grid: &Grid, cues: &[Cue], k: u64) -> i64 {
        if let Some(cut) = scte35::cut_of(cues, k) {
            return cut;
        }
        if grid.cut == Cut::Grid {
            return grid.boundary(k);
        }
        let length = |count: u64| {
            i64::try_from(count.saturating_mul(grid.segment_ticks)).unwrap_or(i64::MAX)
        };
        match k.checked_sub(self.first_k) {
            Some(after) => self.start.saturating_add(length(after)),
            None => self.start.saturating_sub(length(self.first_k.abs_diff(k))),
        }
    }

    /// Number of the segment that is on at an instant, in video ticks, as far as that can be computed;
    /// `None` before the stretch.
    fn number_at(&self, grid: &Grid, ticks: i64) -> Option<u64> {
        let after = u64::try_from(ticks.checked_sub(self.start)?).ok()?;
        match grid.cut {
            Cut::Grid => Some(grid.number_at(ticks)),
            Cut::Source => Some(self.first_k.saturating_add(after / grid.segment_ticks.max(1))),
        }
    }

    /// The same in ticks of the rendition at `index`. Encoders of ours count audio frames since the
    /// epoch; a source's begin anywhere.
    fn start_of(&self, grid: &Grid, cues: &[Cue], index: usize, k: u64) -> i64 {
        let boundary = self.boundary(grid, cues, k);
        let video = self.renditions.get(index).is_none_or(|r| r.track.config.is_video());
        match grid.cut {
            _ if video => boundary,
            Cut::Grid => grid.audio_frame_at_or_after(boundary),
            Cut::Source => rescale(boundary, grid.video_scale(), self.scale(index), Rounding::Ceil),
        }
    }
}

/// A finished segment of one rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number: media sequence, `$Number$` and file name.
    pub k: u64,
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// Decode time of its first sample, in ticks of the rendition's timescale since the epoch.
    pub start: i64,
    /// Length in the same ticks.
    pub duration: u64,
    /// Its parts, in order; none where nothing could be made.
    pub parts: Parts,
    /// Whether players are told to play another rendition here: listed so that numbers and times stay
    /// aligned. It can be fetched if it has parts: DASH has no word for a gap.
    pub gap: bool,
}

impl Segment {
    /// A gap of `run`: a number and a time of which there is nothing.
    fn missing(k: u64, run: &Arc<Run>, start: i64, duration: u64) -> Self {
        let (run, parts) = (Arc::clone(run), Parts::default());
        Self { k, run, start, duration, parts, gap: true }
    }

    /// Size of the segment in bytes: the sum of its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.bytes()
    }

    /// Whether it can be fetched.
    pub fn has_media(&self) -> bool {
        !self.parts.is_empty()
    }

    /// End of its last sample, in ticks of the rendition's timescale since the epoch.
    pub fn end(&self) -> i64 {
        self.start.saturating_add_unsigned(self.duration)
    }

    /// Bytes from its beginning to the end of its first sample; 0 where that is not known.
    pub fn first_sample(&self) -> u32 {
        self.parts.first().map_or(0, |part| part.first_sample)
    }
}

/// One CMAF chunk of a segment. Journals and indexes have its fields in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "(u32, u32, bool, u32)", into = "(u32, u32, bool, u32)")]
pub struct Part {
    /// Length in ticks of the rendition's timescale.
    pub duration: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// Whether decoding can start with its first sample.
    pub independent: bool,
    /// Bytes up to the end of its first sample: what shows a key frame alone.
    pub first_sample: u32,
}

impl From<(u32, u32, bool, u32)> for Part {
    fn from((duration, bytes, independent, first_sample): (u32, u32, bool, u32)) -> Self {
        Self { duration, bytes, independent, first_sample }
    }
}

impl From<Part> for (u32, u32, bool, u32) {
    fn from(part: Part) -> Self {
        (part.duration, part.bytes, part.independent, part.first_sample)
    }
}

/// A segment still being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Its number.
    pub k: u64,
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// Decode time of its first sample.
    pub start: i64,
    /// The parts that exist already; none yet, perhaps, of a gap.
    pub parts: Vec<Part>,
    /// How long it is going to be, in ticks of the rendition's timescale, if its rendition was off
    /// when it began: nothing worth playing comes of it, and players are told as soon as that is
    /// known. See [`Segment::gap`].
    pub gap: Option<u64>,
}

impl OpenSegment {
    /// End of its last sample so far, in ticks of the rendition's timescale since the epoch; where it
    /// is going to end, of a gap.
    pub fn end(&self) -> i64 {
        self.start.saturating_add_unsigned(self.gap.unwrap_or_else(|| self.made()))
    }

    /// How much of it there is, in the same ticks.
    fn made(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.duration)).sum()
    }
}

/// Where a channel stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Segments are being added.
    Live,
    /// The channel was without a source for longer than `hold`: no segment will follow.
    Ended,
    /// An excerpt that has both its ends: nothing is added, and nothing leaves.
    Whole,
}

/// One rendition's segments inside the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Finished segments, oldest first, numbers without a hole.
    pub segments: Segments,
    /// The segment being written, if its first part exists, or as soon as it is known to be a gap.
    pub open: Option<Arc<OpenSegment>>,
}

/// A run, or one stretch of it, as the window shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRun {
    /// The run.
    pub run: Arc<Run>,
    /// Number of its first segment: the run's own, as long as any of it is in the window, but where an
    /// excerpt begins within it.
    pub first_k: u64,
    /// Start of that segment, in video ticks.
    pub start: i64,
    /// Number of its newest segment that every rendition has media for.
    pub last_k: u64,
    /// End of that segment in the first rendition.
    pub end: Timestamp,
}

/// Numbers of an ended run that are still answered, though another run has them now: a player acts
/// on the manifest it read last, and what that promised has to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The run that has ended.
    pub run: RunId,
    /// The numbers, from the first of the run after it on.
    pub numbers: Range<u64>,
}

/// An immutable view of a channel's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What never changes.
    pub format: Arc<Format>,
    /// What can be played in the newest run: video from the highest rung down, then audio. Never
    /// changes in a run; other runs in the window have the same names in the same order.
    pub renditions: Arc<[Rendition]>,
    /// One per rendition, in that order. All list the same numbers of finished segments.
    pub tracks: Vec<Track>,
    /// Live or ended.
    pub state: State,
    /// The newest run, as it is counted now: what comes next is a part of it.
    pub run: Option<Arc<Run>>,
    /// Media time at which the set of listed runs last changed, or that of listed segments where they
    /// are uneven, or the channel ended. Grows with every such change.
    pub revised: Timestamp,
    /// Of the run before the newest one.
    pub promise: Option<Promise>,
    /// The cues that have to do with the window or with what is to come, by acceptance.
    pub cues: Arc<[Cue]>,
    /// Ids of cues that were told lately and are not any more.
    pub gone_cues: Arc<[String]>,
    /// Where an excerpt that goes on begins within its first run.
    pub begins: Option<Beginning>,
    /// Whether it is what a store tells of another server's timeline: nothing is known of the segment
    /// that is being made, or of where the renditions are.
    pub mirrored: bool,
    /// Grows by one with every snapshot of the channel.
    pub version: u64,
}

impl Snapshot {
    /// The track of the rendition called `name`, with its position.
    pub fn track(&self, name: &str) -> Option<(usize, &Rendition, &Track)> {
        let index = self.renditions.iter().position(|r| r.name.as_str() == name)?;
        Some((index, self.renditions.get(index)?, self.tracks.get(index)?))
    }

    /// The finished segments of a rendition that every rendition has finished: what manifests list,
    /// so that all of them name the same numbers.
    pub fn listed(&self, index: usize) -> Slice<'_> {
        let Some(track) = self.tracks.get(index) else { return Slice::default() };
        let segments = track.segments.all();
        let last = self.last_k();
        let end = segments.partition_point(|segment| Some(segment.k) <= last);
        segments.within(0..end)
    }

    /// Finished segments of a rendition as its playlist lists them: those that it lists whole, and the
    /// newest one if it lists that by its parts alone, which it does until the next one has a part.
    ///
    /// Stock hls.js takes a segment that is listed whole for loaded as soon as any part of it is in its
    /// buffer. One that is still busy with the last but one when the whole is listed never asks for the
    /// last, and its picture stands until the parts have left the playlist. So it is given the time of
    /// another part. The only segment is always whole: players give up on a playlist without one. Of a
    /// channel that has ended all are whole, and of a mirrored one, whose newest may be the last for long.
    pub fn listed_whole(&self, index: usize) -> (Slice<'_>, Option<&Segment>) {
        let Some(track) = self.tracks.get(index) else { return (Slice::default(), None) };
        let growing = self.state == State::Live && track.open.is_none() && !self.mirrored;
        match track.segments.all().split_last() {
            Some((last, before))
                if growing && last.has_media() && !last.gap && !before.is_empty() =>
            {
                (before, Some(last))
            }
            _ => (track.segments.all(), None),
        }
    }

    /// The runs that have media in every rendition within the window, oldest first.
    pub fn listed_runs(&self) -> Vec<ListedRun> {
        let tracks: Vec<_> = (0..self.tracks.len()).map(|index| self.listed(index)).collect();
        let Some(first) = tracks.first() else { return Vec::new() };
        let has_media = |position: &usize| {
            tracks.iter().all(|track| track.get(*position).is_some_and(|s| s.has_media()))
        };
        let mut runs: Vec<ListedRun> = Vec::new();
        let mut from = 0;
        while let Some(head) = first.get(from) {
            let run = &head.run;
            let same = |s: &Segment| (&s.run.id, s.run.stretch) == (&run.id, run.stretch);
            // A window of a day has few runs and many segments.
            let to = from + first.within(from..first.len()).partition_point(same).max(1);
            if let Some(last) = (from..to).rev().find(has_media).and_then(|at| first.get(at)) {
                let (mut first_k, mut start) = (run.first_k, run.start);
                if let Some(begins) = self.begins.filter(|begins| begins.first_k > first_k)
                    && runs.is_empty()
                {
                    (first_k, start) = (begins.first_k, begins.start);
                }
                let end = Timestamp::new(last.end(), last.run.scale(0));
                let (run, last_k) = (Arc::clone(run), last.k);
                runs.push(ListedRun { run, first_k, start, last_k, end });
            }
            from = to;
        }
        runs
    }

    /// Whether players can compute where the newest segments are, and so ask for one that is still
    /// being made. `None` while nothing is listed.
    pub fn lengths(&self) -> Option<Lengths> {
        Some(self.listed(0).last()?.run.lengths)
    }

    /// What a rendition of any run costs on the wire.
    pub fn bandwidth(&self, rendition: &Rendition) -> Bandwidth {
        Bandwidth::of(rendition, &self.format.grid)
    }

    /// Number of the newest segment that every rendition has finished.
    pub fn last_k(&self) -> Option<u64> {
        self.tracks.iter().map(|t| t.segments.last().map(|s| s.k)).min().flatten()
    }

    /// Number of the oldest segment in the window.
    pub fn first_k(&self) -> Option<u64> {
        self.tracks.first().and_then(|t| t.segments.first()).map(|s| s.k)
    }
}

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod tests;
