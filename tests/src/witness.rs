//! The witness: a client that watches a channel through a whole test and knows what must never
//! happen to it.
//!
//! It reads every playlist and manifest a few times a second and fetches each object when it is
//! first named, so it sees the channel as a very attentive player would. The invariants have the
//! numbers of the fault catalogue: I1 one address, one content · I2 numbers never fall · I3 lists
//! only grow at the tail and shrink at the head · I4 constants stay · I5 segments come in time ·
//! I6 what is listed is there · I8 renditions agree · I9 decode times go on without a hole ·
//! I10 dates go on without a hole · I12 HLS and DASH name the same · I15 cache headers ·
//! I16 no secret in an answer. Everything it reads is judged by the [`rules`] too. What it has fetched stays in its [`Record`] for other readers.
//!
//! Not here yet: the invariants of parts and blocking reloads (I7, I13), of cues (I14), of stores
//! (I17) and of resources (I18).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::client::{Client, Response};
use crate::reader::dash::{self, Manifest};
use crate::reader::fragments::{self, Fragment, Init};
use crate::reader::hls::{self, Playlist, Rendition};
use crate::reader::{Object, join};
use crate::{Context, Failure, Result, clock, rules};

mod judge;

/// How often everything is read: a few times per segment of the tests.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Violations after which it says no more: the first ones tell the story.
const MOST_VIOLATIONS: usize = 40;

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
}

impl Watch {
    /// Watches a channel with the usual slack and no secret.
    pub fn new(origin: &str, channel: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            channel: channel.to_owned(),
            secrets: Vec::new(),
            slack: Duration::from_millis(800),
        }
    }

    /// The same with texts that no answer may hold.
    pub fn with_secrets(mut self, secrets: &[&str]) -> Self {
        self.secrets = secrets.iter().map(|s| (*s).to_owned()).collect();
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
    /// When it was first seen in the playlist.
    pub listed: Instant,
}

impl Seen {
    /// Decode time of its first sample, in ticks.
    pub fn start(&self) -> u64 {
        self.fragments.first().map_or(0, |f| f.tfdt)
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
    /// Its newest playlist, as text and read.
    playlist: Option<(String, Playlist)>,
    /// When its newest segment was first listed.
    newest: Option<Instant>,
}

impl Track {
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
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Record>>,
}

impl Witness {
    /// Starts to watch. A channel that is not there yet is waited for.
    pub fn start(watch: Watch) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || Eyes::new(watch).watch(&told));
        Self { stop, thread: Some(thread) }
    }

    /// Ends the watch, fetches everything a last time (I1) and gives what was seen.
    ///
    /// # Errors
    /// If the witness itself failed.
    pub fn finish(mut self) -> Result<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a witness at work")?;
        thread.join().map_err(|_| Failure::new("the witness panicked"))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its test has failed already.
            let _ = thread.join();
        }
    }
}

struct Eyes {
    watch: Watch,
    client: Client,
    hashes: BTreeMap<String, [u8; 32]>,
    record: Record,
}

impl Eyes {
    fn new(watch: Watch) -> Self {
        let record = Record::default();
        Self { watch, client: Client::new(), hashes: BTreeMap::new(), record }
    }

    fn watch(mut self, stop: &AtomicBool) -> Record {
        while !stop.load(Ordering::Relaxed) {
            if let Err(failure) = self.look() {
                self.violation("I6", failure.to_string());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if let Err(failure) = self.look().and_then(|()| self.look_back()) {
            self.violation("I1", failure.to_string());
        }
        self.record
    }

    fn violation(&mut self, invariant: &'static str, text: impl Into<String>) {
        let text = text.into();
        let violations = &mut self.record.violations;
        let known = violations.iter().any(|v| v.invariant == invariant && v.text == text);
        if violations.len() < MOST_VIOLATIONS && !known {
            violations.push(Violation { invariant, at_ms: clock::now_ms(), text });
        }
    }

    /// Notes broken rows of the conformance list.
    fn rows(&mut self, url: &str, broken: Vec<rules::Violation>) {
        for rules::Violation { row, text } in broken {
            self.violation(row, format!("{url}: {text}"));
        }
    }

    /// Reads everything once.
    fn look(&mut self) -> Result {
        if self.record.tracks.is_empty() && !self.arrive()? {
            return Ok(());
        }
        for index in 0..self.record.tracks.len() {
            self.look_at_playlist(index)?;
        }
        for (invariant, text) in judge::agreement(&self.record.tracks) {
            self.violation(invariant, text);
        }
        self.look_at_manifest()
    }

    /// Reads the multivariant playlist for the first time; false while there is none.
    fn arrive(&mut self) -> Result<bool> {
        let url = self.watch.url("index.m3u8");
        let answer = self.client.get(&url)?;
        if answer.status == 404 {
            return Ok(false);
        }
        let answer = self.answer(&url, answer)?;
        self.record.multivariant = answer.text()?;
        self.rows(&url, rules::hls::check_multivariant(&self.record.multivariant));
        for rendition in hls::multivariant(&url, &self.record.multivariant)? {
            self.record.tracks.push(Track {
                rendition,
                inits: BTreeMap::new(),
                segments: BTreeMap::new(),
                playlist: None,
                newest: None,
            });
        }
        Ok(true)
    }

    fn look_at_playlist(&mut self, index: usize) -> Result {
        let url = self.record.tracks[index].rendition.url.clone();
        let answer = self.client.get(&url)?;
        let text = self.answer(&url, answer)?.text()?;
        let now = Instant::now();
        let before = self.record.tracks[index].playlist.clone();
        if before.as_ref().is_some_and(|(known, _)| *known == text) {
            self.judge_pace(index, now);
            return Ok(());
        }
        let playlist = hls::media(&url, &text)?;
        if let Some((_, before)) = &before {
            for (invariant, text) in judge::change(before, &playlist) {
                self.violation(invariant, format!("{url}: {text}"));
            }
        }
        for (invariant, text) in judge::playlist(&playlist) {
            self.violation(invariant, format!("{url}: {text}"));
        }
        let mut broken = rules::hls::check_media(&text);
        if let Some((before, _)) = &before {
            broken.extend(rules::hls::check_sequence(before, &text));
        }
        self.rows(&url, broken);
        let known = self.record.tracks[index].segments.keys().next_back().copied();
        for (position, object) in playlist.objects.iter().enumerate() {
            if object.gap || known.is_some_and(|known| object.k <= known) {
                continue;
            }
            let discontinuity = playlist.discontinuity_of(position);
            self.fetch_segment(index, object, discontinuity, now)?;
            self.record.tracks[index].newest = Some(now);
        }
        self.record.tracks[index].playlist = Some((text, playlist));
        self.judge_pace(index, now);
        Ok(())
    }

    /// I5: a live channel lists a segment at least every 1.5 target durations.
    fn judge_pace(&mut self, index: usize, now: Instant) {
        let track = &self.record.tracks[index];
        let (Some((_, playlist)), Some(newest)) = (&track.playlist, track.newest) else { return };
        let bound = Duration::from_millis(playlist.target * 1500) + self.watch.slack;
        if !playlist.ended && now.duration_since(newest) > bound {
            let last = playlist.objects.last().map_or(0, |o| o.k);
            let name = track.rendition.name.clone();
            self.violation("I5", format!("{name}: no segment for {bound:?} after {last}"));
        }
    }

    fn fetch_segment(
        &mut self,
        index: usize,
        object: &Object,
        discontinuity: u64,
        listed: Instant,
    ) -> Result {
        if !self.record.tracks[index].inits.contains_key(&object.init) {
            let bytes = self.object(&object.init)?;
            let init = fragments::read_init(&bytes).context(&object.init)?;
            self.rows(&object.init, rules::cmaf::check_init(&bytes));
            self.record.tracks[index].inits.insert(object.init.clone(), (bytes, init));
        }
        let bytes = self.object(&object.url)?;
        let video = !self.record.tracks[index].rendition.audio;
        let alone = BTreeMap::from([(object.k, bytes.as_ref())]);
        self.rows(&object.url, rules::cmaf::check_segments(video, &alone));
        let track = &self.record.tracks[index];
        let (_, init) = track.inits.get(&object.init).context("init segment")?;
        let fragments = fragments::read_segment(init, &bytes).context(&object.url)?;
        let timescale = init.timescale;
        let seen = Seen { object: object.clone(), discontinuity, bytes, fragments, listed };
        let before = track.segments.values().next_back();
        let judged = judge::segment(before, &seen, timescale, track.rendition.audio);
        for (invariant, text) in judged {
            self.violation(invariant, format!("{}: {text}", object.url));
        }
        self.record.tracks[index].segments.insert(object.k, seen);
        Ok(())
    }

    /// Gets a media object: I6 it is there, I1 it is what it was, I15 it may be kept for ever.
    fn object(&mut self, url: &str) -> Result<Bytes> {
        let answer = self.client.get(url)?;
        let answer = self.answer(url, answer)?;
        let cache = answer.header("cache-control").unwrap_or("");
        if !cache.contains("immutable") {
            self.violation("I15", format!("{url}: Cache-Control is {cache:?}"));
        }
        if answer.header("etag").is_none() {
            self.violation("I15", format!("{url}: no ETag"));
        }
        let hash: [u8; 32] = Sha256::digest(&answer.body).into();
        if *self.hashes.entry(url.to_owned()).or_insert(hash) != hash {
            self.violation("I1", format!("{url}: other bytes than before"));
        }
        Ok(answer.body)
    }

    /// What holds for every answer; gives it if its status is 200.
    fn answer(&mut self, url: &str, answer: Response) -> Result<Response> {
        if answer.header("set-cookie").is_some() {
            self.violation("I15", format!("{url}: a cookie"));
        }
        if answer.header("cache-control").is_none() {
            self.violation("I15", format!("{url}: no Cache-Control"));
        }
        if answer.header("access-control-allow-origin").is_none() {
            self.violation("I15", format!("{url}: no CORS"));
        }
        for secret in self.watch.secrets.clone() {
            let in_head = answer.headers.iter().any(|(_, value)| value.contains(&secret));
            let in_body = answer.body.windows(secret.len()).any(|w| w == secret.as_bytes());
            if in_head || in_body {
                self.violation("I16", format!("{url}: a secret"));
            }
        }
        answer.ok(url)
    }

    /// I12: what the MPD implies is what HLS lists, by the same addresses.
    fn look_at_manifest(&mut self) -> Result {
        let url = self.watch.url("manifest.mpd");
        let answer = self.client.get(&url)?;
        let text = self.answer(&url, answer)?.text()?;
        let manifest = dash::manifest(&url, &text)?;
        if self.record.manifests.last() != Some(&text) {
            let mut broken = rules::dash::check(&text);
            if let Some(before) = self.record.manifests.last() {
                broken.extend(rules::dash::check_sequence(before, &text));
            }
            self.rows(&url, broken);
            self.record.manifests.push(text);
        }
        let now_ns = (clock::now_ms() * 1_000_000) as i64;
        for (invariant, text) in judge::manifest(&self.record.tracks, &manifest, now_ns) {
            self.violation(invariant, text);
        }
        self.newest_of(&manifest, now_ns)
    }

    /// I12: the newest segment that the MPD implies exists, half a second after it says so.
    fn newest_of(&mut self, manifest: &Manifest, now_ns: i64) -> Result {
        const GRACE_NS: i64 = 500_000_000;
        for representation in &manifest.representations {
            let Some(k) = representation.available(manifest, now_ns - GRACE_NS).pop() else {
                continue;
            };
            let object = representation.object(k);
            let answer = self.client.head(&object.url)?;
            if answer.status != 200 {
                let text = format!("{}: implied by the MPD, status {}", object.url, answer.status);
                self.violation("I12", text);
            }
        }
        Ok(())
    }

    /// Gets every object that is still listed once more.
    fn look_back(&mut self) -> Result {
        let mut urls = Vec::new();
        for track in &self.record.tracks {
            let Some((_, playlist)) = &track.playlist else { continue };
            for object in playlist.objects.iter().filter(|o| !o.gap) {
                urls.extend([object.url.clone(), object.init.clone()]);
            }
        }
        urls.dedup();
        for url in urls {
            self.object(&url)?;
        }
        Ok(())
    }
}
