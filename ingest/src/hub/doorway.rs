//! What there is to tell of a channel's door beside the publishers that come through it.

use std::collections::BTreeMap;

/// Who has not come through a door, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doorway {
    /// Why the source that the configuration names is not there; `None`: it is, or is waited for.
    pub absent: Option<String>,
    /// Publishers that were turned away, by a word for the reason (`denied`, `passphrase`, …).
    pub turned_away: BTreeMap<&'static str, u64>,
}

impl Doorway {
    pub(super) fn turned_away(&mut self, why: &'static str) {
        let count = self.turned_away.entry(why).or_default();
        *count = count.saturating_add(1);
    }
}
