//! What a journal's records add up to.

use std::collections::BTreeMap;

use packager::grid::splices::Splices;
use packager::scte35::Cue;

use super::kept::Kept;
use super::record::{CuesRecord, Record, RunRecord, StoredFormat, StoredRendition};

/// A start of a machine whose id does not matter any more.
const BEFORE: &str = "before";
/// Cues in a record, where all are written: a cue has below 12 kB, with both of its sections.
const CUES_PER_RECORD: usize = 32;

/// What the records add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct State {
    pub(in crate::store) format: Option<StoredFormat>,
    pub(in crate::store) last_k: Option<u64>,
    pub(in crate::store) last_discontinuity: Option<u64>,
    /// Ids sort by time.
    pub(in crate::store) last_run: Option<String>,
    /// Whether a run has begun since the channel last ended.
    pub(in crate::store) live: bool,
    /// Boot id of the machine when the newest record was written.
    pub(in crate::store) boot: Option<String>,
    /// The newest run when the machine last went down: what was listed last of it may be lost.
    broken_off: Option<String>,
    pub(in crate::store) runs: BTreeMap<String, RunRecord>,
    pub(in crate::store) segments: Kept,
    /// By acceptance.
    pub(in crate::store) cues: Vec<Cue>,
    pub(in crate::store) splices: Splices,
    /// S3 has everything up to this number.
    pub(in crate::store) drained: Option<u64>,
}

impl State {
    /// Adds a record.
    pub(in crate::store) fn apply(&mut self, record: Record) {
        match record {
            Record::Format(format) => {
                let before = self.format.as_ref().filter(|before| before.grid != format.grid);
                if let Some(before) = before {
                    // Numbers and media so far are those of the grid before, of an earlier process.
                    self.last_k = self.last_k.map(|k| before.renumbered(k, &format.grid));
                    self.forget_media();
                }
                self.format = Some(format);
            }
            Record::Mark { last_k, last_discontinuity, last_run, live } => {
                self.last_k = self.last_k.max(last_k);
                self.last_discontinuity = self.last_discontinuity.max(last_discontinuity);
                self.last_run = self.last_run.take().max(last_run);
                self.live = live;
            }
            Record::Run(run) => {
                self.last_discontinuity = self.last_discontinuity.max(Some(run.discontinuity));
                self.last_run = self.last_run.take().max(Some(run.id.clone()));
                self.live = true;
                self.broken_off = None;
                let before = self.runs.keys().next_back().cloned();
                self.runs.insert(run.id.clone(), run);
                if let Some(before) = before {
                    self.drop_if_empty(&before);
                }
            }
            Record::Stretch { run, stretch } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    // One that was given up before anything was in it has the same number.
                    run.stretches.retain(|before| before.stretch < stretch.stretch);
                    run.stretches.push(stretch);
                }
            }
            Record::Boot { id } => {
                if self.boot.as_ref().is_some_and(|before| *before != id) {
                    self.broken_off = self.runs.keys().next_back().cloned();
                }
                self.boot = Some(id);
            }
            Record::Cues(cues) => self.apply_cues(cues),
            Record::Ended => self.live = false,
            Record::Segment(segment) => {
                self.last_k = self.last_k.max(Some(segment.key.k));
                self.segments.insert(segment);
            }
            Record::Removed(key) => {
                self.segments.remove(&key);
                self.drop_if_empty(&key.run);
            }
            Record::Drained { k } => self.drained = self.drained.max(Some(k)),
        }
    }

    fn apply_cues(&mut self, CuesRecord { splices, told, gone }: CuesRecord) {
        self.splices = splices;
        self.cues.retain(|cue| !gone.contains(&cue.id));
        for cue in told {
            match self.cues.iter_mut().find(|known| known.id == cue.id) {
                Some(known) => *known = cue,
                None => self.cues.push(cue),
            }
        }
    }

    /// Whether the machine has gone down since the newest run began: its last names may have been used for
    /// what is lost.
    pub(in crate::store) fn went_down(&self) -> bool {
        self.broken_off.is_some() && self.broken_off.as_ref() == self.runs.keys().next_back()
    }

    /// Forgets every run and segment, and keeps the numbers they used.
    pub(in crate::store) fn forget_media(&mut self) {
        self.runs.clear();
        self.segments.clear();
        self.cues.clear();
        self.splices = Splices::default();
        self.drained = None;
        self.broken_off = None;
    }

    /// A run without a segment says nothing any more, except the newest: its first is to come. Nor do
    /// stretches that lie before all segments.
    fn drop_if_empty(&mut self, id: &str) {
        let Some(run) = self.runs.get(id) else { return };
        let first = |rendition: &StoredRendition| {
            self.segments.track(id, &rendition.name).next().map(|(k, _)| k)
        };
        let lowest = run.renditions.iter().filter_map(first).min();
        let newest = self.runs.keys().next_back().is_some_and(|newest| newest == id);
        match (lowest, self.runs.get_mut(id)) {
            (Some(lowest), Some(run)) => {
                let needed = run.stretches.partition_point(|s| s.first_k <= lowest);
                run.stretches.drain(..needed.saturating_sub(1));
            }
            (None, _) if !newest => drop(self.runs.remove(id)),
            _ => {}
        }
    }

    /// How many records these are at the most.
    pub(in crate::store) fn len(&self) -> usize {
        let cues = self.cues.len().div_ceil(CUES_PER_RECORD);
        self.runs.len().saturating_add(self.segments.len()).saturating_add(cues).saturating_add(4)
    }

    /// The fewest records that add up to this.
    pub(in crate::store) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let Self { last_k, last_discontinuity, live, .. } = *self;
        let last_run = self.last_run.clone();
        let mark = Record::Mark { last_k, last_discontinuity, last_run, live };
        let format = self.format.iter().cloned().map(Record::Format);
        // Each with its segments, since a run without one is forgotten when the next one begins.
        let runs = self.runs.values().flat_map(|run| {
            let tracks = run.renditions.iter();
            let segments = tracks.flat_map(|r| self.segments.records_of(&run.id, &r.name));
            let segments = segments.map(Record::Segment);
            std::iter::once(Record::Run(run.clone())).chain(segments)
        });
        // The mark comes last: it knows whether the channel has ended since its last run began.
        let boot = self.boot.iter().cloned().map(|id| Record::Boot { id });
        let before = Record::Boot { id: BEFORE.to_owned() };
        let before = self.went_down().then_some(before);
        let cues = self.cues.chunks(CUES_PER_RECORD).map(|told| {
            let (splices, told) = (self.splices.clone(), told.to_vec());
            Record::Cues(CuesRecord { splices, told, gone: Vec::new() })
        });
        let drained = self.drained.iter().map(|k| Record::Drained { k: *k });
        let (before, runs) = (format.chain(before), runs.chain(boot).chain(cues));
        before.chain(runs).chain(drained).chain(std::iter::once(mark))
    }
}
