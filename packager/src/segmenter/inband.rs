//! Cues in the media itself: `emsg` boxes of SCTE-35 (`urn:scte:scte35:2013:bin`; ANSI/SCTE 214-3), in
//! front of the first chunk of segments of pictures.
//!
//! From the first segment that no rendition has begun when a cue is told, up to the one that begins with
//! its splice, each carries it: who joins in between hears of it too. All renditions of pictures have the
//! same boxes in the same segments, and so have any two nodes that hear of the same cues at the same
//! place in the stream.

use bytes::Bytes;

use crate::cmaf::{self, EventSpec};
use crate::scte35::{Cue, INBAND_SCHEME, Phase};
use crate::time::{Rounding, Span, Timescale};

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Inband(Vec<Event>);

#[derive(Debug)]
struct Event {
    id: u32,
    /// The first segment that carries it.
    from_k: u64,
    /// When it is, in video ticks.
    at: i64,
    bytes: Bytes,
}

impl Inband {
    /// These are the cues from now on, in ticks of `scale`; `next_k` is the first segment that no
    /// rendition of pictures has begun.
    pub(super) fn follow(&mut self, cues: &[Cue], scale: Timescale, next_k: u64) {
        let known = std::mem::take(&mut self.0);
        let coming = cues.iter().filter(|cue| cue.is_listed() && cue.phase != Phase::Ended);
        for cue in coming {
            let begins = (cue.begin_event(), lasts(cue, scale));
            let ends = cue.end_event().map(|event| (event, 0));
            for (event, duration) in std::iter::once(begins).chain(ends) {
                let from_k = known.iter().find(|known| known.id == event.id);
                let from_k = from_k.map_or(next_k, |known| known.from_k);
                let bytes = cmaf::emsg(&EventSpec {
                    scheme: INBAND_SCHEME,
                    scale,
                    at: event.at,
                    duration,
                    id: event.id,
                    message: event.section,
                });
                self.0.push(Event { id: event.id, from_k, at: event.at, bytes });
            }
        }
    }

    /// What the first chunk of segment `k` carries, which begins at `start`.
    pub(super) fn of_segment(&self, k: u64, start: i64) -> Vec<Bytes> {
        let carried = self.0.iter().filter(|event| event.from_k <= k && event.at >= start);
        carried.map(|event| event.bytes.clone()).collect()
    }
}

/// How long a cue is said to last: where nobody said, as long as it can. Never "unknown", which DVB does
/// not allow (ETSI TS 103 285 §9.1.9).
fn lasts(cue: &Cue, scale: Timescale) -> u32 {
    let planned = cue.planned.map(|ticks| Span::new(ticks, Timescale::MPEG));
    let at_most = cue.end.as_ref().map_or(0, |end| end.at.abs_diff(cue.start));
    let ticks = planned.map_or(at_most, |planned| planned.ticks_in(scale, Rounding::Nearest));
    u32::try_from(ticks).unwrap_or(u32::MAX - 1)
}
