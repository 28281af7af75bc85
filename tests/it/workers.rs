//! Worker processes that crash, hang and run out of memory: viewers see a still picture, in the same
//! run, and other channels nothing.

use std::time::{Duration, Instant};

use harness::dice::Dice;
use harness::player::{Library, Player, Stage};
use harness::process::{harm, tree};
use harness::publisher::{Publisher, Source};
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Result, clock};
use packager::time::FrameRate;
use rustix::process::Signal;

use crate::absence::one_run;
use crate::examine::{self, Shown};

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// Most that a picture may stand still beyond the time it takes to notice: what is promised is
/// 1.5 s, and tests share their machine.
const MOST_FREEZE: Duration = Duration::from_millis(4_500);
/// After how long a worker is taken to need no more memory than it has: small pictures reuse theirs.
const ASKS_WITHIN: Duration = Duration::from_secs(15);
/// Workers of a channel that may die within [`A_MINUTE`] and are replaced at once; the next ones are
/// waited with, longer each time.
const FREE_DEATHS: usize = 3;
/// How long a death counts, and a little.
const A_MINUTE: Duration = Duration::from_secs(62);
/// After how long a worker that makes nothing counts as hung, for the segments of these tests.
const HANGS_FOR: Duration = Duration::from_secs(4);

#[test]
fn a_worker_without_memory_dies_alone_and_another_takes_its_place() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a"), ChannelConfig::tiny("b")])?;
    let source = Source::tiny(RATE);
    let _a = source.clone().publish(&server.publish_url("a", None))?;
    let _b = source.publish(&server.publish_url("b", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_playable("b", PLAYABLE_WITHIN)?;
    let first = server.wait_worker("a", None, PLAYABLE_WITHIN)?;
    let neighbours = server.worker_pids("b");
    assert_eq!(neighbours.len(), 1);
    assert!(!neighbours.contains(&first));
    harm::starve(first)?;
    // A picture of another size needs memory.
    let _larger = Source::tiny(RATE).with_size(480, 270).publish(&server.publish_url("a", None))?;
    until("end of the starved worker", PLAYABLE_WITHIN, || {
        Ok(Look::at(tree::title(first).is_none().then_some(()), "it lives"))
    })?;
    server.wait_worker("a", Some(first), PLAYABLE_WITHIN)?;
    assert_eq!(server.worker_pids("b"), neighbours);
    server.stop()
}

/// The encoder of a channel with rungs of 480p and 96p can't keep up until the higher one goes.
pub(crate) fn switch_off_highest(server: &Server, channel: &str) -> Result {
    /// Per cent of a core: two or three times as much are needed for both rungs, and half for the lower.
    const SHARE: u32 = 10;
    let worker = server.wait_worker(channel, None, PLAYABLE_WITHIN)?;
    let squeeze = harm::Squeeze::start(worker, SHARE)?;
    let list = server.url(&format!("/live/{channel}/index.m3u8"));
    until("highest rung that is off", Duration::from_secs(40), || {
        let lists = hls::fetch(&server.client, &list)?;
        let gap = lists.first().is_some_and(|(_, list)| list.objects.last().is_some_and(|o| o.gap));
        Ok(Look::at(gap.then_some(()), "it is on"))
    })?;
    drop(squeeze);
    Ok(())
}

/// An encoder that can't keep up lets go of its highest rung, and stock hls.js of what it shows, while it
/// still has something in store.
#[test]
fn who_watches_a_rung_that_is_switched_off_goes_to_another_without_a_stall() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["480p", "96p"])])?;
    let source = Source::tiny(RATE).with_size(854, 480);
    let mut source = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let viewer = Player::start(&stage, Library::HlsJs, &server.url(""), "a")?;
    let shows = |height: u32, bound| {
        until(&format!("a picture of {height} lines"), bound, || {
            let report = viewer.report()?;
            Ok(Look::at((report.height == height).then_some(()), format!("{report:?}")))
        })
    };
    // One that a busy machine has switched off is back after half a minute.
    shows(480, Duration::from_secs(60))?;
    viewer.wait_played(Duration::from_secs(8), PLAYABLE_WITHIN)?;
    switch_off_highest(&server, "a")?;
    shows(96, PLAYABLE_WITHIN)?;
    let goal = viewer.played()? + Duration::from_secs(8);
    viewer.wait_played(goal, Duration::from_secs(30))?;
    viewer.smooth()?;
    source.check()?;
    server.stop()
}

/// What can be done to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    Crash,
    Hang,
    /// As the kernel does it when the machine has no memory left.
    Kill,
    /// No memory from now on: it dies when it asks for some.
    Starve,
}

impl Harm {
    /// Does it; gives when it took effect, in milliseconds since the epoch.
    fn to(self, worker: u32) -> Result<u64> {
        let there = || tree::title(worker).is_some();
        let begun = clock::now_ms();
        match self {
            // The runtime's handler lets the first one pass and waits for the fault to come again,
            // as one does that is real.
            Self::Crash => until("end of the worker", PLAYABLE_WITHIN, || {
                let there = there() && harm::signal(worker, Signal::SEGV).is_ok();
                Ok(Look::at((!there).then_some(begun), "it lives"))
            }),
            Self::Hang => harm::signal(worker, Signal::STOP).map(|()| begun),
            Self::Kill => harm::signal(worker, Signal::KILL).map(|()| begun),
            Self::Starve => {
                harm::starve(worker)?;
                let begun = Instant::now();
                until("end of the starved worker", PLAYABLE_WITHIN * 2, || {
                    if begun.elapsed() > ASKS_WITHIN {
                        // As its allocator does when it gets none. It may be gone by now.
                        let _ = harm::signal(worker, Signal::ABORT);
                    }
                    Ok(Look::at((!there()).then(clock::now_ms), "it lives"))
                })
            }
        }
    }

    /// How long it goes unnoticed.
    fn unnoticed(self) -> Duration {
        match self {
            Self::Crash | Self::Kill | Self::Starve => Duration::ZERO,
            Self::Hang => HANGS_FOR,
        }
    }

    /// The longest still among `stills` that this can have caused before the `next` one was, less the time
    /// it went unnoticed.
    fn still_in(self, at_ms: u64, next_ms: Option<u64>, stills: &[(i64, Duration)]) -> Duration {
        let nanos = |ms: u64| ms.cast_signed() * 1_000_000;
        // What was under way then is shown up to a second later.
        let from = |ms: u64| nanos(ms) - 1_000_000_000;
        let end = (nanos(at_ms) + 5_000_000_000).min(next_ms.map_or(i64::MAX, from));
        let caused = |since: i64| (from(at_ms)..end).contains(&since);
        let longest =
            stills.iter().filter(|(since, _)| caused(*since)).map(|(_, still)| *still).max();
        longest.unwrap_or_default().saturating_sub(self.unnoticed())
    }
}

/// Harms the worker of one of two channels a few times, each time somewhere in a segment, and looks
/// at both channels, as do `viewers` of the first. Gives how long the picture stood still after each
/// harm was noticed; `channel` configures one of a name.
pub(crate) fn freezes(
    seed: u64,
    harms: &[Harm],
    viewers: &[Library],
    channel: impl Fn(&str) -> ChannelConfig,
) -> Result<Vec<Duration>> {
    let server = Server::start(&[channel("a"), channel("b")])?;
    let a = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    let _b = Source::tiny(RATE).publish(&server.publish_url("b", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_playable("b", PLAYABLE_WITHIN)?;
    let stage = Stage::open()?;
    let join = |library: &Library| Player::start(&stage, *library, &server.url(""), "a");
    let viewers = viewers.iter().map(join).collect::<Result<Vec<_>>>()?;
    for viewer in &viewers {
        viewer.wait_started(PLAYABLE_WITHIN)?;
    }
    let witnesses = ["a", "b"].map(|c| Witness::start(Watch::new(&server.url(""), c)));
    let mut dice = Dice::new(seed);
    let mut done: Vec<(u64, Harm, Instant)> = Vec::new();
    for harm in harms {
        // What comes oftener is another promise: that it never keeps a core busy.
        if let Some((_, _, at)) = done.len().checked_sub(FREE_DEATHS).and_then(|n| done.get(n)) {
            std::thread::sleep(A_MINUTE.saturating_sub(at.elapsed()));
        }
        server.wait_more("a", 2)?;
        std::thread::sleep(Duration::from_millis(dice.below(2_000)));
        let worker = server.wait_worker("a", None, PLAYABLE_WITHIN)?;
        let at_ms = harm.to(worker)?;
        server.wait_worker("a", Some(worker), PLAYABLE_WITHIN)?;
        done.push((at_ms, *harm, Instant::now()));
    }
    server.wait_more("a", 4)?;
    let seen = viewers.iter().map(Player::smooth).collect::<Vec<_>>();
    let [of_a, of_b] = witnesses;
    let (of_a, of_b) = (of_a.finish()?, of_b.finish()?);
    let stills = stills(&of_a, &a)?;
    let next = done.iter().skip(1).map(|(at_ms, ..)| Some(*at_ms)).chain([None]);
    let found: Vec<_> = done
        .iter()
        .zip(next)
        .map(|((at_ms, harm, _), next_ms)| (*harm, harm.still_in(*at_ms, next_ms, &stills)))
        .collect();
    println!("the picture stood still, once it was noticed, for {found:?}");
    for record in [&of_a, &of_b] {
        record.clean()?;
        one_run(record)?;
    }
    seen.into_iter().try_for_each(|seen| seen.map(drop))?;
    Ok(found.into_iter().map(|(_, still)| still).collect())
}

/// For how long at a time nothing new was shown, and since when, on the output clock.
fn stills(record: &Record, publisher: &Publisher) -> Result<Vec<(i64, Duration)>> {
    let track = record.tracks.iter().find(|t| !t.rendition.audio).context("a picture")?;
    let shown = examine::decoded(track, publisher.feed())?;
    let mut stills = Vec::new();
    let mut newest: Option<Shown> = None;
    for one in examine::settled(&shown, publisher.feed()) {
        if newest.is_some_and(|newest| one.source <= newest.source) {
            continue;
        }
        if let Some(newest) = newest.replace(*one) {
            let still = Duration::from_nanos((one.pts_ns - newest.pts_ns).unsigned_abs());
            stills.push((newest.pts_ns, still));
        }
    }
    Ok(stills)
}

/// Tests share their machine.
fn patient(name: &str) -> ChannelConfig {
    ChannelConfig::tiny(name).patient()
}

#[test]
fn a_worker_that_crashes_costs_a_still_picture_and_no_discontinuity() -> Result {
    let viewers = [Library::HlsJs, Library::DashJs];
    let found = freezes(1, &[Harm::Crash, Harm::Kill], &viewers, patient)?;
    assert!(found.iter().all(|freeze| *freeze <= MOST_FREEZE), "{found:?}");
    Ok(())
}

#[test]
fn a_worker_that_hangs_costs_a_still_picture_and_no_discontinuity() -> Result {
    let found = freezes(2, &[Harm::Hang], &[], patient)?;
    assert!(found.iter().all(|freeze| *freeze <= MOST_FREEZE), "{found:?}");
    Ok(())
}
