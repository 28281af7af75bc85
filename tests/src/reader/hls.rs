//! HLS playlists, read by m3u8-rs.

use m3u8_rs::{AlternativeMediaType, MasterPlaylist, MediaPlaylist};

use super::{Object, resolve};
use crate::client::Client;
use crate::{Context, Failure, Result};

/// A media playlist that a multivariant playlist names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// The rendition's name: the folder of its playlist.
    pub name: String,
    /// Where its playlist is.
    pub url: String,
    /// Whether it is sound alone.
    pub audio: bool,
}

/// Reads a multivariant playlist: video renditions in order, then audio. I-frame lists are left out.
///
/// # Errors
/// If m3u8-rs refuses it.
pub fn multivariant(url: &str, text: &str) -> Result<Vec<Rendition>> {
    let (_, list): (_, MasterPlaylist) = m3u8_rs::parse_master_playlist(text.as_bytes())
        .map_err(|e| Failure::new(format!("m3u8-rs on {url}: {e:.200}")))?;
    let mut renditions = Vec::new();
    for variant in list.variants.iter().filter(|v| !v.is_i_frame) {
        renditions.push(rendition(resolve(url, &variant.uri), false)?);
    }
    for media in list.alternatives.iter().filter(|m| m.media_type == AlternativeMediaType::Audio) {
        if let Some(uri) = &media.uri {
            renditions.push(rendition(resolve(url, uri), true)?);
        }
    }
    renditions.dedup();
    Ok(renditions)
}

fn rendition(url: String, audio: bool) -> Result<Rendition> {
    let name = url.rsplit('/').nth(1).context(format!("a folder in {url}"))?.to_owned();
    Ok(Rendition { name, url, audio })
}

/// A media playlist.
#[derive(Clone, Debug)]
pub struct Playlist {
    /// EXT-X-TARGETDURATION in seconds.
    pub target: u64,
    /// EXT-X-MEDIA-SEQUENCE.
    pub sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// Whether EXT-X-ENDLIST stands in it.
    pub ended: bool,
    /// Its whole segments.
    pub objects: Vec<Object>,
    /// The parts that it lists, oldest first.
    pub parts: Vec<Part>,
    /// Where the next part will be, if it says so.
    pub hint: Option<String>,
    /// EXT-X-SERVER-CONTROL and EXT-X-PART-INF as they stand.
    pub constant_tags: Vec<String>,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the segment.
    pub k: u64,
    /// Position in it, from 0.
    pub n: usize,
    /// Where it is.
    pub url: String,
}

impl Playlist {
    /// Discontinuity number of the object at `index`.
    pub fn discontinuity_of(&self, index: usize) -> u64 {
        let tags = self.objects.iter().take(index + 1).filter(|o| o.discontinuity).count() as u64;
        self.discontinuity_sequence + tags
    }
}

/// Reads a media playlist.
///
/// # Errors
/// If m3u8-rs refuses it, or a segment has no EXT-X-MAP.
pub fn media(url: &str, text: &str) -> Result<Playlist> {
    let (_, list): (_, MediaPlaylist) = m3u8_rs::parse_media_playlist(text.as_bytes())
        .map_err(|e| Failure::new(format!("m3u8-rs on {url}: {e:.200}")))?;
    let mut init = None;
    let mut objects = Vec::with_capacity(list.segments.len());
    for (k, segment) in (list.media_sequence..).zip(&list.segments) {
        if let Some(map) = &segment.map {
            init = Some(resolve(url, &map.uri));
        }
        objects.push(Object {
            k,
            url: resolve(url, &segment.uri),
            init: init.clone().context(format!("{url}: segment {k} without EXT-X-MAP"))?,
            duration: f64::from(segment.duration),
            date_ns: segment.program_date_time.and_then(|date| date.timestamp_nanos_opt()),
            discontinuity: segment.discontinuity,
            gap: segment.unknown_tags.iter().any(|tag| tag.tag.ends_with("X-GAP")),
        });
    }
    let (parts, hint) = parts(url, text, list.media_sequence);
    let constant = ["#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF"];
    let constant_tags = text
        .lines()
        .filter(|line| constant.iter().any(|tag| line.starts_with(tag)))
        .map(str::to_owned)
        .collect();
    Ok(Playlist {
        target: list.target_duration,
        sequence: list.media_sequence,
        discontinuity_sequence: list.discontinuity_sequence,
        ended: list.end_list,
        objects,
        parts,
        hint,
        constant_tags,
    })
}

/// Parts and the hint of the next one, which m3u8-rs does not know.
fn parts(url: &str, text: &str, sequence: u64) -> (Vec<Part>, Option<String>) {
    let uri = |line: &str| line.split("URI=\"").nth(1)?.split('"').next().map(|u| resolve(url, u));
    let (mut parts, mut hint) = (Vec::new(), None);
    let (mut k, mut n) = (sequence, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with("#EXT-X-PART:") {
            // One that is a gap can't be had.
            let there = uri(line).filter(|_| !line.contains("GAP=YES"));
            parts.extend(there.map(|url| Part { k, n, url }));
            n += 1;
        } else if line.starts_with("#EXT-X-PRELOAD-HINT:TYPE=PART") {
            hint = uri(line);
        } else if !line.starts_with('#') {
            (k, n) = (k + 1, 0);
        }
    }
    (parts, hint)
}

/// Fetches the multivariant playlist of a channel and each media playlist in it.
///
/// # Errors
/// If one does not answer 200 or can't be read.
pub fn fetch(client: &Client, url: &str) -> Result<Vec<(Rendition, Playlist)>> {
    let renditions = multivariant(url, &client.text(url)?)?;
    renditions
        .into_iter()
        .map(|rendition| {
            let playlist = media(&rendition.url, &client.text(&rendition.url)?)?;
            Ok((rendition, playlist))
        })
        .collect()
}
