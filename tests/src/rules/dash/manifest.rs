//! Rows DM-*: one manifest by itself.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::{events, low_latency, timeline};
use crate::rules::{Findings, date_nanos, nanos};

/// The largest number that a player's floating point holds exactly.
const EXACT: u64 = 1 << 53;
/// Clocks that stock players can read (DM-03).
const CLOCKS: [&str; 5] = [
    "urn:mpeg:dash:utc:http-xsdate:2014",
    "urn:mpeg:dash:utc:http-iso:2014",
    "urn:mpeg:dash:utc:http-head:2014",
    "urn:mpeg:dash:utc:http-ntp:2014",
    "urn:mpeg:dash:utc:direct:2014",
];

pub(super) fn check(document: &Document<'_>, findings: &mut Findings) {
    let mpd = document.root_element();
    dm_01(mpd, findings);
    dm_02(mpd, findings);
    dm_03(mpd, findings);
    dm_06(mpd, findings);
    dm_08(mpd, findings);
    dm_10(mpd, findings);
    dm_11(mpd, findings);
    dm_13(mpd, findings);
    dm_14(mpd, findings);
    dm_15(mpd, findings);
    dm_17(mpd, findings);
    dm_18(mpd, findings);
    dm_20(document, findings);
    low_latency::check(mpd, findings);
    events::check(mpd, findings);
}

/// The elements of that name right below another.
pub(super) fn children<'a>(
    node: Node<'a, 'a>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

/// Every element of that name below another.
pub(super) fn descendants<'a>(
    node: Node<'a, 'a>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |child| child.tag_name().name() == name)
}

/// Nanoseconds of an `xs:duration` of days and smaller units; `None` for years and months too.
pub(super) fn duration(text: &str) -> Option<u64> {
    let (days, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((text.get(1..)?, ""));
    let mut total = match days {
        "" => 0,
        days => days.strip_suffix('D')?.parse::<u64>().ok()? * 86_400_000_000_000,
    };
    let mut rest = time;
    for (unit, worth) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            total += nanos(number)?.checked_mul(worth)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

pub(super) fn number(node: Node<'_, '_>, name: &str) -> Option<u64> {
    node.attribute(name)?.parse().ok()
}

pub(super) fn id(node: Node<'_, '_>) -> String {
    format!("{} {:?}", node.tag_name().name(), node.attribute("id").unwrap_or_default())
}

/// The template in force for a set: its own, or the Period's.
pub(super) fn template<'a>(set: Node<'a, 'a>) -> Option<Node<'a, 'a>> {
    let own = children(set, "SegmentTemplate").next();
    own.or_else(|| children(set.parent()?, "SegmentTemplate").next())
}

/// Numerator and denominator of an offset of time in seconds.
fn offset_nanos(template: Node<'_, '_>) -> Option<u64> {
    let ticks = u128::from(number(template, "presentationTimeOffset").unwrap_or(0));
    let scale = u128::from(number(template, "timescale").unwrap_or(1).max(1));
    u64::try_from((ticks * 1_000_000_000 + scale / 2) / scale).ok()
}

fn dm_01(mpd: Node<'_, '_>, findings: &mut Findings) {
    findings.expect("DM-01", mpd.attribute("type") == Some("dynamic"), || "not dynamic".into());
    for name in ["availabilityStartTime", "publishTime"] {
        let date = mpd.attribute(name);
        findings
            .expect("DM-01", date.and_then(date_nanos).is_some(), || format!("{name} {date:?}"));
    }
    let buffer = mpd.attribute("minBufferTime");
    findings.expect("DM-01", buffer.and_then(duration).is_some(), || {
        format!("minBufferTime {buffer:?}")
    });
    let profiles = mpd.attribute("profiles").unwrap_or_default();
    findings.expect("DM-01", profiles.contains("urn:mpeg:dash:profile:isoff-live:2011"), || {
        format!("profiles {profiles:?}")
    });
}

fn dm_02(mpd: Node<'_, '_>, findings: &mut Findings) {
    for name in ["Period", "AdaptationSet", "Representation"] {
        for node in descendants(mpd, name) {
            findings
                .expect("DM-02", node.attribute("id").is_some(), || format!("{name} has no id"));
        }
    }
    for period in children(mpd, "Period") {
        let start = period.attribute("start").and_then(duration);
        findings.expect("DM-02", start.is_some(), || format!("{} has no start", id(period)));
    }
}

fn dm_03(mpd: Node<'_, '_>, findings: &mut Findings) {
    let mut clocks = children(mpd, "UTCTiming");
    let usable = clocks.any(|clock| {
        clock.attribute("schemeIdUri").is_some_and(|scheme| CLOCKS.contains(&scheme))
            && clock.attribute("value").is_some_and(|value| !value.is_empty())
    });
    findings.expect("DM-03", usable, || "no UTCTiming that players can read".into());
}

/// Judges the clock: what can be fetched ends at most D and the publish delay ago, and not in the
/// future.
pub(super) fn dm_05(
    document: &Document<'_>,
    now: u64,
    newest_end: u64,
    publish_delay: u64,
    findings: &mut Findings,
) {
    let mpd = document.root_element();
    let start = mpd.attribute("availabilityStartTime").and_then(date_nanos).unwrap_or(0);
    let longest = descendants(mpd, "SegmentTemplate")
        .filter_map(|template| {
            let (ticks, scale) = (number(template, "duration")?, number(template, "timescale")?);
            Some(ticks * 1_000_000_000 / scale.max(1))
        })
        .max()
        .unwrap_or(0);
    let age = i128::from(now) - i128::from(start) - i128::from(newest_end);
    let allowed = 0..=i128::from(longest + publish_delay);
    findings.expect("DM-05", allowed.contains(&age), || {
        format!("the newest segment became available {age} ns ago, allowed are {allowed:?}")
    });
}

/// Whether the manifest says that nothing will follow: its last Period has a length.
fn ended(mpd: Node<'_, '_>) -> bool {
    mpd.attribute("minimumUpdatePeriod").is_none()
}

fn dm_06(mpd: Node<'_, '_>, findings: &mut Findings) {
    let update = mpd.attribute("minimumUpdatePeriod");
    findings.expect("DM-06", update.is_none_or(|update| duration(update).is_some()), || {
        format!("minimumUpdatePeriod {update:?}")
    });
    let open = children(mpd, "Period").last().is_none_or(|p| p.attribute("duration").is_none());
    findings.expect("DM-06", !open || update.is_some(), || {
        "the last Period is open, and no minimumUpdatePeriod says when to look again".into()
    });
    // References of a template without an end cover every update period; one with an end in an
    // open last Period does not.
    let last = children(mpd, "Period").last();
    let bounded = last.is_some_and(|period| {
        descendants(period, "SegmentTemplate").any(|t| t.attribute("endNumber").is_some())
    });
    findings.expect("DM-06", !(open && bounded), || {
        "the last Period is open, but its numbers end".into()
    });
}

fn dm_08(mpd: Node<'_, '_>, findings: &mut Findings) {
    for set in descendants(mpd, "AdaptationSet") {
        let Some(template) = template(set) else {
            findings.add("DM-08", format!("{} has no SegmentTemplate", id(set)));
            continue;
        };
        let media = template.attribute("media").unwrap_or_default();
        findings.expect("DM-08", media.contains("$Number$") || media.contains("$Time$"), || {
            format!("{}: media {media:?}", id(set))
        });
        findings.expect("DM-08", number(template, "timescale").is_some_and(|t| t > 0), || {
            format!("{}: no timescale", id(set))
        });
        findings.expect("DM-08", template.attribute("eptDelta").is_none(), || {
            format!("{}: eptDelta", id(set))
        });
        let simple = number(template, "duration").is_some_and(|ticks| ticks > 0);
        let timeline = children(template, "SegmentTimeline").next().is_some();
        findings.expect("DM-08", simple != timeline, || {
            format!("{}: one of @duration and SegmentTimeline says how long segments are", id(set))
        });
        findings.expect("DM-08", !simple || number(template, "startNumber").is_some(), || {
            format!("{}: no startNumber", id(set))
        });
        timeline::dm_08(template, findings);
        for s in descendants(template, "S").filter(|s| s.attribute("n").is_some()) {
            findings.add("DM-08", format!("{}: S@n {:?}", id(set), s.attribute("n")));
        }
    }
}

fn dm_10(mpd: Node<'_, '_>, findings: &mut Findings) {
    const LENGTHS: [&str; 7] = [
        "minimumUpdatePeriod",
        "minBufferTime",
        "timeShiftBufferDepth",
        "suggestedPresentationDelay",
        "maxSegmentDuration",
        "start",
        "mediaPresentationDuration",
    ];
    for node in mpd.descendants().filter(Node::is_element) {
        let of_period = node.tag_name().name() == "Period";
        for attribute in node.attributes() {
            let name = attribute.name();
            if LENGTHS.contains(&name) || (of_period && name == "duration") {
                findings.expect("DM-10", duration(attribute.value()).is_some(), || {
                    format!("{}: {name} {:?}", id(node), attribute.value())
                });
            } else if let Ok(value) = attribute.value().parse::<u64>() {
                findings.expect("DM-10", value < EXACT, || {
                    format!("{}: {name} {value} is too large for players", id(node))
                });
            }
        }
    }
}

fn dm_11(mpd: Node<'_, '_>, findings: &mut Findings) {
    let depth = mpd.attribute("timeShiftBufferDepth").and_then(duration);
    let delay = mpd.attribute("suggestedPresentationDelay").and_then(duration).unwrap_or(0);
    findings.expect("DM-11", depth.is_some_and(|depth| depth > delay), || {
        format!("timeShiftBufferDepth {depth:?}, suggestedPresentationDelay {delay}")
    });
}

/// Judges simple addressing: each segment's start within half of the nominal length of where its
/// number says, and neither before its Period nor behind its end.
pub(super) fn dm_12(
    document: &Document<'_>,
    representation: &str,
    segments: &[(u64, i64, i64)],
    timescale: u32,
    findings: &mut Findings,
) {
    let mpd = document.root_element();
    let to_nanos = |ticks: i64| i128::from(ticks) * 1_000_000_000 / i128::from(timescale.max(1));
    for &(k, start, end) in segments {
        let named = descendants(mpd, "AdaptationSet").find_map(|set| {
            let here =
                children(set, "Representation").any(|r| r.attribute("id") == Some(representation));
            let template = template(set).filter(|_| here)?;
            let (first, last) = (number(template, "startNumber")?, number(template, "endNumber"));
            (first <= k && last.is_none_or(|last| k <= last)).then_some((template, first))
        });
        let Some((template, first)) = named else {
            findings.add("DM-12", format!("{representation}: nothing names segment {k}"));
            continue;
        };
        let scale = i128::from(number(template, "timescale").unwrap_or(1).max(1));
        let length = i128::from(number(template, "duration").unwrap_or(0)) * 1_000_000_000 / scale;
        let offset = i128::from(offset_nanos(template).unwrap_or(0));
        for (edge, at) in [(k - first, to_nanos(start)), (k - first + 1, to_nanos(end))] {
            let nominal = offset + i128::from(edge) * length;
            findings.expect("DM-12", (at - nominal).abs() <= length / 2, || {
                format!("{representation}, segment {k}: an edge at {at}, by its number {nominal}")
            });
        }
        if k == first {
            // Sound starts with the frame that contains the start, pictures on the frame.
            let late = to_nanos(start) - offset;
            findings.expect("DM-14", late * i128::from(timescale) <= 1_000_000_000, || {
                format!("{representation}: the first sample is {late} ns behind the Period's start")
            });
        }
    }
}

fn dm_13(mpd: Node<'_, '_>, findings: &mut Findings) {
    for set in descendants(mpd, "AdaptationSet") {
        findings.expect("DM-13", set.attribute("segmentAlignment") == Some("true"), || {
            format!("{}: segments are not aligned", id(set))
        });
        findings.expect("DM-13", set.attribute("startWithSAP") == Some("1"), || {
            format!("{}: startWithSAP {:?}", id(set), set.attribute("startWithSAP"))
        });
        for representation in children(set, "Representation") {
            let own = descendants(representation, "SegmentTemplate").next().is_some();
            findings.expect("DM-13", !own, || {
                format!("{} is addressed in a way of its own", id(representation))
            });
        }
    }
}

fn dm_14(mpd: Node<'_, '_>, findings: &mut Findings) {
    let starts: Vec<_> = children(mpd, "Period")
        .map(|period| period.attribute("start").and_then(duration))
        .collect();
    for (period, start) in children(mpd, "Period").zip(&starts) {
        for template in descendants(period, "SegmentTemplate") {
            let Some((start, offset)) = start.zip(offset_nanos(template)) else { continue };
            let tick = 1_000_000_000 / number(template, "timescale").unwrap_or(1).max(1) + 1;
            // Zero of the presentation is the epoch here, so both are the same instant.
            findings.expect("DM-14", start.abs_diff(offset) <= tick, || {
                format!("{}: starts at {start}, its media at {offset}", id(period))
            });
        }
        let length = period.attribute("duration").and_then(duration);
        findings.expect("DM-14", length != Some(0), || format!("{} has no length", id(period)));
    }
    for (pair, periods) in
        starts.windows(2).zip(children(mpd, "Period").collect::<Vec<_>>().windows(2))
    {
        let ([Some(one), Some(two)], [period, _]) = (pair, periods) else { continue };
        let length = period.attribute("duration").and_then(duration).unwrap_or(1);
        findings.expect("DM-14", one + length <= *two, || {
            format!("{} reaches into the next, or is empty", id(*period))
        });
    }
}

fn dm_15(mpd: Node<'_, '_>, findings: &mut Findings) {
    for set in descendants(mpd, "AdaptationSet") {
        let says = |kind: &str| {
            children(set, "SupplementalProperty").any(|property| {
                property.attribute("schemeIdUri").is_some_and(|scheme| scheme.contains(kind))
            })
        };
        findings.expect(
            "DM-15",
            !(says("period-connectivity") && says("period-continuity")),
            || format!("{} is both continuous and connected", id(set)),
        );
    }
}

fn dm_17(mpd: Node<'_, '_>, findings: &mut Findings) {
    for template in descendants(mpd, "SegmentTemplate") {
        findings.expect("DM-17", descendants(template, "FailoverContent").next().is_none(), || {
            "missing segments are announced by FailoverContent".into()
        });
        let complete = template.attribute("availabilityTimeComplete").is_none();
        let low_latency = template.attribute("availabilityTimeOffset").is_some();
        findings.expect("DM-17", complete || low_latency, || {
            "availabilityTimeComplete outside low latency".into()
        });
    }
}

fn dm_18(mpd: Node<'_, '_>, findings: &mut Findings) {
    // A promise of this origin: the end is told by the last Period, never by a static
    // manifest, which would move every player's clock.
    findings.expect("DM-18", mpd.attribute("mediaPresentationDuration").is_none(), || {
        "mediaPresentationDuration".into()
    });
    let Some(last) = children(mpd, "Period").last().filter(|_| ended(mpd)) else { return };
    findings.expect("DM-18", last.attribute("duration").is_some(), || {
        format!("{} is the last and has no length", id(last))
    });
    for template in descendants(last, "SegmentTemplate") {
        findings.expect("DM-18", number(template, "endNumber").is_some(), || {
            format!("{} is the last and its numbers have no end", id(last))
        });
    }
}

fn dm_20(document: &Document<'_>, findings: &mut Findings) {
    let mpd = document.root_element();
    findings.expect("DM-20", mpd.tag_name().name() == "MPD", || "the root is no MPD".into());
    unique(children(mpd, "Period"), findings);
    for period in children(mpd, "Period") {
        unique(children(period, "AdaptationSet"), findings);
        unique(descendants(period, "Representation"), findings);
    }
}

fn unique<'a>(nodes: impl Iterator<Item = Node<'a, 'a>>, findings: &mut Findings) {
    let mut ids = BTreeSet::new();
    for node in nodes {
        let Some(id) = node.attribute("id") else { continue };
        findings.expect("DM-20", ids.insert(id), || {
            format!("{} {id:?} is there twice", node.tag_name().name())
        });
    }
}
