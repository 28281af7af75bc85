//! What is made of a channel's cues: `[channel.cues]`.

use packager::time::Span;
use packager::{dash, hls};

/// How long a break lasts at the most whose end nobody tells: real ones are below five minutes, and a
/// channel must not stay in one for good because a message was lost.
const MAX_BREAK: Span = Span::millis(600_000);

/// `[channel.cues]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cues {
    /// What HLS playlists tell.
    pub hls: hls::Markers,
    /// How DASH tells it.
    pub dash: dash::Events,
    /// Where a Period of DASH begins.
    pub periods: Periods,
    /// How long a break lasts at the most whose end nobody tells.
    pub max_break: Span,
}

/// Where a Period of DASH begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Periods {
    /// Where a run does.
    #[default]
    Runs,
    /// Where a break begins and ends too. Segments are named one by one then, and there is no low
    /// latency in DASH.
    Breaks,
}

impl Default for Cues {
    fn default() -> Self {
        Self {
            hls: hls::Markers::default(),
            dash: dash::Events::default(),
            periods: Periods::default(),
            max_break: MAX_BREAK,
        }
    }
}
