//! The folder that a file is packaged into, and what is noted of it while that goes on.
//!
//! ```text
//! DIR/index.m3u8, manifest.mpd, {rendition}/index.m3u8, {rendition}/iframes.m3u8
//! DIR/{run}/{rendition}/init.mp4, {k}.m4s
//! DIR/unfinished            a line of JSON for the order, and one per finished segment; not there at the end
//! ```
//! A segment is written beside its place and renamed, and then noted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use packager::grid::Grid;
use packager::media::Rendition;
use packager::segmenter::{Output, PartChunk};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Format, Lengths, Part, Run, Segment, Snapshot, State, Track};
use serde::{Deserialize, Serialize};

use super::{Error, io_error, run_id};

/// What is noted of a finished segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    rendition: usize,
    k: u64,
    start: i64,
    parts: Vec<(u32, u32, bool, u32)>,
}

impl Noted {
    fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes, ..)| u64::from(*bytes)).sum()
    }

    fn duration(&self) -> u64 {
        self.parts.iter().map(|(duration, ..)| u64::from(*duration)).sum()
    }
}

/// A segment that is being written.
#[derive(Debug)]
struct Open {
    noted: Noted,
    file: BufWriter<File>,
}

/// The folder of one file.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    notes: File,
    done: BTreeMap<(usize, u64), Noted>,
    /// Segments that an earlier run had made.
    kept: u64,
    renditions: Arc<[Rendition]>,
    inits: Vec<Bytes>,
    open: BTreeMap<usize, Open>,
}

impl Folder {
    /// Opens a folder for a file that is packaged in a way of this name: an empty one, or one where that was
    /// broken off.
    pub(super) fn open(path: &Path, input: &Path, way: &str) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(io_error("make", path))?;
        let order = order(input, way).map_err(io_error("read", input))?;
        let notes_path = path.join("unfinished");
        let text = match fs::read_to_string(&notes_path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(io_error("read", &notes_path)(source)),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        let taken = || Error::Taken { path: path.to_owned() };
        let known = match lines.next() {
            Some(line) if line == order => true,
            Some(_) => return Err(taken()),
            None if path.join("index.m3u8").exists() => return Err(taken()),
            None => false,
        };
        let noted = lines.filter_map(|line| serde_json::from_str::<Noted>(line).ok());
        let done: BTreeMap<_, _> = noted.map(|noted| ((noted.rendition, noted.k), noted)).collect();
        let mut options = OpenOptions::new();
        let notes = options.create(true).write(true).truncate(false).open(&notes_path);
        let mut notes = notes.map_err(io_error("write", &notes_path))?;
        let written = || -> io::Result<()> {
            // A line that is cut short is overwritten.
            notes.set_len(whole.len() as u64)?;
            io::Seek::seek(&mut notes, io::SeekFrom::End(0))?;
            if known { Ok(()) } else { writeln!(notes, "{order}") }
        };
        let mut written = written;
        written().map_err(io_error("write", &notes_path))?;
        Ok(Self {
            path: path.to_owned(),
            notes,
            kept: done.len() as u64,
            done,
            renditions: Arc::new([]),
            inits: Vec::new(),
            open: BTreeMap::new(),
        })
    }

    /// How many segments an earlier run had made.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// The first segment that one of so many renditions lacks.
    pub(super) fn next_k(&self, renditions: usize) -> u64 {
        (1..).find(|k| (0..renditions).any(|r| !self.done.contains_key(&(r, *k)))).unwrap_or(1)
    }

    /// Begins with these renditions, at segment `first_k`, or with all of them again if that is 0.
    pub(super) fn begin(
        &mut self,
        renditions: &Arc<[Rendition]>,
        first_k: u64,
    ) -> Result<(), Error> {
        self.renditions = Arc::clone(renditions);
        if first_k > 0 {
            self.done.retain(|(_, k), _| *k < first_k);
            self.kept = self.done.len() as u64;
        }
        Ok(())
    }

    fn media(&self, rendition: usize) -> PathBuf {
        let name = self.renditions.get(rendition).map(|r| r.name.to_string()).unwrap_or_default();
        self.path.join(run_id().as_str()).join(name)
    }

    /// Takes what a segmenter has made.
    pub(super) fn take(&mut self, output: Output) -> Result<(), Error> {
        match output {
            Output::Init { rendition, bytes } => {
                let folder = self.media(rendition);
                fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
                let path = folder.join("init.mp4");
                let there = fs::read(&path).ok();
                if self.kept > 0 && there.is_some_and(|there| there != bytes) {
                    // Segments of another encoder don't go with this one's.
                    return Err(Error::Taken { path: self.path.clone() });
                }
                fs::write(&path, &bytes).map_err(io_error("write", &path))?;
                if self.inits.len() <= rendition {
                    self.inits.resize(rendition + 1, Bytes::new());
                }
                self.inits[rendition] = bytes;
                Ok(())
            }
            Output::Chunk(chunk) => self.chunk(chunk),
            Output::SegmentClosed { rendition, .. } => self.close(rendition),
            Output::Shifted(_) | Output::Spliced { .. } | Output::Off { .. } => Ok(()),
        }
    }

    fn chunk(&mut self, chunk: PartChunk) -> Result<(), Error> {
        let PartChunk { rendition, k, start, duration, independent, first_sample, chunk, .. } =
            chunk;
        if self.done.contains_key(&(rendition, k)) {
            return Ok(());
        }
        let path = self.media(rendition).join(format!("{k}.new"));
        let failed = || io_error("write", &path);
        let open = match self.open.entry(rendition) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                let file = BufWriter::new(File::create(&path).map_err(failed())?);
                let noted = Noted { rendition, k, start, parts: Vec::new() };
                free.insert(Open { noted, file })
            }
        };
        open.file.write_all(&chunk.head).map_err(failed())?;
        for sample in &chunk.samples {
            open.file.write_all(sample).map_err(failed())?;
        }
        let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        open.noted.parts.push((duration, bytes, independent, first_sample));
        Ok(())
    }

    fn close(&mut self, rendition: usize) -> Result<(), Error> {
        let Some(Open { noted, mut file }) = self.open.remove(&rendition) else { return Ok(()) };
        let folder = self.media(rendition);
        let (beside, path) =
            (folder.join(format!("{}.new", noted.k)), folder.join(format!("{}.m4s", noted.k)));
        file.flush().map_err(io_error("write", &beside))?;
        drop(file);
        fs::rename(&beside, &path).map_err(io_error("write", &path))?;
        let line =
            serde_json::to_string(&noted).map_err(|error| io_error("note", &path)(error.into()))?;
        writeln!(self.notes, "{line}").map_err(io_error("note", &path))?;
        self.done.insert((rendition, noted.k), noted);
        Ok(())
    }

    /// How much there is of the first rendition.
    pub(super) fn length(&self) -> Duration {
        let scale = self.renditions.first().map_or(Timescale::MPEG, |r| r.track.timescale);
        let ticks = self.of(0).map(Noted::duration).sum();
        Duration::from_nanos(Span::new(ticks, scale).ticks_in(Timescale::NANOS, Rounding::Nearest))
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.done.values().map(Noted::bytes).sum()
    }

    fn of(&self, rendition: usize) -> impl Iterator<Item = &Noted> {
        self.done.range((rendition, 0)..=(rendition, u64::MAX)).map(|(_, noted)| noted)
    }

    /// All of it as a timeline. Of a file's own samples the rates are those that were found.
    pub(super) fn snapshot(&self, grid: Grid, measured: bool) -> Result<Snapshot, Error> {
        let renditions: Arc<[Rendition]> = match measured {
            true => (0..self.renditions.len()).filter_map(|index| self.measured(index)).collect(),
            false => Arc::clone(&self.renditions),
        };
        let empty = || Error::Unfit("there is nothing in it".to_owned());
        let first = self.of(0).next().ok_or_else(empty)?;
        let run = Arc::new(Run {
            id: run_id(),
            discontinuity: 0,
            stretch: 0,
            left_out: Vec::new(),
            first_k: first.k,
            start: first.start,
            lengths: Lengths::Uneven,
            renditions: Arc::clone(&renditions),
            inits: self.inits.clone(),
        });
        let last = (0..renditions.len()).filter_map(|index| Some(self.of(index).last()?.k)).min();
        let last = last.ok_or_else(empty)?;
        let segment = |noted: &Noted| {
            let part = |&(duration, bytes, independent, first_sample): &_| Part {
                duration,
                bytes,
                independent,
                first_sample,
            };
            let parts = noted.parts.iter().map(part).collect();
            let (k, start, duration) = (noted.k, noted.start, noted.duration());
            Arc::new(Segment { k, run: Arc::clone(&run), start, duration, parts, gap: false })
        };
        let track = |index| {
            let segments = self.of(index).filter(|noted| noted.k <= last).map(segment).collect();
            Track { segments, open: None }
        };
        let tracks: Vec<_> = (0..renditions.len()).map(track).collect();
        Ok(Snapshot {
            format: Arc::new(Format {
                grid,
                window: Span::millis(0),
                publish_delay: Span::millis(0),
            }),
            renditions,
            tracks,
            state: State::Whole,
            run: None,
            revised: Timestamp::new(0, Timescale::MILLIS),
            promise: None,
            cues: Arc::default(),
            gone_cues: Arc::default(),
            begins: None,
            mirrored: false,
            version: 0,
        })
    }

    /// A rendition with the rates of its segments.
    fn measured(&self, index: usize) -> Option<Rendition> {
        let mut rendition = self.renditions.get(index)?.clone();
        let scale = u64::from(rendition.track.timescale.get());
        let rate = |bytes: u64, ticks: u64| {
            u32::try_from(bytes.saturating_mul(8 * scale) / ticks.max(1)).unwrap_or(u32::MAX)
        };
        let (mut bytes, mut ticks) = (0, 0);
        for noted in self.of(index) {
            bytes += noted.bytes();
            ticks += noted.duration();
            let own = rate(noted.bytes(), noted.duration());
            rendition.peak_bitrate = rendition.peak_bitrate.max(own);
        }
        rendition.average_bitrate = rate(bytes, ticks);
        Some(rendition)
    }

    /// Writes a text, whole or not at all.
    pub(super) fn write(&self, name: &str, text: String) -> Result<(), Error> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        let beside = path.with_extension("new");
        fs::write(&beside, text).map_err(io_error("write", &beside))?;
        fs::rename(&beside, &path).map_err(io_error("write", &path))
    }

    /// Nothing is missing any more.
    pub(super) fn finish(self) -> Result<(), Error> {
        let path = self.path.join("unfinished");
        fs::remove_file(&path).map_err(io_error("delete", &path))
    }
}

/// What tells one file, packaged in one way, from all others.
fn order(input: &Path, way: &str) -> io::Result<String> {
    let facts = fs::metadata(input)?;
    let changed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let order = serde_json::json!({
        "input": fs::canonicalize(input)?,
        "bytes": facts.len(),
        "changed_ms": changed.as_millis() as u64,
        "way": way,
    });
    Ok(order.to_string())
}
