//! The epoch grid: where segments and parts end, as a pure function of time.
//!
//! Segment k covers `[k·D, (k+1)·D)` since the Unix epoch, on every node and after every restart;
//! HLS media sequence number, DASH `$Number$` and the file name are that k. [`Grid::choose`] turns
//! an operator's wishes into a D and a part length p that hold whole video frames (and, where the
//! rates allow, whole AAC frames); the rest of the module is arithmetic on them.
//!
//! [`splices`] says which boundaries lie elsewhere, because of an ad break.
//!
//! What it does not do: look at samples, or know about runs and gaps.

use crate::time::{FrameRate, Rounding, Span, Timescale, rescale};

pub mod splices;

/// Shortest segment, in milliseconds: below it the request rate grows for nothing.
const MIN_SEGMENT_MS: u64 = 1_000;
/// Longest segment, in milliseconds: Apple's recommended target duration.
const MAX_SEGMENT_MS: u64 = 6_000;
/// Shortest part wish, in milliseconds: below it players spend more on requests than they gain.
const MIN_PART_MS: u64 = 200;
/// Longest part wish, in milliseconds.
const MAX_PART_MS: u64 = 1_000;

/// Parts that a player of low latency stays behind the end of the newest one: the least that
/// PART-HOLD-BACK should be (RFC 8216bis §4.4.3.8).
pub const PART_HOLD_BACK: u64 = 3;

/// The longest AAC frame of a source that is packaged as it is: 2048 samples at 44.1 kHz or 1024 at
/// 22.05 kHz, in microseconds.
pub const LONGEST_AUDIO_FRAME_US: u64 = 46_440;

/// Shortest part of a source that is packaged as it is, in milliseconds. It may be an audio frame
/// shorter than PART-TARGET, which a part has to fill by 85 % (RFC 8216bis §4.4.4.9): from 264 ms on,
/// and some more for what steering takes off.
const MIN_SOURCE_PART_MS: u64 = 270;
/// A part of a source is long enough with this part of p missing: frames are up to 0.12 % shorter or
/// longer than their nominal length, where times are fitted.
const PART_TOLERANCE: u64 = 512;

/// Where segments end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// At the boundaries of the grid, where the encoder has been told to put key frames.
    #[default]
    Grid,
    /// At the source's own key frames: the grid gives the numbers and the lengths aimed at.
    Source,
}

/// A channel's segment and part lengths and the clocks they are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    /// Frame rate of every video rendition.
    pub rate: FrameRate,
    /// Sample rate of the audio rendition; also its timescale.
    pub audio_rate: u32,
    /// Samples in one audio frame: 1024 for AAC-LC.
    pub audio_frame: u32,
    /// Segment length D in ticks of [`FrameRate::timescale`]: whole frames.
    pub segment_ticks: u64,
    /// Part length p in the same ticks: whole frames.
    pub part_ticks: u64,
    /// Where segments end.
    #[serde(default)]
    pub cut: Cut,
}

impl Grid {
    /// The grid closest to the wishes. `segment` and `part` are clamped to what a
    /// channel may have: 1–6 s, and 0.2–1 s but at most half a segment.
    pub fn choose(rate: FrameRate, audio_rate: u32, segment: Span, part: Span) -> Self {
        let audio_frame = 1024;
        let scale = u64::from(rate.timescale().get());
        let frame = u64::from(rate.frame_ticks());
        // Whole frames and whole milliseconds.
        let step = lcm(frame, lcm_parts(scale, 1_000));
        let wish = segment.ticks_in(rate.timescale(), Rounding::Nearest);
        let (min, max) = (MIN_SEGMENT_MS * scale / 1000, MAX_SEGMENT_MS * scale / 1000);
        let wish = wish.clamp(min, max);
        let audio_step =
            lcm(step, lcm_parts_of(scale, u64::from(audio_frame), u64::from(audio_rate)));
        let with_audio = (wish / audio_step) * audio_step;
        let segment_ticks = if with_audio >= min.max(wish * 3 / 4) {
            with_audio
        } else {
            nearest_multiple(wish, step, min, max)
        };
        let part_wish = part
            .ticks_in(rate.timescale(), Rounding::Nearest)
            .clamp(MIN_PART_MS * scale / 1000, MAX_PART_MS * scale / 1000)
            .min(segment_ticks / 2);
        let part_ticks = nearest_divisor(segment_ticks / frame, part_wish, frame);
        Self { rate, audio_rate, audio_frame, segment_ticks, part_ticks, cut: Cut::Grid }
    }

    /// The grid of a source that is packaged as it is, with a key frame every `gop` video ticks: D is
    /// the multiple of that nearest to the wish. `gop` is not
    /// zero.
    pub fn of_source(
        rate: FrameRate,
        audio_rate: u32,
        gop: u64,
        segment: Span,
        part: Span,
    ) -> Self {
        let scale = u64::from(rate.timescale().get());
        let frame = u64::from(rate.frame_ticks());
        let gop = ((gop + frame / 2) / frame).max(1) * frame;
        let wish = segment.ticks_in(rate.timescale(), Rounding::Nearest);
        let (min, max) = (MIN_SEGMENT_MS * scale / 1000, MAX_SEGMENT_MS * scale / 1000);
        let segment_ticks = nearest_multiple(wish.clamp(min, max), gop, min, max.max(gop));
        let shortest = (MIN_SOURCE_PART_MS * scale).div_ceil(1000);
        let part_wish = part
            .ticks_in(rate.timescale(), Rounding::Nearest)
            .clamp(shortest, MAX_PART_MS * scale / 1000)
            .min(segment_ticks / 2);
        let part_ticks = nearest_share(segment_ticks / frame, part_wish, shortest, frame);
        Self { rate, audio_rate, audio_frame: 1024, segment_ticks, part_ticks, cut: Cut::Source }
    }

    /// Timescale of the video renditions.
    pub fn video_scale(&self) -> Timescale {
        self.rate.timescale()
    }

    /// Timescale of the audio rendition.
    pub fn audio_scale(&self) -> Timescale {
        Timescale::new(self.audio_rate).unwrap_or(Timescale::MPEG)
    }

    /// Segment length D.
    pub fn segment(&self) -> Span {
        Span::new(self.segment_ticks, self.video_scale())
    }

    /// Part length p.
    pub fn part(&self) -> Span {
        Span::new(self.part_ticks, self.video_scale())
    }

    /// How long after its end a part may come before filler takes its place, where it takes
    /// `publish_delay` at the most from its coming to its being fetchable.
    ///
    /// A player of low latency holds [`PART_HOLD_BACK`] parts when the newest is listed, and plays one
    /// of them until the next is due. What is left then, less the time that part or its filler takes
    /// to reach it, can be waited for: 2·p less the delay, and never less than p. Less
    /// patience would cost pictures for a hiccup that nobody notices, more would stop the player.
    ///
    /// Filler costs an encoder of ours a part: it is asked for a key frame. A source is not listening,
    /// and costs the picture up to its next one, often the whole segment and for every viewer. So it is
    /// waited for until half a segment is missing, and players of low latency stop until then.
    pub fn patience(&self, publish_delay: Span) -> Span {
        let ticks = match self.cut {
            Cut::Grid => {
                let delay = publish_delay.ticks_in(self.video_scale(), Rounding::Ceil);
                let held = self.part_ticks.saturating_mul(PART_HOLD_BACK - 1);
                held.saturating_sub(delay).max(self.part_ticks)
            }
            Cut::Source => self.segment_ticks / 2,
        };
        Span::new(ticks, self.video_scale())
    }

    /// Whether D is a whole number of audio frames, so that every audio segment has the same length.
    pub fn whole_audio_frames(&self) -> bool {
        let samples = u128::from(self.segment_ticks) * u128::from(self.audio_rate);
        let scale = u128::from(self.video_scale().get());
        samples.is_multiple_of(scale * u128::from(self.audio_frame))
    }

    /// Number of the segment that holds the video instant `ticks` (video timescale, since epoch).
    pub fn number_at(&self, ticks: i64) -> u64 {
        ticks.div_euclid(self.segment_ticks.cast_signed()).max(0).unsigned_abs()
    }

    /// The number of segments that cover `length`, at the least.
    pub fn segments_in(&self, length: Span) -> u64 {
        length.ticks_in(self.video_scale(), Rounding::Ceil).div_ceil(self.segment_ticks.max(1))
    }

    /// Start of segment `k` in video ticks since the epoch: the nominal boundary N_k.
    pub fn boundary(&self, k: u64) -> i64 {
        k.saturating_mul(self.segment_ticks).min(i64::MAX.unsigned_abs()).cast_signed()
    }

    /// Start of segment `k` of the audio rendition, in audio ticks: the first audio frame at or
    /// after the video boundary, audio frames being counted since the epoch.
    pub fn audio_boundary(&self, k: u64) -> i64 {
        self.audio_frame_at_or_after(self.boundary(k))
    }

    /// The first audio frame start at or after a video instant, in audio ticks.
    pub fn audio_frame_at_or_after(&self, video_ticks: i64) -> i64 {
        let frame = i64::from(self.audio_frame);
        let samples = rescale(video_ticks, self.video_scale(), self.audio_scale(), Rounding::Ceil);
        -((-samples).div_euclid(frame)) * frame
    }

    /// TARGETDURATION in seconds: 1.5·D plus one audio frame, rounded half up, so that a boundary
    /// displaced by a splice never breaks it.
    pub fn target_duration(&self) -> u32 {
        let scale = u128::from(self.video_scale().get());
        let (rate, frame) = (u128::from(self.audio_rate), u128::from(self.audio_frame));
        // 3·D/2 + frame/rate, over the denominator 2·scale·rate.
        let numerator = 3 * u128::from(self.segment_ticks) * rate + 2 * frame * scale;
        let denominator = 2 * scale * rate;
        u32::try_from((2 * numerator + denominator) / (2 * denominator)).unwrap_or(u32::MAX)
    }

    /// Video ticks that no segment is longer than: what TARGETDURATION, a whole number, allows.
    pub fn longest_segment(&self) -> u64 {
        u64::from(self.target_duration()) * u64::from(self.video_scale().get())
    }

    /// What a part of a source has to last at the least, in video ticks, unless its segment ends.
    pub fn shortest_source_part(&self) -> u64 {
        self.part_ticks - self.part_ticks / PART_TOLERANCE
    }

    /// Whether a source's pictures of `frame` video ticks make parts that are neither shorter than 85 %
    /// of PART-TARGET nor longer than it.
    pub fn takes_frames_of(&self, frame: u64) -> bool {
        let target = self.part_target().ticks_in(self.video_scale(), Rounding::Floor);
        let count = self.shortest_source_part().div_ceil(frame.max(1));
        count * frame <= target
    }

    /// PART-TARGET: the longest part any rendition can have. An audio part covers whole AAC frames
    /// and so is up to one frame longer than p where p does not hold whole ones.
    pub fn part_target(&self) -> Span {
        if self.cut == Cut::Source {
            // Fixed for every publisher, whatever the frame size of its audio.
            let part = self.part().ticks_in(Timescale::MICROS, Rounding::Ceil);
            return Span::new(part + LONGEST_AUDIO_FRAME_US, Timescale::MICROS);
        }
        let audio = self.audio_scale();
        let frame = u64::from(self.audio_frame);
        let exact =
            rescale(self.part_ticks.cast_signed(), self.video_scale(), audio, Rounding::Ceil);
        let longest_audio = exact.unsigned_abs().div_ceil(frame) * frame;
        let video = Span::new(self.part_ticks, self.video_scale());
        let audio_part = Span::new(longest_audio, audio);
        if audio_part.ticks_in(Timescale::NANOS, Rounding::Ceil)
            > video.ticks_in(Timescale::NANOS, Rounding::Ceil)
        {
            audio_part
        } else {
            video
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u64, b: u64) -> u64 {
    a / gcd(a, b) * b
}

/// Ticks of `scale` after which a whole number of 1/`parts` s has passed, at the least.
fn lcm_parts(scale: u64, parts: u64) -> u64 {
    scale / gcd(scale, parts)
}

/// Ticks of `scale` after which a whole number of audio frames has passed, at the least.
fn lcm_parts_of(scale: u64, frame: u64, rate: u64) -> u64 {
    // One frame lasts frame·scale/rate ticks; the smallest whole multiple of that fraction.
    let (numerator, denominator) = (frame * scale, rate);
    numerator / gcd(numerator, denominator)
}

/// The multiple of `step` in `[min, max]` nearest to `wish`, the shorter on a tie.
fn nearest_multiple(wish: u64, step: u64, min: u64, max: u64) -> u64 {
    let below = wish / step * step;
    let above = below + step;
    let pick = if wish - below <= above - wish { below } else { above };
    if pick < min.max(step) {
        above
    } else if pick > max && below >= min {
        below
    } else {
        pick
    }
}

/// Length of a part in ticks: `frames` video frames divided evenly, nearest to `wish`, the shorter
/// on a tie.
fn nearest_divisor(frames: u64, wish: u64, frame: u64) -> u64 {
    (1..=frames)
        .filter(|part| frames.is_multiple_of(*part))
        .map(|part| part * frame)
        .min_by_key(|ticks| (ticks.abs_diff(wish), *ticks))
        .unwrap_or(frames * frame)
}

/// Length of a part in ticks, where the last one of a segment is what remains: of `frames` video
/// frames, shared by some number of parts, nearest to `wish` and not below `shortest`, the longer on a
/// tie.
fn nearest_share(frames: u64, wish: u64, shortest: u64, frame: u64) -> u64 {
    (1..=frames)
        .map(|count| frames.div_ceil(count) * frame)
        .filter(|ticks| *ticks >= shortest)
        .min_by_key(|ticks| (ticks.abs_diff(wish), u64::MAX - ticks))
        .unwrap_or(frames * frame)
}

#[cfg(test)]
mod tests;
