//! Stills to search by (DASH-IF IOP §6.2.6): a set of images beside the set of pictures, one a segment, each a
//! tile sheet of a single tile. Its segments have the numbers and times of the pictures' and are announced with
//! them, as the key frames' are, and for the same reason.
//!
//! The property that says what an image is made of is essential: a player that does not know it passes the set
//! over. It stands where the guidelines have it, in the representation, and in the set too, for who looks there.

use dash_mpd_core::{AdaptationSet, EssentialProperty, Representation, SegmentTemplate};

use super::period::{self, IMAGES, Template};
use crate::media::{STILLS, still_bits, still_size, with_stills};

const TILES: &str = "http://dashif.org/guidelines/thumbnail_tile";
/// Columns and rows of a sheet.
const LAYOUT: &str = "1x1";

/// The set of the stills of a Period; `None` where there is no picture.
pub(super) fn set(template: &Template<'_>) -> Option<AdaptationSet> {
    let run = template.run;
    let index = run.renditions.iter().position(|r| r.video().is_some())?;
    let (rendition, video) = with_stills(run.offered())?;
    let size = still_size(video.width, video.height);
    let grid = template.grid;
    let scale = u64::from(grid.video_scale().get());
    let bandwidth = (u64::from(still_bits(size)) * scale).div_ceil(grid.segment_ticks.max(1));
    let tiles = vec![EssentialProperty {
        schemeIdUri: TILES.into(),
        value: Some(LAYOUT.into()),
        ..EssentialProperty::default()
    }];
    Some(AdaptationSet {
        mimeType: Some("image/jpeg".into()),
        Role: Vec::new(),
        essential_property: tiles.clone(),
        SegmentTemplate: Some(SegmentTemplate {
            media: Some(format!("{}{}/$RepresentationID$/$Number$.jpg", template.base, run.id)),
            initialization: None,
            ..template.of(index)
        }),
        representations: vec![Representation {
            id: Some(format!("{}{STILLS}", rendition.name)),
            bandwidth: Some(bandwidth),
            width: Some(size.0.into()),
            height: Some(size.1.into()),
            essential_property: tiles,
            ..Representation::default()
        }],
        ..period::set(IMAGES, "image", run)
    })
}
