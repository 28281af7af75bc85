//! A live media playlist (RFC 8216bis §4.4.3–4.4.4).
//!
//! Our own writer: m3u8-rs knows neither parts nor skips nor hints. It goes once over the listed
//! segments and keeps what the last one was, which is all that decides whether a MAP, a
//! DISCONTINUITY or a date is due.

use std::fmt::Write;
use std::sync::Arc;

use super::Options;
use super::decimal::seconds;
use super::multivariant::VERSION;
use crate::media::Rendition;
use crate::time::{Rounding, Span, Timescale, Timestamp, iso};
use crate::timeline::{Segment, Snapshot, State};

/// Up to this length of window, in seconds, every segment carries its date; a longer one would be
/// mostly dates.
const DATES_EVERYWHERE: u64 = 3600;
/// In a longer window, segments whose number is a multiple of this carry it, so that a playlist
/// that begins anywhere has the same lines.
const DATE_EVERY: u64 = 8;

/// Renders the media playlist of the rendition at `index`. URIs are relative to
/// `/live/{channel}/{rendition}/`. Empty where there is no such rendition.
pub fn media(snapshot: &Snapshot, index: usize, _options: &Options) -> String {
    let Some(rendition) = snapshot.renditions.get(index) else { return String::new() };
    let segments = snapshot.listed(index);
    let mut text = String::new();
    let mut writer = Writer {
        text: &mut text,
        rendition,
        index,
        dates_everywhere: snapshot.format.window.ticks_in(Timescale::MILLIS, Rounding::Ceil)
            <= DATES_EVERYWHERE * 1000,
        last: None,
    };
    // Writing into a String can't fail.
    let _ = writer.head(snapshot, segments);
    for segment in segments {
        let _ = writer.segment(segment);
    }
    if snapshot.state == State::Ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

struct Writer<'a> {
    text: &'a mut String,
    rendition: &'a Rendition,
    index: usize,
    dates_everywhere: bool,
    /// The segment written last.
    last: Option<&'a Segment>,
}

impl<'a> Writer<'a> {
    fn head(&mut self, snapshot: &Snapshot, segments: &[Arc<Segment>]) -> std::fmt::Result {
        let first = segments.first();
        writeln!(self.text, "#EXTM3U")?;
        writeln!(self.text, "#EXT-X-VERSION:{VERSION}")?;
        writeln!(self.text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        writeln!(self.text, "#EXT-X-TARGETDURATION:{}", snapshot.format.grid.target_duration())?;
        writeln!(self.text, "#EXT-X-MEDIA-SEQUENCE:{}", first.map_or(1, |s| s.k))?;
        let discontinuity = first.map_or(0, |s| s.run.discontinuity);
        writeln!(self.text, "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}")
    }

    fn segment(&mut self, segment: &'a Segment) -> std::fmt::Result {
        let name = &self.rendition.name;
        let run = &segment.run.id;
        let scale = segment.run.scale(self.index);
        let same_run = self.last.is_some_and(|last| last.run.id == *run);
        if self.last.is_some() && !same_run {
            writeln!(self.text, "#EXT-X-DISCONTINUITY")?;
        }
        if !same_run {
            writeln!(self.text, "#EXT-X-MAP:URI=\"../{run}/{name}/init.mp4\"")?;
        }
        if self.dates_everywhere
            || !same_run
            || segment.k.is_multiple_of(DATE_EVERY)
            || self.last.is_some_and(|last| last.gap)
        {
            let start = iso(Timestamp::new(segment.start, scale));
            writeln!(self.text, "#EXT-X-PROGRAM-DATE-TIME:{start}")?;
        }
        let duration = seconds(Span::new(segment.duration, scale), Rounding::Nearest);
        writeln!(self.text, "#EXTINF:{duration},")?;
        if segment.gap {
            writeln!(self.text, "#EXT-X-GAP")?;
        }
        writeln!(self.text, "../{run}/{name}/{}.m4s", segment.k)?;
        self.last = Some(segment);
        Ok(())
    }
}
