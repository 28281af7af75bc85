//! The sessions there are: how many may be, how they are found again, changed and ended, and how they go.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use packager::media::Name;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::asking::{Patched, Refusal};
use super::link::{Credentials, Link};
use super::random::Random;
use super::session::Shown;
use super::{PASSWORD, UFRAG, WebRtc, lock, sdp};

/// Publishers at one time: a session of theirs is cheap, the channel behind it is bounded elsewhere.
const MAX_PUBLISHERS: usize = 256;
/// Of one channel: the newest takes over, and those who can't connect are forgotten in a moment.
const MAX_PUBLISHERS_OF_CHANNEL: usize = 8;
/// Sessions of one address that have not connected: a browser takes less than a second for it, and who never
/// does is forgotten after fifteen. So nobody takes all the room by asking alone.
const MAX_UNCONNECTED_OF_ADDRESS: usize = 16;

/// How a session goes, for operators.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// The first characters of its name, which are not enough to end it.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// How long it has been there, in seconds.
    pub seconds: u64,
    /// Whether media flows.
    pub connected: bool,
    /// Name of the rendition that is sent.
    pub rendition: String,
    /// Pictures sent.
    pub pictures: u64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of payload sent.
    pub bytes: u64,
    /// Bits per second, since it began.
    pub bitrate: u64,
    /// Requests for packets to be sent again.
    pub nacks: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Requests for a key frame.
    pub key_frame_requests: u64,
    /// Packets lost, by its last report, in percent.
    pub loss_percent: f64,
    /// The way there and back, in milliseconds.
    pub rtt_ms: Option<f64>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Who watches.
    Viewer,
    /// Who publishes.
    Publisher,
}

/// A session as it is found again.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) channel: Name,
    pub(super) role: Role,
    /// The address of who asked, as it is counted; `None` where a proxy keeps it to itself.
    pub(super) from: Option<IpAddr>,
    pub(super) link: Arc<Link>,
    /// The section of its description that has the candidates, for fragments.
    pub(super) section: String,
    pub(super) deleted: CancellationToken,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) began: Instant,
}

impl WebRtc {
    /// Takes a session in, if there is room.
    pub(super) fn enter(&self, id: String, entry: Entry) -> Result<(), Refusal> {
        if self.stopping.is_cancelled() {
            return Err(Refusal::Unavailable);
        }
        let mut sessions = lock(&self.sessions);
        let like = || sessions.values().filter(|other| other.role == entry.role);
        let of_channel = like().filter(|other| other.channel == entry.channel).count();
        let bound = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
        let (all, each) = match entry.role {
            Role::Viewer => (bound(self.config.viewers), bound(self.config.viewers_per_channel)),
            Role::Publisher => (MAX_PUBLISHERS, MAX_PUBLISHERS_OF_CHANNEL),
        };
        if like().count() >= all || of_channel >= each {
            return Err(Refusal::Crowded);
        }
        let hangs = |other: &&Entry| {
            entry.from.is_some() && other.from == entry.from && !lock(&other.shown).connected
        };
        if sessions.values().filter(hangs).count() >= MAX_UNCONNECTED_OF_ADDRESS {
            return Err(Refusal::Hasty);
        }
        self.metrics.of(entry.role == Role::Viewer).inc();
        self.metrics.accepted.inc();
        sessions.insert(id, entry);
        Ok(())
    }

    pub(super) fn leave(&self, id: &str) {
        let Some(entry) = lock(&self.sessions).remove(id) else { return };
        self.mux.remove(&entry.link);
        self.metrics.of(entry.role == Role::Viewer).dec();
        let figures = lock(&entry.shown).figures;
        self.metrics.nacks.inc_by(figures.nacks);
        self.metrics.resent.inc_by(figures.resent);
        self.metrics.key_frames.inc_by(figures.key_frames);
    }

    /// Ends a session.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn delete(&self, channel: &Name, id: &str) -> Result<(), Refusal> {
        let sessions = lock(&self.sessions);
        let entry = sessions.get(id).filter(|entry| entry.channel == *channel);
        entry.map(|entry| entry.deleted.cancel()).ok_or(Refusal::Unknown)
    }

    /// Takes candidates, of which we need none, or begins another generation of ICE (RFC 9725 §4.3).
    ///
    /// # Errors
    /// There is no such session, or `matching` names another generation of it.
    pub fn patch(
        &self,
        channel: &Name,
        id: &str,
        matching: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, Refusal> {
        let brought = sdp::fragment(fragment)?;
        let sessions = lock(&self.sessions);
        let entry = sessions.get(id).filter(|entry| entry.channel == *channel);
        let entry = entry.ok_or(Refusal::Unknown)?;
        let matching = matching.ok_or(Refusal::Unconditional)?;
        let known = entry.link.credentials();
        if matching != "*" && matching != etag(&known.ufrag) {
            return Err(Refusal::Stale);
        }
        // Candidates come with the credentials that they belong to: only others begin anew.
        let Some(remote) = brought.filter(|brought| *brought != known.remote) else {
            return Ok(Patched::Nothing);
        };
        let mut random = Random(self);
        let credentials =
            Credentials { ufrag: random.text(UFRAG)?, password: random.text(PASSWORD)?, remote };
        let etag = etag(&credentials.ufrag);
        let answer = (&*credentials.ufrag, &*credentials.password);
        let fragment = sdp::restarted(&entry.section, answer, &self.candidates);
        self.mux.restart(&entry.link, credentials);
        Ok(Patched::Restarted { fragment, etag })
    }

    /// How the sessions of a channel go, oldest first.
    pub fn seen(&self, channel: &Name) -> Vec<Seen> {
        let sessions = lock(&self.sessions);
        let of_channel = sessions.iter().filter(|(_, entry)| entry.channel == *channel);
        let mut seen: Vec<Seen> = of_channel.map(|(id, entry)| seen(id, entry)).collect();
        seen.sort_by_key(|session| std::cmp::Reverse(session.seconds));
        seen
    }
}

fn seen(id: &str, entry: &Entry) -> Seen {
    let seconds = entry.began.elapsed().as_secs();
    let shown = lock(&entry.shown);
    let figures = shown.figures;
    Seen {
        id: seen_id(id).to_owned(),
        role: entry.role,
        seconds,
        connected: shown.connected,
        rendition: shown.track.clone(),
        pictures: figures.pictures,
        packets: figures.packets,
        bytes: figures.octets,
        bitrate: figures.octets.saturating_mul(8) / seconds.max(1),
        nacks: figures.nacks,
        resent: figures.resent,
        key_frame_requests: figures.key_frames,
        loss_percent: (figures.loss * 10.0).round() / 10.0,
        rtt_ms: figures.round_trip.map(|trip| (trip.as_secs_f64() * 10_000.0).round() / 10.0),
    }
}

/// What of a session's name is shown.
pub(super) fn seen_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

pub(super) fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

/// Takes a session off the table when its task ends.
pub(super) struct Leaving {
    pub(super) server: Arc<WebRtc>,
    pub(super) name: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.server.leave(&self.name);
    }
}
