//! The output clock of the sound: decoded sound in, AAC frames on the sample grid since the epoch
//! out, and packets of Opus while somebody watches by WebRTC. Gaps are silence; a source that drifts is
//! resampled by up to a thousandth.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ffmpeg::format::{Sample as SampleFormat, sample};
use ffmpeg::software::resampling;
use ffmpeg::{ChannelLayout, ffi, frame};
use ffmpeg_next as ffmpeg;
use packager::grid::Grid;
use packager::media::Sample;

use super::Error;
use super::encode::{AAC_FRAME, AudioEncoder, SAMPLE_RATE};
use super::link::Link;
use super::meter::Meter;
use super::opus::{self, OpusEncoder};
use super::slots::Patience;
use crate::av::protocol::{ClockBase, FromWorker};

const RATE: i64 = SAMPLE_RATE as i64;
const NANOS: i128 = 1_000_000_000;
/// Sound that may wait, in samples: what a source is ahead, and the longest patience.
const MAX_WAITING: i64 = 3 * RATE;
/// A source silent for so long is not waited for, in nanoseconds.
const FORGET: i64 = 2_000_000_000;
/// Further from its place than this, in samples (100 ms), sound is moved at once.
const MOVE: i64 = RATE / 10;
/// Mean error above which the speed is corrected, in samples (5 ms).
const CORRECT: i64 = RATE / 200;
/// Most that is added to or taken from one second of sound: 1 ‰, below what is heard as pitch.
const MAX_CORRECTION: i64 = RATE / 1_000;

/// First sample at or after a UTC instant in nanoseconds.
fn sample_at(nanos: i64) -> i64 {
    ((i128::from(nanos) * i128::from(RATE) + NANOS / 2) / NANOS) as i64
}

/// UTC nanoseconds of a sample.
fn nanos_at(sample: i64) -> i64 {
    (i128::from(sample) * NANOS / i128::from(RATE)) as i64
}

/// A stretch of stereo sound by absolute sample number.
#[derive(Clone, Debug, Default)]
struct Tape {
    start: i64,
    sound: VecDeque<[f32; 2]>,
}

impl Tape {
    fn end(&self) -> i64 {
        self.start + self.sound.len() as i64
    }

    /// Writes sound that begins at `at`; what is there already stays, gaps become silence. Returns
    /// how many samples came too late.
    fn write(&mut self, at: i64, sound: &[[f32; 2]]) -> i64 {
        if self.sound.is_empty() && at > self.start {
            // Nothing waits; what lies between is silence when it is taken.
            self.start = at;
        }
        let late = (self.start - at).clamp(0, sound.len() as i64);
        let skip = (self.end() - at).clamp(0, sound.len() as i64);
        let gap = (at - self.end()).max(0);
        if self.sound.len() as i64 + gap + sound.len() as i64 > MAX_WAITING {
            return late;
        }
        self.sound.extend(std::iter::repeat_n([0.0; 2], gap as usize));
        self.sound.extend(sound.iter().skip(skip as usize));
        late
    }

    /// Takes `length` samples at `at`, with silence where there are none; returns how many that were.
    fn take(&mut self, at: i64, length: usize, frame: &mut Vec<[f32; 2]>) -> i64 {
        frame.clear();
        self.skip_to(at);
        let lead = (self.start - at).clamp(0, length as i64) as usize;
        frame.extend(std::iter::repeat_n([0.0; 2], lead));
        let there = (length - lead).min(self.sound.len());
        frame.extend(self.sound.drain(..there));
        let missing = length - frame.len();
        frame.extend(std::iter::repeat_n([0.0; 2], missing));
        self.start = self.start.max(at) + there as i64;
        if self.sound.is_empty() {
            self.start = at + length as i64;
        }
        (lead + missing) as i64
    }

    fn skip_to(&mut self, at: i64) {
        let past = (at - self.start).clamp(0, self.sound.len() as i64);
        self.sound.drain(..past as usize);
        self.start += past;
        if self.sound.is_empty() {
            self.start = self.start.max(at);
        }
    }
}

/// Where decoded sound waits for its time.
pub(super) struct Desk {
    clock: ClockBase,
    meter: Arc<Meter>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Who takes sound off the desk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    /// The rendition.
    Aac,
    /// Those who watch by WebRTC.
    Opus,
}

impl Taker {
    /// Samples that it takes at a time.
    const fn length(self) -> usize {
        match self {
            Self::Aac => AAC_FRAME,
            Self::Opus => opus::PACKET,
        }
    }
}

struct State {
    tape: Tape,
    /// The same sound once more while Opus is wanted: its packets are whole before a frame of AAC is.
    opus: Option<Tape>,
    /// First sample of the output, once known.
    begin: Option<i64>,
    patience: Patience,
    heard: Option<i64>,
    closed: bool,
}

impl Desk {
    pub(super) fn new(clock: ClockBase, meter: Arc<Meter>, grid: &Grid) -> Self {
        let state = State {
            tape: Tape::default(),
            opus: None,
            begin: None,
            patience: Patience::of(grid),
            heard: None,
            closed: false,
        };
        Self { clock, meter, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the output begin at a sample.
    pub(super) fn begin(&self, at: i64) {
        let mut state = self.lock();
        state.begin = Some(at);
        state.tape.skip_to(at);
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the output.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How late sound is tells how long to wait for more, if it was read as `prompt`ly as it came.
    fn write(&self, at: i64, sound: &[[f32; 2]], prompt: bool) {
        let now = self.clock.utc_nanos();
        let mut state = self.lock();
        if state.tape.write(at, sound) > 0 && prompt {
            state.patience.missed(now - nanos_at(at), now);
        }
        if let Some(tape) = &mut state.opus {
            tape.write(at, sound);
        }
        state.heard = Some(now);
        drop(state);
        self.changed.notify_all();
    }

    /// Encodes frame after frame, from the beginning until closed.
    pub(super) fn run(&self, encoder: &mut AudioEncoder, rendition: u8, link: &Link) {
        let Some(begin) = self.wait_for_beginning(Taker::Aac) else { return };
        let length = AAC_FRAME as i64;
        let mut frame = Vec::with_capacity(AAC_FRAME);
        let mut at = begin;
        while self.take(Taker::Aac, at, &mut frame) {
            let result = encoder.encode(at, &frame, |start, data| {
                // The encoder's first packet is what it needs to get going, from before the
                // beginning.
                if start < begin {
                    return;
                }
                let encoded = crate::av::protocol::monotonic_nanos();
                let captured = nanos_at(start + length) - self.clock.utc_minus_monotonic_nanos;
                let duration = AAC_FRAME as u32;
                let sample = Sample { dts: start, pts: start, duration, sync: true, data };
                link.send(&FromWorker::Sample { rendition, sample, captured, encoded });
            });
            if let Err(error) = result {
                link.send(&FromWorker::Failed { reason: error.to_string() });
                return;
            }
            at += length;
        }
    }

    /// The first sample, once it is known; `None` when closed, or not wanted.
    fn wait_for_beginning(&self, taker: Taker) -> Option<i64> {
        let mut state = self.lock();
        loop {
            if state.closed || (taker == Taker::Opus && state.opus.is_none()) {
                return None;
            }
            if state.begin.is_some() {
                return state.begin;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says whether Opus is wanted; whoever makes it ends when it is not.
    pub(super) fn want_opus(&self, wanted: bool) {
        let mut state = self.lock();
        if !wanted {
            state.opus = None;
        } else if state.opus.is_none() {
            // What waits for its time is heard there too.
            state.opus = Some(state.tape.clone());
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Makes packet after packet of Opus, until that is not wanted any more or the desk is closed.
    pub(super) fn run_opus(&self, link: &Link) {
        let Some(begin) = self.wait_for_beginning(Taker::Opus) else { return };
        // A run begins in the past, which nobody hears.
        let mut at = begin.max(sample_at(self.clock.utc_nanos()));
        let mut packet = Vec::with_capacity(opus::PACKET);
        let result = OpusEncoder::open().and_then(|mut encoder| {
            while self.take(Taker::Opus, at, &mut packet) {
                encoder.encode(at, packet.iter().copied(), |start, data| {
                    link.send(&FromWorker::Opus { at: nanos_at(start), data });
                })?;
                at += opus::PACKET as i64;
            }
            Ok(())
        });
        if let Err(error) = result {
            link.log(true, format!("no sound by WebRTC: {error}"));
        }
    }

    /// Waits for what is taken at `at` to be whole, or late; `false` when closed, or not wanted.
    fn take(&self, taker: Taker, at: i64, frame: &mut Vec<[f32; 2]>) -> bool {
        let end = at + taker.length() as i64;
        let (begins, ends) = (nanos_at(at), nanos_at(end));
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            let now = self.clock.utc_nanos();
            let State { tape, opus, patience, heard, .. } = &mut *state;
            let tape = match taker {
                Taker::Aac => tape,
                Taker::Opus => match opus {
                    Some(tape) => tape,
                    None => return false,
                },
            };
            let whole = tape.end() >= end;
            patience.relax(now);
            let heard = heard.is_some_and(|last| now - last < FORGET);
            let ready = match (whole, heard) {
                (true, _) => begins,
                (false, true) => ends + patience.nanos(),
                (false, false) => ends,
            };
            if now >= ready {
                let silent = tape.take(at, taker.length(), frame);
                if taker == Taker::Aac {
                    self.meter.silenced.fetch_add(silent.unsigned_abs(), Relaxed);
                }
                return true;
            }
            let time = Duration::from_nanos((ready - now).unsigned_abs());
            state =
                self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Puts a decoder's sound on the desk, in our format and speed.
pub(super) struct Placer {
    desk: Arc<Desk>,
    line: Line,
    steering: Steering,
}

/// Makes sound of any kind what our encoder takes.
#[derive(Default)]
pub(super) struct Line {
    resampler: Option<(Kind, resampling::Context)>,
    stereo: Vec<[f32; 2]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    format: SampleFormat,
    layout: ChannelLayout,
    rate: u32,
}

impl Placer {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, line: Line::default(), steering: Steering::default() }
    }

    /// Places decoded sound whose first sample belongs at `at`, UTC nanoseconds. `prompt`: whether it
    /// was read when it came.
    pub(super) fn place(
        &mut self,
        sound: &frame::Audio,
        at: i64,
        prompt: bool,
    ) -> Result<(), Error> {
        let stereo = self.line.stereo(sound)?;
        let (position, correction) = self.steering.place(sample_at(at), stereo.len() as i64);
        self.desk.write(position, stereo, prompt);
        if let (Some(samples), Some((_, resampler))) = (correction, &mut self.line.resampler) {
            compensate(resampler, samples);
        }
        Ok(())
    }
}

impl Line {
    /// Decoded sound in stereo, 48,000 samples a second.
    pub(super) fn stereo(&mut self, sound: &frame::Audio) -> Result<&[[f32; 2]], Error> {
        let what = "resampling";
        let layout = match sound.channel_layout() {
            layout if layout.is_empty() => ChannelLayout::default(i32::from(sound.channels())),
            layout => layout,
        };
        let kind = Kind { format: sound.format(), layout, rate: sound.rate() };
        let stereo = SampleFormat::F32(sample::Type::Planar);
        let (_, resampler) = match self.resampler.take() {
            Some(ready) if ready.0 == kind => self.resampler.insert(ready),
            _ => {
                let context = resampling::Context::get(
                    kind.format,
                    kind.layout,
                    kind.rate,
                    stereo,
                    ChannelLayout::STEREO,
                    SAMPLE_RATE,
                )
                .map_err(Error::media(what))?;
                self.resampler.insert((kind, context))
            }
        };
        let capacity = sound.samples() * SAMPLE_RATE as usize / kind.rate.max(1) as usize + 512;
        let mut output = frame::Audio::new(stereo, capacity, ChannelLayout::STEREO);
        resampler.run(sound, &mut output).map_err(Error::media(what))?;
        let (left, right) = (output.plane::<f32>(0), output.plane::<f32>(1));
        self.stereo.clear();
        let count = output.samples();
        self.stereo.extend(left.iter().zip(right).take(count).map(|(l, r)| [*l, *r]));
        Ok(&self.stereo)
    }
}

/// Keeps sound continuous while its timestamps jitter, and notices when it drifts.
#[derive(Debug, Default)]
struct Steering {
    next: Option<i64>,
    /// Mean error in 1/32 samples.
    error: i64,
    since_correction: i64,
}

impl Steering {
    /// Where sound wanted at `wanted` goes, and how many samples to add in the next second.
    fn place(&mut self, wanted: i64, count: i64) -> (i64, Option<i64>) {
        let next = match self.next {
            Some(next) if (wanted - next).abs() <= MOVE => next,
            _ => {
                *self = Self::default();
                wanted
            }
        };
        self.error += (wanted - next) - self.error / 32;
        self.next = Some(next + count);
        self.since_correction += count;
        if self.since_correction < RATE {
            return (next, None);
        }
        self.since_correction = 0;
        let mean = self.error / 32;
        let samples =
            if mean.abs() > CORRECT { mean.clamp(-MAX_CORRECTION, MAX_CORRECTION) } else { 0 };
        (next, Some(samples))
    }
}

/// Lets the next second of output be so many samples longer.
#[allow(unsafe_code)]
fn compensate(resampler: &mut resampling::Context, samples: i64) {
    if samples == 0 && resampler.input().rate == SAMPLE_RATE {
        // Asking would turn on a resampler that is not needed.
        return;
    }
    let samples = i32::try_from(samples).unwrap_or(0);
    // SAFETY: the context is initialised; refusing leaves it as it was.
    unsafe { ffi::swr_set_compensation(resampler.as_mut_ptr(), samples, SAMPLE_RATE as i32) };
}

#[cfg(test)]
mod tests;
