//! Rows HP-*, and what applies of HL-* and HD-*: one media playlist by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::playlist::Media;
use crate::rules::{Findings, nanos};

/// Nanoseconds by which a segment may exceed TARGETDURATION (APL 7.7).
const EXCESS: u64 = 500_000_000;
/// Nanoseconds of the shortest frame that is played anywhere: 1/60 s.
const FRAME: u64 = 16_000_000;
/// Decimals that tell ticks of 1/90000 s apart.
const DECIMALS: usize = 5;

pub(super) fn check(playlist: &Media<'_>, findings: &mut Findings) {
    for line in &playlist.unreadable {
        findings.add("HP-01", format!("{line}: no duration that can be read"));
    }
    hp_01(playlist, findings);
    hp_08(playlist, findings);
    hp_09(playlist, findings);
    hp_10(playlist, findings);
    hp_13(playlist, findings);
    hp_14(playlist, findings);
    hp_15(playlist, findings);
    hp_16(playlist, findings);
    hp_17(playlist, findings);
    hp_18(playlist, findings);
    hp_24(playlist, findings);
    hp_25(playlist, findings);
    hp_20(playlist, findings);
    hl_27(playlist, findings);
    hd_08(playlist, findings);
}

fn hp_01(playlist: &Media<'_>, findings: &mut Findings) {
    findings.expect("HP-01", playlist.first_line == "#EXTM3U", || "does not begin #EXTM3U".into());
    let Some(target) = playlist.number("EXT-X-TARGETDURATION") else {
        findings.add("HP-01", "no EXT-X-TARGETDURATION");
        return;
    };
    for segment in &playlist.segments {
        let rounded = (segment.duration.1 + 500_000_000) / 1_000_000_000;
        let fits = rounded <= target && segment.duration.1 <= target * 1_000_000_000 + EXCESS;
        findings.expect("HP-01", fits, || {
            format!("{}: {} s in a target of {target}", segment.uri, segment.duration.0)
        });
    }
}

fn hp_08(playlist: &Media<'_>, findings: &mut Findings) {
    let Some(first) = playlist.segments.first() else { return };
    findings.expect("HP-08", first.date.is_some(), || format!("{}: no date", first.uri));
    // The date before the parts of the segment that is being made belongs to none yet.
    let open = playlist.tail.iter().filter(|tag| tag.name == "EXT-X-PROGRAM-DATE-TIME").count();
    let lines = playlist.count("EXT-X-PROGRAM-DATE-TIME") - open;
    let read = playlist.segments.iter().filter(|segment| segment.date.is_some()).count();
    findings.expect("HP-08", lines == read, || format!("{read} of {lines} dates can be read"));
}

fn hp_09(playlist: &Media<'_>, findings: &mut Findings) {
    let mut expected: Option<u64> = None;
    for segment in &playlist.segments {
        let known = expected.filter(|_| !segment.discontinuity);
        if let (Some(date), Some(expected)) = (segment.date, known) {
            findings.expect("HP-09", date.abs_diff(expected) < FRAME, || {
                format!("{}: dated {} ns from the sum", segment.uri, date.abs_diff(expected))
            });
        }
        expected = segment.date.or(known).map(|date| date + segment.duration.1);
    }
}

fn hp_10(playlist: &Media<'_>, findings: &mut Findings) {
    for segment in &playlist.segments {
        let decimals = segment.duration.0.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        findings.expect("HP-10", decimals >= DECIMALS, || {
            format!("{}: {decimals} decimals in {}", segment.uri, segment.duration.0)
        });
    }
}

/// Judges dates and durations by the decode times of the segments' first samples, in ticks of
/// `timescale` since the epoch: each within one tick.
pub(super) fn hp_10_times(
    playlist: &Media<'_>,
    starts: &BTreeMap<u64, i64>,
    timescale: u32,
    findings: &mut Findings,
) {
    let scale = u64::from(timescale.max(1));
    let tick = 1_000_000_000 / scale + 1;
    let at = |ticks: i64| {
        u64::try_from(i128::from(ticks) * 1_000_000_000 / i128::from(scale)).unwrap_or(0)
    };
    for (position, segment) in playlist.segments.iter().enumerate() {
        let Some(&start) = starts.get(&segment.k) else { continue };
        if let Some(date) = segment.date {
            findings.expect("HP-10", date.abs_diff(at(start)) <= tick, || {
                format!("{}: dated {date}, decodes at {}", segment.uri, at(start))
            });
        }
        let next = playlist.segments.get(position + 1).filter(|next| !next.discontinuity);
        let Some(&end) = next.and_then(|next| starts.get(&next.k)) else { continue };
        findings.expect("HP-10", at(end - start).abs_diff(segment.duration.1) <= tick, || {
            format!("{}: {} s, in truth {} ns", segment.uri, segment.duration.0, at(end - start))
        });
    }
}

fn hp_13(playlist: &Media<'_>, findings: &mut Findings) {
    let head = playlist.tags.get(..playlist.head.min(playlist.tags.len())).unwrap_or_default();
    let sequence = head.iter().filter(|tag| tag.name == "EXT-X-DISCONTINUITY-SEQUENCE").count();
    findings.expect("HP-13", sequence == 1, || {
        "EXT-X-DISCONTINUITY-SEQUENCE does not stand before the first segment".into()
    });
}

fn hp_14(playlist: &Media<'_>, findings: &mut Findings) {
    for pair in playlist.segments.windows(2) {
        let [last, next] = pair else { continue };
        findings.expect("HP-14", last.map == next.map || next.discontinuity, || {
            format!("{}: another init segment without a discontinuity", next.uri)
        });
    }
}

fn hp_15(playlist: &Media<'_>, findings: &mut Findings) {
    for (position, segment) in playlist.segments.iter().enumerate() {
        let Some(map) = segment.map else {
            // In an update it stands among what is left out.
            findings
                .expect("HP-15", playlist.skipped > 0, || format!("{}: no EXT-X-MAP", segment.uri));
            continue;
        };
        findings.expect(
            "HP-15",
            position == 0 || !segment.discontinuity || segment.map_here,
            || format!("{}: no EXT-X-MAP after the discontinuity", segment.uri),
        );
        // Versioned: init and segments share the part of their address that names the run.
        let run = |uri: &'_ str| uri.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        findings.expect("HP-15", run(map) == run(segment.uri), || {
            format!("{}: init segment {map} is not of its run", segment.uri)
        });
    }
}

fn hp_16(playlist: &Media<'_>, findings: &mut Findings) {
    findings.expect("HP-16", playlist.count("EXT-X-VERSION") == 1, || {
        format!("{} version tags", playlist.count("EXT-X-VERSION"))
    });
    let skip = playlist.tags.iter().find(|tag| tag.name == "EXT-X-SKIP");
    let due = match skip {
        Some(skip) if skip.attributes().contains_key("RECENTLY-REMOVED-DATERANGES") => 10,
        Some(_) => 9,
        None if playlist.count("EXT-X-MAP") > 0 => 6,
        None => 1,
    };
    let version = playlist.number("EXT-X-VERSION").unwrap_or(1);
    findings.expect("HP-16", version >= due, || format!("version {version}, tags need {due}"));
}

fn hp_17(playlist: &Media<'_>, findings: &mut Findings) {
    let gaps = playlist.segments.iter().filter(|segment| segment.gap).count();
    let tags = playlist.count("EXT-X-GAP");
    findings.expect("HP-17", gaps == tags, || format!("{tags} gap tags for {gaps} addresses"));
    for segment in playlist.segments.iter().filter(|segment| segment.gap) {
        findings.expect("HP-17", segment.duration.1 > 0, || {
            format!("{}: a gap without a duration", segment.uri)
        });
    }
}

fn hp_18(playlist: &Media<'_>, findings: &mut Findings) {
    let ends = playlist.count("EXT-X-ENDLIST");
    let last = playlist.tail.iter().filter(|tag| tag.name == "EXT-X-ENDLIST").count();
    findings.expect("HP-18", ends <= 1 && ends == last, || {
        format!("{ends} EXT-X-ENDLIST, {last} of them behind the last segment")
    });
}

fn hp_20(playlist: &Media<'_>, findings: &mut Findings) {
    if !playlist.keys() {
        return;
    }
    for segment in playlist.segments.iter().filter(|segment| !segment.gap) {
        let whole = segment.range.is_some_and(|(length, _)| length > 0);
        findings.expect("HP-20", whole, || format!("{}: no byte range", segment.uri));
    }
    for name in ["EXT-X-PART", "EXT-X-PART-INF", "EXT-X-PRELOAD-HINT"] {
        findings.expect("HP-20", playlist.count(name) == 0, || format!("key frames with {name}"));
    }
    let control = playlist.count("EXT-X-SERVER-CONTROL");
    findings.expect("HP-20", playlist.ended() || control == 1, || {
        "no EXT-X-SERVER-CONTROL as in the other playlists".into()
    });
}

fn hp_24(playlist: &Media<'_>, findings: &mut Findings) {
    let Some(start) = playlist.tags.iter().find(|tag| tag.name == "EXT-X-START") else { return };
    let offset = start.attributes().get("TIME-OFFSET").copied().unwrap_or_default();
    let target = playlist.number("EXT-X-TARGETDURATION").unwrap_or(0) * 3_000_000_000;
    let from_end = match offset.strip_prefix('-') {
        Some(back) => nanos(back),
        None => {
            let whole: u64 = playlist.segments.iter().map(|segment| segment.duration.1).sum();
            nanos(offset).map(|offset| whole.saturating_sub(offset))
        }
    };
    findings.expect("HP-24", playlist.ended() || from_end.is_some_and(|d| d >= target), || {
        format!("EXT-X-START {offset} is within three target durations of the end")
    });
}

fn hp_25(playlist: &Media<'_>, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for define in playlist.tags.iter().filter(|tag| tag.name == "EXT-X-DEFINE") {
        let attributes = define.attributes();
        let name = ["NAME", "IMPORT", "QUERYPARAM"].iter().find_map(|key| attributes.get(key));
        findings.expect("HP-25", name.is_some_and(|name| names.insert(*name)), || {
            format!("{:?} defines nothing, or again", define.value)
        });
    }
}

fn hl_27(playlist: &Media<'_>, findings: &mut Findings) {
    let first = playlist.number("EXT-X-MEDIA-SEQUENCE");
    findings.expect("HL-27", first.is_some_and(|first| first >= 1), || {
        format!("EXT-X-MEDIA-SEQUENCE is {first:?}")
    });
}

fn hd_08(playlist: &Media<'_>, findings: &mut Findings) {
    let ranges = playlist.count("EXT-X-DATERANGE");
    let dates = playlist.count("EXT-X-PROGRAM-DATE-TIME");
    findings.expect("HD-08", ranges == 0 || dates > 0, || "date ranges, but no date".into());
}
