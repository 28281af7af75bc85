//! What every good recording of a channel has in common, judged by its decoded clock.

use std::collections::BTreeMap;

use harness::publisher::{Feed, Publisher};
use harness::reader::{Frame, Sound, ffmpeg, full_mark, hls, join};
use harness::server::Server;
use harness::witness::{Record, Track};
use harness::{Context, Failure, Result};
use ingest::av::mark;
use packager::time::FrameRate;

/// Most that a picture may show after the moment that was drawn into it: the encoders of the
/// broadcaster and the adaptive buffer, on a machine that is shared.
const MOST_DELAY_NS: i64 = 1_500_000_000;
/// Most that a tick's sound may be away from its picture.
const MOST_LIP_ERROR_NS: i64 = 40_000_000;

/// Most of a record that may be filler on a machine that is shared: what is looked at must be there.
const MOST_FILLED: u64 = 4;

/// What a server says that it did not show as it came, by design, where the machine did not keep time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    /// Seconds by rendition that were filled because no encoder, or no source, made them in time: a part
    /// that a starved encoder brings too late is a picture that stands.
    seconds: BTreeMap<String, f64>,
    /// Pictures that came later than the adaptive buffer has room for, and those shown in their place.
    faults: u64,
}

impl Filled {
    /// What a server has filled of a channel so far.
    pub(crate) fn of(server: &Server, channel: &str) -> Result<Self> {
        let metrics = server.client.text(&server.admin_url("/metrics"))?;
        let labels = format!("headwater_filler_seconds_total{{channel=\"{channel}\",rendition=\"");
        let lines =
            metrics.lines().filter_map(|line| line.strip_prefix(&labels)?.split_once("\"} "));
        let each = |(name, seconds): (&str, &str)| -> Result<(String, f64)> {
            Ok((name.to_owned(), seconds.parse().context("seconds of filler")?))
        };
        let filled = lines.map(each).collect::<Result<BTreeMap<_, _>>>()?;
        if filled.is_empty() {
            return Err(Failure::new(format!("no renditions of {channel} in the metrics")));
        }
        let faults = server.status(channel)?["picture_faults"].clone();
        let faults = faults.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64());
        Ok(Self { seconds: filled, faults: faults.sum() })
    }

    /// How many of so many pictures the server says it repeated or left out; a twentieth at most.
    pub(crate) fn faults(&self, frames: u64) -> u64 {
        self.faults.min(frames / 20)
    }

    /// How many of so many pictures of a publisher may be out of line.
    pub(crate) fn excused(&self, publisher: &Publisher, frames: u64) -> u64 {
        publisher.excused(frames).max(self.faults(frames))
    }

    /// In frames of a rendition of so many a second.
    fn frames(&self, rendition: &str, rate: FrameRate) -> u64 {
        let seconds = self.seconds.get(rendition).copied().unwrap_or_default();
        (seconds * f64::from(rate.num) / f64::from(rate.den)).ceil() as u64
    }
}

/// A decoded frame with the source's frame that it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) pts_ns: i64,
    pub(crate) mark_ms: u64,
    pub(crate) source: u64,
}

/// The frames of a decoded stream with the frames of the source that they show.
pub(crate) fn shown(frames: &[Frame], feed: Feed) -> Result<Vec<Shown>> {
    let each = frames.iter().enumerate().map(|(index, frame)| {
        let mark = frame.mark.context(format!("frame {index} bears no mark"))?;
        let source =
            feed.frame_of(mark).context(format!("frame {index}: mark {mark} of nobody"))?;
        let mark_ms = full_mark(mark, feed.start_ms);
        Ok(Shown { pts_ns: frame.pts_ns, mark_ms, source })
    });
    each.collect()
}

/// The frames from a second after the first one. Before that, a run's first picture stands where its
/// segment began before the source, and the adaptive buffer finds its size.
pub(crate) fn settled(shown: &[Shown], feed: Feed) -> &[Shown] {
    let second = u64::from(feed.rate.num.div_ceil(feed.rate.den));
    let first = shown.first().map_or(0, |s| s.source);
    let from = shown.iter().position(|s| s.source >= first + second).unwrap_or(shown.len());
    &shown[from..]
}

/// The source's frames go by one by one: none doubled, none lost, once the source has settled, but
/// for `excused` frames. Times grow by whole frames from the very first.
pub(crate) fn every_frame_once(shown: &[Shown], feed: Feed, excused: u64) -> Result {
    in_time(shown, feed, 0)?;
    in_order(shown, feed, excused)
}

/// Times grow by a frame, and by more of them for no more than `filled` frames in all.
fn in_time(shown: &[Shown], feed: Feed, filled: u64) -> Result {
    let frame_ns = 1_000_000_000 * i64::from(feed.rate.den) / i64::from(feed.rate.num);
    let mut left = filled.cast_signed();
    for (nth, pair) in shown.windows(2).enumerate() {
        let step = pair[1].pts_ns - pair[0].pts_ns;
        let more = ((step + frame_ns / 2) / frame_ns - 1).clamp(0, left);
        left -= more;
        // Times are rounded to ticks of at least 1/24000 s.
        if (step - frame_ns * (1 + more)).abs() > 50_000 {
            let (of, before) = (shown.len(), &pair[0]);
            let text = format!("time goes on by {step} ns, a frame is {frame_ns}");
            let place = format!("behind frame {nth} of {of}, {before:?}, before {:?}", pair[1]);
            return Err(Failure::new(format!("{text}, {filled} were filled: {place}")));
        }
    }
    Ok(())
}

/// The frames follow each other, but for `excused` of them.
fn in_order(shown: &[Shown], feed: Feed, excused: u64) -> Result {
    let mut wrong = Vec::new();
    for pair in settled(shown, feed).windows(2) {
        if pair[1].source != pair[0].source + 1 {
            wrong.push((pair[0].source, pair[1].source));
        }
    }
    if wrong.len() as u64 <= excused {
        Ok(())
    } else {
        let of = shown.len();
        Err(Failure::new(format!("of {of} frames, {} don't follow: {wrong:?}", wrong.len())))
    }
}

/// The time of a picture is the time drawn into it plus the same delay, to a frame, all along. What
/// fills a run's first segments does not count: it shows the first picture before its moment.
pub(crate) fn constant_delay(shown: &[Shown], feed: Feed, excused: u64) -> Result {
    let settled = settled(shown, feed);
    let last = settled.last().context("the record ends within a second of the first picture")?;
    let delay = |s: &Shown| s.pts_ns - s.mark_ms as i64 * 1_000_000;
    let expected = delay(last);
    let frame_ns = 1_000_000_000 * i64::from(feed.rate.den) / i64::from(feed.rate.num);
    // A picture takes the place nearest to it on the output clock, which may begin before it.
    if !(-frame_ns..=MOST_DELAY_NS).contains(&expected) {
        return Err(Failure::new(format!("pictures are shown {expected} ns after their moment")));
    }
    // A mark is rounded to a millisecond.
    let off = |one: &&Shown| (delay(one) - expected).abs() > frame_ns + 1_000_000;
    let wrong: Vec<u64> = settled.iter().filter(off).map(|s| s.source).collect();
    if wrong.len() as u64 <= excused {
        Ok(())
    } else {
        Err(Failure::new(format!("frames are shown at another delay than the last: {wrong:?}")))
    }
}

/// All renditions show the same picture at the same time, but for `excused` of them: a rung that can't
/// keep up for a moment shows the one before once more.
pub(crate) fn renditions_agree(renditions: &[(String, Vec<Shown>)], excused: u64) -> Result {
    let Some(((_, first), others)) = renditions.split_first() else { return Ok(()) };
    let known: BTreeMap<i64, u64> = first.iter().map(|s| (s.pts_ns, s.source)).collect();
    for (name, shown) in others {
        // A rendition may have been read one segment further.
        let common = shown.iter().filter_map(|s| Some((s, *known.get(&s.pts_ns)?)));
        let (same, differ): (Vec<_>, Vec<_>) = common.partition(|(s, other)| s.source == *other);
        if differ.len() as u64 > excused {
            let told: Vec<_> =
                differ.iter().map(|(s, other)| (s.pts_ns, s.source, *other)).collect();
            let text = format!("{name} shows others than the first does (time, {name}, first)");
            return Err(Failure::new(format!("{text}: {told:?}, of which {excused} are excused")));
        }
        if same.len() * 2 < shown.len() {
            return Err(Failure::new(format!(
                "{name} shares {} of {} times",
                same.len(),
                shown.len()
            )));
        }
    }
    Ok(())
}

/// Every tick sounds when the picture shows the full second that it tells; gives their number.
pub(crate) fn lips_in_sync(sound: &Sound, shown: &[Shown]) -> Result<usize> {
    let mut heard = 0;
    for tick in mark::read_ticks(&sound.samples, sound.rate) {
        let at =
            sound.start_ns + tick.offset_samples as i64 * 1_000_000_000 / i64::from(sound.rate);
        let Some(picture) = shown.iter().rev().find(|s| s.pts_ns <= at) else { continue };
        if shown.last().is_some_and(|last| last.pts_ns == picture.pts_ns)
            || shown.first().is_some_and(|first| first.source == picture.source)
        {
            // Beyond the pictures, or over the picture that fills the start.
            continue;
        }
        let clock_ns = picture.mark_ms as i64 * 1_000_000 + (at - picture.pts_ns);
        let off =
            (clock_ns - i64::from(tick.second_mod_64) * 1_000_000_000).rem_euclid(64_000_000_000);
        let off = if off > 32_000_000_000 { off - 64_000_000_000 } else { off };
        if off.abs() > MOST_LIP_ERROR_NS {
            let text = format!("tick {} sounds {off} ns after its picture", tick.second_mod_64);
            return Err(Failure::new(text));
        }
        heard += 1;
    }
    Ok(heard)
}

/// The pictures of the newest segment of a channel's first rendition, decoded by ffmpeg.
pub(crate) fn newest(server: &Server, channel: &str) -> Result<Vec<Frame>> {
    let url = server.url(&format!("/live/{channel}/index.m3u8"));
    let lists = hls::fetch(&server.client, &url)?;
    let (_, playlist) = lists.first().context("a rendition")?;
    let object = playlist.objects.last().context("a segment")?;
    let init = server.client.get(&object.init)?.ok(&object.init)?.body;
    let bytes = server.client.get(&object.url)?.ok(&object.url)?.body;
    ffmpeg::frames_of_bytes(&join(&init, &[bytes]))
}

/// The pictures of a track, decoded by ffmpeg.
pub(crate) fn decoded(track: &Track, feed: Feed) -> Result<Vec<Shown>> {
    shown(&frames(track)?, feed).context(&track.rendition.name)
}

/// The pictures of a track of any number of publishers, decoded by ffmpeg.
pub(crate) fn frames(track: &Track) -> Result<Vec<Frame>> {
    let name = &track.rendition.name;
    let frames = ffmpeg::frames_of_bytes(&track.joined()?).context(name)?;
    let samples: usize =
        track.segments.values().flat_map(|s| &s.fragments).map(|f| f.samples.len()).sum();
    if samples != frames.len() {
        return Err(Failure::new(format!("{name}: {} of {samples} frames decode", frames.len())));
    }
    Ok(frames)
}

/// The pictures of a track, none of them doubled or lost but for what the server says that it filled or
/// repeated; gives how many that excuses, too.
pub(crate) fn continuous(
    track: &Track,
    publisher: &Publisher,
    filled: &Filled,
) -> Result<(Vec<Shown>, u64)> {
    let (name, feed) = (&track.rendition.name, publisher.feed());
    let shown = decoded(track, feed)?;
    let frames = shown.len() as u64;
    let excused = filled.excused(publisher, frames);
    let filled = filled.frames(name, feed.rate);
    if filled > frames / MOST_FILLED {
        return Err(Failure::new(format!("{name}: {filled} frames filled, {frames} shown")));
    }
    let excused = excused + filled;
    in_time(&shown, feed, filled).context(name)?;
    in_order(&shown, feed, excused).context(name)?;
    Ok((shown, excused))
}

/// Everything above on a whole record: what a viewer of any rendition must have seen and heard, of a
/// channel that says this of itself. Gives the number of ticks heard.
pub(crate) fn whole(record: &Record, publisher: &Publisher, filled: &Filled) -> Result<usize> {
    record.clean()?;
    let feed = publisher.feed();
    let (mut renditions, mut most) = (Vec::new(), 0);
    for track in record.tracks.iter().filter(|t| !t.rendition.audio) {
        let name = &track.rendition.name;
        let (shown, excused) = continuous(track, publisher, filled)?;
        constant_delay(&shown, feed, excused).context(name)?;
        most = excused.max(most);
        renditions.push((name.clone(), shown));
    }
    renditions_agree(&renditions, most)?;
    let sound = ffmpeg::sound_of_bytes(&record.track("audio")?.joined()?)?;
    let (_, shown) = renditions.first().context("a video rendition")?;
    lips_in_sync(&sound, shown)
}
