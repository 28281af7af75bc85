//! Encoders that are late, in virtual time: what players get when, and what it costs.

use super::*;

const RATE: FrameRate = FrameRate::new(30, 1);
const DELAY: Span = Span::millis(150);
/// How often the clock is looked at, and how fast an encoder is that catches up: milliseconds.
const STEP: i64 = 5;
const FASTER: i64 = 4;
const FIRST_K: u64 = 100;

/// An encoder that stands still for a while, then makes up for it.
#[derive(Clone, Copy, Debug)]
struct Hiccup {
    /// Milliseconds after the start of the run.
    at: i64,
    length: i64,
    /// Whether it makes the key frames it is asked for.
    obeys: bool,
}

/// What came of it.
#[derive(Debug)]
struct Cost {
    /// Milliseconds of filler.
    filler: i64,
    /// Longest time from a part's end to its being there, in milliseconds.
    latest: i64,
}

/// Three segments of pictures, of which each should be there 5 ms after its end.
fn run(hiccup: Hiccup) -> Cost {
    let grid = grid(RATE);
    let patience = grid.patience(DELAY);
    let mut segmenter = Segmenter::new(grid, renditions(RATE), FIRST_K);
    let (start, ticks) = (grid.boundary(FIRST_K), i64::from(RATE.frame_ticks()));
    let ms = |ticks: i64| ticks / 90;
    let (mut made, mut asked, mut progress) = (0, i64::MAX, 0);
    let mut cost = Cost { filler: 0, latest: 0 };
    for now in (0..ms(3 * grid.segment_ticks.cast_signed())).step_by(STEP as usize) {
        // How far the encoder is in its source, in milliseconds.
        if !(hiccup.at..hiccup.at + hiccup.length).contains(&now) {
            progress = now.min(progress + FASTER * STEP);
        }
        while ms((made + 1) * ticks) + 5 <= progress {
            let dts = start + made * ticks;
            let boundary = dts % grid.segment_ticks.cast_signed() == 0;
            let key = boundary || (hiccup.obeys && dts >= asked);
            if key && dts >= asked {
                asked = i64::MAX;
            }
            segmenter.push(VIDEO, sample(dts, RATE.frame_ticks(), key)).unwrap();
            made += 1;
        }
        segmenter.fill(video_time(&grid, start + now * 90), patience);
        if let Some((VIDEO, at)) = segmenter.overtaken().next() {
            asked = at;
        }
        while let Some(output) = segmenter.poll() {
            if let Output::Chunk(chunk) = output {
                let end = ms(chunk.start + i64::from(chunk.duration) - start);
                cost.latest = cost.latest.max(now - end);
                cost.filler += ms(chunk.filler.into());
            }
        }
    }
    cost
}

/// Hiccups of many lengths, everywhere in the second segment.
fn hiccups(lengths: std::ops::Range<i64>, obeys: bool) -> impl Iterator<Item = Hiccup> {
    let at = move |length| (1_600..3_200).step_by(70).map(move |at| Hiccup { at, length, obeys });
    lengths.step_by(50).flat_map(at)
}

fn parts(count: i64) -> i64 {
    count * grid(RATE).part_ticks.cast_signed() / 90
}

fn patience() -> i64 {
    grid(RATE).patience(DELAY).ticks_in(Timescale::MILLIS, Rounding::Floor).cast_signed()
}

#[test]
fn a_hiccup_that_players_do_not_notice_costs_no_picture() {
    for hiccup in hiccups(0..patience() - 45, true) {
        let cost = run(hiccup);
        assert_eq!(cost.filler, 0, "{hiccup:?}");
    }
}

#[test]
fn no_part_comes_later_than_players_of_low_latency_can_wait() {
    for hiccup in hiccups(0..1_500, true) {
        let cost = run(hiccup);
        assert!(cost.latest <= patience() + 2 * STEP, "{hiccup:?}: {cost:?}");
        // What they hold when a part is listed, less the one that they play until the next is due.
        assert!(cost.latest + 150 <= parts(3) - parts(1) + 2 * STEP, "{hiccup:?}: {cost:?}");
    }
}

#[test]
fn a_longer_hiccup_costs_what_it_lasted_and_a_part_and_not_the_segment() {
    let (mut most, mut unheard) = (0, 0);
    for hiccup in hiccups(400..1_000, true) {
        let cost = run(hiccup);
        assert!(cost.filler <= hiccup.length + parts(2), "{hiccup:?}: {cost:?}");
        most = most.max(cost.filler - hiccup.length);
        let deaf = run(Hiccup { obeys: false, ..hiccup });
        unheard = unheard.max(deaf.filler - hiccup.length);
    }
    assert!(
        unheard > 2 * most,
        "{unheard} ms without asking, {most} with: else this shows nothing"
    );
}

#[test]
fn every_grid_of_ours_waits_a_part_at_the_least_and_no_longer_than_players_can() {
    for rate in FrameRate::STANDARD {
        for part in [200, 300, 500, 1_000] {
            let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(part));
            let patience = grid.patience(DELAY).ticks;
            assert!(patience >= grid.part_ticks, "{rate} {part}");
            let delay = DELAY.ticks_in(grid.video_scale(), Rounding::Floor);
            assert!(patience + delay <= 2 * grid.part_ticks + 1, "{rate} {part}");
        }
    }
}

#[test]
fn a_source_that_takes_no_orders_is_given_half_a_segment() {
    let gop = 90_000;
    let grid = Grid::of_source(RATE, 48_000, gop, Span::millis(2_000), Span::millis(300));
    assert_eq!(grid.patience(DELAY).ticks, grid.segment_ticks / 2);
}
