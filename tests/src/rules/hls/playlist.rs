//! Playlists as the rules read them: every tag kept, nothing forgiven silently.

use std::collections::BTreeMap;

use super::cue_out;
use crate::rules::{date_nanos, nanos};

/// Attributes of a tag by name, without the quotes.
pub(super) type Attributes<'a> = BTreeMap<&'a str, &'a str>;

/// One line that begins with `#EXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// Without the `#`.
    pub(super) name: &'a str,
    /// What stands after the colon.
    pub(super) value: &'a str,
}

impl<'a> Tag<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix('#').filter(|line| line.starts_with("EXT"))?;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        Some(Self { name, value })
    }

    /// The value as an attribute list.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        let mut attributes = BTreeMap::new();
        let mut rest = self.value;
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            attributes.insert(name, value);
            rest = after.strip_prefix(',').unwrap_or_default();
        }
        attributes
    }
}

/// A multivariant playlist.
#[derive(Debug)]
pub(super) struct Multivariant<'a> {
    pub(super) first_line: &'a str,
    pub(super) tags: Vec<Tag<'a>>,
    /// Attributes of each `EXT-X-STREAM-INF` and the URI line after it.
    pub(super) variants: Vec<(Attributes<'a>, Option<&'a str>)>,
}

impl<'a> Multivariant<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let following = lines.iter().skip(1).map(Some).chain([None]);
        let variants = lines
            .iter()
            .zip(following)
            .filter_map(|(line, next)| {
                let tag = Tag::parse(line).filter(|tag| tag.name == "EXT-X-STREAM-INF")?;
                Some((tag.attributes(), next.copied().filter(|next| !next.starts_with('#'))))
            })
            .collect();
        Self {
            first_line: lines.first().copied().unwrap_or_default(),
            tags: lines.iter().filter_map(|line| Tag::parse(line)).collect(),
            variants,
        }
    }

    /// The attributes of every tag of that name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = Attributes<'a>> {
        self.tags.iter().filter(move |tag| tag.name == name).map(Tag::attributes)
    }
}

/// A segment of a media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// Media sequence number.
    pub(super) k: u64,
    pub(super) uri: &'a str,
    /// The printed duration, and its nanoseconds.
    pub(super) duration: (&'a str, u64),
    pub(super) gap: bool,
    pub(super) discontinuity: bool,
    /// URI of the init segment in force.
    pub(super) map: Option<&'a str>,
    /// Whether an `EXT-X-MAP` stands right before it.
    pub(super) map_here: bool,
    /// Nanoseconds since the epoch, if a date stands before it.
    pub(super) date: Option<u64>,
    /// Its parts, as far as they are listed.
    pub(super) parts: Vec<Part<'a>>,
    /// What is said of breaks before it.
    pub(super) cues: Vec<Tag<'a>>,
    /// Length and offset of the byte range, if it is one.
    pub(super) range: Option<(u64, u64)>,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) uri: &'a str,
    /// The printed duration, and its nanoseconds.
    pub(super) duration: (&'a str, u64),
    pub(super) independent: bool,
    pub(super) gap: bool,
}

/// The parts among these tags.
fn parts<'a>(tags: &[Tag<'a>]) -> Vec<Part<'a>> {
    let part = |tag: &Tag<'a>| {
        let attributes = tag.attributes();
        let duration = attributes.get("DURATION").copied().unwrap_or_default();
        Part {
            uri: attributes.get("URI").copied().unwrap_or_default(),
            duration: (duration, nanos(duration).unwrap_or(0)),
            independent: attributes.get("INDEPENDENT") == Some(&"YES"),
            gap: attributes.get("GAP") == Some(&"YES"),
        }
    };
    tags.iter().filter(|tag| tag.name == "EXT-X-PART").map(part).collect()
}

/// A media playlist.
#[derive(Debug)]
pub(super) struct Media<'a> {
    pub(super) first_line: &'a str,
    pub(super) tags: Vec<Tag<'a>>,
    /// How many tags stand before the first segment's first own tag.
    pub(super) head: usize,
    pub(super) segments: Vec<Segment<'a>>,
    /// Tags behind the last segment.
    pub(super) tail: Vec<Tag<'a>>,
    /// Parts of the segment that is being made.
    pub(super) open: Vec<Part<'a>>,
    /// Segments that an update leaves out.
    pub(super) skipped: u64,
    /// Lines that could not be read.
    pub(super) unreadable: Vec<&'a str>,
}

impl<'a> Media<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut media = Self {
            first_line: text.lines().next().unwrap_or_default(),
            tags: text.lines().filter_map(Tag::parse).collect(),
            head: 0,
            segments: Vec::new(),
            tail: Vec::new(),
            open: Vec::new(),
            skipped: 0,
            unreadable: Vec::new(),
        };
        let skip = media.attributes("EXT-X-SKIP");
        let skipped = skip.get("SKIPPED-SEGMENTS").and_then(|count| count.parse().ok());
        media.skipped = skipped.unwrap_or(0);
        let mut k = media.number("EXT-X-MEDIA-SEQUENCE").unwrap_or(0) + media.skipped;
        let mut map = None;
        let mut pending: Vec<Tag<'a>> = Vec::new();
        for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
            if let Some(tag) = Tag::parse(line) {
                pending.push(tag);
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let find = |name: &str| pending.iter().find(|tag| tag.name == name).copied();
            let own = find("EXT-X-MAP").map(|tag| tag.attributes());
            if let Some(attributes) = &own {
                map = attributes.get("URI").copied();
            }
            let inf = find("EXTINF").map_or("", |tag| tag.value);
            let seconds = inf.split(',').next().unwrap_or_default();
            match nanos(seconds) {
                Some(nanos) => media.segments.push(Segment {
                    k,
                    uri: line,
                    duration: (seconds, nanos),
                    gap: find("EXT-X-GAP").is_some(),
                    discontinuity: find("EXT-X-DISCONTINUITY").is_some(),
                    map,
                    map_here: own.is_some(),
                    date: find("EXT-X-PROGRAM-DATE-TIME").and_then(|tag| date_nanos(tag.value)),
                    parts: parts(&pending),
                    cues: pending.iter().filter(|tag| cue_out::is_one(tag.name)).copied().collect(),
                    range: find("EXT-X-BYTERANGE").and_then(|tag| {
                        let (length, offset) = tag.value.split_once('@')?;
                        Some((length.parse().ok()?, offset.parse().ok()?))
                    }),
                }),
                None => media.unreadable.push(line),
            }
            if media.head == 0 {
                media.head = 1 + pending.iter().take_while(|tag| !is_of_a_segment(tag)).count();
            }
            pending.clear();
            k += 1;
        }
        media.open = parts(&pending);
        media.tail = pending;
        media
    }

    /// The attributes of the first tag of that name; none without one.
    pub(super) fn attributes(&self, name: &str) -> Attributes<'a> {
        let tag = self.tags.iter().find(|tag| tag.name == name);
        tag.map(Tag::attributes).unwrap_or_default()
    }

    /// Nanoseconds that an attribute says in seconds.
    pub(super) fn seconds(&self, tag: &str, name: &str) -> Option<u64> {
        nanos(self.attributes(tag).get(name)?)
    }

    /// Whether it lists key frames only.
    pub(super) fn keys(&self) -> bool {
        self.count("EXT-X-I-FRAMES-ONLY") > 0
    }

    /// Each segment's number and parts, the one that is being made included.
    pub(super) fn parents(&self) -> impl Iterator<Item = (u64, &[Part<'a>])> {
        let whole = self.segments.iter().map(|segment| (segment.k, segment.parts.as_slice()));
        whole.chain((!self.open.is_empty()).then_some((self.end(), self.open.as_slice())))
    }

    /// The value of the only tag of that name, as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.tags.iter().find(|tag| tag.name == name)?.value.parse().ok()
    }

    /// How often a tag stands there.
    pub(super) fn count(&self, name: &str) -> usize {
        self.tags.iter().filter(|tag| tag.name == name).count()
    }

    pub(super) fn ended(&self) -> bool {
        self.count("EXT-X-ENDLIST") > 0
    }

    /// The number after the last segment's.
    pub(super) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.k + 1)
    }

    /// The segment of that number.
    pub(super) fn segment(&self, k: u64) -> Option<&Segment<'a>> {
        self.segments.iter().find(|segment| segment.k == k)
    }
}

/// Whether a tag belongs to the segment that follows it.
fn is_of_a_segment(tag: &Tag<'_>) -> bool {
    cue_out::is_one(tag.name)
        || matches!(
            tag.name,
            "EXTINF"
                | "EXT-X-MAP"
                | "EXT-X-GAP"
                | "EXT-X-DISCONTINUITY"
                | "EXT-X-PROGRAM-DATE-TIME"
                | "EXT-X-BYTERANGE"
                | "EXT-X-KEY"
                | "EXT-X-PART"
                | "EXT-X-SKIP"
                | "EXT-X-BITRATE"
        )
}
