use super::*;
use proptest::prelude::*;

fn grid(num: u32, den: u32, segment_ms: u64, part_ms: u64) -> Grid {
    Grid::choose(FrameRate::new(num, den), 48_000, Span::millis(segment_ms), Span::millis(part_ms))
}

fn nanos(span: Span) -> u64 {
    span.ticks_in(Timescale::NANOS, Rounding::Nearest)
}

#[test]
fn lengths_are_those_of_the_design() {
    for (num, den, segment, part, d_ns, p_ns) in [
        (25, 1, 2_000, 300, 1_920_000_000, 320_000_000),
        (25, 1, 2_000, 500, 1_920_000_000, 480_000_000),
        (50, 1, 2_000, 300, 1_920_000_000, 320_000_000),
        (30, 1, 2_000, 300, 1_600_000_000, 266_666_667),
        (30, 1, 2_000, 400, 1_600_000_000, 400_000_000),
        (60, 1, 2_000, 300, 1_600_000_000, 266_666_667),
        (24, 1, 2_000, 300, 2_000_000_000, 333_333_333),
        (24_000, 1001, 2_000, 300, 2_002_000_000, 333_666_667),
        (30_000, 1001, 2_000, 300, 2_002_000_000, 333_666_667),
    ] {
        let grid = grid(num, den, segment, part);
        assert_eq!(
            (nanos(grid.segment()), nanos(grid.part())),
            (d_ns, p_ns),
            "{num}/{den} {segment} {part}"
        );
    }
}

#[test]
fn target_duration_covers_a_displaced_segment() {
    assert_eq!(grid(30, 1, 2_000, 300).target_duration(), 2);
    assert_eq!(grid(25, 1, 2_000, 300).target_duration(), 3);
}

#[test]
fn audio_boundaries_coincide_where_the_segment_holds_whole_frames() {
    let grid = grid(30, 1, 2_000, 300);
    assert!(grid.whole_audio_frames());
    let k = 1_100_000_000;
    assert_eq!(grid.audio_boundary(k) * 90_000, grid.boundary(k) * 48_000);
}

proptest! {
    #[test]
    fn any_wish_gives_a_grid_within_the_rules(
        rate in prop::sample::select(FrameRate::STANDARD.to_vec()),
        segment in 0u64..20_000, part in 0u64..5_000, k in 0u64..2_000_000_000,
    ) {
        let grid = Grid::choose(rate, 48_000, Span::millis(segment), Span::millis(part));
        let scale = u64::from(grid.video_scale().get());
        let frame = u64::from(rate.frame_ticks());
        prop_assert!(grid.segment_ticks.is_multiple_of(frame));
        prop_assert!((grid.segment_ticks * 1000).is_multiple_of(scale));
        prop_assert!(grid.segment_ticks >= scale && grid.segment_ticks <= 6 * scale + scale / 100);
        prop_assert!(grid.part_ticks.is_multiple_of(frame));
        prop_assert!(grid.segment_ticks.is_multiple_of(grid.part_ticks));
        let start = grid.boundary(k);
        prop_assert_eq!(grid.number_at(start), k);
        prop_assert_eq!(grid.number_at(start + grid.segment_ticks.cast_signed() - 1), k);
        // Audio starts within one frame after the boundary.
        let late = i128::from(grid.audio_boundary(k)) * i128::from(grid.video_scale().get())
            - i128::from(start) * i128::from(grid.audio_rate);
        prop_assert!(late >= 0);
        prop_assert!(late < i128::from(grid.audio_frame) * i128::from(grid.video_scale().get()));
    }
}

#[test]
fn a_sources_parts_are_at_least_85_percent_of_the_part_target() {
    for rate in FrameRate::STANDARD {
        let scale = u64::from(rate.timescale().get());
        for (gop, wish) in [(1_000, 200), (1_000, 300), (2_000, 200), (2_000, 300), (2_000, 1_000)]
        {
            let gop = gop * scale / 1000;
            let (segment, part) = (Span::millis(2_000), Span::millis(wish));
            let grid = Grid::of_source(rate, 48_000, gop, segment, part);
            let nanos = |span: Span| span.ticks_in(Timescale::NANOS, Rounding::Floor);
            let (part, target) = (nanos(grid.part()), nanos(grid.part_target()));
            assert!(part * 100 >= target * 85, "{rate}, {gop}: {part} of {target}");
        }
    }
}
