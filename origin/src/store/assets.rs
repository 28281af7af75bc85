//! Assets of a channel: excerpts that stay when their segments have left the window.
//!
//! ```text
//! <root>/<channel>/assets/<id>.json        who and what: read when the channel is opened
//! <root>/<channel>/assets/<id>.timeline    its segments: read when somebody plays it
//! ```
//! Media is not copied: an asset holds the segments' own files ([`super::holds`]). Its description is
//! its own, so that it outlives the channel's journal and a change of the channel's format. The timeline is
//! written first, and an asset is there when its description is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use packager::grid::Grid;
use packager::media::{Name, Rendition, RunId};
use packager::scte35::Cue;
use packager::time::{Span, Timestamp};
use packager::timeline::{Format, Lengths, Run, Segment, Snapshot, State, Track};
use serde::{Deserialize, Serialize};

use super::fs::{self, Directory};
use super::holds::Hold;
use super::journal::{Closed, RunRecord, StoredRendition, StretchRecord};
use super::recovery;

/// What an asset is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// Its name in URLs.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// When it was made, in milliseconds since the epoch.
    pub created_ms: u64,
    /// When what it shows began, in milliseconds since the epoch.
    pub start_ms: u64,
    /// When that ended.
    pub end_ms: u64,
    /// How long it plays: less than from start to end, where there was a hole.
    pub duration_ms: u64,
    /// Size of all its segments.
    pub bytes: u64,
    /// Segments that it is made of.
    pub holds: Vec<Hold>,
}

impl Asset {
    /// Whether a segment belongs to it.
    pub fn holds(&self, run: &str, k: u64) -> bool {
        self.holds.iter().any(|hold| hold.run == run && hold.numbers.contains(&k))
    }
}

/// The timeline of an asset.
#[derive(Debug, Serialize, Deserialize)]
struct Timeline {
    grid: Grid,
    window: Span,
    publish_delay: Span,
    runs: Vec<RunRecord>,
    /// By rendition.
    tracks: Vec<Vec<Row>>,
    cues: Vec<Cue>,
}

/// A segment.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// Position of its run.
    r: usize,
    /// Stretch of that.
    s: u32,
    k: u64,
    #[serde(flatten)]
    closed: Closed,
}

/// What is held for an excerpt.
pub(super) fn holds(excerpt: &Snapshot) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    let segments = excerpt.tracks.iter().flat_map(|track| &track.segments);
    for segment in segments.filter(|segment| segment.has_media()) {
        let run = segment.run.id.as_str();
        match holds.iter_mut().find(|hold| hold.run == run) {
            Some(hold) => {
                hold.numbers.start = hold.numbers.start.min(segment.k);
                hold.numbers.end = hold.numbers.end.max(segment.k.saturating_add(1));
            }
            None => {
                let numbers = segment.k..segment.k.saturating_add(1);
                holds.push(Hold { run: run.to_owned(), numbers });
            }
        }
    }
    holds
}

/// The assets of a channel, by id.
pub(super) fn read_all(directory: &Directory) -> io::Result<Vec<Asset>> {
    let files = match std::fs::read_dir(directory.assets()) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut assets = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match serde_json::from_slice::<Asset>(&std::fs::read(&path)?) {
            Ok(asset) if Name::parse(&asset.id).is_ok() => assets.push(asset),
            _ => {
                tracing::error!(path = %path.display(), "not the description of an asset: left out")
            }
        }
    }
    assets.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(assets)
}

/// Writes an asset of an excerpt, and has it on the disk.
pub(super) fn write(directory: &Directory, asset: &Asset, excerpt: &Snapshot) -> io::Result<()> {
    let timeline = serde_json::to_vec(&Timeline::of(excerpt))?;
    fs::write_synced(&timeline_path(directory, &asset.id), timeline.into())?;
    describe(directory, asset)
}

/// Writes what an asset is, and has it on the disk.
pub(super) fn describe(directory: &Directory, asset: &Asset) -> io::Result<()> {
    fs::write_synced(
        &description_path(directory, &asset.id),
        serde_json::to_vec_pretty(asset)?.into(),
    )
}

/// Deletes an asset, but not what it held.
pub(super) fn remove(directory: &Directory, id: &str) -> io::Result<()> {
    fs::remove_file(&description_path(directory, id))?;
    fs::remove_file(&timeline_path(directory, id))
}

/// Reads the timeline of an asset.
pub(super) fn read(directory: &Directory, id: &str) -> io::Result<Snapshot> {
    let bytes = std::fs::read(timeline_path(directory, id))?;
    let timeline: Timeline = serde_json::from_slice(&bytes)?;
    timeline.snapshot(directory)
}

fn description_path(directory: &Directory, id: &str) -> PathBuf {
    directory.assets().join(format!("{id}.json"))
}

fn timeline_path(directory: &Directory, id: &str) -> PathBuf {
    directory.assets().join(format!("{id}.timeline"))
}

impl Timeline {
    fn of(excerpt: &Snapshot) -> Self {
        let mut runs: Vec<RunRecord> = Vec::new();
        let mut position = |run: &Run| {
            let at = runs.iter().position(|record| record.id == run.id.as_str());
            let at = at.unwrap_or_else(|| {
                runs.push(RunRecord {
                    stretches: Vec::new(),
                    ..RunRecord::new(run, &run.renditions, false)
                });
                runs.len() - 1
            });
            if let Some(record) = runs.get_mut(at)
                && !record.stretches.iter().any(|known| known.stretch == run.stretch)
            {
                record.stretches.push(StretchRecord::from(run));
            }
            at
        };
        let mut row = |segment: &Segment| {
            let Segment { k, ref run, .. } = *segment;
            Row { r: position(run), s: run.stretch, k, closed: segment.into() }
        };
        let tracks =
            excerpt.tracks.iter().map(|track| track.segments.iter().map(&mut row).collect());
        let tracks = tracks.collect();
        let Format { grid, window, publish_delay } = *excerpt.format;
        Self { grid, window, publish_delay, runs, tracks, cues: excerpt.cues.to_vec() }
    }

    fn snapshot(self, directory: &Directory) -> io::Result<Snapshot> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not the timeline of an asset");
        let mut runs: Vec<Vec<Arc<Run>>> = Vec::new();
        for record in &self.runs {
            runs.push(stretches(record, directory)?.ok_or_else(invalid)?);
        }
        let segment = |row: Row| {
            let run = runs.get(row.r)?.iter().find(|run| run.stretch == row.s)?;
            Some(row.closed.segment(row.k, Arc::clone(run)))
        };
        let track = |rows: Vec<Row>| {
            let segments = rows.into_iter().map(segment).collect::<Option<_>>()?;
            Some(Track { segments, open: None })
        };
        let tracks: Option<Vec<_>> = self.tracks.into_iter().map(track).collect();
        let tracks = tracks.ok_or_else(invalid)?;
        let newest = tracks.first().and_then(|track| track.segments.last()).ok_or_else(invalid)?;
        let renditions = Arc::clone(&newest.run.renditions);
        let revised = Timestamp::new(newest.end(), newest.run.scale(0));
        let Self { grid, window, publish_delay, .. } = self;
        Ok(Snapshot {
            format: Arc::new(Format { grid, window, publish_delay }),
            renditions,
            tracks,
            state: State::Whole,
            run: None,
            revised,
            promise: None,
            cues: self.cues.into(),
            gone_cues: Arc::default(),
            begins: None,
            mirrored: false,
            version: 0,
        })
    }
}

/// The stretches of a run by its record and its init segments.
fn stretches(record: &RunRecord, directory: &Directory) -> io::Result<Option<Vec<Arc<Run>>>> {
    let Some(id) = RunId::parse(&record.id) else { return Ok(None) };
    let (mut renditions, mut inits) = (Vec::<Rendition>::new(), Vec::<Bytes>::new());
    for stored in &record.renditions {
        let stored: &StoredRendition = stored;
        let Ok(name) = Name::parse(&stored.name) else { return Ok(None) };
        let init = directory.read_init(&id, &name)?;
        let Some(rendition) = recovery::rendition(stored, name, &init) else { return Ok(None) };
        renditions.push(rendition);
        inits.push(init);
    }
    let renditions: Arc<[Rendition]> = renditions.into();
    let stretch = |of: &StretchRecord| {
        let StretchRecord { stretch, ref left_out, first_k, start, .. } = *of;
        let lengths: Lengths = of.lengths;
        Arc::new(Run {
            id: id.clone(),
            discontinuity: record.discontinuity,
            stretch,
            left_out: left_out.clone(),
            lengths,
            first_k,
            start,
            renditions: Arc::clone(&renditions),
            inits: inits.clone(),
        })
    };
    Ok(Some(record.stretches.iter().map(stretch).collect()))
}
