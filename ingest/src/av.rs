//! The ladder: FFmpeg in worker processes, and everything around it that needs no FFmpeg.
//!
//! ```text
//! source::Unit ─► supervisor::Input ═socket═► worker: decode ─► output clock ─► an encoder per rung
//!                 supervisor::Output ◄═socket═        samples on the epoch grid, aligned IDRs
//! ```
//! [`ladder`] and [`rate`] decide what is made, purely; [`protocol`] is the language on the socket;
//! [`supervisor`] starts, feeds and reaps workers; [`worker`] is what runs in them and the only
//! place where FFmpeg is named; [`mark`] is the clock that the demo's broadcaster draws and tests
//! read back. Restarting workers and packaging what they make is the channel's business.

pub mod ladder;
pub mod mark;
pub mod protocol;
pub mod rate;
pub mod supervisor;
pub mod worker;
