//! Periods of a channel that goes on: one per stretch of a run, with a set of pictures, one of sound, and one
//! of key frames and one of stills to search by. A rung that has been off for long is left out.

use std::ops::Range;

use dash_mpd_core::{
    AdaptationSet, AudioChannelConfiguration, Period, ProducerReferenceTime, Representation,
    Resync, Role, SegmentTemplate, SupplementalProperty,
};

use super::low_latency::{availability_offset, producer_reference_time, resync};
use super::manifest::{clock, duration, since_epoch};
use super::segment_timeline;
use super::{Options, events, key_frames, stills};
use crate::grid::Grid;
use crate::media::Rendition;
use crate::time::{Rounding, Span, Timescale, Timestamp};
use crate::timeline::{Lengths, ListedRun, Run, Snapshot, State};

/// Id of the producer's reference time that latency is counted from: the pictures'.
pub(super) const REFERENCE_TIME: u32 = 1;
/// The same of the sound.
const SOUND_REFERENCE_TIME: u32 = 2;

/// Ids of the sets, the same in every Period: a player takes a set up again in the next one by its id.
pub(super) const PICTURES: &str = "1";
const SOUND: &str = "2";
pub(super) const KEYS: &str = "3";
pub(super) const IMAGES: &str = "4";

/// One Period per stretch of a run that has media in the window, oldest first.
pub(super) fn periods(snapshot: &Snapshot, options: &Options) -> Vec<Period> {
    let runs = snapshot.listed_runs();
    let followers = runs.iter().skip(1).map(Some).chain([None]);
    runs.iter().zip(followers).map(|(run, next)| period(snapshot, options, run, next)).collect()
}

fn period(
    snapshot: &Snapshot,
    options: &Options,
    ListedRun { run, first_k, start, last_k, end }: &ListedRun,
    next: Option<&ListedRun>,
) -> Period {
    let grid = &snapshot.format.grid;
    let begin = *start;
    let start = Timestamp::new(begin, grid.video_scale());
    let ended = next.is_some() || snapshot.state == State::Ended;
    // The next Period's start tells a Period's end, except after a hole and at the end of all.
    let follows = next.is_some_and(|next| next.first_k == last_k + 1);
    let end = end.ticks_in(start.scale, Rounding::Nearest);
    let length = Span::new(end.abs_diff(start.ticks), start.scale);
    let events = events::stream(snapshot, options.events, begin, next.map(|next| next.run.start));
    let template = Template {
        snapshot,
        base: &options.base,
        start,
        grid,
        run,
        first_k: *first_k,
        end: ended.then_some(*last_k),
        named: None,
    };
    Period {
        id: Some(id(run, run.stretch)),
        start: Some(duration(since_epoch(start))),
        duration: (ended && !follows).then(|| duration(length)),
        event_streams: events.into_iter().collect(),
        adaptations: sets(snapshot, options, &template),
        ..Period::default()
    }
}

/// The id of a stretch of a run.
pub(super) fn id(run: &Run, stretch: u32) -> String {
    match stretch {
        0 => run.id.to_string(),
        later => format!("{}.{later}", run.id),
    }
}

/// The sets of a Period: of pictures, of sound, of key frames, and of stills.
pub(super) fn sets(
    snapshot: &Snapshot,
    options: &Options,
    template: &Template<'_>,
) -> Vec<AdaptationSet> {
    let pictures = pictures(snapshot, options, template);
    let keys = pictures.as_ref().filter(|_| options.key_frames);
    let keys = keys.map(|pictures| key_frames::set(pictures, template.grid));
    let stills = options.stills.then(|| stills::set(template)).flatten();
    [pictures, sound(snapshot, options, template), keys, stills].into_iter().flatten().collect()
}

/// The set of all rungs on offer; `None` for a channel of sound alone.
fn pictures(
    snapshot: &Snapshot,
    options: &Options,
    template: &Template<'_>,
) -> Option<AdaptationSet> {
    let rungs = || template.run.offered().filter_map(|r| Some((r, r.video()?)));
    let index = template.run.renditions.iter().position(|r| r.video().is_some())?;
    let (first, _) = rungs().next()?;
    let rate = first.rate.unwrap_or(snapshot.format.grid.rate);
    let (_, top) =
        rungs().max_by_key(|(_, video)| u32::from(video.width) * u32::from(video.height))?;
    let divisor = gcd(top.width.into(), top.height.into()).max(1);
    let representations = rungs()
        .map(|(rendition, video)| Representation {
            width: Some(video.width.into()),
            height: Some(video.height.into()),
            sar: Some("1:1".into()),
            ..representation(snapshot, rendition)
        })
        .collect();
    Some(AdaptationSet {
        par: Some(format!(
            "{}:{}",
            u64::from(top.width) / divisor,
            u64::from(top.height) / divisor
        )),
        maxWidth: rungs().map(|(_, video)| video.width.into()).max(),
        maxHeight: rungs().map(|(_, video)| video.height.into()).max(),
        frameRate: Some(match rate.den {
            1 => rate.num.to_string(),
            den => format!("{}/{den}", rate.num),
        }),
        InbandEventStream: events::inband(options.events),
        ProducerReferenceTime: template.reference_time(REFERENCE_TIME, options),
        Resync: template.resync(index),
        SegmentTemplate: Some(template.of(index)),
        representations,
        ..set(PICTURES, "video", template.run)
    })
}

/// The set of sound; `None` for a channel without.
fn sound(snapshot: &Snapshot, options: &Options, template: &Template<'_>) -> Option<AdaptationSet> {
    let renditions = &template.run.renditions;
    let index = renditions.iter().position(|r| r.audio().is_some())?;
    let representations = renditions
        .iter()
        .filter_map(|rendition| {
            let audio = rendition.audio()?;
            Some(Representation {
                audioSamplingRate: Some(audio.sample_rate.to_string()),
                AudioChannelConfiguration: vec![AudioChannelConfiguration {
                    schemeIdUri: "urn:mpeg:dash:23003:3:audio_channel_configuration:2011".into(),
                    value: Some(audio.channels.to_string()),
                    id: None,
                }],
                ..representation(snapshot, rendition)
            })
        })
        .collect();
    Some(AdaptationSet {
        lang: Some(options.language.clone()),
        ProducerReferenceTime: template.reference_time(SOUND_REFERENCE_TIME, options),
        Resync: template.resync(index),
        SegmentTemplate: Some(template.of(index)),
        representations,
        ..set(SOUND, "audio", template.run)
    })
}

/// What all sets have in common. A later stretch of a run goes on without a seam.
pub(super) fn set(name: &str, kind: &str, run: &Run) -> AdaptationSet {
    let before = run.stretch.checked_sub(1).map(|stretch| SupplementalProperty {
        schemeIdUri: "urn:mpeg:dash:period-continuity:2015".into(),
        value: Some(id(run, stretch)),
        ..SupplementalProperty::default()
    });
    AdaptationSet {
        supplemental_property: before.into_iter().collect(),
        id: Some(name.into()),
        contentType: Some(kind.into()),
        mimeType: Some(format!("{kind}/mp4")),
        segmentAlignment: Some(true),
        startWithSAP: Some(1),
        Role: vec![Role {
            schemeIdUri: "urn:mpeg:dash:role:2011".into(),
            value: Some("main".into()),
            id: None,
        }],
        ..AdaptationSet::default()
    }
}

fn representation(snapshot: &Snapshot, rendition: &Rendition) -> Representation {
    Representation {
        id: Some(rendition.name.to_string()),
        bandwidth: Some(snapshot.bandwidth(rendition).peak),
        codecs: Some(rendition.track.config.codec_string().into()),
        ..Representation::default()
    }
}

/// What the segment templates of a Period are made from.
pub(super) struct Template<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// See [`Options::base`].
    pub(super) base: &'a str,
    /// Where the Period begins: the boundary before the run's first segment.
    pub(super) start: Timestamp,
    pub(super) grid: &'a Grid,
    pub(super) run: &'a Run,
    /// Number of the Period's first segment.
    pub(super) first_k: u64,
    /// The last number, once it is known: a player would compute one too many.
    pub(super) end: Option<u64>,
    /// Positions of the segments that are named one by one, where the Period has both its ends.
    pub(super) named: Option<Range<usize>>,
}

impl Template<'_> {
    /// The length of the chunks of the set whose first rendition is the one at `index`, where they can
    /// be played while their segment is written.
    fn resync(&self, index: usize) -> Vec<Resync> {
        let scale = whole_segment_scale(self.run.scale(index), self.grid);
        let even = self.run.lengths == Lengths::Even && self.named.is_none();
        even.then(|| resync(self.grid, scale)).into_iter().collect()
    }

    /// What latency counts from, where it is low.
    fn reference_time(&self, id: u32, options: &Options) -> Vec<ProducerReferenceTime> {
        let even = self.run.lengths == Lengths::Even && self.named.is_none();
        even.then(|| producer_reference_time(id, clock(options))).into_iter().collect()
    }

    /// The template of the set whose first rendition is the one at `index`.
    pub(super) fn of(&self, index: usize) -> SegmentTemplate {
        let scale = self.run.scale(index);
        if let Some(named) = &self.named {
            let track = self.snapshot.tracks.get(index);
            let segments = track.map(|track| track.segments.all()).unwrap_or_default();
            let segments = segments.within(named.clone());
            return segment_timeline::whole(self.addresses(scale), segments);
        }
        match self.run.lengths {
            Lengths::Even => self.numbered(whole_segment_scale(scale, self.grid)),
            Lengths::Uneven => {
                let segments = self.snapshot.listed(index);
                segment_timeline::template(self.addresses(scale), self.run, segments)
            }
        }
    }

    /// What every template has, for times in `scale`.
    fn addresses(&self, scale: Timescale) -> SegmentTemplate {
        let offset = self.start.ticks_in(scale, Rounding::Nearest);
        SegmentTemplate {
            media: Some(format!("{}{}/$RepresentationID$/$Number$.m4s", self.base, self.run.id)),
            initialization: Some(format!(
                "{}{}/$RepresentationID$/init.mp4",
                self.base, self.run.id
            )),
            timescale: Some(scale.get().into()),
            startNumber: Some(self.first_k),
            endNumber: self.end,
            presentationTimeOffset: Some(offset.max(0).unsigned_abs()),
            ..SegmentTemplate::default()
        }
    }

    /// A template of segments that are D long each, whole in `scale`.
    fn numbered(&self, scale: Timescale) -> SegmentTemplate {
        let duration = self.grid.segment().ticks_in(scale, Rounding::Nearest);
        // dash.js takes early availability for a wish to be at the live edge, and leads back to it whoever
        // is 12 s behind: who starts over is.
        let low_latency = self.snapshot.begins.is_none();
        SegmentTemplate {
            // The library's type; a u32 is exact in it.
            duration: u32::try_from(duration).ok().map(f64::from),
            availabilityTimeOffset: low_latency.then(|| availability_offset(self.grid)),
            availabilityTimeComplete: low_latency.then_some(false),
            ..self.addresses(scale)
        }
    }
}

/// The track's own timescale where D is whole in it, else the smallest multiple of it that fits:
/// an error of a part of a tick per segment would add up over months of numbers.
fn whole_segment_scale(scale: Timescale, grid: &Grid) -> Timescale {
    let video = u64::from(grid.video_scale().get());
    let samples = grid.segment_ticks.saturating_mul(scale.get().into());
    (1..=video)
        .find(|factor| samples.saturating_mul(*factor).is_multiple_of(video))
        .and_then(|factor| u32::try_from(factor * u64::from(scale.get())).ok())
        .and_then(Timescale::new)
        .unwrap_or(scale)
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
