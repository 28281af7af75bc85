//! What stands for what a source does not send.

use super::*;

/// Players and muxers that count in frames see two pictures at one time otherwise.
#[test]
fn filler_before_a_seam_is_never_shorter_than_half_a_frame() {
    let length = |chunk: &&PartChunk| chunk.duration;
    for late in (-F / 2 + 1..2 * 9 * F).step_by(211) {
        for left_at in [100, 118] {
            let mut fixture = Fixture::new(60);
            fixture.play(0, left_at, |frame| frame % 60 == 0);
            fixture.segmenter.lose();
            let end = fixture.segmenter.end().unwrap();
            let at = fixture.segmenter.seam(Timestamp::new(end.ticks + late, Timescale::MPEG));
            assert!((at.ticks - end.ticks - late).abs() < F / 2, "{late}");
            fixture.segmenter.end_at(at);
            assert_eq!(fixture.segmenter.end(), Some(at));
            fixture.drain();
            fixture.check();
            let shortest = fixture.chunks(PICTURES).iter().map(length).min().unwrap();
            assert!(i64::from(shortest) * 2 >= F, "{late}: {shortest} ticks");
        }
    }
}

#[test]
fn a_hole_is_filled_to_the_tick_and_ends_with_the_next_key_frame() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 100, |frame| frame % 60 == 0);
    let until = Timestamp::new(fixture.start + 330 * F, Timescale::MPEG);
    fixture.segmenter.fill(until, PATIENCE);
    // Late, and not decodable.
    fixture.picture(101, false).unwrap();
    fixture.picture(335, false).unwrap();
    fixture.play(341, 420, |frame| frame == 341 || frame == 400);
    fixture.check();
    let filled: u32 = fixture.chunks(PICTURES).iter().map(|chunk| chunk.filler).sum();
    assert_eq!(filled, 241 * 3_000);
    let starts: Vec<_> = fixture.segments().iter().map(|(_, frame)| *frame).collect();
    assert_eq!(starts, [0, 60, 120, 180, 240, 300, 341, 400]);
}

/// Seen with a publisher that left at the end of a group: its segment was a part too long.
#[test]
fn a_source_that_leaves_at_a_boundary_leaves_a_segment_of_d() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 120, |frame| frame % 60 == 0);
    fixture.segmenter.lose();
    let until = Timestamp::new(fixture.start + 300 * F, Timescale::MPEG);
    fixture.segmenter.fill(until, PATIENCE);
    fixture.drain();
    fixture.check();
    let starts: Vec<_> = fixture.segments().iter().map(|(_, frame)| *frame).collect();
    assert_eq!(starts, [0, 60, 120, 180, 240]);
}

#[test]
fn filler_is_due_when_a_part_ends_and_makes_what_is_due() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 70, |frame| frame % 60 == 0);
    for _ in 0..200 {
        let due = fixture.segmenter.due(PATIENCE).unwrap();
        fixture.segmenter.fill(due, PATIENCE);
        let later = fixture.segmenter.due(PATIENCE).unwrap();
        let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Ceil);
        assert!(nanos(later) > nanos(due), "else the caller would spin");
    }
    fixture.drain();
    fixture.check();
}

/// A process that was stopped for three hours.
#[test]
fn a_long_hole_is_filled_a_few_seconds_at_a_time() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 100, |frame| frame % 60 == 0);
    let now = Timestamp::new(fixture.start + 3 * 3_600 * 30 * F, Timescale::MPEG);
    let mut calls = 0;
    while fixture.segmenter.due(PATIENCE).unwrap().ticks_in(Timescale::MPEG, Rounding::Ceil)
        <= now.ticks
    {
        fixture.segmenter.fill(now, PATIENCE);
        let made: Vec<_> = std::iter::from_fn(|| fixture.segmenter.poll()).collect();
        assert!((1..200).contains(&made.len()), "{} at once", made.len());
        fixture.outputs.extend(made);
        calls += 1;
    }
    assert!((900..2_200).contains(&calls), "{calls} calls");
    assert!(fixture.segmenter.end().unwrap().ticks > now.ticks - 9 * F);
}

#[test]
fn a_run_that_ends_ends_in_both_renditions_at_once() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 100, |frame| frame % 60 == 0);
    fixture.segmenter.lose();
    let end = fixture.start + 283 * F;
    fixture.segmenter.fill_to(Timestamp::new(end, Timescale::MPEG));
    fixture.segmenter.finish();
    fixture.drain();
    fixture.check();
    let last = |rendition: usize| {
        let chunks = fixture.chunks(rendition);
        let last = chunks.last().unwrap();
        (last.k, last.start + i64::from(last.duration))
    };
    assert_eq!(last(PICTURES), (FIRST_K + 4, end));
    let (k, sound) = last(SOUND);
    let cut = rescale(end, Timescale::MPEG, fixture.segmenter.sound_scale(), Rounding::Ceil);
    assert!(k == FIRST_K + 4 && (cut..cut + 1_024).contains(&sound));
    let closed = fixture
        .outputs
        .iter()
        .filter(|o| matches!(o, Output::SegmentClosed { k, .. } if *k == FIRST_K + 4));
    assert_eq!(closed.count(), 2);
}

#[test]
fn a_source_without_key_frames_is_filled_once_and_then_refused() {
    let mut fixture = Fixture::new(60);
    let error = (0..).find_map(|frame| fixture.picture(frame, frame == 0).err());
    assert_eq!(error, Some(Error::NoKeyFrame { seconds: 3 }));
    // The same with a group of pictures that is too long for every segment.
    let mut fixture = Fixture::new(60);
    let error = (0..1_000).find_map(|frame| fixture.picture(frame, frame % 120 == 0).err());
    assert_eq!(error, Some(Error::NoKeyFrame { seconds: 3 }));
}

#[test]
fn one_long_group_of_pictures_costs_filler_and_no_more() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 600, |frame| frame % 60 == 0 && frame != 120 && frame != 180);
    fixture.check();
    let filled: u32 = fixture.chunks(PICTURES).iter().map(|chunk| chunk.filler).sum();
    assert_eq!(filled, 90 * 3_000);
}

#[test]
fn what_an_ended_run_has_promised_is_made_segment_by_segment() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 100, |frame| frame % 60 == 0);
    fixture.segmenter.end_at(Timestamp::new(fixture.start + 150 * F, Timescale::MPEG));
    fixture.drain();
    assert_eq!(fixture.segments(), [(FIRST_K, 0), (FIRST_K + 1, 60), (FIRST_K + 2, 120)]);
    fixture.segmenter.fill_before(FIRST_K + 6);
    fixture.drain();
    fixture.check();
    for rendition in [PICTURES, SOUND] {
        let last = fixture.chunks(rendition).last().unwrap().k;
        assert_eq!(last, FIRST_K + 5);
        let closed = fixture
            .outputs
            .iter()
            .filter(|o| matches!(o, Output::SegmentClosed { rendition: r, .. } if *r == rendition));
        assert_eq!(closed.count(), 6);
    }
}
