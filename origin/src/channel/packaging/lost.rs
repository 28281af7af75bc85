//! Numbers that may have been used, of which nothing is known: the machine that made the channel went
//! down, with its newest records and with what it had open.
//!
//! Players know such a number under an address of the run that broke off, and take one under which the
//! same number has another address for broken. So these are gaps of that run, in the journal as in the
//! timeline, and the next run begins behind them.

use super::Packaging;
use crate::channel::cutting::Begin;

/// How many numbers may have been used beyond the newest that is known: one that was closed and whose
/// record is not where the others are, within the second that this takes, and the one that was open.
const UNKNOWN: u64 = 2;

impl Packaging {
    /// Gives up what may have been listed of the run that broke off, where there is one: another run
    /// of the same renditions begins.
    pub(super) async fn give_up_lost(&mut self, begin: Begin) {
        if !std::mem::take(&mut self.broke_off) {
            return;
        }
        let known = self.next_k().saturating_sub(1);
        let Some(timeline) = &mut self.timeline else { return };
        let Some(run) = timeline.newest_run().map(|run| run.id.clone()) else { return };
        let used = known.saturating_add(UNKNOWN);
        let (last_k, start) = match begin {
            // Numbers are the clock's, and those from there on are still to come.
            Begin::Grid { first_k } => {
                (used.min(first_k.saturating_sub(1)), self.format.grid.boundary(first_k))
            }
            Begin::Source { at, .. } => (used, at),
        };
        for (rendition, gap) in timeline.lose(last_k, start) {
            self.store.close(&run, rendition, gap.k, &gap).await;
        }
        self.last_k = Some(last_k).max(self.last_k);
        tracing::info!(
            %run, last_k,
            "numbers that the machine that went down may have used are gaps of its run"
        );
    }
}
