use bytes::Bytes;

use super::*;
use crate::grid::splices::Made;
use crate::hls::{Markers, Options, Skip, media};
use crate::scte35::breaks::Breaks;
use crate::scte35::section::tests as vectors;
use crate::scte35::{Section, signals};
use crate::timeline::example::{Example, FIRST_K, assert_golden};

mod fates;

/// What S1 and S2 of the vectors are in hexadecimal.
const OUT: &str =
    "0xFC302500000000000000FFF01405000000647FEFFE007B98A0FE002932E0000100000000346282D1";
const IN: &str = "0xFC301B00000000000000FFF00A05000000647F5F000100000000F778F377";

/// A channel and what is told to it.
pub(in crate::hls) struct World {
    example: Example,
    breaks: Breaks,
    pub(in crate::hls) next_k: u64,
}

impl World {
    /// Ten segments from 19:00:01.6 on.
    pub(in crate::hls) fn new() -> Self {
        let mut example = Example::new(600);
        example.run(FIRST_K);
        let breaks = Breaks::new(example.grid, Span::millis(600_000));
        let mut world = Self { example, breaks, next_k: FIRST_K };
        world.go_on(10);
        world
    }

    fn made(&self) -> Made {
        Made { until: self.example.grid.boundary(self.next_k), first_k: FIRST_K }
    }

    /// Makes so many segments more.
    pub(in crate::hls) fn go_on(&mut self, count: u64) {
        self.example.push_all(self.next_k..self.next_k + count);
        self.next_k += count;
        self.breaks.advance(self.made());
        self.tell();
    }

    fn tell(&mut self) {
        let listed = self.breaks.cues().iter().filter(|cue| cue.is_listed());
        self.example.timeline.tell_cues(listed.cloned().collect());
    }

    /// Hears a vector whose splice is `frames` behind the boundary of segment `k`.
    pub(in crate::hls) fn hear(&mut self, vector: &str, k: u64, frames: i64) {
        let raw: Bytes = vectors::bytes(vector);
        for signal in signals(&Section::decode(&raw).unwrap()) {
            let wish = self.example.grid.boundary(k) + frames * 3_000;
            self.breaks.take(&signal, &raw, wish, self.made());
        }
        self.tell();
    }

    /// The date ranges of each rendition, which are the same.
    fn tags(&mut self) -> Vec<String> {
        self.lines(&Markers::default(), |line| line.starts_with("#EXT-X-DATERANGE:"))
    }

    /// Lines of each rendition's playlist with these tags, which are the same in all.
    pub(in crate::hls) fn lines(
        &mut self,
        markers: &Markers,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let lines_of = |text: &str| -> Vec<String> {
            text.lines().filter(|line| wanted(line)).map(str::to_owned).collect()
        };
        let lines = lines_of(&self.playlist(0, markers));
        for rendition in 1..self.example.snapshot().tracks.len() {
            assert_eq!(lines_of(&self.playlist(rendition, markers)), lines);
        }
        lines
    }

    /// The lines that begin with one of these words, each with the segment that it stands before: how far
    /// behind the first of the playlist that is.
    pub(in crate::hls) fn placed(
        &mut self,
        markers: &Markers,
        words: &[&str],
    ) -> Vec<(String, u64)> {
        let text = self.playlist(0, markers);
        let (mut lines, mut waiting, mut segments) = (Vec::new(), Vec::new(), 0);
        for line in text.lines() {
            if words.iter().any(|word| line.starts_with(word)) {
                waiting.push(line.to_owned());
            } else if line.ends_with(".m4s") {
                lines.extend(waiting.drain(..).map(|line| (line, segments)));
                segments += 1;
            }
        }
        lines
    }

    /// The playlist of a rendition with these tags.
    pub(in crate::hls) fn playlist(&mut self, rendition: usize, markers: &Markers) -> String {
        let options = Options { markers: markers.clone(), ..Options::default() };
        media(&self.example.snapshot(), rendition, Skip::Nothing, &options)
    }

    fn removed(&mut self) -> String {
        let snapshot = self.example.snapshot();
        let text = media(&snapshot, 0, Skip::DateRanges, &Options::default());
        let line = text.lines().find(|line| line.starts_with("#EXT-X-SKIP:")).unwrap().to_owned();
        line.split_once("RECENTLY-REMOVED-DATERANGES=").unwrap().1.to_owned()
    }
}

#[test]
fn a_break_is_told_before_it_begins_and_its_end_when_it_is_over() {
    let mut world = World::new();
    let k = world.next_k + 4;
    world.hear(vectors::S1_OUT, k, 3);
    let begun = format!(
        "#EXT-X-DATERANGE:ID=\"05-100-{k}\",START-DATE=\"2026-11-25T19:00:24.100Z\"\
         {{}},PLANNED-DURATION=30.00000,SCTE35-OUT={OUT}"
    );
    assert_eq!(world.tags(), [begun.replace("{}", "")]);
    world.go_on(10);
    assert_eq!(world.tags(), [begun.replace("{}", "")], "while it is on");
    world.go_on(14);
    let end = ",END-DATE=\"2026-11-25T19:00:54.100Z\",DURATION=30.00000";
    assert_eq!(world.tags(), [begun.replace("{}", end)]);
}

#[test]
fn an_early_return_is_told_with_the_section_that_asked_for_it() {
    let mut world = World::new();
    let k = world.next_k + 4;
    world.hear(vectors::S1_OUT, k, 3);
    world.go_on(8);
    world.hear(vectors::S2_IN_NOW, k + 6, 0);
    world.go_on(4);
    let tag = format!(
        "#EXT-X-DATERANGE:ID=\"05-100-{k}\",START-DATE=\"2026-11-25T19:00:24.100Z\",\
         END-DATE=\"2026-11-25T19:00:33.600Z\",DURATION=9.50000,PLANNED-DURATION=30.00000,\
         SCTE35-OUT={OUT},SCTE35-IN={IN}"
    );
    assert_eq!(world.tags(), [tag]);
}

#[test]
fn a_late_break_says_when_it_was_meant_to_be() {
    let mut world = World::new();
    let k = world.next_k;
    world.hear(vectors::S1_OUT, k, -3);
    let tag = format!(
        "#EXT-X-DATERANGE:ID=\"05-100-{k}\",START-DATE=\"2026-11-25T19:00:17.600Z\",\
         PLANNED-DURATION=30.00000,X-HEADWATER-SENT=\"2026-11-25T19:00:17.500Z\",\
         X-HEADWATER-MOVED=\"LATE\",SCTE35-OUT={OUT}"
    );
    assert_eq!(world.tags(), [tag]);
}

#[test]
fn a_cancelled_break_is_gone_and_named_as_gone_for_a_while() {
    let mut world = World::new();
    assert_eq!(world.removed(), "\"\"");
    let k = world.next_k + 6;
    world.hear(vectors::S1_OUT, k, 3);
    world.hear(vectors::S4_CANCEL, k, 3);
    assert_eq!(world.tags(), [""; 0]);
    assert_eq!(world.removed(), format!("\"05-100-{k}\""));
    world.go_on(30);
    assert_eq!(world.removed(), "\"\"");
}

#[test]
fn a_break_without_a_return_says_so() {
    let mut world = World::new();
    world.hear(vectors::UNIFIED, world.next_k + 4, 0);
    world.go_on(30);
    let tags = world.tags();
    assert!(
        tags[0].contains(
            ",DURATION=24.00000,PLANNED-DURATION=24.00000,X-HEADWATER-RETURN-LOST=\"YES\""
        )
    );
}

#[test]
fn what_is_no_break_is_a_command_and_two_of_a_section_are_two_ranges() {
    let mut world = World::new();
    let k = world.next_k + 4;
    world.hear(vectors::PROGRAMS, k, 0);
    let tags = world.tags();
    assert_eq!(tags.len(), 2);
    for (tag, id) in tags.iter().zip(["11-1207959576", "10-1207959577"]) {
        assert!(tag.starts_with(&format!("#EXT-X-DATERANGE:ID=\"{id}-{k}\",")), "{tag}");
        assert!(tag.contains(",SCTE35-CMD=0xFC3048") && !tag.contains("DURATION"), "{tag}");
    }
}

#[test]
fn a_playlist_with_breaks_is_the_golden_one() {
    let mut world = World::new();
    world.hear(vectors::S1_OUT, world.next_k + 2, 0);
    world.go_on(4);
    world.hear(vectors::S2_IN_NOW, world.next_k + 2, 0);
    world.go_on(6);
    world.hear(vectors::PPO_START, world.next_k + 4, 0);
    let snapshot = world.example.snapshot();
    let text = media(&snapshot, 0, Skip::Nothing, &Options::default());
    assert_golden("breaks-720p.m3u8", &text);
}
