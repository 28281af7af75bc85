//! The lines of segments (RFC 8216bis §4.4.4). The writer goes once over what is listed and keeps
//! what the last one was, which is all that decides whether a MAP, a DISCONTINUITY or a date is due.
//!
//! A gap is listed whole as soon as it begins, and without parts. Gaps of parts (`GAP=YES`) would come
//! one by one, and stock hls.js takes no notice of them: it waits for the segment's own tag, and its
//! buffer ends before a segment does. Told at the beginning, it has all of its buffer to go to another
//! variant with.

use std::fmt::Write;

use super::cue_out::CueOut;
use super::decimal::seconds;
use super::{CueStyle, parts};
use crate::media::Rendition;
use crate::time::{Rounding, Span, Timescale, Timestamp, iso};
use crate::timeline::{OpenSegment, Run, Segment, Snapshot};

/// Up to this length of window, in seconds, every segment carries its date; a longer one would be
/// mostly dates.
const DATES_EVERYWHERE: u64 = 3600;
/// In a longer window, segments whose number is a multiple of this carry it, so that a playlist
/// that begins anywhere has the same lines.
const DATE_EVERY: u64 = 8;

/// What is written of each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The segment.
    Plain,
    /// The segment, and its parts if it ends after this instant, in nanoseconds since the epoch.
    PartsAfter(i64),
    /// Its key frame, as a byte range.
    Keys,
}

impl Rows {
    /// Parts as far back as they are listed.
    pub(super) fn with_parts(snapshot: &Snapshot, index: usize) -> Self {
        Self::PartsAfter(parts::listed_from(snapshot, index))
    }
}

pub(super) struct Writer<'a> {
    /// See [`super::Options::base`].
    base: &'a str,
    rendition: &'a Rendition,
    index: usize,
    rows: Rows,
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
        Self { base, rendition, index, rows, dates_everywhere, cues: None, last: None }
    }

    /// The same, with tags of breaks before their segments.
    pub(super) fn telling(self, snapshot: &'a Snapshot, style: Option<CueStyle>) -> Self {
        Self { cues: style.map(|style| CueOut::new(snapshot, style)), ..self }
    }

    /// Leaves out a segment.
    pub(super) fn pass(&mut self, segment: &'a Segment) {
        self.last = Some(Last::of(segment));
    }

    /// Writes a finished segment.
    pub(super) fn segment(&mut self, text: &mut String, segment: &'a Segment) -> std::fmt::Result {
        let (run, name, k) = (&segment.run.id, &self.rendition.name, segment.k);
        let scale = segment.run.scale(self.index);
        self.begin(text, &segment.run, (k, segment.start))?;
        let near = matches!(self.rows, Rows::PartsAfter(from) if parts::end_nanos(segment, self.index) > from);
        if near && !segment.gap {
            parts::write(
                text,
                (self.base, self.rendition),
                (&segment.run, scale, k),
                &segment.parts,
            )?;
        }
        self.length(text, &segment.run, segment.duration, segment.gap)?;
        if self.rows == Rows::Keys && !segment.gap && segment.first_sample() > 0 {
            writeln!(text, "#EXT-X-BYTERANGE:{}@0", segment.first_sample())?;
        }
        writeln!(text, "../{}{run}/{name}/{k}.m4s", self.base)?;
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
            &segment.parts,
        )
    }

    /// Writes what there is of the segment that is being made: its parts, or all of a gap.
    pub(super) fn open(&mut self, text: &mut String, open: &'a OpenSegment) -> std::fmt::Result {
        let (run, name, k) = (&open.run.id, &self.rendition.name, open.k);
        self.begin(text, &open.run, (k, open.start))?;
        match open.gap {
            Some(duration) => {
                self.length(text, &open.run, duration, true)?;
                writeln!(text, "../{}{run}/{name}/{k}.m4s", self.base)
            }
            None => {
                let scale = open.run.scale(self.index);
                parts::write(text, (self.base, self.rendition), (&open.run, scale, k), &open.parts)
            }
        }
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
        if !same_run {
            let (id, name) = (&run.id, &self.rendition.name);
            writeln!(text, "#EXT-X-MAP:URI=\"../{}{id}/{name}/init.mp4\"", self.base)?;
        }
        let after_a_gap = self.last.is_some_and(|last| last.gap);
        if self.dates_everywhere
            || !same_run
            || !follows
            || k.is_multiple_of(DATE_EVERY)
            || after_a_gap
        {
            let date = iso(Timestamp::new(start, run.scale(self.index)));
            writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{date}")?;
        }
        let start = Timestamp::new(start, run.scale(self.index));
        self.cues.as_ref().map_or(Ok(()), |cues| cues.write(text, k, start))
    }
}
