//! The server dies inside of what it does, and at random: nothing that was listed is lost, no name has
//! other bytes than before, and nobody is refused.
//!
//! Where it dies inside, it has been asked to by `CRASH_AT` (`origin/crash`), which builds with debug
//! assertions know.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::dice::Dice;
use harness::publisher::Source;
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;
use sha2::{Digest, Sha256};

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// Who dies again and again is started again after up to 5 s, on a machine that is shared.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// After how long a server must have come to the point at which it is to die.
const DIES_WITHIN: Duration = Duration::from_secs(90);
/// A server that is to live until it is killed.
const LIVES: &str = "-";
/// The point at which a segment is gone on with that was open at the death before.
const REOPENED: &str = "segment-reopened";
/// A server that has not come to it by then has none to go on with.
const REOPENS_WITHIN: Duration = Duration::from_secs(20);

/// A publisher that connects again whenever it loses its connection.
struct Encoder {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result>,
}

impl Encoder {
    fn start(url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let mut publisher = Source::tiny(RATE).publish(&url)?;
                until("lost connection, or the end", Duration::from_secs(120), || {
                    let over = publisher.exited().is_some() || told.load(Ordering::Relaxed);
                    Ok(Look::at(over.then_some(()), "it publishes"))
                })?;
            }
            Ok(())
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::new("the encoder panicked"))?
    }
}

/// A viewer who asks for everything on connections of his own, and judges what he gets.
#[derive(Debug, Default)]
struct Viewer {
    refused: u64,
    answers: u64,
    waits: u64,
    /// Media sequence and discontinuity sequence, by playlist.
    sequences: BTreeMap<String, (u64, u64)>,
    hashes: BTreeMap<String, [u8; 32]>,
    /// Newest segment by playlist, and its number.
    newest: BTreeMap<String, (u64, String)>,
    faults: Vec<String>,
}

impl Viewer {
    fn look(&mut self, server: &Server) {
        if let Err(error) = TcpStream::connect(server.http) {
            self.refused += 1;
            self.faults.push(format!("connection: {error}"));
        }
        // An answer that was on its way when the server died is cut off: that is no refusal.
        for rendition in ["a/180p", "a/96p", "a/audio", "b/source", "b/audio"] {
            let url = server.url(&format!("/live/{rendition}/index.m3u8"));
            let Ok(answer) = Client::afresh().get(&url) else { continue };
            self.answers += 1;
            match answer.status {
                200 => {}
                503 => {
                    self.waits += 1;
                    continue;
                }
                // The first servers die before there is anything.
                404 if !self.sequences.contains_key(&url) => continue,
                status => {
                    self.faults.push(format!("{url}: status {status}"));
                    continue;
                }
            }
            let Ok(list) = answer.text().and_then(|text| hls::media(&url, &text)) else { continue };
            let now = (list.sequence, list.discontinuity_sequence);
            let before = self.sequences.insert(url.clone(), now).unwrap_or_default();
            if now.0 < before.0 || now.1 < before.1 {
                self.faults.push(format!("{url}: {before:?} -> {now:?}"));
            }
            let Some(newest) = list.objects.last() else { continue };
            let seen = (newest.k, newest.url.clone());
            if let Some((k, before)) = self.newest.insert(url.clone(), seen)
                && k >= list.sequence
                && list.objects.iter().all(|object| object.url != before)
            {
                self.faults.push(format!("{url}: {before} is not listed any more"));
            }
            let Ok(segment) = Client::afresh().get(&newest.url) else { continue };
            let hash: [u8; 32] = Sha256::digest(&segment.body).into();
            if segment.status == 200
                && *self.hashes.entry(newest.url.clone()).or_insert(hash) != hash
            {
                self.faults.push(format!("{}: other bytes than before", newest.url));
            }
        }
    }
}

/// Servers of which each dies in its own way.
struct Lives {
    server: Server,
    points: Vec<String>,
    dead: usize,
    /// Those that have died at a point they were asked to die at.
    inside: usize,
    dice: Dice,
}

impl Lives {
    fn start(channels: &[ChannelConfig], points: Vec<String>, seed: u64) -> Result<Self> {
        let plan = points.join(",");
        let server = Server::start_in(channels, &[("CRASH_AT", Path::new(&plan))])?;
        let dead = deaths(&server);
        Ok(Self { server, points, dead, inside: 0, dice: Dice::new(seed) })
    }

    /// Whether there is another one to die.
    fn is_next(&self) -> bool {
        self.dead < self.points.len()
    }

    /// Whether it has died that is to be seen off.
    fn has_died(&self) -> bool {
        deaths(&self.server) > self.dead
    }

    /// Sees one off: has it die where it is to, or kills it before `longest` is over. Meanwhile `look`s.
    /// One that does not come to its point, as nothing is reopened where nothing was open, is killed.
    fn next(&mut self, longest: Duration, mut look: impl FnMut(&Server)) -> Result {
        let (server, point) = (&self.server, &self.points[self.dead]);
        let (begun, longest) = (Instant::now(), longest.as_millis() as u64);
        let lives = match point.as_str() {
            LIVES => Duration::from_millis(self.dice.below(longest)),
            point if point.starts_with(REOPENED) => REOPENS_WITHIN,
            _ => Duration::MAX,
        };
        let (mut is_killed, mut missed) = (false, false);
        until(&format!("death at {point}"), DIES_WITHIN, || {
            if !is_killed && begun.elapsed() >= lives {
                is_killed = server.kill().is_ok();
                missed = point != LIVES;
            }
            look(server);
            let dead = deaths(server) > self.dead;
            Ok(Look::at(dead.then_some(()), "it lives"))
        })?;
        self.dead += 1;
        self.inside += usize::from(point != LIVES && !missed);
        let guarded = until("server that was started again", UP_WITHIN, || {
            Ok(Look::at(server.serving_id().ok(), "none yet"))
        });
        guarded.map(drop)
    }
}

fn deaths(server: &Server) -> usize {
    server.log().matches("the server died").count()
}

/// Every point at which a server can be asked to die, but for the one that takes a window's length; with
/// as many visits as bring it there within seconds.
const POINTS: [&str; 13] = [
    "journal-beside:1",
    "inits-written:1",
    "run-recorded:1",
    "file-created:8",
    "part-torn:70",
    "part-written:71",
    "segment-reopened:1",
    "listed:45",
    "segment-whole:9",
    "record-torn:12",
    "segment-recorded:7",
    "promise-torn:1",
    "recovery-begun:1",
];

#[test]
fn f_03_servers_that_die_at_every_point_and_at_random_refuse_nobody_and_use_no_name_twice() -> Result
{
    let points = POINTS.into_iter().chain([LIVES; 4]).map(str::to_owned).collect();
    let channels = [ChannelConfig::tiny("a"), ChannelConfig::pass_through("b")];
    let mut lives = Lives::start(&channels, points, 11)?;
    let encoders = ["a", "b"].map(|name| Encoder::start(lives.server.publish_url(name, None)));
    let mut viewer = Viewer::default();
    while lives.is_next() {
        lives.next(Duration::from_millis(2_500), |server| viewer.look(server))?;
    }
    assert!(lives.inside + 1 >= POINTS.len(), "{} died at their points", lives.inside);
    let server = &lives.server;
    for channel in ["a", "b"] {
        server.wait_playable(channel, Duration::from_secs(60))?;
    }
    viewer.look(server);
    // Everything that was ever seen is still what it was.
    for (url, hash) in &viewer.hashes {
        let segment = server.client.get(url)?.ok(url)?;
        assert_eq!(*hash, <[u8; 32]>::from(Sha256::digest(&segment.body)), "{url}");
    }
    for encoder in encoders {
        encoder.stop()?;
    }
    println!("{} answers, {} times to be asked again", viewer.answers, viewer.waits);
    assert_eq!(viewer.refused, 0, "{:?}", viewer.faults);
    assert!(viewer.faults.is_empty(), "{:?}", viewer.faults);
    assert!(viewer.answers >= POINTS.len() as u64 && !viewer.hashes.is_empty(), "{viewer:?}");
    Ok(())
}

/// Points inside of writing, each with how often a server may come there before.
const INSIDE: [(&str, u64); 5] = [
    ("part-torn", 20),
    ("file-created", 3),
    ("segment-whole", 3),
    ("record-torn", 4),
    ("segment-reopened", 1),
];

/// Kills the server of one channel so many times under a witness: one of three inside of writing, the
/// others anywhere in a segment. How many died inside.
fn killed_again_and_again(channel: ChannelConfig, kills: usize, seed: u64) -> Result<usize> {
    // As long as a segment: each of its moments is as likely.
    const SEGMENT: Duration = Duration::from_millis(1_920);
    let mut dice = Dice::of(seed, 1);
    let point = |number: usize| {
        let (name, most) = *dice.pick(&INSIDE);
        let inside = format!("{name}:{}", 1 + dice.below(most));
        if number % 3 == 2 { inside } else { LIVES.to_owned() }
    };
    let mut points: Vec<String> = (0..kills).map(point).collect();
    for later in 1..kills {
        // Where nothing is open, nothing is reopened.
        if points[later].starts_with(REOPENED) {
            points[later - 1] = format!("part-written:{}", 1 + dice.below(20));
        }
    }
    // Some files are old enough to be deleted by then, and the window is longer than a server is away:
    // what was filled in meanwhile is listed all at once.
    points.push("file-deleted:1".to_owned());
    let mut lives = Lives::start(&[channel.with("window = \"20s\"")], points, seed)?;
    let encoder = Encoder::start(lives.server.publish_url("a", None));
    lives.server.wait_playable("a", PLAYABLE_WITHIN)?;
    // What a source's segment was hinted to go on with, filler may end it before.
    let watch = Watch::new(&lives.server.url(""), "a").with_kills(DEAD_FOR).with_cuts();
    let witness = Witness::start(watch);
    while lives.is_next() {
        lives.next(SEGMENT, |_| ())?;
        // A segment after the other is begun by a server that was up, or that has died again by now.
        let playlist = lives.server.url("/live/a/index.m3u8");
        until("answer, or the next death", UP_WITHIN, || {
            let answer = Client::afresh().get(&playlist);
            let answers = answer.is_ok_and(|answer| answer.status == 200);
            Ok(Look::at((answers || lives.has_died()).then_some(()), "neither"))
        })?;
    }
    lives.server.wait_more("a", 2)?;
    witness.finish()?.clean()?;
    encoder.stop()?;
    lives.server.stop()?;
    Ok(lives.inside)
}

/// How long a server may be away that dies again and again, and once in between before it answers.
const DEAD_FOR: Duration = Duration::from_secs(16);

/// Four servers side by side, of whose two hundred deaths 64 are inside of writing: each waits for
/// seconds most of the time before it is started again.
#[test]
#[ignore = "minutes of real time: `make soak`"]
fn f_03_two_hundred_deaths_lose_nothing_that_was_listed() -> Result {
    let ladder = || ChannelConfig::tiny("a").with_ladder(&["96p"]);
    let channels =
        [ladder(), ChannelConfig::pass_through("a"), ladder(), ChannelConfig::pass_through("a")];
    // A server's log is called as its thread.
    let each = |(seed, channel)| {
        let server = std::thread::Builder::new().name(format!("f_03-{seed}"));
        server.spawn(move || killed_again_and_again(channel, 49, seed)).context("a thread")
    };
    let threads = (1..).zip(channels).map(each).collect::<Result<Vec<_>>>()?;
    // All have ended before one is judged: else the others' servers would be left behind.
    let outcomes: Vec<_> = threads.into_iter().map(std::thread::JoinHandle::join).collect();
    let (mut failures, mut inside) = (String::new(), 0);
    for (number, outcome) in (1..).zip(outcomes) {
        let outcome = outcome.map_err(|_| Failure::new("a server's thread panicked"))?;
        match outcome {
            Ok(died) => inside += died,
            Err(failure) => failures.push_str(&format!("server {number}: {failure}\n")),
        }
    }
    println!("{inside} deaths inside of writing");
    assert!(!failures.is_empty() || inside >= 50, "{inside} deaths inside of writing");
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures)) }
}
