//! What holds for the playlists and manifests of any timeline, whatever happened to it: checked on
//! the text, as independent readers understand it, over random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use m3u8_rs::MediaPlaylist;
use proptest::prelude::*;

use crate::timeline::example::{Example, FIRST_K};
use crate::timeline::{Part, Snapshot};
use crate::{dash, hls};

/// Something that happens to a channel.
#[derive(Clone, Debug)]
enum Event {
    /// A run begins, this many numbers after the first that is free.
    Run(u64),
    /// Every rendition finishes this many segments.
    Segments(u64),
    /// One rendition alone finishes its next segment, or the one after it.
    Alone(usize, u64),
    /// One rendition begins its next segment and gets no further: a run begins, that much later.
    Broken(usize, u64),
    /// A part comes for a segment that was finished long ago.
    Late(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0..9u64).prop_map(Event::Run),
        3 => (1..5u64).prop_map(Event::Segments),
        2 => (0..4usize, 0..2u64).prop_map(|(r, skip)| Event::Alone(r, skip)),
        1 => (0..4usize, 0..4u64).prop_map(|(r, skip)| Event::Broken(r, skip)),
        1 => (0..4usize).prop_map(Event::Late),
    ]
}

/// The snapshots of a channel to which these events happen.
fn history(window: u64, events: &[Event]) -> Vec<Arc<Snapshot>> {
    let mut example = Example::new(window);
    example.run(FIRST_K);
    let mut snapshots = Vec::new();
    for event in events {
        let edge = example.timeline.next_k().max(FIRST_K);
        let part = Part { duration: 3000, bytes: 9, independent: true, first_sample: 9 };
        match *event {
            Event::Run(skip) => {
                example.run(edge + skip);
            }
            Event::Segments(count) => example.push_all(edge..edge + count),
            Event::Alone(rendition, skip) => example.push(rendition, edge + skip),
            Event::Broken(rendition, skip) => {
                let (start, _) = example.bounds(rendition < 3, edge);
                example.timeline.push_part(rendition, edge, start, part);
                snapshots.push(example.snapshot());
                example.run(edge + 1 + skip);
            }
            Event::Late(rendition) => {
                let listed: Option<&Arc<Snapshot>> = snapshots.last();
                let first = listed.and_then(|snapshot| snapshot.tracks[rendition].segments.first());
                let Some(segment) = first else { continue };
                example.timeline.push_part(rendition, segment.k, 0, part);
            }
        }
        snapshots.push(example.snapshot());
    }
    example.timeline.end();
    snapshots.push(example.snapshot());
    snapshots
}

fn playlist(snapshot: &Snapshot, rendition: usize) -> MediaPlaylist {
    let text = hls::media(snapshot, rendition, hls::Skip::Nothing, &hls::Options::default());
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

/// Numbers that are a gap in some rendition.
fn gaps(snapshot: &Snapshot) -> BTreeSet<u64> {
    let playlists = (0..4).map(|rendition| playlist(snapshot, rendition));
    playlists
        .flat_map(|p| (p.media_sequence..).zip(p.segments))
        .filter(|(_, segment)| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"))
        .map(|(k, _)| k)
        .collect()
}

/// Renditions finish a segment one after the other: what both have of two lists.
fn common<T>(mut one: Vec<T>, mut other: Vec<T>) -> (Vec<T>, Vec<T>) {
    let both = one.len().min(other.len());
    one.truncate(both);
    other.truncate(both);
    (one, other)
}

/// The run that a playlist puts each of its numbers in.
fn rows(playlist: &MediaPlaylist) -> Vec<(u64, String)> {
    let numbers = playlist.media_sequence..;
    let runs = playlist.segments.iter().map(|s| s.uri.split('/').nth(1).unwrap().to_owned());
    numbers.zip(runs).collect()
}

proptest! {
    // Reading manifests back takes a while without optimization.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn playlists_hold_from_refresh_to_refresh(
        window in 1u64..30,
        events in prop::collection::vec(event(), 1..24),
    ) {
        let snapshots = history(window, &events);
        for rendition in 0..4 {
            // What was ever listed, for the model of the discontinuity number.
            let mut listed: BTreeMap<u64, (String, m3u8_rs::MediaSegment)> = BTreeMap::new();
            let mut before: Option<MediaPlaylist> = None;
            let mut counted = None;
            for snapshot in &snapshots {
                let playlist = playlist(snapshot, rendition);
                let Some(first) = playlist.segments.first() else { continue };
                prop_assert!(!first.discontinuity, "nothing precedes the first segment");
                prop_assert!(first.map.is_some());
                let limit = playlist.target_duration as f32 + 0.5;
                prop_assert!(playlist.segments.iter().all(|s| s.duration < limit));
                if let Some(before) = &before {
                    prop_assert_eq!(before.target_duration, playlist.target_duration);
                    prop_assert!(before.media_sequence <= playlist.media_sequence);
                    let end = |p: &MediaPlaylist| p.media_sequence + p.segments.len() as u64;
                    prop_assert!(end(before) <= end(&playlist));
                }
                for ((k, run), segment) in rows(&playlist).into_iter().zip(&playlist.segments) {
                    let name = format!("{k}.m4s");
                    prop_assert!(segment.uri.ends_with(&name));
                    // The tags of the first segment depend on where the window begins, and parts are
                    // listed while they are new.
                    let mut plain = m3u8_rs::MediaSegment {
                        discontinuity: false,
                        map: None,
                        ..segment.clone()
                    };
                    plain.unknown_tags.retain(|tag| tag.tag == "X-GAP");
                    let known = listed.entry(k).or_insert_with(|| (run.clone(), plain.clone()));
                    prop_assert_eq!(&*known, &(run, plain));
                }
                // The model: the number a player counts from the tags that it saw leave. One that
                // finds nothing of what it knew starts to count anew.
                let head = playlist.media_sequence;
                let newest = before.as_ref().map(|b| b.media_sequence + b.segments.len() as u64);
                if newest.is_some_and(|newest| newest < head) {
                    counted = None;
                    listed.retain(|k, _| *k >= head);
                }
                let runs: Vec<_> = listed.range(..=head).map(|(_, (run, _))| run).collect();
                let left = runs.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
                let base = *counted.get_or_insert(playlist.discontinuity_sequence - left);
                prop_assert_eq!(playlist.discontinuity_sequence, base + left);
                before = Some(playlist);
            }
        }
    }

    #[test]
    fn dates_follow_from_durations(
        window in 1u64..30,
        events in prop::collection::vec(event(), 1..24),
    ) {
        for snapshot in history(window, &events) {
            for rendition in 0..4 {
                let playlist = playlist(&snapshot, rendition);
                for (pair, k) in playlist.segments.windows(2).zip(playlist.media_sequence..) {
                    if pair[1].discontinuity {
                        continue;
                    }
                    let dates = pair[1].program_date_time.unwrap() - pair[0].program_date_time.unwrap();
                    let drift = dates.num_microseconds().unwrap()
                        - (f64::from(pair[0].duration) * 1e6) as i64;
                    // f32, the reader's type, holds a second and a half to 0.1 µs.
                    prop_assert!(drift.abs() <= 2, "segment {} is {} µs off", k, drift);
                }
            }
        }
    }

    #[test]
    fn all_renditions_list_the_same_numbers_runs_and_discontinuities(
        window in 1u64..30,
        events in prop::collection::vec(event(), 1..24),
    ) {
        for snapshot in history(window, &events) {
            // Before that nothing is served.
            if snapshot.last_k().is_none() {
                continue;
            }
            let first = playlist(&snapshot, 0);
            for rendition in 1..4 {
                let other = playlist(&snapshot, rendition);
                let (ours, theirs) = common(rows(&first), rows(&other));
                prop_assert_eq!(ours, theirs);
                prop_assert_eq!(first.discontinuity_sequence, other.discontinuity_sequence);
                let marks = |p: &MediaPlaylist| {
                    p.segments.iter().map(|s| s.discontinuity).collect::<Vec<_>>()
                };
                let (ours, theirs) = common(marks(&first), marks(&other));
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn hls_and_dash_name_the_same_segments(
        window in 1u64..30,
        events in prop::collection::vec(event(), 1..24),
    ) {
        for snapshot in history(window, &events) {
            let mpd = dash_mpd_core::parse(&dash::manifest(&snapshot, &Default::default())).unwrap();
            let gaps = gaps(&snapshot);
            let names: Vec<String> = snapshot.renditions.iter().map(|r| r.name.to_string()).collect();
            for (rendition, name) in names.iter().enumerate() {
                let playlist = playlist(&snapshot, rendition);
                for (segment, k) in playlist.segments.iter().zip(playlist.media_sequence..) {
                    // A manifest has one list for all renditions, and so it ends with the slowest.
                    if Some(k) > snapshot.last_k() {
                        break;
                    }
                    let hls = segment.uri.trim_start_matches("../");
                    let named: Vec<_> = mpd
                        .periods
                        .iter()
                        .flat_map(|period| &period.adaptations)
                        .filter(|set| set.representations.iter().any(|r| r.id.as_deref() == Some(name)))
                        .filter_map(|set| set.SegmentTemplate.as_ref())
                        .filter(|t| t.startNumber.unwrap() <= k && t.endNumber.is_none_or(|end| k <= end))
                        .map(|t| {
                            let media = t.media.clone().unwrap();
                            media.replace("$RepresentationID$", name).replace("$Number$", &k.to_string())
                        })
                        .collect();
                    // DASH has no word for a gap: a number that not every rendition has media for
                    // may be named or not, by the old run too while the new one has nothing.
                    if gaps.contains(&k) {
                        prop_assert!(named.len() <= 1);
                    } else {
                        prop_assert_eq!(named, [hls]);
                    }
                }
            }
        }
    }

    #[test]
    fn manifests_hold_from_refresh_to_refresh(
        window in 1u64..30,
        events in prop::collection::vec(event(), 1..24),
    ) {
        let mut before: Option<(String, dash_mpd_core::MPD)> = None;
        for snapshot in history(window, &events) {
            let text = dash::manifest(&snapshot, &Default::default());
            let mpd = dash_mpd_core::parse(&text).unwrap();
            if let Some((before_text, before)) = &before {
                prop_assert_eq!(before.publishTime == mpd.publishTime, *before_text == text);
                prop_assert!(before.publishTime <= mpd.publishTime);
                prop_assert_eq!(before.timeShiftBufferDepth, mpd.timeShiftBufferDepth);
                for period in &mpd.periods {
                    let Some(old) = before.periods.iter().find(|old| old.id == period.id) else {
                        continue;
                    };
                    prop_assert_eq!(old.start, period.start);
                    prop_assert!(old.duration.is_none() || old.duration == period.duration);
                    for (old, new) in old.adaptations.iter().zip(&period.adaptations) {
                        prop_assert_eq!(&old.representations, &new.representations);
                        let fixed = |set: &dash_mpd_core::AdaptationSet| {
                            let template = set.SegmentTemplate.as_ref().unwrap();
                            let offset = template.presentationTimeOffset;
                            (template.startNumber, template.media.clone(), offset)
                        };
                        prop_assert_eq!(fixed(old), fixed(new));
                    }
                }
            }
            before = Some((text, mpd));
        }
    }
}
