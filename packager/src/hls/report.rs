//! Rendition reports (RFC 8216bis §4.4.5.4): where the other renditions are, so that who changes to
//! one asks for the right thing first.

use std::fmt::Write;

use super::parts;
use crate::timeline::Snapshot;

/// Writes a report of every rendition but the one at `index`.
pub(super) fn write(text: &mut String, snapshot: &Snapshot, index: usize) -> std::fmt::Result {
    for (other, rendition) in snapshot.renditions.iter().enumerate() {
        if other == index {
            continue;
        }
        let last = snapshot.tracks.get(other).and_then(|track| track.segments.last());
        let newest = parts::newest(snapshot, other);
        let Some(msn) = newest.map(|(k, _)| k).or_else(|| last.map(|last| last.k)) else {
            continue;
        };
        let name = &rendition.name;
        write!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{name}/index.m3u8\",LAST-MSN={msn}")?;
        if let Some((_, part)) = newest {
            write!(text, ",LAST-PART={part}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}
