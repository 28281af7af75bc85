//! Rows HD-09 and HD-10: tags of the CUE-OUT kind, in one media playlist.

use super::playlist::{Attributes, Media, Segment, Tag};
use crate::rules::{Findings, nanos};

/// Nanoseconds by which what is over of a break may differ from what the segments add up to: tags have
/// milliseconds, and sound begins up to an audio frame behind the pictures.
const SAME: u64 = 47_500_000;

/// What the tags before a segment say, in order.
enum Said {
    Out,
    /// How much is over.
    Goes(Option<u64>),
    In,
}

/// Whether a tag is one of these.
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with("EXT-X-CUE-")
        || matches!(name, "EXT-OATCLS-SCTE35" | "EXT-X-ASSET" | "EXT-X-SCTE35")
}

fn said(tag: &Tag<'_>) -> Option<Said> {
    let seconds = |text: &str| nanos(text.split('/').next()?);
    let of = |attributes: &Attributes<'_>, name: &str| nanos(attributes.get(name)?);
    match tag.name {
        "EXT-X-CUE-OUT" => Some(Said::Out),
        "EXT-X-CUE-OUT-CONT" => {
            let attributes = tag.attributes();
            let elapsed = of(&attributes, "ElapsedTime").or_else(|| seconds(tag.value));
            Some(Said::Goes(elapsed))
        }
        "EXT-X-CUE-IN" => Some(Said::In),
        "EXT-X-SCTE35" => {
            let attributes = tag.attributes();
            match (attributes.get("CUE-OUT"), attributes.get("CUE-IN")) {
                (Some(&"YES"), _) => Some(Said::Out),
                (Some(&"CONT"), _) => Some(Said::Goes(of(&attributes, "ELAPSED"))),
                (_, Some(_)) => Some(Said::In),
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn check(playlist: &Media<'_>, findings: &mut Findings) {
    // How much of the break is over at the end of the segment before; `None` outside of one.
    let mut over: Option<u64> = None;
    for (at, segment) in playlist.segments.iter().enumerate() {
        hd_09_sections(segment, findings);
        let mut now = None;
        let mut goes_on = false;
        for said in segment.cues.iter().filter_map(said) {
            let k = segment.k;
            match said {
                Said::Out => {
                    findings.expect("HD-09", over.is_none(), || format!("{k}: a break in a break"));
                    now = Some(0);
                }
                Said::Goes(elapsed) => {
                    findings.expect("HD-10", elapsed.is_some(), || {
                        format!("{k}: nothing says how much of the break is over")
                    });
                    findings.expect("HD-10", at == 0 || over.is_some(), || {
                        format!("{k}: a break goes on that has not begun")
                    });
                    let same = over.zip(elapsed).is_none_or(|(a, b)| a.abs_diff(b) <= SAME);
                    findings.expect("HD-10", same, || {
                        format!("{k}: {elapsed:?} of the break are over, which are {over:?}")
                    });
                    (now, goes_on) = (elapsed.or(over), true);
                }
                Said::In => {
                    findings.expect("HD-09", at == 0 || over.is_some(), || {
                        format!("{k}: the end of no break")
                    });
                    over = None;
                }
            }
        }
        findings.expect("HD-09", over.is_none() || goes_on, || {
            format!("{}: the break before neither goes on nor is over", segment.k)
        });
        over = now.map(|elapsed| elapsed + segment.duration.1);
    }
}

/// Sections are whole, as far as base64 shows it.
fn hd_09_sections(segment: &Segment<'_>, findings: &mut Findings) {
    for tag in segment.cues.iter().filter(|tag| tag.name != "EXT-X-ASSET") {
        let attributes = tag.attributes();
        let section = match tag.name {
            "EXT-OATCLS-SCTE35" => Some(tag.value),
            "EXT-X-SCTE35" => Some(attributes.get("CUE").copied().unwrap_or_default()),
            _ => attributes.get("SCTE35").copied(),
        };
        // 0xFC30 is the head of every section in the clear.
        let whole = section.is_none_or(|text| text.starts_with("/DA") || text.starts_with("/DB"));
        findings.expect("HD-09", whole, || format!("{}: {section:?} is no section", segment.k));
    }
    let lengths = segment.cues.iter().filter(|tag| tag.name == "EXT-X-CUE-OUT");
    for tag in lengths.filter(|tag| !tag.value.is_empty()) {
        findings.expect("HD-09", nanos(tag.value).is_some(), || {
            format!("{}: {:?} is no length", segment.k, tag.value)
        });
    }
}

#[cfg(test)]
mod tests;
