use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dash_mpd_core::{MPD, SegmentTemplate};

use crate::dash::{Options, manifest};
use crate::grid::Grid;
use crate::media::{Rendition, RunId};
use crate::time::{FrameRate, Rounding, Span, Timescale, rescale};
use crate::timeline::example::{assert_golden, rung, sound};
use crate::timeline::{Beginning, Format, Lengths, Part, STAYS_NAMED, Snapshot, Timeline};

const FIRST_K: u64 = 897_816_600;
const START: i64 = 1_795_633_201 * 90_000 + 18_000;
/// Lengths of segments in frames of 25 fps, again and again, and in frames of sound that cover them.
const FRAMES: [i64; 3] = [30, 45, 35];

/// A pass-through channel whose key frames come as they please.
struct Uneven {
    timeline: Timeline,
    k: u64,
    at: i64,
}

impl Uneven {
    fn new(window: u64, lengths: Lengths) -> Self {
        let rate = FrameRate::new(25, 1);
        let grid = Grid::of_source(rate, 48_000, 180_000, Span::millis(2_000), Span::millis(300));
        let renditions: Arc<[Rendition]> =
            [rung("source", (1280, 720), 2_500_000, rate), sound(48_000)].into();
        let format = Arc::new(Format {
            grid,
            window: Span::millis(window * 1_000),
            publish_delay: Span::millis(150),
        });
        let mut timeline = Timeline::new(format, Arc::clone(&renditions), None);
        let inits = vec![Bytes::from_static(b"init"); 2];
        let beginning = Beginning { first_k: FIRST_K, start: START, lengths };
        timeline.begin_run_at(RunId::from_millis(0x1a2_0000_0001), beginning, renditions, inits);
        Self { timeline, k: FIRST_K, at: START }
    }

    /// Adds a segment so many frames long; where the pictures end.
    fn segment(&mut self, frames: i64) {
        let (start, end) = (self.at, self.at + frames * 3_600);
        // Sound is cut at its first frame at or after the pictures' cut.
        let cut = |at: i64| {
            let first =
                rescale(START, Timescale::MPEG, Timescale::new(48_000).unwrap(), Rounding::Floor);
            let at = rescale(at, Timescale::MPEG, Timescale::new(48_000).unwrap(), Rounding::Ceil);
            first + (at - first + 1_023) / 1_024 * 1_024
        };
        for (rendition, start, end) in [(0, start, end), (1, cut(start), cut(end))] {
            let duration = u32::try_from(end - start).unwrap();
            let part = Part { duration, bytes: 40_000, independent: true, first_sample: 10_000 };
            self.timeline.push_part(rendition, self.k, start, part);
            self.timeline.close(rendition);
        }
        (self.k, self.at) = (self.k + 1, end);
    }

    fn segments(&mut self, count: usize) {
        for frames in FRAMES.into_iter().cycle().take(count) {
            self.segment(frames);
        }
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        self.timeline.trim();
        self.timeline.snapshot()
    }
}

/// dash.js 5 never begins where it is told to begin at the first Period's very start.
#[test]
fn nobody_begins_at_the_very_start_of_a_young_channel() {
    let mut channel = Uneven::new(600, Lengths::Uneven);
    let mut delays = Vec::new();
    for frames in FRAMES {
        channel.segment(frames);
        let mpd = parse(&channel.snapshot());
        delays.push(mpd.suggestedPresentationDelay.unwrap().as_millis());
    }
    // So old are the segments that are there, less what publishing one may take, and a little.
    assert_eq!(delays, [1_200 - 400, 3_000 - 400, 4_400 - 400]);
    channel.segments(2);
    let mpd = parse(&channel.snapshot());
    assert_eq!(mpd.suggestedPresentationDelay.unwrap(), Duration::from_secs(6));
}

fn parse(snapshot: &Snapshot) -> MPD {
    dash_mpd_core::parse(&manifest(snapshot, &Options::default())).unwrap()
}

fn template(mpd: &MPD, period: usize, set: usize) -> &SegmentTemplate {
    mpd.periods[period].adaptations[set].SegmentTemplate.as_ref().unwrap()
}

/// Times and lengths of the segments of a set.
fn named(mpd: &MPD, period: usize, set: usize) -> Vec<(u64, u64)> {
    let timeline = template(mpd, period, set).SegmentTimeline.as_ref().unwrap();
    timeline.segments.iter().map(|s| (s.t.unwrap(), s.d)).collect()
}

#[test]
fn an_uneven_stretch_is_the_golden_one() {
    let pretty =
        |snapshot: &Snapshot| manifest(snapshot, &Options::default()).replace("><", ">\n<");
    let mut channel = Uneven::new(600, Lengths::Uneven);
    channel.segments(5);
    assert_golden("uneven.mpd", &pretty(&channel.snapshot()));
    channel.segments(1);
    assert_golden("uneven-later.mpd", &pretty(&channel.snapshot()));
}

#[test]
fn every_finished_segment_has_its_time_and_its_length() {
    let mut channel = Uneven::new(600, Lengths::Uneven);
    channel.segments(4);
    let snapshot = channel.snapshot();
    let mpd = parse(&snapshot);
    for set in 0..2 {
        let segments = &snapshot.tracks[set].segments;
        let expected: Vec<_> =
            segments.iter().map(|s| (s.start.unsigned_abs(), s.duration)).collect();
        assert_eq!(named(&mpd, 0, set), expected);
        let template = template(&mpd, 0, set);
        assert_eq!((template.startNumber, template.duration), (Some(FIRST_K), None));
        assert_eq!(template.availabilityTimeOffset, None, "there is no low latency");
    }
    assert_eq!(named(&mpd, 0, 0)[0].0, template(&mpd, 0, 0).presentationTimeOffset.unwrap());
    assert!(named(&mpd, 0, 0).windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
}

#[test]
fn a_new_segment_is_a_new_text_with_a_later_date() {
    let mut channel = Uneven::new(600, Lengths::Uneven);
    channel.segments(3);
    let before = channel.snapshot();
    let same = channel.snapshot();
    assert_eq!(manifest(&before, &Options::default()), manifest(&same, &Options::default()));
    channel.segments(1);
    let after = channel.snapshot();
    let [one, two] = [&before, &after].map(|snapshot| parse(snapshot));
    assert!(one.publishTime < two.publishTime);
    assert_eq!(named(&two, 0, 0)[..3], named(&one, 0, 0));
    assert_eq!(two.minimumUpdatePeriod, Some(Duration::from_secs(1)));
}

#[test]
fn a_segment_that_was_named_stays_until_nobody_can_act_on_that_any_more() {
    let mut channel = Uneven::new(20, Lengths::Uneven);
    channel.segments(60);
    let mpd = parse(&channel.snapshot());
    let scale = 90_000;
    let depth = mpd.timeShiftBufferDepth.unwrap().as_millis();
    let update = mpd.minimumUpdatePeriod.unwrap().as_millis();
    let first = named(&mpd, 0, 0)[0];
    let age = |at: u64| u128::from(channel.at.unsigned_abs() - at) * 1_000 / scale;
    assert!(age(first.0) >= depth + update + 150, "what left is older than that");
    assert!(age(first.0 + first.1) <= depth + u128::from(STAYS_NAMED.ticks), "and no more");
    assert_eq!(
        template(&mpd, 0, 0).startNumber.unwrap() + named(&mpd, 0, 0).len() as u64,
        channel.k
    );
}

#[test]
fn each_stretch_keeps_its_kind_of_addressing() {
    let mut channel = Uneven::new(600, Lengths::Even);
    channel.segment(50);
    channel.segment(50);
    let mpd = parse(&channel.snapshot());
    assert_eq!(mpd.minimumUpdatePeriod, Some(Duration::from_secs(2)));
    let uneven = Beginning { first_k: channel.k, start: channel.at, lengths: Lengths::Uneven };
    channel.timeline.shift(uneven);
    channel.segments(3);
    let even = Beginning { first_k: channel.k, start: channel.at, lengths: Lengths::Even };
    channel.timeline.shift(even);
    channel.segment(50);
    let mpd = parse(&channel.snapshot());
    let ids: Vec<_> = mpd.periods.iter().map(|period| period.id.clone().unwrap()).collect();
    assert_eq!(ids, ["1a200000001", "1a200000001.1", "1a200000001.2"]);
    for (period, ends) in [(0, Some(FIRST_K + 1)), (2, None)] {
        let template = template(&mpd, period, 0);
        assert!(template.SegmentTimeline.is_none() && template.duration.is_some());
        assert_eq!(template.endNumber, ends);
    }
    assert_eq!(named(&mpd, 1, 0).len(), 3);
    assert_eq!(template(&mpd, 1, 0).startNumber, Some(FIRST_K + 2));
    assert_eq!(named(&mpd, 1, 0)[0].0, uneven.start.unsigned_abs());
    assert_eq!(mpd.minimumUpdatePeriod, Some(Duration::from_secs(2)));
}
