//! The one socket that all sessions' datagrams go through, told apart by what they are (RFC 7983) and by
//! whose they are.
//!
//! ```text
//! datagram ─► STUN: fragment ─► link, password right? ─► answered; its address is the session's from now on
//!          └► DTLS, SRTP: address ─► link ─► bounded inbox ─► session
//! ```
//! A session is found by the fragment that its answer named, which travelled over HTTP; only an address that
//! has proved to know the password that goes with it reaches the session's handshake and keys, and is ever
//! sent anything. All else is dropped without a word, and counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rtc_crypto::RTCCryptoProvider;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::stun;
use crate::telemetry::metrics::WebRtcMetrics;

/// Bytes of the longest datagram that is read: browsers send none that an Ethernet does not carry.
const MAX_DATAGRAM: usize = 1_600;
/// Datagrams that may wait for a session: a second of a publisher's picture. Those beyond are lost, as on
/// any full line.
pub(super) const INBOX: usize = 512;
/// Bytes that the system may hold for the socket, each way: 100 ms of 100 viewers.
const SOCKET_BUFFER: usize = 4 << 20;
/// Addresses that a session may have proved: a browser with several ways tries each, and keeps one.
const MAX_ADDRESSES: usize = 8;

/// What a session is known by in checks.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The peer's fragment.
    pub(super) remote: String,
}

/// A session as the socket sees it.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    inbox: mpsc::Sender<Bytes>,
}

#[derive(Debug)]
struct State {
    credentials: Credentials,
    /// Addresses that were proved, the newest last.
    proved: Vec<SocketAddr>,
    /// The one that is used.
    selected: Option<SocketAddr>,
    /// When the peer last proved that it wants to be sent something (RFC 7675).
    consented: Option<Instant>,
}

impl Link {
    pub(super) fn new(credentials: Credentials) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (inbox, datagrams) = mpsc::channel(INBOX);
        let state = State { credentials, proved: Vec::new(), selected: None, consented: None };
        (Arc::new(Self { state: Mutex::new(state), inbox }), datagrams)
    }

    /// Where the peer is; `None` before it has shown itself.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        lock(&self.state).selected
    }

    /// When the peer last asked for more; `None`: never.
    pub(super) fn consented(&self) -> Option<Instant> {
        lock(&self.state).consented
    }

    /// Its fragment.
    pub(super) fn ufrag(&self) -> String {
        lock(&self.state).credentials.ufrag.clone()
    }
}

#[derive(Debug, Default)]
struct Table {
    by_fragment: HashMap<String, Arc<Link>>,
    by_address: HashMap<SocketAddr, Arc<Link>>,
}

/// See the module's page.
pub(super) struct Mux {
    socket: UdpSocket,
    table: Mutex<Table>,
    provider: Arc<dyn RTCCryptoProvider>,
    metrics: WebRtcMetrics,
}

impl std::fmt::Debug for Mux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mux").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Mux {
    /// On a bound socket.
    ///
    /// # Errors
    /// The runtime can't have it.
    pub(super) fn new(
        socket: std::net::UdpSocket,
        provider: Arc<dyn RTCCryptoProvider>,
        metrics: WebRtcMetrics,
    ) -> std::io::Result<Arc<Self>> {
        socket.set_nonblocking(true)?;
        // The system caps it, which is no reason not to run.
        let _ = set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
        let _ = set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
        let socket = UdpSocket::from_std(socket)?;
        Ok(Arc::new(Self { socket, table: Mutex::default(), provider, metrics }))
    }

    /// Where it is bound.
    pub(super) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Reads until cancelled.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let received = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                received = self.socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if let Some((answer, to)) = self.take(datagram, from, Instant::now()) {
                        // Lost is lost: the peer asks again.
                        let _ = self.socket.send_to(&answer, to).await;
                    }
                }
                // What was sent before could not be delivered, and the system says so here.
                Err(error) => debug!(%error, "the socket of WebRTC"),
            }
        }
    }

    /// A datagram; gives what is to be answered.
    fn take(
        &self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Option<(Vec<u8>, SocketAddr)> {
        let answer = match datagram.first() {
            Some(0..=3) => self.check(datagram, from, now),
            Some(20..=63 | 128..=191) => {
                let link = lock(&self.table).by_address.get(&from).cloned();
                let Some(link) = link else {
                    self.metrics.foreign.inc();
                    return None;
                };
                if link.inbox.try_send(Bytes::copy_from_slice(datagram)).is_err() {
                    self.metrics.overrun.inc();
                }
                return None;
            }
            _ => None,
        };
        if answer.is_none() {
            self.metrics.foreign.inc();
        }
        answer.map(|answer| (answer, from))
    }

    fn check(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        let mut request = stun::Request::read(datagram)?;
        let (local, remote) = request.fragments();
        let link = lock(&self.table).by_fragment.get(local).cloned()?;
        let password = {
            let state = lock(&link.state);
            if state.credentials.ufrag != local || state.credentials.remote != remote {
                return None;
            }
            state.credentials.password.clone()
        };
        let crypto = self.provider.crypto();
        if !request.verify(&password, crypto) {
            return None;
        }
        let gone = {
            let mut state = lock(&link.state);
            state.consented = Some(now);
            if request.nominates() || state.selected.is_none() {
                state.selected = Some(from);
            }
            state.proved.retain(|known| *known != from);
            state.proved.push(from);
            let too_many = state.proved.len() > MAX_ADDRESSES;
            too_many.then(|| state.proved.remove(0))
        };
        let mut table = lock(&self.table);
        if let Some(gone) = gone {
            table.by_address.remove(&gone);
        }
        // A session that has ended meanwhile is not let back in.
        if table.by_fragment.contains_key(request.fragments().0) {
            table.by_address.insert(from, Arc::clone(&link));
        }
        drop(table);
        request.success(from, &password, crypto)
    }

    /// Lets a session be found.
    pub(super) fn add(&self, link: &Arc<Link>) {
        lock(&self.table).by_fragment.insert(link.ufrag(), Arc::clone(link));
    }

    /// Gives a session other credentials (RFC 8445 §9). Its address stays until another one is proved.
    pub(super) fn restart(&self, link: &Arc<Link>, credentials: Credentials) {
        let mut table = lock(&self.table);
        let mut state = lock(&link.state);
        table.by_fragment.remove(&state.credentials.ufrag);
        table.by_fragment.insert(credentials.ufrag.clone(), Arc::clone(link));
        state.credentials = credentials;
    }

    /// Forgets a session.
    pub(super) fn remove(&self, link: &Arc<Link>) {
        let mut table = lock(&self.table);
        table.by_fragment.remove(&link.ufrag());
        table.by_address.retain(|_, other| !Arc::ptr_eq(other, link));
    }

    /// Sends a session's peer something; nothing before it has shown itself.
    pub(super) async fn send(&self, link: &Link, datagram: &[u8]) {
        let Some(to) = link.address() else { return };
        if let Ok(sent) = self.socket.send_to(datagram, to).await {
            self.metrics.sent_packets.inc();
            self.metrics.sent_bytes.inc_by(u64::try_from(sent).unwrap_or(0));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
