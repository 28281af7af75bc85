//! Rows HD-*: date ranges that carry SCTE-35, in one media playlist and from one to the next.

use super::playlist::{Attributes, Media, Tag};
use crate::rules::{Findings, date_nanos, nanos};

/// Nanoseconds by which two dates that are the same may differ: they are printed in microseconds.
const SAME: u64 = 1_000_000;
/// Nanoseconds of the longest audio frame: sound is cut that much later at the most.
const AUDIO_FRAME: u64 = 46_500_000;

/// The date ranges of a playlist, in order.
fn ranges<'a>(playlist: &Media<'a>) -> Vec<Attributes<'a>> {
    let tags = playlist.tags.iter().filter(|tag| tag.name == "EXT-X-DATERANGE");
    tags.map(Tag::attributes).collect()
}

pub(super) fn check(playlist: &Media<'_>, findings: &mut Findings) {
    let ranges = ranges(playlist);
    let mut ids: Vec<_> = ranges.iter().filter_map(|range| range.get("ID")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    findings.expect("HD-01", ids.len() == count, || "an ID stands in two tags".into());
    for range in &ranges {
        hd_01(range, findings);
        hd_02(range, findings);
        hd_03(range, findings);
        hd_05(range, findings);
        hd_06(range, playlist, findings);
    }
}

fn id<'a>(range: &Attributes<'a>) -> &'a str {
    range.get("ID").copied().unwrap_or("?")
}

fn date(range: &Attributes<'_>, name: &str) -> Option<u64> {
    date_nanos(range.get(name)?)
}

fn hd_01(range: &Attributes<'_>, findings: &mut Findings) {
    findings.expect("HD-01", range.contains_key("ID"), || format!("no ID in {range:?}"));
    let dated = date(range, "START-DATE").is_some();
    findings.expect("HD-01", dated, || format!("{}: no START-DATE", id(range)));
}

/// The sections of a tag with their attributes.
fn sections(range: &Attributes<'_>) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let names = ["SCTE35-OUT", "SCTE35-IN", "SCTE35-CMD"];
    names.into_iter().filter_map(|name| Some((name, hex(range.get(name)?)))).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

/// Whether bytes are a splice information section from its first byte to its checksum.
fn is_section(bytes: &[u8]) -> bool {
    let [0xfc, high, low, ..] = *bytes else { return false };
    let length = usize::from(u16::from_be_bytes([high & 0x0f, low])) + 3;
    // With its own checksum at the end, the checksum of the whole is 0.
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            let shifted = crc << 1;
            if crc >> 31 == 1 { shifted ^ 0x04c1_1db7 } else { shifted }
        })
    });
    length == bytes.len() && crc == 0
}

fn hd_02(range: &Attributes<'_>, findings: &mut Findings) {
    for (name, bytes) in sections(range) {
        let whole = bytes.is_some_and(|bytes| is_section(&bytes));
        findings.expect("HD-02", whole, || format!("{}: {name} is no section", id(range)));
    }
}

/// `splice_event_id`, where the section is a `splice_insert`.
fn event_id(section: &[u8]) -> Option<[u8; 4]> {
    (*section.get(13)? == 5).then(|| section.get(14..18)?.try_into().ok())?
}

fn hd_03(range: &Attributes<'_>, findings: &mut Findings) {
    let sections = sections(range);
    let of = |wanted: &str| {
        sections.iter().find(|(name, _)| *name == wanted).and_then(|(_, bytes)| bytes.as_deref())
    };
    let Some(end) = of("SCTE35-IN") else { return };
    let Some(begin) = of("SCTE35-OUT") else {
        return findings.add("HD-03", format!("{}: an IN without its OUT", id(range)));
    };
    let same = match (event_id(begin), event_id(end)) {
        (Some(begin), Some(end)) => begin == end,
        _ => true,
    };
    findings.expect("HD-03", same, || format!("{}: OUT and IN of two events", id(range)));
}

fn hd_05(range: &Attributes<'_>, findings: &mut Findings) {
    let length = |name: &str| range.get(name).map(|text| nanos(text));
    for name in ["DURATION", "PLANNED-DURATION"] {
        findings.expect("HD-05", length(name) != Some(None), || {
            format!("{}: {name} is no number of seconds", id(range))
        });
    }
    let (start, end) = (date(range, "START-DATE"), date(range, "END-DATE"));
    if let (Some(start), Some(end), Some(Some(length))) = (start, end, length("DURATION")) {
        let same = end.abs_diff(start + length) <= SAME;
        findings.expect("HD-05", same, || format!("{}: START and DURATION are not END", id(range)));
    }
    let told = sections(range).into_iter().find(|(name, _)| *name == "SCTE35-OUT");
    let told = told.and_then(|(_, bytes)| break_duration(&bytes?));
    if let (Some(told), Some(Some(planned))) = (told, length("PLANNED-DURATION")) {
        let same = planned.abs_diff(told * 100_000 / 9) <= SAME;
        findings.expect("HD-05", same, || format!("{}: another length is planned", id(range)));
    }
}

/// `break_duration` of a `splice_insert` of the whole programme, in ticks of 1/90000 s.
fn break_duration(section: &[u8]) -> Option<u64> {
    event_id(section)?;
    let flags = *section.get(19)?;
    let (program, long, immediate) = (flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
    let timed = section.get(20)? & 0x80 != 0;
    let at = 20
        + if immediate {
            0
        } else if timed {
            5
        } else {
            1
        };
    let bytes = section.get(at..at + 5).filter(|_| program && long)?;
    let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Some(word & 0x1_ffff_ffff)
}

/// A range begins with a segment, if that is listed: the date is that of the splice's frame.
fn hd_06(range: &Attributes<'_>, playlist: &Media<'_>, findings: &mut Findings) {
    // Where no key frame could be asked for: the nearest one.
    let cuts = [("START-DATE", "X-HEADWATER-CUT"), ("END-DATE", "X-HEADWATER-END-CUT")];
    for (name, cut) in cuts {
        if range.get("X-HEADWATER-CUT") == Some(&"NO") {
            continue;
        }
        let name = if range.contains_key(cut) { cut } else { name };
        let Some(at) = date(range, name) else { continue };
        let dates = || playlist.segments.iter().filter_map(|segment| segment.date);
        let listed = dates().min().is_some_and(|first| first <= at)
            && dates().max().is_some_and(|last| last >= at);
        let begins = |date: u64| date + SAME >= at && date <= at + AUDIO_FRAME;
        findings.expect("HD-06", !listed || dates().any(begins), || {
            format!("{}: no segment begins at its {name}", id(range))
        });
    }
}

/// Judges the ranges of a later answer by those of an earlier one.
pub(super) fn follow(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    let new = ranges(after);
    for old in ranges(before) {
        match new.iter().find(|range| range.get("ID") == old.get("ID")) {
            Some(new) => hd_04(&old, new, findings),
            None => hd_07(&old, (before, after), findings),
        }
    }
}

fn hd_04(old: &Attributes<'_>, new: &Attributes<'_>, findings: &mut Findings) {
    for (name, value) in old {
        findings.expect("HD-04", new.get(name) == Some(value), || {
            format!("{}: {name} went from {value} to {:?}", id(old), new.get(name))
        });
    }
}

/// A range goes when the segments it has to do with are gone, or before there is one.
fn hd_07(old: &Attributes<'_>, (before, after): (&Media<'_>, &Media<'_>), findings: &mut Findings) {
    let start = date(old, "START-DATE").unwrap_or(0);
    let over = date(old, "END-DATE").or_else(|| old.contains_key("SCTE35-CMD").then_some(start));
    let first = after.segments.first().and_then(|segment| segment.date).unwrap_or(u64::MAX);
    let last = before.segments.last().and_then(|segment| Some(segment.date? + segment.duration.1));
    let not_begun = last.is_some_and(|last| start >= last);
    findings.expect("HD-07", not_begun || over.is_some_and(|over| over <= first), || {
        format!("{}: went while its segments are there", id(old))
    });
}
