//! Tags of the `EXT-X-CUE-OUT` kind: where a break begins, goes on and is over, said before each of its
//! segments. No standard has them (`EXT-X-SCTE35` stands in ANSI/SCTE 35 §12.2, as legacy); ad inserters
//! read them by what encoders have written for years.
//!
//! ```text
//! before its first segment    OUT, and how long it is meant to last
//! before each that follows    CONT, and how much of it is over
//! before the first behind it  IN
//! ```
//! A player or inserter that joins within a break knows so from the CONT before the first segment it is
//! given. Of breaks that overlap the one that began first is told: the tags have no names to tell two
//! apart by.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::markers::CueStyle;
use crate::time::{Rounding, Span, Timescale, Timestamp};
use crate::timeline::{Cue, End, Snapshot};

/// The tags of a playlist.
#[derive(Clone)]
pub(super) struct CueOut<'a> {
    style: CueStyle,
    cues: &'a [Cue],
    scale: Timescale,
}

impl<'a> CueOut<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, style: CueStyle) -> Self {
        Self { style, cues: &snapshot.cues, scale: snapshot.format.grid.video_scale() }
    }

    /// Whether there is anything to tell.
    pub(super) fn tells(&self) -> bool {
        !self.cues.is_empty()
    }

    /// Writes what stands before segment `k`, which begins at `start`.
    pub(super) fn write(&self, text: &mut String, k: u64, start: Timestamp) -> std::fmt::Result {
        let before = k.checked_sub(1).and_then(|k| self.at(k));
        match (before, self.at(k)) {
            (_, Some(cue)) if cue.k < k => self.goes_on(text, cue, start),
            (Some(before), Some(cue)) => {
                self.over(text, before)?;
                self.begins(text, cue)
            }
            (None, Some(cue)) => self.begins(text, cue),
            (Some(before), None) => self.over(text, before),
            (None, None) => Ok(()),
        }
    }

    /// The break that segment `k` belongs to.
    fn at(&self, k: u64) -> Option<&'a Cue> {
        let on = |cue: &&Cue| {
            let goes_on = |end: &End| end.cut_at.is_none() || k < end.k;
            cue.cut_at.is_some() && cue.k <= k && cue.end.as_ref().is_some_and(goes_on)
        };
        self.cues.iter().filter(on).min_by_key(|cue| cue.k)
    }

    fn begins(&self, text: &mut String, cue: &Cue) -> std::fmt::Result {
        let section = STANDARD.encode(&cue.section);
        let length = length(cue);
        match self.style {
            CueStyle::Elemental => {}
            CueStyle::Enhanced => {
                writeln!(text, "#EXT-OATCLS-SCTE35:{section}")?;
                if let Some(upid) = cue.upid() {
                    let hex: String = upid.iter().map(|byte| format!("{byte:02X}")).collect();
                    writeln!(text, "#EXT-X-ASSET:CAID=0x{hex}")?;
                }
            }
            CueStyle::Scte35 => {
                write!(text, "#EXT-X-SCTE35:CUE=\"{section}\",ID=\"{}\"", cue.id)?;
                if let Some(length) = length {
                    write!(text, ",DURATION={length}")?;
                }
                return writeln!(text, ",CUE-OUT=YES");
            }
        }
        match length {
            Some(length) => writeln!(text, "#EXT-X-CUE-OUT:{length}"),
            None => writeln!(text, "#EXT-X-CUE-OUT"),
        }
    }

    fn goes_on(&self, text: &mut String, cue: &Cue, start: Timestamp) -> std::fmt::Result {
        let millis = |at: Timestamp| at.ticks_in(Timescale::MILLIS, Rounding::Nearest);
        // Counted from the segment that the break was said before: a passed-through source is cut at its
        // nearest key frame.
        let begun = millis(Timestamp::new(cue.cut_at.unwrap_or(cue.start), self.scale));
        let elapsed = thousandths(millis(start).saturating_sub(begun).max(0).unsigned_abs());
        let section = || STANDARD.encode(&cue.section);
        match (self.style, length(cue)) {
            (CueStyle::Elemental, Some(length)) => {
                writeln!(text, "#EXT-X-CUE-OUT-CONT:{elapsed}/{length}")
            }
            (CueStyle::Elemental, None) => writeln!(text, "#EXT-X-CUE-OUT-CONT:{elapsed}"),
            (CueStyle::Enhanced, length) => {
                write!(text, "#EXT-X-CUE-OUT-CONT:ElapsedTime={elapsed}")?;
                if let Some(length) = length {
                    write!(text, ",Duration={length}")?;
                }
                writeln!(text, ",SCTE35={}", section())
            }
            (CueStyle::Scte35, length) => {
                write!(text, "#EXT-X-SCTE35:CUE=\"{}\",ID=\"{}\"", section(), cue.id)?;
                if let Some(length) = length {
                    write!(text, ",DURATION={length}")?;
                }
                writeln!(text, ",ELAPSED={elapsed},CUE-OUT=CONT")
            }
        }
    }

    fn over(&self, text: &mut String, cue: &Cue) -> std::fmt::Result {
        if self.style != CueStyle::Scte35 {
            return writeln!(text, "#EXT-X-CUE-IN");
        }
        // The tag carries a section in any case (§12.2): the one that announced the break, where none
        // ended it.
        let section = if cue.end_section.is_empty() { &cue.section } else { &cue.end_section };
        let section = STANDARD.encode(section);
        writeln!(text, "#EXT-X-SCTE35:CUE=\"{section}\",ID=\"{}\",CUE-IN=YES", cue.id)
    }
}

/// How long a break is meant to last.
fn length(cue: &Cue) -> Option<String> {
    let planned = Span::new(cue.planned?, Timescale::MPEG);
    Some(thousandths(planned.ticks_in(Timescale::MILLIS, Rounding::Nearest)))
}

/// Seconds as these tags have them: to the thousandth, which is what inserters parse.
fn thousandths(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

#[cfg(test)]
mod tests;
