//! What is held beyond its time: segments that an asset is made of.
//!
//! A held segment leaves the window like any other, and the index and the journal with it; its file stays,
//! and is found by its name. So what is held costs no memory. Whoever deletes files asks here first.

use std::collections::BTreeMap;
use std::ops::Range;

use packager::media::RunId;
use serde::{Deserialize, Serialize};

/// Segments of a run, in every rendition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The run, as written in paths.
    pub run: String,
    /// Their numbers.
    pub numbers: Range<u64>,
}

/// All that is held of a channel, by holder.
#[derive(Debug, Default)]
pub(super) struct Holds {
    holders: BTreeMap<String, Vec<Hold>>,
}

impl Holds {
    /// Holds these until the holder lets go of them.
    pub(super) fn hold(&mut self, holder: &str, holds: Vec<Hold>) {
        self.holders.insert(holder.to_owned(), holds);
    }

    /// Lets go; gives what was held by this holder and is not by another.
    pub(super) fn release(&mut self, holder: &str) -> Vec<(RunId, u64)> {
        let held = self.holders.remove(holder).unwrap_or_default();
        let numbers = held.iter().filter_map(|hold| Some((RunId::parse(&hold.run)?, hold)));
        let all =
            numbers.flat_map(|(run, hold)| hold.numbers.clone().map(move |k| (run.clone(), k)));
        all.filter(|(run, k)| !self.has(run.as_str(), *k)).collect()
    }

    /// Whether a segment is held.
    pub(super) fn has(&self, run: &str, k: u64) -> bool {
        self.of(run).any(|hold| hold.numbers.contains(&k))
    }

    /// Whether anything of a run is held.
    pub(super) fn has_run(&self, run: &str) -> bool {
        self.of(run).next().is_some()
    }

    fn of<'a>(&'a self, run: &'a str) -> impl Iterator<Item = &'a Hold> {
        self.holders.values().flatten().filter(move |hold| hold.run == run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(run: u64, numbers: Range<u64>) -> Hold {
        Hold { run: RunId::from_millis(run).to_string(), numbers }
    }

    #[test]
    fn what_two_hold_is_free_when_both_let_go() {
        let mut holds = Holds::default();
        holds.hold("a", vec![hold(1, 5..8), hold(2, 8..9)]);
        holds.hold("b", vec![hold(1, 7..10)]);
        let run = RunId::from_millis(1);
        assert!(holds.has(run.as_str(), 5) && holds.has(run.as_str(), 9));
        assert!(!holds.has(run.as_str(), 10) && !holds.has_run(RunId::from_millis(3).as_str()));
        let free: Vec<_> =
            holds.release("a").into_iter().map(|(run, k)| (run.millis(), k)).collect();
        assert_eq!(free, [(1, 5), (1, 6), (2, 8)]);
        assert!(holds.has(run.as_str(), 7) && !holds.has(run.as_str(), 5));
        assert_eq!(holds.release("b").len(), 3);
        assert!(!holds.has_run(run.as_str()) && holds.release("b").is_empty());
    }
}
