//! The long real-time runs: `make soak`, which asks for the ignored tests of this module.

use std::time::{Duration, Instant};

use harness::bench::starts;
use harness::player::Library;
use harness::process::harm::Squeeze;
use harness::publisher::Source;
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Result};
use packager::time::FrameRate;

use crate::absence;
use crate::browser::{play, plays_well};
use crate::cues::styles::{self, Smoothness};
use crate::hostile;
use crate::low_latency::{self, Session};
use crate::passing;
use crate::players::exact;
use crate::restart;
use crate::workers::{Harm, freezes};

/// Memory may grow by no more than this after it has settled.
const MOST_GROWTH: u64 = 5 << 20;
const SETTLED_AFTER: Duration = Duration::from_secs(120);
const LENGTH: Duration = Duration::from_secs(600);

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn twenty_starts_of_the_demo_are_playable_within_three_seconds() -> Result {
    let worst = starts::durations()?.pop().context("a start")?;
    assert!(worst <= starts::WITHIN, "the slowest start took {worst:?}");
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn ten_minutes_of_the_demo_keep_time_and_memory() -> Result {
    let server = Server::demo()?;
    server.wait_playable("demo", Duration::from_secs(10))?;
    let witness = Witness::start(Watch::new(&server.url(""), "demo"));
    let begun = Instant::now();
    let mut settled: Option<u64> = None;
    let mut most = 0;
    until("end of the soak", LENGTH + Duration::from_secs(60), || {
        if begun.elapsed() >= SETTLED_AFTER {
            let now = server.resident_bytes();
            settled.get_or_insert(now);
            most = most.max(now);
        }
        std::thread::sleep(Duration::from_secs(1));
        Ok(Look::at((begun.elapsed() >= LENGTH).then_some(()), "it goes on"))
    })?;
    let settled = settled.context("memory")?;
    let lists = hls::fetch(&server.client, &server.url("/live/demo/index.m3u8"))?;
    let record = witness.finish()?;
    record.clean()?;
    exact(&record, &lists, FrameRate::new(30, 1))?;
    for track in &record.tracks {
        let length = Duration::from_nanos(span_ns(track)?);
        assert!(
            length + Duration::from_secs(10) >= LENGTH,
            "{length:?} of {}",
            track.rendition.name
        );
    }
    let growth = most.saturating_sub(settled);
    assert!(growth <= MOST_GROWTH, "memory grew by {growth} bytes from {settled}");
    server.stop()
}

fn span_ns(track: &harness::witness::Track) -> Result<u64> {
    let (first, last) = (track.segments.values().next(), track.segments.values().next_back());
    let (first, last) = first.zip(last).context("segments")?;
    let ticks = u128::from(last.end() - first.start());
    Ok((ticks * 1_000_000_000 / u128::from(track.timescale()?)) as u64)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn the_demo_plays_for_a_minute_in_both_players() -> Result {
    for format in ["hls", "dash"] {
        let server = Server::demo()?;
        server.wait_playable("demo", Duration::from_secs(10))?;
        let seen = play(&server.url("/watch/demo"), format, 60, &["--select", "360p"])?;
        plays_well(&seen, 60);
        assert!(seen["switchMs"].is_number(), "it did not switch: {seen:#}");
        assert!(
            seen["openToFirstFrameMs"].as_f64().is_some_and(|seen| seen <= 5_000.0),
            "{seen:#}"
        );
        server.stop()?;
    }
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_publisher_away_for_forty_seconds_costs_viewers_nothing() -> Result {
    absence::one_run(&absence::absence(Duration::from_secs(40))?)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_passed_source_away_for_forty_seconds_costs_one_discontinuity() -> Result {
    let (away, channel) = (Duration::from_secs(40), ChannelConfig::pass_through("a").patient());
    let (record, _) = absence::absence_on(channel, away, &passing::PLAYERS)?;
    passing::one_seam(&record)
}

/// How long players play between the deaths of their server: who dies oftener than three times a minute
/// is started again later each time.
const BETWEEN_KILLS: Duration = Duration::from_secs(22);

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn players_play_on_when_the_server_of_a_ladder_is_killed_five_times() -> Result {
    let channel = ChannelConfig::tiny("a").patient();
    absence::one_run(&restart::viewers::killed(channel, 5, BETWEEN_KILLS)?)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn players_play_on_when_the_server_of_a_passed_source_is_killed_five_times() -> Result {
    restart::viewers::killed(ChannelConfig::pass_through("a"), 5, BETWEEN_KILLS).map(drop)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn twenty_workers_that_crash_hang_and_run_out_of_memory_cost_a_still_picture_each() -> Result {
    let harms: Vec<Harm> =
        [Harm::Crash, Harm::Hang, Harm::Starve, Harm::Kill].into_iter().cycle().take(20).collect();
    let mut found = freezes(11, &harms, &Library::ALL, ChannelConfig::tiny)?;
    found.sort();
    // The 95th percentile of twenty.
    assert!(found[18] <= Duration::from_millis(1_500), "{found:?}");
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_hundred_thousand_hostile_peers_leave_the_neighbours_alone() -> Result {
    hostile::assaulted(100_000, 1_000, 2_000)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn five_minutes_of_low_latency_with_a_crash_and_a_lost_source_keep_every_rule() -> Result {
    for (players, play) in [(low_latency::CLOSE_ONES, 90), (low_latency::OTHERS, 30)] {
        let (play, away) = (Duration::from_secs(play), Duration::from_secs(20));
        low_latency::session(Session { players, play, away })?;
    }
    Ok(())
}

/// Percent of a core that is left for a ladder of 720p.
const SQUEEZED_TO: u32 = 30;
const SQUEEZED_FOR: Duration = Duration::from_secs(60);
/// A rung comes back half a minute after there is room for it, one after the other.
const BACK_WITHIN: Duration = Duration::from_secs(180);

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_ladder_squeezed_to_a_third_of_a_core_keeps_its_lowest_rung_and_its_sound() -> Result {
    let rungs = ["720p", "360p", "96p"];
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&rungs)])?;
    let source = Source::tiny(FrameRate::new(25, 1)).with_size(1280, 720);
    let _source = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(15))?;
    server.wait_more("a", 4)?;
    let witness = Witness::start(Watch::new(&server.url(""), "a").with_gaps());
    let gaps = || -> Result<Vec<bool>> {
        let lists = hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))?;
        Ok(lists.iter().map(|(_, list)| list.objects.last().is_some_and(|o| o.gap)).collect())
    };
    let memory = server.resident_bytes();
    let squeeze = Squeeze::start(server.id(), SQUEEZED_TO)?;
    let begun = Instant::now();
    let (mut off, mut most) = (false, 0);
    until("end of the squeeze", SQUEEZED_FOR * 2, || {
        let now = gaps()?;
        assert!(!now[2] && !now[3], "the lowest rung or the sound is missing: {now:?}");
        off |= now[0];
        most = most.max(server.resident_bytes());
        std::thread::sleep(Duration::from_millis(500));
        Ok(Look::at((begun.elapsed() >= SQUEEZED_FOR).then_some(()), "it goes on"))
    })?;
    assert!(off, "the highest rung was borne");
    assert!(most < memory + MOST_GROWTH * 4, "memory grew from {memory} to {most} bytes");
    drop(squeeze);
    until("all rungs", BACK_WITHIN, || {
        let now = gaps()?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(Look::at((!now.contains(&true)).then_some(()), format!("gaps: {now:?}")))
    })?;
    println!("all rungs are back {:?} after the squeeze began", begun.elapsed());
    server.wait_more("a", 4)?;
    witness.finish()?.clean()
}

#[test]
#[ignore = "a minute, with most of the machine's files"]
fn fifteen_thousand_viewers_over_the_caps_are_told_to_come_again() -> Result {
    crate::viewers::crowded(12_000, 10_000, 15_000)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_minute_of_five_percent_of_loss_over_srt_loses_nothing() -> Result {
    crate::srt::lossy(Duration::from_secs(60))
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_minute_of_mutated_streams_and_a_million_broken_handshakes_leave_the_neighbours_alone() -> Result
{
    crate::srt::neighbours::side_by_side(Duration::from_secs(60), 1_000_000)
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn viewers_play_through_a_break_of_half_a_minute_in_every_style() -> Result {
    // One channel's viewers at a time: six at once want more of a small machine than they find there.
    let mut each = styles::HLS_JS_AND_DASH_JS.chunk_by(|one, other| one.0 == other.0);
    each.try_for_each(|viewers| styles::session(30, Smoothness::Whole, viewers))
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn shaka_player_plays_through_a_break_of_half_a_minute_in_every_style() -> Result {
    let mut each = styles::SHAKA.chunk_by(|one, other| one.0 == other.0);
    each.try_for_each(|viewers| styles::session(30, Smoothness::Whole, viewers))
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn sections_of_transport_streams_of_every_rate_are_cut_on_the_picture_they_name() -> Result {
    for (num, den) in [(25, 1), (30, 1), (50, 1), (60_000, 1_001)] {
        crate::cues::stream::session(FrameRate::new(num, den))
            .context(format!("{num}/{den} pictures a second"))?;
    }
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn live_sections_of_every_rate_are_cut_on_their_pictures_where_that_is_awkward() -> Result {
    // The clock of the third wraps a few seconds after it has begun.
    for (num, den, offset) in
        [(25, 1, "0"), (30_000, 1_001, "7"), (30, 1, "95430"), (50, 1, "0"), (60_000, 1_001, "0")]
    {
        crate::cues::live::session(FrameRate::new(num, den), offset)
            .context(format!("{num}/{den} pictures a second"))?;
    }
    Ok(())
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn a_break_every_twenty_seconds_costs_no_latency() -> Result {
    crate::cues::often::session()
}

#[test]
#[ignore = "minutes of real time: `make soak`"]
fn viewers_go_ten_minutes_back_in_a_live_channel_and_to_its_edge_again() -> Result {
    crate::dvr::ten_minutes_back()
}
