//! Rows DM-*: two states of one manifest.

use roxmltree::{Document, Node};

use super::manifest::{children, descendants, id};
use super::{events, timeline};
use crate::rules::{Findings, Violation, date_nanos};

/// Judges a later answer by an earlier one.
pub fn check_sequence(before: &str, after: &str) -> Vec<Violation> {
    let mut findings = Findings::default();
    match (Document::parse(before), Document::parse(after)) {
        (Ok(old), Ok(new)) => {
            let (old, new) = (old.root_element(), new.root_element());
            dm_01(old, new, before == after, &mut findings);
            dm_02(old, new, &mut findings);
            events::follow(old, new, &mut findings);
            timeline::dm_07(old, new, &mut findings);
            timeline::dm_09(old, new, &mut findings);
            dm_16(old, new, &mut findings);
            dm_18(old, new, &mut findings);
        }
        (old, new) => {
            for error in [old.err(), new.err()].into_iter().flatten() {
                findings.add("DM-20", format!("no XML: {error}"));
            }
        }
    }
    findings.0
}

fn dm_01(old: Node<'_, '_>, new: Node<'_, '_>, same: bool, findings: &mut Findings) {
    let published = |mpd: Node<'_, '_>| mpd.attribute("publishTime").and_then(date_nanos);
    let (before, after) = (published(old), published(new));
    findings.expect("DM-01", if same { before == after } else { before < after }, || {
        format!("publishTime went from {before:?} to {after:?}, text the same: {same}")
    });
}

fn dm_02(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    for name in ["availabilityStartTime", "timeShiftBufferDepth", "type"] {
        findings.expect("DM-02", old.attribute(name) == new.attribute(name), || {
            format!("{name} went from {:?} to {:?}", old.attribute(name), new.attribute(name))
        });
    }
    for before in children(old, "Period") {
        let same = |period: &Node<'_, '_>| period.attribute("id") == before.attribute("id");
        let Some(after) = children(new, "Period").find(same) else { continue };
        findings.expect("DM-02", before.attribute("start") == after.attribute("start"), || {
            format!("{}: another start", id(before))
        });
        // A length that was not known may become known.
        let length = before.attribute("duration");
        findings.expect("DM-02", length.is_none() || length == after.attribute("duration"), || {
            format!("{}: another duration", id(before))
        });
        findings.expect("DM-02", members(before) == members(after), || {
            format!("{}: other sets or representations", id(before))
        });
        findings.expect("DM-02", addressing(before) == addressing(after), || {
            format!("{}: other addresses", id(before))
        });
    }
}

/// Ids of the sets and their representations, in order.
fn members<'a>(period: Node<'a, 'a>) -> Vec<(Option<&'a str>, Vec<Option<&'a str>>)> {
    children(period, "AdaptationSet")
        .map(|set| {
            let representations = children(set, "Representation");
            (set.attribute("id"), representations.map(|r| r.attribute("id")).collect())
        })
        .collect()
}

/// What the names and times of a Period's segments are computed from.
fn addressing<'a>(period: Node<'a, 'a>) -> Vec<Vec<Option<&'a str>>> {
    const FIXED: [&str; 6] = [
        "media",
        "initialization",
        "timescale",
        "duration",
        "startNumber",
        "presentationTimeOffset",
    ];
    descendants(period, "SegmentTemplate")
        .map(|template| {
            // Where segments are named, the first number is that of the first one still named: DM-09.
            let named = children(template, "SegmentTimeline").next().is_some();
            let fixed = FIXED.iter().filter(|name| !(named && **name == "startNumber"));
            fixed.map(|name| template.attribute(*name)).collect()
        })
        .collect()
}

fn dm_16(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    let ids =
        |mpd| children(mpd, "Period").map(|period| period.attribute("id")).collect::<Vec<_>>();
    let (before, after) = (ids(old), ids(new));
    // Periods leave at the front and come at the back: what both have is one run in both.
    let kept: Vec<_> = before.iter().filter(|id| after.contains(id)).collect();
    let contiguous = before.ends_with(&kept.iter().map(|id| **id).collect::<Vec<_>>())
        && after.starts_with(&kept.iter().map(|id| **id).collect::<Vec<_>>());
    findings.expect("DM-16", contiguous, || format!("Periods went from {before:?} to {after:?}"));
}

fn dm_18(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    let ended = |mpd: Node<'_, '_>| mpd.attribute("minimumUpdatePeriod").is_none();
    findings.expect("DM-18", !ended(old) || ended(new), || "went on after its end".into());
}
