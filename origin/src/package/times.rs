//! The times of a file's own samples, on the packager's line: from nanoseconds of the file's clock to ticks
//! from the first picture on, frame by frame where the file keeps its rate.
//!
//! A sample lasts until the next one begins, so each is held until that is known. Composition offsets are
//! counted from the first picture's, since media here has no edit lists.

use packager::grid::Grid;
use packager::media::Sample;
use packager::segmenter::{PICTURES, SOUND};
use packager::time::{FrameRate, Rounding, Timescale, rescale};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Times {
    pictures: Line,
    sound: Line,
    /// The first picture: when it is decoded, and when it is shown.
    first: Option<(i64, i64)>,
}

/// One track.
#[derive(Debug)]
struct Line {
    scale: Timescale,
    /// Ticks of a frame.
    frame: i64,
    /// Where the output begins, in ticks.
    start: i64,
    /// The sample whose end is not known.
    held: Option<Sample>,
}

impl Times {
    pub(super) fn new(
        (grid, rate): (Grid, FrameRate),
        (sound, frame): (Timescale, u32),
        start: i64,
    ) -> Self {
        let scale = grid.video_scale();
        let pictures =
            Line { scale, frame: i64::from(rate.frame_ticks()).max(1), start, held: None };
        let at = rescale(start, scale, sound, Rounding::Nearest);
        let sound = Line { scale: sound, frame: i64::from(frame).max(1), start: at, held: None };
        Self { pictures, sound, first: None }
    }

    /// Places a sample; gives the one before it, whose end is known now.
    pub(super) fn place(&mut self, rendition: usize, sample: Sample) -> Option<Sample> {
        match rendition {
            PICTURES => {
                if self.first.is_none() && !sample.sync {
                    return None;
                }
                let (dts, pts) = *self.first.get_or_insert((sample.dts, sample.pts));
                self.pictures.place(sample, dts, pts)
            }
            SOUND => {
                // Sound before the first picture has nowhere to be.
                let (_, pts) = self.first?;
                self.sound.place(sample, pts, pts)
            }
            _ => None,
        }
    }

    /// The last ones, each as long as a frame.
    pub(super) fn finish(&mut self) -> Vec<(usize, Sample)> {
        let lines = [(PICTURES, &mut self.pictures), (SOUND, &mut self.sound)];
        let last = lines.into_iter().filter_map(|(rendition, line)| {
            let mut sample = line.held.take()?;
            sample.duration = u32::try_from(line.frame).unwrap_or(1);
            Some((rendition, sample))
        });
        last.collect()
    }
}

impl Line {
    /// Places a sample of a track whose times begin at `dts` and `pts`.
    fn place(&mut self, mut sample: Sample, dts: i64, pts: i64) -> Option<Sample> {
        let at = self.ticks(sample.dts.saturating_sub(dts));
        sample.pts = self.ticks(sample.pts.saturating_sub(pts));
        sample.dts = at;
        let mut before = self.held.replace(sample)?;
        // One that is before its predecessor takes the next place: decoders read them in this order.
        let until = at.max(before.dts.saturating_add(1));
        if let Some(held) = &mut self.held {
            held.dts = until;
        }
        before.duration = u32::try_from(until - before.dts).unwrap_or(u32::MAX);
        Some(before)
    }

    /// Ticks of an instant so many nanoseconds after the beginning: that of a whole frame, if it is as near
    /// as rounding leaves it.
    fn ticks(&self, nanos: i64) -> i64 {
        let ticks = rescale(nanos, Timescale::NANOS, self.scale, Rounding::Nearest);
        let frames = (ticks + self.frame / 2).div_euclid(self.frame) * self.frame;
        // Containers count milliseconds at the coarsest.
        let near = (frames - ticks).abs() <= i64::from(self.scale.get()) / 900;
        self.start.saturating_add(if near { frames } else { ticks })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use packager::time::Span;

    use super::*;

    fn times() -> Times {
        let rate = FrameRate::new(25, 1);
        let grid = Grid::of_source(rate, 48_000, 90_000, Span::millis(2_000), Span::millis(1_000));
        Times::new((grid, rate), (Timescale::new(48_000).unwrap(), 1_024), 180_000)
    }

    fn sample(dts: i64, pts: i64) -> Sample {
        Sample { dts, pts, duration: 0, sync: true, data: Bytes::new() }
    }

    const MS: i64 = 1_000_000;

    #[test]
    fn frames_of_a_steady_file_are_whole_whatever_its_container_rounds() {
        let mut times = times();
        let mut placed = Vec::new();
        for millis in [100, 140, 181, 220, 260] {
            placed.extend(times.place(PICTURES, sample(millis * MS, (millis + 80) * MS)));
        }
        placed.extend(times.finish().into_iter().map(|(_, sample)| sample));
        let seen: Vec<_> = placed.iter().map(|s| (s.dts, s.pts - s.dts, s.duration)).collect();
        let expected: Vec<_> = (0..5).map(|n| (180_000 + n * 3_600, 0, 3_600)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn pictures_that_are_reordered_keep_their_order_and_their_places() {
        let mut times = times();
        // Decoded I P B B, shown I B B P, two frames later.
        let frames = [(0, 2), (1, 5), (2, 3), (3, 4), (4, 6)];
        let mut placed = Vec::new();
        for (dts, pts) in frames {
            placed.extend(times.place(PICTURES, sample(dts * 40 * MS, pts * 40 * MS)));
        }
        let offsets: Vec<_> = placed.iter().map(|s| (s.pts - s.dts) / 3_600).collect();
        assert_eq!(offsets, [0, 2, -1, -1]);
    }

    #[test]
    fn a_picture_that_is_missing_leaves_its_time_to_the_one_before() {
        let mut times = times();
        let at = [0, 40, 120, 160];
        let placed: Vec<_> =
            at.iter().filter_map(|ms| times.place(PICTURES, sample(ms * MS, ms * MS))).collect();
        assert_eq!(placed.iter().map(|s| s.duration).collect::<Vec<_>>(), [3_600, 7_200, 3_600]);
    }

    #[test]
    fn sound_counts_from_the_first_picture() {
        let mut times = times();
        assert!(times.place(SOUND, sample(0, 0)).is_none());
        times.place(PICTURES, sample(100 * MS, 180 * MS));
        assert!(times.place(SOUND, sample(180 * MS, 180 * MS)).is_none());
        let first = times.place(SOUND, sample(201_333_333, 201_333_333)).unwrap();
        assert_eq!((first.dts, first.duration), (96_000, 1_024));
    }
}
