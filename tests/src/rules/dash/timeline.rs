//! Segments that a manifest names one by one (`SegmentTimeline`): rows DM-07, DM-08, DM-09.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::manifest::{children, descendants, duration, id};
use crate::rules::{Findings, date_nanos};

/// A segment as an `S` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    number: u64,
    /// Start and length in ticks.
    time: u64,
    length: u64,
}

fn number(node: Node<'_, '_>, name: &str) -> Option<u64> {
    node.attribute(name)?.parse().ok()
}

/// The segments of a template, each repetition for itself; `None` if it has no timeline.
fn segments(template: Node<'_, '_>) -> Option<Vec<Named>> {
    let timeline = children(template, "SegmentTimeline").next()?;
    let mut all = Vec::new();
    let (mut k, mut next) = (number(template, "startNumber").unwrap_or(1), 0);
    for s in children(timeline, "S") {
        let (time, length) = (number(s, "t").unwrap_or(next), number(s, "d").unwrap_or(0));
        for again in 0..=number(s, "r").unwrap_or(0) {
            all.push(Named { number: k, time: time + again * length, length });
            k += 1;
        }
        next = all.last().map_or(0, |last: &Named| last.time + last.length);
    }
    Some(all)
}

/// DM-08: they follow each other without a gap and without an overlap.
pub(super) fn dm_08(template: Node<'_, '_>, findings: &mut Findings) {
    let all = segments(template).unwrap_or_default();
    for pair in all.windows(2) {
        let (end, start) = (pair[0].time + pair[0].length, pair[1].time);
        findings.expect("DM-08", end == start, || {
            format!("segment {} ends at {end}, the next one begins at {start}", pair[0].number)
        });
    }
    for empty in all.iter().filter(|segment| segment.length == 0) {
        findings.add("DM-08", format!("segment {} has no length", empty.number));
    }
}

/// What names the segments of each set: by ids of Period and set, the template.
fn templates<'a>(mpd: Node<'a, 'a>) -> BTreeMap<(String, String), Node<'a, 'a>> {
    let mut all = BTreeMap::new();
    for period in children(mpd, "Period") {
        for set in children(period, "AdaptationSet") {
            if let Some(template) = descendants(set, "SegmentTemplate").next() {
                all.insert((id(period), id(set)), template);
            }
        }
    }
    all
}

/// DM-07: a segment leaves when it is older than the window, and nobody acts on a manifest any more
/// that named it. The later manifest's date is taken for the time; it is never after that.
pub(super) fn dm_07(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    let length = |name| old.attribute(name).and_then(duration).unwrap_or(0);
    let kept_for = length("timeShiftBufferDepth") + length("minimumUpdatePeriod");
    let date = |mpd: Node<'_, '_>, name| mpd.attribute(name).and_then(date_nanos).unwrap_or(0);
    let now = date(new, "publishTime").saturating_sub(date(new, "availabilityStartTime"));
    let after = templates(new);
    for (place, template) in templates(old) {
        let Some(named) = segments(template) else { continue };
        let left = after.get(&place).and_then(|template| segments(*template)).unwrap_or_default();
        let scale = number(template, "timescale").unwrap_or(1).max(1);
        for gone in named.iter().filter(|s| left.iter().all(|other| other.time != s.time)) {
            // Zero of the presentation is the epoch here, as in DM-14.
            let ticks = u128::from(gone.time + gone.length);
            let end = u64::try_from(ticks * 1_000_000_000 / u128::from(scale)).unwrap_or(u64::MAX);
            findings.expect("DM-07", end + kept_for <= now, || {
                format!("{place:?}: segment {} left {} ns after its end", gone.number, now - end)
            });
        }
    }
}

/// DM-09: what is named stays as it is, and new segments come behind it, in what was the last Period
/// or a later one.
pub(super) fn dm_09(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    let before = templates(old);
    let closed: Vec<String> = children(old, "Period").map(id).collect();
    let last = closed.last().cloned();
    for (place, template) in templates(new) {
        let (Some(known), Some(named)) =
            (before.get(&place).and_then(|template| segments(*template)), segments(template))
        else {
            continue;
        };
        let end = known.last().map_or(0, |last| last.time + last.length);
        for segment in &named {
            let same = known.contains(segment);
            let added = segment.time >= end && Some(&place.0) == last.as_ref();
            findings.expect("DM-09", same || added, || {
                format!("{place:?}: {segment:?} was not there before")
            });
        }
    }
}
