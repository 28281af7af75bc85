//! What is shown and heard when a source, or one of its tracks, stops.

use super::*;

/// How long the last picture stands, in frames of 30 fps.
const STANDS: usize = 150;

/// Frames by which the picture of a source that is back may come after its sound: it is decoded, and
/// the machine may be busy.
const PICTURE_AFTER_SOUND: usize = 15;

fn is_sound(unit: &Unit) -> bool {
    matches!(unit, Unit::Audio(_) | Unit::AudioConfig(_))
}

/// Luma of the pictures of a rung.
fn pictures(made: &Made, index: usize) -> Vec<Vec<u8>> {
    fixture::pictures(made.renditions[index].video().unwrap(), &made.samples[index])
}

/// Where the slate stands: the longest stretch of pictures without a mark.
fn slate(marks: &[Option<i64>]) -> std::ops::Range<usize> {
    let from = marks.iter().position(Option::is_none).expect("a slate");
    let length = marks[from..].iter().take_while(|mark| mark.is_none()).count();
    from..from + length
}

/// The last picture before `at` has stood for as long as it should; a busy machine shows some late.
fn assert_stood(marks: &[Option<i64>], at: usize) {
    let last = marks[at - 1];
    let stood = marks[..at].iter().rev().take_while(|mark| **mark == last).count();
    assert!((STANDS - 5..=STANDS + 5).contains(&stood), "the last picture stands {stood} frames");
}

/// Whether the sound is silent while the frames of a range are shown.
fn is_silent(made: &Made, frames: std::ops::Range<usize>) -> bool {
    let sound = fixture::sound(&made.samples[made.samples.len() - 1]);
    let part = &sound[frames.start * 1_600..(frames.end * 1_600).min(sound.len())];
    assert!(!part.is_empty());
    part.iter().all(|sample| sample.abs() < 0.001)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_source_is_its_last_picture_then_the_channels_name_and_back_at_its_first_idr() {
    let first = fixture::source(Recipe { seconds: 2, ..SMALL });
    let second = fixture::source(Recipe {
        seconds: 2,
        zero: ZERO + 100_000,
        width: 256,
        height: 144,
        ..SMALL
    });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let mut gathering = gather(outputs, grid);
    play(&mut input, &first, 0).await;
    input.source_lost();
    gathering.until(|(_, stats)| stats.slated > 40).await;
    play(&mut input, &second, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    for index in [0, 1] {
        let marks = marks(&made, index);
        let slate = slate(&marks);
        assert_stood(&marks, slate.start);
        assert!(slate.len() > 40, "{slate:?}");
        assert_eq!(marks[slate.end], Some(100_000), "back with the first picture there is");
        let config = made.renditions[index].video().unwrap();
        let (w, h) = (usize::from(config.width), usize::from(config.height));
        let picture = &pictures(&made, index)[slate.end - 1];
        let bright = |rows: std::ops::Range<usize>| {
            picture[rows.start * w..rows.end * w].iter().filter(|luma| **luma > 120).count()
        };
        assert!(bright(h / 3..h * 2 / 3) > 20, "a name in the middle");
        assert_eq!(bright(0..h / 3) + bright(h * 2 / 3..h), 0, "and a dark ground");
        assert!(is_silent(&made, slate.start..slate.end - PICTURE_AFTER_SOUND));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_source_is_its_last_picture_for_as_long_as_the_operator_wishes() {
    let source = fixture::source(Recipe { seconds: 2, ..SMALL });
    let begin = (false, None, SLATE_AFTER * 10);
    let Ladder { mut input, outputs, grid, .. } =
        start_with(fixture::worker(), &["96p"], (320, 180), FrameRate::new(30, 1), begin);
    let mut gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    input.source_lost();
    gathering.more(STANDS + 30).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let last = *marks.last().expect("pictures");
    let stood = marks.iter().rev().take_while(|mark| **mark == last).count();
    assert!(last.is_some() && stood > STANDS, "{last:?} stands {stood} frames");
    assert_eq!(made.stats.slated, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_goes_on_over_the_operators_image_when_the_picture_is_lost() {
    let mut source = fixture::source(Recipe { seconds: 9, ..SMALL });
    source.retain(|timed| is_sound(&timed.unit) || timed.at.as_millis() < 1_500);
    let image = Some(fixture::png());
    let begin = (false, image, SLATE_AFTER);
    let Ladder { mut input, outputs, grid, .. } =
        start_with(fixture::worker(), &["96p"], (320, 180), FrameRate::new(30, 1), begin);
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let slate = slate(&marks);
    assert_stood(&marks, slate.start);
    let picture = &pictures(&made, 0)[slate.end - 1];
    let width = usize::from(made.renditions[0].video().unwrap().width);
    // Read in full range.
    for (n, luma) in picture.iter().enumerate() {
        let expected = match n % width {
            x if x < width / 2 - 4 => 255,
            x if x > width / 2 + 4 => 0,
            _ => continue,
        };
        assert!(luma.abs_diff(expected) < 14, "{luma} and not {expected} at {n}");
    }
    assert!(!is_silent(&made, slate), "the sound goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_goes_on_in_silence_when_the_sound_is_lost() {
    let mut source = fixture::source(Recipe { seconds: 6, ..SMALL });
    source.retain(|timed| !is_sound(&timed.unit) || timed.at.as_millis() < 2_500);
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let lost = marks.iter().position(|mark| *mark == Some(3_000)).expect("the picture goes on");
    let end = marks.iter().position(|mark| *mark == Some(5_000)).expect("the picture goes on");
    assert!(is_silent(&made, lost..end));
    assert!(!is_silent(&made, lost - 60..lost), "there was sound before");
    assert_eq!(made.stats.slated, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_goes_on_without_a_source_shows_the_slate() {
    let Ladder { mut input, outputs, grid, .. } =
        start_again(&["96p"], (320, 180), FrameRate::new(30, 1));
    let mut gathering = gather(outputs, grid);
    input.source_lost();
    gathering.more(60).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert!(marks(&made, 0).iter().all(Option::is_none));
}
