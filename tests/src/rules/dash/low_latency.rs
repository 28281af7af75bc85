//! Rows DL-*: what a manifest must say if its segments can be played while they are written (DASH-IF,
//! Low-latency Modes for DASH, §9.X.4; here "a low-latency set" is one whose segments are not complete
//! when they become available).

use std::collections::BTreeSet;

use roxmltree::Node;

use super::manifest::{children, descendants, id, number, template};
use crate::rules::{Findings, date_nanos};

pub(super) fn check(mpd: Node<'_, '_>, findings: &mut Findings) {
    // Key frames to search by are announced with their pictures, and nobody plays them at the live edge.
    let sets = descendants(mpd, "AdaptationSet").filter(|set| is_low_latency(*set));
    let sets: Vec<_> =
        sets.filter(|set| children(*set, "EssentialProperty").next().is_none()).collect();
    dl_02(mpd, findings);
    dl_13(mpd, findings);
    if sets.is_empty() {
        return;
    }
    dl_01(mpd, findings);
    for set in &sets {
        dl_03(*set, findings);
    }
    dl_06(mpd, &sets, findings);
}

/// Whether a set's segments are announced before they are complete.
pub(super) fn is_low_latency(set: Node<'_, '_>) -> bool {
    template(set).is_some_and(|t| t.attribute("availabilityTimeComplete") == Some("false"))
}

/// A number of seconds, in nanoseconds.
fn seconds(template: Node<'_, '_>, name: &str) -> Option<i128> {
    let text = template.attribute(name)?;
    crate::rules::nanos(text).map(i128::from)
}

/// The service says what latency and what rates it is meant for.
fn dl_01(mpd: Node<'_, '_>, findings: &mut Findings) {
    let Some(service) = children(mpd, "ServiceDescription").next() else {
        findings.add("DL-01", "no ServiceDescription");
        return;
    };
    let of = |name, attribute| {
        let node = children(service, name).next()?;
        node.attribute(attribute)?.parse::<f64>().ok()
    };
    let [least, target, most] = ["min", "target", "max"].map(|name| of("Latency", name));
    let ordered = target.is_some_and(|target| {
        target > 0.0 && least.is_none_or(|l| l <= target) && most.is_none_or(|m| target <= m)
    });
    findings.expect("DL-01", ordered, || format!("Latency {least:?}..{target:?}..{most:?}"));
    let [slow, fast] = ["min", "max"].map(|name| of("PlaybackRate", name));
    let around = slow.is_some_and(|s| s > 0.0 && s <= 1.0) && fast.is_some_and(|f| f >= 1.0);
    findings.expect("DL-01", around, || format!("PlaybackRate {slow:?}..{fast:?}"));
}

/// Early and incomplete go together, and stand at the set: never at one Representation.
fn dl_02(mpd: Node<'_, '_>, findings: &mut Findings) {
    for template in descendants(mpd, "SegmentTemplate") {
        let early = template.attribute("availabilityTimeOffset");
        let complete = template.attribute("availabilityTimeComplete");
        findings.expect("DL-02", early.is_some() == (complete == Some("false")), || {
            format!("availabilityTimeOffset {early:?}, availabilityTimeComplete {complete:?}")
        });
        let at = template.parent().map_or("", |node| node.tag_name().name());
        findings.expect("DL-02", early.is_none() || at != "Representation", || {
            format!("availabilityTimeOffset at a {at}")
        });
    }
}

/// A segment is announced when its first chunk can be there at the earliest, one chunk behind its start:
/// that is half a segment ahead of the nominal one where a splice has cut the segment before it short.
/// Earlier, and requests come for what can't be there; later, and players have nothing to play.
fn dl_03(set: Node<'_, '_>, findings: &mut Findings) {
    let Some(template) = template(set) else { return };
    let scale = i128::from(number(template, "timescale").unwrap_or(1).max(1));
    let length = i128::from(number(template, "duration").unwrap_or(0)) * 1_000_000_000 / scale;
    let chunk = children(set, "Resync").find_map(|resync| number(resync, "dT"));
    let Some(chunk) = chunk.map(|ticks| i128::from(ticks) * 1_000_000_000 / scale) else {
        findings.add("DL-03", format!("{}: no Resync says how long its chunks are", id(set)));
        return;
    };
    let early = seconds(template, "availabilityTimeOffset").unwrap_or(-1);
    // Chunks are told by the longest that may come, an audio frame more than the offset is made for: up
    // to 46.44 ms, and what rounding adds.
    let frame = 47_000_000;
    let earliest = length * 3 / 2 - chunk;
    let allowed = earliest - frame..=earliest + frame;
    findings.expect("DL-03", allowed.contains(&early), || {
        format!("{}: segments are announced {early} ns early, allowed are {allowed:?}", id(set))
    });
}

/// The producer's clock is told by every set, and the latency counts from one of them.
fn dl_06(mpd: Node<'_, '_>, sets: &[Node<'_, '_>], findings: &mut Findings) {
    let mut known = BTreeSet::new();
    for set in sets {
        let told: Vec<_> = children(*set, "ProducerReferenceTime").collect();
        findings.expect("DL-06", !told.is_empty(), || {
            format!("{}: no ProducerReferenceTime", id(*set))
        });
        let mut ids = BTreeSet::new();
        for time in told {
            let number = time.attribute("id").and_then(|id| id.parse::<u32>().ok());
            let once = number.is_some_and(|number| ids.insert(number));
            findings.expect("DL-06", once, || {
                format!("{}: ProducerReferenceTime@id {:?}", id(*set), time.attribute("id"))
            });
            known.extend(number);
            let kind = time.attribute("type").unwrap_or("encoder");
            findings.expect("DL-06", ["encoder", "captured"].contains(&kind), || {
                format!("{}: ProducerReferenceTime@type {kind:?}", id(*set))
            });
            let wall = time.attribute("wallClockTime");
            findings.expect("DL-06", wall.and_then(date_nanos).is_some(), || {
                format!("{}: wallClockTime {wall:?}", id(*set))
            });
            let media = time.attribute("presentationTime");
            findings.expect("DL-06", media.is_some_and(|m| m.parse::<u64>().is_ok()), || {
                format!("{}: presentationTime {media:?}", id(*set))
            });
            // Our chunks have prft boxes (DL-07), and they go by the manifest's own clock.
            findings.expect("DL-06", time.attribute("inband") == Some("true"), || {
                format!("{}: prft boxes are not announced", id(*set))
            });
            let clock =
                |node| children(node, "UTCTiming").next().and_then(|c| c.attribute("value"));
            findings.expect("DL-06", clock(time).is_some_and(|c| Some(c) == clock(mpd)), || {
                format!("{}: its clock is {:?}", id(*set), clock(time))
            });
        }
    }
    let latency = descendants(mpd, "Latency").next().and_then(|l| l.attribute("referenceId"));
    let named = latency.and_then(|id| id.parse::<u32>().ok());
    findings.expect("DL-06", named.is_some_and(|named| known.contains(&named)), || {
        format!("Latency@referenceId {latency:?} is none of {known:?}")
    });
}

/// What the timing model allows in low latency only stands nowhere else: not in a list of segments,
/// which names whole ones.
fn dl_13(mpd: Node<'_, '_>, findings: &mut Findings) {
    for template in descendants(mpd, "SegmentTemplate") {
        let listed = children(template, "SegmentTimeline").next().is_some();
        let early = ["availabilityTimeOffset", "availabilityTimeComplete"]
            .into_iter()
            .find(|name| template.attribute(*name).is_some());
        findings.expect("DL-13", !listed || early.is_none(), || {
            format!("{} in a list of whole segments", early.unwrap_or_default())
        });
    }
}
