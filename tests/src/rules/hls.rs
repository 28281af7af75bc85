//! Rules for HLS playlists: rows HM-*, HP-*, HL-* and HD-*.

mod cue_out;
mod dateranges;
mod low_latency;
mod media;
mod multivariant;
mod playlist;
mod sequence;

use std::collections::BTreeMap;

use super::{Findings, Violation};
use playlist::{Media, Multivariant};

pub use low_latency::{check_delta, check_key_frames, check_parts, check_reports, merged};
pub use sequence::{Arrival, check_pace, check_renditions, check_sequence};

/// Judges a multivariant playlist by itself.
pub fn check_multivariant(text: &str) -> Vec<Violation> {
    let mut findings = Findings::default();
    multivariant::check(&Multivariant::parse(text), &mut findings);
    findings.0
}

/// Judges a live media playlist by itself.
pub fn check_media(text: &str) -> Vec<Violation> {
    let mut findings = Findings::default();
    let media = Media::parse(text);
    media::check(&media, &mut findings);
    low_latency::check(&media, &mut findings);
    dateranges::check(&media, &mut findings);
    cue_out::check(&media, &mut findings);
    findings.0
}

/// Judges the bit rates that a multivariant playlist promises for one variant (HM-05): `segments`
/// holds size in bytes and length in nanoseconds of the variant's segments with their sound's.
pub fn check_bandwidth(text: &str, uri: &str, segments: &[(u64, u64)]) -> Vec<Violation> {
    let mut findings = Findings::default();
    multivariant::hm_05(&Multivariant::parse(text), uri, segments, &mut findings);
    findings.0
}

/// Judges dates and durations of a media playlist by its media (HP-10): `starts` holds the decode
/// time of each segment's first sample, in ticks of `timescale` since the epoch, by number.
pub fn check_times(text: &str, starts: &BTreeMap<u64, i64>, timescale: u32) -> Vec<Violation> {
    let mut findings = Findings::default();
    media::hp_10_times(&Media::parse(text), starts, timescale, &mut findings);
    findings.0
}

#[cfg(test)]
mod tests;
