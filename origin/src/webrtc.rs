//! WebRTC: a preview of what a channel shows now, a fraction of a second after it was coded (WHEP), and
//! publishing from a browser (WHIP, RFC 9725).
//!
//! ```text
//! http ─offer─► WebRtc ─► sdp ─► session, publishing ─answer─► http
//!                                   ├ transport (dtls, srtp) ◄─► mux (stun) ◄─► one UDP socket
//!    channel's Preview ───────────► ├ whep (stream, packets, rtcp, steps)
//!    hub ◄── units ───────────────┘ └ whip (receive, pictures, rtcp)
//! ```
//! **ICE-lite** (RFC 8445 §2.5): browsers find us, we look for nobody. So candidates in an offer are never
//! contacted, and one socket serves every session, told apart by the fragment in a browser's checks. Nothing is
//! sent to an address that has not proved to know the session's password.
//!
//! **Why not the `webrtc` crate whole.** Version 0.21 sits on the sans-io crates `rtc-*`, and so do we, one
//! storey below: of that family DTLS, SRTP and STUN messages are used as they are. Its peer connection can't
//! share a socket between sessions by fragment and takes part in ICE as a full agent; and it cuts pictures into
//! packets once per peer, where here all viewers of a track share them, and a lost picture is answered from the
//! channel's own group of pictures rather than by the encoder.
//!
//! A session's task holds everything of it; the table here only finds it again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ingest::hub::{self, Hub};
use ingest::source::{Peer, Protocol};
use packager::media::Name;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::channel::Channels;
use crate::channel::preview::Track;
use crate::clock::Clock;
use crate::config;
use crate::telemetry::metrics::WebRtcMetrics;

mod dtls;
mod mux;
mod packets;
mod pictures;
mod publishing;
mod receive;
mod rtcp;
mod sdp;
mod session;
mod srtp;
mod steps;
mod stream;
mod stun;
mod transport;
mod whep;
mod whip;

pub use sdp::MAX_SDP;

use dtls::Identity;
use mux::{Credentials, Link, Mux};
use publishing::Publishing;
use sdp::{Agreed, Answer, Kind, Offer};
use session::{Session, Shown};
use stream::{Stream, Terms};
use transport::{End, Transport};
use whep::Viewer;
use whip::Publisher;

/// Characters of our fragments and passwords: 72 and 192 bits of randomness (RFC 8445 §5.3 asks for 24 and
/// 128).
const UFRAG: usize = 12;
const PASSWORD: usize = 32;
/// Characters of a session's name in its URL, which is all that it takes to end it: 192 bits.
const ID: usize = 32;
/// Publishers at one time: a session of theirs is cheap, the channel behind it is bounded elsewhere.
const MAX_PUBLISHERS: usize = 256;
/// Of one channel: the newest takes over, and those who can't connect are forgotten in a moment.
const MAX_PUBLISHERS_OF_CHANNEL: usize = 8;
/// What browsers begin with, in kb/s: without it they take half a minute to get from 300 to a good picture.
const BEGIN_WITH: &str = ";x-google-start-bitrate=2000";
/// The transport that every browser offers.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// Why WebRTC can't be had at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no certificate.
    #[error(transparent)]
    Dtls(#[from] dtls::Error),
    /// The socket can't be used.
    #[error("can't use the socket of WebRTC")]
    Socket(#[from] std::io::Error),
}

/// Why a request is not granted. The texts are public.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such channel, or no such session.
    #[error("no such channel or session")]
    Unknown,
    /// The channel has nothing to show.
    #[error("the channel is not on the air")]
    NotLive,
    /// The offer can't be read.
    #[error("the offer can't be answered: {0}")]
    Offer(#[from] sdp::Error),
    /// There is nothing in it that both sides have.
    #[error("{0}")]
    NothingInCommon(&'static str),
    /// There is no rendition of that name.
    #[error("the channel has no rendition of that name")]
    NoRendition,
    /// There are too many viewers.
    #[error("there is no room for another preview now: too many watch, or the machine is busy")]
    Crowded,
    /// The channel does not take this publisher.
    #[error("{0}")]
    Denied(hub::Refusal),
    /// It does not take one now.
    #[error("{0}")]
    Busy(hub::Refusal),
    /// Another generation of the session is there.
    #[error("the session has changed meanwhile")]
    Stale,
    /// The request does not say which generation it means.
    #[error("If-Match is missing")]
    Unconditional,
    /// The server is going down, or can't have what it needs.
    #[error("the server can't do this now")]
    Unavailable,
}

impl From<hub::Refusal> for Refusal {
    fn from(refusal: hub::Refusal) -> Self {
        match refusal {
            hub::Refusal::BadName(_) => Self::Unknown,
            hub::Refusal::Denied | hub::Refusal::LoopbackOnly | hub::Refusal::HasSource => {
                Self::Denied(refusal)
            }
            _ => Self::Busy(refusal),
        }
    }
}

/// A session that was made.
#[derive(Debug)]
pub struct Created {
    /// Its name.
    pub id: String,
    /// The answer.
    pub answer: String,
    /// Of its generation, in quotes.
    pub etag: String,
}

/// What became of a change.
#[derive(Debug)]
pub enum Patched {
    /// Candidates were brought, of which we need none.
    Nothing,
    /// It has new credentials.
    Restarted {
        /// Body of type `application/trickle-ice-sdpfrag`.
        fragment: String,
        /// Of the new generation, in quotes.
        etag: String,
    },
}

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

/// What every session has.
struct Made {
    created: Created,
    transport: Transport,
    datagrams: tokio::sync::mpsc::Receiver<bytes::Bytes>,
    shown: Arc<Mutex<Shown>>,
    deleted: CancellationToken,
}

/// A session as it is found again.
#[derive(Debug)]
struct Entry {
    channel: Name,
    role: Role,
    link: Arc<Link>,
    deleted: CancellationToken,
    shown: Arc<Mutex<Shown>>,
    began: Instant,
}

/// See the module's page.
#[derive(Debug)]
pub struct WebRtc {
    config: config::WebRtc,
    channels: Arc<Channels>,
    hub: Hub,
    clock: Arc<dyn Clock>,
    metrics: WebRtcMetrics,
    identity: Arc<Identity>,
    mux: Arc<Mux>,
    candidates: Vec<SocketAddr>,
    sessions: Mutex<BTreeMap<String, Entry>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl WebRtc {
    /// On a bound socket.
    ///
    /// # Errors
    /// There is no randomness, or the socket can't be used.
    pub fn new(
        socket: UdpSocket,
        config: &config::WebRtc,
        (channels, hub): (Arc<Channels>, Hub),
        clock: Arc<dyn Clock>,
        metrics: WebRtcMetrics,
    ) -> Result<Arc<Self>, Error> {
        let identity = Arc::new(Identity::new()?);
        let mux = Mux::new(socket, Arc::clone(identity.provider()), metrics.clone())?;
        let candidates = candidates(&config.advertise, mux.local_address()?);
        info!(?candidates, "browsers are told to come to these addresses");
        Ok(Arc::new(Self {
            config: config.clone(),
            channels,
            hub,
            clock,
            metrics,
            identity,
            mux,
            candidates,
            sessions: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Serves until cancelled, and then until the sessions have said goodbye.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let reading = CancellationToken::new();
        let mux = Arc::clone(&self.mux).run(reading.clone());
        let end = async {
            cancel.cancelled().await;
            self.stopping.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            reading.cancel();
        };
        tokio::join!(mux, end);
    }

    /// STUN and TURN servers that browsers are told of.
    pub fn ice_servers(&self) -> &[String] {
        &self.config.ice_servers
    }

    /// Answers an offer to watch a channel; of a rendition, if one is wanted by name.
    ///
    /// # Errors
    /// Says why not, in words for the viewer.
    pub fn watch(
        self: &Arc<Self>,
        channel: &Name,
        offer: &str,
        rendition: Option<&str>,
    ) -> Result<Created, Refusal> {
        let created = self.try_watch(channel, offer, rendition);
        if created.is_err() {
            self.metrics.refused.inc();
        }
        created
    }

    fn try_watch(
        self: &Arc<Self>,
        channel: &Name,
        offer: &str,
        rendition: Option<&str>,
    ) -> Result<Created, Refusal> {
        let preview = &self.channels.get(channel).ok_or(Refusal::Unknown)?.preview;
        if *preview.shed().borrow() {
            return Err(Refusal::Crowded);
        }
        let offer = Offer::read(offer)?;
        let tracks = Arc::clone(&preview.tracks().borrow());
        let wanted = match rendition {
            Some(name) => tracks.iter().find(|t| t.name == name).ok_or(Refusal::NoRendition),
            None => tracks.first().ok_or(Refusal::NotLive),
        };
        let track = if tracks.is_empty() { return Err(Refusal::NotLive) } else { wanted? };
        let now = Instant::now();
        let mut random = Random(self);
        let (sections, video, audio) = agree(&offer, track, &mut random, now)?;
        let Made { created, transport, datagrams, shown, deleted } =
            self.make(channel, Role::Viewer, &offer, &sections)?;
        let session = Session {
            id: seen_id(&created.id).to_owned(),
            channel: channel.to_string(),
            transport,
            datagrams,
            viewer: Viewer::new(video, audio, now),
            preview: Arc::clone(preview),
            wanted: rendition.map(str::to_owned),
            clock: Arc::clone(&self.clock),
            shown,
            deleted,
            stopping: self.stopping.clone(),
        };
        self.spawn(&created.id, session.run());
        Ok(created)
    }

    /// Answers an offer to publish to a channel, by somebody at an address who shows a key.
    ///
    /// # Errors
    /// Says why not, in words for the publisher.
    pub fn publish(
        self: &Arc<Self>,
        channel: &str,
        key: Option<&str>,
        from: SocketAddr,
        offer: &str,
    ) -> Result<Created, Refusal> {
        let created = self.try_publish(channel, key, from, offer);
        if let Err(refusal) = &created {
            self.metrics.refused.inc();
            if let Refusal::Denied(refusal) | Refusal::Busy(refusal) = refusal {
                self.hub.turned_away(channel, refusal.label());
            }
        }
        created
    }

    fn try_publish(
        self: &Arc<Self>,
        channel: &str,
        key: Option<&str>,
        from: SocketAddr,
        offer: &str,
    ) -> Result<Created, Refusal> {
        let peer = Peer::At(from);
        let request = hub::Request { channel, key, peer: peer.clone(), protocol: Protocol::Whip };
        self.hub.ask(&request)?;
        let name = Name::parse(channel).map_err(|_| Refusal::Unknown)?;
        let offer = Offer::read(offer)?;
        let (sections, agreed) = agree_to_take(&offer)?;
        let Made { created, transport, datagrams, shown, deleted } =
            self.make(&name, Role::Publisher, &offer, &sections)?;
        let session = Publishing {
            id: seen_id(&created.id).to_owned(),
            channel: channel.to_owned(),
            key: key.map(str::to_owned),
            peer,
            hub: self.hub.clone(),
            transport,
            datagrams,
            publisher: Publisher::new(agreed, Random(self).number()?, Instant::now()),
            shown,
            deleted,
            stopping: self.stopping.clone(),
        };
        self.spawn(&created.id, session.run());
        Ok(created)
    }

    /// Makes what every session has, and takes it in if there is room.
    fn make(
        self: &Arc<Self>,
        channel: &Name,
        role: Role,
        offer: &Offer,
        sections: &[Option<Agreed>],
    ) -> Result<Made, Refusal> {
        let mut random = Random(self);
        let id = random.text(ID)?;
        let credentials = Credentials {
            ufrag: random.text(UFRAG)?,
            password: random.text(PASSWORD)?,
            remote: offer.ufrag.clone(),
        };
        let answer = sdp::write(
            offer,
            &Answer {
                id: u64::from(random.number()?),
                ufrag: &credentials.ufrag,
                password: &credentials.password,
                fingerprint: self.identity.fingerprint(),
                candidates: &self.candidates,
                sections,
                cname: whep::CNAME,
            },
        );
        let etag = etag(&credentials.ufrag);
        let (link, datagrams) = Link::new(credentials);
        let (mux, identity) = (Arc::clone(&self.mux), Arc::clone(&self.identity));
        let transport = Transport::new(mux, Arc::clone(&link), identity, offer.fingerprint);
        let transport = transport.map_err(|_| Refusal::Unavailable)?;
        let shown = Arc::<Mutex<Shown>>::default();
        let deleted = CancellationToken::new();
        let entry = Entry {
            channel: channel.clone(),
            role,
            link: Arc::clone(&link),
            deleted: deleted.clone(),
            shown: Arc::clone(&shown),
            began: Instant::now(),
        };
        self.enter(id.clone(), entry)?;
        self.mux.add(&link);
        let created = Created { id, answer, etag };
        Ok(Made { created, transport, datagrams, shown, deleted })
    }

    /// Runs a session that was taken in.
    fn spawn(self: &Arc<Self>, id: &str, session: impl Future<Output = End> + Send + 'static) {
        let (server, name) = (Arc::clone(self), id.to_owned());
        self.tasks.spawn(async move {
            // Also if the session panics.
            let _leaves = Leaving { server, name };
            session.await
        });
    }

    /// Takes a session in, if there is room.
    fn enter(&self, id: String, entry: Entry) -> Result<(), Refusal> {
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
        self.metrics.of(entry.role == Role::Viewer).inc();
        self.metrics.accepted.inc();
        sessions.insert(id, entry);
        Ok(())
    }

    fn leave(&self, id: &str) {
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
        let restart = sdp::restart(fragment)?;
        let sessions = lock(&self.sessions);
        let entry = sessions.get(id).filter(|entry| entry.channel == *channel);
        let entry = entry.ok_or(Refusal::Unknown)?;
        let matching = matching.ok_or(Refusal::Unconditional)?;
        if matching != "*" && matching != etag(&entry.link.ufrag()) {
            return Err(Refusal::Stale);
        }
        let Some((remote, _)) = restart else { return Ok(Patched::Nothing) };
        let mut random = Random(self);
        let credentials =
            Credentials { ufrag: random.text(UFRAG)?, password: random.text(PASSWORD)?, remote };
        let (etag, fragment) = (
            etag(&credentials.ufrag),
            format!(
                "a=ice-lite\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
                credentials.ufrag, credentials.password
            ),
        );
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
fn seen_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn etag(ufrag: &str) -> String {
    format!("\"{ufrag}\"")
}

/// Takes a session off the table when its task ends.
struct Leaving {
    server: Arc<WebRtc>,
    name: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.server.leave(&self.name);
    }
}

/// The system's randomness.
struct Random<'a>(&'a WebRtc);

impl Random<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut bytes = [0; N];
        let filled = self.0.identity.provider().random().fill(&mut bytes);
        filled.map(|()| bytes).map_err(|_| Refusal::Unavailable)
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        // A stream's number is not nought.
        self.bytes().map(|bytes| u32::from_be_bytes(bytes).max(1))
    }

    /// Six bits a character, of those that fit a fragment, a URL and a header.
    fn text(&mut self, length: usize) -> Result<String, Refusal> {
        const CHARACTERS: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            for byte in self.bytes::<16>()? {
                if let Some(character) = CHARACTERS.get(usize::from(byte & 63))
                    && text.len() < length
                {
                    text.push(char::from(*character));
                }
            }
        }
        Ok(text)
    }
}

/// What of an offer is agreed to: the sections of the answer, and the streams that are sent.
type Agreement = (Vec<Option<Agreed>>, Stream, Option<Stream>);

fn agree(
    offer: &Offer,
    track: &Track,
    random: &mut Random<'_>,
    now: Instant,
) -> Result<Agreement, Refusal> {
    // Of another rung than the source's own, which takes its place, the profile is not known yet.
    let profile = track.config().record.get(1).copied().filter(|_| track.is_showable());
    let mut sections = Vec::with_capacity(offer.media.len());
    let (mut video, mut audio) = (None, None);
    for media in &offer.media {
        let bundled = offer.bundle.is_empty() || offer.bundle.contains(&media.mid);
        let usable =
            bundled && media.mux && media.protocol == PROTOCOL && media.direction.receives();
        let codec = match media.kind {
            Kind::Video if usable && video.is_none() => sdp::choose_h264(media, profile),
            Kind::Audio if usable && audio.is_none() => sdp::choose_opus(media),
            _ => None,
        };
        let Some(codec) = codec else {
            sections.push(None);
            continue;
        };
        let ssrc = random.number()?;
        let again = match codec.rtx {
            Some(payload_type) => Some((random.number()?, payload_type)),
            None => None,
        };
        let is_video = media.kind == Kind::Video;
        let clock = if is_video { packets::VIDEO_CLOCK } else { packets::OPUS_CLOCK };
        let terms = Terms { ssrc, payload_type: codec.payload_type, clock, again };
        let stream = Stream::new(terms, random.bytes()?, now);
        if is_video {
            video = Some(stream);
        } else {
            audio = Some(stream);
        }
        sections.push(Some(Agreed {
            codec,
            sends: Some((ssrc, again.map(|(ssrc, _)| ssrc))),
            more: "",
        }));
    }
    let video = video.ok_or(Refusal::NothingInCommon(
        "the offer takes no H.264 in packetization mode 1, bundled and with RTCP multiplexed",
    ))?;
    Ok((sections, video, audio))
}

/// What of an offer is taken: the sections of the answer, and what comes under which number.
fn agree_to_take(offer: &Offer) -> Result<(Vec<Option<Agreed>>, whip::Agreed), Refusal> {
    let mut sections = Vec::with_capacity(offer.media.len());
    let (mut video, mut audio) = (None, None);
    for media in &offer.media {
        let bundled = offer.bundle.is_empty() || offer.bundle.contains(&media.mid);
        let usable = bundled && media.mux && media.protocol == PROTOCOL && media.direction.sends();
        let (codec, more) = match media.kind {
            Kind::Video if usable && video.is_none() => (sdp::choose_h264(media, None), BEGIN_WITH),
            Kind::Audio if usable && audio.is_none() => (sdp::choose_opus(media), ""),
            _ => (None, ""),
        };
        if let Some(codec) = &codec {
            let numbers = Some((codec.payload_type, codec.rtx));
            *(if media.kind == Kind::Video { &mut video } else { &mut audio }) = numbers;
        }
        sections.push(codec.map(|codec| Agreed { codec, sends: None, more }));
    }
    let (video, again) = video.ok_or(Refusal::NothingInCommon(
        "the offer sends no H.264 in packetization mode 1, bundled and with RTCP multiplexed",
    ))?;
    Ok((sections, whip::Agreed { video, again, audio: audio.map(|(number, _)| number) }))
}

/// Where browsers are told to come.
fn candidates(advertised: &[SocketAddr], bound: SocketAddr) -> Vec<SocketAddr> {
    let port = bound.port();
    if !advertised.is_empty() {
        let with_port = |at: &SocketAddr| {
            SocketAddr::new(at.ip(), if at.port() == 0 { port } else { at.port() })
        };
        return advertised.iter().map(with_port).collect();
    }
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // A socket of IPv4 can't be reached over IPv6.
    let fits = |ip: &IpAddr| bound.is_ipv6() || ip.is_ipv4();
    let own = rtc_shared::ifaces::ifaces().unwrap_or_default();
    let mut found: Vec<IpAddr> = own
        .into_iter()
        .filter_map(|interface| interface.addr.map(|at| at.ip()))
        .filter(|ip| fits(ip) && !is_link_local(ip))
        .collect();
    // Those of this machine alone come last.
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    found.dedup();
    found.truncate(MAX_OWN_ADDRESSES);
    found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Addresses of this machine that are told: browsers try them all.
const MAX_OWN_ADDRESSES: usize = 16;

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // Of no use without a zone, which a candidate has no room for.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
