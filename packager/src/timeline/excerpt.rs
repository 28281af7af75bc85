//! A stretch of a timeline on its own: what was on the air from one instant on, or from one to another.
//!
//! An excerpt is a [`Snapshot`] of the same segments, so everything that renders one renders the other. One
//! with both ends behind it is [`State::Whole`]: nothing is added and nothing leaves it. One that goes on,
//! or whose end is still to come, is the channel's own snapshot without what lies before.
//!
//! Ends are those of segments: the one that is on at the first instant is the first, the one that is on just
//! before the last instant is the last.

use std::ops::Range;
use std::sync::Arc;

use super::{Beginning, Segment, Segments, Slice, Snapshot, State, Track};
use crate::time::{Rounding, Timescale, Timestamp, rescale};

/// Why there is no such excerpt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoExcerpt {
    /// It ends where it begins, or before.
    #[error("it ends before it begins")]
    Backwards,
    /// It begins behind everything that is there.
    #[error("it begins in the future")]
    ToCome,
    /// It has left the window, or a part of it has.
    #[error("it has left the window")]
    Gone,
    /// Nothing was made in this time.
    #[error("nothing was on the air then")]
    Nothing,
}

impl Snapshot {
    /// What was on the air from an instant on, and to before another. Without that, or where it is still to
    /// come, the excerpt goes on as the channel does; what has left the window is missing from its
    /// beginning then, as from the channel's own playlists.
    ///
    /// # Errors
    /// See [`NoExcerpt`].
    pub fn excerpt(&self, from: Timestamp, to: Option<Timestamp>) -> Result<Self, NoExcerpt> {
        let (from, to) = (nanos(from), to.map(nanos));
        if to.is_some_and(|to| to <= from) {
            return Err(NoExcerpt::Backwards);
        }
        let listed = self.listed(0);
        let (Some(oldest), Some(newest)) = (listed.first(), listed.last()) else {
            return Err(NoExcerpt::ToCome);
        };
        let (begin, end) = (start_nanos(oldest, 0), end_nanos(newest, 0));
        if from >= end {
            return Err(NoExcerpt::ToCome);
        }
        // A window that is not full has lost nothing.
        let full = listed.len() as u64 >= self.format.window_segments();
        let closed = to.filter(|to| *to <= end || self.state != State::Live);
        if closed.is_some_and(|to| to <= begin || full && from < begin) {
            return Err(if full { NoExcerpt::Gone } else { NoExcerpt::Nothing });
        }
        let first = listed.partition_point(|segment| end_nanos(segment, 0) <= from);
        let last = closed.map(|to| listed.partition_point(|s| start_nanos(s, 0) < to));
        let number = |position: usize| listed.get(position).map(|segment| segment.k);
        let first_k = number(first).ok_or(NoExcerpt::Nothing)?;
        match last {
            Some(last) => {
                let last_k = last.checked_sub(1).and_then(number).ok_or(NoExcerpt::Nothing)?;
                self.whole(first_k..last_k.saturating_add(1))
            }
            None => Ok(self.going_on(from, first_k)),
        }
    }

    /// These segments on their own, as far as there is media of any. Numbers that no rendition has media of
    /// are left out: nobody waits for them any more.
    ///
    /// # Errors
    /// [`NoExcerpt::Nothing`] where every rendition lacks one.
    pub fn whole(&self, numbers: Range<u64>) -> Result<Self, NoExcerpt> {
        // All list the same numbers, so a position is that of the same segment in each.
        let within: Vec<Slice<'_>> = (0..self.tracks.len())
            .map(|index| {
                let listed = self.listed(index);
                let from = listed.partition_point(|segment| segment.k < numbers.start);
                let to = listed.partition_point(|segment| segment.k < numbers.end);
                listed.within(from..to)
            })
            .collect();
        let has_media = |position: usize| {
            within.iter().any(|track| track.get(position).is_some_and(|s| s.has_media()))
        };
        let tracks: Vec<Segments> = within
            .iter()
            .map(|track| {
                let kept = track.iter().enumerate().filter(|(position, _)| has_media(*position));
                kept.map(|(_, segment)| segment.clone()).collect()
            })
            .collect();
        let complete = tracks.iter().all(|track| track.iter().any(|segment| segment.has_media()));
        let edges = tracks.first().and_then(|track| Some((track.first()?, track.last()?)));
        let (Some((first, last)), true) = (edges, complete) else {
            return Err(NoExcerpt::Nothing);
        };
        let (begin, end) = (start_nanos(first, 0), end_nanos(last, 0));
        let renditions = Arc::clone(&last.run.renditions);
        let track = |segments| Track { segments, open: None };
        Ok(Self {
            renditions,
            tracks: tracks.into_iter().map(track).collect(),
            state: State::Whole,
            run: None,
            promise: None,
            cues: self.cues_within(begin, end),
            gone_cues: Arc::default(),
            begins: None,
            ..self.clone()
        })
    }

    /// The channel's own snapshot without what lies before `first_k`, for who asked for it from an instant
    /// on.
    fn going_on(&self, from: i64, first_k: u64) -> Self {
        let rest = |track: &Track| {
            let from = track.segments.all().partition_point(|segment| segment.k < first_k);
            Track { segments: track.segments.rest(from), open: track.open.clone() }
        };
        let tracks: Vec<_> = self.tracks.iter().map(rest).collect();
        let head = tracks.first().and_then(|track| track.segments.first()).cloned();
        let begin = head.as_ref().map_or(i64::MIN, |segment| start_nanos(segment, 0));
        Self {
            tracks,
            cues: self.cues_within(begin, i64::MAX),
            begins: head.map(|head| self.beginning(from, &head)),
            ..self.clone()
        }
    }

    /// Where an excerpt from an instant on begins within a run, of which `head` is the oldest segment that
    /// is listed. It stays where it is when its first segments leave the window.
    fn beginning(&self, from: i64, head: &Segment) -> Beginning {
        let (grid, run) = (&self.format.grid, &head.run);
        let scale = grid.video_scale();
        let ticks = |at: Timestamp| at.ticks_in(scale, Rounding::Nearest);
        let lengths = run.lengths;
        if start_nanos(head, 0) <= from {
            let start = ticks(Timestamp::new(head.start, run.scale(0)));
            return Beginning { first_k: head.k, start, lengths };
        }
        let from = ticks(Timestamp::new(from, Timescale::NANOS));
        let first_k = run.number_at(grid, from).unwrap_or(run.first_k);
        Beginning { first_k, start: run.boundary(grid, &self.cues, first_k), lengths }
    }

    /// The cues that have to do with what lies between two instants, in nanoseconds.
    fn cues_within(&self, begin: i64, end: i64) -> Arc<[super::Cue]> {
        let scale = self.format.grid.video_scale();
        let at = |ticks| rescale(ticks, scale, Timescale::NANOS, Rounding::Nearest);
        let within = |cue: &&super::Cue| {
            let over = cue.ended().map_or(i64::MAX, |end| at(end.at));
            // A mark has no length.
            at(cue.start) < end && (over > begin || !cue.is_break && at(cue.start) >= begin)
        };
        self.cues.iter().filter(within).cloned().collect()
    }
}

fn nanos(at: Timestamp) -> i64 {
    at.ticks_in(Timescale::NANOS, Rounding::Nearest)
}

/// Where a segment of the rendition at `index` begins, in nanoseconds since the epoch.
fn start_nanos(segment: &Segment, index: usize) -> i64 {
    nanos(Timestamp::new(segment.start, segment.run.scale(index)))
}

fn end_nanos(segment: &Segment, index: usize) -> i64 {
    nanos(Timestamp::new(segment.end(), segment.run.scale(index)))
}

#[cfg(test)]
mod tests;
