//! The configuration that a server was up with, left to the one that comes after it.
//!
//! A server reads its configuration when it starts, and by then the file may be half edited, or gone. Viewers
//! must not pay for that: a server that is up leaves the text it was started with in a file in memory, which
//! the guardian makes and hands to every server as its standard input (`memfd_create(2)`), and the next one
//! goes on with it where the file can't be used. The guardian reads neither: a program that was installed
//! since it was started may know more keys than it does.
//!
//! A server that dies while it writes leaves nothing: the length, in front, is written last.

use std::fs::File;
use std::io::{self, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, memfd_create};

/// What the file is called where descriptors are listed; no other file is written to.
const NAME: &str = "headwater-configuration";
/// Length of the length.
const HEAD: u64 = 8;
/// Longest text that is read; a configuration of a thousand channels is a tenth of it.
const LONGEST: u64 = 16 << 20;

/// What one server leaves to the next.
#[derive(Debug)]
pub struct Legacy(File);

impl Legacy {
    /// Nothing yet.
    ///
    /// # Errors
    /// The system gives no memory for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self(File::from(memfd_create(NAME, MemfdFlags::CLOEXEC)?)))
    }

    /// As the standard input of a server.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub fn to_hand(&self) -> io::Result<Stdio> {
        self.0.try_clone().map(Stdio::from)
    }

    /// What the guardian of this process has handed to it; `None` where it has no such guardian.
    pub fn inherited() -> Option<Self> {
        let input = stdin().as_fd().try_clone_to_owned().ok()?;
        is_legacy(&input).then(|| Self(File::from(input)))
    }

    /// What the last server that was up has left; `None` if there was none.
    pub fn text(&self) -> Option<String> {
        let mut head = [0; HEAD as usize];
        self.0.read_exact_at(&mut head, 0).ok()?;
        let length = u64::from_le_bytes(head);
        if length > LONGEST || self.0.metadata().ok()?.len() != HEAD + length {
            return None;
        }
        let mut text = vec![0; usize::try_from(length).ok()?];
        self.0.read_exact_at(&mut text, HEAD).ok()?;
        String::from_utf8(text).ok()
    }

    /// Leaves `text` to the next server.
    ///
    /// # Errors
    /// The system gives no memory for it: nothing is left then.
    pub fn leave(&self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(text.as_bytes(), HEAD)?;
        self.0.write_all_at(&(text.len() as u64).to_le_bytes(), 0)
    }
}

fn is_legacy(input: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let link = std::fs::read_link(format!("/proc/self/fd/{}", input.as_raw_fd()));
    link.is_ok_and(|link| link.to_string_lossy().starts_with(&format!("/memfd:{NAME}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_last_is_there_and_nothing_else() {
        let legacy = Legacy::new().unwrap();
        assert_eq!(legacy.text(), None);
        for text in ["a longer one", "short", ""] {
            legacy.leave(text).unwrap();
            assert_eq!(legacy.text().as_deref(), Some(text));
        }
    }

    #[test]
    fn what_was_left_in_part_is_not_there() {
        let legacy = Legacy::new().unwrap();
        legacy.leave("whole").unwrap();
        // Where a server dies while it leaves a text.
        legacy.0.set_len(0).unwrap();
        assert_eq!(legacy.text(), None);
        legacy.0.write_all_at(b"half", HEAD).unwrap();
        assert_eq!(legacy.text(), None);
    }

    #[test]
    fn a_file_or_a_terminal_is_not_written_to() {
        assert!(is_legacy(&Legacy::new().unwrap().0.into()));
        assert!(!is_legacy(&File::open("/dev/null").unwrap().into()));
        assert!(!is_legacy(&File::open("/proc/self/exe").unwrap().into()));
    }
}
