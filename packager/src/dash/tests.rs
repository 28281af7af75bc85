//! Golden manifests, and the cases that a golden file does not show.

use std::sync::Arc;
use std::time::Duration;

use dash_mpd_core::MPD;

use super::{Options, manifest};
use crate::time::{FrameRate, Span};
use crate::timeline::example::{self, Example, FIRST_K, assert_golden};
use crate::timeline::{Run, Snapshot};

fn parse(snapshot: &Snapshot) -> MPD {
    dash_mpd_core::parse(&manifest(snapshot, &Options::default())).unwrap()
}

/// Timescale, duration, first number and presentation time offset of a set.
fn template(mpd: &MPD, period: usize, set: usize) -> (u64, f64, u64, u64) {
    let template = mpd.periods[period].adaptations[set].SegmentTemplate.as_ref().unwrap();
    (
        template.timescale.unwrap(),
        template.duration.unwrap(),
        template.startNumber.unwrap(),
        template.presentationTimeOffset.unwrap(),
    )
}

#[test]
fn manifests_are_the_golden_ones() {
    // One element a line, so that a difference can be read.
    let pretty =
        |snapshot: &Snapshot, options: &Options| manifest(snapshot, options).replace("><", ">\n<");
    let options = Options::default();
    assert_golden("live.mpd", &pretty(&example::live(), &options));
    assert_golden("two-runs.mpd", &pretty(&example::two_runs(), &options));
    let options = Options {
        public_url: Some("https://live.example.org".into()),
        language: "nl".into(),
        ..Options::default()
    };
    assert_golden("ended.mpd", &pretty(&example::ended(), &options));
}

#[test]
fn a_period_starts_at_its_offset_exactly() {
    for (rate, audio) in [
        (FrameRate::new(25, 1), 48_000),
        (FrameRate::new(30, 1), 44_100),
        (FrameRate::new(24, 1), 44_100),
        (FrameRate::new(24_000, 1001), 48_000),
        (FrameRate::new(30_000, 1001), 44_100),
        (FrameRate::new(50, 1), 32_000),
    ] {
        let mut example = Example::with(rate, audio, Span::millis(2_000), 600);
        example.run(FIRST_K);
        example.push_all(FIRST_K..FIRST_K + 2);
        let mpd = parse(&example.snapshot());
        let start = mpd.periods[0].start.unwrap();
        for set in 0..2 {
            let (scale, duration, first, offset) = template(&mpd, 0, set);
            let nanos = u128::from(offset) * 1_000_000_000 / u128::from(scale);
            assert_eq!(Duration::from_nanos(nanos.try_into().unwrap()), start, "{rate} {audio}");
            assert_eq!(first, FIRST_K);
            assert_eq!(offset, FIRST_K * duration as u64, "k counts from the epoch");
        }
    }
}

#[test]
fn a_segment_is_whole_in_the_tracks_own_timescale_or_in_a_multiple() {
    let scales = |rate, audio| {
        let mut example = Example::with(rate, audio, Span::millis(2_000), 600);
        example.run(FIRST_K);
        example.push_all(FIRST_K..FIRST_K + 1);
        let mpd = parse(&example.snapshot());
        [template(&mpd, 0, 0), template(&mpd, 0, 1)].map(|(scale, duration, ..)| (scale, duration))
    };
    let film = FrameRate::new(24_000, 1001);
    assert_eq!(scales(FrameRate::new(30, 1), 48_000), [(90_000, 144_000.0), (48_000, 76_800.0)]);
    assert_eq!(scales(film, 48_000), [(24_000, 48_048.0), (48_000, 96_096.0)]);
    assert_eq!(scales(film, 44_100), [(24_000, 48_048.0), (220_500, 441_441.0)]);
}

#[test]
fn a_live_manifest_is_the_same_until_another_run_is_listed() {
    let mut example = Example::new(16);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 1);
    let text = manifest(&example.snapshot(), &Options::default());
    example.push_all(FIRST_K + 1..FIRST_K + 40);
    assert_eq!(manifest(&example.snapshot(), &Options::default()), text);
    example.run(FIRST_K + 40);
    assert_eq!(manifest(&example.snapshot(), &Options::default()), text);
    example.push_all(FIRST_K + 40..FIRST_K + 41);
    assert_ne!(manifest(&example.snapshot(), &Options::default()), text);
}

#[test]
fn an_earlier_period_ends_where_its_segments_do() {
    let mpd = parse(&example::two_runs());
    let [old, new] = &mpd.periods[..] else { panic!("{:?}", mpd.periods) };
    let end = old.adaptations[0].SegmentTemplate.as_ref().unwrap().endNumber;
    assert_eq!(end, Some(FIRST_K + 3));
    assert_eq!(old.duration, Some(Duration::from_millis(6_400)), "a hole follows");
    assert_eq!(new.duration, None);
    assert_eq!(new.adaptations[0].SegmentTemplate.as_ref().unwrap().endNumber, None);
    let mpd = parse(&example::ended());
    assert_eq!(mpd.periods[0].duration, None, "the next one follows at once");
}

#[test]
fn the_end_is_a_duration_and_a_last_number_and_nothing_static() {
    let mpd = parse(&example::ended());
    assert_eq!(mpd.mpdtype.as_deref(), Some("dynamic"));
    assert_eq!(mpd.minimumUpdatePeriod, None);
    assert_eq!(mpd.mediaPresentationDuration, None);
    let last = mpd.periods.last().unwrap();
    assert_eq!(last.duration, Some(Duration::from_millis(4_800)));
    for set in &last.adaptations {
        assert_eq!(set.SegmentTemplate.as_ref().unwrap().endNumber, Some(FIRST_K + 6));
    }
}

#[test]
fn the_clock_is_absolute_where_the_public_address_is_known() {
    let options = Options { public_url: Some("https://a.example".into()), ..Options::default() };
    let clock = |options| {
        let mpd = dash_mpd_core::parse(&manifest(&example::live(), options)).unwrap();
        mpd.UTCTiming[0].value.clone().unwrap()
    };
    assert_eq!(clock(&options), "https://a.example/time");
    assert_eq!(clock(&Options::default()), "/time");
}

#[test]
fn a_channel_of_pictures_alone_has_no_set_of_sound() {
    let snapshot = example::live();
    let mut tracks = snapshot.tracks[..3].to_vec();
    let renditions: Arc<[_]> = snapshot.renditions[..3].into();
    for segment in tracks.iter_mut().flat_map(|track| track.segments.iter_mut()) {
        let run = Run { renditions: Arc::clone(&renditions), ..(*segment.run).clone() };
        segment.run = Arc::new(run);
    }
    let silent = Snapshot { renditions, tracks, ..(*snapshot).clone() };
    let mpd = parse(&silent);
    let ids: Vec<_> = mpd.periods[0].adaptations.iter().filter_map(|set| set.id.clone()).collect();
    assert_eq!(ids, ["1", "3", "4"], "pictures, and what there is of them to search by");
}

#[test]
fn a_rung_that_is_off_for_long_is_not_in_the_next_period_and_is_back_in_the_one_after() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_off(FIRST_K..FIRST_K + 26, &[0]);
    example.push_all(FIRST_K + 26..FIRST_K + 29);
    let mpd = parse(&example.snapshot());
    let rungs = |period: usize| -> Vec<String> {
        let set = &mpd.periods[period].adaptations[0];
        set.representations.iter().filter_map(|r| r.id.clone()).collect()
    };
    assert_eq!(rungs(0), ["720p", "480p", "360p"]);
    assert_eq!(rungs(1), ["480p", "360p"]);
    assert_eq!(rungs(2), ["720p", "480p", "360p"]);
    let media = |period: usize| {
        let template = mpd.periods[period].adaptations[0].SegmentTemplate.clone().unwrap();
        (template.media, template.initialization, template.startNumber, template.endNumber)
    };
    let (first, second, third) = (media(0), media(1), media(2));
    assert_eq!((&first.0, &first.1), (&second.0, &second.1), "the same run goes on");
    assert_eq!(second.2, first.3.map(|last| last + 1));
    assert_eq!(third.2, second.3.map(|last| last + 1));
    let [first, second, third] = &mpd.periods[..] else { panic!("{:?}", mpd.periods) };
    for (before, after) in [(first, second), (second, third)] {
        assert_eq!(before.duration, None, "the next one follows at once");
        for (set, earlier) in after.adaptations.iter().zip(&before.adaptations) {
            assert_eq!(set.id, earlier.id);
            let continuity = &set.supplemental_property[0];
            assert_eq!(continuity.schemeIdUri, "urn:mpeg:dash:period-continuity:2015");
            assert_eq!(continuity.value, before.id);
        }
    }
}

#[test]
fn key_frames_have_the_numbers_and_times_of_the_pictures_and_a_property_that_keeps_others_away() {
    for mpd in [parse(&example::live()), parse(&example::two_runs())] {
        for period in &mpd.periods {
            let [pictures, _, keys, _] = &period.adaptations[..] else { panic!("{period:?}") };
            let property = &keys.essential_property[0];
            assert_eq!(property.schemeIdUri, "http://dashif.org/guidelines/trickmode");
            assert_eq!(property.value, pictures.id);
            // Early availability too: shaka-player takes the least of all sets for all of them.
            assert!(pictures.SegmentTemplate.is_some());
            assert_eq!(keys.SegmentTemplate, pictures.SegmentTemplate);
            let rungs: Vec<_> =
                keys.representations.iter().filter_map(|r| r.id.as_deref()).collect();
            assert_eq!(rungs, ["720p.keys", "480p.keys", "360p.keys"]);
            assert!(
                keys.representations
                    .iter()
                    .all(|r| r.codingDependency == Some(false) && r.maxPlayoutRate == Some(48.0))
            );
            assert_eq!(keys.frameRate.as_deref(), Some("5/8"));
        }
    }
}

#[test]
fn stills_have_the_numbers_and_times_of_the_pictures_and_no_init_segment() {
    for mpd in [parse(&example::live()), parse(&example::two_runs())] {
        for period in &mpd.periods {
            let [pictures, _, _, stills] = &period.adaptations[..] else { panic!("{period:?}") };
            assert_eq!(stills.mimeType.as_deref(), Some("image/jpeg"));
            let property = &stills.essential_property[0];
            assert_eq!(property.schemeIdUri, "http://dashif.org/guidelines/thumbnail_tile");
            assert_eq!(property.value.as_deref(), Some("1x1"));
            let [still] = &stills.representations[..] else { panic!("{stills:?}") };
            assert_eq!(still.id.as_deref(), Some("360p.stills"));
            // shaka-player looks there alone.
            assert_eq!(still.essential_property, stills.essential_property);
            assert_eq!((still.width, still.height), (Some(320), Some(180)));
            let (of, like) = (stills.SegmentTemplate.as_ref(), pictures.SegmentTemplate.as_ref());
            let (of, like) = (of.unwrap(), like.unwrap());
            assert!(of.media.as_deref().is_some_and(|media| media.ends_with("/$Number$.jpg")));
            assert_eq!(of.initialization, None);
            assert_eq!(
                (of.startNumber, of.duration, of.timescale, of.availabilityTimeOffset),
                (like.startNumber, like.duration, like.timescale, like.availabilityTimeOffset)
            );
        }
    }
}
