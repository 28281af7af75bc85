//! HLS playlists (draft-pantos-hls-rfc8216bis), rendered from a snapshot.
//!
//! ```text
//! /live/{channel}/index.m3u8               multivariant()
//! /live/{channel}/{rendition}/index.m3u8   media()
//! /live/{channel}/{run}/{rendition}/…      what they point to, relative
//! ```
//!
//! Both are functions of what they are given: two nodes with the same timeline write the same
//! bytes. Nothing is decided here; what exists and what it is called is the timeline's.

mod decimal;
mod media;
mod multivariant;

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
