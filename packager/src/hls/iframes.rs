//! An I-frame playlist (RFC 8216bis §4.4.3.6): the first picture of every finished segment, as the
//! byte range of the segment that shows it. Segments begin with a key frame, so that is one.
//!
//! It has the dates, discontinuities and server control of the media playlist, and no parts. It lists a
//! segment when the media playlist lists it whole, and so a gap.

use super::delta::{self, Left, Skip};
use super::head::{self, Kind, Lists};
use super::segments::{Rows, Writer};
use super::{Markers, Options};
use crate::timeline::{Snapshot, State};

/// Renders the I-frame playlist of the rendition at `index`, or as much of it as `skip` leaves. URIs
/// are relative to `/live/{channel}/{rendition}/`. Empty where there is no such rendition, or it has
/// no pictures.
pub fn iframes(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options) -> String {
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
    Options { base, dates, .. }: &Options,
) -> std::fmt::Result {
    let rendition = snapshot.renditions.get(index).filter(|r| r.video().is_some());
    let (Some(rendition), Some(track)) = (rendition, snapshot.tracks.get(index)) else {
        return Ok(());
    };
    let live = snapshot.state == State::Live;
    let skipped = if live { delta::skippable(snapshot, index, skip) } else { 0 };
    let kind = Kind::of(snapshot.state, Lists::KeyFrames);
    let left = Left { skip, skipped, markers: &Markers::NONE };
    head::write(text, snapshot, track, kind, left)?;
    let mut writer = Writer::new(snapshot, base, rendition, index, Rows::Keys).dated(*dates);
    writer.segments(text, &track.segments, snapshot.listed_whole(index).0, skipped)?;
    if let Some(gap) = track.open.as_ref().filter(|open| live && open.gap.is_some()) {
        writer.open(text, gap)?;
    }
    if !live {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    Ok(())
}
