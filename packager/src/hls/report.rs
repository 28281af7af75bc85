//! Rendition reports (RFC 8216bis §4.4.5.4): where the other renditions are, so that who changes to
//! one asks for the right thing first.

use std::fmt::Write;

use super::parts;
use crate::timeline::Snapshot;

/// Writes a report of every rendition but the one at `index`.
///
/// From a gap a report of a segment's first part is that of the part before it. hls.js (1.7.4) takes
/// `LAST-PART=0` for none and asks for part N instead, the last of the playlist that it leaves: of a gap
/// all parts are listed at once, so that it would wait for the end of the segment, with a picture that
/// stands. Asking for what is there already costs nobody anything.
pub(super) fn write(text: &mut String, snapshot: &Snapshot, index: usize) -> std::fmt::Result {
    let own = snapshot.tracks.get(index).and_then(|track| track.open.as_ref());
    let from_gap = own.is_some_and(|open| open.gap.is_some());
    for (other, rendition) in snapshot.renditions.iter().enumerate() {
        if other == index {
            continue;
        }
        let last = snapshot.tracks.get(other).and_then(|track| track.segments.last());
        let mut listed = parts::listed(snapshot, other);
        let newest = listed.next();
        let before = listed.next().filter(|_| from_gap && newest.is_some_and(|(_, n)| n == 1));
        let newest = before.or(newest);
        let Some(msn) = newest.map(|(k, _)| k).or_else(|| last.map(|last| last.k)) else {
            continue;
        };
        let name = &rendition.name;
        write!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{name}/index.m3u8\",LAST-MSN={msn}")?;
        if let Some((_, parts)) = newest {
            write!(text, ",LAST-PART={}", parts - 1)?;
        }
        writeln!(text)?;
    }
    Ok(())
}
