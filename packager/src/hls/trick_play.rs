//! Playlists to search by: of every finished segment one picture.
//!
//! * An I-frame playlist (RFC 8216bis §4.4.3.6) has the first picture of each, as the byte range of the segment
//!   that shows it. Segments begin with a key frame, so that is one.
//! * An image playlist has a still of it, as a file of its own (HLS Image Media Playlist specification 1.0, by
//!   Roku and others; no part of RFC 8216bis).
//!
//! Both have the dates, discontinuities and server control of the media playlist, and no parts. They list a
//! segment when the media playlist lists it whole, and so a gap.

use super::delta::{self, Left, Skip};
use super::head::{self, Kind, Lists};
use super::segments::{Rows, Writer};
use super::{Markers, Options};
use crate::media::{VideoConfig, still_size};
use crate::timeline::{Snapshot, State};

/// Renders the I-frame playlist of the rendition at `index`, or as much of it as `skip` leaves. URIs
/// are relative to `/live/{channel}/{rendition}/`. Empty where there is no such rendition, or it has
/// no pictures.
pub fn iframes(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options) -> String {
    render(snapshot, index, skip, options, (Lists::KeyFrames, |_| Rows::Keys))
}

/// Renders the image playlist of the rendition at `index`, in the same way.
pub fn images(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options) -> String {
    let stills = |video: &VideoConfig| Rows::Stills(still_size(video.width, video.height));
    render(snapshot, index, skip, options, (Lists::Images, stills))
}

/// What a playlist says that it lists, and how it lists pictures.
type What = (Lists, fn(&VideoConfig) -> Rows);

fn render(snapshot: &Snapshot, index: usize, skip: Skip, options: &Options, what: What) -> String {
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = write(&mut text, (snapshot, index), skip, options, what);
    text
}

fn write(
    text: &mut String,
    (snapshot, index): (&Snapshot, usize),
    skip: Skip,
    Options { base, dates, .. }: &Options,
    (lists, rows): What,
) -> std::fmt::Result {
    let rendition = snapshot.renditions.get(index);
    let (Some(rendition), Some(track)) = (rendition, snapshot.tracks.get(index)) else {
        return Ok(());
    };
    let Some(video) = rendition.video() else { return Ok(()) };
    let live = snapshot.state == State::Live;
    let skipped = if live { delta::skippable(snapshot, index, skip) } else { 0 };
    let left = Left { skip, skipped, markers: &Markers::NONE };
    head::write(text, snapshot, track, Kind::of(snapshot.state, lists), left)?;
    let mut writer = Writer::new(snapshot, base, rendition, index, rows(video)).dated(*dates);
    writer.segments(text, &track.segments, snapshot.listed_whole(index).0, skipped)?;
    if let Some(gap) = track.open.as_ref().filter(|open| live && open.gap.is_some()) {
        writer.open(text, gap)?;
    }
    if !live {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    Ok(())
}
