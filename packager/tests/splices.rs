//! A ladder is cut at splices: the first picture of a segment is the splice's frame in every rung, the
//! sound follows within a frame, and no number shifts; on any two nodes alike.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use packager::cmaf::read::{self, Event};
use packager::codec::aac;
use packager::grid::Grid;
use packager::grid::splices::{Made, Splices, nearest_frame};
use packager::media::{Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig};
use packager::scte35::breaks::Breaks;
use packager::scte35::{Section, clock, signals};
use packager::segmenter::{Output, PartChunk, Segmenter};
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, rescale};

/// Event 100: a break of 30 s at 90 s of the source's clock, which returns by itself.
const OUT: &str = "/DAlAAAAAAAAAP/wFAUAAABkf+/+AHuYoP4AKTLgAAEAAAAANGKC0Q==";
/// The same event: back at 115 s.
const IN: &str = "/DAgAAAAAAAAAP/wDwUAAABkf0/+AJ3tsAABAAAAAGiYZr4=";
/// Positions of the renditions.
const RUNGS: [usize; 2] = [0, 1];
const SOUND: usize = 2;

fn renditions(grid: &Grid) -> Arc<[Rendition]> {
    let video = Config::Video(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0, 0]),
        codec_string: "avc1.64001f".into(),
        width: 320,
        height: 180,
        rate: None,
    });
    let audio = Config::Audio(aac::config(Bytes::from_static(&[0x11, 0x90])).unwrap());
    let rendition = |name: &str, timescale, config, rate| Rendition {
        name: Name::parse(name).unwrap(),
        track: Track { timescale, config },
        rate,
        average_bitrate: 1,
        peak_bitrate: 1,
    };
    [
        rendition("180p", grid.video_scale(), video.clone(), Some(grid.rate)),
        rendition("96p", grid.video_scale(), video, Some(grid.rate)),
        rendition("audio", grid.audio_scale(), audio, None),
    ]
    .into()
}

/// A node: what it has been told and what it makes.
struct Node {
    grid: Grid,
    breaks: Breaks,
    segmenter: Segmenter,
    first_k: u64,
    /// The frame that comes next, and the sound, in their ticks.
    picture: i64,
    sound: i64,
    parts: Vec<PartChunk>,
}

impl Node {
    fn new(rate: FrameRate, first_k: u64) -> Self {
        let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300));
        Self {
            grid,
            breaks: Breaks::new(grid, Span::millis(600_000)),
            segmenter: Segmenter::new(grid, renditions(&grid), first_k),
            first_k,
            picture: grid.boundary(first_k),
            sound: grid.audio_boundary(first_k),
            parts: Vec::new(),
        }
    }

    /// The encoder makes everything up to `until`, in video ticks; sound comes `ahead` of the pictures.
    fn encode(&mut self, until: i64, ahead: i64) {
        let frame = self.grid.rate.frame_ticks();
        while self.picture < until {
            let dts = self.picture;
            let sync = self.breaks.splices().is_boundary(&self.grid, dts);
            for rung in RUNGS {
                let data = Bytes::from(format!("{rung} at {dts}"));
                let sample = Sample { dts, pts: dts, duration: frame, sync, data };
                self.segmenter.push(rung, sample).unwrap();
            }
            self.picture += i64::from(frame);
            let scale = self.grid.audio_scale();
            let heard =
                rescale(self.picture + ahead, self.grid.video_scale(), scale, Rounding::Floor);
            while self.sound + 1_024 <= heard {
                let dts = self.sound;
                let data = Bytes::from(format!("sound at {dts}"));
                let sample = Sample { dts, pts: dts, duration: 1_024, sync: true, data };
                self.segmenter.push(SOUND, sample).unwrap();
                self.sound += 1_024;
            }
            while let Some(output) = self.segmenter.poll() {
                if let Output::Chunk(part) = output {
                    self.parts.push(part);
                }
            }
        }
    }

    /// Hears a section beside the picture at `at`, where the source's clock shows `zero` less.
    fn hear(&mut self, section: &str, zero: i64) {
        let raw: Bytes = base64::engine::general_purpose::STANDARD.decode(section).unwrap().into();
        let scale = self.grid.video_scale();
        let beside = rescale(self.picture - zero, scale, Timescale::MPEG, Rounding::Nearest);
        let made = Made { until: self.picture, first_k: self.first_k };
        for signal in signals(&Section::decode(&raw).unwrap()) {
            let at = clock::unroll(signal.time.unwrap(), beside);
            let wish = zero + at.ticks_in(scale, Rounding::Nearest);
            let wish = nearest_frame(self.grid.rate, Timestamp::new(wish, scale));
            self.breaks.take(&signal, &raw, wish, made);
        }
        self.segmenter.follow(self.breaks.splices().clone());
        self.segmenter.announce(self.breaks.cues());
    }

    /// Start of each segment, by rendition.
    fn starts(&self, rendition: usize) -> BTreeMap<u64, i64> {
        let first = self.parts.iter().filter(|part| part.rendition == rendition && part.part == 0);
        first.map(|part| (part.k, part.start)).collect()
    }
}

/// A break at 90 s with an early return at 115 s, whose splice is `offset` frames (of `tenths`, tenths of
/// a second) from a boundary.
fn run(rate: FrameRate, offset: i64, ahead: i64) -> (Node, i64) {
    let mut node = Node::new(rate, 1_000_000);
    let scale = node.grid.video_scale();
    let seconds = |s: i64| s * i64::from(scale.get());
    let begin = node.picture;
    // The source's clock is such that the splice at 90 s is where it is to be.
    let splice = node.grid.boundary(1_000_000 + node.grid.number_at(seconds(20))) + offset;
    let zero = splice - seconds(90);
    node.encode(splice - seconds(8), ahead);
    node.hear(OUT, zero);
    node.encode(splice - seconds(4), ahead);
    node.hear(OUT, zero);
    node.encode(splice + seconds(18), ahead);
    node.hear(IN, zero);
    node.encode(splice + seconds(40), ahead);
    assert!(begin < splice);
    (node, splice)
}

#[test]
fn cb_11_every_rate_is_cut_on_the_frame_wherever_the_splice_is() {
    let rates = [(25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001)];
    for (num, den) in rates {
        let rate = FrameRate::new(num, den);
        let frame = i64::from(rate.frame_ticks());
        let tenth = nearest_frame(rate, Timestamp::new(100, Timescale::MILLIS));
        for offset in [tenth, -frame, 0] {
            let (node, splice) = run(rate, offset, frame);
            let back = splice + nearest_frame(rate, Timestamp::new(25, Timescale::ONE));
            let starts = node.starts(0);
            assert_eq!(starts, node.starts(1), "rungs are cut alike");
            for at in [splice, back] {
                // Numbers are the grid's: the boundary nearest to it is the one that has moved.
                let k = node.grid.number_at(at + node.grid.segment_ticks as i64 / 2);
                assert!((starts[&k] - at).abs() <= frame, "{rate} {offset}: {} {at}", starts[&k]);
                assert!(at != splice || starts[&k] == at, "{rate} {offset}");
                let sound = node.starts(SOUND)[&k];
                assert_eq!(sound, node.grid.audio_frame_at_or_after(starts[&k]));
            }
            let of = |k| node.parts.iter().find(move |p| (p.rendition, p.k, p.part) == (0, k, 0));
            for (k, next) in starts.keys().zip(starts.keys().skip(1)) {
                assert_eq!(*next, k + 1);
                assert!(of(*k).unwrap().independent, "{k}");
                let (length, d) = (starts[next] - starts[k], node.grid.segment_ticks as i64);
                assert!(2 * length >= d && 2 * length <= 3 * d, "segment {k} lasts {length}");
            }
            // Where nothing is spliced boundaries are the grid's.
            let moved = starts.iter().filter(|(k, at)| node.grid.boundary(**k) != **at).count();
            assert!(moved <= 2, "{rate} {offset}: {moved}");
            let longest = node.grid.part_target().ticks_in(Timescale::NANOS, Rounding::Ceil);
            for part in &node.parts {
                let scale = if part.rendition == SOUND {
                    node.grid.audio_scale()
                } else {
                    rate.timescale()
                };
                let lasts = Span::new(part.duration.into(), scale);
                assert!(lasts.ticks_in(Timescale::NANOS, Rounding::Floor) <= longest);
            }
        }
    }
}

#[test]
fn two_nodes_with_the_same_samples_and_cues_make_the_same_bytes() {
    let rate = FrameRate::new(30, 1);
    for offset in [9_000, -3_000, 0, 60_000] {
        // Their sound and pictures come in another order.
        let (mut one, _) = run(rate, offset, 3_000);
        let (mut other, _) = run(rate, offset, 9_000);
        for rendition in [0, 1, SOUND] {
            let parts = |node: &mut Node| {
                let own = node.parts.iter().filter(|part| part.rendition == rendition);
                let last = node.picture - 4 * 144_000;
                let name = |p: &PartChunk| (p.k, p.part, p.start, p.duration, p.independent);
                own.filter(|p| node.grid.boundary(p.k) < last)
                    .map(|p| (name(p), p.chunk.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(parts(&mut one), parts(&mut other));
        }
        assert_eq!(one.breaks, other.breaks);
    }
}

#[test]
fn an_encoder_that_hears_of_a_splice_too_late_costs_filler_and_not_the_run() {
    let mut node = Node::new(FrameRate::new(30, 1), 1_000_000);
    let splice = node.grid.boundary(1_000_005) + 30_000;
    node.encode(splice - 90_000, 3_000);
    let mut splices = Splices::default();
    let made = Made { until: node.picture, first_k: node.first_k };
    splices.accept(&node.grid, splice, made);
    // The segmenter knows it; the encoder, which asks `breaks`, does not.
    node.segmenter.follow(splices);
    node.encode(splice + 90_000, 3_000);
    let overtaken: Vec<_> = node.segmenter.overtaken().collect();
    assert_eq!(overtaken, [(0, splice), (1, splice)], "asked for key frames");
    let now = Timestamp::new(node.picture, node.grid.video_scale());
    node.segmenter.fill(now, Span::millis(0));
    node.encode(node.picture + 5 * 144_000, 3_000);
    let starts = node.starts(0);
    assert_eq!(starts[&1_000_005], splice);
    assert_eq!(starts[&1_000_007], node.grid.boundary(1_000_007));
}

#[test]
fn pictures_carry_a_cue_from_when_it_is_told_up_to_its_splice_alike_in_every_rung() {
    let rate = FrameRate::new(30, 1);
    for offset in [9_000, -3_000, 0] {
        let (node, splice) = run(rate, offset, 3_000);
        let events = |rendition| -> BTreeMap<u64, Vec<Event>> {
            let own = node.parts.iter().filter(|part| part.rendition == rendition);
            let mut all = BTreeMap::new();
            for part in own {
                let bytes =
                    part.chunk.samples.iter().fold(part.chunk.head.to_vec(), |mut all, s| {
                        all.extend_from_slice(s);
                        all
                    });
                let events = read::chunks(&bytes).unwrap().remove(0).events;
                assert!(part.part == 0 || events.is_empty(), "in front of the first chunk alone");
                if part.part == 0 {
                    all.insert(part.k, events);
                }
            }
            all
        };
        let told = events(0);
        assert_eq!(told, events(1));
        assert!(events(SOUND).values().all(Vec::is_empty));
        let cue = &node.breaks.cues()[0];
        let back = cue.end.as_ref().unwrap();
        for (event, k, told_at) in [
            (cue.begin_event(), cue.k, splice - 8 * 90_000),
            (cue.end_event().unwrap(), back.k, splice + 18 * 90_000),
        ] {
            let carried = told.iter().filter(|(_, all)| all.iter().any(|one| one.id == event.id));
            let carried: Vec<_> = carried.map(|(k, _)| *k).collect();
            // The first chunk of a segment is written a part after it begins.
            let first = node.grid.number_at(told_at - node.grid.part_ticks.cast_signed()) + 1;
            assert_eq!(carried, (first..=k).collect::<Vec<_>>(), "{offset}");
            let one = told[&k].iter().find(|one| one.id == event.id).unwrap();
            assert_eq!((one.version, one.timescale, one.time), (1, 90_000, event.at as u64));
            assert_eq!(&one.message[..], &event.section[..]);
            assert_eq!(one.scheme, "urn:scte:scte35:2013:bin");
        }
        let begin = told[&cue.k].iter().find(|one| one.id == cue.begin_event().id).unwrap();
        assert_eq!(begin.duration, 2_700_000);
    }
}
