//! What players are told comes next comes: parts are hinted as those of the open segment.

use proptest::prelude::*;

use super::*;

/// What happens to a source.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A group of so many pictures, with sound so many pictures before them, or behind.
    Group { frames: i64, sound: i64 },
    /// It is away for so long.
    Away(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = (5i64..100, -20i64..40).prop_map(|(frames, sound)| Step::Group { frames, sound });
    // As encoders have it that are told to.
    let regular = (prop::sample::select(vec![15, 30, 60]), -2i64..3)
        .prop_map(|(frames, sound)| Step::Group { frames, sound });
    let away = (20i64..200).prop_map(Step::Away);
    prop::collection::vec(prop_oneof![4 => group, 4 => regular, 1 => away], 1..30)
}

proptest! {
    /// Whatever a source's key frames, and wherever its breaks are: a splice that is known in time, a
    /// source that is lost, one that comes back, and another run that takes over, break no hint.
    #[test]
    fn no_part_is_hinted_that_does_not_come(
        steps in steps(), part in prop::sample::select(vec![200u64, 300, 333, 500, 1_000]),
        splices in prop::collection::btree_set(30i64..1_500, 0..4),
        late in -F / 2..3 * F,
    ) {
        let (rate, gop, d) = (FrameRate::new(30, 1), 60 * 3_000, Span::millis(2_000));
        let mut fixture = Fixture::on(Grid::of_source(rate, 48_000, gop, d, Span::millis(part)));
        let start = fixture.start;
        fixture.segmenter.follow(&Splices::restore(splices.iter().map(|at| start + at * F)));
        let mut at = 0;
        let begin = Step::Group { frames: 60, sound: 0 };
        for step in std::iter::once(begin).chain(steps) {
            match step {
                Step::Group { frames, sound: lead } => {
                    for frame in at..at + frames {
                        fixture.sound_before(frame + lead);
                        if fixture.picture(frame, frame == at).is_err() {
                            return Ok(());
                        }
                    }
                    at += frames;
                }
                Step::Away(frames) => {
                    fixture.segmenter.lose();
                    for frame in at..at + frames {
                        let now = Timestamp::new(fixture.start + frame * F, Timescale::MPEG);
                        fixture.segmenter.fill(now, PATIENCE);
                        fixture.drain();
                    }
                    at += frames;
                }
            }
        }
        // Another source's run takes over, about where this one's has got to.
        fixture.segmenter.expect();
        if let Some(end) = fixture.segmenter.end() {
            let at = Timestamp::new(end.ticks + late, end.scale);
            fixture.segmenter.end_at(fixture.segmenter.seam(at));
            fixture.drain();
        }
        for rendition in [PICTURES, SOUND] {
            prop_assert_eq!(fixture.broken_hints(rendition), [], "of {}", rendition);
        }
    }
}
