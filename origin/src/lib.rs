//! The headwater program: channels by configuration, a store, an HTTP origin, an admin listener.
//!
//! ```text
//! ingest::hub ─► channel (task: supervisor, segmenter, timeline) ─► store (spool, live edge)
//!                    │ watch<Arc<Snapshot>>                              │
//!                    └──────────────► http, admin ◄──────────────────────┘
//! ```
//! [`app`] is the composition root: it alone knows every part. `http` and `admin` read channels and
//! the store; `channel` writes the store; nothing below them knows of HTTP.

pub mod admin;
pub mod admission;
pub mod app;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod store;
pub mod telemetry;
