//! What `/proc` tells about a process and its descendants.

use std::fs;

/// What a process and its descendants hold at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is really there, in bytes.
    pub resident_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// Processes.
    pub processes: u64,
}

impl Usage {
    /// What a process and its descendants hold now.
    pub fn of(root: u32) -> Self {
        members(root).into_iter().map(Self::of_one).fold(Self::default(), |sum, one| Self {
            resident_bytes: sum.resident_bytes + one.resident_bytes,
            open_files: sum.open_files + one.open_files,
            threads: sum.threads + one.threads,
            processes: sum.processes + one.processes,
        })
    }

    /// A process that is gone holds nothing.
    fn of_one(id: u32) -> Self {
        let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else {
            return Self::default();
        };
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let files = fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
        Self {
            resident_bytes: number("VmRSS:").unwrap_or(0) * 1024,
            open_files: files as u64,
            threads: number("Threads:").unwrap_or(0),
            processes: 1,
        }
    }
}

/// Ids of a process and its descendants, parents before children. Workers that lead a process group
/// of their own are among them; what was adopted by init is not.
pub fn members(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name, which may hold spaces and brackets) state ppid pgrp …
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let parent = rest.split_whitespace().nth(1).and_then(|p| p.parse().ok());
        parents.push((id, parent.unwrap_or(0u32)));
    }
    let mut members = vec![root];
    let mut index = 0;
    while let Some(parent) = members.get(index).copied() {
        members.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(id, _)| *id));
        index += 1;
    }
    members
}

/// Whether there is such a process: alive, or dead and not yet reaped.
pub fn is_there(id: u32) -> bool {
    fs::exists(format!("/proc/{id}")).unwrap_or(false)
}

/// What a process calls itself, its first argument; `None` for one that is gone or dead, and for a
/// moment while it begins.
pub fn title(id: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next().filter(|first| !first.is_empty())?;
    Some(String::from_utf8_lossy(first).into_owned())
}

/// Arguments of a process, its program first; none if it is gone or dead.
pub fn arguments(id: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_s_memory_files_and_threads_are_its_parent_s_too() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let (own, all) = (Usage::of(child.id()), Usage::of(std::process::id()));
        let (named, known) = (title(child.id()), members(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(named.as_deref(), Some("sleep"));
        assert!(known.contains(&child.id()), "{known:?}");
        assert_eq!((own.processes, own.threads), (1, 1));
        assert!(own.resident_bytes > 0 && own.open_files > 0, "{own:?}");
        assert!(all.resident_bytes > own.resident_bytes && all.threads > own.threads, "{all:?}");
        assert_eq!(Usage::of(child.id()), Usage::default());
    }
}
