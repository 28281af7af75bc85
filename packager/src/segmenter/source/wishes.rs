//! Splices of a source that is packaged as it is: where segments are wished to begin. A key frame can't
//! be asked for, so each is met by the cut nearest to it.

use std::collections::BTreeSet;

use crate::grid::splices::Splices;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// No cut has been made for these yet.
    open: BTreeSet<i64>,
    met: BTreeSet<i64>,
}

impl Wishes {
    /// These are the splices from now on.
    pub(super) fn follow(&mut self, splices: &Splices) {
        let all: BTreeSet<_> = splices.iter().collect();
        self.met.retain(|splice| all.contains(splice));
        self.open = all.difference(&self.met).copied().collect();
    }

    /// The first before `end` that no cut has been made for.
    pub(super) fn next_before(&self, end: i64) -> Option<i64> {
        self.open.first().copied().filter(|splice| *splice < end)
    }

    /// Those before `end` are met by the cut that is being made.
    pub(super) fn meet_before(&mut self, end: i64) -> BTreeSet<i64> {
        let later = self.open.split_off(&end);
        let met = std::mem::replace(&mut self.open, later);
        self.met.extend(&met);
        met
    }
}
