//! Filler in a source's run: what is made where the source has nothing, and when.

use super::SourceSegmenter;
use crate::segmenter::filling::most_at_once;
use crate::time::{Rounding, Span, Timescale, Timestamp};

/// Segments of filler that wait for a source which is expected: it should be there within two.
const EXPECTED_WITHIN: u32 = 2;

impl SourceSegmenter {
    /// Says that another source is there, whose run is to begin.
    pub fn expect(&mut self) {
        self.expected = EXPECTED_WITHIN;
    }

    /// When [`Self::fill`] has something to do: the end of the next part that filler could complete,
    /// and `patience` on top while the source is there for it.
    pub fn due(&self, patience: Span) -> Option<Timestamp> {
        let pictures = self.pictures.next.map(|_| self.picture_part_end());
        let pictures = pictures.map(|end| Timestamp::new(end, self.grid.video_scale()));
        let sound = self.sound_due().map(|end| Timestamp::new(end, self.sound_scale()));
        let nanos = |end: Timestamp| end.ticks_in(Timescale::NANOS, Rounding::Ceil);
        let first = pictures.into_iter().chain(sound).map(nanos).min()?;
        let due = first.saturating_add(self.patience(patience));
        Some(Timestamp::new(due, Timescale::NANOS))
    }

    /// Completes every part with filler that is due at `now`, as [`Self::due`] says, and not much more
    /// than ten seconds of it: what is due then is made by the next call.
    pub fn fill(&mut self, now: Timestamp, patience: Span) {
        let until = now.ticks_in(Timescale::NANOS, Rounding::Floor);
        let until = until.min(most_at_once(self.due(patience)));
        let until = until.saturating_sub(self.patience(patience));
        let until = Timestamp::new(until, Timescale::NANOS);
        let video = until.ticks_in(self.grid.video_scale(), Rounding::Floor);
        while let Some(before) = self.pictures.next
            && self.picture_part_end() <= video
        {
            self.pictures.hole = true;
            self.fill_pictures(self.picture_part_end());
            if self.pictures.next == Some(before) {
                break;
            }
        }
        let sound = until.ticks_in(self.sound_scale(), Rounding::Floor);
        if self.sound_due().is_some_and(|end| end <= sound) {
            self.fill_sound(sound - self.held.frame + 1);
        }
        self.release();
    }

    /// Completes the run with filler up to `end` and closes its segment there, where another run takes
    /// over.
    pub fn end_at(&mut self, end: Timestamp) {
        self.fill_to(end);
        if let Some(next) = self.pictures.next.filter(|next| *next > self.cuts.segment) {
            self.cut(next);
            self.fill_sound(self.held.cuts.back().map_or(i64::MIN, |(_, cut)| *cut));
            self.release();
        }
    }

    /// Goes on with filler up to the start of segment `k`.
    pub fn fill_before(&mut self, k: u64) {
        while self.pictures.k < k {
            let before = self.pictures.next;
            self.fill_pictures(self.filler_boundary());
            if self.pictures.next == before {
                return;
            }
        }
        self.fill_sound(self.held.cuts.back().map_or(i64::MIN, |(_, cut)| *cut));
        self.release();
    }

    /// Completes the run with filler up to `end`.
    pub(super) fn fill_to(&mut self, end: Timestamp) {
        self.fill_pictures(end.ticks_in(self.grid.video_scale(), Rounding::Nearest));
        self.fill_sound(end.ticks_in(self.sound_scale(), Rounding::Ceil));
        self.release();
    }

    /// How long a part may come after its end, in nanoseconds.
    fn patience(&self, with_a_source: Span) -> i64 {
        if self.gone {
            return 0;
        }
        with_a_source.ticks_in(Timescale::NANOS, Rounding::Ceil).cast_signed()
    }

    /// Shows the last key frame from where the pictures are to `to`, once per part; segments end at
    /// their boundaries, or at `to` if that is close.
    pub(super) fn fill_pictures(&mut self, to: i64) {
        while let Some(next) = self.pictures.next.filter(|next| *next < to) {
            // Real pictures may have gone beyond the boundary, waiting for a key frame.
            if next >= self.filler_boundary() {
                self.cut(next);
            }
            let end = self.picture_part_end();
            // What is left of less than half a frame is no picture of its own.
            let end = if (to - end) * 2 < self.frame { to } else { end };
            let duration = u32::try_from(end - next).unwrap_or(u32::MAX);
            let Some(sample) = self.pictures.filler.sample(next, duration) else { return };
            self.pictures.filled = self.pictures.filled.saturating_add(duration);
            self.cuts.filled = true;
            self.take_picture(sample);
            if end >= self.filler_boundary() {
                self.cut(end);
                self.expected = self.expected.saturating_sub(1);
            } else if self.picture_part_is_whole() {
                // Filler knows where it ends.
                self.pictures.flush(&mut self.ready);
            }
        }
    }

    /// Where a segment of filler ends: at its boundary, unless key frames have moved that away.
    fn filler_boundary(&self) -> i64 {
        let (shortest, longest) = (self.segment() / 2, self.longest());
        let boundary = self.boundary() - self.cuts.segment;
        let boundary = if self.expected > 0 { self.segment() * 3 / 2 } else { boundary };
        self.cuts.segment + boundary.clamp(shortest, longest)
    }

    /// Where filler ends the open part of the pictures.
    fn picture_part_end(&self) -> i64 {
        let next = self.pictures.next.unwrap_or(self.pictures.start);
        let end = (self.pictures.start + self.part()).min(self.filler_boundary());
        // Beyond the boundary filler begins another segment.
        if end > next { end } else { next + self.part() }
    }
}
