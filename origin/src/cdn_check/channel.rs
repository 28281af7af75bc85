//! What of a channel the probes need: where its live edge is, and the names of its objects there.
//!
//! Read from one media playlist, through the edge that is probed, as a player would. This is no
//! general reader of playlists: it knows the lines that Headwater writes.

use std::time::Duration;

use url::Url;

use super::client::{self, Client, Reply};

/// The multivariant playlist's name in a channel's folder.
const MULTIVARIANT: &str = "index.m3u8";

/// Why a channel can't be probed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The edge does not answer.
    #[error("can't read {url} through the edge")]
    Client {
        /// What was asked for.
        url: String,
        /// Why not.
        source: client::Error,
    },
    /// The edge answers with something else than the resource.
    #[error(
        "{url} is answered with status {status}: is the channel on the air, and is this the edge's address of it?"
    )]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer is no playlist of a live channel.
    #[error("{url} {what}")]
    Playlist {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A segment of the live edge that is being written or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Media sequence number.
    pub(super) msn: u64,
    /// Part in it, from zero.
    pub(super) part: u64,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Playlist {
    /// TARGETDURATION.
    pub(super) target: Duration,
    /// PART-TARGET, if it is a low-latency playlist.
    pub(super) part_target: Option<Duration>,
    /// Whether it can be waited for.
    pub(super) blocking: bool,
    /// Number of its first segment.
    pub(super) first: u64,
    /// URIs of its whole segments.
    pub(super) segments: Vec<String>,
    /// URI of the newest init segment.
    pub(super) init: Option<String>,
    /// URIs of the parts of the segment that is being written.
    pub(super) open_parts: Vec<String>,
    /// URIs of the parts of the newest whole segment.
    pub(super) whole_parts: Vec<String>,
    /// Whether the channel has ended.
    pub(super) ended: bool,
}

impl Playlist {
    /// Reads a playlist; `None` if the text is none with a segment in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()?.trim() != "#EXTM3U" {
            return None;
        }
        let mut list = Self::default();
        for line in lines {
            if let Some(rest) = line.strip_prefix('#') {
                list.tag(rest);
            } else if !line.trim().is_empty() {
                list.segments.push(line.trim().to_owned());
                list.whole_parts = std::mem::take(&mut list.open_parts);
            }
        }
        (!list.segments.is_empty()).then_some(list)
    }

    fn tag(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "EXT-X-TARGETDURATION" => self.target = seconds(value).unwrap_or_default(),
            "EXT-X-MEDIA-SEQUENCE" => self.first = value.trim().parse().unwrap_or_default(),
            "EXT-X-PART-INF" => {
                self.part_target = attribute(value, "PART-TARGET").and_then(seconds);
            }
            "EXT-X-SERVER-CONTROL" => {
                self.blocking = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
            }
            "EXT-X-MAP" => self.init = attribute(value, "URI").map(str::to_owned),
            "EXT-X-PART" => self.open_parts.extend(attribute(value, "URI").map(str::to_owned)),
            "EXT-X-SKIP" => {
                let skipped = attribute(value, "SKIPPED-SEGMENTS").and_then(|n| n.parse().ok());
                self.first = self.first.saturating_add(skipped.unwrap_or(0u64));
            }
            "EXT-X-ENDLIST" => self.ended = true,
            _ => {}
        }
    }

    /// Number of the segment that is being written.
    pub(super) fn open(&self) -> u64 {
        self.first.saturating_add(self.segments.len() as u64)
    }

    /// What comes next.
    pub(super) fn next(&self) -> Position {
        Position { msn: self.open(), part: self.open_parts.len() as u64 }
    }

    /// Whether it has the part, or is beyond it.
    pub(super) fn has(&self, wanted: Position) -> bool {
        wanted < self.next()
    }
}

/// A channel behind an edge.
#[derive(Clone)]
pub(super) struct Channel {
    /// Asks the edge.
    pub(super) client: Client,
    /// The multivariant playlist.
    pub(super) multivariant: Url,
    /// The media playlist of the first rendition.
    pub(super) playlist: Url,
}

impl Channel {
    /// Finds the channel that `url` is of: of its playlist, manifest, watch page or folder.
    ///
    /// # Errors
    /// It can't be read, or is not live.
    pub(super) async fn find(url: &Url) -> Result<Self, Error> {
        let multivariant = multivariant(url);
        let failed = |source| Error::Client { url: multivariant.to_string(), source };
        let client = Client::new(&multivariant).map_err(failed)?;
        let reply = client.get(multivariant.path()).await.map_err(failed)?;
        let text = found(&multivariant, &reply)?;
        let wrong = |what| Error::Playlist { url: multivariant.to_string(), what };
        let playlist = first_playlist(&multivariant, &text)
            .ok_or_else(|| wrong("names no playlist of this host"))?;
        Ok(Self { client, multivariant, playlist })
    }

    /// The media playlist now, and the answer it was in.
    ///
    /// # Errors
    /// It can't be read, or the channel has ended.
    pub(super) async fn now(&self) -> Result<(Playlist, Reply), Error> {
        let failed = |source| Error::Client { url: self.playlist.to_string(), source };
        let reply = self.client.get(self.playlist.path()).await.map_err(failed)?;
        let text = found(&self.playlist, &reply)?;
        let wrong = |what| Error::Playlist { url: self.playlist.to_string(), what };
        let list = Playlist::parse(&text).ok_or_else(|| wrong("is no playlist with a segment"))?;
        if list.ended {
            return Err(wrong("has ended: only a live channel can be probed"));
        }
        Ok((list, reply))
    }

    /// Path and query of the playlist that has a part.
    pub(super) fn waiting_for(&self, wanted: Position) -> String {
        let Position { msn, part } = wanted;
        format!("{}?_HLS_msn={msn}&_HLS_part={part}", self.playlist.path())
    }

    /// Path of what a playlist names.
    pub(super) fn path(&self, uri: &str) -> Option<String> {
        Some(self.playlist.join(uri).ok()?.path().to_owned())
    }

    /// Path of segment `msn` of the run that the playlist ends in.
    pub(super) fn segment(&self, list: &Playlist, msn: u64) -> Option<String> {
        let path = self.path(list.segments.last()?)?;
        Some(format!("{}/{msn}.m4s", path.rsplit_once('/')?.0))
    }
}

/// The text of a playlist that was found.
fn found(url: &Url, reply: &Reply) -> Result<String, Error> {
    match reply.status.as_u16() {
        200 => Ok(reply.text()),
        status => Err(Error::Status { url: url.to_string(), status }),
    }
}

/// The first media playlist that a multivariant one names, if it is of the same host and port.
fn first_playlist(multivariant: &Url, text: &str) -> Option<Url> {
    let mut lines = text.strip_prefix("#EXTM3U")?.lines();
    let named = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let playlist = multivariant.join(named.trim()).ok()?;
    (playlist.origin() == multivariant.origin()).then_some(playlist)
}

/// The multivariant playlist of the channel that a URL is of.
fn multivariant(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    let folder = match path.rsplit_once('/') {
        Some((before, channel)) if before.ends_with("/watch") => {
            format!("{}/live/{channel}", before.trim_end_matches("/watch"))
        }
        Some((folder, file)) if file.contains('.') => folder.to_owned(),
        _ => path,
    };
    url.set_path(&format!("{folder}/{MULTIVARIANT}"));
    url
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// The value of an attribute, without quotes.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.find(',').map_or((after, ""), |at| after.split_at(at)),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = next.trim_start_matches(',');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_channel_leads_to_its_playlist() {
        for address in [
            "https://edge.example/live/news/index.m3u8",
            "https://edge.example/live/news/index.m3u8?x=1#y",
            "https://edge.example/live/news/manifest.mpd",
            "https://edge.example/live/news",
            "https://edge.example/live/news/",
            "https://edge.example/watch/news",
        ] {
            let found = multivariant(&Url::parse(address).unwrap());
            assert_eq!(found.as_str(), "https://edge.example/live/news/index.m3u8", "{address}");
        }
    }

    #[test]
    fn the_first_rendition_is_looked_at_where_it_is_the_same_servers() {
        let multivariant = Url::parse("http://edge.example:8081/live/news/index.m3u8").unwrap();
        let first = |uri: &str| {
            let text = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{uri}\n");
            first_playlist(&multivariant, &text).map(|url| url.to_string())
        };
        let there = "http://edge.example:8081/live/news/720p/index.m3u8";
        for uri in ["720p/index.m3u8", there] {
            assert_eq!(first(uri).as_deref(), Some(there));
        }
        for elsewhere in ["http://edge.example/x.m3u8", "https://edge.example:8081/x", "//o/x"] {
            assert_eq!(first(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(first_playlist(&multivariant, "<html>"), None);
    }

    #[test]
    fn a_low_latency_playlist_tells_what_comes_next() {
        let list = Playlist::parse(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.9\n\
             #EXT-X-PART-INF:PART-TARGET=0.26667\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-MAP:URI=\"../r/720p/init.mp4\"\n#EXTINF:1.6,\n../r/720p/7.m4s\n\
             #EXT-X-PART:DURATION=0.26667,INDEPENDENT=YES,URI=\"../r/720p/8.0.m4s\"\n\
             #EXTINF:1.6,\n../r/720p/8.m4s\n\
             #EXT-X-PART:DURATION=0.26667,URI=\"../r/720p/9.0.m4s\"\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../r/720p/9.1.m4s\"\n",
        )
        .unwrap();
        assert_eq!(list.next(), Position { msn: 9, part: 1 });
        assert!(list.has(Position { msn: 9, part: 0 }) && list.has(Position { msn: 8, part: 9 }));
        assert!(!list.has(Position { msn: 9, part: 1 }));
        assert!(list.blocking && !list.ended);
        assert_eq!(list.init.as_deref(), Some("../r/720p/init.mp4"));
        assert_eq!(list.whole_parts, ["../r/720p/8.0.m4s"]);
        assert_eq!(list.target, Duration::from_secs(2));
        assert_eq!(list.part_target, Some(Duration::from_nanos(266_670_000)));
    }

    #[test]
    fn what_is_no_playlist_with_a_segment_is_none() {
        assert_eq!(Playlist::parse("<html>"), None);
        assert_eq!(Playlist::parse("#EXTM3U\n#EXT-X-TARGETDURATION:2\n"), None);
    }
}
