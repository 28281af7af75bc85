//! The timestamp faults seen in the field (field-failures.md 1 to 10), each through the RTMP door to a
//! ladder and to a pass-through channel: both go on in one run, on our clock, and count what was wrong.

use std::time::Duration;

use harness::publisher::Source;
use harness::publisher::relay::{Body, Edit, Relay, Tag};
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Result, clock};
use packager::time::FrameRate;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(40);
/// Pictures after which every fault has happened, and some seconds have passed.
const PICTURES: u64 = 250;
/// How far apart the end of a segment and the date of the next may lie.
const DATES_AGREE_NS: i64 = 1_000_000;
/// How far behind the clock a playlist's end may lie on a loaded machine.
const NEWEST_NS: i64 = 20_000_000_000;

/// What a kind of repair has to be counted.
#[derive(Clone, Copy, Debug)]
enum Counted {
    /// So often at the least.
    Some(&'static str, u64),
    /// So often.
    Exactly(&'static str, u64),
    /// Nothing was wrong with the source's clock.
    Nothing,
}

/// A failure of the field.
struct Failure {
    /// Its number in the list.
    number: u32,
    edit: fn() -> Edit,
    in_ladder: Counted,
    passed: Counted,
}

/// Moves all times, modulo 2^32.
fn from(ms: u32) -> Edit {
    Box::new(move |mut tag: Tag| {
        tag.at_ms = tag.at_ms.wrapping_add(ms);
        vec![tag]
    })
}

/// Changes pictures by their count.
fn pictures(mut change: impl FnMut(u64, &mut u32, &mut i32) + Send + 'static) -> Edit {
    let mut count = 0;
    Box::new(move |mut tag: Tag| {
        if let Body::Video { composition_ms, .. } = &mut tag.body {
            count += 1;
            change(count, &mut tag.at_ms, composition_ms);
        }
        vec![tag]
    })
}

/// The picture is away from the fourth to the sixth second, and comes back with its clock reset.
fn reset_picture() -> Edit {
    let mut back_at = None;
    Box::new(move |mut tag: Tag| {
        if let Body::Video { key, .. } = tag.body
            && tag.at_ms >= 4_000
        {
            if back_at.is_none() && tag.at_ms >= 6_000 && key {
                back_at = Some(tag.at_ms);
            }
            let Some(back_at) = back_at else { return vec![] };
            tag.at_ms -= back_at;
        }
        vec![tag]
    })
}

/// The sound's clock is a day ahead of the picture's.
fn apart() -> Edit {
    Box::new(|mut tag: Tag| {
        if matches!(tag.body, Body::Audio(_) | Body::AudioConfig(_)) {
            tag.at_ms += 90_000_000;
        }
        vec![tag]
    })
}

const FAILURES: [Failure; 8] = [
    // A frame stamped hours away every few seconds.
    Failure {
        number: 1,
        edit: || pictures(|n, at, _| *at += if n % 80 == 50 { 7_200_000 } else { 0 }),
        in_ladder: Counted::Some("jump", 1),
        passed: Counted::Some("jump", 3),
    },
    // Decoding times that stand still or go back.
    Failure {
        number: 2,
        edit: || pictures(|n, at, _| *at -= if n % 50 == 20 { 60 } else { 0 }),
        in_ladder: Counted::Some("order", 3),
        passed: Counted::Some("order", 3),
    },
    // Pictures to be shown before they are decoded.
    Failure {
        number: 3,
        edit: || pictures(|n, _, composition| *composition -= if n % 25 == 7 { 40 } else { 0 }),
        in_ladder: Counted::Some("composition", 5),
        passed: Counted::Some("composition", 5),
    },
    Failure {
        number: 5,
        edit: reset_picture,
        in_ladder: Counted::Some("jump", 1),
        passed: Counted::Some("jump", 1),
    },
    Failure {
        number: 6,
        edit: apart,
        in_ladder: Counted::Exactly("order", 0),
        passed: Counted::Exactly("order", 0),
    },
    // Extended timestamps, from 4 h 39 min on.
    Failure {
        number: 7,
        edit: || from(0x00ff_ffff - 4_000),
        in_ladder: Counted::Nothing,
        passed: Counted::Nothing,
    },
    // 2^32 ms.
    Failure {
        number: 8,
        edit: || from(4_000_u32.wrapping_neg()),
        in_ladder: Counted::Exactly("wrap", 1),
        passed: Counted::Exactly("wrap", 1),
    },
    // A source that has run for 120 hours.
    Failure {
        number: 10,
        edit: || from(432_000_000),
        in_ladder: Counted::Nothing,
        passed: Counted::Nothing,
    },
];

/// Repairs of a kind that were counted for a channel.
fn repairs(metrics: &str, channel: &str, kind: &str) -> u64 {
    let labels = format!("{{channel=\"{channel}\",kind=\"{kind}\"}} ");
    let name = "headwater_ingest_timestamp_repairs_total";
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(&labels));
    lines.filter_map(|count| count.parse::<u64>().ok()).sum()
}

impl Counted {
    fn holds(self, metrics: &str, channel: &str) -> bool {
        match self {
            Self::Some(kind, least) => repairs(metrics, channel, kind) >= least,
            Self::Exactly(kind, count) => repairs(metrics, channel, kind) == count,
            Self::Nothing => ["jump", "order", "composition", "wrap"]
                .iter()
                .all(|kind| repairs(metrics, channel, kind) == 0),
        }
    }
}

/// One run without a gap, whose dates follow each other and the clock.
fn is_whole(server: &Server, channel: &str) -> Result {
    let lists = hls::fetch(&server.client, &server.url(&format!("/live/{channel}/index.m3u8")))?;
    assert!(lists.len() >= 2, "{channel}");
    for (rendition, list) in lists {
        let name = format!("{channel}/{}", rendition.name);
        assert!(!list.ended, "{name} has ended");
        for pair in list.objects.windows(2) {
            let [one, next] = pair else { continue };
            assert!(!next.gap && !next.discontinuity && one.init == next.init, "{name}: {next:?}");
            if let (Some(date), Some(after)) = (one.date_ns, next.date_ns) {
                let end = date + (one.duration * 1e9).round() as i64;
                assert!((after - end).abs() <= DATES_AGREE_NS, "{name}: {one:?} {next:?}");
            }
        }
        let last = list.objects.last().context("a segment")?;
        let date = last.date_ns.context("a date")?;
        let age = (clock::now_ms().cast_signed()) * 1_000_000 - date;
        assert!((0..NEWEST_NS).contains(&age), "{name}: the newest is {age} ns old");
    }
    Ok(())
}

/// What kind of channel a source goes to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Ladder,
    Passed,
}

impl Kind {
    fn channel(self, name: &str) -> ChannelConfig {
        match self {
            Self::Ladder => ChannelConfig::tiny(name).with_ladder(&["96p"]),
            Self::Passed => ChannelConfig::pass_through(name),
        }
    }

    fn counted(self, failure: &Failure) -> Counted {
        match self {
            Self::Ladder => failure.in_ladder,
            Self::Passed => failure.passed,
        }
    }
}

/// Sources with these failures, each to a channel of this kind: all go on, and what was wrong is counted.
fn go_on(kind: Kind, failures: &[Failure]) -> Result {
    let name = |failure: &Failure| format!("failure-{}", failure.number);
    // The fourth has a source of its own.
    let fourth = "failure-4".to_owned();
    let names: Vec<String> = failures.iter().map(name).chain([fourth.clone()]).collect();
    let channels: Vec<_> = names.iter().map(|name| kind.channel(name)).collect();
    let server = Server::start(&channels)?;
    let streams = failures.iter().map(|failure| (name(failure), (failure.edit)())).collect();
    let door = server.rtmp.to_string();
    let relay = Relay::start_all(Source::tiny(RATE), &door, streams)?;
    // More pictures out of their order than H.264 has places for them, nearly.
    let reordered = Source::tiny(RATE).with_b_frames(12);
    let reordered = Relay::start(reordered, &door, &fourth, Box::new(|tag| vec![tag]))?;
    for channel in &names {
        server.wait_playable(channel, PLAYABLE_WITHIN).context(channel)?;
    }
    until("all faults", PLAYABLE_WITHIN, || {
        let frames = relay.publisher().frames();
        Ok(Look::at((frames >= PICTURES).then_some(()), format!("{frames} pictures")))
    })?;
    // Then what came last is listed too.
    let goal = |name: &String| Ok((name.clone(), server.numbers(name)?.1 + 2));
    for (channel, k) in names.iter().map(goal).collect::<Result<Vec<_>>>()? {
        server.wait_segment(&channel, k, PLAYABLE_WITHIN)?;
    }
    for failure in failures {
        let (channel, counted) = (name(failure), kind.counted(failure));
        until(&format!("{counted:?} of {channel}"), Duration::from_secs(5), || {
            let metrics = server.client.text(&server.admin_url("/metrics"))?;
            let lines: Vec<_> = metrics
                .lines()
                .filter(|line| line.contains("timestamp_repairs") && line.contains(&channel))
                .collect();
            Ok(Look::at(counted.holds(&metrics, &channel).then_some(()), format!("{lines:?}")))
        })?;
    }
    for channel in &names {
        is_whole(&server, channel)?;
    }
    assert!(relay.is_running() && reordered.is_running(), "thrown out:\n{}", server.log());
    drop((relay, reordered));
    server.stop()
}

#[test]
fn timestamp_faults_of_the_field_go_on_where_a_source_passes_and_are_counted() -> Result {
    go_on(Kind::Passed, &FAILURES)
}

/// A few at a time: each has an encoder.
#[test]
fn timestamp_faults_of_the_field_go_on_in_ladders_and_are_counted() -> Result {
    FAILURES.chunks(4).try_for_each(|failures| go_on(Kind::Ladder, failures))
}
