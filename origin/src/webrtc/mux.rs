//! The one socket that all sessions' datagrams go through, told apart by what they are (RFC 7983) and by
//! whose they are.
//!
//! ```text
//! datagram ─► STUN: fragment ─► link, password right? ─► answered, and asked in turn where it came from
//!          └► DTLS, SRTP: address ─► link ─► bounded inbox ─► session
//! ```
//! A session is found by the fragment that its answer named, which travelled over HTTP; only an address that
//! has proved to know the password that goes with it reaches the session's handshake and keys, and is ever
//! sent anything. An address that is another session's becomes this one's when it has answered, since whose
//! it is can be forged. All else is dropped without a word, and counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc_crypto::RTCCryptoProvider;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::link::{Checked, Credentials, Link};
use super::stun::{self, Transaction};
use crate::telemetry::metrics::WebRtcMetrics;

/// Bytes of the longest datagram that is read: browsers send none that an Ethernet does not carry.
const MAX_DATAGRAM: usize = 1_600;
/// Bytes that the system may hold for the socket, each way: 100 ms of 100 viewers.
const SOCKET_BUFFER: usize = 4 << 20;

#[derive(Debug, Default)]
struct Table {
    by_fragment: HashMap<String, Arc<Link>>,
    by_address: HashMap<SocketAddr, Arc<Link>>,
    /// By questions that were not answered yet.
    by_question: HashMap<Transaction, Arc<Link>>,
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
                    for answer in self.take(datagram, from, Instant::now()) {
                        // Lost is lost: the peer asks again, and nobody waits for a full line.
                        let _ = self.socket.try_send_to(&answer, from);
                    }
                }
                // What was sent before could not be delivered, and the system says so here.
                Err(error) => debug!(%error, "the socket of WebRTC"),
            }
        }
    }

    /// A datagram; gives what is to be sent to where it came from.
    fn take(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Vec<Vec<u8>> {
        let taken = match datagram {
            [0, ..] => self.check(datagram, from, now),
            [1, ..] => self.answered(datagram, from, now).map(|()| Vec::new()),
            [20..=63 | 128..=191, ..] => {
                let link = lock(&self.table).by_address.get(&from).cloned();
                link.map(|link| self.deliver(&link, datagram)).map(|()| Vec::new())
            }
            _ => None,
        };
        taken.unwrap_or_else(|| {
            self.metrics.foreign.inc();
            Vec::new()
        })
    }

    fn deliver(&self, link: &Link, datagram: &[u8]) {
        if !link.deliver(datagram) {
            self.metrics.overrun.inc();
        }
    }

    /// A check of a peer's; `None` if it is nobody's.
    fn check(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Option<Vec<Vec<u8>>> {
        let mut request = stun::Request::read(datagram)?;
        let (local, remote) = request.fragments();
        let link = lock(&self.table).by_fragment.get(local).cloned()?;
        let known = link.credentials();
        if known.ufrag != local || known.remote.0 != remote {
            return None;
        }
        let crypto = self.provider.crypto();
        if !request.verify(&known.password, crypto) {
            return None;
        }
        let Checked { ask, gone } = link.check(from, request.nominates(), self.question()?, now);
        let mut table = lock(&self.table);
        if let Some((address, question)) = gone {
            table.by_question.remove(&question);
            if table.is_at(address, &link) {
                table.by_address.remove(&address);
            }
        }
        // A session that has ended meanwhile is not let back in.
        if table.by_fragment.contains_key(&known.ufrag) {
            table.by_address.entry(from).or_insert_with(|| Arc::clone(&link));
            table.by_question.extend(ask.map(|question| (question, Arc::clone(&link))));
        }
        drop(table);
        let question = ask.and_then(|question| {
            let (remote, password) = &known.remote;
            stun::ask(question, &format!("{remote}:{}", known.ufrag), password, crypto)
        });
        let answer = request.success(from, &known.password, crypto);
        Some(answer.into_iter().chain(question).collect())
    }

    /// An answer to a question of ours; `None` if it is nobody's.
    fn answered(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Option<()> {
        let mut answer = stun::Answer::read(datagram)?;
        let question = answer.transaction();
        let link = lock(&self.table).by_question.get(&question).cloned()?;
        if !answer.verify(&link.credentials().remote.1, self.provider.crypto()) {
            return None;
        }
        let first = link.consented().is_none();
        if !link.answer(from, question, self.question()?, now) {
            return None;
        }
        let mut table = lock(&self.table);
        table.by_question.remove(&question);
        if table.by_fragment.contains_key(&link.ufrag()) {
            table.by_address.insert(from, Arc::clone(&link));
        }
        drop(table);
        if first {
            // The session may have waited for this alone.
            self.deliver(&link, datagram);
        }
        Some(())
    }

    /// What nobody guesses; `None` if there is no randomness.
    fn question(&self) -> Option<Transaction> {
        let mut question = Transaction::default();
        self.provider.random().fill(&mut question).ok()?;
        Some(question)
    }

    /// Lets a session be found.
    pub(super) fn add(&self, link: &Arc<Link>) {
        lock(&self.table).by_fragment.insert(link.ufrag(), Arc::clone(link));
    }

    /// Gives a session other credentials.
    pub(super) fn restart(&self, link: &Arc<Link>, credentials: Credentials) {
        let mut table = lock(&self.table);
        table.by_fragment.remove(&link.ufrag());
        table.by_fragment.insert(credentials.ufrag.clone(), Arc::clone(link));
        link.restart(credentials);
    }

    /// Forgets a session.
    pub(super) fn remove(&self, link: &Arc<Link>) {
        let mut table = lock(&self.table);
        table.by_fragment.remove(&link.ufrag());
        table.by_address.retain(|_, other| !Arc::ptr_eq(other, link));
        table.by_question.retain(|_, other| !Arc::ptr_eq(other, link));
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

impl Table {
    fn is_at(&self, address: SocketAddr, link: &Arc<Link>) -> bool {
        self.by_address.get(&address).is_some_and(|known| Arc::ptr_eq(known, link))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const OURS: &str = "0123456789abcdefghijkl";
    const THEIRS: &str = "lkjihgfedcba9876543210";

    fn mux() -> Arc<Mux> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let provider = rtc_crypto::default_provider().unwrap();
        Mux::new(socket, provider, WebRtcMetrics::default()).unwrap()
    }

    /// A session whose fragments are `ours` and one of the peer's.
    fn add(mux: &Mux, ours: &str) -> (Arc<Link>, tokio::sync::mpsc::Receiver<bytes::Bytes>) {
        let remote = ("theirs".to_owned(), THEIRS.to_owned());
        let (ufrag, password) = (ours.to_owned(), OURS.to_owned());
        let (link, inbox) = Link::new(Credentials { ufrag, password, remote });
        mux.add(&link);
        (link, inbox)
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// A check of a session from an address; gives the question that is asked there.
    fn check(mux: &Mux, ours: &str, from: SocketAddr) -> Option<Vec<u8>> {
        let crypto = mux.provider.crypto();
        let check = stun::ask([1; 12], &format!("{ours}:theirs"), OURS, crypto).unwrap();
        let mut sent = mux.take(&check, from, Instant::now());
        let question = if sent.len() > 1 { sent.pop() } else { None };
        assert!(sent.pop().is_none_or(|answer| stun::Answer::read(&answer).is_some()));
        question
    }

    fn answer(mux: &Mux, question: &[u8], from: SocketAddr, password: &str) {
        let question = stun::Request::read(question).unwrap();
        let answer = question.success(from, password, mux.provider.crypto()).unwrap();
        assert!(mux.take(&answer, from, Instant::now()).is_empty());
    }

    #[tokio::test]
    async fn an_address_is_asked_and_its_answer_is_what_media_waits_for() {
        let mux = mux();
        let (link, mut inbox) = add(&mux, "ours");
        let question = check(&mux, "ours", at(1)).unwrap();
        assert_eq!((link.address(), link.consented()), (Some(at(1)), None));
        answer(&mux, &question, at(1), "another password");
        answer(&mux, &question, at(2), THEIRS);
        assert!(link.consented().is_none() && inbox.try_recv().is_err());
        answer(&mux, &question, at(1), THEIRS);
        assert!(link.consented().is_some() && inbox.try_recv().is_ok(), "it is not woken");
        mux.remove(&link);
        let table = lock(&mux.table);
        assert!(table.by_fragment.is_empty() && table.by_address.is_empty());
        assert!(table.by_question.is_empty());
    }

    #[tokio::test]
    async fn nobody_takes_the_address_of_another_session_with_a_forged_one() {
        let mux = mux();
        let (_publisher, mut inbox) = add(&mux, "publisher");
        let question = check(&mux, "publisher", at(1)).unwrap();
        answer(&mux, &question, at(1), THEIRS);
        let _ = inbox.try_recv();
        // A viewer who knows where the publisher is writes that on his own check.
        let (_viewer, mut forger) = add(&mux, "viewer");
        let question = check(&mux, "viewer", at(1)).unwrap();
        mux.take(&[128, 96, 0, 1], at(1), Instant::now());
        assert!(inbox.try_recv().is_ok() && forger.try_recv().is_err());
        // One who is there has it.
        answer(&mux, &question, at(1), THEIRS);
        let _ = forger.try_recv();
        mux.take(&[128, 96, 0, 1], at(1), Instant::now());
        assert!(inbox.try_recv().is_err() && forger.try_recv().is_ok());
    }
}
