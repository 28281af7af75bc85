//! Sections of SCTE-35 as threefive3 reads them, which shares no code with ours.

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{Context, Failure, Result, process, workspace};

/// How long Python may take to start and read a few sections.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A section.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Section {
    /// `splice_info_section` without what follows.
    pub info_section: Value,
    /// The command.
    pub command: Value,
    /// Its descriptors.
    pub descriptors: Vec<Value>,
    /// The section as the reader writes it again.
    pub base64: String,
}

/// Reads sections: each in base64, in hexadecimal behind `0x`, or as an XML element.
///
/// # Errors
/// If the reader is not installed, or makes nothing of one of them.
pub fn read(sections: &[String]) -> Result<Vec<Section>> {
    let dir = tempfile::tempdir().context("temporary folder")?;
    let input = dir.path().join("sections");
    std::fs::write(&input, sections.join("\n")).context("sections")?;
    let script = workspace::root().join("tests/src/reader/threefive.py");
    let mut command = Command::new(workspace::python());
    command.arg(script).arg(&input);
    let output = process::run("threefive.py", &mut command, READ_WITHIN)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| serde_json::from_str(line).context(line.to_owned()));
    let read = lines.collect::<Result<Vec<Section>>>()?;
    if read.len() != sections.len() {
        let said = &output.stderr;
        return Err(Failure::new(format!("{} of {}: {said}", read.len(), sections.len())));
    }
    Ok(read)
}
