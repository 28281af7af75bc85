//! The sound of a source's run: held until it is known which segment it is in.

use std::collections::VecDeque;

use super::SourceSegmenter;
use crate::media::Sample;
use crate::time::{Rounding, Span, Timescale, rescale};

/// Sound held until the pictures have got there: 40 s of it, half a megabyte. An encoder that begins in
/// the past makes the sound of that at once and its pictures as fast as it can: it begins three segments
/// back, of 6 s at the most, and gets 10 s for them before filler moves the pictures on. A source's
/// sound waits for half a segment.
const MAX_HELD: usize = 2_048;

/// Sound that waits for the pictures.
#[derive(Debug)]
pub(super) struct Held {
    /// Where the run begins; from its first sample on where that begins.
    pub(super) start: i64,
    /// Ticks of one frame.
    pub(super) frame: i64,
    pub(super) samples: VecDeque<(Sample, bool)>,
    /// Decode time the next sample must have; `None` before the first.
    pub(super) next: Option<i64>,
    /// Segments the pictures have begun and the sound has not, and their starts in ticks of sound.
    pub(super) cuts: VecDeque<(u64, i64)>,
    pub(super) mute: bool,
}

impl Held {
    /// Of a run that begins at `start`, with frames of so many ticks.
    pub(super) fn new(start: i64, frame: u32, mute: bool) -> Self {
        let (samples, cuts) = (VecDeque::new(), VecDeque::new());
        Self { start, frame: frame.into(), samples, next: None, cuts, mute }
    }
}

impl SourceSegmenter {
    pub(super) fn push_sound(&mut self, sample: Sample) {
        let (start, frame) = (self.held.start, self.held.frame);
        let late = match self.held.next {
            Some(next) => next > sample.dts,
            None => start - frame >= sample.dts,
        };
        if late || self.held.samples.len() >= MAX_HELD {
            return;
        }
        if self.held.next.is_none() {
            // A run's sound begins with the frame that contains its start: players cut the one before
            // off there, and wait where nothing follows. Silence before the first frame is whole frames.
            let ahead = (sample.dts - start).max(0);
            self.held.start = sample.dts - (ahead + frame - 1) / frame * frame;
        }
        self.fill_sound(sample.dts - frame + 1);
        let gap = sample.dts - self.held.next.unwrap_or(self.held.start);
        if gap >= frame {
            // There is no room for so much silence: later, in whole frames too.
            return;
        }
        self.bridge(gap);
        self.hold(sample, false);
        self.release();
    }

    /// Appends silence, whole frames of it, while sound is before `to`.
    pub(super) fn fill_sound(&mut self, to: i64) {
        let frame = u32::try_from(self.held.frame).unwrap_or(1024);
        while let at = self.held.next.unwrap_or(self.held.start)
            && at < to
            && self.held.samples.len() < MAX_HELD
            && let Some(silence) = self.sound.filler.sample(at, frame)
        {
            self.hold(silence, true);
            // Released as it is made: a long hole would be a long queue.
            self.release();
        }
    }

    /// Appends silence for less than a frame: a frame that lasts only so long, where sound is on another
    /// grid than the silence before it. Were the next frame longer instead, a segment's sound could
    /// begin more than a frame behind its pictures.
    fn bridge(&mut self, gap: i64) {
        let at = self.held.next.unwrap_or(self.held.start);
        if let Ok(gap @ 1..) = u32::try_from(gap)
            && let Some(silence) = self.sound.filler.sample(at, gap)
        {
            self.hold(silence, true);
        }
    }

    fn hold(&mut self, sample: Sample, silence: bool) {
        self.held.next = Some(sample.dts.saturating_add(i64::from(sample.duration)));
        self.held.samples.push_back((sample, silence));
    }

    /// Lets sound go that is in a segment for sure: up to where the pictures are. A part that the segment
    /// may end with waits until that is known, as the pictures' do.
    pub(super) fn release(&mut self) {
        let Some(next) = self.pictures.next else { return };
        let (video, audio) = (self.grid.video_scale(), self.sound_scale());
        let pictures = rescale(next, video, audio, Rounding::Ceil);
        loop {
            let at = self.sound_at();
            if let Some((k, cut)) = self.held.cuts.front().copied()
                && at >= cut
            {
                self.held.cuts.pop_front();
                self.sound.close(&mut self.ready, at);
                self.sound.k = k;
                continue;
            }
            let known = at < pictures;
            if self.sound.next.is_some_and(|next| next >= self.sound_part_end())
                && (known || !self.cuts_at(rescale(at, audio, video, Rounding::Ceil)))
            {
                self.sound.flush(&mut self.ready);
            }
            if !known {
                return;
            }
            let Some((sample, silence)) = self.held.samples.pop_front() else { return };
            if self.sound.next.is_none() {
                self.sound.start = sample.dts;
            }
            if silence {
                self.sound.filled = self.sound.filled.saturating_add(sample.duration);
            }
            self.sound.take(sample);
        }
    }

    /// Where the sound begins that is in no part yet, if it is there or not.
    pub(super) fn sound_at(&self) -> i64 {
        let front = self.held.samples.front().map(|(sample, _)| sample.dts);
        front.or(self.held.next).unwrap_or(self.held.start)
    }

    /// When silence could complete the open part of the sound; `None` before the run's first picture,
    /// and where the sound is there already and waits for the pictures.
    pub(super) fn sound_due(&self) -> Option<i64> {
        self.pictures.next?;
        let next = self.held.next.unwrap_or(self.held.start);
        let missing = self.sound_part_end() - next;
        let frames = missing.max(0).unsigned_abs().div_ceil(self.held.frame.unsigned_abs());
        (frames > 0).then(|| next + self.held.frame * frames.cast_signed())
    }

    /// Length of p in the open part of the sound, which ends with the first frame that reaches it.
    fn sound_part_end(&self) -> i64 {
        let start = match self.sound.next {
            Some(_) => self.sound.start,
            None => self.held.start,
        };
        let part = Span::new(self.grid.shortest_source_part(), self.grid.video_scale());
        start + part.ticks_in(self.sound_scale(), Rounding::Ceil).cast_signed()
    }

    pub(super) fn sound_scale(&self) -> Timescale {
        self.sound.rendition.track.timescale
    }
}
