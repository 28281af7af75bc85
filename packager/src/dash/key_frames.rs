//! Trick play (DASH-IF IOP §3.2.9): a set of key frames beside the set of pictures, one a segment, which
//! stands until the next. Its segments have the numbers and times of the pictures' and are announced with
//! them, though a key frame is held back until its segment is whole: stock shaka-player takes the least
//! `availabilityTimeOffset` of all sets for that of the presentation, and knows no low latency where a set
//! has none.
//!
//! The property that says what it is for is essential: a player that does not know it passes the set
//! over.

use dash_mpd_core::{AdaptationSet, EssentialProperty, Representation};

use super::KEY_FRAMES;
use super::period::{KEYS, PICTURES, gcd};
use crate::grid::Grid;

const TRICK_MODE: &str = "http://dashif.org/guidelines/trickmode";

/// The set of the key frames of `pictures`.
pub(super) fn set(pictures: &AdaptationSet, grid: &Grid) -> AdaptationSet {
    AdaptationSet {
        id: Some(KEYS.into()),
        essential_property: vec![EssentialProperty {
            schemeIdUri: TRICK_MODE.into(),
            value: Some(PICTURES.into()),
            ..EssentialProperty::default()
        }],
        frameRate: Some(rate(grid)),
        representations: pictures.representations.iter().map(|r| of(r, grid)).collect(),
        Role: Vec::new(),
        ProducerReferenceTime: Vec::new(),
        Resync: Vec::new(),
        InbandEventStream: Vec::new(),
        ..pictures.clone()
    }
}

/// The key frames of a rung. How large they get is the encoder's affair; all that is promised is that
/// they are a part of the whole.
fn of(rung: &Representation, grid: &Grid) -> Representation {
    let name = rung.id.as_deref().unwrap_or_default();
    let frames = grid.segment_ticks / u64::from(grid.rate.frame_ticks()).max(1);
    Representation {
        id: Some(format!("{name}{KEY_FRAMES}")),
        // So fast there are as many pictures a second as the level is for.
        maxPlayoutRate: Some(frames as f64),
        codingDependency: Some(false),
        ..rung.clone()
    }
}

/// Key frames per second: one a segment.
fn rate(grid: &Grid) -> String {
    let (ticks, segment) = (u64::from(grid.video_scale().get()), grid.segment_ticks);
    let divisor = gcd(ticks, segment).max(1);
    match segment / divisor {
        1 => (ticks / divisor).to_string(),
        den => format!("{}/{den}", ticks / divisor),
    }
}
