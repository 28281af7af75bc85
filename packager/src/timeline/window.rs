//! The one writer of a channel's timeline, and the window it keeps.
//!
//! Renditions finish a segment at different moments; that is the only way in which their lists may
//! differ. Whatever else is missing becomes a gap: numbers are without a hole in every rendition,
//! and a run begins at the same number in all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::absence::Absence;
use super::{
    Beginning, Format, Lengths, OpenSegment, Part, Promise, Run, Segment, Segments, Snapshot,
    State, Track,
};
use crate::grid::Cut;
use crate::media::{Rendition, RunId};
use crate::scte35::Cue;
use crate::time::{Rounding, Span, Timestamp, rescale};

/// How much longer than the window uneven segments stay listed. A manifest names each of them, and
/// what it named when a player read it has to be there until the player reads it again: after an
/// update period of 2 s, from a cache that may keep it for a second, and a second for the way.
pub const STAYS_NAMED: Span = Span::millis(4_000);

/// How many segments long a cue that is not told any more is named as gone: longer than the skip boundary
/// of 6 target durations, each of them up to twice as long as a segment (RFC 8216bis §6.2.5.1).
const GONE_FOR: u64 = 16;

/// Stretches of a run that parts may still come for: a rendition is at most a segment behind.
const MAX_STRETCHES: usize = 4;

/// A segment that left the window of one rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Position of the rendition.
    pub rendition: usize,
    /// The segment.
    pub segment: Segment,
}

/// The timeline of a channel, as its one writer sees it. See the module's page.
#[derive(Debug)]
pub struct Timeline {
    format: Arc<Format>,
    renditions: Arc<[Rendition]>,
    tracks: Vec<Writing>,
    /// The newest run: its stretches, oldest first.
    run: Vec<Arc<Run>>,
    absence: Absence,
    /// Of the newest run of which anything was listed.
    last_discontinuity: Option<u64>,
    /// No number below this is used again, even where nothing is listed any more.
    floor: u64,
    state: State,
    promise: Option<Promise>,
    cues: Arc<[Cue]>,
    /// Cues that were told and are not any more, and the number of the newest segment then.
    gone_cues: VecDeque<(u64, String)>,
    /// What the last snapshot listed, and the video ticks of its [`Snapshot::revised`].
    outline: Outline,
    revised: i64,
    mirrored: bool,
    version: u64,
}

/// What a snapshot lists, as far as a manifest tells it. While this stays, a manifest reads the same.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    /// The stretches with media.
    stretches: Vec<(RunId, u32)>,
    /// The first and last segment, where they are named one by one.
    named: Option<(u64, u64)>,
    ended: bool,
    /// The cues, and where those ended that a message ended.
    cues: Vec<(String, Option<i64>)>,
}

#[derive(Debug, Default)]
struct Writing {
    segments: Segments,
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
            run: Vec::new(),
            absence: Absence::default(),
            last_discontinuity,
            floor: 0,
            state: State::Live,
            promise: None,
            cues: Arc::default(),
            gone_cues: VecDeque::new(),
            outline: Outline::default(),
            revised: 0,
            mirrored: false,
            version: 0,
        }
    }

    /// A timeline that an earlier process has written. `stretches` are those of its newest run, oldest
    /// first and at least one; `tracks` have one entry per rendition of it. Numbers that are missing
    /// become gaps: of the run that has them in another rendition, else of the run behind them.
    pub fn restore(format: Arc<Format>, mut stretches: Vec<Arc<Run>>, tracks: Vec<Track>) -> Self {
        stretches.drain(..stretches.len().saturating_sub(MAX_STRETCHES));
        let newest = stretches.last();
        let renditions = newest.map(|run| Arc::clone(&run.renditions)).unwrap_or_default();
        let discontinuity = newest.map(|run| run.discontinuity);
        let mut timeline = Self::new(format, renditions, None);
        timeline.run = stretches;
        timeline.tracks.clear();
        let mut runs = BTreeMap::new();
        for track in &tracks {
            runs.extend(track.segments.iter().map(|s| (s.k, Arc::clone(&s.run))));
            runs.extend(track.open.iter().map(|open| (open.k, Arc::clone(&open.run))));
        }
        let head = runs.keys().next().copied().unwrap_or(0);
        for (rendition, Track { segments, open }) in tracks.into_iter().enumerate() {
            timeline.tracks.push(Writing::default());
            let end = open.as_ref().map(|open| open.k);
            for segment in &segments {
                timeline.fill_by(rendition, head, segment.k, &runs);
                timeline.push_back(rendition, segment.clone());
            }
            if let Some(end) = end {
                timeline.fill_by(rendition, head, end, &runs);
            }
            if let Some(track) = timeline.tracks.get_mut(rendition) {
                track.open = open.map(Arc::unwrap_or_clone);
            }
        }
        timeline.last_discontinuity = discontinuity;
        let newest = timeline.run.last().map(|run| run.id.clone());
        for (rendition, track) in timeline.tracks.iter().enumerate() {
            for segment in track.segments.iter().filter(|s| Some(&s.run.id) == newest.as_ref()) {
                timeline.absence.note(rendition, segment.gap);
            }
        }
        timeline
    }

    /// The same as a mirror of another server's timeline, which it was at an earlier time too.
    #[must_use]
    pub fn mirrored(mut self, before: Option<Self>) -> Self {
        self.mirrored = true;
        if let Some(before) = before {
            (self.version, self.revised) = (before.version, before.revised);
            (self.outline, self.cues, self.gone_cues) =
                (before.outline, before.cues, before.gone_cues);
        }
        self
    }

    /// Lists gaps in a rendition from where it is, or `head`, to before `until`.
    fn fill_by(&mut self, rendition: usize, head: u64, until: u64, runs: &BTreeMap<u64, Arc<Run>>) {
        let next = |timeline: &Self| timeline.tracks.get(rendition).and_then(Writing::next_k);
        while let k = next(self).unwrap_or(head)
            && k < until
            && let Some((behind, run)) = runs.range(k..).next()
        {
            self.fill(rendition, k, until.min(behind.saturating_add(1)), run);
        }
    }

    fn push_back(&mut self, rendition: usize, segment: Segment) {
        if let Some(track) = self.tracks.get_mut(rendition) {
            track.segments.push(segment);
        }
    }

    /// The smallest number the next run may begin with: above every segment that was ever listed
    /// or opened.
    pub fn next_k(&self) -> u64 {
        self.tracks.iter().filter_map(Writing::next_k).max().unwrap_or(0).max(self.floor)
    }

    /// Begins a run of the renditions the channel has at segment `first_k` of the grid; see
    /// [`Self::begin_run_at`].
    pub fn begin_run(&mut self, id: RunId, first_k: u64, inits: Vec<Bytes>) -> Arc<Run> {
        let start = self.format.grid.boundary(first_k);
        let beginning = Beginning { first_k, start, lengths: Lengths::Even };
        self.begin_run_at(id, beginning, Arc::clone(&self.renditions), inits)
    }

    /// Begins a run of `renditions`, which have the names and the order of those before. What an
    /// earlier run left open is closed as it is. Numbers that only some renditions have are listed as
    /// gaps of the earlier run, and numbers between the runs as gaps of the new one, so that the one
    /// discontinuity stands before the first gap and at the same number everywhere.
    ///
    /// A channel's first run takes the hours since 2026 as its discontinuity number, later ones one
    /// more than the newest run that got into a playlist: players count the tags they could see. So
    /// it does not fall where the journal is lost, unless there was more than one run an hour, and it
    /// stays small: hls.js 1.7 walks an array of that length and hangs where it is a segment number.
    pub fn begin_run_at(
        &mut self,
        id: RunId,
        Beginning { first_k, start, lengths }: Beginning,
        renditions: Arc<[Rendition]>,
        inits: Vec<Bytes>,
    ) -> Arc<Run> {
        self.close_all();
        let next_k = self.next_k();
        if let Some(old) = self.run.last().cloned() {
            self.fill_all(next_k, &old);
        }
        let discontinuity = match self.last_discontinuity {
            Some(last) => last.saturating_add(1),
            None => self.hours_since_2026(start),
        };
        self.renditions = Arc::clone(&renditions);
        let (stretch, left_out) = (0, Vec::new());
        let run = Run {
            id,
            discontinuity,
            stretch,
            left_out,
            first_k,
            start,
            lengths,
            renditions,
            inits,
        };
        let run = Arc::new(run);
        self.run = vec![Arc::clone(&run)];
        self.absence.clear();
        self.fill_all(first_k, &run);
        self.state = State::Live;
        run
    }

    /// Goes on with another stretch of the run; nothing of its first segment may be there yet.
    pub fn shift(&mut self, Beginning { first_k, start, lengths }: Beginning) {
        if let Some(run) = self.run.last() {
            self.stretch(Run { first_k, start, lengths, ..Run::clone(run) });
        }
    }

    /// Goes on in another stretch of the run.
    fn stretch(&mut self, run: Run) {
        // One that nothing can have begun yet is given up for it.
        if self.run.len() > 1 {
            self.run.pop_if(|last| last.first_k == run.first_k);
        }
        let before = self.run.last().map_or(0, |before| before.stretch);
        self.run.push(Arc::new(Run { stretch: before.saturating_add(1), ..run }));
        if self.run.len() > MAX_STRETCHES {
            self.run.remove(0);
        }
    }

    /// Leaves out what has been off for long, and offers what is back, from the first segment on that
    /// no rendition has begun.
    fn leave_out(&mut self) {
        let left_out = self.absence.long(&self.format.grid);
        let k = self.next_k();
        let Some(run) = self.run.last().filter(|run| run.left_out != left_out) else { return };
        let start = run.boundary(&self.format.grid, &self.cues, k);
        self.stretch(Run { left_out, first_k: k, start, ..Run::clone(run) });
    }

    /// These are the cues from now on: those that are told. What was told before and is not among them
    /// is named as gone for a while, to who keeps an older playlist up to date.
    pub fn tell_cues(&mut self, cues: Vec<Cue>) {
        let k = self.next_k();
        let is_there = |id: &str| cues.iter().any(|cue| cue.id == id);
        let gone = self.cues.iter().filter(|cue| !is_there(&cue.id));
        self.gone_cues.extend(gone.map(|cue| (k, cue.id.clone())));
        self.cues = cues.into();
    }

    /// Notes that these numbers of the run before the newest one are answered, though not listed.
    pub fn promise(&mut self, promise: Promise) {
        self.promise = Some(promise);
    }

    /// Adds a part to segment `k` of a rendition, whose first sample decodes at `start`. Opens the
    /// segment if this is its first part; numbers left out before it become gaps. A part of a
    /// segment that is finished already, or of none of the current run's, is dropped.
    pub fn push_part(&mut self, rendition: usize, k: u64, start: i64, part: Part) {
        if let Some(open) = self.open(rendition, k, start) {
            open.parts.push(part);
        }
    }

    /// Says that segment `k` of a rendition, which begins now at `start`, is a gap, whatever parts it
    /// gets: its rendition is off.
    pub fn open_gap(&mut self, rendition: usize, k: u64, start: i64) {
        let (grid, cues) = (self.format.grid, Arc::clone(&self.cues));
        if let Some(open) = self.open(rendition, k, start) {
            let end = open.run.start_of(&grid, &cues, rendition, k.saturating_add(1));
            open.gap = Some(end.abs_diff(open.start));
        }
    }

    /// The open segment of a rendition, if `k` can be that.
    fn open(&mut self, rendition: usize, k: u64, start: i64) -> Option<&mut OpenSegment> {
        // A number before the newest stretch is that of a rendition which is a little behind.
        let run = self.run.iter().rev().find(|run| run.first_k <= k);
        let run = run.cloned().filter(|_| self.state == State::Live)?;
        let open = self.tracks.get(rendition)?.open.as_ref().map(|open| open.k);
        if open.is_some_and(|open| k < open) {
            return None;
        }
        if open != Some(k) {
            self.close(rendition);
            let next_k = self.tracks.get(rendition).and_then(Writing::next_k);
            if next_k.is_some_and(|next_k| k < next_k) {
                return None;
            }
            self.fill(rendition, next_k.unwrap_or(run.first_k), k, &run);
        }
        self.last_discontinuity = Some(run.discontinuity);
        let track = self.tracks.get_mut(rendition)?;
        let new = OpenSegment { k, run, start, parts: Vec::new(), gap: None };
        Some(track.open.get_or_insert(new))
    }

    /// Finishes the open segment of a rendition.
    pub fn close(&mut self, rendition: usize) {
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        let Some(open) = track.open.take() else { return };
        // A gap is as long as players were told, whatever of it was made.
        let duration = open.gap.unwrap_or_else(|| open.made());
        let gap = open.gap.is_some();
        track.segments.push(Segment {
            k: open.k,
            run: open.run,
            start: open.start,
            duration,
            parts: open.parts.as_slice().into(),
            gap,
        });
        self.absence.note(rendition, gap);
        self.leave_out();
    }

    /// Whole hours from 2026-01-01T00:00:00Z to an instant in video ticks; 0 before that.
    fn hours_since_2026(&self, ticks: i64) -> u64 {
        const SECONDS_TO_2026: i64 = 1_767_225_600;
        let seconds = ticks / i64::from(self.format.grid.video_scale().get());
        u64::try_from((seconds - SECONDS_TO_2026) / 3_600).unwrap_or(0)
    }

    /// The newest stretch of the newest run.
    pub fn newest_run(&self) -> Option<&Arc<Run>> {
        self.run.last()
    }

    /// Where the oldest segment begins, in ticks of the first rendition: the pictures'.
    pub fn first_start(&self) -> Option<i64> {
        Some(self.tracks.first()?.segments.first()?.start)
    }

    /// The newest finished segment of a rendition.
    pub fn last_segment(&self, rendition: usize) -> Option<&Segment> {
        self.tracks.get(rendition)?.segments.last()
    }

    fn close_all(&mut self) {
        for rendition in 0..self.tracks.len() {
            self.close(rendition);
        }
    }

    /// Lists gaps of `run` in every rendition, from where it is to before `until`. Does nothing
    /// while no rendition has anything.
    fn fill_all(&mut self, until: u64, run: &Arc<Run>) {
        let head = self.tracks.iter().filter_map(|t| t.segments.first()).map(|s| s.k).min();
        let Some(head) = head else { return };
        for rendition in 0..self.tracks.len() {
            let from = self.tracks.get(rendition).and_then(Writing::next_k).unwrap_or(head);
            self.fill(rendition, from, until, run);
        }
    }

    fn fill(&mut self, rendition: usize, from: u64, until: u64, run: &Arc<Run>) {
        let boundary = |k| run.start_of(&self.format.grid, &self.cues, rendition, k);
        // More would leave at the next trim anyway: it keeps one window, and one more where a
        // rendition has stopped.
        let from = from.max(until.saturating_sub(2 * self.format.window_segments()));
        let bounds: Vec<_> = (from..until).map(|k| (k, boundary(k), boundary(k + 1))).collect();
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        for (k, start, end) in bounds {
            self.last_discontinuity = Some(run.discontinuity);
            track.segments.push(Segment::missing(k, run, start, end.abs_diff(start)));
        }
    }

    /// Lists gaps of the newest run in every rendition, up to number `last_k`: whoever wrote it may have
    /// listed so much, and the next run begins at `start`, in video ticks. Gives the gaps.
    ///
    /// Where a source makes the segments the gaps are shorter if they would not end before `start`: dates do
    /// not go back.
    pub fn lose(&mut self, last_k: u64, start: i64) -> Vec<(usize, Segment)> {
        self.close_all();
        let Some(run) = self.run.last().cloned() else { return Vec::new() };
        let before: Vec<_> = self.tracks.iter().map(|track| track.next_k().unwrap_or(0)).collect();
        self.fill_all(self.next_k(), &run);
        match self.format.grid.cut {
            Cut::Grid => self.fill_all(last_k.saturating_add(1), &run),
            Cut::Source => (0..self.tracks.len())
                .for_each(|rendition| self.squeeze(rendition, last_k, start, &run)),
        }
        let gaps =
            self.tracks.iter().zip(before).enumerate().flat_map(|(rendition, (track, from))| {
                let new = track.segments.iter().filter(move |segment| segment.k >= from);
                new.map(move |gap| (rendition, gap.clone()))
            });
        gaps.collect()
    }

    /// Lists gaps of `run` behind what a rendition has, up to number `last_k` and, in video ticks,
    /// before `start`.
    fn squeeze(&mut self, rendition: usize, last_k: u64, start: i64, run: &Arc<Run>) {
        let grid = self.format.grid;
        let ticks =
            |video| rescale(video, grid.video_scale(), run.scale(rendition), Rounding::Floor);
        let length = ticks(grid.segment_ticks.cast_signed());
        let keep = last_k.saturating_sub(2 * self.format.window_segments());
        let Some(track) = self.tracks.get_mut(rendition) else { return };
        let Some((k, end)) = track.segments.last().map(|last| (last.k, last.end())) else { return };
        let Some(count) = last_k.checked_sub(k).filter(|count| *count > 0) else { return };
        let room = ticks(start).saturating_sub(end) / i64::try_from(count).unwrap_or(i64::MAX);
        let length = if room > 0 { length.min(room) } else { length };
        for n in keep.saturating_sub(k)..count {
            let after = length.saturating_mul(i64::try_from(n).unwrap_or(i64::MAX));
            let start = end.saturating_add(after);
            track.segments.push(Segment::missing(k + 1 + n, run, start, length.unsigned_abs()));
        }
    }

    /// Ends the channel: no segment follows until a run begins.
    pub fn end(&mut self) {
        self.close_all();
        self.state = State::Ended;
    }

    /// Forgets every segment: the next run is a new presentation for new viewers, with higher
    /// numbers.
    pub fn clear(&mut self) -> Vec<Removed> {
        self.close_all();
        self.floor = self.next_k();
        self.drop_before(u64::MAX)
    }

    /// Drops what lies before the window, the same numbers in every rendition. To be called before
    /// a snapshot is taken.
    pub fn trim(&mut self) -> Vec<Removed> {
        let keep = self.format.window_segments();
        let last = |track: &Writing| track.segments.last().map_or(0, |segment| segment.k);
        let slowest = self.tracks.iter().map(last).min().unwrap_or(0);
        let fastest = self.tracks.iter().map(last).max().unwrap_or(0);
        // A rendition that has stopped holds no more than one window back.
        let newest = slowest.max(fastest.saturating_sub(keep));
        let first = (newest + 1).saturating_sub(keep);
        self.drop_before(self.first_named(first))
    }

    /// The oldest uneven segment before `first` that manifests have to name still, else `first`.
    fn first_named(&self, first: u64) -> u64 {
        let grid = &self.format.grid;
        let depth = grid.segment_ticks.saturating_mul(self.format.window_segments());
        let more = STAYS_NAMED.ticks_in(grid.video_scale(), Rounding::Ceil);
        self.tracks
            .iter()
            .enumerate()
            .filter_map(|(rendition, track)| {
                let scale = |segment: &Segment| segment.run.scale(rendition);
                let newest = track.segments.last()?;
                let depth = depth.saturating_add(more).cast_signed();
                let depth = rescale(depth, grid.video_scale(), scale(newest), Rounding::Ceil);
                let since = newest.end().saturating_sub(depth);
                let uneven = |segment: &&Segment| {
                    segment.run.lengths == Lengths::Uneven
                        && rescale(segment.end(), scale(segment), scale(newest), Rounding::Ceil)
                            > since
                };
                let mut leaving = track.segments.iter().take_while(|segment| segment.k < first);
                leaving.find(uneven).map(|segment| segment.k)
            })
            .min()
            .unwrap_or(first)
    }

    fn drop_before(&mut self, k: u64) -> Vec<Removed> {
        let mut removed = Vec::new();
        for (rendition, track) in self.tracks.iter_mut().enumerate() {
            let left = track.segments.take_first(|segment| segment.k < k);
            removed.extend(left.into_iter().map(|segment| Removed { rendition, segment }));
        }
        removed
    }

    /// The timeline as it is now.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.version += 1;
        let scale = self.format.grid.video_scale();
        let remembered = self.next_k().saturating_sub(GONE_FOR);
        while self.gone_cues.pop_front_if(|(k, _)| *k < remembered).is_some() {}
        let mut snapshot = Snapshot {
            format: Arc::clone(&self.format),
            renditions: Arc::clone(&self.renditions),
            tracks: self.tracks.iter().map(Writing::track).collect(),
            state: self.state,
            run: self.run.last().cloned(),
            revised: Timestamp::new(self.revised, scale),
            promise: self.promise.clone(),
            cues: Arc::clone(&self.cues),
            gone_cues: self.gone_cues.iter().map(|(_, id)| id.clone()).collect(),
            begins: None,
            mirrored: self.mirrored,
            version: self.version,
        };
        let listed = snapshot.listed_runs();
        let uneven = listed.iter().any(|listed| listed.run.lengths == Lengths::Uneven);
        let outline = Outline {
            stretches: listed.iter().map(|l| (l.run.id.clone(), l.run.stretch)).collect(),
            named: snapshot.first_k().zip(snapshot.last_k()).filter(|_| uneven),
            ended: self.state == State::Ended,
            cues: self.cues.iter().map(told).collect(),
        };
        if outline != self.outline {
            self.outline = outline;
            // A millisecond later at the least, so that a date printed from it is another one.
            let later = self.revised.saturating_add(i64::from(scale.get().div_ceil(1000)));
            let edge = snapshot.listed(0).last().map_or(0, |segment| segment.end());
            self.revised = later.max(edge);
            snapshot.revised.ticks = self.revised;
        }
        Arc::new(snapshot)
    }
}

impl Writing {
    /// The number after the newest, where there is one.
    fn next_k(&self) -> Option<u64> {
        let open = self.open.as_ref().map(|open| open.k);
        let last = self.segments.last().map(|segment| segment.k);
        open.max(last).map(|k| k + 1)
    }

    fn track(&self) -> Track {
        Track { segments: self.segments.clone(), open: self.open.clone().map(Arc::new) }
    }
}

/// What a manifest tells of a cue that is not the same for its whole life.
fn told(cue: &Cue) -> (String, Option<i64>) {
    let end = cue.ended().filter(|_| !cue.end_section.is_empty());
    (cue.id.clone(), end.map(|end| end.at))
}
