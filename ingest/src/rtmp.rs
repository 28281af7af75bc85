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

pub use server::serve;
