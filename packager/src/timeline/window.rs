//! The one writer of a channel's timeline, and the window it keeps.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::{Format, OpenSegment, Part, Run, Segment, Snapshot, State, Track};
use crate::media::{Rendition, RunId};
use crate::time::Rounding;

/// A playlist never lists fewer segments than this, however short the window: players start three
/// target durations from the end (RFC 8216bis §6.2.2, APL 8.11).
const MIN_SEGMENTS: u64 = 6;

/// A segment that left the window of one rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Position of the rendition.
    pub rendition: usize,
    /// The segment.
    pub segment: Arc<Segment>,
}

/// The timeline of a channel, as its one writer sees it. See the module's page.
#[derive(Debug)]
pub struct Timeline {
    format: Arc<Format>,
    renditions: Arc<[Rendition]>,
    tracks: Vec<Writing>,
    run: Option<Arc<Run>>,
    last_discontinuity: Option<u64>,
    state: State,
    version: u64,
}

#[derive(Debug, Default)]
struct Writing {
    segments: VecDeque<Arc<Segment>>,
    open: Option<OpenSegment>,
}

impl Timeline {
    /// An empty timeline. `last_discontinuity` is the number of the channel's last run, where a
    /// journal remembers one, so that numbers never fall.
    pub fn new(
        format: Arc<Format>,
        renditions: Arc<[Rendition]>,
        last_discontinuity: Option<u64>,
    ) -> Self {
        let tracks = renditions.iter().map(|_| Writing::default()).collect();
        Self {
            format,
            renditions,
            tracks,
            run: None,
            last_discontinuity,
            state: State::Live,
            version: 0,
        }
    }

    /// The smallest number the next run may begin with: above every listed or opened segment.
    pub fn next_k(&self) -> u64 {
        self.tracks.iter().map(Writing::next_k).max().unwrap_or(0)
    }

    /// Begins a run at segment `first_k`. What an earlier run left open is closed as it is, and
    /// numbers between the runs are listed as gaps of the new one, so that the one discontinuity
    /// stands before the first gap (DESIGN §4).
    ///
    /// A channel's first run takes `first_k` as its discontinuity number, later ones one more than
    /// the run before.
    pub fn begin_run(&mut self, id: RunId, first_k: u64, inits: Vec<Bytes>) -> Arc<Run> {
        let discontinuity = self.last_discontinuity.map_or(first_k, |last| last.saturating_add(1));
        self.last_discontinuity = Some(discontinuity);
        let run = Arc::new(Run { id, discontinuity, first_k, inits });
        self.state = State::Live;
        for index in 0..self.tracks.len() {
            self.close(index);
            let from = self.tracks.get(index).map_or(0, Writing::next_k);
            if from > 0 {
                for k in from..first_k {
                    self.push_gap(index, k, &run);
                }
            }
        }
        self.run = Some(Arc::clone(&run));
        run
    }

    /// Adds a part to segment `k` of a rendition, whose first sample decodes at `start`. Opens the
    /// segment if this is its first part.
    pub fn push_part(&mut self, rendition: usize, k: u64, start: i64, part: Part) {
        let Some(run) = self.run.clone() else { return };
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        if track.open.as_ref().is_some_and(|open| open.k != k) {
            self.close(rendition);
        }
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        let open =
            track.open.get_or_insert_with(|| OpenSegment { k, run, start, parts: Vec::new() });
        open.parts.push(part);
    }

    /// Finishes the open segment of a rendition.
    pub fn close(&mut self, rendition: usize) {
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        let Some(open) = track.open.take() else { return };
        let duration = open.parts.iter().map(|part| u64::from(part.duration)).sum();
        track.segments.push_back(Arc::new(Segment {
            k: open.k,
            run: open.run,
            start: open.start,
            duration,
            parts: open.parts,
            gap: false,
        }));
    }

    fn push_gap(&mut self, rendition: usize, k: u64, run: &Arc<Run>) {
        let grid = &self.format.grid;
        let video = self.renditions.get(rendition).is_some_and(|r| r.track.config.is_video());
        let (start, end) = if video {
            (grid.boundary(k), grid.boundary(k + 1))
        } else {
            (grid.audio_boundary(k), grid.audio_boundary(k + 1))
        };
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        track.segments.push_back(Arc::new(Segment {
            k,
            run: Arc::clone(run),
            start,
            duration: end.abs_diff(start),
            parts: Vec::new(),
            gap: true,
        }));
    }

    /// Ends the channel: no segment follows until a run begins.
    pub fn end(&mut self) {
        for index in 0..self.tracks.len() {
            self.close(index);
        }
        self.state = State::Ended;
    }

    /// Forgets every segment: the next run is a new presentation for new viewers.
    pub fn clear(&mut self) -> Vec<Removed> {
        self.drop_before(u64::MAX)
    }

    /// Drops what lies before the window, the same numbers in every rendition.
    pub fn trim(&mut self) -> Vec<Removed> {
        let grid = &self.format.grid;
        let window = self.format.window.ticks_in(grid.video_scale(), Rounding::Ceil);
        let keep = window.div_ceil(grid.segment_ticks).max(MIN_SEGMENTS);
        let newest = self.tracks.iter().map(|t| t.segments.back().map(|s| s.k)).min().flatten();
        let Some(newest) = newest else { return Vec::new() };
        self.drop_before((newest + 1).saturating_sub(keep))
    }

    fn drop_before(&mut self, k: u64) -> Vec<Removed> {
        let mut removed = Vec::new();
        for (rendition, track) in self.tracks.iter_mut().enumerate() {
            while let Some(segment) = track.segments.pop_front_if(|segment| segment.k < k) {
                removed.push(Removed { rendition, segment });
            }
        }
        removed
    }

    /// The timeline as it is now.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.version += 1;
        let tracks = self.tracks.iter().map(Writing::track).collect();
        Arc::new(Snapshot {
            format: Arc::clone(&self.format),
            renditions: Arc::clone(&self.renditions),
            tracks,
            state: self.state,
            version: self.version,
        })
    }
}

impl Writing {
    fn next_k(&self) -> u64 {
        let open = self.open.as_ref().map(|open| open.k);
        let last = self.segments.back().map(|segment| segment.k);
        open.max(last).map_or(0, |k| k + 1)
    }

    fn track(&self) -> Track {
        Track {
            segments: self.segments.iter().cloned().collect(),
            open: self.open.clone().map(Arc::new),
        }
    }
}
