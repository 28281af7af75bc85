//! The language between the server and its worker processes, over a Unix socket pair.
//!
//! What is said: [`ToWorker`] and [`FromWorker`]. [`wire`](Wire) is how it looks on the socket.
//! The first message to a worker is [`Start`] with the protocol's version; server and worker are
//! the same binary, so a mismatch means a half-upgraded machine and ends the worker.
//!
//! Reading and writing is the caller's: the worker does it with threads, the supervisor with tokio.

use bytes::Bytes;
use packager::grid::Grid;
use packager::grid::splices::Splices;
use packager::media::Rendition;
use packager::time::FrameRate;

use crate::av::ladder::Rung;
use crate::source::{AudioCodec, PictureCodec};

mod announced;
mod wire;
pub use wire::{Error, HEAD, MAX_BODY, Wire, read_head};

/// Raised whenever a message changes its form.
pub const VERSION: u32 = 10;

/// How the worker finds UTC: the server reads the wall clock once and both carry it on by the
/// machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClockBase {
    /// Nanoseconds since the Unix epoch minus `CLOCK_MONOTONIC`'s nanoseconds.
    pub utc_minus_monotonic_nanos: i64,
}

impl ClockBase {
    /// UTC now, in nanoseconds since the Unix epoch.
    pub fn utc_nanos(self) -> i64 {
        monotonic_nanos().saturating_add(self.utc_minus_monotonic_nanos)
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the one clock that both processes share.
pub fn monotonic_nanos() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Turn a source into renditions.
    Ladder {
        /// The channel's name: its slate unless an image comes.
        name: String,
        /// The video renditions; audio comes after them.
        rungs: Vec<Rung>,
        /// Frame rate, audio rate and boundaries.
        grid: Grid,
        /// First segment number that may be used.
        first_k_min: u64,
        /// Whether this worker goes on where another has stopped: it then begins with the first part
        /// that it can make on time, and not with segments from before its first picture.
        resume: bool,
        /// How long the last picture stands before the slate is shown, in milliseconds.
        slate_after_ms: u64,
    },
    /// Draw and encode the demo's picture.
    Broadcast(Scene),
    /// Read a file: tell what is in it, then do what [`ToWorker::Film`] says.
    Film,
    /// Make Opus of sound that is passed through.
    Opus,
    /// Make stills of key frames, each of the configuration before it: a sample of rendition 0 with the key
    /// frame's time, which is a JPEG, or empty where none can be made.
    Stills,
}

/// What is to be done with a file.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilmWork {
    /// Hand its coded samples on as they are; times in nanoseconds of its own clock.
    AsItIs {
        /// Its frame rate.
        rate: FrameRate,
    },
    /// Make a ladder of it, as fast as that can be done.
    Ladder {
        /// The video renditions; audio comes after them.
        rungs: Vec<Rung>,
        /// Frame rate, audio rate and boundaries. The film begins at boundary 1.
        grid: Grid,
        /// When its first picture is on its own clock.
        first_nanos: i64,
        /// First segment that is wanted.
        from_k: u64,
    },
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FilmFacts {
    /// Width of its pictures in pixels.
    pub width: u16,
    /// Height of its pictures in pixels.
    pub height: u16,
    /// Their rate, on average; a standard one where it is near to that.
    pub rate: Option<FrameRate>,
    /// How long it says that it is.
    pub duration_ms: u64,
    /// Pictures from one key frame to the next, as it mostly is.
    pub gop: Option<u32>,
    /// What its pictures are coded with.
    pub codec: String,
    /// What its sound is coded with, if it has any.
    pub sound: Option<String>,
    /// When its first picture is on its own clock, in nanoseconds.
    pub first_nanos: i64,
}

/// What the demo's broadcaster makes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scene {
    /// Written into the picture.
    pub title: String,
    /// Width in pixels, even.
    pub width: u16,
    /// Height in pixels, even.
    pub height: u16,
    /// Frames per second.
    pub rate: FrameRate,
    /// Bits per second of the video.
    pub bitrate: u32,
}

/// The first message to a worker.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub version: u32,
    /// Where UTC comes from.
    pub clock: ClockBase,
    /// What to do.
    pub role: Role,
}

/// A message to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Begin; always the first.
    Start(Start),
    /// The video decoder's configuration.
    VideoConfig {
        /// Which codec.
        codec: PictureCodec,
        /// Its configuration record; nothing of VP8.
        record: Bytes,
    },
    /// The audio decoder's configuration.
    AudioConfig {
        /// Which codec.
        codec: AudioCodec,
        /// Of AAC the AudioSpecificConfig; nothing of others.
        record: Bytes,
    },
    /// A coded picture of the source.
    Video(CodedSample),
    /// A coded audio frame of the source.
    Audio(CodedSample),
    /// The publisher is gone; another may come.
    SourceLost,
    /// The image of the slate, PNG or JPEG, which is shown instead of the channel's name.
    Slate {
        /// The file.
        image: Bytes,
    },
    /// Which rungs are made, from the next segment on that none of them has begun: bit n is rung n.
    /// All are until this says otherwise. The sound is always made.
    Rungs {
        /// The set.
        on: u64,
    },
    /// The packager has filled what these rungs were late with: the first picture at or after `at`
    /// is coded as an IDR, or nothing that follows could be decoded before the next boundary.
    KeyFrames {
        /// Bit n is rung n.
        rungs: u64,
        /// Video ticks.
        at: i64,
    },
    /// Segments begin at these splices too, with an IDR in every rung, and not at the boundaries that
    /// they take the place of. All that matter, whenever one is added or given up.
    Splices(Splices),
    /// Asks which frame a picture of the source will be, whose time on the source's clock is known.
    Locate {
        /// Comes back with the answer.
        id: u64,
        /// Presentation time in nanoseconds of the source's clock.
        at: i64,
    },
    /// Whether Opus is made of a ladder's sound too, for those who watch by WebRTC.
    Opus {
        /// It is from now on.
        on: bool,
    },
    /// Do this with the file; said once.
    Film(FilmWork),
    /// Finish what was begun and end.
    Stop,
}

/// A source's sample on its way to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedSample {
    /// Decoding time in nanoseconds of the source's clock.
    pub dts: i64,
    /// Presentation time in nanoseconds of the source's clock.
    pub pts: i64,
    /// Whether decoding can start here.
    pub sync: bool,
    /// `CLOCK_MONOTONIC` nanoseconds at which it was received.
    pub received: i64,
    /// Coded bytes.
    pub data: Bytes,
}

/// A message from a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The renditions and where they begin; before any sample.
    Started {
        /// In the order samples refer to them.
        renditions: Vec<Rendition>,
        /// Number of the first segment.
        first_k: u64,
        /// Video ticks of the first frame: the start of that segment, or of a later part of it where
        /// the worker goes on for another.
        start: i64,
    },
    /// A rung is made no more, or again.
    Rung {
        /// Index into the renditions.
        rendition: u8,
        /// Whether it is made from here on.
        on: bool,
        /// Video ticks of the segment boundary from which this holds. Made again, it begins there
        /// with an IDR and the same init segment.
        at: i64,
    },
    /// The answer to [`ToWorker::Locate`].
    Located {
        /// Of the question.
        id: u64,
        /// Video ticks of the frame, as things stand; `None` where no picture has come yet.
        at: Option<i64>,
    },
    /// A coded sample.
    Sample {
        /// Index into the renditions.
        rendition: u8,
        /// Times in the rendition's timescale.
        sample: packager::media::Sample,
        /// `CLOCK_MONOTONIC` nanoseconds at which its source picture was received (or drawn); for a
        /// repeated picture, at which it was repeated.
        captured: i64,
        /// `CLOCK_MONOTONIC` nanoseconds at which it left the encoder.
        encoded: i64,
    },
    /// A packet of Opus.
    Opus {
        /// When its first sample is heard, in nanoseconds: of a ladder UTC, else on the source's clock.
        at: i64,
        /// The packet.
        data: Bytes,
    },
    /// What is in a file.
    Film(FilmFacts),
    /// How it is going; about once a second.
    Stats(Stats),
    /// Something worth a line in the log.
    Log {
        /// Whether it needs a look.
        warning: bool,
        /// One line.
        text: String,
    },
    /// The worker can't go on; it ends after this.
    Failed {
        /// Why, for the operator and the publisher.
        reason: String,
    },
}

/// How a worker is doing. Counters run from the worker's start.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Stats {
    /// How far the newest encoded picture lies behind its time, in milliseconds.
    pub lag_ms: u32,
    /// Encoded media per second of real time since the last report, in percent; 100 is real time.
    pub speed_percent: u32,
    /// Longest wait for a late picture that is allowed now, in milliseconds.
    pub buffer_ms: u32,
    /// Received → decoded, mean since the last report, in microseconds.
    pub ingest_us: u32,
    /// Due → encoded, mean over rungs and pictures since the last report, in microseconds.
    pub encode_us: u32,
    /// Pictures decoded.
    pub decoded: u64,
    /// Output pictures that repeat the one before because none was there.
    pub repeated: u64,
    /// Output pictures that show the slate, because no other had come for seconds.
    pub slated: u64,
    /// Source pictures not shown: late, or two for one place.
    pub dropped: u64,
    /// Pictures that a rung could not take because its encoder was too slow; it froze instead.
    pub skipped: u64,
    /// Jumps of the source's clock that were closed.
    pub jumps: u64,
    /// Times the source was placed anew because it stayed late, or further ahead than it should be.
    pub replaced: u64,
    /// How many of these took it back: it came with a backlog, or had caught up.
    pub taken_back: u64,
    /// Samples the decoder refused or pictures it found broken.
    pub damaged: u64,
    /// Audio samples (48 kHz) that were silence because none were there.
    pub silenced: u64,
    /// CPU time the worker has taken, all threads together, in milliseconds.
    pub cpu_ms: u64,
    /// By rung, in the ladder's order.
    pub rungs: Vec<RungStats>,
}

/// How a rung has been doing since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct RungStats {
    /// Whether it is made.
    pub on: bool,
    /// How far its newest coded picture lies behind the one that should be coded by now, in
    /// milliseconds; a few for a rung that keeps up.
    pub lag_ms: u32,
    /// Percent of its pictures that it could not take, and showed the one before again.
    pub frozen_percent: u32,
}

#[cfg(test)]
mod tests;
