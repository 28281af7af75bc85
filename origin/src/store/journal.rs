//! The journal of a channel: what exists on disk, in the order it came to be.
//!
//! ```text
//! file   = magic[8] record*
//! record = length u32le · crc32 u32le (over the length's bytes and the payload) · payload (JSON)
//! ```
//! A record is whole or it is not there: one that does not match its checksum is left out where the
//! next one follows it, and reading stops where a record is cut short; the file goes on from that
//! place. JSON, because a person must be able to read it on the worst day, and because fields can be
//! added. When removed segments make up most of the file it is written anew beside the old one and
//! renamed over it, so that its size, and the time it takes to read, are bounded by the window.
//!
//! It knows no clock and decides nothing; [`State`] is what the records add up to.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::crash;

mod kept;
mod record;
mod state;
pub(super) use record::{Closed, Record, RunRecord, SegmentKey, SegmentRecord, StretchRecord};
pub use record::{CuesRecord, StoredFormat, StoredRendition};
pub(super) use state::State;

/// First bytes of a journal; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"HWJRNL\0\x02";
/// Bytes before a record's payload.
const HEAD: usize = 8;
/// Largest payload. A segment of 6 s in parts of 0.2 s takes under 1 kB; a length beyond this is
/// garbage, not a record.
const MAX_PAYLOAD: usize = 1 << 20;
/// A journal below this is not worth writing anew.
const COMPACT_ABOVE: u64 = 1 << 20;
/// Records that a journal may hold beyond need when it is opened.
const COMPACT_RECORDS: usize = 1_000;
/// Bytes that are written together when a journal is written anew.
const WRITTEN_AT_ONCE: usize = 256 << 10;
/// How many times its size after the last rewrite a journal may reach.
const COMPACT_RATIO: u64 = 4;

fn encode(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let payload = serde_json::to_vec(record)?;
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_PAYLOAD)
        .ok_or_else(|| io::Error::other("a journal record is too long"))?
        .to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(&payload);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}

/// What a journal's bytes hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    /// How many could be read.
    count: usize,
    /// Up to where they could be read.
    whole: usize,
    /// Records that do not match their checksums and were left out.
    broken: usize,
}

/// Hands out the records up to the first that is cut short. `None` when the text is no journal of this
/// version.
fn decode(bytes: &[u8], mut each: impl FnMut(Record)) -> Option<Read> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        // A file that was being begun.
        return MAGIC.starts_with(bytes).then(Read::default);
    };
    let mut read = Read { whole: MAGIC.len(), ..Read::default() };
    while let Some((payload, after)) = decode_one(rest) {
        match payload.and_then(|payload| serde_json::from_slice(payload).ok()) {
            Some(record) => {
                read.count += 1;
                each(record);
            }
            // A length that is broken leads nowhere, and this was the tail.
            None => match decode_one(after) {
                Some((Some(_), _)) => read.broken += 1,
                _ => break,
            },
        }
        rest = after;
        read.whole = bytes.len() - rest.len();
    }
    Some(read)
}

/// The payload of the first record, `None` if it does not match its checksum, and what follows.
fn decode_one(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [l0, l1, l2, l3, crc @ ..] = *head;
    let length = [l0, l1, l2, l3];
    let size = usize::try_from(u32::from_le_bytes(length)).ok().filter(|n| *n <= MAX_PAYLOAD)?;
    let (payload, after) = rest.split_at_checked(size)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length);
    sum.update(payload);
    Some(((sum.finalize() == u32::from_le_bytes(crc)).then_some(payload), after))
}

/// The journal's file, open for its one writer.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes of whole records; what lies behind them is overwritten.
    len: u64,
    len_after_rewrite: u64,
    /// A record did not reach the file: the next one that can be written brings all of them.
    behind: bool,
    state: State,
}

impl Journal {
    /// Opens or begins the journal at `path`. A torn tail is cut off; a file that is no journal is
    /// set aside under another name, so that the channel can run and a person can look.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut state = State::default();
        let Some(Read { count, whole, broken }) = decode(&bytes, |record| state.apply(record))
        else {
            let aside = path.with_extension("broken");
            tracing::error!(
                journal = %path.display(), aside = %aside.display(),
                "not a journal of this version: set aside, numbers begin anew"
            );
            std::fs::rename(&path, &aside)?;
            return Self::anew(path, State::default());
        };
        if broken > 0 {
            tracing::warn!(journal = %path.display(), broken, "left broken records out");
        }
        let torn = bytes.len() - whole;
        if torn > 0 && whole > 0 {
            tracing::warn!(
                journal = %path.display(), offset = whole, bytes = torn,
                "cut a torn tail off the journal"
            );
        }
        if broken > 0 || whole == 0 || count > 2 * state.len().max(COMPACT_RECORDS) {
            return Self::anew(path, state);
        }
        // Nothing is waited for where nothing is wrong: a restart must be fast.
        let file = File::options().write(true).open(&path)?;
        file.set_len(whole as u64)?;
        let (file, len) = (Arc::new(file), whole as u64);
        Ok(Self { path, file, len, len_after_rewrite: len / 2, behind: false, state })
    }

    fn anew(path: PathBuf, state: State) -> io::Result<Self> {
        let (file, len) = write_anew(&path, &state)?;
        Ok(Self { path, file: Arc::new(file), len, len_after_rewrite: len, behind: false, state })
    }

    /// What a journal of these bytes says.
    pub(super) fn state_of(bytes: &[u8]) -> State {
        let mut state = State::default();
        decode(bytes, |record| state.apply(record));
        state
    }

    /// What the journal says.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The file, to be synced by somebody else.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes note of what files say that were found: a segment number and a run's id, which may be
    /// higher than any of a record, and which of the runs are left. What is not left is forgotten.
    pub(super) fn reconcile(
        &mut self,
        last_k: Option<u64>,
        last_run: Option<String>,
        left: &BTreeSet<String>,
    ) -> io::Result<()> {
        self.state.runs.retain(|id, _| left.contains(id));
        self.state.segments.retain_runs(|run| left.contains(run));
        if last_k <= self.state.last_k && last_run <= self.state.last_run {
            return Ok(());
        }
        let (live, last_discontinuity) = (self.state.live, None);
        self.append(Record::Mark { last_k, last_discontinuity, last_run, live })
    }

    /// Begins with what another journal said, all of it or nothing.
    pub(super) fn begin_with(&mut self, state: State) -> io::Result<()> {
        self.state = state;
        self.rewrite()
    }

    /// Adds a record. One that can't be written is remembered and comes with the next that can.
    pub(super) fn append(&mut self, record: Record) -> io::Result<()> {
        let mut bytes = Vec::new();
        let encoded = encode(&record, &mut bytes);
        self.state.apply(record);
        encoded?;
        let bloated = self.len > COMPACT_ABOVE
            && self.len > self.len_after_rewrite.saturating_mul(COMPACT_RATIO);
        if self.behind || bloated {
            return self.rewrite();
        }
        if crash::is_due("record-torn") {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            drop(self.file.write_all_at(half, self.len));
            crash::die();
        }
        let written = self.file.write_all_at(&bytes, self.len);
        self.behind = written.is_err();
        written?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let written = write_anew(&self.path, &self.state);
        self.behind = written.is_err();
        let (file, len) = written?;
        self.file = Arc::new(file);
        self.len = len;
        self.len_after_rewrite = len;
        Ok(())
    }
}

/// Writes a journal beside `path` and puts it in its place, whole or not at all.
fn write_anew(path: &Path, state: &State) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    let (mut bytes, mut len) = (MAGIC.to_vec(), 0);
    for record in state.records() {
        encode(&record, &mut bytes)?;
        // Of a window of a day this is tens of megabytes.
        if bytes.len() >= WRITTEN_AT_ONCE {
            file.write_all(&bytes)?;
            len += bytes.len() as u64;
            bytes.clear();
        }
    }
    file.write_all(&bytes)?;
    file.sync_data()?;
    crash::point("journal-beside");
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, len + bytes.len() as u64))
}

#[cfg(test)]
mod tests;
