//! Breaks as interstitials (RFC 8216bis appendix D): date ranges that tell a player where it finds what
//! to play in place of a break, beside those that tell ad inserters of it.
//!
//! Without X-RESUME-OFFSET a player comes back to the programme as much later as what it played was
//! long, which keeps it as far behind the live edge as it was. Where a break is shorter than was
//! planned, X-PLAYOUT-LIMIT says so as soon as it is over. Segments begin with both ends of a break, and
//! X-SNAP has players keep to that.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::decimal::seconds;
use super::markers::AssetList;
use crate::time::{Rounding, Span, Timescale, Timestamp, iso};
use crate::timeline::{Cue, Snapshot};

/// The class that makes a date range an interstitial.
const CLASS: &str = "com.apple.hls.interstitial";

/// Id of the interstitial of the cue called `cue`.
pub(super) fn id(cue: &str) -> String {
    format!("{cue}-ads")
}

/// Writes the tags of all breaks.
pub(super) fn write(text: &mut String, snapshot: &Snapshot, list: &AssetList) -> std::fmt::Result {
    let breaks = snapshot.cues.iter().filter(|cue| cue.is_break);
    breaks.into_iter().try_for_each(|cue| interstitial(text, snapshot, cue, list))
}

fn interstitial(
    text: &mut String,
    snapshot: &Snapshot,
    cue: &Cue,
    list: &AssetList,
) -> std::fmt::Result {
    let scale = snapshot.format.grid.video_scale();
    let planned = cue.planned.map(|ticks| Span::new(ticks, Timescale::MPEG));
    let told = planned.map(|planned| seconds(planned, Rounding::Nearest));
    let address = list.address(
        &cue.id,
        told.as_deref().unwrap_or_default(),
        &URL_SAFE_NO_PAD.encode(&cue.section),
    );
    write!(
        text,
        "#EXT-X-DATERANGE:ID=\"{}\",CLASS=\"{CLASS}\",START-DATE=\"{}\"",
        id(&cue.id),
        iso(Timestamp::new(cue.start, scale)),
    )?;
    if let Some(told) = &told {
        write!(text, ",PLANNED-DURATION={told}")?;
    }
    write!(text, ",X-ASSET-LIST=\"{address}\",X-SNAP=\"OUT,IN\"")?;
    if let Some(end) = cue.ended() {
        let length = Span::new(end.at.abs_diff(cue.start), scale);
        let nanos = |span: Span| span.ticks_in(Timescale::NANOS, Rounding::Nearest);
        if planned.is_none_or(|planned| nanos(length) < nanos(planned)) {
            write!(text, ",X-PLAYOUT-LIMIT={}", seconds(length, Rounding::Nearest))?;
        }
    }
    writeln!(text)
}

#[cfg(test)]
mod tests;
