//! HLS playlists (draft-pantos-hls-rfc8216bis), rendered from a snapshot.
//!
//! ```text
//! /live/{channel}/index.m3u8                 multivariant()
//! /live/{channel}/{rendition}/index.m3u8     media()
//! /live/{channel}/{rendition}/iframes.m3u8   iframes()
//! /live/{channel}/{run}/{rendition}/…        what they point to, relative
//! ```
//!
//! All are functions of what they are given: two nodes with the same timeline write the same
//! bytes. Nothing is decided here; what exists and what it is called is the timeline's. When an
//! answer is due, and for whom, is the origin's.

mod dateranges;
mod decimal;
mod delta;
mod head;
mod iframes;
mod media;
mod multivariant;
mod parts;
mod report;
mod segments;

pub use delta::Skip;
pub use iframes::iframes;
pub use media::media;
pub use multivariant::multivariant;

/// What an operator can choose about playlists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Language of the sound, as a BCP 47 tag; `und` where nobody said.
    pub language: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { language: "und".into() }
    }
}

#[cfg(test)]
mod tests;
