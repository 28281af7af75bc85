//! Ways into Headwater: protocols that receive a broadcaster's stream, the hub where it meets the
//! channel, and the FFmpeg ladder that turns it into renditions.
//!
//! ```text
//! rtmp::server ─► hub::Publication ═► hub::Subscription ─► av::supervisor ⇄ worker process (FFmpeg)
//!  (sockets)        (one publisher        (the channel         (coded samples in, renditions out)
//!                    per channel)          reads here)
//! ```
//! Protocol parsers are pure and own every limit on what a peer may make us hold; only `server`
//! modules touch sockets. FFmpeg is named in [`av`] only. What is cut into segments, stored or
//! served is none of this crate's business.

pub mod av;
pub mod door;
pub mod hub;
mod receive_buffer;
pub mod rtmp;
pub mod secret;
pub mod source;
pub mod srt;
mod text;
pub mod ts;
