//! WebRTC: a preview of what a channel shows now, a fraction of a second after it was coded (WHEP), and
//! publishing from a browser (WHIP, RFC 9725).
//!
//! ```text
//! http ─offer─► asking ─► sdp, agreeing ─► session, publishing ─answer─► http
//!                                   ├ transport (dtls, srtp) ◄─► mux (stun) ◄─► one UDP socket
//!    channel's Preview ───────────► ├ whep (stream, packets, pace, rtcp, steps)
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

use ingest::hub::Hub;
use packager::media::Name;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::channel::Channels;
use crate::clock::Clock;
use crate::config;
use crate::network::subscriber;
use crate::telemetry::metrics::WebRtcMetrics;

mod addresses;
mod agreeing;
mod asking;
mod dtls;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod link;
mod mux;
mod pace;
mod packets;
mod pictures;
mod publishing;
mod random;
mod receive;
mod rtcp;
mod sdp;
mod session;
mod sessions;
mod srtp;
mod steps;
mod stream;
mod stun;
mod transport;
mod whep;
mod whip;

pub use asking::{Created, Patched, Refusal};
pub use sdp::MAX_SDP;
pub use sessions::{Role, Seen};

use dtls::Identity;
use link::{Credentials, Link};
use mux::Mux;
use random::Random;
use sdp::{Agreed, Answer, Offer};
use session::Shown;
use sessions::{Entry, Leaving, etag};
use transport::{End, Transport};

/// Characters of our fragments and passwords: 72 and 192 bits of randomness (RFC 8445 §5.3 asks for 24 and
/// 128).
const UFRAG: usize = 12;
const PASSWORD: usize = 32;
/// Characters of a session's name in its URL, which is all that it takes to end it: 192 bits.
const ID: usize = 32;

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

/// What every session has.
struct Made {
    created: Created,
    transport: Transport,
    datagrams: tokio::sync::mpsc::Receiver<bytes::Bytes>,
    shown: Arc<Mutex<Shown>>,
    deleted: CancellationToken,
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
        let candidates = addresses::candidates(&config.advertise, mux.local_address()?);
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

    /// Makes what every session has, and takes it in if there is room.
    fn make(
        self: &Arc<Self>,
        channel: &Name,
        (role, from): (Role, Option<IpAddr>),
        offer: &Offer,
        sections: &[Option<Agreed>],
    ) -> Result<Made, Refusal> {
        let mut random = Random(self);
        let id = random.text(ID)?;
        let credentials = Credentials {
            ufrag: random.text(UFRAG)?,
            password: random.text(PASSWORD)?,
            remote: (offer.ufrag.clone(), offer.password.clone()),
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
                cname: rtcp::CNAME,
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
            from: from.map(subscriber),
            link: Arc::clone(&link),
            section: sdp::first_section(offer, sections),
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
