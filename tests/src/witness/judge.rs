//! The invariants themselves, as functions of what was seen.

use super::{Seen, Track};
use crate::reader::dash::Manifest;
use crate::reader::hls::Playlist;

/// Dates are printed to the millisecond at least.
const DATE_TOLERANCE_NS: i64 = 1_000_000;

/// An invariant and how it was broken.
type Broken = (&'static str, String);

/// What may change between two reads of a media playlist: I2, I3, I4.
pub(super) fn change(before: &Playlist, after: &Playlist) -> Vec<Broken> {
    let mut broken = Vec::new();
    if after.sequence < before.sequence {
        broken.push((
            "I2",
            format!("EXT-X-MEDIA-SEQUENCE {} -> {}", before.sequence, after.sequence),
        ));
    }
    let (from, to) = (before.discontinuity_sequence, after.discontinuity_sequence);
    if to < from {
        broken.push(("I2", format!("EXT-X-DISCONTINUITY-SEQUENCE {from} -> {to}")));
    }
    if (before.target, &before.constant_tags) != (after.target, &after.constant_tags) {
        let text = format!(
            "constants {} {:?} -> {} {:?}",
            before.target, before.constant_tags, after.target, after.constant_tags
        );
        broken.push(("I4", text));
    }
    // What is in both windows stands there unchanged, and nothing but the head is gone.
    let kept = before.objects.iter().filter(|o| o.k >= after.sequence);
    let mut same = after.objects.iter();
    for old in kept {
        match same.next() {
            // The discontinuity tag of a list's first entry may move into the sequence number.
            Some(new) if new.url == old.url && new.k == old.k && new.duration == old.duration => {}
            Some(new) => {
                broken.push(("I3", format!("{} {} -> {} {}", old.k, old.url, new.k, new.url)))
            }
            None => broken.push(("I3", format!("{} {} is gone", old.k, old.url))),
        }
    }
    broken
}

/// What holds within one media playlist: I4, I10.
pub(super) fn playlist(list: &Playlist) -> Vec<Broken> {
    let mut broken = Vec::new();
    for object in &list.objects {
        if object.duration.round() > list.target as f64 {
            broken.push((
                "I4",
                format!("segment {}: EXTINF {} above target", object.k, object.duration),
            ));
        }
        if object.gap {
            broken.push(("I7", format!("segment {} is a gap", object.k)));
        }
    }
    for (before, after) in list.objects.iter().zip(list.objects.iter().skip(1)) {
        let (Some(from), Some(to)) = (before.date_ns, after.date_ns) else { continue };
        let expected = from + (before.duration * 1e9) as i64;
        if !after.discontinuity && expected.abs_diff(to) > DATE_TOLERANCE_NS.unsigned_abs() {
            let text = format!("segment {}: date is {} ns off", after.k, to - expected);
            broken.push(("I10", text));
        }
    }
    broken
}

/// What holds for a segment after the one before it: I8 (its date is its decode time), I9.
pub(super) fn segment(
    before: Option<&Seen>,
    seen: &Seen,
    timescale: u32,
    audio: bool,
) -> Vec<Broken> {
    let mut broken = Vec::new();
    let nanos = |ticks: u64| (u128::from(ticks) * 1_000_000_000 / u128::from(timescale)) as i64;
    let mut expected = seen.start();
    for fragment in &seen.fragments {
        if fragment.tfdt != expected {
            broken.push(("I9", format!("tfdt {} in a segment, not {expected}", fragment.tfdt)));
        }
        expected = fragment.end();
    }
    let first = seen.fragments.first().and_then(|f| f.samples.first());
    if !audio && !first.is_some_and(|s| s.sync) {
        broken.push(("I9", "its first sample is no sync sample".to_owned()));
    }
    if let Some(date) = seen.object.date_ns {
        let off = date - nanos(seen.start());
        if off.abs() > DATE_TOLERANCE_NS {
            broken.push(("I8", format!("its date is {off} ns from its decode time")));
        }
    }
    let length = nanos(seen.end()) - nanos(seen.start());
    let off = (seen.object.duration * 1e9) as i64 - length;
    if off.abs() > DATE_TOLERANCE_NS {
        broken.push(("I10", format!("EXTINF is {off} ns from its media")));
    }
    if let Some(before) = before {
        if seen.object.k != before.object.k + 1 {
            broken.push(("I2", format!("after segment {}", before.object.k)));
        }
        if seen.discontinuity == before.discontinuity && seen.start() != before.end() {
            let (end, start) = (before.end(), seen.start());
            broken.push(("I9", format!("starts at {start}, the one before ends at {end}")));
        }
    }
    broken
}

/// What holds between renditions: I8 (numbers, discontinuities and times agree).
pub(super) fn agreement(tracks: &[Track]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let Some((first, others)) = tracks.split_first() else { return broken };
    for other in others {
        for (k, seen) in other.segments.iter().rev().take(3) {
            let Some(same) = first.segments.get(k) else { continue };
            let names = (&first.rendition.name, &other.rendition.name);
            if same.discontinuity != seen.discontinuity {
                broken.push(("I8", format!("segment {k}: discontinuity of {names:?} differs")));
            }
            if !other.rendition.audio && same.start() != seen.start() {
                broken.push(("I8", format!("segment {k}: start of {names:?} differs")));
            }
            if let (Some(a), Some(b)) = (same.object.date_ns, seen.object.date_ns) {
                // Sound may begin up to one AAC frame of 1024 samples after the picture.
                let most = if other.rendition.audio { 1024 * 1_000_000_000 / 44_100 } else { 0 };
                if !(-DATE_TOLERANCE_NS..=most + DATE_TOLERANCE_NS).contains(&(b - a)) {
                    broken.push((
                        "I8",
                        format!("segment {k}: dates of {names:?} are {} ns apart", b - a),
                    ));
                }
            }
        }
    }
    broken
}

/// What holds between an MPD and the playlists: I12 (same objects under the same addresses).
pub(super) fn manifest(tracks: &[Track], manifest: &Manifest, now_ns: i64) -> Vec<Broken> {
    let mut broken = Vec::new();
    for track in tracks {
        let of_track: Vec<_> =
            manifest.representations.iter().filter(|r| r.id == track.rendition.name).collect();
        if of_track.is_empty() {
            broken.push(("I12", format!("no Representation {}", track.rendition.name)));
            continue;
        }
        for representation in of_track {
            for k in representation.available(manifest, now_ns) {
                let implied = representation.object(k);
                let Some(seen) = track.segments.get(&k) else { continue };
                if (&seen.object.url, &seen.object.init) != (&implied.url, &implied.init) {
                    let text = format!("HLS {} and DASH {}", seen.object.url, implied.url);
                    broken.push(("I12", text));
                }
            }
        }
    }
    broken
}
