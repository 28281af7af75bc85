//! What a channel says of itself: the public `/live/{channel}/status.json`. Never holds a key.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use ingest::srt::Link;
use serde::Serialize;

use super::incidents::Event;
use crate::store::UpstreamStats;

/// Where a channel stands, as one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is nobody to play, and nothing: the first publisher is yet to come, or what there was has
    /// ended a window ago.
    #[default]
    Idle,
    /// A source is there, the first segment is not.
    Starting,
    /// Segments are being made from a source.
    Live,
    /// The source is lost, or the server died; the channel goes on without it for `hold`.
    Holding,
    /// The channel went on without a source for `hold` and has ended.
    Ended,
}

impl Health {
    /// As it is written in JSON and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Holding => "holding",
            Self::Ended => "ended",
        }
    }
}

/// A channel's state.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The one word.
    pub state: Health,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    /// The publisher, while there is one.
    pub source: Option<SourceStatus>,
    /// What can be played.
    pub renditions: Vec<RenditionStatus>,
    /// Rungs the operator wished for that are not made, and why.
    pub left_out: Vec<LeftOut>,
    /// Segment length in milliseconds, as the grid made it of the wish.
    pub segment_ms: Option<u64>,
    /// Part length in milliseconds, as the grid made it of the wish.
    pub part_ms: Option<f64>,
    /// Whether DASH can be low latency: not where a passed-through source's key frames come as they
    /// please, since no player can compute then what comes next. `None` while nothing is listed.
    pub dash_low_latency: Option<bool>,
    /// Frame rate of the video renditions, such as `29.97`.
    pub fps: Option<String>,
    /// Oldest segment that is listed.
    pub first_segment: Option<u64>,
    /// Newest segment that every rendition has.
    pub last_segment: Option<u64>,
    /// How far the channel's clock is ahead of UTC, in milliseconds: its numbers were used by a clock
    /// that has been set back since. A few seconds are made up slowly, more stays until the channel
    /// ends.
    pub clock_ahead_ms: u64,
    /// Ad breaks that have to do with the window or are to come, oldest first.
    pub breaks: Vec<BreakStatus>,
    /// Where the time goes between the source and the store.
    pub latency: StageLatency,
    /// Repairs made to the source's timestamps since the server started.
    pub timestamp_repairs: u64,
    /// The same by kind; those that never happened are not there.
    pub repairs: BTreeMap<RepairKind, u64>,
    /// Pictures of the ladder that are not the source's next one, since the server started, by kind;
    /// those that never happened are not there.
    pub picture_faults: BTreeMap<PictureFault, u64>,
    /// Times the worker process had to be started again.
    pub worker_restarts: u64,
    /// Whether the channel was on the air when the server before this one died, and has nothing to
    /// play yet. Viewers of then are waiting.
    #[serde(skip)]
    pub interrupted: bool,
    /// Publishers that were turned away since the server started, by a word for the reason. For
    /// operators: left out of the public status.
    #[serde(skip)]
    pub turned_away: BTreeMap<&'static str, u64>,
    /// How the way into S3 stands, where there is one. For operators: left out of the public status.
    #[serde(skip)]
    pub s3: Option<UpstreamStats>,
    /// The newest thing that is wrong, in words for a person; gone when it is over.
    pub last_error: Option<String>,
    /// What has happened lately, oldest first. For operators: left out of the public status.
    #[serde(skip)]
    pub events: Vec<Event>,
    /// What was heard of cues lately, oldest first. For operators too.
    #[serde(skip)]
    pub cues: Arc<Vec<super::cues::Entry>>,
}

/// What had to be repaired in a source's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairKind {
    /// The source's clock jumped, forward or back.
    Jump,
    /// The source stayed late, and was placed anew.
    Late,
    /// The source came with a backlog or had caught up, and its delay was taken back.
    Ahead,
    /// A picture was to be shown before it was decoded.
    Composition,
    /// A time was not after the one before it.
    Order,
    /// The source's clock ran over its 32 bits.
    Wrap,
    /// Pictures or sound were missing where the source is packaged as it is.
    Hole,
    /// There was more sound than time.
    Surplus,
}

impl RepairKind {
    /// As it is written in JSON and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Jump => "jump",
            Self::Late => "late",
            Self::Ahead => "ahead",
            Self::Composition => "composition",
            Self::Order => "order",
            Self::Wrap => "wrap",
            Self::Hole => "hole",
            Self::Surplus => "surplus",
        }
    }

    /// What happened so many times, in a sentence.
    pub fn sentence(self, times: u64) -> String {
        let counted = match times {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            n => format!("{n} times"),
        };
        match self {
            Self::Jump => format!("the source's clock jumped {counted}"),
            Self::Late => format!("the source fell behind and was placed anew {counted}"),
            Self::Ahead => format!("the source was ahead and its delay was taken back {counted}"),
            Self::Composition => {
                format!("a picture was to be shown before it was decoded {counted}")
            }
            Self::Order => format!("the source's times stood still or went back {counted}"),
            Self::Wrap => format!("the source's clock ran over its 32 bits {counted}"),
            Self::Hole => format!("pictures or sound were missing {counted}"),
            Self::Surplus => format!("there was more sound than time {counted}"),
        }
    }
}

/// Why viewers of a ladder are shown another picture than the source's next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureFault {
    /// One was shown again, because the next was not there in time.
    Repeated,
    /// One of the source's was not shown: it came too late, or two came for one place.
    Dropped,
    /// An encoder was too slow for one, and its rung showed the one before.
    Skipped,
}

impl PictureFault {
    /// As it is written in JSON and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }
}

/// The publisher as the channel sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// `rtmp`, `srt`, `udp`, `rtp` or `file`.
    pub protocol: String,
    /// Address and port of the peer. Left out of the public status.
    #[serde(skip)]
    pub peer: String,
    /// RFC 6381 string of the video as sent.
    pub video: Option<String>,
    /// Width and height as sent.
    pub size: Option<(u16, u16)>,
    /// RFC 6381 string of the audio as sent.
    pub audio: Option<String>,
    /// Bits per second received over the last seconds.
    pub bitrate: u64,
    /// Frames per second received over the last seconds.
    pub fps: f64,
    /// Seconds between the last two key frames.
    pub gop_seconds: Option<f64>,
    /// Whether pictures are sent in another order than shown; known after a GOP.
    pub b_frames: Option<bool>,
    /// Milliseconds by which the sound's times lie ahead of the pictures' they arrive with.
    pub av_skew_ms: Option<f64>,
    /// What was wrong with the transport stream that it came in, by kind; those that never happened
    /// are not there.
    pub transport_faults: BTreeMap<&'static str, u64>,
    /// Figures of the connection that it comes over, where it is SRT's. Left out of the public status.
    #[serde(skip)]
    pub link: Option<Link>,
    /// What will trouble viewers or is not as it should be, in sentences.
    pub warnings: Vec<String>,
}

/// A rendition that is made.
#[derive(Clone, Debug, Serialize)]
pub struct RenditionStatus {
    /// Its name in URLs.
    pub name: String,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Width and height, if it is a picture.
    pub size: Option<(u16, u16)>,
    /// Bits per second aimed at.
    pub bitrate: u32,
}

/// An ad break, as far as it is known. In milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BreakStatus {
    /// When it begins.
    pub start_ms: i64,
    /// When it ends, if nothing ends it sooner.
    pub end_ms: i64,
}

/// A rung that is not made.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The rung.
    pub name: String,
    /// The reason in words.
    pub reason: String,
}

/// Milliseconds that pictures spend in each stage: median and 95th percentile of the last seconds.
/// `None` where nothing has passed yet, or, of `encode`, where the channel encodes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StageLatency {
    /// From the last byte of a picture read off the socket to its place on the output clock.
    pub ingest_ms: Option<f64>,
    /// The same, 95th percentile.
    pub ingest_p95_ms: Option<f64>,
    /// From the picture's place on the output clock to its coded frame.
    pub encode_ms: Option<f64>,
    /// The same, 95th percentile.
    pub encode_p95_ms: Option<f64>,
    /// From the first frame of a part to the part being fetchable.
    pub part_ms: Option<f64>,
    /// The same, 95th percentile.
    pub part_p95_ms: Option<f64>,
    /// From the last frame of a part to the part being fetchable.
    pub package_ms: Option<f64>,
    /// The same, 95th percentile.
    pub package_p95_ms: Option<f64>,
}
