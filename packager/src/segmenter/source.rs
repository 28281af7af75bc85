//! Cuts a source that is packaged as it is: one rendition of pictures, one of sound.
//!
//! Nobody told the source's encoder where to put its key frames, so a segment ends at the one
//! nearest to its boundary, half a group of pictures on either side, and numbers go up by one per
//! segment. Boundaries count from the run's first picture in steps of D. Where key frames drift
//! away from them (a source whose group is not quite D long, or whose clock is not quite ours) they
//! are counted anew from a later segment on, and [`Output::Shifted`] says so. Where key frames come
//! as they please, segments are [uneven](Lengths::Uneven): each boundary is D after the cut before,
//! until key frames keep to D again for a while. A splice moves the boundary that is nearest to it, and
//! the segment ends at the key frame nearest to the splice then.
//!
//! A part closes with the first frame that ends at p or later, so that none is longer than
//! PART-TARGET, which is an audio frame more, and none but a segment's last is much shorter (RFC 8216bis
//! §4.4.4.9). Where the segment would end with it if a key frame came next, the part waits for that next
//! picture: a part that leaves alone has another of its segment behind it, which players can be told to
//! ask for. A picture that lasts long because others are missing leaves some of its time to the one
//! before it. Sound follows the pictures: it is held until it is known whether a segment ends before it,
//! and cut at the first frame at or after the pictures' cut.
//!
//! Pictures of an open group that lean on what lies before a cut can't be decoded by who starts there:
//! the cut's own picture stands for them.
//!
//! Holes are filled as in [`Segmenter`](super::Segmenter), and filler is cut at the boundaries
//! themselves. When a source [is expected](SourceSegmenter::expect), whose run begins when it pleases,
//! the segment of filler before it gets half as long again: no run leaves a short one behind, which
//! players stumble over. A group of pictures longer than TARGETDURATION is such a hole: a segment can't be
//! longer, so filler stands in until the next key frame; twice in a row is an error.
//!
//! Samples come without holes and on our time already: repairing a source's clock is
//! [`crate::repair`]'s.

use std::collections::VecDeque;

use super::{Error, Output, Position};
use crate::cmaf;
use crate::codec::nal;
use crate::grid::Grid;
use crate::grid::splices::Splices;
use crate::media::{Rendition, Sample};
use crate::scte35::Cue;
use crate::time::{Rounding, Timestamp, rescale};
use crate::timeline::{Beginning, Lengths};

mod cuts;
mod filling;
mod parts;
mod sound;
mod wishes;

use cuts::Cuts;
use parts::Parts;
use sound::Held;
use wishes::Wishes;

/// Position of the pictures among a source's renditions.
pub const PICTURES: usize = 0;
/// Position of the sound.
pub const SOUND: usize = 1;

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Number of its first segment.
    pub first_k: u64,
    /// Its first picture, in video ticks.
    pub at: i64,
    /// How long its segments are, as far as is known.
    pub lengths: Lengths,
    /// Whether there is no sound in the source: it is made, as silence.
    pub mute: bool,
}

/// What a run may leave behind as its last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remnant {
    /// Half a segment at the least.
    Long,
    /// However little there is.
    Any,
}

/// The state machine. See the module's page.
#[derive(Debug)]
pub struct SourceSegmenter {
    grid: Grid,
    /// Ticks of one picture.
    frame: i64,
    pictures: Parts,
    cuts: Cuts,
    wishes: Wishes,
    sound: Parts,
    held: Held,
    /// Whether the source has been lost.
    gone: bool,
    /// How many segments of filler wait for another source.
    expected: u32,
    ready: VecDeque<Output>,
}

impl SourceSegmenter {
    /// A segmenter for one run. The init segments are ready at once.
    pub fn new(grid: Grid, pictures: Rendition, sound: Rendition, start: Start) -> Self {
        let ready = [(PICTURES, &pictures), (SOUND, &sound)]
            .map(|(rendition, each)| Output::Init { rendition, bytes: cmaf::init(each) });
        let scale = grid.video_scale();
        let frame = pictures.rate.unwrap_or(grid.rate);
        let frame = u64::from(scale.get()) * u64::from(frame.den) / u64::from(frame.num.max(1));
        let sound_start = rescale(start.at, scale, sound.track.timescale, Rounding::Ceil);
        let sound_frame = sound.audio().map_or(1024, |audio| audio.frame_samples.max(1));
        Self {
            grid,
            frame: i64::try_from(frame).unwrap_or(1),
            pictures: Parts::new(PICTURES, pictures, start.first_k),
            cuts: Cuts::new(start.first_k, start.at, start.lengths),
            wishes: Wishes::default(),
            sound: Parts::new(SOUND, sound, start.first_k),
            held: Held::new(sound_start, sound_frame, start.mute),
            gone: false,
            expected: 0,
            ready: ready.into(),
        }
    }

    /// A segmenter that goes on with a run where an earlier process stopped, its source lost. Its newest
    /// stretch began at `base`; `starts` are numbers and starts of the pictures' segments, in order, of
    /// which sound may be behind by several: filler is made of pictures first. The init segments are
    /// there already.
    pub fn resume(
        grid: Grid,
        (pictures, mut at): (Rendition, Position),
        (sound, sound_at): (Rendition, Position),
        starts: &[(u64, i64)],
        base: Beginning,
    ) -> Self {
        let (video, audio) = (grid.video_scale(), sound.track.timescale);
        let mut ready = VecDeque::new();
        if sound_at.k > at.k {
            // The cut that the sound has made is the pictures' own, though a disk may have lost it.
            if at.part > 0 {
                ready.push_back(Output::SegmentClosed { rendition: PICTURES, k: at.k });
            }
            (at.k, at.part, at.segment) = (sound_at.k, 0, at.next);
        }
        let lengths = base.lengths;
        let start = Start { first_k: at.k, at: at.segment, lengths, mute: true };
        let mut segmenter = Self::new(grid, pictures, sound, start);
        segmenter.ready = ready;
        segmenter.cuts.base = (base.first_k, base.start);
        segmenter.pictures.go_on(&at);
        // The cuts that the pictures have made and the sound has not.
        let made = starts.iter().copied().filter(|(k, _)| *k < at.k).chain([(at.k, at.segment)]);
        let cut = |(k, start)| (k, rescale(start, video, audio, Rounding::Ceil));
        segmenter.held.cuts.extend(made.filter(|(k, _)| *k > sound_at.k).map(cut));
        segmenter.held.start = sound_at.next;
        segmenter.held.next = Some(sound_at.next);
        segmenter.sound.go_on(&sound_at);
        segmenter.lose();
        segmenter
    }

    /// Cuts at the key frames nearest to these splices from now on; [`Output::Spliced`] tells where that
    /// was. A splice moves the boundary that is within half a segment of it.
    pub fn follow(&mut self, splices: &Splices) {
        self.wishes.follow(splices);
    }

    /// Tells these cues in the pictures' segments from now on, as events.
    pub fn announce(&mut self, cues: &[Cue]) {
        let next_k = self.pictures.k + u64::from(self.pictures.part > 0);
        self.pictures.inband.follow(cues, self.grid.video_scale(), next_k);
    }

    /// Takes the next sample of a rendition. Dropped are: pictures before the run's first key frame
    /// or, after filler, before the next one; and what is late for a place that is taken.
    ///
    /// # Errors
    /// The sample can't be part of this run; see [`Error`].
    pub fn push(&mut self, rendition: usize, sample: Sample) -> Result<(), Error> {
        if sample.duration == 0 {
            return Err(Error::Empty { rendition, at: sample.dts });
        }
        match rendition {
            PICTURES => self.push_picture(sample),
            SOUND => {
                self.push_sound(sample);
                Ok(())
            }
            _ => Err(Error::NoRendition { rendition }),
        }
    }

    /// Decode time the next sample of a rendition should have, in its ticks: where everything before
    /// is there. `None` before its first.
    pub fn next(&self, rendition: usize) -> Option<i64> {
        if rendition == PICTURES { self.pictures.next } else { self.held.next }
    }

    /// Whether pictures are missing, so that none but a key frame is of use.
    pub fn waits_for_key_frame(&self) -> bool {
        self.pictures.hole || self.pictures.next.is_none()
    }

    /// Says that the source is gone: what comes next may begin later than where this one stopped.
    pub fn lose(&mut self) {
        self.pictures.hole = true;
        (self.gone, self.expected) = (true, 0);
    }

    /// Whether another run may begin at `at`: where everything that is there ends or later, and not so
    /// early that it leaves a short segment behind, unless any will do.
    pub fn may_end_at(&self, at: Timestamp, remnant: Remnant) -> bool {
        let Some(end) = self.pictures.next else { return true };
        let at = at.ticks_in(self.grid.video_scale(), Rounding::Nearest);
        let length = at - self.cuts.segment;
        let long = length == 0 || length * 2 >= self.segment();
        at >= end && (long || remnant == Remnant::Any)
    }

    /// Where another run begins whose first picture is due at `at`: there, or where everything that is
    /// there ends, if that is less than half a frame away. Nothing can be shown for so short. Where players
    /// have been told of another part of the open segment, what is shown for that long is that part.
    pub fn seam(&self, at: Timestamp) -> Timestamp {
        let Some(end) = self.pictures.next else { return at };
        let ticks = at.ticks_in(self.grid.video_scale(), Rounding::Nearest);
        let (off, earliest) = ((ticks - end) * 2, self.earliest_end(end));
        // One that is due before what is there can't begin at all.
        let near = off > -self.frame && (off < self.frame || ticks < earliest);
        if near { Timestamp::new(earliest, self.grid.video_scale()) } else { at }
    }

    /// Where the open segment may end at the earliest: at `end`, where all of it ends; or so much later
    /// that there is something to make the part of that players have been told to ask for.
    fn earliest_end(&self, end: i64) -> i64 {
        let is_promised = |parts: &Parts| parts.part > 0 && parts.pending.is_empty();
        let picture = end + (self.frame + 1) / 2;
        if is_promised(&self.sound) {
            let (audio, video) = (self.sound_scale(), self.grid.video_scale());
            return picture.max(rescale(self.sound_at(), audio, video, Rounding::Floor) + 1);
        }
        if is_promised(&self.pictures) { picture } else { end }
    }

    /// Number of the segment that the next picture is in, unless it ends one.
    pub fn next_k(&self) -> u64 {
        self.pictures.k
    }

    /// Where everything that is there ends; `None` before the first picture.
    pub fn end(&self) -> Option<Timestamp> {
        self.pictures.next.map(|end| Timestamp::new(end, self.grid.video_scale()))
    }

    /// Ends the run: what is pending leaves as a last part and the open segments are closed.
    pub fn finish(&mut self) {
        if let Some(end) = self.pictures.next {
            let scale = self.grid.video_scale();
            self.fill_to(Timestamp::new(end, scale));
            // What sound there is beyond the pictures has no segment to be in.
            self.held.samples.clear();
            for parts in [&mut self.pictures, &mut self.sound] {
                parts.flush(&mut self.ready);
                if parts.part > 0 {
                    let (rendition, k) = (parts.position, parts.k);
                    self.ready.push_back(Output::SegmentClosed { rendition, k });
                }
            }
        }
    }

    /// The next thing that is ready.
    pub fn poll(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    fn push_picture(&mut self, sample: Sample) -> Result<(), Error> {
        let at = sample.dts;
        match self.pictures.next {
            None if !sample.sync || at < self.cuts.segment => return Ok(()),
            None if at > self.cuts.segment => {
                return Err(Error::Hole {
                    rendition: PICTURES,
                    expected: self.cuts.segment,
                    got: at,
                });
            }
            None => self.pictures.start = at,
            Some(next) if self.pictures.hole => {
                let since = self.cuts.last_sync.map_or(0, |last| at - last);
                if self.cuts.missed > 0 && since > 2 * self.longest() {
                    return Err(self.no_key_frame());
                }
                if !sample.sync || at < next {
                    return Ok(());
                }
                self.fill_pictures(at);
                self.pictures.hole = false;
                self.gone = false;
                self.cuts.fresh = true;
            }
            Some(next) if next != at => {
                return Err(Error::Hole { rendition: PICTURES, expected: next, got: at });
            }
            Some(_) => {}
        }
        if !sample.sync && self.cuts.fresh {
            let leading = self.pictures.rendition.video().map(|video| video.codec);
            if leading.is_some_and(|codec| nal::is_skipped_leading(&sample.data, codec)) {
                self.stand_for(&sample);
                return Ok(());
            }
            self.cuts.fresh = false;
        }
        let end = at.saturating_add(i64::from(sample.duration));
        if sample.sync {
            if self.cuts.last_sync.is_some_and(|last| at - last <= self.longest()) {
                self.cuts.missed = 0;
            }
            if self.cuts_at(at) {
                self.cut(at);
                self.cuts.fresh = true;
            }
            self.cuts.last_sync = Some(at);
        } else if end - self.cuts.segment > self.longest() {
            self.cuts.missed += 1;
            if self.cuts.missed > 1 {
                return Err(self.no_key_frame());
            }
            self.cut(at);
            self.pictures.hole = true;
            return Ok(());
        }
        self.pictures.filler.note(&sample);
        self.take_picture(sample);
        if self.held.mute {
            self.fill_sound(rescale(
                end,
                self.grid.video_scale(),
                self.sound_scale(),
                Rounding::Floor,
            ));
        }
        self.release();
        Ok(())
    }

    /// Whether the segment ends at a key frame at `at`: no later one lies nearer to the boundary.
    fn cuts_at(&self, at: i64) -> bool {
        let (length, wish) = (at - self.cuts.segment, self.segment());
        // After a hole the last one is long ago.
        let gop = self.cuts.last_sync.map_or(wish, |last| (at - last).min(wish));
        let nearest = at + gop / 2 >= self.boundary();
        let last_chance = length + gop > self.longest();
        // Half a segment at the least, give or take what a source's times are steered by: where groups go
        // evenly into it, a key frame is just there.
        length * 2 + self.frame >= wish && (nearest || last_chance)
    }

    fn no_key_frame(&self) -> Error {
        Error::NoKeyFrame { seconds: self.grid.target_duration() }
    }

    /// Ends the pictures' segment at `at`.
    fn cut(&mut self, at: i64) {
        let length = at - self.cuts.segment;
        self.pictures.close(&mut self.ready, at);
        self.cuts.segment = at;
        let k = self.pictures.k;
        let sound = rescale(at, self.grid.video_scale(), self.sound_scale(), Rounding::Ceil);
        self.held.cuts.push_back((k, sound));
        for splice in self.wishes.meet_before(at.saturating_add(self.segment() / 2)) {
            self.ready.push_back(Output::Spliced { splice, k, at });
            // Where it ends says nothing about the source's habits.
            self.cuts.filled = true;
        }
        if self.cuts.judge(k, at, length, self.segment()) {
            let beginning = Beginning { first_k: k, start: at, lengths: self.cuts.lengths };
            self.ready.push_back(Output::Shifted(beginning));
        }
    }

    fn take_picture(&mut self, mut sample: Sample) {
        // It did not end the segment, and so did not end with the part that waited for it.
        if self.picture_part_is_whole() {
            self.pictures.flush(&mut self.ready);
        }
        let end = sample.dts.saturating_add(i64::from(sample.duration));
        let (part, longest) = (self.part(), self.longest_part());
        if let Some(before) = self.pictures.pending.last_mut()
            && end - self.pictures.start > longest
        {
            // It would be too long a part, and is so for pictures that are missing before it: the one
            // before completes the part in their place.
            let missing = self.pictures.start + part - sample.dts;
            let most = i64::from(sample.duration) - self.frame;
            let by = u32::try_from(missing.min(most)).unwrap_or(0);
            before.duration = before.duration.saturating_add(by);
            sample.duration = sample.duration.saturating_sub(by);
            sample.dts += i64::from(by);
            sample.pts += i64::from(by);
            self.pictures.next = Some(sample.dts);
            self.pictures.flush(&mut self.ready);
        }
        self.pictures.take(sample);
        if self.picture_part_is_whole() && !self.cuts_at(end) {
            self.pictures.flush(&mut self.ready);
        }
    }

    fn picture_part_is_whole(&self) -> bool {
        let end = self.pictures.next.filter(|_| !self.pictures.pending.is_empty());
        end.is_some_and(|end| end - self.pictures.start >= self.shortest_part())
    }

    /// Shows the key frame that has just come for a picture that can't be decoded behind it: longer,
    /// and earlier by what that one would have been shown before it. One that is in a part already
    /// leaves a hole.
    fn stand_for(&mut self, leading: &Sample) {
        let length = i64::from(leading.duration);
        let longest = self.longest_part() - self.frame;
        let end = leading.dts.saturating_add(length);
        if let Some(key) = self.pictures.pending.last_mut()
            && end - self.pictures.start <= longest
        {
            key.duration = key.duration.saturating_add(leading.duration);
            key.pts = key.pts.saturating_sub(length).max(key.dts);
            self.pictures.next = Some(end);
        }
    }

    fn segment(&self) -> i64 {
        self.grid.segment_ticks.cast_signed()
    }

    fn part(&self) -> i64 {
        self.grid.part_ticks.cast_signed()
    }

    fn shortest_part(&self) -> i64 {
        self.grid.shortest_source_part().cast_signed()
    }

    fn longest(&self) -> i64 {
        self.grid.longest_segment().cast_signed()
    }

    fn longest_part(&self) -> i64 {
        let target = self.grid.part_target();
        target.ticks_in(self.grid.video_scale(), Rounding::Floor).cast_signed()
    }

    /// The boundary at which the open segment should end.
    fn boundary(&self) -> i64 {
        let (boundary, half) =
            (self.cuts.boundary(self.pictures.k, self.segment()), self.segment() / 2);
        let splice = self.wishes.next_before(boundary.saturating_add(half));
        splice.map_or(boundary, |splice| splice.max(self.cuts.segment + half))
    }
}

#[cfg(test)]
mod tests;
