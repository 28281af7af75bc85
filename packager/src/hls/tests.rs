//! Golden playlists, and the cases that a golden file does not show.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

use super::{Options, media, multivariant};
use crate::time::{FrameRate, Rounding, Span, Timescale};
use crate::timeline::example::{self, Example, FIRST_K, assert_golden};

fn parse_media(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

fn parse_multivariant(text: &str) -> MasterPlaylist {
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap()
}

#[test]
fn playlists_are_the_golden_ones() {
    let options = Options::default();
    assert_golden("multivariant.m3u8", &multivariant(&example::live(), &options));
    assert_golden("live-720p.m3u8", &media(&example::live(), 0, &options));
    assert_golden("two-runs-720p.m3u8", &media(&example::two_runs(), 0, &options));
    assert_golden("ended-audio.m3u8", &media(&example::ended(), 3, &options));
    assert_golden("long-window-480p.m3u8", &media(&long_window(), 1, &options));
    assert_golden("ntsc-audio.m3u8", &media(&ntsc(), 3, &options));
}

/// A window of more than an hour, with a hole in it.
fn long_window() -> std::sync::Arc<crate::timeline::Snapshot> {
    let mut example = Example::new(7200);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 12);
    example.run(FIRST_K + 14);
    example.push_all(FIRST_K + 14..FIRST_K + 17);
    example.snapshot()
}

/// 29.97 fps, where sound and pictures never end together.
fn ntsc() -> std::sync::Arc<crate::timeline::Snapshot> {
    let rate = FrameRate::new(30_000, 1001);
    let mut example = Example::with(rate, 48_000, Span::millis(2_000), 600);
    example.run(896_919_681);
    example.push_all(896_919_681..896_919_687);
    example.snapshot()
}

#[test]
fn an_independent_reader_takes_every_example() {
    for snapshot in [example::live(), example::two_runs(), example::ended(), long_window(), ntsc()]
    {
        let playlist = parse_multivariant(&multivariant(&snapshot, &Options::default()));
        assert_eq!(playlist.variants.len(), 3);
        for index in 0..4 {
            let playlist = parse_media(&media(&snapshot, index, &Options::default()));
            assert_eq!(playlist.segments.len(), snapshot.listed(index).len());
            assert_eq!(playlist.end_list, snapshot.state == crate::timeline::State::Ended);
        }
    }
}

#[test]
fn the_variant_nearest_to_two_megabits_comes_first() {
    let playlist = parse_multivariant(&multivariant(&example::live(), &Options::default()));
    let names: Vec<_> = playlist.variants.iter().map(|v| v.uri.as_str()).collect();
    assert_eq!(names, ["480p/index.m3u8", "720p/index.m3u8", "360p/index.m3u8"]);
}

#[test]
fn bandwidth_covers_picture_sound_and_container() {
    let snapshot = example::live();
    let playlist = parse_multivariant(&multivariant(&snapshot, &Options::default()));
    for variant in &playlist.variants {
        let name = variant.uri.trim_end_matches("/index.m3u8");
        let (_, rendition, _) = snapshot.track(name).unwrap();
        let bare = u64::from(rendition.peak_bitrate) + 128_000;
        assert!(variant.bandwidth > bare && variant.bandwidth < bare * 105 / 100, "{variant:?}");
        assert!(variant.average_bandwidth.unwrap() < variant.bandwidth);
    }
}

#[test]
fn a_frame_rate_is_printed_as_the_field_writes_it() {
    let text = multivariant(&ntsc(), &Options::default());
    assert_eq!(text.matches(",FRAME-RATE=29.97,").count(), 3, "{text}");
}

#[test]
fn the_language_of_the_sound_is_the_operators() {
    let options = Options { language: "nl".into() };
    let text = multivariant(&example::live(), &options);
    assert!(text.contains("LANGUAGE=\"nl\""), "{text}");
}

#[test]
fn a_channel_of_sound_alone_is_its_own_variant() {
    let snapshot = example::live();
    let sound = crate::timeline::Snapshot {
        renditions: [snapshot.renditions[3].clone()].into(),
        tracks: vec![snapshot.tracks[3].clone()],
        ..(*snapshot).clone()
    };
    let playlist = parse_multivariant(&multivariant(&sound, &Options::default()));
    assert_eq!(playlist.variants.len(), 1);
    assert_eq!(playlist.variants[0].uri, "audio/index.m3u8");
    assert_eq!(playlist.variants[0].resolution, None);
}

#[test]
fn a_playlist_without_a_segment_is_still_one() {
    let mut example = Example::new(600);
    let playlist = parse_media(&media(&example.snapshot(), 0, &Options::default()));
    assert_eq!(playlist.media_sequence, 1);
    assert!(playlist.segments.is_empty());
    assert_eq!(media(&example.snapshot(), 9, &Options::default()), "");
}

#[test]
fn a_long_window_dates_every_eighth_number_and_what_follows_a_break() {
    let text = media(&long_window(), 0, &Options::default());
    let playlist = parse_media(&text);
    let dated: Vec<_> = (playlist.media_sequence..)
        .zip(&playlist.segments)
        .filter(|(_, segment)| segment.program_date_time.is_some())
        .map(|(k, _)| k - FIRST_K)
        .collect();
    // FIRST_K is 7 modulo 8. 12 follows a discontinuity, 13 and 14 a gap.
    assert_eq!(dated, [0, 1, 9, 12, 13, 14]);
}

#[test]
fn printed_durations_add_up_to_the_dates_over_a_day() {
    for (rate, audio) in [(30_000, 48_000), (24_000, 44_100)] {
        let rate = FrameRate::new(rate, 1001);
        let mut example = Example::with(rate, audio, Span::millis(2_000), 86_400);
        example.run(896_919_681);
        example.push_all(896_919_681..896_919_681 + 43_156);
        let snapshot = example.snapshot();
        for index in [0, 3] {
            let text = media(&snapshot, index, &Options::default());
            let nanos: u64 = text
                .lines()
                .filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','))
                .map(|text| {
                    let (seconds, decimals) = text.split_once('.').unwrap();
                    format!("{seconds}{decimals:0<9}").parse::<u64>().unwrap()
                })
                .sum();
            let segments = &snapshot.tracks[index].segments;
            let ticks = segments.last().unwrap().end() - segments[0].start;
            let scale = snapshot.tracks[index].segments[0].run.scale(index);
            let exact = Span::new(ticks.unsigned_abs(), scale)
                .ticks_in(Timescale::NANOS, Rounding::Nearest);
            // Half a nanosecond for each of the segments.
            assert!(nanos.abs_diff(exact) <= 22_000, "{rate}: {nanos} for {exact}");
        }
    }
}
