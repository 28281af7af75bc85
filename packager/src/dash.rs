//! The DASH manifest (ISO/IEC 23009-1, isoff-live profile), rendered from a snapshot.
//!
//! One Period per run, addressed by `$Number$` with `@duration`: a player computes every name and
//! every time from the clock, and a Period reads the same from its first segment until the next
//! Period is there. Where a pass-through source's key frames have drifted away from the times that
//! `@duration` promises, its run goes on in another Period, continuous with the one before: same init
//! segments, no discontinuity. So it does where a rung has been switched off for long, without that,
//! and again when it is back. The manifest changes when a run is first listed, leaves the window, or the
//! channel ends; `@publishTime` is the media time of that change and never the clock's.
//!
//! For searching there is a set of the pictures' key frames (`key_frames`), which players take that know
//! how, and nobody else; and one of stills (`stills`), which a bar shows.
//!
//! Segments can be played while they are written (`low_latency`). Where a source's segments are uneven,
//! the Period names each by a `SegmentTimeline`, the manifest changes with every
//! segment, and there is no low latency.
//!
//! Cues stand in their Period as events, and the manifest changes with each that is told; or they stand in
//! the segments.
//!
//! What has both its ends, an excerpt, is a static manifest (`whole`).
//!
//! Nothing is decided here; what exists and what it is called is the timeline's.

mod events;
mod key_frames;
mod low_latency;
mod manifest;
mod period;
mod segment_timeline;
mod stills;
mod whole;

pub use events::Events;
pub use manifest::manifest;

/// What stands behind a rendition's name where its key frames are meant, each a segment of its own: a
/// name has no dot.
pub const KEY_FRAMES: &str = ".keys";

/// What an operator can choose about manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What leads from the manifest to the folder of the channel's runs, with a slash at the end; nothing
    /// where it lies in that itself.
    pub base: String,
    /// Whether there is a set of key frames to search by, which somebody has to make when it is asked for.
    pub key_frames: bool,
    /// The same of a set of stills.
    pub stills: bool,
    /// Scheme and authority under which players reach the origin, without a slash at the end:
    /// `https://live.example.org`. Some players do not resolve a relative clock address.
    pub public_url: Option<String>,
    /// Absolute path under which players read the clock that the timeline goes by.
    pub clock: String,
    /// Language of the sound, as a BCP 47 tag; `und` where nobody said.
    pub language: String,
    /// How cues are told.
    pub events: Events,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base: String::new(),
            key_frames: true,
            stills: true,
            public_url: None,
            clock: "/time".into(),
            language: "und".into(),
            events: Events::default(),
        }
    }
}

#[cfg(test)]
mod tests;
