//! Keys that nobody asked for: what was meant.

use super::Walk;

/// A name this alike is what was meant (Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// A key that nobody asked for.
pub(super) struct Unknown {
    /// As a path, and where it stands.
    pub(super) path: String,
    pub(super) at: usize,
    pub(super) key: String,
    /// What could have stood there.
    pub(super) known: Vec<&'static str>,
}

impl Walk<'_> {
    /// Names every key that nobody asked for. A section that has one of that name is what was meant, else
    /// the nearest name of its own section.
    pub(super) fn tell_unknown(&mut self) {
        for Unknown { path, at, key, known } in std::mem::take(&mut self.unknown) {
            let mut homes = self.asked.iter().filter_map(|name| {
                let (home, last) = name.rsplit_once('.')?;
                (last == key && home != "channel.ladder").then_some(home)
            });
            let home = homes.next().filter(|_| homes.next().is_none());
            let nearest = known
                .iter()
                .map(|known| (strsim::jaro_winkler(&key, known), known))
                .filter(|(score, _)| *score >= ALIKE)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let message = match (home, nearest) {
                (Some("channel"), _) => "unknown key; it belongs to a [[channel]]".to_owned(),
                (Some(home), _) => format!("unknown key; it belongs to [{home}]"),
                (None, Some((_, known))) => format!("unknown key; did you mean `{known}`?"),
                (None, None) => format!("unknown key; there are {}", known.join(", ")),
            };
            self.problem(&path, Some(at), message);
        }
    }
}
