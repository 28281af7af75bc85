//! What is noted of a file while it is packaged, so that this can be gone on with: lines of JSON.
//!
//! The first line is the [`Head`], every other one a finished segment. A line without an end, which a death
//! may leave, is none.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use packager::media::RunId;
use packager::timeline::Part;
use serde::{Deserialize, Serialize};

/// One file, to be packaged in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    /// Where the file is.
    input: String,
    bytes: u64,
    changed_ms: u64,
    way: String,
}

/// A job that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    job: Job,
    /// Names its media: whoever packages something else in the same place does so under other names, so that
    /// no cache mixes them up.
    run: String,
}

/// A finished segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Index of the rendition.
    pub(super) rendition: usize,
    /// Number of the segment.
    pub(super) k: u64,
    /// When it begins, in ticks of its rendition.
    pub(super) start: i64,
    pub(super) parts: Vec<Part>,
}

impl Job {
    /// Packaging `input` in a way of this name.
    ///
    /// # Errors
    /// The file can't be looked at.
    pub(super) fn of(input: &Path, way: &str) -> io::Result<Self> {
        let facts = fs::metadata(input)?;
        let changed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            input: fs::canonicalize(input)?.to_string_lossy().into_owned(),
            bytes: facts.len(),
            changed_ms: u64::try_from(changed.as_millis()).unwrap_or(u64::MAX),
            way: way.to_owned(),
        })
    }
}

impl Head {
    /// A job that begins as this run.
    pub(super) fn new(job: Job, run: &RunId) -> Self {
        Self { job, run: run.to_string() }
    }

    /// Reads notes; `None` if they are of something else.
    pub(super) fn read(text: &str, job: &Job) -> Option<(Self, Vec<Noted>)> {
        let mut lines = whole(text).lines();
        let head: Self = serde_json::from_str(lines.next()?).ok()?;
        let known = head.job == *job && RunId::parse(&head.run).is_some();
        let noted = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        known.then_some((head, noted))
    }

    /// The run whose name the media has.
    pub(super) fn run(&self) -> RunId {
        RunId::parse(&self.run).unwrap_or_else(|| RunId::from_millis(0))
    }

    /// As a line.
    pub(super) fn line(&self) -> String {
        line(self)
    }
}

impl Noted {
    /// As a line.
    pub(super) fn line(&self) -> String {
        line(self)
    }

    /// Bytes of the segment.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.bytes)).sum()
    }

    /// Ticks of the segment.
    pub(super) fn duration(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.duration)).sum()
    }
}

/// Notes without a last line that is cut short.
pub(super) fn whole(text: &str) -> &str {
    text.rfind('\n').and_then(|end| text.get(..=end)).unwrap_or_default()
}

/// What has names and numbers only can always be written.
fn line(what: &impl Serialize) -> String {
    let mut line = serde_json::to_string(what).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_back_up_to_their_last_whole_line_and_by_the_same_job_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let job = Job::of(file.path(), "source").unwrap();
        let head = Head::new(job.clone(), &RunId::from_millis(7));
        let noted = |k| Noted {
            rendition: 1,
            k,
            start: 90_000,
            parts: vec![(3_600, 700, true, 80).into()],
        };
        let text = [head.line(), noted(1).line(), noted(2).line()].concat();
        let (read, segments) = Head::read(&text, &job).unwrap();
        assert_eq!((read.run(), segments), (RunId::from_millis(7), vec![noted(1), noted(2)]));
        let (_, segments) = Head::read(&text[..text.len() - 1], &job).unwrap();
        assert_eq!(segments, [noted(1)]);
        let other = Job::of(file.path(), "180p").unwrap();
        assert!(Head::read(&text, &other).is_none() && Head::read("", &job).is_none());
    }
}
