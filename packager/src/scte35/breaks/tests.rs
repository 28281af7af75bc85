use super::*;
use crate::grid::splices::Moved;
use crate::scte35::section::tests as vectors;
use crate::scte35::{Section, clock, signals};
use crate::time::{FrameRate, Timestamp};

/// A channel at 30 frames per second (D = 1.6 s) and what has been told to it. Seconds count from the
/// zero of the source's clock, which is a boundary of ours.
struct World {
    grid: Grid,
    breaks: Breaks,
    made: Made,
    zero: i64,
}

impl World {
    fn new() -> Self {
        let rate = FrameRate::new(30, 1);
        let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300));
        let k = 1_122_000_000;
        let zero = grid.boundary(k);
        let breaks = Breaks::new(grid, Span::millis(600_000));
        Self { grid, breaks, made: Made { until: zero, first_k: k - 3 }, zero }
    }

    /// Goes on to a second of the source's clock.
    fn at(&mut self, seconds: f64) -> &mut Self {
        self.made.until = self.zero + (seconds * 90_000.0) as i64;
        self.breaks.advance(self.made);
        self
    }

    /// Hears a vector. The picture beside it is half a second ahead of what is made: a source is.
    fn hear(&mut self, vector: &str) -> Outcome {
        let raw = vectors::bytes(vector);
        self.hear_section(&Section::decode(&raw).unwrap(), &raw)
    }

    fn hear_section(&mut self, section: &Section, raw: &Bytes) -> Outcome {
        let beside = self.made.until - self.zero;
        let all = signals(section);
        let outcomes = all.iter().map(|signal| {
            let wish = match signal.time {
                Some(time) => {
                    let at = clock::unroll(time, beside);
                    nearest_frame(self.grid.rate, Timestamp::new(self.zero + at.ticks, at.scale))
                }
                None => self.breaks.at_once(self.made.until),
            };
            self.breaks.take(signal, raw, wish, self.made)
        });
        outcomes.last().unwrap()
    }

    fn cue(&self) -> &Cue {
        self.breaks.cues().last().unwrap()
    }

    /// A time of ours in seconds of the source's clock.
    fn seconds(&self, ticks: i64) -> f64 {
        (ticks - self.zero) as f64 / 90_000.0
    }

    /// Where the newest cue begins and ends, and why it ends.
    fn span(&self) -> (f64, f64, EndsBy) {
        let cue = self.cue();
        let end = cue.end.as_ref().unwrap();
        for (at, k) in [(cue.start, cue.k), (end.at, end.k)] {
            assert_eq!(self.breaks.splices().boundary(&self.grid, k), at, "a boundary");
        }
        (self.seconds(cue.start), self.seconds(end.at), end.by)
    }
}

fn accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[test]
fn a_break_returns_by_itself() {
    let mut world = World::new();
    assert!(accepted(&world.at(80.0).hear(vectors::S1_OUT)));
    assert_eq!(world.span(), (90.0, 120.0, EndsBy::AutoReturn));
    assert_eq!((world.cue().phase, world.cue().planned), (Phase::Announced, Some(2_700_000)));
    assert_eq!(world.at(90.01).cue().phase, Phase::Active);
    assert_eq!(world.at(119.9).cue().phase, Phase::Active);
    assert_eq!(world.at(120.0).cue().phase, Phase::Ended);
    assert_eq!(world.cue().ended().map(|end| end.by), Some(EndsBy::AutoReturn));
    assert_eq!(world.cue().id, format!("05-100-{}", world.cue().k));
}

#[test]
fn a_message_that_is_repeated_is_one_break() {
    let mut world = World::new();
    assert!(accepted(&world.at(82.0).hear(vectors::S1_OUT)));
    let before = world.breaks.clone();
    let id = world.cue().id.clone();
    for seconds in [85.0, 86.0, 88.0] {
        let repeated = Outcome::Repeated { id: id.clone() };
        assert_eq!(world.at(seconds).hear(vectors::S1_OUT), repeated);
        assert_eq!(world.breaks, before);
    }
    // Also while it is on, and after.
    for seconds in [91.0, 121.0] {
        assert_eq!(world.at(seconds).hear(vectors::S1_OUT), Outcome::Repeated { id: id.clone() });
    }
    assert_eq!(world.breaks.cues().len(), 1);
}

#[test]
fn a_message_ends_a_break_early_at_its_time_or_at_once() {
    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    let ends = Outcome::Ends { id: world.cue().id.clone() };
    assert_eq!(world.at(105.0).hear(vectors::S3_IN), ends);
    assert_eq!(world.span(), (90.0, 115.0, EndsBy::Return));
    assert_eq!(world.cue().end_section, vectors::bytes(vectors::S3_IN));
    assert_eq!(world.breaks.splices().iter().count(), 2, "the end before is given up");
    // Said again, and sooner still.
    assert!(matches!(world.at(106.0).hear(vectors::S3_IN), Outcome::Repeated { .. }));

    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    world.at(100.0).hear(vectors::S2_IN_NOW);
    assert_eq!(world.span(), (90.0, 100.5, EndsBy::Return));
    world.at(101.0);
    assert_eq!(world.cue().phase, Phase::Ended);
    // It does not end twice.
    assert!(matches!(world.hear(vectors::S2_IN_NOW), Outcome::Repeated { .. }));
    assert_eq!(world.breaks.cues().len(), 1);
}

#[test]
fn a_break_is_cancelled_before_it_begins_and_not_after() {
    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    assert!(matches!(world.at(88.0).hear(vectors::S4_CANCEL), Outcome::Cancelled { .. }));
    assert_eq!(world.cue().phase, Phase::Cancelled);
    assert_eq!(world.breaks.splices().iter().count(), 0);

    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    assert_eq!(world.at(91.0).hear(vectors::S4_CANCEL), UNKNOWN);
    assert_eq!(world.cue().phase, Phase::Active);
}

#[test]
fn a_break_ends_although_the_message_that_ends_it_is_lost() {
    // 24 s without auto-return, at once.
    let mut world = World::new();
    world.at(10.0).hear(vectors::UNIFIED);
    let (start, end, by) = world.span();
    assert_eq!((start, by), (10.5, EndsBy::ReturnLost));
    assert_eq!(end, 34.5);
    // None at all: ten minutes.
    let mut world = World::new();
    world.at(10.0).hear(vectors::S10_OUT_NOW);
    let (start, end, by) = world.span();
    assert_eq!((start, end, by), (10.5, 610.5, EndsBy::ReturnLost));
    world.at(611.0);
    assert_eq!(world.cue().phase, Phase::Ended);
    // The message may come late, and the break then lasts as long as that says.
    let mut world = World::new();
    world.at(80.0).hear(vectors::UNIFIED);
    let raw = vectors::bytes(vectors::S3_IN);
    let mut section = Section::decode(&raw).unwrap();
    if let crate::scte35::section::Command::Insert(insert) = &mut section.command {
        insert.event_id = 2002;
    }
    world.at(103.0).hear_section(&section, &raw);
    assert_eq!(world.span(), (80.5, 115.0, EndsBy::Return));
}

#[test]
fn a_message_that_is_late_begins_its_break_at_the_next_boundary() {
    let mut world = World::new();
    assert!(accepted(&world.at(90.5).hear(vectors::S1_OUT)));
    let (start, end, _) = world.span();
    // 57 · 1.6 s; the programme returns when it would have anyway.
    assert!((start - 91.2).abs() < 1e-9, "{start}");
    assert_eq!(end, 120.0);
    let cue = world.cue();
    assert_eq!((cue.moved, world.seconds(cue.wished)), (Some(Moved::Late), 90.0));
    // When it is over already nothing is done.
    let mut world = World::new();
    let over = Outcome::Refused { reason: Refusal::Over };
    assert_eq!(world.at(121.0).hear(vectors::S1_OUT), over);
    assert!(world.breaks.cues().is_empty() && world.breaks.splices().iter().count() == 0);
}

#[test]
fn a_break_over_the_wrap_of_the_clock_lasts_as_long_as_any() {
    let mut world = World::new();
    let start = 8_589_889_592.0 / 90_000.0;
    assert!(accepted(&world.at(start - 5.0).hear(vectors::S5_WRAP)));
    let (begins, ends, _) = world.span();
    assert!((begins - start).abs() < 0.017, "{begins}");
    assert!((ends - begins - 30.0).abs() < 1e-9);
}

#[test]
fn an_adjustment_counts() {
    let mut world = World::new();
    assert!(accepted(&world.at(55.0).hear(vectors::MEDIAPACKAGE)));
    let cue = world.cue();
    // 62.06 s, on the frame.
    assert!((world.seconds(cue.start) - 62.0666).abs() < 0.001);
    assert!(cue.id.starts_with("30-2415919105-"), "{}", cue.id);
}

#[test]
fn one_break_ends_where_another_takes_over() {
    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    let raw = vectors::bytes(vectors::S1_OUT);
    let mut other = Section::decode(&raw).unwrap();
    other.pts_adjustment = 10 * 90_000;
    if let crate::scte35::section::Command::Insert(insert) = &mut other.command {
        insert.event_id = 7;
    }
    assert!(accepted(&world.at(92.0).hear_section(&other, &raw)));
    let first = &world.breaks.cues()[0];
    let end = first.end.as_ref().unwrap();
    assert_eq!((world.seconds(end.at), end.by), (100.0, EndsBy::Replaced));
    assert_eq!(world.span(), (100.0, 130.0, EndsBy::AutoReturn));
}

#[test]
fn a_message_that_changes_a_break_counts_until_it_is_near() {
    let mut world = World::new();
    let raw = vectors::bytes(vectors::S1_OUT);
    world.at(80.0).hear(vectors::S1_OUT);
    let mut later = Section::decode(&raw).unwrap();
    later.pts_adjustment = 2 * 90_000;
    assert!(accepted(&world.at(84.0).hear_section(&later, &raw)));
    assert_eq!(world.span(), (92.0, 122.0, EndsBy::AutoReturn));
    assert_eq!(world.breaks.cues()[0].phase, Phase::Cancelled);
    later.pts_adjustment = 4 * 90_000;
    let refused = world.at(89.0).hear_section(&later, &raw);
    assert_eq!(refused, Outcome::Refused { reason: Refusal::TooSoon });
}

#[test]
fn placement_opportunities_nest_and_end_each_by_its_own() {
    let mut world = World::new();
    let start = 1_924_989_008.0 / 90_000.0;
    world.at(start - 8.0).hear(vectors::PPO_START);
    let (begins, ends, by) = world.span();
    assert_eq!(by, EndsBy::ReturnLost);
    assert!((ends - begins - 307.0).abs() < 0.02);
    let end = 1_952_616_608.0 / 90_000.0;
    world.at(end - 5.0).hear(vectors::PPO_END);
    let (_, ends, by) = world.span();
    assert_eq!(by, EndsBy::Return);
    assert!((ends - end).abs() < 0.017);
    // An insert beside it is another break.
    let mut insert = Section::decode(&vectors::bytes(vectors::S1_OUT)).unwrap();
    insert.pts_adjustment = 1_952_616_608 - 60 * 90_000 - 90 * 90_000;
    world.at(end - 70.0);
    world.hear_section(&insert, &Bytes::new());
    assert!(world.breaks.cues().iter().all(|cue| cue.phase != Phase::Cancelled));
}

#[test]
fn what_is_no_break_is_told_and_cut() {
    let mut world = World::new();
    let at = 2_051_901_622.0 / 90_000.0;
    world.at(at - 8.0).hear(vectors::PROGRAMS);
    let cues = world.breaks.cues();
    assert_eq!(cues.len(), 2);
    assert_eq!(cues[0].start, cues[1].start);
    assert!(cues.iter().all(|cue| !cue.is_break && cue.end.is_none() && cue.moved.is_none()));
    assert!(world.breaks.splices().is_boundary(&world.grid, cues[0].start));
    let repeated = world.hear(vectors::PROGRAMS);
    assert!(matches!(repeated, Outcome::Repeated { .. }));
    // The end of a break that nobody began: told, not cut.
    let mut world = World::new();
    world.at(100.0).hear(vectors::S3_IN);
    assert_eq!(world.seconds(world.cue().start), 115.0);
    assert!(!world.cue().is_break);
    assert_eq!(world.breaks.splices().iter().count(), 0);
}

#[test]
fn cues_are_forgotten_when_they_are_over() {
    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    let zero = world.zero;
    assert!(world.at(100.0).breaks.forget_before(zero + 99 * 90_000).is_empty());
    world.at(130.0);
    assert_eq!(world.breaks.forget_before(zero + 121 * 90_000).len(), 1);
    assert_eq!(world.breaks.splices().iter().count(), 0);
}

#[test]
fn cues_come_back_as_they_were_from_what_is_stored() {
    let mut world = World::new();
    world.at(80.0).hear(vectors::S1_OUT);
    world.at(105.0).hear(vectors::S3_IN);
    let text = |cue: &Cue| serde_json::to_string(cue).unwrap();
    let stored: Vec<String> = world.breaks.cues().iter().map(text).collect();
    let cues = stored.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let splices = Splices::restore(world.breaks.splices().iter());
    let longest = Span::millis(600_000);
    assert_eq!(Breaks::restore(world.grid, longest, splices, cues), world.breaks);
}

#[test]
fn what_is_to_be_at_once_is_at_the_next_opportunity() {
    // Half a second on is within half a segment behind a boundary that is made: the next one it is.
    let mut world = World::new();
    world.at(9.7).hear(vectors::AMAGI);
    assert_eq!((world.seconds(world.cue().start), world.cue().moved), (11.2, None));
    assert_eq!(world.cue().end.as_ref().map(|end| world.seconds(end.wished)), Some(130.2));
}

#[test]
fn what_is_not_cut_on_its_frame_says_where_it_was_cut() {
    let rate = FrameRate::new(30, 1);
    let grid = Grid::of_source(rate, 48_000, 180_000, Span::millis(2_000), Span::millis(300));
    let zero = grid.boundary(900_000_000);
    let mut breaks = Breaks::new(grid, Span::millis(600_000));
    let raw = vectors::bytes(vectors::S1_OUT);
    let signal = signals(&Section::decode(&raw).unwrap())[0];
    let made = Made { until: zero, first_k: 900_000_000 };
    let wish = zero + 12_345;
    let Outcome::Accepted { id } = breaks.take(&signal, &raw, wish, made) else {
        panic!("refused")
    };
    assert_eq!(breaks.splices().iter().collect::<Vec<_>>(), [wish, wish + 2_700_000]);
    let cue = breaks.cue(&id).unwrap();
    assert_eq!((cue.start, cue.cut, cue.cut_at), (wish, true, None), "not known yet");
    // The key frame nearest to it is a third of a second ahead.
    assert!(breaks.cut(wish, 77, wish - 30_000));
    assert!(!breaks.cut(wish, 78, wish + 150_000), "it is known");
    assert!(breaks.cut(wish + 2_700_000, 92, wish + 2_670_000));
    let cue = breaks.cue(&id).unwrap();
    assert_eq!((cue.start, cue.k, cue.cut_at), (wish, 77, Some(wish - 30_000)));
    let end = cue.end.as_ref().unwrap();
    assert_eq!((end.at, end.k, end.cut_at), (wish + 2_700_000, 92, Some(wish + 2_670_000)));
    // One that comes too late is where the source is, and says so.
    let late = Made { until: wish + 9_000_000, ..made };
    let signal = Signal { event: Event::insert(101), ..signal };
    let Outcome::Accepted { id } = breaks.take(&signal, &raw, late.until - 5, late) else {
        panic!("refused")
    };
    let cue = breaks.cue(&id).unwrap();
    assert_eq!((cue.start, cue.moved), (late.until, Some(Moved::Late)));
}

#[test]
fn a_return_from_before_the_break_ends_it_as_soon_as_can_be() {
    let mut world = World::new();
    assert!(accepted(&world.at(85.0).hear(vectors::S1_OUT)));
    world.at(100.0);
    // A message whose time is of another clock: 10 s before the break began.
    let raw = vectors::bytes(vectors::S3_IN);
    let mut section = Section::decode(&raw).unwrap();
    section.pts_adjustment = (1 << 33) - 35 * 90_000;
    let raw = section.encode().unwrap();
    assert!(matches!(world.hear_section(&section, &raw), Outcome::Ends { .. }));
    let (_, end, by) = world.span();
    assert!((100.0..102.5).contains(&end), "{end}");
    assert_eq!(by, EndsBy::Return);
    assert_eq!(world.cue().end.as_ref().unwrap().moved, Some(Moved::Late));
}

#[test]
fn the_oldest_that_is_over_makes_room_for_another() {
    let mut world = World::new();
    let out = |id: u32, seconds: u64| {
        let mut section = Section::decode(&vectors::bytes(vectors::S1_OUT)).unwrap();
        section.pts_adjustment = (seconds * 90_000 + (1 << 33) - 90 * 90_000) % (1 << 33);
        if let crate::scte35::section::Command::Insert(insert) = &mut section.command {
            insert.event_id = id;
        }
        let raw = section.encode().unwrap();
        (section, raw)
    };
    for id in 0..MAX_CUES as u32 + 3 {
        let at = 100 + u64::from(id) * 60;
        let (section, raw) = out(id, at);
        assert!(accepted(&world.at(at as f64 - 5.0).hear_section(&section, &raw)), "{id}");
    }
    assert_eq!(world.breaks.cues().len(), MAX_CUES);
    assert_eq!(world.breaks.cues()[0].event.id, 3);
}
