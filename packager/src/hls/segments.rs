//! The lines of segments (RFC 8216bis §4.4.4). The writer goes once over what is listed and keeps
//! what the last one was, which is all that decides whether a MAP, a DISCONTINUITY or a date is due.
//!
//! A gap is listed whole as soon as it begins, with all the parts that it would have had (`GAP=YES`). Parts
//! one by one are nothing that stock hls.js takes notice of: it waits for the segment's own tag, and its
//! buffer ends before a segment does. Without them it waits for the end of the parts to move on, until
//! three playlists have come in which it did not, which takes it three seconds. Told of both at the
//! beginning, it has all of its buffer to go to another variant with.

use std::fmt::Write;

use super::cue_out::CueOut;
use super::decimal::seconds;
use super::{CueStyle, parts};
use crate::grid::Grid;
use crate::media::{Rendition, STILLS};
use crate::time::{Rounding, Span, Timescale, Timestamp, iso};
use crate::timeline::{OpenSegment, Run, Segment, Segments, Slice, Snapshot, WholePage};

/// Up to this length of window, in seconds, every segment carries its date; a longer one would be
/// mostly dates.
const DATES_EVERYWHERE: u64 = 3600;
/// In a longer window, segments whose number is a multiple of this carry it, so that a playlist
/// that begins anywhere has the same lines: at the default length one in 26 s, of three megabytes a day.
const DATE_EVERY: u64 = 16;

/// What is written of each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The segment.
    Plain,
    /// The segment, and its parts if it ends after this instant, in nanoseconds since the epoch.
    PartsAfter(i64),
    /// Its key frame, as a byte range.
    Keys,
    /// Its still, of this width and height in pixels.
    Stills((u16, u16)),
}

impl Rows {
    /// Parts as far back as they are listed.
    pub(super) fn with_parts(snapshot: &Snapshot, index: usize) -> Self {
        Self::PartsAfter(parts::listed_from(snapshot, index))
    }
}

#[derive(Clone)]
pub(super) struct Writer<'a> {
    /// See [`super::Options::base`].
    base: &'a str,
    rendition: &'a Rendition,
    index: usize,
    grid: Grid,
    rows: Rows,
    dates: bool,
    dates_everywhere: bool,
    cues: Option<CueOut<'a>>,
    /// The segment before.
    last: Option<Last<'a>>,
}

/// What matters of the segment before.
#[derive(Clone, Copy)]
struct Last<'a> {
    run: &'a Run,
    k: u64,
    gap: bool,
}

impl<'a> Last<'a> {
    fn of(segment: &'a Segment) -> Self {
        Self { run: &segment.run, k: segment.k, gap: segment.gap }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        snapshot: &Snapshot,
        base: &'a str,
        rendition: &'a Rendition,
        index: usize,
        rows: Rows,
    ) -> Self {
        let window = snapshot.format.window.ticks_in(Timescale::MILLIS, Rounding::Ceil);
        let dates_everywhere = window <= DATES_EVERYWHERE * 1000;
        let (dates, cues, last) = (true, None, None);
        let grid = snapshot.format.grid;
        Self { base, rendition, index, grid, rows, dates, dates_everywhere, cues, last }
    }

    /// The same, with tags of breaks before their segments.
    pub(super) fn telling(self, snapshot: &'a Snapshot, style: Option<CueStyle>) -> Self {
        Self { cues: style.map(|style| CueOut::new(snapshot, style)), ..self }
    }

    /// The same, with dates or without any.
    pub(super) fn dated(self, dates: bool) -> Self {
        Self { dates, ..self }
    }

    /// Leaves out a segment.
    pub(super) fn pass(&mut self, segment: &'a Segment) {
        self.last = Some(Last::of(segment));
    }

    /// Writes the segments from a position on, whole pages of them as they were written before.
    pub(super) fn segments(
        &mut self,
        text: &mut String,
        all: &'a Segments,
        listed: Slice<'a>,
        from: usize,
    ) -> std::fmt::Result {
        if let Some(before) = from.checked_sub(1).and_then(|before| listed.get(before)) {
            self.pass(before);
        }
        let mut at = from;
        while let Some(segment) = listed.get(at) {
            let Some((page, last)) = self.page(all, listed, at) else {
                self.segment(text, segment)?;
                at += 1;
                continue;
            };
            let rows = match self.rows {
                Rows::Plain | Rows::PartsAfter(_) => "",
                Rows::Keys => "keys ",
                Rows::Stills(_) => "stills ",
            };
            let lines = page.text(&format!("{rows}{}", self.base), || {
                let mut lines = String::new();
                let mut writer = self.clone();
                // Writing into a String can't fail.
                let _ = page
                    .segments()
                    .iter()
                    .try_for_each(|segment| writer.segment(&mut lines, segment));
                lines
            });
            text.push_str(&lines);
            self.pass(last);
            at += page.segments().len();
        }
        Ok(())
    }

    /// The page that begins at a position, and its last segment, if all of it is there and what is written
    /// of it follows from it alone.
    fn page(
        &self,
        all: &'a Segments,
        listed: Slice<'a>,
        at: usize,
    ) -> Option<(WholePage<'a>, &'a Segment)> {
        let page = all.page(at).filter(|page| at + page.segments().len() <= listed.len())?;
        let (first, last) = (page.segments().first()?, page.segments().last()?);
        let follows = self.last.is_some_and(|before| before.k.checked_add(1) == Some(first.k));
        let near = matches!(self.rows, Rows::PartsAfter(from) if parts::end_nanos(last, self.index) > from);
        let told = self.cues.as_ref().is_some_and(CueOut::tells);
        (follows && !near && !told).then_some((page, last))
    }

    /// Writes a finished segment.
    pub(super) fn segment(&mut self, text: &mut String, segment: &'a Segment) -> std::fmt::Result {
        let k = segment.k;
        let scale = segment.run.scale(self.index);
        self.begin(text, &segment.run, (k, segment.start))?;
        let near = matches!(self.rows, Rows::PartsAfter(from) if parts::end_nanos(segment, self.index) > from);
        if near && segment.gap {
            self.parts_of_gap(text, &segment.run, k, segment.duration)?;
        } else if near {
            parts::write(
                text,
                (self.base, self.rendition),
                (&segment.run, scale, k),
                segment.parts.iter(),
            )?;
        }
        self.length(text, &segment.run, segment.duration, segment.gap)?;
        if self.rows == Rows::Keys && !segment.gap && segment.first_sample() > 0 {
            writeln!(text, "#EXT-X-BYTERANGE:{}@0", segment.first_sample())?;
        }
        self.address(text, &segment.run, k, segment.duration)?;
        self.last = Some(Last::of(segment));
        Ok(())
    }

    /// Writes the parts of a finished segment that is not listed whole yet.
    pub(super) fn closing(&self, text: &mut String, segment: &'a Segment) -> std::fmt::Result {
        let scale = segment.run.scale(self.index);
        self.begin(text, &segment.run, (segment.k, segment.start))?;
        parts::write(
            text,
            (self.base, self.rendition),
            (&segment.run, scale, segment.k),
            segment.parts.iter(),
        )
    }

    /// Writes what there is of the segment that is being made: its parts, or all of a gap.
    pub(super) fn open(&mut self, text: &mut String, open: &'a OpenSegment) -> std::fmt::Result {
        let k = open.k;
        self.begin(text, &open.run, (k, open.start))?;
        match open.gap {
            Some(duration) => {
                if matches!(self.rows, Rows::PartsAfter(_)) {
                    self.parts_of_gap(text, &open.run, k, duration)?;
                }
                self.length(text, &open.run, duration, true)?;
                self.address(text, &open.run, k, duration)
            }
            None => {
                let scale = open.run.scale(self.index);
                parts::write(
                    text,
                    (self.base, self.rendition),
                    (&open.run, scale, k),
                    open.parts.iter().copied(),
                )
            }
        }
    }

    /// Writes where a segment is, or its still: that is one picture, which stands for as long as the segment.
    fn address(&self, text: &mut String, run: &Run, k: u64, ticks: u64) -> std::fmt::Result {
        let (base, id, name) = (self.base, &run.id, &self.rendition.name);
        let Rows::Stills((width, height)) = self.rows else {
            return writeln!(text, "../{base}{id}/{name}/{k}.m4s");
        };
        let duration = seconds(Span::new(ticks, run.scale(self.index)), Rounding::Nearest);
        let layout = format!("RESOLUTION={width}x{height},LAYOUT=1x1,DURATION={duration}");
        writeln!(text, "#EXT-X-TILES:{layout}\n../{base}{id}/{name}{STILLS}/{k}.jpg")
    }

    fn parts_of_gap(&self, text: &mut String, run: &Run, k: u64, ticks: u64) -> std::fmt::Result {
        let place = (&self.grid, run, run.scale(self.index), k);
        parts::write_gap(text, (self.base, self.rendition), place, ticks)
    }

    /// Writes how long a segment is, in ticks, and whether it is a gap.
    fn length(&self, text: &mut String, run: &Run, ticks: u64, gap: bool) -> std::fmt::Result {
        let duration = seconds(Span::new(ticks, run.scale(self.index)), Rounding::Nearest);
        writeln!(text, "#EXTINF:{duration},")?;
        if gap { writeln!(text, "#EXT-X-GAP") } else { Ok(()) }
    }

    /// Writes what stands before a segment: it holds for its parts too.
    fn begin(&self, text: &mut String, run: &Run, (k, start): (u64, i64)) -> std::fmt::Result {
        let same_run = self.last.is_some_and(|last| last.run.id == run.id);
        // A number is passed over where a hole in an excerpt is closed up.
        let follows = self.last.is_none_or(|last| last.k.saturating_add(1) == k);
        if self.last.is_some() && !(same_run && follows) {
            writeln!(text, "#EXT-X-DISCONTINUITY")?;
        }
        // A still needs no other bytes.
        if !same_run && !matches!(self.rows, Rows::Stills(_)) {
            let (id, name) = (&run.id, &self.rendition.name);
            writeln!(text, "#EXT-X-MAP:URI=\"../{}{id}/{name}/init.mp4\"", self.base)?;
        }
        let after_a_gap = self.last.is_some_and(|last| last.gap);
        let due = self.dates_everywhere || k.is_multiple_of(DATE_EVERY);
        if self.dates && (due || !same_run || !follows || after_a_gap) {
            let date = iso(Timestamp::new(start, run.scale(self.index)));
            writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{date}")?;
        }
        let start = Timestamp::new(start, run.scale(self.index));
        self.cues.as_ref().map_or(Ok(()), |cues| cues.write(text, k, start))
    }
}
