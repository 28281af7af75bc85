use packager::grid::Grid;
use packager::time::{FrameRate, Span};
use packager::timeline::{Format, Timeline};

use super::*;

fn timeline() -> Timeline {
    let wish = Span::millis(2_000);
    let grid = Grid::choose(FrameRate::new(30, 1), 48_000, wish, Span::millis(300));
    let format = Format { grid, window: Span::millis(10_000), publish_delay: Span::millis(150) };
    Timeline::new(Arc::new(format), Vec::new().into(), None)
}

#[test]
fn a_text_is_rendered_once_per_snapshot_and_shared() {
    let (renders, options) = (Renders::default(), Options::default());
    let mut timeline = timeline();
    let snapshot = timeline.snapshot();
    let first = renders.text(Resource::Multivariant, &snapshot, &options);
    let again = renders.text(Resource::Multivariant, &snapshot, &options);
    assert!(Arc::ptr_eq(&first, &again));
    let next = renders.text(Resource::Multivariant, &timeline.snapshot(), &options);
    assert!(!Arc::ptr_eq(&first, &next));
}

#[test]
fn a_new_presentation_with_an_old_version_number_is_rendered_anew() {
    let (renders, options) = (Renders::default(), Options::default());
    let (old, new) = (timeline().snapshot(), timeline().snapshot());
    assert_eq!(old.version, new.version);
    let first = renders.text(Resource::Manifest, &old, &options);
    let next = renders.text(Resource::Manifest, &new, &options);
    assert!(!Arc::ptr_eq(&first, &next));
}

#[test]
fn resources_do_not_share_a_slot() {
    let (renders, options) = (Renders::default(), Options::default());
    let snapshot = timeline().snapshot();
    let playlist = renders.text(Resource::Multivariant, &snapshot, &options).encoded(false);
    let manifest = renders.text(Resource::Manifest, &snapshot, &options).encoded(false);
    assert!(playlist.bytes.starts_with(b"#EXTM3U"));
    assert!(manifest.bytes.starts_with(b"<?xml") || manifest.bytes.starts_with(b"<MPD"));
}
