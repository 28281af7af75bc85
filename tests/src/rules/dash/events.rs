//! Rows DE-*: events of SCTE-35 in a manifest, and from one manifest to the next.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Node;

use super::manifest::{children, descendants, number};
use crate::rules::Findings;

/// What a manifest may carry: the section in XML, or in base64.
const SCHEMES: [&str; 2] = ["urn:scte:scte35:2013:xml", "urn:scte:scte35:2014:xml+bin"];
/// What a length of unknown size would be inband; a manifest leaves it out (DVB 9.1.9).
const UNKNOWN: u64 = 0xffff_ffff;

pub(super) fn check(mpd: Node<'_, '_>, findings: &mut Findings) {
    let mut ids = BTreeSet::new();
    for period in children(mpd, "Period") {
        for stream in children(period, "EventStream") {
            de_01(stream, findings);
            de_02(period, stream, findings);
            de_03(stream, findings);
            for event in children(stream, "Event") {
                let new = event.attribute("id").is_some_and(|id| ids.insert(id.to_owned()));
                findings.expect("DE-04", new, || {
                    format!("the id of the event at {} is not its own", time(event))
                });
            }
        }
    }
    de_09(mpd, findings);
}

fn time<'a>(event: Node<'a, 'a>) -> &'a str {
    event.attribute("presentationTime").unwrap_or("?")
}

fn de_01(stream: Node<'_, '_>, findings: &mut Findings) {
    let scheme = stream.attribute("schemeIdUri").unwrap_or_default();
    findings.expect("DE-01", SCHEMES.contains(&scheme), || format!("scheme {scheme:?}"));
    for event in children(stream, "Event") {
        let binary = descendants(event, "Binary").next().and_then(|binary| binary.text());
        // 0xFC30 is the head of every section in the clear.
        let section = scheme != SCHEMES[1]
            || binary.is_some_and(|text| text.starts_with("/DA") || text.starts_with("/DB"));
        let words =
            scheme != SCHEMES[0] || descendants(event, "SpliceInfoSection").next().is_some();
        findings.expect("DE-01", section && words, || format!("{}: no section", time(event)));
    }
}

fn de_02(period: Node<'_, '_>, stream: Node<'_, '_>, findings: &mut Findings) {
    let Some(scale) = number(stream, "timescale").filter(|scale| *scale > 0) else {
        return findings.add("DE-02", "an EventStream without a timescale");
    };
    let offset = number(stream, "presentationTimeOffset").unwrap_or(0);
    let template = descendants(period, "SegmentTemplate").next();
    let own = template.and_then(|template| {
        let (offset, own) =
            (number(template, "presentationTimeOffset")?, number(template, "timescale")?);
        Some(u128::from(offset) * u128::from(scale) / u128::from(own.max(1)))
    });
    findings.expect("DE-02", own.is_none_or(|own| own.abs_diff(offset.into()) <= 1), || {
        format!("events count from {offset}, segments from {own:?}")
    });
    for event in children(stream, "Event") {
        let at = number(event, "presentationTime");
        findings.expect("DE-02", at.is_some_and(|at| at >= offset), || {
            format!("{}: not a time of the Period", time(event))
        });
    }
}

fn de_03(stream: Node<'_, '_>, findings: &mut Findings) {
    findings.expect("DE-03", stream.attribute("value").is_none(), || "a value".into());
    for event in children(stream, "Event") {
        let plain =
            ["messageData", "contentEncoding"].iter().all(|name| event.attribute(*name).is_none());
        findings.expect("DE-03", plain && number(event, "duration") != Some(UNKNOWN), || {
            format!("{}: more than DVB allows", time(event))
        });
    }
}

/// An event lies before the next Period begins, or in that.
fn de_09(mpd: Node<'_, '_>, findings: &mut Findings) {
    let periods: Vec<_> = children(mpd, "Period").collect();
    for pair in periods.windows(2) {
        let template = descendants(pair[1], "SegmentTemplate").next();
        let Some(template) = template else { continue };
        let of = |name| number(template, name).map(u128::from);
        let (Some(start), Some(scale)) = (of("presentationTimeOffset"), of("timescale")) else {
            continue;
        };
        for stream in children(pair[0], "EventStream") {
            let own = number(stream, "timescale").map_or(1, u128::from);
            for event in children(stream, "Event") {
                let at = number(event, "presentationTime").map_or(0, u128::from);
                findings.expect("DE-09", at * scale < start * own, || {
                    format!("{}: belongs into the next Period", time(event))
                });
            }
        }
    }
}

/// What each event says, by its id.
fn events<'a>(mpd: Node<'a, 'a>) -> BTreeMap<&'a str, (Option<&'a str>, Option<&'a str>)> {
    let of = |event: Node<'a, 'a>| {
        let binary = descendants(event, "Binary").next().and_then(|binary| binary.text());
        Some((event.attribute("id")?, (event.attribute("presentationTime"), binary)))
    };
    descendants(mpd, "Event").filter_map(of).collect()
}

/// Judges the events of a later manifest by those of an earlier one.
pub(super) fn follow(old: Node<'_, '_>, new: Node<'_, '_>, findings: &mut Findings) {
    let new = events(new);
    for (id, before) in events(old) {
        let same = new.get(id).is_none_or(|after| *after == before);
        findings.expect("DE-04", same, || format!("event {id} is another one"));
    }
}
