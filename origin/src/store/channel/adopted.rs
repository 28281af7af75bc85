//! What earlier processes have left in a channel's files, put into the index when its store is opened.

use std::collections::BTreeSet;

use packager::media::Name;
use packager::timeline::Promise;

use crate::store::fs::{Directory, Files};
use crate::store::journal::{State, StoredRendition};
use crate::store::live_edge::{Index, Key};
use crate::store::recovery::Spooled;

/// What is left of earlier processes and can be read.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    pub(super) runs: BTreeSet<String>,
    pub(super) segments: Vec<(Key, Name)>,
}

impl Adopted {
    /// Puts a run with its closed segments into the index; false if it has none, and does not go on
    /// either.
    pub(super) fn take(
        &mut self,
        state: &State,
        directory: &Directory,
        Files { run, tracks: files }: &Files,
        goes_on: bool,
        index: &mut Index,
    ) -> bool {
        let id = run.as_str();
        let Some(record) = state.runs.get(id) else { return false };
        let track = |stored: &StoredRendition| {
            let name = Name::parse(&stored.name).ok()?;
            let init = directory.read_init(run, &name).ok()?;
            Some((name, stored.timescale, init))
        };
        let Some(tracks) = record.renditions.iter().map(track).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let names: Vec<_> = tracks.iter().map(|(name, ..)| name.clone()).collect();
        index.begin_run(run, tracks);
        let before = self.segments.len();
        for (rendition, name) in names.iter().enumerate() {
            let kept = state.segments.track(id, name.as_str()).filter(|(_, kept)| kept.has_media());
            for (k, kept) in kept {
                let key = Key { run: run.clone(), rendition, k };
                let on_disk = files.get(name).is_some_and(|numbers| numbers.contains(&k));
                index.adopt(&key, kept.parts.iter().map(|part| part.bytes).collect(), on_disk);
                self.segments.push((key, name.clone()));
            }
        }
        if self.segments.len() == before && !goes_on {
            index.remove_run(run);
            return false;
        }
        self.runs.insert(id.to_owned());
        true
    }

    /// Puts what a run had promised when it ended into the index, which has the run.
    pub(super) fn take_promised(
        &mut self,
        promise: &Promise,
        directory: &Directory,
        index: &mut Index,
    ) {
        let names = index.inits(&promise.run).into_iter().map(|(name, _)| name);
        for (rendition, name) in names.enumerate() {
            for k in promise.numbers.clone() {
                let path = directory.promised(&promise.run, &name, k);
                let Some(spooled) = Spooled::read_file(&path, k) else { continue };
                let (key, end) = (Key { run: promise.run.clone(), rendition, k }, spooled.end());
                let (_, parts) = spooled.into_parts();
                parts.into_iter().for_each(|part| index.push(&key, vec![part]));
                index.close(&key, end);
                self.segments.push((key, name.clone()));
            }
        }
    }
}
