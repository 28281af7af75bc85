//! Rows HL-*: what one playlist shows of low latency, two states of it, an update and the whole, a
//! segment and its parts; and HP-21, a key frame and its byte range.

use super::playlist::Media;
use super::sequence::head;
use crate::rules::{Findings, Violation};

/// Nanoseconds that printing to the nanosecond may add.
const PRINTED: u64 = 1;
/// Target durations for which parts are listed.
const LISTED: u64 = 3;

pub(super) fn check(playlist: &Media<'_>, findings: &mut Findings) {
    hl_01(playlist, findings);
    if playlist.keys() || playlist.count("EXT-X-PART-INF") == 0 {
        return;
    }
    hl_02(playlist, findings);
    hl_04(playlist, findings);
    hl_06(playlist, findings);
    hl_08(playlist, findings);
    hl_09(playlist, findings);
    hl_17(playlist, findings);
    hl_19(playlist, findings);
    hl_20(playlist, findings);
}

fn target(playlist: &Media<'_>) -> u64 {
    playlist.number("EXT-X-TARGETDURATION").unwrap_or(0) * 1_000_000_000
}

fn part_target(playlist: &Media<'_>) -> u64 {
    playlist.seconds("EXT-X-PART-INF", "PART-TARGET").unwrap_or(0)
}

fn hl_01(playlist: &Media<'_>, findings: &mut Findings) {
    let parts = playlist.count("EXT-X-PART") + playlist.count("EXT-X-PRELOAD-HINT");
    findings.expect("HL-01", parts == 0 || part_target(playlist) > 0, || {
        "parts without an EXT-X-PART-INF".into()
    });
}

fn hl_02(playlist: &Media<'_>, findings: &mut Findings) {
    let longest = part_target(playlist);
    for (k, parts) in playlist.parents() {
        let whole = k < playlist.end();
        for (n, part) in parts.iter().enumerate() {
            let (text, length) = part.duration;
            findings.expect("HL-02", length > 0 && length <= longest, || {
                format!("{}: {text} s, the target is {longest} ns", part.uri)
            });
            // Of an open segment the newest part may be the last.
            let last = n + 1 == parts.len();
            let long_enough = length * 100 >= longest * 85;
            findings.expect("HL-02", long_enough || last || part.gap, || {
                format!("{}: {text} s is below 85 % of {longest} ns", part.uri)
            });
        }
        let segment = playlist.segment(k).filter(|_| whole && !parts.is_empty());
        if let Some(segment) = segment {
            let sum: u64 = parts.iter().map(|part| part.duration.1).sum();
            let off = sum.abs_diff(segment.duration.1);
            findings.expect("HL-02", off <= PRINTED * parts.len() as u64, || {
                format!("{}: its parts are {off} ns off its length", segment.uri)
            });
        }
    }
}

/// What never changes and is the same in all renditions.
pub(super) fn hl_03(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    if before.ended() || after.ended() {
        return;
    }
    for tag in ["EXT-X-PART-INF", "EXT-X-SERVER-CONTROL"] {
        let (old, new) = (before.attributes(tag), after.attributes(tag));
        findings.expect("HL-03", old == new, || format!("{tag} went from {old:?} to {new:?}"));
    }
}

fn hl_04(playlist: &Media<'_>, findings: &mut Findings) {
    let control = |name| playlist.seconds("EXT-X-SERVER-CONTROL", name).unwrap_or(0);
    let part = control("PART-HOLD-BACK");
    findings.expect("HL-04", part >= 3 * part_target(playlist), || {
        format!("PART-HOLD-BACK is {part} ns")
    });
    let hold = control("HOLD-BACK");
    findings.expect("HL-04", hold >= 3 * target(playlist), || format!("HOLD-BACK is {hold} ns"));
}

fn hl_06(playlist: &Media<'_>, findings: &mut Findings) {
    let blocks = playlist.attributes("EXT-X-SERVER-CONTROL").get("CAN-BLOCK-RELOAD").copied();
    findings.expect("HL-06", blocks == Some("YES"), || format!("CAN-BLOCK-RELOAD is {blocks:?}"));
    let hints = playlist.tail.iter().filter(|tag| tag.name == "EXT-X-PRELOAD-HINT");
    let hints: Vec<_> = hints.map(|tag| tag.attributes()).collect();
    let of_parts = hints.iter().filter(|hint| hint.get("TYPE") == Some(&"PART")).count();
    findings.expect("HL-06", of_parts == 1, || format!("{of_parts} hints of parts"));
    for hint in &hints {
        let uri = hint.get("URI").copied().unwrap_or_default();
        let known = playlist.parents().any(|(_, parts)| parts.iter().any(|p| p.uri == uri));
        findings.expect("HL-06", !uri.is_empty() && !known, || format!("the hint of {uri:?}"));
    }
}

fn hl_08(playlist: &Media<'_>, findings: &mut Findings) {
    let open: u64 = playlist.open.iter().map(|part| part.duration.1).sum();
    let mut from_end = open;
    for segment in playlist.segments.iter().rev() {
        let (limit, near) = (LISTED * target(playlist), from_end < LISTED * target(playlist));
        // Sums of rounded lengths don't tell on which side of the limit it is.
        if from_end.abs_diff(limit) < 1_000_000 {
            continue;
        }
        findings.expect("HL-08", near || segment.parts.is_empty(), || {
            format!("{}: parts {from_end} ns from the end", segment.uri)
        });
        findings.expect("HL-08", !near || segment.gap || !segment.parts.is_empty(), || {
            format!("{}: no parts {from_end} ns from the end", segment.uri)
        });
        from_end += segment.duration.1;
    }
}

fn hl_09(playlist: &Media<'_>, findings: &mut Findings) {
    for (k, parts) in playlist.parents() {
        let first = parts.first();
        findings.expect("HL-09", first.is_none_or(|part| part.independent || part.gap), || {
            format!("part 0 of segment {k} is not independent")
        });
    }
    // Between the parts of one segment stands nothing else.
    let mut in_parts = false;
    for tag in &playlist.tags {
        let of_media = ["EXT-X-DISCONTINUITY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME"];
        findings.expect("HL-09", !in_parts || !of_media.contains(&tag.name), || {
            format!("{} between the parts of a segment", tag.name)
        });
        in_parts = tag.name == "EXT-X-PART" || (in_parts && tag.name != "EXTINF");
    }
}

fn hl_17(playlist: &Media<'_>, findings: &mut Findings) {
    let until = playlist.seconds("EXT-X-SERVER-CONTROL", "CAN-SKIP-UNTIL").unwrap_or(0);
    findings
        .expect("HL-17", until >= 6 * target(playlist), || format!("CAN-SKIP-UNTIL is {until} ns"));
    let skips = playlist.count("EXT-X-SKIP");
    findings.expect("HL-17", skips <= 1 && (skips == 0 || playlist.skipped > 0), || {
        format!("{skips} EXT-X-SKIP of {} segments", playlist.skipped)
    });
    if skips == 0 {
        return;
    }
    let left: u64 = playlist.segments.iter().map(|segment| segment.duration.1).sum();
    // Each length is printed to the nearest nanosecond.
    let rounded = playlist.segments.len() as u64;
    findings.expect("HL-17", left + rounded >= until, || {
        format!("{left} ns are left of an update that may skip before {until} ns")
    });
    let position = |name| playlist.tags.iter().position(|tag| tag.name == name);
    let after = position("EXT-X-SKIP") > position("EXT-X-MEDIA-SEQUENCE");
    findings.expect("HL-17", after, || "EXT-X-SKIP before EXT-X-MEDIA-SEQUENCE".into());
}

fn hl_19(playlist: &Media<'_>, findings: &mut Findings) {
    let can = playlist.attributes("EXT-X-SERVER-CONTROL").get("CAN-SKIP-DATERANGES").copied();
    let removed = playlist.attributes("EXT-X-SKIP").get("RECENTLY-REMOVED-DATERANGES").copied();
    findings.expect("HL-19", removed.is_none() || can == Some("YES"), || {
        "date ranges are left out, and CAN-SKIP-DATERANGES does not say so".into()
    });
    let listed =
        removed.is_none_or(|ids| ids.is_empty() || ids.split('\t').all(|id| !id.is_empty()));
    findings.expect("HL-19", listed, || format!("RECENTLY-REMOVED-DATERANGES is {removed:?}"));
}

fn hl_20(playlist: &Media<'_>, findings: &mut Findings) {
    let length: u64 = playlist.segments.iter().map(|segment| segment.duration.1).sum();
    let offered = playlist.attributes("EXT-X-SERVER-CONTROL").contains_key("CAN-SKIP-UNTIL");
    findings.expect("HL-20", offered || length <= 120_000_000_000, || {
        format!("no updates for a playlist of {length} ns")
    });
}

/// Two answers agree on every part that both list, and a hint is kept.
pub(super) fn hl_25(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    let later: Vec<_> = after.parents().collect();
    for (k, old) in before.parents() {
        let new = later.iter().find(|(other, _)| *other == k).map_or(&[][..], |(_, parts)| *parts);
        for (n, (old, new)) in old.iter().zip(new).enumerate() {
            findings.expect("HL-25", old == new, || {
                format!("part {n} of segment {k}: {old:?} became {new:?}")
            });
        }
        let shrunk = !new.is_empty() && new.len() < old.len();
        findings.expect("HL-25", !shrunk, || format!("segment {k} lost parts"));
    }
}

/// Judges the reports of one playlist by the playlists that they are about, of the same moment
/// (HL-06, HL-24): each with its address.
pub fn check_reports(text: &str, others: &[(&str, &str)]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let playlist = Media::parse(text);
    let reports = playlist.tail.iter().filter(|tag| tag.name == "EXT-X-RENDITION-REPORT");
    let reports: Vec<_> = reports.map(|tag| tag.attributes()).collect();
    for (uri, text) in others {
        let Some(report) = reports.iter().find(|report| report.get("URI") == Some(uri)) else {
            findings.add("HL-06", format!("no report of {uri}"));
            continue;
        };
        let other = Media::parse(text);
        let last = other.parents().filter(|(_, parts)| !parts.is_empty()).last();
        let truth = last.map(|(k, parts)| (k, parts.len() as u64 - 1));
        let number = |name: &str| report.get(name).and_then(|text| text.parse::<u64>().ok());
        let told = number("LAST-MSN").zip(number("LAST-PART"));
        findings.expect("HL-24", told == truth, || format!("{uri}: told {told:?}, not {truth:?}"));
    }
    findings.expect("HL-06", reports.len() == others.len(), || {
        format!("{} reports of {} renditions", reports.len(), others.len())
    });
    findings.0
}

/// Judges a segment by its parts (HL-07): one is the others, joined.
pub fn check_parts(segment: &[u8], parts: &[&[u8]]) -> Vec<Violation> {
    let mut findings = Findings::default();
    findings.expect("HL-07", parts.concat() == segment, || {
        let joined: usize = parts.iter().map(|part| part.len()).sum();
        format!("{} parts of {joined} bytes are not the segment of {}", parts.len(), segment.len())
    });
    findings.0
}

/// Puts an update on top of an earlier whole playlist, as a player does: the whole playlist that it
/// stands for. `None` if segments are missing in between.
pub fn merged(before: &str, update: &str) -> Option<String> {
    let (old, new) = (Media::parse(before), Media::parse(update));
    if new.skipped == 0 {
        return Some(update.to_owned());
    }
    let from = head(&new);
    let kept = from..from + new.skipped;
    if from < head(&old) || kept.end > old.end() {
        return None;
    }
    let mut rows: Vec<&str> = Vec::new();
    let mut map: Option<&str> = None;
    let mut k = head(&old);
    let mut block: Vec<&str> = Vec::new();
    for line in before.lines().skip_while(|line| !begins_a_segment(line)) {
        if line.starts_with("#EXT-X-MAP") {
            map = Some(line);
        }
        block.push(line);
        if line.starts_with('#') {
            continue;
        }
        if k == kept.start {
            // What the list begins with needs no mark, and its init segment.
            block.retain(|line| *line != "#EXT-X-DISCONTINUITY" && !line.starts_with("#EXT-X-MAP"));
            rows.extend(map);
        }
        if kept.contains(&k) {
            rows.extend(block.iter().filter(|line| !line.starts_with("#EXT-X-PART:")));
        }
        block.clear();
        k += 1;
    }
    let version = before.lines().find(|line| line.starts_with("#EXT-X-VERSION"))?;
    let mut text = String::new();
    for line in update.lines() {
        let lines = match line {
            line if line.starts_with("#EXT-X-SKIP") => std::mem::take(&mut rows),
            line if line.starts_with("#EXT-X-VERSION") => vec![version],
            line => vec![line],
        };
        text.extend(lines.into_iter().flat_map(|line| [line, "\n"]));
    }
    Some(text)
}

fn begins_a_segment(line: &str) -> bool {
    let of_a_segment =
        ["#EXT-X-MAP", "#EXT-X-PROGRAM", "#EXTINF", "#EXT-X-PART:", "#EXT-X-DISCONTINUITY"];
    of_a_segment.iter().any(|tag| line.starts_with(tag)) && !line.contains("-SEQUENCE")
}

/// Judges an update by an earlier whole playlist and the whole one of its own moment (HL-18).
pub fn check_delta(before: &str, update: &str, whole: &str) -> Vec<Violation> {
    let mut findings = Findings::default();
    match merged(before, update) {
        None => findings.add("HL-18", "segments are missing between the update and what was there"),
        Some(merged) => {
            let differs = merged.lines().zip(whole.lines()).find(|(one, other)| one != other);
            let same = differs.is_none() && merged.lines().count() == whole.lines().count();
            findings.expect("HL-18", same, || format!("not the whole playlist: {differs:?}"));
        }
    }
    findings.0
}

/// Judges an I-frame playlist by its rendition's media playlist (HP-20, HP-21): the same segments,
/// dates and discontinuities; each byte range is one sync sample, told by `range`, which reads the
/// bytes of an address and gives how many samples begin in them and whether the first is a sync
/// sample that ends where they end.
pub fn check_key_frames(
    keys: &str,
    media: &str,
    mut range: impl FnMut(&str, u64, u64) -> Option<bool>,
) -> Vec<Violation> {
    let mut findings = Findings::default();
    let (keys, media) = (Media::parse(keys), Media::parse(media));
    findings.expect("HP-20", keys.keys(), || "no EXT-X-I-FRAMES-ONLY".into());
    findings.expect("HP-20", target(&keys) == target(&media), || {
        format!("target {} ns, elsewhere {} ns", target(&keys), target(&media))
    });
    for key in &keys.segments {
        let Some(same) = media.segment(key.k) else { continue };
        let first = keys.segments.first().is_some_and(|first| first.k == key.k);
        let agree = key.date == same.date
            && key.map == same.map
            && key.gap == same.gap
            && (first || key.discontinuity == same.discontinuity);
        findings.expect("HP-20", agree, || format!("{}: not as in the media playlist", key.uri));
        findings.expect("HP-21", key.duration.1 == same.duration.1, || {
            format!("{}: {} s to the next key frame", key.uri, key.duration.0)
        });
        if let Some((length, offset)) = key.range {
            let one = range(key.uri, length, offset).unwrap_or(false);
            findings.expect("HP-21", one, || format!("{}: not one key frame", key.uri));
        }
    }
    findings.0
}
