//! Rows HP-*: two states of one media playlist, and several playlists of one moment.

use super::playlist::Media;
use super::{dateranges, low_latency};
use crate::rules::{Findings, Violation};

/// Nanoseconds of the longest audio frame: 2048 samples at 44.1 kHz, rounded up. Sound starts that
/// much later than pictures at the most.
const AUDIO_FRAME: u64 = 46_500_000;
/// A playlist that has begun to drop segments holds this many (APL 8.11).
const MIN_SEGMENTS: usize = 6;

/// Judges a later answer of the same media playlist by an earlier one.
pub fn check_sequence(before: &str, after: &str) -> Vec<Violation> {
    let (before, after) = (Media::parse(before), Media::parse(after));
    let mut findings = Findings::default();
    dateranges::follow(&before, &after, &mut findings);
    hp_02(&before, &after, &mut findings);
    hp_03(&before, &after, &mut findings);
    hp_04(&before, &after, &mut findings);
    hp_05(&before, &after, &mut findings);
    hp_13(&before, &after, &mut findings);
    hp_17(&before, &after, &mut findings);
    hp_18(&before, &after, &mut findings);
    low_latency::hl_03(&before, &after, &mut findings);
    low_latency::hl_25(&before, &after, &mut findings);
    findings.0
}

pub(super) fn head(playlist: &Media<'_>) -> u64 {
    playlist.number("EXT-X-MEDIA-SEQUENCE").unwrap_or(0)
}

fn hp_02(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    let target = |playlist: &Media<'_>| playlist.number("EXT-X-TARGETDURATION");
    findings.expect("HP-02", target(before) == target(after), || {
        format!("EXT-X-TARGETDURATION went from {:?} to {:?}", target(before), target(after))
    });
}

fn hp_03(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    findings.expect("HP-03", head(before) <= head(after), || {
        format!("EXT-X-MEDIA-SEQUENCE went from {} to {}", head(before), head(after))
    });
    findings.expect("HP-03", before.end() <= after.end(), || {
        format!("the end went from {} to {}", before.end(), after.end())
    });
}

fn hp_04(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    for (old, new) in before.segments.iter().filter_map(|old| Some((old, after.segment(old.k)?))) {
        let same = old.uri == new.uri && old.duration.1 == new.duration.1 && old.map == new.map;
        findings.expect("HP-04", same, || {
            format!(
                "segment {}: {} {} became {} {}",
                old.k, old.uri, old.duration.0, new.uri, new.duration.0
            )
        });
        let dates_agree = old.date.is_none() || new.date.is_none() || old.date == new.date;
        findings.expect("HP-04", dates_agree, || format!("segment {} has another date", old.k));
    }
}

fn hp_05(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    if head(after) == head(before) || after.ended() {
        return;
    }
    let length: u64 = after.segments.iter().map(|segment| segment.duration.1).sum();
    let target = after.number("EXT-X-TARGETDURATION").unwrap_or(0);
    let enough = after.segments.len() >= MIN_SEGMENTS && length >= 3 * target * 1_000_000_000;
    findings.expect("HP-05", enough, || {
        let (count, from, to) = (after.segments.len(), head(before), head(after));
        format!("{count} segments of {length} ns are left; the head went from {from} to {to}, the end from {} to {}", before.end(), after.end())
    });
}

fn hp_13(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    let number = |playlist: &Media<'_>| playlist.number("EXT-X-DISCONTINUITY-SEQUENCE");
    let (Some(old), Some(new)) = (number(before), number(after)) else { return };
    findings.expect("HP-13", old <= new, || {
        format!("EXT-X-DISCONTINUITY-SEQUENCE went from {old} to {new}")
    });
    if head(after) < head(before) || head(after) >= before.end() {
        return;
    }
    // The tag before the new first segment left with the segments before it.
    let left = before
        .segments
        .iter()
        .filter(|segment| segment.discontinuity && segment.k <= head(after))
        .count() as u64;
    let tag_left = after.segments.first().is_some_and(|first| !first.discontinuity);
    let left = if tag_left { left } else { left.saturating_sub(1) };
    findings.expect("HP-13", new == old + left, || {
        format!("{left} discontinuities left, the number went from {old} to {new}")
    });
}

fn hp_17(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    for old in &before.segments {
        let Some(new) = after.segment(old.k) else { continue };
        findings.expect("HP-17", old.gap == new.gap, || {
            format!("segment {}: gap {} became {}", old.k, old.gap, new.gap)
        });
    }
}

fn hp_18(before: &Media<'_>, after: &Media<'_>, findings: &mut Findings) {
    if before.ended() {
        findings.expect("HP-18", after.ended() && before.end() == after.end(), || {
            "the playlist went on after its EXT-X-ENDLIST".into()
        });
    }
}

/// A state of a media playlist, and when it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Nanoseconds on any clock that does not jump.
    pub at: u64,
    /// The playlist.
    pub text: &'a str,
}

/// Judges how fast a playlist grows (HP-07): a new segment at most 1.5 TARGETDURATION after the
/// last. `slack` nanoseconds are granted for the asking itself.
pub fn check_pace(arrivals: &[Arrival<'_>], slack: u64) -> Vec<Violation> {
    let mut findings = Findings::default();
    let mut last: Option<(u64, u64)> = None;
    for arrival in arrivals {
        let playlist = Media::parse(arrival.text);
        let limit = playlist.number("EXT-X-TARGETDURATION").unwrap_or(0) * 1_500_000_000 + slack;
        let (since, end) = last.unwrap_or_else(|| (arrival.at, playlist.end()));
        findings.expect("HP-07", arrival.at - since <= limit || playlist.ended(), || {
            format!("nothing behind segment {end} for {} ns", arrival.at - since)
        });
        last = Some(if playlist.end() > end { (arrival.at, playlist.end()) } else { (since, end) });
    }
    findings.0
}

/// Judges the media playlists of all renditions of one moment by each other (HP-09, HP-11, HP-12).
pub fn check_renditions(texts: &[&str]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let playlists: Vec<_> = texts.iter().map(|text| Media::parse(text)).collect();
    let Some((first, others)) = playlists.split_first() else { return findings.0 };
    for (position, other) in others.iter().enumerate() {
        let place = format!("rendition {}", position + 1);
        hp_09(first, other, &place, &mut findings);
        hp_11(first, other, &place, &mut findings);
        hp_12(first, other, &place, &mut findings);
        low_latency::hl_03(first, other, &mut findings);
    }
    findings.0
}

fn hp_09(first: &Media<'_>, other: &Media<'_>, place: &str, findings: &mut Findings) {
    for (one, two) in first.segments.iter().filter_map(|one| Some((one, other.segment(one.k)?))) {
        let (Some(one_date), Some(two_date)) = (one.date, two.date) else { continue };
        findings.expect("HP-09", one_date.abs_diff(two_date) <= AUDIO_FRAME, || {
            format!(
                "{place}, segment {}: dates differ by {} ns",
                one.k,
                one_date.abs_diff(two_date)
            )
        });
    }
}

fn hp_11(first: &Media<'_>, other: &Media<'_>, place: &str, findings: &mut Findings) {
    let target = |playlist: &Media<'_>| playlist.number("EXT-X-TARGETDURATION");
    findings.expect("HP-11", target(first) == target(other), || {
        format!("{place}: target {:?}, elsewhere {:?}", target(other), target(first))
    });
    // With low latency each lists a segment when it has it itself, one a moment before the other.
    let range = |playlist: &Media<'_>| (head(playlist), playlist.end());
    let apart =
        u64::from(first.attributes("EXT-X-SERVER-CONTROL").contains_key("CAN-BLOCK-RELOAD"));
    let agree = head(first) == head(other) && first.end().abs_diff(other.end()) <= apart;
    findings.expect("HP-11", agree, || {
        format!("{place}: covers {:?}, elsewhere {:?}", range(other), range(first))
    });
    for (one, two) in first.segments.iter().filter_map(|one| Some((one, other.segment(one.k)?))) {
        findings.expect("HP-11", one.duration.1.abs_diff(two.duration.1) <= AUDIO_FRAME, || {
            format!(
                "{place}, segment {}: {} s, elsewhere {}",
                one.k, two.duration.0, one.duration.0
            )
        });
    }
}

fn hp_12(first: &Media<'_>, other: &Media<'_>, place: &str, findings: &mut Findings) {
    // Where both lists are: each has its own moment of growing.
    let from = head(first).max(head(other));
    let to = first.end().min(other.end());
    let marks = |playlist: &Media<'_>| {
        let marked = playlist.segments.iter().filter(|segment| segment.discontinuity);
        let before = marked.clone().filter(|segment| segment.k <= from).count() as u64;
        let both = marked.filter(|segment| (from + 1..to).contains(&segment.k));
        let numbers: Vec<_> = both.map(|segment| segment.k).collect();
        let sequence = playlist.number("EXT-X-DISCONTINUITY-SEQUENCE");
        (sequence.map(|sequence| sequence + before), numbers)
    };
    findings.expect("HP-12", marks(first) == marks(other), || {
        format!("{place}: discontinuities {:?}, elsewhere {:?}", marks(other), marks(first))
    });
}
