//! The invariants themselves, as functions of what was seen.

use super::{Broken, Seen, Track};
use crate::reader::Object;
use crate::reader::dash::Manifest;
use crate::reader::hls::Playlist;

/// Dates are printed to the millisecond at least.
const DATE_TOLERANCE_NS: i64 = 1_000_000;

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
    // Nothing comes to an ended list, so that it says nothing of how it would come.
    let same_tags = before.constant_tags == after.constant_tags || after.ended;
    if before.target != after.target || !same_tags {
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

/// What holds within one media playlist: I4, I10, and I7 where nothing may be missing.
pub(super) fn playlist(list: &Playlist, gaps_allowed: bool) -> Vec<Broken> {
    let mut broken = Vec::new();
    for object in &list.objects {
        if object.duration.round() > list.target as f64 {
            broken.push((
                "I4",
                format!("segment {}: EXTINF {} above target", object.k, object.duration),
            ));
        }
        if object.gap && !gaps_allowed {
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

/// The longest frame of any rendition, in nanoseconds: what times that are counted in frames may
/// differ by.
pub(super) fn longest_frame_ns(tracks: &[Track]) -> i64 {
    let frames = tracks.iter().filter_map(|t| t.segments.values().next()).map(Seen::frame_ns);
    frames.max().unwrap_or(0)
}

/// What holds over all that a rendition has listed: I7, everything before a segment, missing or not,
/// adds up to where its date says it stands. `due_ns` is where the next one is due. A run begins with the
/// audio frame that contains its first picture, and the run before it ends with one that contains where its
/// pictures end: by both each seam may be off, and from there on is counted anew.
pub(super) fn account(due_ns: &mut Option<i64>, object: &Object, frame_ns: i64) -> Vec<Broken> {
    let mut broken = Vec::new();
    let start = match (object.date_ns, *due_ns) {
        (Some(date), Some(due)) if (date - due).abs() > 2 * frame_ns + DATE_TOLERANCE_NS => {
            let off = date - due;
            broken.push(("I7", format!("segment {}: {off} ns are not accounted for", object.k)));
            // Told once; what follows is counted from here.
            Some(date)
        }
        (date, due) => due.or(date),
    };
    let start = if object.discontinuity { object.date_ns.or(start) } else { start };
    *due_ns = start.map(|start| start + (object.duration * 1e9).round() as i64);
    broken
}

/// What holds for a segment after those before it in its track: I2, I9, I10.
pub(super) fn segment(track: &Track, seen: &Seen) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut expected = seen.start();
    for fragment in &seen.fragments {
        if fragment.tfdt != expected {
            broken.push(("I9", format!("tfdt {} in a segment, not {expected}", fragment.tfdt)));
        }
        expected = fragment.end();
    }
    let first = seen.fragments.first().and_then(|f| f.samples.first());
    if !track.rendition.audio && !first.is_some_and(|s| s.sync) {
        broken.push(("I9", "its first sample is no sync sample".to_owned()));
    }
    // Media times are counted since the epoch, so a date is a decode time.
    let off = seen.object.date_ns.map_or(0, |date| date - seen.start_ns());
    if off.abs() > DATE_TOLERANCE_NS {
        broken.push(("HP-10", format!("its date is {off} ns from its decode time")));
    }
    let off = (seen.object.duration * 1e9) as i64 - (seen.nanos(seen.end()) - seen.start_ns());
    if off.abs() > DATE_TOLERANCE_NS {
        broken.push(("I10", format!("EXTINF is {off} ns from its media")));
    }
    let Some(before) = track.segments.values().next_back() else { return broken };
    let known = |k: &u64| track.gaps.contains_key(k) || track.missing.contains(k);
    let between = before.object.k + 1..seen.object.k;
    if seen.object.k <= before.object.k || !between.clone().all(|k| known(&k)) {
        broken.push(("I2", format!("after segment {}", before.object.k)));
    }
    let follows = between.is_empty() && seen.discontinuity == before.discontinuity;
    if follows && seen.start() != before.end() {
        let (end, start) = (before.end(), seen.start());
        broken.push(("I9", format!("starts at {start}, the one before ends at {end}")));
    }
    broken
}

/// What holds between renditions: I8 (numbers, discontinuities and times agree), I11 (after a
/// discontinuity sound and picture begin together).
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
                let off = (b - seen.start_ns()) - (a - same.start_ns());
                if off.abs() > DATE_TOLERANCE_NS {
                    let text = format!("dates of {names:?} are {off} ns off each other");
                    broken.push(("I8", format!("segment {k}: {text}")));
                }
            }
            if !other.rendition.audio {
                continue;
            }
            // Sound may begin up to one of its frames after the picture; at the start of a run it
            // begins with the frame that contains the start.
            let (late, frame) = (seen.start_ns() - same.start_ns(), seen.frame_ns());
            let text = format!("segment {k}: sound begins {late} ns after the picture");
            let before = k.checked_sub(1).and_then(|before| other.segments.get(&before));
            let begins = before.is_none_or(|before| before.discontinuity != seen.discontinuity);
            if begins && late.abs() > frame + DATE_TOLERANCE_NS {
                broken.push(("I11", text));
            } else if !begins && !(-DATE_TOLERANCE_NS..=frame + DATE_TOLERANCE_NS).contains(&late) {
                broken.push(("I8", text));
            }
        }
    }
    broken
}

/// What holds between an MPD and the playlists: I12 (same objects under the same addresses).
pub(super) fn manifest(tracks: &[Track], manifest: &Manifest, now_ns: i64) -> Vec<Broken> {
    let mut broken = Vec::new();
    // What some rendition does not list yet has no Period yet either.
    let Some(last) = tracks.iter().map(|t| t.segments.keys().next_back()).min().flatten() else {
        return broken;
    };
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
                let Some(seen) = track.segments.get(&k).filter(|_| k <= *last) else { continue };
                if (&seen.object.url, &seen.object.init) != (&implied.url, &implied.init) {
                    let text = format!("HLS {} and DASH {}", seen.object.url, implied.url);
                    broken.push(("I12", text));
                }
                let told = implied.date_ns.filter(|_| representation.named.is_some());
                if told.is_some_and(|told| (told - seen.start_ns()).abs() > DATE_TOLERANCE_NS) {
                    let (url, at) = (&implied.url, seen.start_ns());
                    let text = format!("{url}: by the MPD at {told:?}, it begins at {at}");
                    broken.push(("I12", text));
                }
            }
        }
    }
    broken
}
