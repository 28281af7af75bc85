//! Paths of files and folders, which stand relative to the working directory.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Result, print_bytes};
use crate::config::Slate;

/// Largest slate: an uncompressed-looking picture in 4K is smaller, and every channel keeps its own.
const MAX_SLATE: u64 = 4 << 20;

/// A path of a file or folder.
pub(in crate::config) fn path(text: &str) -> Result<PathBuf> {
    if text.is_empty() { Err("a path is not empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// The path of a file that is there and can be read.
pub(in crate::config) fn file(text: &str) -> Result<PathBuf> {
    let path = path(text)?;
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err(format!("{text:?} is no file")),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// Reads the image file that a path names.
pub(in crate::config) fn slate(text: &str) -> Result<Slate> {
    let path = PathBuf::from(text);
    let mut image = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_SLATE + 1).read_to_end(&mut image))
        .map_err(|error| unreadable(&path, &error))?;
    if image.len() as u64 > MAX_SLATE {
        return Err(format!("{text:?} is larger than {}", print_bytes(MAX_SLATE)));
    }
    match image[..] {
        [0x89, b'P', b'N', b'G', ..] | [0xFF, 0xD8, 0xFF, ..] => {}
        _ => return Err(format!("{text:?} is neither PNG nor JPEG")),
    }
    Ok(Slate { path, image: image.into() })
}

/// That a file can't be read, and where it was looked for: a service has another working directory than a
/// shell.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    match std::path::absolute(path) {
        Ok(whole) if whole != path => {
            format!("{path:?}, that is {whole:?}, can't be read: {error}")
        }
        _ => format!("{path:?} can't be read: {error}"),
    }
}
