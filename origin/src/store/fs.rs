//! Where things lie on disk, and how they get there.
//!
//! ```text
//! <root>/lock
//! <root>/<channel>/journal
//! <root>/<channel>/assets/<asset>.{json,timeline}
//! <root>/<channel>/<run>/<rendition>/init.mp4
//! <root>/<channel>/<run>/<rendition>/<k>.m4s
//! <root>/<channel>/<run>/<rendition>/promised/<k>.m4s
//! ```
//! The last are numbers of a run that has ended, which another run has now.
//! Every name in a path went through [`Name`] or [`RunId`]: nothing here can leave the root.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packager::media::{Name, RunId};

/// Slices handed to one `writev`: the kernel takes no more than 1024 (IOV_MAX).
const MAX_SLICES: usize = 1_024;

/// The directory of a channel.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(root: &Path, channel: &Name) -> Self {
        Self(root.join(channel.as_str()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Where its assets are described.
    pub(super) fn assets(&self) -> PathBuf {
        self.0.join("assets")
    }

    /// The init segment of a rendition.
    pub(super) fn init(&self, run: &RunId, rendition: &Name) -> PathBuf {
        self.run(run).join(rendition.as_str()).join("init.mp4")
    }

    fn run(&self, run: &RunId) -> PathBuf {
        self.0.join(run.as_str())
    }

    pub(super) fn segment(&self, run: &RunId, rendition: &Name, k: u64) -> PathBuf {
        self.run(run).join(rendition.as_str()).join(format!("{k}.m4s"))
    }

    fn promises(&self, run: &RunId, rendition: &Name) -> PathBuf {
        self.run(run).join(rendition.as_str()).join("promised")
    }

    /// A segment that the manifests of a run had promised when it ended.
    pub(super) fn promised(&self, run: &RunId, rendition: &Name, k: u64) -> PathBuf {
        self.promises(run, rendition).join(format!("{k}.m4s"))
    }

    /// The numbers of these, in order.
    pub(super) fn promised_numbers(&self, run: &RunId, rendition: &Name) -> BTreeSet<u64> {
        let files = fs::read_dir(self.promises(run, rendition)).into_iter().flatten();
        files.filter_map(|file| number(&file.ok()?.file_name())).collect()
    }

    /// Makes the directories of a run and writes its init segments. Can be repeated.
    pub(super) fn write_inits(
        &self,
        run: &RunId,
        inits: &[(Name, Bytes)],
    ) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for (rendition, init) in inits {
            let directory = self.run(run).join(rendition.as_str());
            fs::create_dir_all(&directory)?;
            let mut file = File::create(directory.join("init.mp4"))?;
            file.write_all(init)?;
            files.push(file);
        }
        Ok(files)
    }

    /// Reads the init segment of a rendition.
    pub(super) fn read_init(&self, run: &RunId, rendition: &Name) -> io::Result<Bytes> {
        fs::read(self.init(run, rendition)).map(Bytes::from)
    }

    /// The renditions of a run that something is left of, in the order of their names.
    pub(super) fn renditions(&self, run: &RunId) -> Vec<Name> {
        let folders = fs::read_dir(self.run(run)).into_iter().flatten();
        let names =
            folders.filter_map(|folder| Name::parse(folder.ok()?.file_name().to_str()?).ok());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Deletes a run's directories once no segment is left in them.
    pub(super) fn remove_run(&self, run: &RunId) -> io::Result<()> {
        ignore_absent(fs::remove_dir_all(self.run(run)))
    }

    /// Deletes segments of a run.
    pub(super) fn remove_segments(
        &self,
        run: &RunId,
        tracks: &BTreeMap<Name, BTreeSet<u64>>,
    ) -> io::Result<()> {
        let all = tracks.iter().flat_map(|(name, numbers)| numbers.iter().map(move |k| (name, *k)));
        all.into_iter().try_for_each(|(name, k)| remove_file(&self.segment(run, name, k)))
    }

    /// The runs that left something here.
    pub(super) fn runs(&self) -> io::Result<Vec<Files>> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(run) = name.to_str().and_then(RunId::parse) else { continue };
            let mut tracks = BTreeMap::new();
            for rendition in fs::read_dir(entry.path())? {
                let rendition = rendition?;
                let Ok(segments) = fs::read_dir(rendition.path()) else { continue };
                let numbers = segments.filter_map(|file| number(&file.ok()?.file_name()));
                if let Some(name) = rendition.file_name().to_str().and_then(|n| Name::parse(n).ok())
                {
                    tracks.insert(name, numbers.collect());
                }
            }
            runs.push(Files { run, tracks });
        }
        Ok(runs)
    }
}

/// The files of a run.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) run: RunId,
    /// Segment numbers by rendition.
    pub(super) tracks: BTreeMap<Name, BTreeSet<u64>>,
}

impl Files {
    /// The highest number of any.
    pub(super) fn last_k(&self) -> Option<u64> {
        self.tracks.values().filter_map(|numbers| numbers.last().copied()).max()
    }
}

/// The number in a segment's file name.
fn number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_suffix(".m4s")?.parse().ok()
}

/// Begins a segment's file; an older one of that name is emptied.
pub(super) fn create_segment(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

/// Opens the file of a segment that goes on behind its first `len` bytes; what lies there is cut.
pub(super) fn reopen_segment(path: &Path, len: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).open(path)?;
    file.set_len(len)?;
    Ok(file)
}

/// Writes a file that is whole or not there, and its directory.
pub(super) fn write_whole(path: &Path, pieces: &[Bytes]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    append(&mut file, pieces)?;
    fs::rename(&beside, path)
}

/// Writes a file that is whole or not there, and has it on the disk.
pub(super) fn write_synced(path: &Path, bytes: Bytes) -> io::Result<()> {
    write_whole(path, &[bytes])?;
    File::open(path)?.sync_data()?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Deletes a file; one that is not there is deleted already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    ignore_absent(fs::remove_file(path))
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Share of a disk that may be used before room is made: what is left takes the minutes that making it
/// needs.
const NEARLY_FULL: f64 = 0.95;

/// Whether the disk that holds `path` is nearly full; not where the system can't tell.
pub(super) fn is_nearly_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| {
        let left = disk.f_bavail as f64;
        // What is kept for root is neither used nor left.
        let used = disk.f_blocks.saturating_sub(disk.f_bfree) as f64;
        used > NEARLY_FULL * (used + left)
    })
}

/// Writes all of `pieces`, in order, without joining them.
pub(crate) fn append(out: &mut impl Write, pieces: &[Bytes]) -> io::Result<()> {
    for group in pieces.chunks(MAX_SLICES) {
        let mut slices: Vec<_> = group.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        // Skips leading empty pieces, so that a write of nothing does not read as a full disk.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match out.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most `step` bytes at a time, as a pipe or a full page may.
    struct Narrow {
        step: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.step);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_pieces_arrive_in_order_however_little_is_taken_at_a_time() {
        let pieces: Vec<Bytes> =
            (0..2_500usize).map(|i| Bytes::from(vec![i as u8; i % 7])).collect();
        let whole: Vec<u8> = pieces.iter().flatten().copied().collect();
        for step in [1, 3, 4_096] {
            let mut out = Narrow { step, taken: Vec::new() };
            append(&mut out, &pieces).unwrap();
            assert_eq!(out.taken, whole);
        }
        append(&mut Narrow { step: 1, taken: Vec::new() }, &[Bytes::new()]).unwrap();
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_not_a_loop() {
        let mut full = Narrow { step: 0, taken: Vec::new() };
        let error = append(&mut full, &[Bytes::from_static(b"x")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
