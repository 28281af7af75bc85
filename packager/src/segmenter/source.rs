//! Cuts a source that is packaged as it is: one rendition of pictures, one of sound.
//!
//! Nobody told the source's encoder where to put its key frames, so a segment ends at the one
//! nearest to its boundary, half a group of pictures on either side, and numbers go up by one per
//! segment. Boundaries count from the run's first picture in steps of D. Where key frames drift
//! away from them (a source whose group is not quite D long, or whose clock is not quite ours) they
//! are counted anew from a later segment on, and [`Output::Shifted`] says so. Where key frames come
//! as they please, segments are [uneven](Lengths::Uneven): each boundary is D after the cut before,
//! until key frames keep to D again for a while.
//!
//! A part closes with the first frame that ends at p or later, so that none is longer than
//! PART-TARGET, which is an audio frame more, and none but a segment's last is much shorter (RFC 8216bis
//! §4.4.4.9). A picture that lasts long because others are missing leaves some of its time to the one
//! before it for that. Sound follows the pictures: it is held until it is known whether a segment ends
//! before it, and cut at the first frame at or after the pictures' cut.
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

use super::{Error, Output, Place, Position, part_chunk};
use crate::cmaf;
use crate::codec::nal;
use crate::filler::Filler;
use crate::grid::{Grid, LONGEST_AUDIO_FRAME_US};
use crate::media::{Rendition, Sample};
use crate::time::{Rounding, Span, Timescale, Timestamp, rescale};
use crate::timeline::{Beginning, Lengths};

/// Sound held until the pictures have got there: 5 s of it. Filler moves the pictures on long before.
const MAX_HELD: usize = 256;
/// A key frame this far from its boundary, as a part of D, is drift where segments are as long as D.
const DRIFT: i64 = 8;
/// Segments of filler that wait for a source which is expected: it should be there within two.
const EXPECTED_WITHIN: u32 = 2;
/// Segments that differ from D by less than this part of it are as long as D.
const REGULAR: i64 = 32;
/// Two cuts that are neither where they should be nor drift, within so many segments, are no
/// accident: segments are uneven.
const ODD_WITHIN: u64 = 16;
/// Segments in a row that are as long as D after which they count as even again: a minute of them,
/// so that a source with a scene change now and then does not go to and fro.
const EVEN_AGAIN: u32 = 32;

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
    sound: Parts,
    held: Held,
    /// Whether the source has been lost.
    gone: bool,
    /// How many segments of filler wait for another source.
    expected: u32,
    ready: VecDeque<Output>,
}

/// The part of a rendition that is being made.
#[derive(Debug)]
struct Parts {
    position: usize,
    rendition: Rendition,
    k: u64,
    part: u32,
    /// Decode time of its first sample.
    start: i64,
    /// Decode time the next sample must have; `None` before the first.
    next: Option<i64>,
    pending: Vec<Sample>,
    /// How much of `pending` is filler, in ticks.
    filled: u32,
    /// Whether samples are missing: the next one may come later than `next`.
    hole: bool,
    filler: Filler,
}

/// Where the pictures are cut.
#[derive(Debug)]
struct Cuts {
    /// Start of the open segment.
    segment: i64,
    /// A segment and its start, which boundaries are counted from.
    base: (u64, i64),
    lengths: Lengths,
    /// The last segment that ended neither where it should nor by drift.
    odd: Option<u64>,
    /// How many segments in a row were as long as D.
    even: u32,
    /// Whether there is filler in the open segment: its end says nothing about the source.
    filled: bool,
    /// Whether what lies before the newest key frame is not there for the pictures behind it.
    fresh: bool,
    last_sync: Option<i64>,
    /// Segments in a row that had to end without a key frame.
    missed: u32,
}

/// Sound that waits for the pictures.
#[derive(Debug)]
struct Held {
    /// Where the run begins; from its first sample on where that begins.
    start: i64,
    /// Ticks of one frame.
    frame: i64,
    samples: VecDeque<(Sample, bool)>,
    /// Decode time the next sample must have; `None` before the first.
    next: Option<i64>,
    /// Segments the pictures have begun and the sound has not, and their starts in ticks of sound.
    cuts: VecDeque<(u64, i64)>,
    mute: bool,
}

impl SourceSegmenter {
    /// A segmenter for one run. The init segments are ready at once.
    pub fn new(grid: Grid, pictures: Rendition, sound: Rendition, start: Start) -> Self {
        let ready = [(PICTURES, &pictures), (SOUND, &sound)]
            .map(|(rendition, each)| Output::Init { rendition, bytes: cmaf::init(each) });
        let scale = grid.video_scale();
        let frame = pictures.rate.unwrap_or(grid.rate);
        let frame = u64::from(scale.get()) * u64::from(frame.den) / u64::from(frame.num.max(1));
        let held = Held {
            start: rescale(start.at, scale, sound.track.timescale, Rounding::Ceil),
            frame: sound.audio().map_or(1024, |audio| i64::from(audio.frame_samples.max(1))),
            samples: VecDeque::new(),
            next: None,
            cuts: VecDeque::new(),
            mute: start.mute,
        };
        let cuts = Cuts {
            segment: start.at,
            base: (start.first_k, start.at),
            lengths: start.lengths,
            odd: None,
            even: 0,
            filled: false,
            fresh: true,
            last_sync: None,
            missed: 0,
        };
        Self {
            grid,
            frame: i64::try_from(frame).unwrap_or(1),
            pictures: Parts::new(PICTURES, pictures, start.first_k),
            cuts,
            sound: Parts::new(SOUND, sound, start.first_k),
            held,
            gone: false,
            expected: 0,
            ready: ready.into(),
        }
    }

    /// A segmenter that goes on with a run where an earlier process stopped, its source lost. Its newest
    /// stretch began at `base`. The init segments are there already.
    pub fn resume(
        grid: Grid,
        (pictures, mut at): (Rendition, Position),
        (sound, sound_at): (Rendition, Position),
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
        if sound_at.k < at.k {
            // The cut that the pictures have made and the sound has not.
            let cut = rescale(at.segment, video, audio, Rounding::Ceil);
            segmenter.held.cuts.push_back((at.k, cut));
        }
        segmenter.held.start = sound_at.next;
        segmenter.held.next = Some(sound_at.next);
        segmenter.sound.go_on(&sound_at);
        segmenter.lose();
        segmenter
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

    /// Says that another source is there, whose run is to begin.
    pub fn expect(&mut self) {
        self.expected = EXPECTED_WITHIN;
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

    /// Completes every part with filler that is due at `now`, as [`Self::due`] says.
    pub fn fill(&mut self, now: Timestamp, patience: Span) {
        let until = now.ticks_in(Timescale::NANOS, Rounding::Floor);
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

    /// Completes the run with filler up to `end`.
    fn fill_to(&mut self, end: Timestamp) {
        self.fill_pictures(end.ticks_in(self.grid.video_scale(), Rounding::Nearest));
        self.fill_sound(end.ticks_in(self.sound_scale(), Rounding::Ceil));
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

    /// How long a part may come after its end, in nanoseconds.
    fn patience(&self, with_a_source: Span) -> i64 {
        if self.gone {
            return 0;
        }
        with_a_source.ticks_in(Timescale::NANOS, Rounding::Ceil).cast_signed()
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
        length * 2 >= wish && (nearest || last_chance)
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
        if self.cuts.judge(k, at, length, self.segment()) {
            let beginning = Beginning { first_k: k, start: at, lengths: self.cuts.lengths };
            self.ready.push_back(Output::Shifted(beginning));
        }
    }

    fn take_picture(&mut self, mut sample: Sample) {
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
        if end - self.pictures.start >= self.shortest_part() {
            self.pictures.flush(&mut self.ready);
        }
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

    /// Shows the last key frame from where the pictures are to `to`, once per part; segments end at
    /// their boundaries.
    fn fill_pictures(&mut self, to: i64) {
        while let Some(next) = self.pictures.next.filter(|next| *next < to) {
            // Real pictures may have gone beyond the boundary, waiting for a key frame.
            if next >= self.filler_boundary() {
                self.cut(next);
            }
            let end = self.picture_part_end().min(to);
            let duration = u32::try_from(end - next).unwrap_or(u32::MAX);
            let Some(sample) = self.pictures.filler.sample(next, duration) else { return };
            self.pictures.filled = self.pictures.filled.saturating_add(duration);
            self.cuts.filled = true;
            self.take_picture(sample);
            if end >= self.filler_boundary() {
                self.cut(end);
                self.expected = self.expected.saturating_sub(1);
            }
        }
    }

    fn push_sound(&mut self, sample: Sample) {
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
        self.fill_sound(sample.dts - self.held.frame + 1);
        // What is left is less than a frame: the sample begins that much earlier, and lasts longer.
        let at = self.held.next.unwrap_or(self.held.start);
        // It lasts no longer than the longest frame, which PART-TARGET counts with; what is left is made
        // up by the ones after it.
        let longest = Span::new(LONGEST_AUDIO_FRAME_US, Timescale::MICROS);
        let longest = longest.ticks_in(self.sound_scale(), Rounding::Floor);
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let early = u32::try_from(sample.dts - at).unwrap_or(0);
        let early = early.min(longest.saturating_sub(sample.duration));
        let duration = sample.duration.saturating_add(early);
        self.hold(Sample { dts: at, pts: at, duration, ..sample }, false);
        self.release();
    }

    /// Appends silence, whole frames of it, while sound is before `to`.
    fn fill_sound(&mut self, to: i64) {
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

    fn hold(&mut self, sample: Sample, silence: bool) {
        self.held.next = Some(sample.dts.saturating_add(i64::from(sample.duration)));
        self.held.samples.push_back((sample, silence));
    }

    /// Lets sound go that is in a segment for sure: up to where the pictures are.
    fn release(&mut self) {
        let Some(pictures) = self.pictures.next else { return };
        let pictures =
            rescale(pictures, self.grid.video_scale(), self.sound_scale(), Rounding::Ceil);
        loop {
            let front = self.held.samples.front().map(|(sample, _)| sample.dts);
            let at = front.or(self.held.next).unwrap_or(self.held.start);
            if let Some((k, cut)) = self.held.cuts.front().copied()
                && at >= cut
            {
                self.held.cuts.pop_front();
                self.sound.close(&mut self.ready, at);
                self.sound.k = k;
                continue;
            }
            if at >= pictures {
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
            if self.sound.next.is_some_and(|next| next >= self.sound_part_end()) {
                self.sound.flush(&mut self.ready);
            }
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

    fn sound_scale(&self) -> Timescale {
        self.sound.rendition.track.timescale
    }

    /// The boundary at which the open segment should end.
    fn boundary(&self) -> i64 {
        let (base_k, base) = self.cuts.base;
        nominal(base, self.pictures.k + 1 - base_k, self.segment())
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

    /// When silence could complete the open part of the sound; `None` before the run's first picture,
    /// and where the sound is there already and waits for the pictures.
    fn sound_due(&self) -> Option<i64> {
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
}

/// The boundary `count` segments after `base`.
fn nominal(base: i64, count: u64, segment: i64) -> i64 {
    base.saturating_add(segment.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
}

impl Cuts {
    /// Judges the segment that has ended at `at`, before segment `k`: true if another stretch of the
    /// run begins there.
    fn judge(&mut self, k: u64, at: i64, length: i64, wish: i64) -> bool {
        let (base_k, base) = self.base;
        let off = (at - nominal(base, k - base_k, wish)).abs();
        let regular = (length - wish).abs() <= wish / REGULAR;
        let filled = std::mem::take(&mut self.filled);
        self.even = if regular || filled { self.even.saturating_add(1) } else { 0 };
        if self.lengths == Lengths::Uneven {
            self.base = (k, at);
            if self.even < EVEN_AGAIN {
                return false;
            }
            (self.lengths, self.odd) = (Lengths::Even, None);
            return true;
        }
        let odd = off > wish / DRIFT && !regular && !filled;
        if odd && self.odd.replace(k).is_some_and(|last| k - last <= ODD_WITHIN) {
            (self.lengths, self.even) = (Lengths::Uneven, 0);
        }
        let drifted = off > wish / 2 || (regular && off > wish / DRIFT);
        if drifted || self.lengths == Lengths::Uneven {
            self.base = (k, at);
            return true;
        }
        false
    }
}

impl Parts {
    fn new(position: usize, rendition: Rendition, k: u64) -> Self {
        Self {
            position,
            k,
            part: 0,
            start: 0,
            next: None,
            pending: Vec::new(),
            filled: 0,
            hole: false,
            filler: Filler::new(&rendition),
            rendition,
        }
    }

    /// Stands where an earlier process has.
    fn go_on(&mut self, at: &Position) {
        (self.k, self.part) = (at.k, at.part);
        (self.start, self.next) = (at.next, Some(at.next));
        if let Some(picture) = &at.picture {
            self.filler.note(picture);
        }
    }

    /// Appends a sample whose place is right.
    fn take(&mut self, sample: Sample) {
        self.next = Some(sample.dts.saturating_add(i64::from(sample.duration)));
        self.pending.push(sample);
    }

    /// Writes what is pending as a part; does nothing where there is none.
    fn flush(&mut self, ready: &mut VecDeque<Output>) {
        let samples = std::mem::take(&mut self.pending);
        let filler = std::mem::take(&mut self.filled);
        let (rendition, k, part) = (self.position, self.k, self.part);
        let place = Place { rendition, k, part, filler };
        let Some(chunk) = part_chunk(&self.rendition, place, &samples) else { return };
        ready.push_back(Output::Chunk(chunk));
        // The next part holds as many samples as this one, give or take one.
        self.pending = Vec::with_capacity(samples.len() + 1);
        self.part += 1;
        self.start = self.next.unwrap_or(self.start);
    }

    /// Ends the segment; the next one begins at `at`.
    fn close(&mut self, ready: &mut VecDeque<Output>, at: i64) {
        self.flush(ready);
        let (rendition, k) = (self.position, self.k);
        ready.push_back(Output::SegmentClosed { rendition, k });
        (self.k, self.part, self.start) = (self.k + 1, 0, at);
    }
}

#[cfg(test)]
mod tests;
