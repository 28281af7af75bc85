//! DASH manifests: number-addressed live MPDs, read by roxmltree, with segments of one length or
//! named one by one.

use roxmltree::{Document, Node};

use super::{Object, resolve};
use crate::{Context, Result};

/// What a set of key frames is known by (DASH-IF IOP §3.2.9).
const TRICK_MODE: &str = "http://dashif.org/guidelines/trickmode";
/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// An MPD.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Whether `@type` is `dynamic`.
    pub dynamic: bool,
    /// `@availabilityStartTime` in nanoseconds since the Unix epoch.
    pub available_from_ns: i64,
    /// `@publishTime` as written.
    pub publish_time: Option<String>,
    /// `@timeShiftBufferDepth` in nanoseconds.
    pub depth_ns: Option<i64>,
    /// Every representation of every period, in order.
    pub representations: Vec<Representation>,
    /// Those of the sets of key frames, which are for searching.
    pub key_frames: Vec<Representation>,
}

/// A representation in one period.
#[derive(Clone, Debug)]
pub struct Representation {
    /// `@id` of its period.
    pub period: String,
    /// Start of its period after the availability start, in nanoseconds.
    pub period_start_ns: i64,
    /// End of its period, where it is known.
    pub period_end_ns: Option<i64>,
    /// `@id`.
    pub id: String,
    /// Whether its adaptation set is sound.
    pub audio: bool,
    /// Where its init segment is.
    pub init: String,
    /// Template of its media segments, of which `$Number$` alone is left to fill in.
    media: String,
    /// `@timescale`.
    pub timescale: u64,
    /// `@duration` in ticks; 0 where each segment is named.
    pub duration: u64,
    /// Start and length in ticks of each segment that is named, from the first number on.
    pub named: Option<Vec<(u64, u64)>>,
    /// `@startNumber`.
    pub start_number: u64,
    /// `@endNumber`.
    pub end_number: Option<u64>,
    /// `@presentationTimeOffset` in ticks.
    pub time_offset: u64,
    /// `@availabilityTimeOffset` in nanoseconds: how long before its end a segment can be asked for.
    pub early_ns: i64,
}

impl Representation {
    /// Segment `k` as the manifest implies it.
    pub fn object(&self, k: u64) -> Object {
        Object {
            k,
            url: self.media.replace("$Number$", &k.to_string()),
            init: self.init.clone(),
            duration: self.length(k) as f64 / self.timescale as f64,
            date_ns: Some(self.start_ns(k)),
            discontinuity: false,
            gap: false,
        }
    }

    /// Number of the newest segment that the manifest announces at `now_ns`, be it written or still to
    /// be.
    pub fn announced(&self, manifest: &Manifest, now_ns: i64) -> Option<u64> {
        self.available(manifest, now_ns.saturating_add(self.early_ns)).pop()
    }

    /// Nominal start of segment `k`, in nanoseconds since the Unix epoch, and its nominal length.
    pub fn time_of(&self, manifest: &Manifest, k: u64) -> (i64, i64) {
        let length = self.nanos(i128::from(self.duration));
        (manifest.available_from_ns + self.start_ns(k), length)
    }

    /// The segment with that number, where segments are named.
    fn name_of(&self, k: u64) -> Option<(u64, u64)> {
        let index = usize::try_from(k.checked_sub(self.start_number)?).ok()?;
        self.named.as_ref()?.get(index).copied()
    }

    /// Length of segment `k` in ticks: exact where it is named.
    fn length(&self, k: u64) -> u64 {
        self.name_of(k).map_or(self.duration, |(_, length)| length)
    }

    /// Start of segment `k` after the availability start, in nanoseconds: nominal, but exact where it
    /// is named.
    fn start_ns(&self, k: u64) -> i64 {
        if let Some((time, _)) = self.name_of(k) {
            let after = i128::from(time) - i128::from(self.time_offset);
            return self.period_start_ns + self.nanos(after);
        }
        let after = i128::from(k.saturating_sub(self.start_number)) * i128::from(self.duration);
        self.period_start_ns + self.nanos(after)
    }

    fn nanos(&self, ticks: i128) -> i64 {
        (ticks * i128::from(SECOND) / i128::from(self.timescale)) as i64
    }

    /// Numbers of the segments that the manifest implies to be whole and available at `now_ns`,
    /// oldest first.
    pub fn available(&self, manifest: &Manifest, now_ns: i64) -> Vec<u64> {
        let length = |k| self.nanos(i128::from(self.length(k)));
        let since = now_ns - manifest.available_from_ns;
        let end = self.period_end_ns.unwrap_or(i64::MAX);
        let oldest = manifest.depth_ns.map_or(i64::MIN, |depth| since - depth);
        let last = match &self.named {
            Some(named) => (self.start_number + named.len() as u64).saturating_sub(1),
            None => self.end_number.unwrap_or(u64::MAX),
        };
        (self.start_number..=last)
            .skip_while(|k| self.start_ns(*k) + length(*k) < oldest)
            .take_while(|k| {
                let start = self.start_ns(*k);
                start + length(*k) <= since && start < end
            })
            .collect()
    }
}

/// Reads an MPD whose segments are addressed by `$Number$`, with `@duration` or `SegmentTimeline`.
///
/// # Errors
/// If something that this addressing needs is missing.
pub fn manifest(url: &str, text: &str) -> Result<Manifest> {
    let document = Document::parse(text).context(format!("XML of {url}"))?;
    let mpd = document.root_element();
    let base = base_url(&mpd, url);
    let (mut representations, mut key_frames) = (Vec::new(), Vec::new());
    let periods: Vec<Node<'_, '_>> = children(&mpd, "Period").collect();
    for (index, period) in periods.iter().enumerate() {
        let start = start_of(period).unwrap_or(0);
        let own_end = period.attribute("duration").and_then(duration_ns).map(|d| start + d);
        let end = own_end.or_else(|| periods.get(index + 1).and_then(start_of));
        let base = base_url(period, &base);
        // Stills are no media.
        let is_media = |set: &Node<'_, '_>| set.attribute("contentType") != Some("image");
        for set in children(period, "AdaptationSet").filter(is_media) {
            let base = base_url(&set, &base);
            let trick = children(&set, "EssentialProperty")
                .any(|property| property.attribute("schemeIdUri") == Some(TRICK_MODE));
            let into = if trick { &mut key_frames } else { &mut representations };
            for node in children(&set, "Representation") {
                let base = base_url(&node, &base);
                let read = representation(&[&node, &set, period], &base, start, end)?;
                into.push(read);
            }
        }
    }
    let from = mpd.attribute("availabilityStartTime").unwrap_or("1970-01-01T00:00:00Z");
    Ok(Manifest {
        dynamic: mpd.attribute("type") == Some("dynamic"),
        available_from_ns: date_ns(from).context(format!("availabilityStartTime {from}"))?,
        publish_time: mpd.attribute("publishTime").map(str::to_owned),
        depth_ns: mpd.attribute("timeShiftBufferDepth").and_then(duration_ns),
        representations,
        key_frames,
    })
}

fn start_of(period: &Node<'_, '_>) -> Option<i64> {
    period.attribute("start").and_then(duration_ns)
}

/// Reads a representation; `nodes` are itself, its adaptation set and its period.
fn representation(
    nodes: &[&Node<'_, '_>; 3],
    base: &str,
    period_start_ns: i64,
    period_end_ns: Option<i64>,
) -> Result<Representation> {
    let [node, set, period] = nodes;
    let id = node.attribute("id").context("a Representation without id")?.to_owned();
    // Attributes of a SegmentTemplate are inherited one by one (ISO/IEC 23009-1 §5.3.9.1).
    let templates: Vec<Node<'_, '_>> =
        nodes.iter().flat_map(|n| children(n, "SegmentTemplate")).collect();
    let find = |name: &str| templates.iter().find_map(|t| t.attribute(name));
    let number = |name: &str| find(name).map(|v| v.parse::<u64>().context(name)).transpose();
    let fill = |template: &str| {
        let bandwidth = node.attribute("bandwidth").unwrap_or("");
        let filled = template.replace("$RepresentationID$", &id);
        resolve(base, &filled.replace("$Bandwidth$", bandwidth))
    };
    let named = templates.iter().find_map(|t| children(t, "SegmentTimeline").next());
    let named = named.as_ref().map(segment_times).transpose().context(format!("times of {id}"))?;
    let duration = number("duration")?;
    let duration = if named.is_some() { duration.or(Some(0)) } else { duration };
    let kind = node.attribute("mimeType").or_else(|| set.attribute("mimeType"));
    let kind = kind.or_else(|| set.attribute("contentType")).unwrap_or("");
    Ok(Representation {
        period: period.attribute("id").unwrap_or("").to_owned(),
        period_start_ns,
        period_end_ns,
        audio: kind.starts_with("audio"),
        init: fill(find("initialization").context(format!("{id}: no @initialization"))?),
        media: fill(find("media").context(format!("{id}: no @media"))?),
        timescale: number("timescale")?.unwrap_or(1),
        duration: duration.context(format!("{id}: no @duration"))?,
        named,
        start_number: number("startNumber")?.unwrap_or(1),
        end_number: number("endNumber")?,
        time_offset: number("presentationTimeOffset")?.unwrap_or(0),
        early_ns: find("availabilityTimeOffset").and_then(decimal_ns).unwrap_or(0),
        id,
    })
}

/// Start and length of every segment of a timeline, repetitions included.
fn segment_times(timeline: &Node<'_, '_>) -> Result<Vec<(u64, u64)>> {
    let mut times: Vec<(u64, u64)> = Vec::new();
    for s in children(timeline, "S") {
        let number =
            |name: &str| s.attribute(name).map(|v| v.parse::<u64>().context(name)).transpose();
        let next = times.last().map_or(0, |(time, length)| time + length);
        let (start, length) = (number("t")?.unwrap_or(next), number("d")?.context("S@d")?);
        times.extend((0..=number("r")?.unwrap_or(0)).map(|n| (start + n * length, length)));
    }
    Ok(times)
}

fn children<'a, 'd>(node: &Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn base_url(node: &Node<'_, '_>, above: &str) -> String {
    let own = children(node, "BaseURL").next().and_then(|n| n.text().map(str::trim));
    own.map_or_else(|| above.to_owned(), |own| resolve(above, own))
}

/// Nanoseconds of an `xs:duration` of days, hours, minutes and seconds: `PT1.92S`, `PT20H13M20S`.
fn duration_ns(text: &str) -> Option<i64> {
    let (days, clock) = text.strip_prefix('P')?.split_once('T')?;
    let days: i64 = if days.is_empty() { 0 } else { days.strip_suffix('D')?.parse().ok()? };
    let mut total = days * 86_400 * SECOND;
    let mut rest = clock;
    for (unit, seconds) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((value, after)) = rest.split_once(unit) {
            total += decimal_ns(value)? * seconds;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

/// A decimal number of seconds in nanoseconds, without floating point: times since the epoch don't
/// fit into an `f64` to the tick.
fn decimal_ns(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    whole.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(digits.parse().ok()?)
}

/// Nanoseconds since the Unix epoch of an ISO 8601 date, by the calendar that m3u8-rs uses.
pub(crate) fn date_ns(text: &str) -> Option<i64> {
    let list = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PROGRAM-DATE-TIME:{text}\n#EXTINF:1,\na\n"
    );
    let (_, list) = m3u8_rs::parse_media_playlist(list.as_bytes()).ok()?;
    list.segments.first()?.program_date_time?.timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_dates_are_read_to_the_nanosecond() {
        assert_eq!(duration_ns("PT1.92S"), Some(1_920_000_000));
        assert_eq!(duration_ns("PT1H2M3.000000001S"), Some(3_723_000_000_001));
        assert_eq!(duration_ns("P1DT0S"), Some(86_400_000_000_000));
        assert_eq!(duration_ns("PT1790000000.033333333S"), Some(1_790_000_000_033_333_333));
        assert_eq!(duration_ns("1S"), None);
        assert_eq!(date_ns("1970-01-01T00:00:00.15Z"), Some(150_000_000));
        assert_eq!(date_ns("2026-01-01T00:00:00Z"), Some(1_767_225_600_000_000_000));
    }
}
