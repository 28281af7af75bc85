//! Rows DE-01 and DE-05 to DE-08, of events that stand in the segments: what they are, which segments
//! carry them, and what the manifest says of them.

use std::collections::{BTreeMap, BTreeSet};

use packager::cmaf::read::{self, Chunk, Event};
use roxmltree::Document;

use super::{Findings, Violation};

/// What sections of SCTE-35 are called inband.
const SCHEME: &str = "urn:scte:scte35:2013:bin";
/// How long before its splice an event has to be told, in seconds (DE-07).
const AHEAD: u64 = 4;

/// A track's segments in order: number, ticks per second, bytes.
pub struct Carried<'a> {
    /// Ticks per second.
    pub timescale: u32,
    /// By number.
    pub segments: &'a BTreeMap<u64, &'a [u8]>,
}

/// Judges the events that segments of one representation carry (DE-01, DE-05, DE-06, DE-07). `told` says
/// by event when it was known, in ticks: before that no segment can carry it.
pub fn check_carried(track: &Carried<'_>, told: &BTreeMap<u32, u64>) -> Vec<Violation> {
    let mut findings = Findings::default();
    let mut carried: BTreeMap<u32, (Event, BTreeSet<u64>)> = BTreeMap::new();
    let mut starts = BTreeMap::new();
    for (k, bytes) in track.segments {
        let chunks = match read::chunks(bytes) {
            Ok(chunks) => chunks,
            Err(error) => {
                findings.add("DE-05", format!("segment {k} can't be read: {error}"));
                continue;
            }
        };
        let Some(start) = chunks.first().map(|chunk| chunk.base_decode_time) else { continue };
        starts.insert(*k, start);
        de_06_first(*k, &chunks, &mut findings);
        for event in chunks.iter().flat_map(|chunk| &chunk.events) {
            de_01(*k, event, &mut findings);
            de_05(*k, event, (start, track.timescale), &mut findings);
            let known = carried.entry(event.id).or_insert_with(|| (event.clone(), BTreeSet::new()));
            findings.expect("DE-04", known.0 == *event, || {
                format!("segment {k}: event {} is another one than before", event.id)
            });
            known.1.insert(*k);
        }
    }
    for (id, (event, numbers)) in &carried {
        de_07((*id, event), numbers, &starts, told.get(id).copied(), &mut findings);
    }
    findings.0
}

/// Events are whole sections.
fn de_01(k: u64, event: &Event, findings: &mut Findings) {
    let [0xfc, high, low, ..] = event.message[..] else {
        return findings.add("DE-01", format!("segment {k}: no section"));
    };
    let length = usize::from(u16::from_be_bytes([high & 0x0f, low])) + 3;
    findings.expect("DE-01", event.scheme == SCHEME && length == event.message.len(), || {
        format!("segment {k}: {} bytes of {}", event.message.len(), event.scheme)
    });
}

/// An event is told in the track's own time, and is not over when it is told.
fn de_05(k: u64, event: &Event, (start, timescale): (u64, u32), findings: &mut Findings) {
    findings.expect("DE-05", event.version == 1, || {
        format!("segment {k}: emsg of version {}", event.version)
    });
    findings.expect("DE-05", event.timescale == timescale, || {
        format!("segment {k}: {} ticks a second, the track has {timescale}", event.timescale)
    });
    findings.expect("DE-05", event.time >= start, || {
        format!("segment {k}: begins at {start}, behind its event at {}", event.time)
    });
    findings.expect("DE-03", event.duration != u32::MAX, || {
        format!("segment {k}: an event of unknown length")
    });
}

/// Events stand before the first `moof` of a segment.
fn de_06_first(k: u64, chunks: &[Chunk], findings: &mut Findings) {
    let late = chunks.iter().skip(1).any(|chunk| !chunk.events.is_empty());
    findings.expect("DE-06", !late, || format!("segment {k}: an event within the segment"));
}

/// An event is told in time, and again in every segment up to its splice.
fn de_07(
    (id, event): (u32, &Event),
    numbers: &BTreeSet<u64>,
    starts: &BTreeMap<u64, u64>,
    told: Option<u64>,
    findings: &mut Findings,
) {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return };
    let missing = (*first..=*last).find(|k| starts.contains_key(k) && !numbers.contains(k));
    findings.expect("DE-07", missing.is_none(), || format!("event {id}: not in {missing:?}"));
    // The last that could carry it begins with its splice.
    let could = starts.iter().filter(|(_, start)| **start <= event.time).map(|(k, _)| *k);
    findings.expect("DE-07", could.max() == Some(*last), || {
        format!("event {id}: the last that carries it is {last}")
    });
    let Some(told) = told else { return };
    let ahead = AHEAD * u64::from(event.timescale);
    let in_time = told.saturating_add(ahead) <= event.time;
    let first_after = starts.iter().find(|(_, start)| **start >= told).map(|(k, _)| *k);
    findings.expect("DE-07", !in_time || first_after.is_none_or(|k| *first <= k + 1), || {
        format!("event {id}: known before {first_after:?}, and told from {first} on")
    });
}

/// Judges that representations of one set carry the same events in the same segments (DE-06).
pub fn check_same(tracks: &[&BTreeMap<u64, &[u8]>]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let events = |bytes: &[u8]| -> Vec<Event> {
        let chunks = read::chunks(bytes).unwrap_or_default();
        chunks.into_iter().flat_map(|chunk| chunk.events).collect()
    };
    let Some((first, rest)) = tracks.split_first() else { return findings.0 };
    for other in rest {
        for (k, bytes) in first.iter() {
            let same = other.get(k).is_none_or(|other| events(other) == events(bytes));
            findings.expect("DE-06", same, || format!("segment {k}: other events in other rungs"));
        }
    }
    findings.0
}

/// Judges what a manifest says of events in the segments (DE-01, DE-08): each scheme is declared, and
/// sets that share events count time alike.
pub fn check_declared(mpd: &str, schemes: &BTreeSet<&str>) -> Vec<Violation> {
    let mut findings = Findings::default();
    let document = match Document::parse(mpd) {
        Ok(document) => document,
        Err(error) => {
            findings.add("DE-01", format!("no XML: {error}"));
            return findings.0;
        }
    };
    let named = |name: &'static str| {
        document
            .descendants()
            .filter(move |node| node.has_tag_name(name) || node.tag_name().name() == name)
    };
    let declared: BTreeSet<_> =
        named("InbandEventStream").filter_map(|stream| stream.attribute("schemeIdUri")).collect();
    for scheme in schemes {
        findings.expect("DE-01", declared.contains(scheme), || format!("{scheme} is not declared"));
    }
    for period in named("Period") {
        let mut offsets: BTreeMap<&str, BTreeSet<u128>> = BTreeMap::new();
        let own = |name: &'static str| {
            period.descendants().filter(move |node| node.tag_name().name() == name)
        };
        for stream in own("InbandEventStream") {
            let set = stream.ancestors().find(|node| node.tag_name().name() == "AdaptationSet");
            let template = set.and_then(|set| {
                set.descendants().find(|node| node.tag_name().name() == "SegmentTemplate")
            });
            let number = |name| template?.attribute(name)?.parse::<u128>().ok();
            let (Some(offset), Some(scale)) =
                (number("presentationTimeOffset"), number("timescale"))
            else {
                continue;
            };
            let scheme = stream.attribute("schemeIdUri").unwrap_or_default();
            // In nanoseconds, rounded: sets count in ticks of their own.
            let nanos = (offset * 2_000_000_000 + scale) / (2 * scale.max(1));
            offsets.entry(scheme).or_default().insert(nanos);
        }
        for (scheme, offsets) in offsets {
            findings.expect("DE-08", offsets.len() == 1, || {
                format!("{scheme}: sets that carry it count from {offsets:?}")
            });
        }
    }
    findings.0
}

#[cfg(test)]
mod tests;
