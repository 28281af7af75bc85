//! SCTE-35 (ANSI/SCTE 35 2022b): from a section on the wire to a cue on our timeline.
//!
//! ```text
//! bytes ─► section (decoded, checked, encoded) ─► signal (what it asks for, one per event)
//!                                                   │ clock (33 bits ─► the source's line of time)
//!                                                   ▼ (and by whoever carries that to ours)
//!                                    breaks (state machine) ─► Cue ─► timeline, manifests
//!                                       └► grid::splices (which boundaries move)
//! ```
//! Pure like all of this crate. Sections are hostile input: a bad checksum or a structure that does
//! not fit is an [`Error`], and nothing of it gets further. What does is carried on as the bytes that
//! came, unchanged; encoding is for cues that are made here.
//!
//! Schedules (`splice_schedule`) are kept and not acted upon, encrypted sections are not opened.
//!
//! 35 is meant where a clause stands without a name.

pub mod breaks;
pub mod clock;
mod cue;
pub mod section;
mod signal;
mod xml;

pub use cue::{Cue, CueEvent, End, EndsBy, Phase, cut_of};
pub use section::{Error, Section};
pub use signal::{Action, Event, Signal, signals};
pub use xml::xml;

/// What events in the media are that carry a section (ANSI/SCTE 35 §12).
pub const INBAND_SCHEME: &str = "urn:scte:scte35:2013:bin";

/// Ticks per second of every time in a section.
pub const CLOCK: crate::time::Timescale = crate::time::Timescale::MPEG;
