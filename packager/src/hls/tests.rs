//! Golden playlists, and the cases that a golden file does not show.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

use super::{Options, Skip, iframes, images, media, multivariant};
use crate::time::{FrameRate, Rounding, Span, Timescale};
use crate::timeline::Part;
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
    assert_golden("live-720p.m3u8", &media(&example::live(), 0, Skip::Nothing, &options));
    assert_golden("two-runs-720p.m3u8", &media(&example::two_runs(), 0, Skip::Nothing, &options));
    assert_golden("ended-audio.m3u8", &media(&example::ended(), 3, Skip::Nothing, &options));
    assert_golden("long-window-480p.m3u8", &media(&long_window(), 1, Skip::Nothing, &options));
    let (whole, update) = (Skip::Nothing, Skip::Segments);
    let snapshot = low_latency(12);
    assert_golden("low-latency-720p.m3u8", &media(&snapshot, 0, whole, &options));
    assert_golden("low-latency-audio.m3u8", &media(&snapshot, 3, whole, &options));
    assert_golden("update-720p.m3u8", &media(&snapshot, 0, update, &options));
    assert_golden("update-v2-720p.m3u8", &media(&snapshot, 0, Skip::DateRanges, &options));
    assert_golden("before-update-720p.m3u8", &media(&low_latency(10), 0, whole, &options));
    assert_golden("key-frames-720p.m3u8", &iframes(&snapshot, 0, whole, &options));
    assert_golden("images-360p.m3u8", &images(&snapshot, 2, whole, &options));
    assert_golden("ntsc-audio.m3u8", &media(&ntsc(), 3, Skip::Nothing, &options));
}

/// An excerpt of two runs with a hole between them, which is closed up.
fn whole() -> crate::timeline::Snapshot {
    example::two_runs().whole(FIRST_K + 1..FIRST_K + 8).unwrap()
}

#[test]
fn an_excerpt_with_both_ends_is_a_playlist_that_never_changes() {
    let options = Options { base: "../../live/demo/".into(), ..Options::default() };
    let text = media(&whole(), 0, Skip::Segments, &options);
    assert_golden("whole-720p.m3u8", &text);
    let playlist = parse_media(&text);
    assert!(playlist.end_list && !text.contains("EXT-X-SERVER-CONTROL"));
    assert_eq!(playlist.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
    let cuts: Vec<_> = playlist.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(cuts, [false, false, false, true, false]);
    let keys = parse_media(&iframes(&whole(), 0, Skip::Nothing, &options));
    assert_eq!(keys.segments.len(), 5);
    assert!(keys.end_list && keys.segments[0].uri.starts_with("../../../live/demo/"));
}

#[test]
fn players_of_an_excerpt_that_goes_on_begin_where_it_does() {
    use crate::time::Timestamp;
    let mut example = Example::new(600);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 12);
    let live = example.snapshot();
    let from = |k| Timestamp::new(example.grid.boundary(k), example.grid.video_scale());
    let options = Options { base: "../../".into(), ..Options::default() };
    let text = media(&live.excerpt(from(FIRST_K + 2), None).unwrap(), 0, Skip::Nothing, &options);
    assert!(text.contains("\n#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n"), "{text}");
    assert!(text.contains("URI=\"../../../1a200000001/720p/"), "{text}");
    assert_eq!(parse_media(&text).media_sequence, FIRST_K + 2);
    let near = media(&live.excerpt(from(FIRST_K + 9), None).unwrap(), 0, Skip::Nothing, &options);
    assert!(!near.contains("EXT-X-START"), "{near}");
    assert!(!media(&live, 0, Skip::Nothing, &options).contains("EXT-X-START"));
}

/// Whole pages are written once: what is put together of them is what is written in one go.
#[test]
fn a_playlist_of_pages_reads_as_one_that_is_written_anew() {
    use crate::timeline::PAGE;
    let options = Options::default();
    let mut example = Example::new(2 * 3_600);
    let mut first = FIRST_K;
    // Three runs with holes between them, none at a page's beginning.
    for _ in 0..3 {
        example.run(first);
        example.push_all(first..first + 3 * PAGE + 7);
        first += 3 * PAGE + 9;
        let rows = |snapshot: &crate::timeline::Snapshot| {
            let skips = [Skip::Nothing, Skip::Segments];
            let lists = (0..4).flat_map(|index| skips.map(|skip| (index, skip)));
            let lists = lists.flat_map(|(index, skip)| {
                [media(snapshot, index, skip, &options), iframes(snapshot, index, skip, &options)]
            });
            lists.collect::<Vec<_>>()
        };
        let kept = example.snapshot();
        let mut anew = (*kept).clone();
        for track in &mut anew.tracks {
            track.segments = track.segments.iter().cloned().collect();
        }
        let written = rows(&kept);
        assert_eq!(written, rows(&anew));
        assert_eq!(written, rows(&kept), "of the pages that are kept now");
        example.push_all(first - 2..first + 5);
        first += 5;
        assert_ne!(written, rows(&example.snapshot()));
    }
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
        assert_eq!(playlist.variants.iter().filter(|v| !v.is_i_frame).count(), 3);
        for index in 0..4 {
            let playlist =
                parse_media(&media(&snapshot, index, Skip::Nothing, &Options::default()));
            let ended = snapshot.state == crate::timeline::State::Ended;
            let closing = snapshot.listed_whole(index).1.is_some();
            assert_eq!(
                playlist.segments.len() + usize::from(closing),
                snapshot.listed(index).len()
            );
            assert_eq!(playlist.end_list, ended);
        }
    }
}

#[test]
fn the_variant_nearest_to_two_megabits_comes_first() {
    let playlist = parse_multivariant(&multivariant(&example::live(), &Options::default()));
    let names: Vec<_> =
        playlist.variants.iter().filter(|v| !v.is_i_frame).map(|v| v.uri.as_str()).collect();
    assert_eq!(names, ["480p/index.m3u8", "720p/index.m3u8", "360p/index.m3u8"]);
}

#[test]
fn bandwidth_covers_picture_sound_and_container() {
    let snapshot = example::live();
    let playlist = parse_multivariant(&multivariant(&snapshot, &Options::default()));
    for variant in playlist.variants.iter().filter(|v| !v.is_i_frame) {
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
    let options = Options { language: "nl".into(), ..Options::default() };
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
    let playlist = parse_media(&media(&example.snapshot(), 0, Skip::Nothing, &Options::default()));
    assert_eq!(playlist.media_sequence, 1);
    assert!(playlist.segments.is_empty());
    assert_eq!(media(&example.snapshot(), 9, Skip::Nothing, &Options::default()), "");
}

#[test]
fn a_long_window_dates_every_sixteenth_number_and_what_follows_a_break() {
    let text = media(&long_window(), 0, Skip::Nothing, &Options::default());
    let playlist = parse_media(&text);
    let dated: Vec<_> = (playlist.media_sequence..)
        .zip(&playlist.segments)
        .filter(|(_, segment)| segment.program_date_time.is_some())
        .map(|(k, _)| k - FIRST_K)
        .collect();
    // FIRST_K is 15 modulo 16. 12 follows a discontinuity, 13 and 14 a gap.
    assert_eq!(dated, [0, 1, 12, 13, 14]);
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
            let text = media(&snapshot, index, Skip::Nothing, &Options::default());
            let nanos: u64 = text
                .lines()
                .filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','))
                .map(|text| {
                    let (seconds, decimals) = text.split_once('.').unwrap();
                    format!("{seconds}{decimals:0<9}").parse::<u64>().unwrap()
                })
                .sum();
            let segments = snapshot.listed_whole(index).0;
            let ticks = segments.last().unwrap().end() - segments[0].start;
            let scale = snapshot.tracks[index].segments[0].run.scale(index);
            let exact = Span::new(ticks.unsigned_abs(), scale)
                .ticks_in(Timescale::NANOS, Rounding::Nearest);
            // Half a nanosecond for each of the segments.
            assert!(nanos.abs_diff(exact) <= 22_000, "{rate}: {nanos} for {exact}");
        }
    }
}

/// A window of ten segments of which `count` have been made, in two runs, and two parts of the next;
/// the sound has one.
fn low_latency(count: u64) -> std::sync::Arc<crate::timeline::Snapshot> {
    let mut example = Example::new(16);
    example.run(FIRST_K);
    example.push_all(FIRST_K..FIRST_K + 4);
    example.run(FIRST_K + 4);
    example.push_all(FIRST_K + 4..FIRST_K + count);
    for rendition in 0..4 {
        let parts = if rendition == 3 { 1 } else { 2 };
        example.push_some_parts(rendition, FIRST_K + count, parts);
    }
    example.snapshot()
}

fn lines<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(tag)).collect()
}

#[test]
fn the_hint_is_the_part_that_comes_next() {
    let mut example = Example::new(60);
    let run = example.run(FIRST_K).id.clone();
    example.push_all(FIRST_K..FIRST_K + 2);
    let hint = |example: &mut Example| {
        let text = media(&example.snapshot(), 0, Skip::Nothing, &Options::default());
        let hints = lines(&text, "#EXT-X-PRELOAD-HINT");
        assert_eq!(hints.len(), 1, "{text}");
        hints[0].split('"').nth(1).unwrap().to_owned()
    };
    let k = FIRST_K + 2;
    assert_eq!(hint(&mut example), format!("../{run}/720p/{k}.0.m4s"));
    example.push_some_parts(0, k, 5);
    assert_eq!(hint(&mut example), format!("../{run}/720p/{k}.5.m4s"));
    example.timeline.close(0);
    assert_eq!(hint(&mut example), format!("../{run}/720p/{}.0.m4s", k + 1));
    // Another rendition has its first part of a new run: this one's next part is of that too.
    let new = example.run(k + 1).id.clone();
    example.push_some_parts(1, k + 1, 1);
    assert_eq!(hint(&mut example), format!("../{new}/720p/{}.0.m4s", k + 1));
}

#[test]
fn a_finished_segment_is_listed_whole_with_the_first_part_of_the_next() {
    let mut example = Example::new(600);
    example.run(FIRST_K);
    let text =
        |example: &mut Example| media(&example.snapshot(), 0, Skip::Nothing, &Options::default());
    example.push_all(FIRST_K..FIRST_K + 1);
    assert_eq!(
        lines(&text(&mut example), "#EXTINF").len(),
        1,
        "players give up on a list without one"
    );
    example.push_all(FIRST_K + 1..FIRST_K + 2);
    let closing = text(&mut example);
    assert_eq!(lines(&closing, "#EXTINF").len(), 1, "{closing}");
    let parts = |text: &str| lines(text, "#EXT-X-PART:").len();
    assert!(closing.contains(&format!("{}.0.m4s", FIRST_K + 2)), "its next part is hinted");
    example.push_some_parts(0, FIRST_K + 2, 1);
    let whole = text(&mut example);
    assert_eq!(lines(&whole, "#EXTINF").len(), 2, "{whole}");
    assert_eq!(parts(&whole), parts(&closing) + 1);
    let keys = iframes(&example.snapshot(), 0, Skip::Nothing, &Options::default());
    assert_eq!(lines(&keys, "#EXTINF").len(), 2, "{keys}");
}

#[test]
fn a_channel_that_has_ended_has_a_plain_playlist() {
    let text = media(&example::ended(), 0, Skip::Segments, &Options::default());
    for tag in ["PART", "PRELOAD-HINT", "SERVER-CONTROL", "RENDITION-REPORT", "SKIP"] {
        assert!(!text.contains(&format!("#EXT-X-{tag}")), "{text}");
    }
    assert!(
        iframes(&example::ended(), 0, Skip::Segments, &Options::default())
            .ends_with("#EXT-X-ENDLIST\n")
    );
}

#[test]
fn an_update_is_for_those_who_have_what_it_leaves_out() {
    let snapshot = low_latency(12);
    let first = snapshot.tracks[0].segments[0].k;
    let update = media(&snapshot, 0, Skip::Segments, &Options::default());
    let skipped = lines(&update, "#EXT-X-SKIP")[0].rsplit('=').next().unwrap();
    let first_left = first + skipped.parse::<u64>().unwrap();
    for (have, skip) in [
        (None, Skip::Segments),
        (Some(first_left), Skip::Segments),
        (Some(first_left - 1), Skip::Nothing),
    ] {
        assert_eq!(Skip::Segments.usable(&snapshot, 0, have), skip, "{have:?}");
    }
    // Nothing is old enough.
    assert_eq!(Skip::DateRanges.usable(&example::live(), 0, None), Skip::Nothing);
}

#[test]
fn what_is_switched_off_is_listed_as_a_gap_from_its_beginning() {
    let mut example = Example::new(60);
    let run = example.run(FIRST_K).id.clone();
    example.push_all(FIRST_K..FIRST_K + 2);
    let k = FIRST_K + 2;
    let part = |n: u64| {
        format!("#EXT-X-PART:DURATION=0.266666667,URI=\"../{run}/720p/{k}.{n}.m4s\",GAP=YES\n")
    };
    let parts: String = (0..6).map(part).collect();
    let whole = format!("#EXTINF:1.60000,\n#EXT-X-GAP\n../{run}/720p/{k}.m4s\n");
    let end = format!("\n{parts}{whole}");
    let hint = format!("URI=\"../{run}/720p/{}.0.m4s\"", k + 1);
    example.open_gap(0, k);
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..3 {
        match step {
            0 => {}
            1 => example.push_some_parts(0, k, 2),
            _ => example.timeline.close(0),
        }
        let text = media(&example.snapshot(), 0, Skip::Nothing, &Options::default());
        assert!(text.contains(&end), "{end}\n{text}");
        assert_eq!(text.matches(&format!("/{k}.0.m4s")).count(), 1, "{text}");
        assert!(lines(&text, "#EXT-X-PRELOAD-HINT")[0].ends_with(&hint), "{text}");
        // The newest part is the one before the gap.
        let last = format!("\"../720p/index.m3u8\",LAST-MSN={},LAST-PART=5", k - 1);
        let other = media(&example.snapshot(), 1, Skip::Nothing, &Options::default());
        assert!(other.contains(&last), "{other}");
        assert!(
            iframes(&example.snapshot(), 0, Skip::Nothing, &Options::default()).ends_with(&whole)
        );
        seen.insert(text);
    }
    assert_eq!(seen.len(), 1, "nothing changes until the next segment");
}

/// hls.js 1.7.4 takes `LAST-PART=0` for no attribute, and the last part of the gap for its value.
#[test]
fn from_a_gap_nobody_is_sent_to_the_first_part_of_a_segment() {
    let k = FIRST_K + 2;
    // What the playlist of a rendition says of 480p, of whose segment so many parts are there.
    let report = |of: usize, parts: usize, gap: bool| {
        let mut example = Example::new(60);
        example.run(FIRST_K);
        example.push_all(FIRST_K..k);
        example.push_some_parts(1, k, parts);
        if gap {
            example.open_gap(0, k);
        }
        let text = media(&example.snapshot(), of, Skip::Nothing, &Options::default());
        let reports = lines(&text, "#EXT-X-RENDITION-REPORT");
        let report = reports.iter().find(|report| report.contains("../480p/")).unwrap();
        report.split_once(",LAST-").unwrap().1.to_owned()
    };
    let (before, first) = (format!("MSN={},LAST-PART=5", k - 1), format!("MSN={k},LAST-PART=0"));
    assert_eq!(report(0, 1, false), first, "no gap yet");
    assert_eq!(report(0, 1, true), before);
    assert_eq!(report(2, 1, true), first, "from elsewhere");
    assert_eq!(report(0, 2, true), format!("MSN={k},LAST-PART=1"));
}

#[test]
fn no_part_is_longer_than_the_target_or_much_shorter_but_a_segments_last() {
    for (rate, segment) in [
        ((30, 1), 2_000),
        ((25, 1), 2_000),
        ((30_000, 1001), 2_000),
        ((60, 1), 4_000),
        ((24, 1), 3_000),
    ] {
        let rate = FrameRate::new(rate.0, rate.1);
        let mut example = Example::with(rate, 48_000, Span::millis(segment), 60);
        let k = example.grid.number_at(1_795_633_201 * i64::from(rate.timescale().get()));
        example.run(k);
        example.push_all(k..k + 4);
        for rendition in [0, 3] {
            let text = media(&example.snapshot(), rendition, Skip::Nothing, &Options::default());
            let number = |text: &str| text.parse::<f64>().unwrap();
            let target = lines(&text, "#EXT-X-PART-INF")[0].rsplit('=').next().unwrap();
            let parts = lines(&text, "#EXT-X-PART:");
            for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
                let length = part.split([':', '=', ',']).nth(2).unwrap();
                assert!(number(length) <= number(target), "{text}");
                let last = next.contains(".0.m4s");
                assert!(last || number(length) >= 0.85 * number(target), "{text}");
            }
        }
    }
}

#[test]
fn runs_with_other_ticks_list_and_leave_out_by_time() {
    // The sound of the second run is sampled at another rate.
    let mut snapshot = (*low_latency(12)).clone();
    let whole = media(&snapshot, 3, Skip::Segments, &Options::default());
    let old = snapshot.tracks[3].segments[0].run.id.clone();
    for segment in snapshot.tracks[3].segments.iter_mut() {
        if segment.run.id != old {
            continue;
        }
        let mut run = crate::timeline::Run::clone(&segment.run);
        let mut renditions = run.renditions.to_vec();
        renditions[3].track.timescale = Timescale::new(96_000).unwrap();
        run.renditions = renditions.into();
        let slower = |part: Part| Part { duration: part.duration * 2, ..part };
        segment.parts = segment.parts.iter().map(slower).collect();
        (segment.start, segment.duration, segment.run) =
            (segment.start * 2, segment.duration * 2, run.into());
    }
    assert_eq!(media(&snapshot, 3, Skip::Segments, &Options::default()), whole);
}
