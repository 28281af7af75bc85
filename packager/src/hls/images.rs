//! An image playlist: of every finished segment a still picture, as a file of its own (HLS Image Media
//! Playlist specification 1.0, by Roku and others; no part of RFC 8216bis).
//!
//! It has the dates, discontinuities and server control of the media playlist, one entry per segment and no
//! parts. It lists a segment when the media playlist lists it whole, and so a gap, which has no still.

use super::delta::{self, Left, Skip};
use super::head::{self, Kind, Lists};
use super::segments::{Rows, Writer};
use super::{Markers, Options};
use crate::media::still_size;
use crate::timeline::{Snapshot, State};

/// Renders the image playlist of the rendition at `index`, or as much of it as `skip` leaves. URIs are
/// relative to `/live/{channel}/{rendition}/`. Empty where there is no such rendition, or it has no
/// pictures.
pub fn images(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options) -> String {
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
    let rendition = snapshot.renditions.get(index);
    let (Some(rendition), Some(track)) = (rendition, snapshot.tracks.get(index)) else {
        return Ok(());
    };
    let Some(video) = rendition.video() else { return Ok(()) };
    let live = snapshot.state == State::Live;
    let skipped = if live { delta::skippable(snapshot, index, skip) } else { 0 };
    let kind = Kind::of(snapshot.state, Lists::Images);
    let left = Left { skip, skipped, markers: &Markers::NONE };
    head::write(text, snapshot, track, kind, left)?;
    let rows = Rows::Stills(still_size(video.width, video.height));
    let mut writer = Writer::new(snapshot, base, rendition, index, rows).dated(*dates);
    writer.segments(text, &track.segments, snapshot.listed_whole(index).0, skipped)?;
    if let Some(gap) = track.open.as_ref().filter(|open| live && open.gap.is_some()) {
        writer.open(text, gap)?;
    }
    if !live {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    Ok(())
}
