//! Independent readers: what programs and crates that are not ours make of the output.
//!
//! [`hls`] and [`dash`] read manifests into the same words (an [`Object`] is a segment with the
//! time its manifest claims for it), [`fragments`] reads the boxes of a segment, [`ffmpeg`] and
//! [`gstreamer`] decode it, [`scte35`] reads what ad breaks carry. The clock in picture and sound is read back by `ingest::av::mark`.

use bytes::Bytes;

pub mod dash;
pub mod ffmpeg;
pub mod fragments;
pub mod gstreamer;
pub mod hls;
pub mod scte35;

/// A media segment as a manifest names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its number: HLS media sequence, DASH `$Number$`.
    pub k: u64,
    /// Where it is.
    pub url: String,
    /// Where its init segment is.
    pub init: String,
    /// Length that the manifest claims, in seconds.
    pub duration: f64,
    /// The date of its first sample, in nanoseconds since the Unix epoch, if the manifest has one.
    pub date_ns: Option<i64>,
    /// Whether a discontinuity stands before it.
    pub discontinuity: bool,
    /// Whether it is said not to exist.
    pub gap: bool,
}

/// A decoded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Presentation time in nanoseconds since the zero of the media's clock.
    pub pts_ns: i64,
    /// The clock drawn into it: milliseconds since the Unix epoch modulo 2^40.
    pub mark: Option<u64>,
}

/// Decoded sound.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// Presentation time of the first sample, in nanoseconds.
    pub start_ns: i64,
    /// All channels mixed into one.
    pub samples: Vec<f32>,
}

/// A clock mark as it stands in the picture (40 bits), as full milliseconds next to `near_ms`.
pub fn full_mark(mark: u64, near_ms: u64) -> u64 {
    const WRAP: u64 = 1 << 40;
    let base = near_ms & !(WRAP - 1);
    let candidates = [base.saturating_sub(WRAP) + mark, base + mark, base + WRAP + mark];
    candidates.into_iter().min_by_key(|c| c.abs_diff(near_ms)).unwrap_or(mark)
}

/// Init segment and media segments joined: a file that any MP4 reader takes.
pub fn join(init: &Bytes, segments: &[Bytes]) -> Vec<u8> {
    let mut all = init.to_vec();
    for segment in segments {
        all.extend_from_slice(segment);
    }
    all
}

/// An address inside a manifest, made absolute.
pub fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let base = base.split(['?', '#']).next().unwrap_or(base);
    let scheme_end = base.find("://").map_or(0, |at| at + 3);
    let path_start = base[scheme_end..].find('/').map_or(base.len(), |at| scheme_end + at);
    let (origin, path) = base.split_at(path_start);
    if reference.starts_with('/') {
        return format!("{origin}{reference}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').skip(1).collect();
    for part in reference.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            other => parts.push(other),
        }
    }
    format!("{origin}/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_as_in_rfc_3986() {
        let base = "http://h:1/live/a/720p/index.m3u8?x=/y";
        for (reference, whole) in [
            ("7.m4s", "http://h:1/live/a/720p/7.m4s"),
            ("../run/720p/7.m4s", "http://h:1/live/a/run/720p/7.m4s"),
            ("/x/y", "http://h:1/x/y"),
            ("http://other/z", "http://other/z"),
            ("./a", "http://h:1/live/a/720p/a"),
        ] {
            assert_eq!(resolve(base, reference), whole);
        }
    }

    #[test]
    fn a_mark_is_completed_with_the_bits_of_the_time_nearby() {
        let now = (3 << 40) + 5;
        assert_eq!(full_mark(3, now), (3 << 40) + 3);
        assert_eq!(full_mark((1 << 40) - 1, now), (3 << 40) - 1);
    }
}
