//! Sections for what is asked in words: what manifests carry is a section in any case.

use bytes::Bytes;
use packager::scte35::section::{BreakDuration, Command, Insert, Splice, SpliceTime, TIME_MASK};
use packager::scte35::{CLOCK, Section};
use packager::time::{Rounding, Span, Timestamp};

/// What is to happen, without what is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Words {
    /// A break begins.
    Out { duration: Option<Span>, auto_return: bool },
    /// It ends.
    Return,
    /// It is not to be.
    Cancel,
}

/// The number that stands for a word (FNV-1a): of an event that somebody calls by one, and of a break that
/// is asked for under a key, so that it is the same one after a restart and on another node.
pub(in crate::channel) fn number_of(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The section that says so about event `event_id`, at `at` on our timeline or at once; with its bytes.
pub(in crate::channel) fn section(
    event_id: u32,
    words: Words,
    at: Option<Timestamp>,
) -> Option<(Section, Bytes)> {
    let time = at.map_or(SpliceTime::Immediate, |at| {
        let ticks = at.ticks_in(CLOCK, Rounding::Nearest).cast_unsigned();
        SpliceTime::Program(Some(ticks & TIME_MASK))
    });
    let splice = |out, duration| Splice {
        out,
        compliance: true,
        time,
        duration,
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let splice = match words {
        Words::Out { duration, auto_return } => {
            let duration = duration.map(|duration| BreakDuration {
                auto_return,
                ticks: duration.ticks_in(CLOCK, Rounding::Nearest) & TIME_MASK,
            });
            Some(splice(true, duration))
        }
        Words::Return => Some(splice(false, None)),
        Words::Cancel => None,
    };
    let section = Section::new(Command::Insert(Insert { event_id, splice }), Vec::new());
    let bytes = section.encode()?;
    Some((section, bytes))
}
