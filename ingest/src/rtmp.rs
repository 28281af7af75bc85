//! RTMP ingest: a broadcaster's TCP connection in, units of a source out.
//!
//! ```text
//! socket ─► session ─► Unit ─► hub::Publication
//! (server)    │ rml_rtmp's handshake
//!             ├ chunk    bytes -> messages; every budget on what a peer may make us hold
//!             ├ message  messages -> commands, controls, media; and the replies
//!             ├ amf0     the values inside commands and metadata
//!             └ flv      the headers of audio and video, Enhanced RTMP included
//! ```
//! Everything but [`server`] and [`client`] is pure: bytes and an instant in, bytes and events out.
//! Specifications: Adobe's RTMP 1.0 and AMF0, FLV 10.1 annex E, Enhanced RTMP v2. Not here: playing
//! (refused), RTMPS, RTMPT, AMF3 values, multitrack.

pub mod amf0;
pub mod chunk;
pub mod client;
pub mod flv;
pub mod message;
pub mod server;
pub mod session;

pub use server::{Stats, serve};

/// A peer's text made fit for a log line or a reply: short, and nothing in it that moves a cursor
/// or ends a line.
fn printable(text: &str) -> String {
    /// As long as a channel's name may be.
    const LONGEST: usize = 64;
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_default).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// The name that a peer asked for, made fit for a log line: up to the first character that no
/// channel's name has. Behind a mistyped `?` stands a key.
fn printable_name(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut out = printable(name);
    if !rest.is_empty() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_behind_a_mistyped_question_mark_is_not_told() {
        assert_eq!(printable_name("news_1-a"), "news_1-a");
        for mistyped in ["news&key=s3cret", "news\u{fffd}key=s3cret", "news/s3cret", "news s3cret"]
        {
            assert_eq!(printable_name(mistyped), "news…");
        }
        assert_eq!(printable_name("?key=s3cret"), "…");
    }
}
