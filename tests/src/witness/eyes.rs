//! The watching itself: what is read when, and what the judges are asked about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Broken, Record, Seen, Stream, Told, Track, Violation, Watch, answers, judge, streams, waiter,
};
use crate::client::{Client, Response};
use crate::reader::dash::{self, Manifest};
use crate::reader::hls::Playlist;
use crate::reader::{Object, ffmpeg, fragments, hls};
use crate::{Context, Failure, Result, clock, rules};

/// Violations after which it says no more: the first ones tell the story.
const MOST_VIOLATIONS: usize = 40;
/// How long a state may take to be told (I20).
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// Servers that may die over one question where they are killed: some do as soon as they are up.
const DEATHS_IN_A_ROW: u32 = 5;
/// A segment that has left its playlist is looked at this long before it may go, so that the look
/// itself is not late.
const BEFORE_IT_GOES: Duration = Duration::from_millis(1_500);
/// Of one in so many segments the parts are fetched as well.
const PARTS_OF_EVERY: u64 = 2;
/// How often an update of a playlist is asked for.
const UPDATE_EVERY: Duration = Duration::from_secs(5);

/// The eyes of a witness.
pub(super) struct Eyes {
    watch: Watch,
    told: Arc<Told>,
    client: Client,
    hashes: BTreeMap<String, [u8; 32]>,
    /// Segments that have left their playlists: when they are to be looked at again.
    left: Vec<(Instant, String)>,
    /// When the last update was asked for.
    updated: Instant,
    waiter: Option<JoinHandle<Vec<Violation>>>,
    /// The segment that is being fetched while it is made.
    streaming: Option<JoinHandle<Result<Stream>>>,
    record: Record,
}

impl Eyes {
    pub(super) fn new(watch: Watch, told: Arc<Told>) -> Self {
        Self {
            client: if watch.kills { Client::afresh() } else { Client::new() },
            watch,
            told,
            hashes: BTreeMap::new(),
            left: Vec::new(),
            updated: Instant::now(),
            waiter: None,
            streaming: None,
            record: Record::default(),
        }
    }

    pub(super) fn watch(mut self) -> Record {
        while !self.told.stop.load(Ordering::Relaxed) {
            self.look();
            std::thread::sleep(self.watch.look_every);
        }
        self.look();
        if let Some(last) = self.streaming.take() {
            self.note_stream(last);
        }
        self.look_back();
        if let Some(waiter) = self.waiter.take() {
            match waiter.join() {
                Ok(violations) => self.record.violations.extend(violations),
                Err(_) => self.violation("I13", "the waiter panicked"),
            }
        }
        if self.watch.decodes {
            self.decode();
        }
        self.record
    }

    /// An answer; to a question asked again if the server may have died over it, and over it again.
    fn ask(&self, ask: impl Fn(&Client) -> Result<Response>) -> Result<Response> {
        let refused = |failure: &Failure| failure.to_string().contains("refused");
        let mut again = if self.watch.kills { DEATHS_IN_A_ROW } else { 0 };
        loop {
            match ask(&self.client) {
                Err(failure) if again > 0 && !refused(&failure) => again -= 1,
                answer => return answer,
            }
        }
    }

    fn violation(&mut self, invariant: &'static str, text: impl Into<String>) {
        let text = text.into();
        let violations = &mut self.record.violations;
        let known = violations.iter().any(|v| v.invariant == invariant && v.text == text);
        if violations.len() < MOST_VIOLATIONS && !known {
            violations.push(Violation { invariant, at_ms: clock::now_ms(), text });
        }
    }

    fn broken(&mut self, url: &str, broken: impl IntoIterator<Item = Broken>) {
        for (invariant, text) in broken {
            self.violation(invariant, format!("{url}: {text}"));
        }
    }

    /// Notes broken rows of the conformance list.
    fn rows(&mut self, url: &str, broken: Vec<rules::Violation>) {
        self.broken(url, broken.into_iter().map(|rules::Violation { row, text }| (row, text)));
    }

    /// I6: what can't be had or read though it was promised.
    fn expect(&mut self, outcome: Result) {
        if let Err(failure) = outcome {
            self.violation("I6", failure.to_string());
        }
    }

    /// Reads everything once. What fails is noted and does not keep it from the rest.
    fn look(&mut self) {
        if self.record.tracks.is_empty() {
            let arrived = self.arrive();
            self.expect(arrived);
        }
        if self.record.tracks.is_empty() {
            return;
        }
        for index in 0..self.record.tracks.len() {
            let looked = self.look_at_playlist(index);
            self.expect(looked);
        }
        for (invariant, text) in judge::agreement(&self.record.tracks) {
            self.violation(invariant, text);
        }
        let looked = self.look_at_manifest();
        self.expect(looked);
        let looked = self.look_at_state();
        self.expect(looked);
        self.look_at_what_left();
    }

    /// Reads the multivariant playlist for the first time, if there is one.
    fn arrive(&mut self) -> Result {
        let url = self.watch.url("index.m3u8");
        let answer = self.ask(|client| client.get(&url))?;
        if answer.status == 404 {
            return Ok(());
        }
        let Some(text) = self.text(&url, answer)? else { return Ok(()) };
        self.rows(&url, rules::hls::check_multivariant(&text));
        self.record.tracks = hls::multivariant(&url, &text)?.into_iter().map(Track::new).collect();
        self.record.multivariant = text;
        if let Some(track) = self.record.tracks.first().filter(|_| self.watch.low_latency) {
            let rendition = track.rendition.clone();
            self.waiter =
                Some(waiter::start(self.watch.clone(), rendition, Arc::clone(&self.told)));
        }
        Ok(())
    }

    /// A playlist or manifest; `None` if the server asks to come again.
    fn reload(&mut self, url: &str) -> Result<Option<String>> {
        let asked = Instant::now();
        let answer = self.ask(|client| client.get(url))?;
        let took = asked.elapsed();
        if took > self.watch.answers_within {
            self.violation("I13", format!("{url}: a plain reload was held for {took:?}"));
        }
        self.text(url, answer)
    }

    /// What holds for every answer.
    fn judge(&mut self, url: &str, answer: &Response) {
        self.broken(url, answers::any(answer, &self.watch.secrets));
        let path = url.strip_prefix(&self.watch.origin).unwrap_or(url);
        let mut broken = rules::http::check(path, answer);
        broken.extend(rules::http::check_error(answer));
        self.rows(url, broken);
    }

    fn text(&mut self, url: &str, answer: Response) -> Result<Option<String>> {
        self.judge(url, &answer);
        if answer.status == 503 { Ok(None) } else { answer.ok(url)?.text().map(Some) }
    }

    fn look_at_playlist(&mut self, index: usize) -> Result {
        let url = self.record.tracks[index].rendition.url.clone();
        let Some(text) = self.reload(&url)? else {
            self.judge_pace(index, Instant::now());
            return Ok(());
        };
        let now = Instant::now();
        let before = self.record.tracks[index].playlist.clone();
        if before.as_ref().is_some_and(|(known, _)| *known == text) {
            self.judge_pace(index, now);
            return Ok(());
        }
        if let Some(half) = answers::whole(&text) {
            self.broken(&url, [half]);
            return Ok(());
        }
        let playlist = hls::media(&url, &text)?;
        self.broken(&url, judge::playlist(&playlist, self.watch.gaps_allowed));
        let mut broken = rules::hls::check_media(&text);
        if let Some((known, before)) = &before {
            self.broken(&url, judge::change(before, &playlist));
            broken.extend(rules::hls::check_sequence(known, &text));
            self.note_left(before, playlist.sequence, now);
        }
        self.rows(&url, broken);
        let known = self.record.tracks[index].last_k();
        for (position, object) in playlist.objects.iter().enumerate() {
            if known.is_some_and(|known| object.k <= known) {
                continue;
            }
            if object.gap {
                self.record.tracks[index].gaps.insert(object.k, object.clone());
            } else {
                let discontinuity = playlist.discontinuity_of(position);
                if let Err(failure) = self.fetch_segment(index, object, discontinuity, now) {
                    self.violation("I6", failure.to_string());
                    self.record.tracks[index].missing.push(object.k);
                }
            }
            self.count(index, object);
            self.record.tracks[index].newest = Some(now);
        }
        if self.watch.low_latency {
            self.look_at_parts(index, &playlist, before.as_ref().map(|(_, before)| before));
            if now.duration_since(self.updated) > UPDATE_EVERY && playlist.hint.is_some() {
                self.updated = now;
                let looked = self.look_at_update(&url, &text);
                self.expect(looked);
            }
        }
        self.record.tracks[index].playlist = Some((text, playlist));
        self.judge_pace(index, now);
        Ok(())
    }

    /// I6: what was hinted is there, and HL-07: a segment is its parts.
    fn look_at_parts(&mut self, index: usize, playlist: &Playlist, before: Option<&Playlist>) {
        let run = |url: &str| url.rsplitn(3, '/').nth(2).map(str::to_owned);
        let segment = |url: &str| url.rsplit('/').next()?.split('.').next().map(str::to_owned);
        let old = before.and_then(|before| before.hint.clone());
        // One of a run that has ended is not listed any more.
        if let (Some(hint), Some(now)) = (old, &playlist.hint)
            && hint != *now
            && run(&hint) == run(now)
            && !(self.watch.cuts && segment(&hint) != segment(now))
        {
            let outcome = self.object(&hint).map(drop).context("it was hinted");
            self.expect(outcome);
        }
        let compared = self.record.tracks[index].compared;
        let is_new = |k: u64| k > compared && k.is_multiple_of(PARTS_OF_EVERY);
        for part in playlist.parts.iter().filter(|part| is_new(part.k)) {
            let known = self.record.tracks[index].parts.get(&part.k);
            if known.is_some_and(|known| known.contains_key(&part.n)) {
                continue;
            }
            match self.object(&part.url) {
                Ok(bytes) => {
                    let parts = self.record.tracks[index].parts.entry(part.k).or_default();
                    parts.insert(part.n, bytes);
                }
                Err(failure) => self.violation("I6", failure.to_string()),
            }
        }
        let track = &mut self.record.tracks[index];
        let mut broken = Vec::new();
        // Those of whole segments are known to the last, unless the first of them were missed.
        let whole = playlist.sequence + playlist.objects.len() as u64;
        while let Some(parts) = track.parts.first_entry().filter(|parts| *parts.key() < whole) {
            let (k, parts) = parts.remove_entry();
            track.compared = k;
            let listed = playlist.parts.iter().filter(|part| part.k == k).count();
            if let Some(seen) = track.segments.get(&k).filter(|_| listed == parts.len()) {
                let parts: Vec<&[u8]> = parts.values().map(Bytes::as_ref).collect();
                broken.extend(rules::hls::check_parts(&seen.bytes, &parts));
            }
        }
        let name = track.rendition.name.clone();
        self.rows(&name, broken);
    }

    /// HL-17, HL-18: an update on top of the playlist that was just read is the whole of now.
    fn look_at_update(&mut self, url: &str, before: &str) -> Result {
        for skip in ["YES", "v2"] {
            let url = format!("{url}?_HLS_skip={skip}");
            let Some(update) = self.reload(&url)? else { continue };
            let mut broken = rules::hls::check_media(&update);
            match rules::hls::merged(before, &update) {
                Some(merged) => {
                    broken.extend(rules::hls::check_media(&merged));
                    broken.extend(rules::hls::check_sequence(before, &merged));
                }
                None => self.violation("HL-18", format!("{url}: leaves out what nobody had")),
            }
            self.rows(&url, broken);
        }
        Ok(())
    }

    /// I7: a segment stands where all durations before it end.
    fn count(&mut self, index: usize, object: &Object) {
        let frame_ns = judge::longest_frame_ns(&self.record.tracks);
        let track = &mut self.record.tracks[index];
        let name = track.rendition.name.clone();
        let lost = judge::account(&mut track.due_ns, object, frame_ns);
        self.broken(&name, lost);
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
        let seen =
            Seen { object: object.clone(), discontinuity, bytes, fragments, timescale, listed };
        let judged = judge::segment(track, &seen);
        self.broken(&object.url, judged);
        self.record.tracks[index].segments.insert(object.k, seen);
        Ok(())
    }

    /// Gets a media object: I6 it is there, I1 it is what it was, I15 it may be kept for ever.
    fn object(&mut self, url: &str) -> Result<Bytes> {
        let answer = self.ask(|client| client.get(url))?;
        self.judge(url, &answer);
        let answer = answer.ok(url)?;
        self.broken(url, answers::media(&answer));
        let hash: [u8; 32] = Sha256::digest(&answer.body).into();
        if *self.hashes.entry(url.to_owned()).or_insert(hash) != hash {
            self.violation("I1", format!("{url}: other bytes than before"));
        }
        Ok(answer.body)
    }

    /// I6: what leaves a playlist stays for its own length and that of the playlist (HP-06). It is
    /// looked at when it has left, and shortly before it may go.
    fn note_left(&mut self, before: &Playlist, first: u64, now: Instant) {
        let listed: f64 = before.objects.iter().map(|o| o.duration).sum();
        for object in before.objects.iter().filter(|o| o.k < first && !o.gap) {
            let stays = Duration::from_secs_f64(listed + object.duration);
            self.left.push((now, object.url.clone()));
            self.left.push((now + stays.saturating_sub(BEFORE_IT_GOES), object.url.clone()));
        }
    }

    fn look_at_what_left(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.left.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, url) in due {
            let outcome = self.object(&url).map(drop).context("it has left the playlist");
            self.expect(outcome);
        }
    }

    /// I12: what the MPD implies is what HLS lists, by the same addresses.
    fn look_at_manifest(&mut self) -> Result {
        let url = self.watch.url("manifest.mpd");
        let Some(text) = self.reload(&url)? else { return Ok(()) };
        if !text.trim_end().ends_with("</MPD>") {
            self.violation("I21", format!("{url}: it has no end"));
            return Ok(());
        }
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
        self.look_at_stream(&manifest, now_ns);
        self.newest_of(&manifest, now_ns)
    }

    /// Fetches one segment at a time while it is made, of each representation in turn.
    fn look_at_stream(&mut self, manifest: &Manifest, now_ns: i64) {
        if let Some(ended) = self.streaming.take_if(|streaming| streaming.is_finished()) {
            self.note_stream(ended);
        }
        let newest = manifest.representations.last().map(|last| &last.period);
        let open: Vec<_> =
            manifest.representations.iter().filter(|r| Some(&r.period) == newest).collect();
        let turn = self.record.streams.len() % open.len().max(1);
        let Some(representation) = open.get(turn).filter(|r| r.end_number.is_none()) else {
            return;
        };
        let goes_on = !self.told.stop.load(Ordering::Relaxed);
        if self.watch.low_latency && goes_on && self.streaming.is_none() {
            self.streaming = streams::fetch(&self.client, manifest, representation, now_ns);
        }
    }

    /// I12: the newest segment that the MPD implies exists, half a second after it says so.
    fn newest_of(&mut self, manifest: &Manifest, now_ns: i64) -> Result {
        const GRACE_NS: i64 = 500_000_000;
        for representation in &manifest.representations {
            let Some(k) = representation.available(manifest, now_ns - GRACE_NS).pop() else {
                continue;
            };
            let object = representation.object(k);
            let answer = self.ask(|client| client.head(&object.url))?;
            if answer.status != 200 {
                let text = format!("{}: implied by the MPD, status {}", object.url, answer.status);
                self.violation("I12", text);
            }
        }
        Ok(())
    }

    fn note_stream(&mut self, ended: JoinHandle<Result<Stream>>) {
        match ended.join() {
            Ok(Ok(stream)) => {
                self.judge(&stream.url, &stream.streamed.response);
                self.broken(&stream.url, streams::judge(&stream));
                self.record.streams.push(stream);
            }
            // A body that breaks off is that of a server that was killed: nobody takes it for whole.
            Ok(Err(_)) if self.watch.kills => {}
            Ok(Err(failure)) => self.violation("I6", format!("a segment that is made: {failure}")),
            Err(_) => self.violation("I6", "a fetch of a segment that is made panicked"),
        }
    }

    /// I20: the state that is told is the one that the test knows.
    fn look_at_state(&mut self) -> Result {
        let Some((state, since)) = self.told.state() else { return Ok(()) };
        let bound = TOLD_WITHIN + self.watch.slack;
        let url = self.watch.url("status.json");
        let asked = Instant::now();
        let answer = self.ask(|client| client.get(&url))?;
        let Some(text) = self.text(&url, answer)? else { return Ok(()) };
        let told: serde_json::Value = serde_json::from_str(&text).context(&url)?;
        // What was asked before the time was up, or while the test changed its mind, counts not.
        let is_due = asked.duration_since(since) > bound
            && self.told.state() == Some((state.clone(), since));
        if is_due && told["state"] != state.as_str() {
            let text = format!("{url}: says {}, it is {state}", told["state"]);
            self.violation("I20", text);
        }
        Ok(())
    }

    /// I1: gets every object that is still listed once more.
    fn look_back(&mut self) {
        let mut urls = Vec::new();
        for track in &self.record.tracks {
            let Some((_, playlist)) = &track.playlist else { continue };
            for object in playlist.objects.iter().filter(|o| track.segments.contains_key(&o.k)) {
                urls.extend([object.url.clone(), object.init.clone()]);
            }
        }
        urls.dedup();
        for url in urls {
            let outcome = self.object(&url).map(drop);
            self.expect(outcome);
        }
    }

    /// I24: every run of every rendition decodes without a complaint.
    fn decode(&mut self) {
        for index in 0..self.record.tracks.len() {
            let track = &self.record.tracks[index];
            let name = track.rendition.name.clone();
            let outcomes: Vec<Result> =
                track.runs().iter().map(|joined| ffmpeg::decodes(joined)).collect();
            for failure in outcomes.into_iter().filter_map(Result::err) {
                self.violation("I24", format!("{name}: {failure}"));
            }
        }
    }
}
