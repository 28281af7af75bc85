//! The journal of a channel: what exists on disk, in the order it came to be.
//!
//! ```text
//! file   = magic[8] record*
//! record = length u32le · crc32 u32le (over the length's bytes and the payload) · payload (JSON)
//! ```
//! A record is whole or it is not there: reading stops at the first one that is cut short or does
//! not match its checksum, and the file goes on from that place. JSON, because a person must be
//! able to read it on the worst day, and because fields can be added. When removed segments make
//! up most of the file it is written anew beside the old one and renamed over it.
//!
//! It knows no clock and decides nothing; [`State`] is what the records add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packager::grid::Grid;
use packager::media::{Config, Rendition};
use packager::time::{Rounding, Span, Timescale, Timestamp};
use packager::timeline::{Run, Segment};
use serde::{Deserialize, Serialize};

/// First bytes of a journal; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"HWJRNL\0\x01";
/// Bytes before a record's payload.
const HEAD: usize = 8;
/// Largest payload. A segment of 6 s in parts of 0.2 s takes under 1 kB; a length beyond this is
/// garbage, not a record.
const MAX_PAYLOAD: usize = 1 << 20;
/// A journal below this is not worth writing anew.
const COMPACT_ABOVE: u64 = 1 << 20;
/// How many times its size after the last rewrite a journal may reach.
const COMPACT_RATIO: u64 = 4;

/// What a channel is for players, fixed when it first ran and changed by its operator only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFormat {
    /// Segment and part lengths, frame and sample rate.
    pub grid: Grid,
    /// Upper bound of the time between the end of a part and its being fetchable.
    pub publish_delay: Span,
    /// Names of the rungs the operator wished for, made or not.
    #[serde(default)]
    pub wishes: Vec<String>,
    /// The renditions, in the order of the timeline.
    pub renditions: Vec<StoredRendition>,
}

impl StoredFormat {
    /// The last number that counts as used on another grid where `last_k` was the last on this one:
    /// the one before the first segment that begins at or after the end of `last_k`.
    pub fn renumbered(&self, last_k: u64, grid: &Grid) -> u64 {
        let end =
            Timestamp::new(self.grid.boundary(last_k.saturating_add(1)), self.grid.video_scale());
        let end = end.ticks_in(grid.video_scale(), Rounding::Ceil);
        grid.number_at(end.saturating_sub(1))
    }
}

/// A rendition as the multivariant playlist promised it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRendition {
    /// Its name.
    pub name: String,
    /// What a tick of its times is worth.
    pub timescale: Timescale,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Width and height in pixels; `None` for sound.
    pub size: Option<(u16, u16)>,
    /// Bits per second over a long time.
    pub average_bitrate: u32,
    /// Bits per second at the most.
    pub peak_bitrate: u32,
}

impl From<&Rendition> for StoredRendition {
    fn from(rendition: &Rendition) -> Self {
        let size = match &rendition.track.config {
            Config::Video(video) => Some((video.width, video.height)),
            Config::Audio(_) => None,
        };
        Self {
            name: rendition.name.to_string(),
            timescale: rendition.track.timescale,
            codec: rendition.track.config.codec_string().to_owned(),
            size,
            average_bitrate: rendition.average_bitrate,
            peak_bitrate: rendition.peak_bitrate,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(super) enum Record {
    /// The channel's format was fixed.
    Format(StoredFormat),
    /// What is known of records that are gone: the highest numbers and the last run's id that were
    /// ever used, and whether the channel is on the air.
    Mark {
        last_k: Option<u64>,
        last_discontinuity: Option<u64>,
        #[serde(default)]
        last_run: Option<String>,
        #[serde(default)]
        live: bool,
    },
    /// A run began: the channel is on the air.
    Run(RunRecord),
    /// The channel ended: no segment follows the ones there are.
    Ended,
    /// A segment was closed.
    Segment(SegmentRecord),
    /// A segment was deleted.
    Removed(SegmentKey),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunRecord {
    pub(super) id: String,
    pub(super) first_k: u64,
    pub(super) discontinuity: u64,
    pub(super) renditions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SegmentKey {
    pub(super) run: String,
    pub(super) rendition: String,
    pub(super) k: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentRecord {
    #[serde(flatten)]
    pub(super) key: SegmentKey,
    /// Decode time of the first sample, in ticks of the rendition's timescale.
    pub(super) start: i64,
    /// Length in the same ticks.
    pub(super) duration: u64,
    /// Of each part: length in ticks, bytes, whether decoding can start with it.
    pub(super) parts: Vec<(u32, u32, bool)>,
    /// Bytes up to the end of the first sample: what a list of key frames points to.
    #[serde(default)]
    pub(super) first_sample: u32,
    /// Whether there is no media.
    pub(super) gap: bool,
}

impl RunRecord {
    pub(super) fn new(run: &Run, renditions: &[Rendition]) -> Self {
        Self {
            id: run.id.to_string(),
            first_k: run.first_k,
            discontinuity: run.discontinuity,
            renditions: renditions.iter().map(|r| r.name.to_string()).collect(),
        }
    }
}

impl SegmentRecord {
    pub(super) fn new(key: SegmentKey, segment: &Segment) -> Self {
        let parts = segment.parts.iter().map(|p| (p.duration, p.bytes, p.independent)).collect();
        let Segment { start, duration, .. } = *segment;
        let first_sample = segment.first_sample();
        Self { key, start, duration, parts, first_sample, gap: !segment.has_media() }
    }
}

/// What the records add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) format: Option<StoredFormat>,
    pub(super) last_k: Option<u64>,
    pub(super) last_discontinuity: Option<u64>,
    /// Ids sort by time.
    pub(super) last_run: Option<String>,
    /// Whether a run has begun since the channel last ended.
    pub(super) live: bool,
    pub(super) runs: BTreeMap<String, RunRecord>,
    pub(super) segments: BTreeMap<SegmentKey, SegmentRecord>,
}

impl State {
    /// Adds a record.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Format(format) => {
                let before = self.format.as_ref().filter(|before| before.grid != format.grid);
                if let Some(before) = before {
                    // Numbers and media so far are those of the grid before, of an earlier process.
                    self.last_k = self.last_k.map(|k| before.renumbered(k, &format.grid));
                    self.forget_media();
                }
                self.format = Some(format);
            }
            Record::Mark { last_k, last_discontinuity, last_run, live } => {
                self.last_k = self.last_k.max(last_k);
                self.last_discontinuity = self.last_discontinuity.max(last_discontinuity);
                self.last_run = self.last_run.take().max(last_run);
                self.live = live;
            }
            Record::Run(run) => {
                self.last_discontinuity = self.last_discontinuity.max(Some(run.discontinuity));
                self.last_run = self.last_run.take().max(Some(run.id.clone()));
                self.live = true;
                self.runs.insert(run.id.clone(), run);
            }
            Record::Ended => self.live = false,
            Record::Segment(segment) => {
                self.last_k = self.last_k.max(Some(segment.key.k));
                self.segments.insert(segment.key.clone(), segment);
            }
            Record::Removed(key) => {
                self.segments.remove(&key);
                self.drop_empty_runs();
            }
        }
    }

    /// Forgets every run and segment, and keeps the numbers they used.
    fn forget_media(&mut self) {
        self.runs.clear();
        self.segments.clear();
    }

    /// Runs without a segment say nothing any more, except the newest: its first is to come.
    fn drop_empty_runs(&mut self) {
        let used: BTreeSet<&str> = self.segments.keys().map(|key| key.run.as_str()).collect();
        let newest = self.runs.keys().next_back().cloned();
        self.runs.retain(|id, _| used.contains(id.as_str()) || Some(id) == newest.as_ref());
    }

    /// The fewest records that add up to this.
    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let Self { last_k, last_discontinuity, live, .. } = *self;
        let last_run = self.last_run.clone();
        let mark = Record::Mark { last_k, last_discontinuity, last_run, live };
        let format = self.format.iter().cloned().map(Record::Format);
        let runs = self.runs.values().cloned().map(Record::Run);
        let segments = self.segments.values().cloned().map(Record::Segment);
        // The mark comes last: it knows whether the channel has ended since its last run began.
        format.chain(runs).chain(segments).chain(std::iter::once(mark))
    }
}

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

/// The whole records at the beginning of `bytes`, and how many bytes they take. `None` when the
/// text is no journal of this version.
fn decode(bytes: &[u8]) -> Option<(Vec<Record>, usize)> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        // A file that was being begun.
        return MAGIC.starts_with(bytes).then(|| (Vec::new(), 0));
    };
    let mut records = Vec::new();
    while let Some((record, after)) = decode_one(rest) {
        records.push(record);
        rest = after;
    }
    Some((records, bytes.len() - rest.len()))
}

fn decode_one(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [l0, l1, l2, l3, crc @ ..] = *head;
    let length = [l0, l1, l2, l3];
    let size = usize::try_from(u32::from_le_bytes(length)).ok().filter(|n| *n <= MAX_PAYLOAD)?;
    let (payload, after) = rest.split_at_checked(size)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length);
    sum.update(payload);
    if sum.finalize() != u32::from_le_bytes(crc) {
        return None;
    }
    Some((serde_json::from_slice(payload).ok()?, after))
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
        let (records, whole) = match decode(&bytes) {
            Some(read) => read,
            None => {
                let aside = path.with_extension("broken");
                tracing::error!(
                    journal = %path.display(), aside = %aside.display(),
                    "not a journal of this version: set aside, numbers begin anew"
                );
                std::fs::rename(&path, &aside)?;
                (Vec::new(), 0)
            }
        };
        if whole < bytes.len() && whole > 0 {
            tracing::warn!(
                journal = %path.display(), offset = whole, bytes = bytes.len() - whole,
                "cut a torn tail off the journal"
            );
        }
        let mut state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        let (file, len) = write_anew(&path, &state)?;
        Ok(Self { path, file: Arc::new(file), len, len_after_rewrite: len, behind: false, state })
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
        self.state.segments.retain(|key, _| left.contains(&key.run));
        let (live, last_discontinuity) = (self.state.live, None);
        self.state.apply(Record::Mark { last_k, last_discontinuity, last_run, live });
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
    let mut bytes = MAGIC.to_vec();
    for record in state.records() {
        encode(&record, &mut bytes)?;
    }
    let mut file = File::create(&beside)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, bytes.len() as u64))
}

#[cfg(test)]
mod tests;
