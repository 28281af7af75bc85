//! A viewer with low latency beside the other eyes: it always asks for the part that comes next, and
//! so sees every answer that is held (I13, rows HL-10, HL-15 and HL-16).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Told, Violation, Watch};
use crate::client::Client;
use crate::reader::hls::{self, Playlist, Rendition};
use crate::{Result, clock};

/// Violations after which it says no more.
const MOST_VIOLATIONS: usize = 10;
/// How long it waits before it asks again where the server says so, or is not there.
const AGAIN: Duration = Duration::from_millis(200);
/// Target durations for which a request may be held.
const HELD_TARGETS: u64 = 3;

/// Starts to wait for the parts of a rendition; gives what was wrong when told to stop.
pub(super) fn start(
    watch: Watch,
    rendition: Rendition,
    told: Arc<Told>,
) -> JoinHandle<Vec<Violation>> {
    let waiter = Waiter { watch, rendition, client: Client::new(), violations: Vec::new() };
    std::thread::spawn(move || waiter.wait(&told))
}

struct Waiter {
    watch: Watch,
    rendition: Rendition,
    client: Client,
    violations: Vec<Violation>,
}

impl Waiter {
    fn wait(mut self, told: &Told) -> Vec<Violation> {
        let mut known: Option<Playlist> = None;
        while !told.stop.load(Ordering::Relaxed) {
            // What can't be had at all is the other eyes' to note.
            known = self.step(known).unwrap_or(None);
            if known.is_none() {
                std::thread::sleep(AGAIN);
            }
        }
        self.violations
    }

    /// Asks for what comes after `known`; gives what the playlist is then, if there is more to come.
    fn step(&mut self, known: Option<Playlist>) -> Result<Option<Playlist>> {
        let plain = self.rendition.url.clone();
        let next = known.as_ref().filter(|playlist| playlist.hint.is_some()).map(after);
        let url = match next {
            Some((msn, part)) => format!("{plain}?_HLS_msn={msn}&_HLS_part={part}"),
            None => plain.clone(),
        };
        let asked = Instant::now();
        let answer = self.client.get(&url)?;
        let took = asked.elapsed();
        if answer.status == 400 {
            self.violation("HL-12", format!("{url}: the part that comes next is refused"));
        }
        if answer.status != 200 {
            return Ok(None);
        }
        let text = answer.text()?;
        let playlist = hls::media(&plain, &text)?;
        if playlist.ended {
            return Ok(None);
        }
        let Some(wanted) = next else { return Ok(Some(playlist)) };
        let bound = Duration::from_secs(HELD_TARGETS * playlist.target) + self.watch.slack;
        if took > bound {
            self.violation("HL-15", format!("{url}: held for {took:?}"));
        }
        if after(&playlist) <= wanted {
            self.violation("HL-10", format!("{url}: answered without it"));
        }
        let cached = answer.header("cache-control").unwrap_or_default();
        let allowed = [format!("max-age={}", 6 * playlist.target), "max-age=1".to_owned()];
        if !allowed.iter().any(|allowed| allowed == cached) {
            self.violation("HT-03", format!("{url}: Cache-Control {cached:?}"));
        }
        // HL-16: what has just been listed is there.
        if let Some(part) = playlist.parts.last() {
            let answer = self.client.get(&part.url)?;
            if answer.status != 200 {
                self.violation("HL-16", format!("{}: listed, status {}", part.url, answer.status));
            }
        }
        Ok(Some(playlist))
    }

    fn violation(&mut self, invariant: &'static str, text: String) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(Violation { invariant, at_ms: clock::now_ms(), text });
        }
    }
}

/// The number of the segment and the position of the part that come next.
fn after(playlist: &Playlist) -> (u64, usize) {
    let whole = playlist.sequence + playlist.objects.len() as u64;
    let open = playlist.parts.iter().filter(|part| part.k == whole).count();
    (whole, open)
}
