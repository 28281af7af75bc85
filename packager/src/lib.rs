//! Headwater's packaging library: coded samples in, CMAF chunks and HLS/DASH manifests out.
//!
//! Everything here is pure. There is no clock, no file, no socket and no task: the caller hands in
//! samples and the time, and gets bytes and text back. That is what lets 24 hours of packaging run
//! in a test within seconds, and two nodes produce the same names for the same input.
//!
//! ```text
//! Sample ─► segmenter ─► Chunk ─► timeline::Timeline ─► Snapshot ─► hls::*, dash::* ─► text
//!              │ grid (where segments and parts end)
//!    (repair)  ├ filler (what stands in for samples that are missing)
//!              └ cmaf (how a chunk is written)
//! ```
#![forbid(unsafe_code)]

pub mod cmaf;
pub mod codec;
pub mod dash;
pub mod filler;
pub mod grid;
pub mod hls;
pub mod media;
pub mod repair;
pub mod scte35;
pub mod segmenter;
pub mod time;
pub mod timeline;

#[cfg(test)]
mod agreement;
