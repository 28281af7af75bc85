//! HLS playlists (draft-pantos-hls-rfc8216bis), rendered from a snapshot.
//!
//! ```text
//! /live/{channel}/index.m3u8                 multivariant()
//! /live/{channel}/{rendition}/index.m3u8     media()
//! /live/{channel}/{rendition}/iframes.m3u8   iframes()
//! /live/{channel}/{rendition}/images.m3u8    images()
//! /live/{channel}/{run}/{rendition}/…        what they point to, relative
//! ```
//!
//! All are functions of what they are given: two nodes with the same timeline write the same
//! bytes. Nothing is decided here; what exists and what it is called is the timeline's. When an
//! answer is due, and for whom, is the origin's.

mod cue_out;
mod dateranges;
mod decimal;
mod delta;
mod head;
mod interstitials;
mod markers;
mod media;
mod multivariant;
mod parts;
mod report;
mod segments;
mod trick_play;

pub use delta::Skip;
pub use markers::{AssetList, CueStyle, Markers, NoAssetList};
pub use media::media;
pub use multivariant::multivariant;
pub use parts::count_of_gap;
pub use trick_play::{iframes, images};

/// What an operator can choose about playlists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What leads from the multivariant playlist to the folder of the channel's runs, with a slash at the
    /// end; nothing where it lies in that itself.
    pub base: String,
    /// Whether there are stills to search by, which somebody has to make when they are asked for.
    pub stills: bool,
    /// Whether playlists tell when what they list was made.
    pub dates: bool,
    /// Language of the sound, as a BCP 47 tag; `und` where nobody said.
    pub language: String,
    /// What is told of cues.
    pub markers: Markers,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base: String::new(),
            stills: true,
            dates: true,
            language: "und".into(),
            markers: Markers::default(),
        }
    }
}

#[cfg(test)]
mod tests;
