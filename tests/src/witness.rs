//! The witness: a client that watches a channel through a whole test and knows what must never
//! happen to it.
//!
//! It reads every playlist and manifest a few times a second and fetches each object when it is
//! first named, so it sees the channel as a very attentive player would. The invariants have the
//! numbers of the fault catalogue:
//!
//! | | |
//! |---|---|
//! | I1 | one address, one content |
//! | I2 | numbers never fall |
//! | I3 | lists only grow at the tail and shrink at the head |
//! | I4 | constants stay |
//! | I5 | segments come in time |
//! | I6 | what is listed is there, and stays a while after it has left the list |
//! | I7 | durations add up to the time that has passed, to a frame; no GAP unless one is allowed |
//! | I8 | renditions agree |
//! | I9 | decode times go on without a hole |
//! | I10 | dates go on without a hole |
//! | I11 | after a discontinuity sound and picture begin together, to an audio frame |
//! | I12 | HLS and DASH name the same, and what the MPD implies or announces is there |
//! | I13 | a plain reload is answered at once, one that asks for more when that is there |
//! | I15 | cache headers |
//! | I16 | no secret in an answer |
//! | I18 | memory, files, threads: see [`machine`] |
//! | I20 | the state that is told is the true one within two seconds ([`Witness::expect`]) |
//! | I21 | no half of an update |
//! | I22 | no 5xx that a cache would keep, a 503 says when to come again |
//! | I23 | no panic and no secret in the log: see [`machine`] |
//! | I24 | everything decodes |
//!
//! Everything it reads is judged by the [`rules`](crate::rules) too. What it has fetched stays in
//! its [`Record`] for other readers. A 503 that asks to come again is no violation by itself: I5
//! tells when that goes on for too long.
//!
//! Of every other segment it gets the parts too, which are the segment; what a playlist hints is there
//! when the playlist has moved on; an update on top of what it had is the whole.
//!
//! Not here yet: the invariants of cues (I14) and of stores (I17). I19, that neighbours notice nothing,
//! is a witness at each neighbour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::reader::fragments::{Fragment, Init};
use crate::reader::hls::{Playlist, Rendition};
use crate::reader::{Object, join};
use crate::{Context, Failure, Result};

mod answers;
mod eyes;
mod judge;
pub mod machine;
mod streams;
mod waiter;

use eyes::Eyes;
pub use streams::Stream;

/// An invariant and how it was broken.
type Broken = (&'static str, String);

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// `http://host:port` of the viewers' door.
    pub origin: String,
    /// The channel.
    pub channel: String,
    /// Texts that no answer may hold: keys, paths of the server's machine.
    pub secrets: Vec<String>,
    /// What a segment may be late on top of 1.5 target durations, on a machine that is shared.
    pub slack: Duration,
    /// How long a playlist or manifest may take: it may be held for 3 s while a server starts.
    pub answers_within: Duration,
    /// How often everything is read.
    pub look_every: Duration,
    /// Whether segments may be declared missing, as in a rung that was switched off.
    pub gaps_allowed: bool,
    /// Whether a passed source is cut or lost meanwhile: a segment may end before a part of it that was
    /// hinted, which nobody could know (RFC 8216bis §4.4.5.3 allows for a hint that does not come true).
    pub cuts: bool,
    /// Whether the server is killed meanwhile: an answer that was on its way then is cut off, and what
    /// was asked is asked once more. A connection that is refused is a violation all the same.
    pub kills: bool,
    /// Whether everything is decoded at the end (I24).
    pub decodes: bool,
    /// Whether parts are fetched, hints followed, the next part always waited for, and segments fetched
    /// while they are made.
    pub low_latency: bool,
}

impl Watch {
    /// Watches a channel with the usual slack and no secret.
    pub fn new(origin: &str, channel: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            channel: channel.to_owned(),
            secrets: Vec::new(),
            slack: Duration::from_millis(800),
            answers_within: Duration::from_millis(3_500),
            look_every: Duration::from_millis(200),
            gaps_allowed: false,
            cuts: false,
            kills: false,
            decodes: true,
            low_latency: true,
        }
    }

    /// The same with texts that no answer may hold.
    pub fn with_secrets(mut self, secrets: &[&str]) -> Self {
        self.secrets = secrets.iter().map(|s| (*s).to_owned()).collect();
        self
    }

    /// The same for a channel of which segments may be declared missing.
    pub fn with_gaps(mut self) -> Self {
        self.gaps_allowed = true;
        self
    }

    /// The same for a passed source that is cut where a break begins and ends, or that is lost.
    pub fn with_cuts(mut self) -> Self {
        self.cuts = true;
        self
    }

    /// The same for a server that is killed and started again within `dead`.
    pub fn with_kills(mut self, dead: Duration) -> Self {
        self.kills = true;
        self.slack += dead;
        self.answers_within += dead;
        self
    }

    fn url(&self, file: &str) -> String {
        format!("{}/live/{}/{file}", self.origin, self.channel)
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the fault catalogue, such as `I10`, or the row of the conformance list.
    pub invariant: &'static str,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub text: String,
}

/// A segment that was fetched.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As its playlist names it.
    pub object: Object,
    /// Discontinuity number.
    pub discontinuity: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its boxes.
    pub fragments: Vec<Fragment>,
    /// Ticks per second of its decode times.
    pub timescale: u32,
    /// When it was first seen in the playlist.
    pub listed: Instant,
}

impl Seen {
    /// Decode time of its first sample, in ticks.
    pub fn start(&self) -> u64 {
        self.fragments.first().map_or(0, |f| f.tfdt)
    }

    /// Decode time of its first sample, in nanoseconds.
    pub fn start_ns(&self) -> i64 {
        self.nanos(self.start())
    }

    /// Length of its first sample, in nanoseconds.
    fn frame_ns(&self) -> i64 {
        let first = self.fragments.first().and_then(|f| f.samples.first());
        self.nanos(first.map_or(0, |sample| u64::from(sample.duration)))
    }

    fn nanos(&self, ticks: u64) -> i64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.timescale.max(1))) as i64
    }

    /// Decode time after its last sample, in ticks.
    pub fn end(&self) -> u64 {
        self.fragments.last().map_or(0, Fragment::end)
    }
}

/// Everything of one rendition.
#[derive(Clone, Debug)]
pub struct Track {
    /// Which it is.
    pub rendition: Rendition,
    /// Init segments by address.
    pub inits: BTreeMap<String, (Bytes, Init)>,
    /// Segments by number.
    pub segments: BTreeMap<u64, Seen>,
    /// Parts of segments that are not whole yet, by number and position.
    parts: BTreeMap<u64, BTreeMap<usize, Bytes>>,
    /// Parts of segments up to this number were compared.
    compared: u64,
    /// Segments that the playlist declares missing, by number.
    pub gaps: BTreeMap<u64, Object>,
    /// Numbers that were listed and could not be had.
    missing: Vec<u64>,
    /// Where the next segment is due by the durations of all before, in nanoseconds since the epoch.
    due_ns: Option<i64>,
    /// Its newest playlist, as text and read.
    playlist: Option<(String, Playlist)>,
    /// When its newest segment was first listed.
    newest: Option<Instant>,
}

impl Track {
    fn new(rendition: Rendition) -> Self {
        Self {
            rendition,
            inits: BTreeMap::new(),
            segments: BTreeMap::new(),
            parts: BTreeMap::new(),
            compared: 0,
            gaps: BTreeMap::new(),
            missing: Vec::new(),
            due_ns: None,
            playlist: None,
            newest: None,
        }
    }

    /// Number of the newest segment that was listed.
    fn last_k(&self) -> Option<u64> {
        let last = [self.segments.keys().next_back(), self.gaps.keys().next_back()];
        last.into_iter().flatten().chain(&self.missing).copied().max()
    }

    /// Init segment and segments of each run, joined in order.
    fn runs(&self) -> Vec<Vec<u8>> {
        let one = |(address, (init, _)): (&String, &(Bytes, Init))| {
            let same = self.segments.values().filter(|s| s.object.init == *address);
            join(init, &same.map(|s| s.bytes.clone()).collect::<Vec<_>>())
        };
        self.inits.iter().map(one).collect()
    }

    /// Init segment and all segments of the newest init segment, joined in order.
    ///
    /// # Errors
    /// If there is none.
    pub fn joined(&self) -> Result<Vec<u8>> {
        let name = &self.rendition.name;
        let last = self.segments.values().next_back().context(format!("no segment of {name}"))?;
        let (init, _) = self.inits.get(&last.object.init).context("its init segment")?;
        let same = self.segments.values().filter(|s| s.object.init == last.object.init);
        Ok(join(init, &same.map(|s| s.bytes.clone()).collect::<Vec<_>>()))
    }

    /// Ticks per second.
    ///
    /// # Errors
    /// If no init segment was fetched.
    pub fn timescale(&self) -> Result<u32> {
        let (_, init) = self.inits.values().next().context("an init segment")?;
        Ok(init.timescale)
    }
}

/// All that a witness has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The renditions, in the order of the multivariant playlist.
    pub tracks: Vec<Track>,
    /// The multivariant playlist.
    pub multivariant: String,
    /// Each new text of the MPD.
    pub manifests: Vec<String>,
    /// Segments that were fetched while they were made.
    pub streams: Vec<Stream>,
    /// Invariants that did not hold.
    pub violations: Vec<Violation>,
}

impl Record {
    /// The track of a rendition.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn track(&self, name: &str) -> Result<&Track> {
        self.tracks.iter().find(|t| t.rendition.name == name).context(format!("rendition {name}"))
    }

    /// Fails unless every invariant held and something was seen at all.
    ///
    /// # Errors
    /// With all violations.
    pub fn clean(&self) -> Result {
        if self.tracks.is_empty() || self.tracks.iter().any(|t| t.segments.is_empty()) {
            return Err(Failure::new("the witness saw no segment of some rendition"));
        }
        if self.violations.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = self
            .violations
            .iter()
            .map(|v| format!("{} {}: {}", v.at_ms, v.invariant, v.text))
            .collect();
        Err(Failure::new(format!("invariants broken:\n{}", lines.join("\n"))))
    }
}

/// A witness at work.
#[derive(Debug)]
pub struct Witness {
    told: Arc<Told>,
    thread: Option<JoinHandle<Record>>,
}

/// What a witness is told while it watches.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    state: Mutex<Option<(String, Instant)>>,
}

impl Told {
    /// The state that the channel is in, and since when.
    fn state(&self) -> Option<(String, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Witness {
    /// Starts to watch. A channel that is not there yet is waited for.
    pub fn start(watch: Watch) -> Self {
        let told = Arc::new(Told::default());
        let heard = Arc::clone(&told);
        let thread = std::thread::spawn(move || Eyes::new(watch, heard).watch());
        Self { told, thread: Some(thread) }
    }

    /// Says what state the channel is in from now on, such as `live`: `status.json` has to say so
    /// within two seconds, and until told otherwise (I20).
    pub fn expect(&self, state: &str) {
        let mut told = self.told.state.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some((state.to_owned(), Instant::now()));
    }

    /// Ends the watch, fetches everything a last time (I1) and gives what was seen.
    ///
    /// # Errors
    /// If the witness itself failed.
    pub fn finish(mut self) -> Result<Record> {
        self.told.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a witness at work")?;
        thread.join().map_err(|_| Failure::new("the witness panicked"))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.told.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its test has failed already.
            let _ = thread.join();
        }
    }
}
