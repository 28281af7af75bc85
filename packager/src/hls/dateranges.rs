//! `EXT-X-DATERANGE` (RFC 8216bis §4.4.5.1): one tag per cue, with all that is known of it.
//!
//! What a tag has said once it says for good: an announced end may change, so it is told when the
//! break is over. Tags stand before the first segment, in delta updates too, and go when the last
//! segment goes that their cue has to do with. Dates are those of the splice's frame, the same in every
//! rendition.

use std::fmt::Write;

use super::decimal::seconds;
use crate::grid::Cut;
use crate::time::{Rounding, Span, Timescale, Timestamp, iso};
use crate::timeline::{Cue, EndsBy, Moved, Snapshot};

/// Ticks per second of what messages say.
const MESSAGE: Timescale = Timescale::MPEG;

/// Writes the tags of all cues.
pub(super) fn write(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    snapshot.cues.iter().try_for_each(|cue| range(text, snapshot, cue))
}

fn range(text: &mut String, snapshot: &Snapshot, cue: &Cue) -> std::fmt::Result {
    let scale = snapshot.format.grid.video_scale();
    let date = |ticks| iso(Timestamp::new(ticks, scale));
    write!(text, "#EXT-X-DATERANGE:ID=\"{}\",START-DATE=\"{}\"", cue.id, date(cue.start))?;
    let ended = cue.ended();
    if let Some(end) = ended {
        let length = Span::new(end.at.abs_diff(cue.start), scale);
        let length = seconds(length, Rounding::Nearest);
        write!(text, ",END-DATE=\"{}\",DURATION={length}", date(end.at))?;
    }
    if let Some(planned) = cue.planned {
        let planned = seconds(Span::new(planned, MESSAGE), Rounding::Nearest);
        write!(text, ",PLANNED-DURATION={planned}")?;
    }
    // Where it was moved, the time as it was sent.
    if let Some(moved) = cue.moved {
        let why = match moved {
            Moved::Late => "LATE",
            Moved::Close => "CLOSE",
            Moved::RunStart => "RUN-START",
        };
        write!(text, ",X-HEADWATER-SENT=\"{}\",X-HEADWATER-MOVED=\"{why}\"", date(cue.wished))?;
    }
    // Where nobody could be asked for a key frame, where the nearest one was.
    let source = snapshot.format.grid.cut == Cut::Source;
    match cue.cut_at.filter(|_| source) {
        _ if !cue.cut => write!(text, ",X-HEADWATER-CUT=\"NO\"")?,
        Some(at) => write!(text, ",X-HEADWATER-CUT=\"{}\"", date(at))?,
        None => {}
    }
    if let Some(at) = ended.and_then(|end| end.cut_at).filter(|_| source) {
        write!(text, ",X-HEADWATER-END-CUT=\"{}\"", date(at))?;
    }
    if ended.is_some_and(|end| end.by == EndsBy::ReturnLost) {
        write!(text, ",X-HEADWATER-RETURN-LOST=\"YES\"")?;
    }
    let what = if cue.is_break { "OUT" } else { "CMD" };
    section(text, what, &cue.section)?;
    if ended.is_some() {
        section(text, "IN", &cue.end_section)?;
    }
    writeln!(text)
}

/// Writes a section as it came.
fn section(text: &mut String, what: &str, bytes: &[u8]) -> std::fmt::Result {
    if bytes.is_empty() {
        return Ok(());
    }
    write!(text, ",SCTE35-{what}=0x")?;
    bytes.iter().try_for_each(|byte| write!(text, "{byte:02X}"))
}

#[cfg(test)]
pub(super) mod tests;
