//! How many files this process may have open: a connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not viewers': segments that are read and written, publishers, workers.
const OWN: u64 = 1_024;

/// Takes what the system allows. What is inherited is low for programs that can't cope with more,
/// which this one can.
pub(super) fn allow_many() {
    let limit = getrlimit(Resource::Nofile);
    // What fails leaves the limit as it is, which is told with the number of viewers.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Connections there can be.
pub(super) fn for_viewers() -> u32 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    viewers_of(files)
}

fn viewers_of(files: u64) -> u32 {
    let left = files.saturating_sub(OWN);
    // A process that may open next to nothing serves a few all the same.
    u32::try_from(left).unwrap_or(u32::MAX).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_get_what_the_program_does_not_need() {
        assert_eq!(viewers_of(65_536), 64_512);
        assert_eq!(viewers_of(1_024), 16);
        assert_eq!(viewers_of(u64::MAX), u32::MAX);
    }
}
