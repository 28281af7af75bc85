//! Sound beside pictures that begin, stop and are late.

use super::*;

#[test]
fn a_mute_source_has_silence_as_long_as_its_pictures() {
    let mut fixture = Fixture::new(60);
    fixture.segmenter.held.mute = true;
    for frame in 0..300 {
        fixture.picture(frame, frame % 60 == 0).unwrap();
    }
    fixture.check();
    let sound = fixture.chunks(SOUND);
    let end = sound.last().map(|chunk| chunk.start + i64::from(chunk.duration)).unwrap();
    let pictures = rescale(
        fixture.start + 300 * F,
        Timescale::MPEG,
        Timescale::new(48_000).unwrap(),
        Rounding::Ceil,
    );
    assert!(pictures - end <= 15 * 1_024, "at most one part behind");
}

/// Seen with shaka-player: where a Period began up to a frame before its sound, it waited.
#[test]
fn the_sound_of_a_run_begins_with_the_frame_that_contains_its_start() {
    for early in [0, 1, 500, 1_023] {
        let mut fixture = Fixture::new(60);
        let start = fixture.segmenter.held.start;
        for n in 0..3 {
            let dts = start - early + (n - 1) * 1_024;
            let data = Bytes::from_static(b"a");
            let sample = Sample { dts, pts: dts, duration: 1_024, sync: true, data };
            fixture.segmenter.push(SOUND, sample).unwrap();
        }
        fixture.play(0, 61, |frame| frame % 60 == 0);
        assert_eq!(fixture.chunks(SOUND)[0].start, start - early);
        fixture.check();
    }
}

/// Seen with 29.97 fps: the first frame of sound was stretched over what silence left open.
#[test]
fn sound_that_begins_late_has_whole_frames_of_silence_before_it() {
    let mut fixture = Fixture::new(60);
    let first = fixture.segmenter.held.start + 5_000;
    let sample = Sample {
        dts: first,
        pts: first,
        duration: 1_024,
        sync: true,
        data: Bytes::from_static(b"a"),
    };
    fixture.segmenter.push(SOUND, sample).unwrap();
    fixture.play(0, 61, |frame| frame % 60 == 0);
    let sound = fixture.chunks(SOUND)[0];
    assert_eq!(sound.start, first - 5 * 1_024);
    assert_eq!(sound.duration % 1_024, 0);
    fixture.check();
}

/// A frame of sound at `dts`.
fn sound(dts: i64) -> Sample {
    Sample { dts, pts: dts, duration: 1_024, sync: true, data: Bytes::from_static(b"a") }
}

/// Seen on a slow machine: an encoder that begins three segments back has made the sound of all of them
/// before its pictures. What was too much to be held left holes that were no whole frames.
#[test]
fn sound_that_is_three_segments_ahead_of_its_pictures_is_kept_whole() {
    let mut fixture = Fixture::new(60);
    let first = fixture.segmenter.held.start;
    for n in 0..500 {
        fixture.segmenter.push(SOUND, sound(first + n * 1_024)).unwrap();
    }
    for frame in 0..300 {
        fixture.picture(frame, frame % 60 == 0).unwrap();
    }
    fixture.check();
    let chunks = fixture.chunks(SOUND);
    assert!(chunks.iter().all(|chunk| chunk.filler == 0 && chunk.duration % 1_024 == 0));
    assert!(chunks.last().unwrap().k >= FIRST_K + 4);
}

/// What is too much to be held, or too far away, is left out in whole frames.
#[test]
fn sound_that_no_picture_follows_is_bounded_and_goes_on_in_whole_frames() {
    let mut fixture = Fixture::new(60);
    let first = fixture.segmenter.held.start;
    let push = |fixture: &mut Fixture, n: i64| {
        fixture.segmenter.push(SOUND, sound(first + n * 1_024)).unwrap();
        assert!(fixture.segmenter.held.samples.len() <= 2_048);
    };
    (0..10_000).for_each(|n| push(&mut fixture, n));
    // Ten seconds of pictures make room for as much sound, which is not enough for what is missing.
    fixture.play(0, 300, |frame| frame % 60 == 0);
    push(&mut fixture, 4_000);
    for frame in 300..1_800 {
        fixture.picture(frame, frame % 60 == 0).unwrap();
    }
    (2_900..3_000).for_each(|n| push(&mut fixture, n));
    fixture.play(1_800, 2_400, |frame| frame % 60 == 0);
    fixture.check();
    assert!(fixture.chunks(SOUND).iter().all(|chunk| chunk.duration % 1_024 == 0));
}

/// Filler has begun a run's sound before its own was there, which is on another grid.
#[test]
fn sound_on_another_grid_than_the_silence_before_it_begins_no_segment_late() {
    for off in [1, 300, 768, 769, 900, 1_023] {
        let mut fixture = Fixture::new(60);
        let start = fixture.segmenter.held.start;
        fixture.picture(0, true).unwrap();
        // 93.75 frames to the first cut.
        fixture.segmenter.fill_sound(start + 93 * 1_024);
        for n in 0..200 {
            let dts = start + 93 * 1_024 + off + n * 1_024;
            fixture.segmenter.push(SOUND, sound(dts)).unwrap();
        }
        for frame in 1..300 {
            fixture.picture(frame, frame % 60 == 0).unwrap();
        }
        fixture.check();
    }
}
