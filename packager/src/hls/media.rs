//! A live media playlist (RFC 8216bis §4.4.3–4.4.5).
//!
//! ```text
//! head ─► segments, the newest of them with their parts ─► parts of the last ─► hint ─► reports
//!    └ delta: how many of the segments are left out
//! ```
//! Our own writer: m3u8-rs knows neither parts nor skips nor hints. A rendition lists what it has
//! itself, without waiting for the others. A channel that has ended is a plain playlist: nothing
//! comes that a player could be early for; and an excerpt that has both its ends is one that never changes.
//! A mirrored channel is live, and says nothing of what is being made.

use std::fmt::Write;

use super::delta::{self, Left, Skip};
use super::head::{self, Kind, Lists};
use super::segments::{Rows, Writer};
use super::{Options, dateranges, interstitials, parts, report};
use crate::timeline::{Snapshot, State};

/// About what a segment's lines take, with a date every now and then.
const SEGMENT_BYTES: usize = 60;

/// Renders the media playlist of the rendition at `index`, or as much of it as `skip` leaves. URIs
/// are relative to `/live/{channel}/{rendition}/`. Empty where there is no such rendition.
pub fn media(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options) -> String {
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = write(&mut text, snapshot, index, skip, options);
    text
}

fn write(
    text: &mut String,
    snapshot: &Snapshot,
    index: usize,
    skip: Skip,
    Options { base, dates, markers, .. }: &Options,
) -> std::fmt::Result {
    let (Some(rendition), Some(track)) =
        (snapshot.renditions.get(index), snapshot.tracks.get(index))
    else {
        return Ok(());
    };
    let live = snapshot.state == State::Live;
    let skipped = if live { delta::skippable(snapshot, index, skip) } else { 0 };
    let kind = Kind::of(snapshot.state, Lists::Media);
    head::write(text, snapshot, track, kind, Left { skip, skipped, markers })?;
    if markers.date_ranges {
        dateranges::write(text, snapshot)?;
    }
    if let Some(list) = &markers.asset_list {
        interstitials::write(text, snapshot, list)?;
    }
    let rows = if live { Rows::with_parts(snapshot, index) } else { Rows::Plain };
    let mut writer = Writer::new(snapshot, base, rendition, index, rows)
        .telling(snapshot, markers.style)
        .dated(*dates);
    let (whole, closing) = snapshot.listed_whole(index);
    // In one piece: a list of a day has three megabytes.
    text.reserve(whole.len().saturating_sub(skipped).saturating_mul(SEGMENT_BYTES));
    writer.segments(text, &track.segments, whole, skipped)?;
    if !live {
        return writeln!(text, "#EXT-X-ENDLIST");
    }
    if let Some(closing) = closing {
        writer.closing(text, closing)?;
    }
    if let Some(open) = &track.open {
        writer.open(text, open)?;
    }
    if snapshot.mirrored {
        // hls.js 1.7 takes the last segment of a list with parts for the one to come where no line
        // follows it, and gives up when that turns out to have another name.
        return writeln!(text, "# what follows is being made elsewhere");
    }
    parts::hint(text, snapshot, (base, rendition), track)?;
    report::write(text, snapshot, index)
}
