//! The headwater program: channels by configuration, a store, an HTTP origin, an admin listener.
//!
//! ```text
//! ingest::hub ─► channel (task: supervisor, segmenter, timeline) ─► store (spool, live edge)
//!                    │ watch<Arc<Snapshot>>                              │
//!                    └──────────────► http, admin ◄──────────────────────┘
//! ```
//! [`guardian`] holds the listening sockets and keeps this running; [`app`] is the composition root: it
//! alone knows every part. `http` and `admin` read channels and the store; `channel` writes the store;
//! nothing below them knows of HTTP. [`assets`] are what is kept of a channel beyond its window. [`viewers`] sums what players report, [`package`] makes a folder of
//! a file without any server, and [`cdn_check`] is a
//! client: it looks at any server from outside and shares nothing with this one but a header's name.

pub mod admin;
pub mod admission;
pub mod app;
pub mod asking;
pub mod assets;
mod backoff;
pub mod cdn_check;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
mod crash;
pub mod cue;
pub mod guardian;
pub mod http;
pub mod legacy;
pub mod network;
pub mod package;
pub mod signals;
pub mod sockets;
pub mod store;
pub mod telemetry;
pub mod viewers;
pub mod webrtc;
