//! A folder that a file is packaged into.
//!
//! ```text
//! DIR/index.m3u8, manifest.mpd, {rendition}/index.m3u8, {rendition}/iframes.m3u8
//! DIR/{run}/{rendition}/init.mp4, {k}.m4s
//! DIR/unfinished            notes; not there at the end
//! ```
//! A segment is written beside its place as its parts come, and renamed and noted when it is whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packager::media::RunId;
use packager::segmenter::PartChunk;

use super::film::Film;
use super::notes::{self, Head, Job, Noted};
use super::{Error, io_error};
use crate::store::write_pieces;

/// The folder of one file.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    head: Head,
    notes: File,
    open: BTreeMap<usize, File>,
}

impl Folder {
    /// Opens a folder for a job: an empty one, which begins as this run, or one where the same job was broken
    /// off.
    pub(super) fn open(path: &Path, job: Job, run: &RunId) -> Result<(Self, Film), Error> {
        fs::create_dir_all(path).map_err(io_error("make", path))?;
        let notes_path = path.join("unfinished");
        let text = match fs::read_to_string(&notes_path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(io_error("read", &notes_path)(source)),
        };
        let whole = notes::whole(&text);
        let taken = || Error::Taken { place: path.display().to_string() };
        let (head, kept, noted) = match Head::read(whole, &job) {
            Some((head, noted)) => (head, whole, noted),
            None if !whole.is_empty() || path.join("index.m3u8").exists() => return Err(taken()),
            None => (Head::new(job, run), "", Vec::new()),
        };
        let film = Film::new(head.run(), noted);
        let notes = begin_notes(path, if kept.is_empty() { head.line() } else { kept.to_owned() })?;
        Ok((Self { path: path.to_owned(), head, notes, open: BTreeMap::new() }, film))
    }

    /// Takes from the notes what a film has forgotten.
    pub(super) fn forget(&mut self, film: &Film) -> Result<(), Error> {
        self.notes = begin_notes(&self.path, self.head.line() + &film.notes(0, u64::MAX))?;
        Ok(())
    }

    /// Where it is, for people.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// An object, if it is there.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path.join(name)).ok()
    }

    /// Begins or continues a segment of a film.
    pub(super) fn append(&mut self, film: &Film, chunk: &PartChunk) -> Result<(), Error> {
        let path = self.path.join(film.media(chunk.rendition)).join(format!("{}.new", chunk.k));
        let failed = || io_error("write", &path);
        let file = match self.open.entry(chunk.rendition) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => free.insert(File::create(&path).map_err(failed())?),
        };
        let pieces = std::iter::once(&chunk.chunk.head).chain(&chunk.chunk.samples);
        write_pieces(file, &pieces.cloned().collect::<Vec<_>>()).map_err(failed())
    }

    /// Closes a segment.
    pub(super) fn close(&mut self, film: &mut Film, noted: Noted) -> Result<(), Error> {
        let Some(file) = self.open.remove(&noted.rendition) else { return Ok(()) };
        let folder = self.path.join(film.media(noted.rendition));
        let (beside, path) =
            (folder.join(format!("{}.new", noted.k)), folder.join(format!("{}.m4s", noted.k)));
        drop(file);
        fs::rename(&beside, &path).map_err(io_error("write", &path))?;
        self.notes.write_all(noted.line().as_bytes()).map_err(io_error("note", &path))?;
        film.add(noted);
        Ok(())
    }

    /// Writes an object, whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &Bytes) -> Result<(), Error> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        let beside = path.with_extension("new");
        fs::write(&beside, bytes).map_err(io_error("write", &beside))?;
        fs::rename(&beside, &path).map_err(io_error("write", &path))
    }

    /// Nothing is missing any more.
    pub(super) fn finish(self) -> Result<(), Error> {
        let path = self.path.join("unfinished");
        fs::remove_file(&path).map_err(io_error("delete", &path))
    }
}

/// Writes notes anew; gives them to be added to.
fn begin_notes(folder: &Path, text: String) -> Result<File, Error> {
    let (beside, path) = (folder.join("unfinished.new"), folder.join("unfinished"));
    let write = || -> io::Result<File> {
        let mut notes = File::create(&beside)?;
        notes.write_all(text.as_bytes())?;
        fs::rename(&beside, &path)?;
        Ok(notes)
    };
    write().map_err(io_error("write", &path))
}
