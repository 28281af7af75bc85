//! Cuts at the key frames nearest to splices.

use super::*;

/// Cuts that were made for splices: the splice and the cut in frames, and the number of the segment.
fn spliced(fixture: &Fixture) -> Vec<(i64, u64, i64)> {
    let cuts = fixture.outputs.iter().filter_map(|output| match output {
        Output::Spliced { splice, k, at } => {
            Some(((splice - fixture.start) / F, *k - FIRST_K, (at - fixture.start) / F))
        }
        _ => None,
    });
    cuts.collect()
}

#[test]
fn a_splice_is_cut_at_the_key_frame_nearest_to_it() {
    // A key frame every half second, segments of four groups.
    for (splice, cut) in [(135, 135), (127, 120), (128, 135), (149, 150), (100, 105), (90, 90)] {
        let mut fixture = Fixture::new(60);
        fixture.segmenter.follow(&Splices::restore([fixture.start + splice * F]));
        fixture.play(0, 400, |frame| frame % 15 == 0);
        fixture.check();
        let k = if cut < 90 { 1 } else { 2 };
        assert_eq!(spliced(&fixture), [(splice, k, cut)], "{splice}");
        // Numbers don't shift, and the boundaries behind it are where they were.
        let mut expected: Vec<_> = (0..6).map(|k| (FIRST_K + k, k as i64 * 60)).collect();
        expected[k as usize].1 = cut;
        assert_eq!(fixture.segments()[..6], expected[..], "{splice}");
        assert_eq!(fixture.shifts(), [], "no drift");
    }
}

#[test]
fn a_splice_that_comes_late_is_met_by_the_next_cut() {
    let mut fixture = Fixture::new(60);
    fixture.play(0, 70, |frame| frame % 60 == 0);
    fixture.segmenter.follow(&Splices::restore([fixture.start + 70 * F]));
    fixture.play(70, 250, |frame| frame % 60 == 0);
    fixture.check();
    assert_eq!(spliced(&fixture), [(70, 2, 120)]);
    assert_eq!(fixture.segments().len(), 5);
}

#[test]
fn two_splices_near_one_key_frame_share_its_cut() {
    let mut fixture = Fixture::new(60);
    let both = [fixture.start + 118 * F, fixture.start + 125 * F];
    fixture.segmenter.follow(&Splices::restore(both));
    fixture.play(0, 250, |frame| frame % 60 == 0);
    assert_eq!(spliced(&fixture), [(118, 2, 120), (125, 2, 120)]);
}

/// Times of a source are steered by some ticks: a key frame in the middle between two boundaries is as far
/// from the one before it as it can be.
#[test]
fn a_splice_in_the_middle_of_a_segment_is_cut_at_the_key_frame_beside_it() {
    let mut fixture = Fixture::new(60);
    let splice = fixture.start + 213 * F;
    fixture.segmenter.follow(&Splices::restore([splice]));
    let mut dts = fixture.start;
    for frame in 0..300 {
        // A tick less each of ten pictures after the cut at 180.
        let duration = if (180..190).contains(&frame) { 2_999 } else { 3_000 };
        let data = Bytes::from_static(b"\0\0\0\x01\x65");
        let sample = Sample { dts, pts: dts, duration, sync: frame % 15 == 0, data };
        fixture.segmenter.push(PICTURES, sample).unwrap();
        fixture.drain();
        dts += i64::from(duration);
    }
    let cut = fixture.outputs.iter().find_map(|output| match output {
        Output::Spliced { at, .. } => Some((at - splice) / F),
        _ => None,
    });
    assert_eq!(cut, Some(-3), "frames from the splice");
}
