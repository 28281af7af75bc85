//! Row DM-20: the XML schema of ISO/IEC 23009-1, asked through xmllint.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rules::Violation;

/// Where the schema is kept beside a checkout; it is not part of the project.
const PLACE: &str = "../../shared/schema/DASH-MPD.xsd";

/// The schema's file.
#[derive(Clone, Debug)]
pub struct Schema(PathBuf);

impl Schema {
    /// The schema, if it is there.
    pub fn find() -> Option<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLACE);
        path.is_file().then_some(Self(path))
    }
}

/// Judges a manifest by the schema.
///
/// # Errors
/// When xmllint (Debian: libxml2-utils) can't be run.
pub fn check_schema(schema: &Schema, text: &str) -> std::io::Result<Vec<Violation>> {
    let mut child = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(&schema.0)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(vec![Violation { row: "DM-20", text }])
}
