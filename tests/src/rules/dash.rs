//! Rules for DASH manifests: rows DM-*, DL-* and DE-*.
//!
//! The XML is read as a tree of names and attributes, so that what a typed reader would drop or
//! repair is judged as it stands.

mod events;
mod low_latency;
mod manifest;
mod schema;
mod sequence;
mod timeline;

use roxmltree::Document;

use super::{Findings, Violation};

pub use schema::{Schema, check_schema};
pub use sequence::check_sequence;

/// Judges a live manifest by itself.
pub fn check(text: &str) -> Vec<Violation> {
    let mut findings = Findings::default();
    match Document::parse(text) {
        Ok(document) => manifest::check(&document, &mut findings),
        Err(error) => findings.add("DM-20", format!("no XML: {error}")),
    }
    findings.0
}

/// Judges what a manifest says about numbers by the media (DM-12, DM-14): `segments` holds number,
/// start and end of a representation's segments, in ticks of its own timescale since the epoch.
pub fn check_media(
    text: &str,
    representation: &str,
    segments: &[(u64, i64, i64)],
    timescale: u32,
) -> Vec<Violation> {
    let mut findings = Findings::default();
    match Document::parse(text) {
        Ok(document) => {
            manifest::dm_12(&document, representation, segments, timescale, &mut findings);
        }
        Err(error) => findings.add("DM-20", format!("no XML: {error}")),
    }
    findings.0
}

/// Judges the clock of a live manifest (DM-05): `now` and the end of the newest segment that can
/// be fetched, in nanoseconds since the epoch, and the publish delay that is granted.
pub fn check_clock(text: &str, now: u64, newest_end: u64, publish_delay: u64) -> Vec<Violation> {
    let mut findings = Findings::default();
    match Document::parse(text) {
        Ok(document) => {
            manifest::dm_05(&document, now, newest_end, publish_delay, &mut findings);
        }
        Err(error) => findings.add("DM-20", format!("no XML: {error}")),
    }
    findings.0
}

#[cfg(test)]
mod tests;
