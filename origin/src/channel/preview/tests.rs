//! What viewers are shown, and when a track changes.

use packager::media::{VideoCodec, VideoConfig};

use super::*;

fn config(width: u16) -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1]),
        codec_string: String::new(),
        width,
        height: 96,
        rate: None,
    }
}

fn source(preview: &Preview, ms: i64, sync: bool) {
    decoded_at(preview, ms, ms, sync);
}

fn decoded_at(preview: &Preview, dts: i64, pts: i64, sync: bool) {
    let [dts, pts] = [dts, pts].map(|ms| Timestamp::new(ms, Timescale::MILLIS));
    let received = std::time::Instant::now();
    let sample = SourceSample { dts, pts, sync, data: Bytes::from_static(b"p"), received };
    preview.passed(&Unit::Video(sample));
}

fn times(pictures: &[Arc<Picture>]) -> Vec<i64> {
    pictures.iter().map(|picture| picture.pts / 1_000_000).collect()
}

#[test]
fn a_viewer_begins_with_the_newest_key_frame_and_misses_nothing_behind_it() {
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(config(128).into()));
    for (ms, sync) in [(0, true), (40, false), (80, true), (120, false)] {
        source(&preview, ms, sync);
    }
    let track = Arc::clone(&preview.tracks().borrow()[0]);
    let mut joined = track.join();
    assert_eq!(times(&joined.group), [80, 120]);
    assert!(joined.group[0].key.is_some() && joined.group[1].key.is_none());
    source(&preview, 160, false);
    assert_eq!(times(&[joined.feed.try_recv().unwrap()]), [160]);
    assert_eq!(times(&track.group()), [80, 120, 160]);
}

#[test]
fn a_group_without_end_is_not_kept() {
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(config(128).into()));
    for ms in 0..1_000 {
        source(&preview, ms, ms == 0);
    }
    let track = Arc::clone(&preview.tracks().borrow()[0]);
    assert!(track.group().is_empty());
    source(&preview, 1_000, true);
    assert_eq!(times(&track.group()), [1_000]);
}

#[test]
fn pictures_out_of_order_are_noticed() {
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(config(128).into()));
    let track = Arc::clone(&preview.tracks().borrow()[0]);
    for (ms, sync) in [(0, true), (40, false), (80, true)] {
        source(&preview, ms, sync);
    }
    assert!(track.is_showable() && !*preview.unshowable.borrow());
    decoded_at(&preview, 100, 160, false);
    decoded_at(&preview, 120, 120, false);
    assert!(!track.is_showable() && *preview.unshowable.borrow());
}

#[test]
fn a_clock_that_jumps_back_is_no_other_order() {
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(config(128).into()));
    for (ms, sync) in [(90_000, true), (90_040, false), (0, false), (40, false)] {
        source(&preview, ms, sync);
    }
    assert!(preview.tracks().borrow()[0].is_showable());
}

#[test]
fn the_same_configuration_again_is_the_same_track_and_another_ends_it() {
    let preview = Preview::default();
    preview.passed(&Unit::VideoConfig(config(128).into()));
    let mut tracks = preview.tracks();
    let mut feed = tracks.borrow_and_update()[0].join().feed;
    preview.passed(&Unit::VideoConfig(config(128).into()));
    source(&preview, 0, true);
    assert!(feed.try_recv().is_ok() && !tracks.has_changed().unwrap());
    preview.passed(&Unit::VideoConfig(config(256).into()));
    assert!(tracks.has_changed().unwrap());
}

/// Seen where a preview was watched that the machine could not make any more: it stood for half a minute.
#[test]
fn a_rung_that_is_off_can_not_be_watched_before_it_is_back_with_a_key_frame() {
    let preview = Preview::default();
    preview.show(vec![Track::new("720p".to_owned(), config(128), None)]);
    let (mut tracks, scale) = (preview.tracks(), Timescale::MILLIS);
    let track = Arc::clone(&tracks.borrow_and_update()[0]);
    let picture = |dts, sync| {
        let data = Bytes::from_static(b"p");
        preview.encoded(0, scale, &Sample { dts, pts: dts, duration: 40, sync, data });
    };
    picture(0, true);
    preview.switched_off(0, Timestamp::new(2_000, scale));
    assert!(tracks.has_changed().unwrap() && !track.is_watchable() && track.is_showable());
    tracks.mark_unchanged();
    // What it was before it went is no place to begin at.
    picture(1_960, true);
    assert!(track.group().is_empty() && !track.is_watchable());
    picture(4_000, true);
    assert!(tracks.has_changed().unwrap() && track.is_watchable());
    assert_eq!(times(&track.group()), [4_000]);
}

#[test]
fn viewers_are_counted_while_they_watch() {
    let preview = Arc::new(Preview::default());
    let watching = [preview.watch(), preview.watch()];
    assert_eq!(preview.viewers(), 2);
    drop(watching);
    assert_eq!(preview.viewers(), 0);
}
