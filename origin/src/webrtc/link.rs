//! A session as the socket sees it: what it is known by, the addresses that its peer has shown itself at, and the
//! one that is sent to.
//!
//! ```text
//! check with the right password ─► shown: its handshake is heard ─► asked ─► answered: media may go there
//! ```
//! Whoever was told the password can put any address on a datagram, and would have somebody else sent a
//! picture without end. So one is used for media only when a question sent to it has been answered, and for
//! as long as it goes on answering (RFC 7675); until another one has, the one before stays.
//!
//! Pure but for the instants it is given: `mux` has the socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::stun::Transaction;

/// Datagrams that may wait for a session: a second of a publisher's picture. Those beyond are lost, as on
/// any full line.
pub(super) const INBOX: usize = 512;
/// Addresses that a session may have shown: a browser with several ways tries each, and keeps one.
const MAX_ADDRESSES: usize = 8;
/// How often an address is asked at the most, which is when its own checks come.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What a session is known by in checks.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) password: String,
    /// The peer's fragment and password.
    pub(super) remote: (String, String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    inbox: mpsc::Sender<Bytes>,
}

#[derive(Debug)]
struct State {
    credentials: Credentials,
    /// Addresses that were shown, the one that was checked last at the end.
    shown: Vec<Shown>,
    /// The one that is used.
    selected: Option<SocketAddr>,
    /// The one that the peer would have used.
    nominated: Option<SocketAddr>,
    /// When the one that is used last answered.
    consented: Option<Instant>,
}

/// An address that a check with the right password came from.
#[derive(Debug)]
struct Shown {
    at: SocketAddr,
    /// What it is asked under, the same until it answers.
    question: Transaction,
    asked: Option<Instant>,
    answered: bool,
}

/// What comes of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// What the address is to be asked under now.
    pub(super) ask: Option<Transaction>,
    /// An address, with its question, that has made room for this one.
    pub(super) gone: Option<(SocketAddr, Transaction)>,
}

impl Link {
    pub(super) fn new(credentials: Credentials) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (inbox, datagrams) = mpsc::channel(INBOX);
        let state = State {
            credentials,
            shown: Vec::new(),
            selected: None,
            nominated: None,
            consented: None,
        };
        (Arc::new(Self { state: Mutex::new(state), inbox }), datagrams)
    }

    /// Where the peer is; `None` before it has shown itself.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        lock(&self.state).selected
    }

    /// When the peer last answered where it is sent to; `None`: never, and no media is sent.
    pub(super) fn consented(&self) -> Option<Instant> {
        lock(&self.state).consented
    }

    /// Its fragment.
    pub(super) fn ufrag(&self) -> String {
        lock(&self.state).credentials.ufrag.clone()
    }

    pub(super) fn credentials(&self) -> Credentials {
        lock(&self.state).credentials.clone()
    }

    /// Gives it others (RFC 8445 §9). The address that is used stays until another one answers.
    pub(super) fn restart(&self, credentials: Credentials) {
        lock(&self.state).credentials = credentials;
    }

    /// Hands a datagram to the session; false if too many wait.
    pub(super) fn deliver(&self, datagram: &[u8]) -> bool {
        self.inbox.try_send(Bytes::copy_from_slice(datagram)).is_ok()
    }

    /// A check with the right password came from an address; `fresh` is for a question to it.
    pub(super) fn check(
        &self,
        from: SocketAddr,
        nominates: bool,
        fresh: Transaction,
        now: Instant,
    ) -> Checked {
        let mut state = lock(&self.state);
        let known = state.shown.iter().position(|shown| shown.at == from);
        let mut shown = match known {
            Some(at) => state.shown.remove(at),
            None => Shown { at: from, question: fresh, asked: None, answered: false },
        };
        let due = shown.asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_EVERY);
        if due {
            shown.asked = Some(now);
        }
        let checked = Checked {
            ask: due.then_some(shown.question),
            gone: (state.shown.len() >= MAX_ADDRESSES).then(|| state.make_room()).flatten(),
        };
        if state.selected.is_none() {
            // The handshake goes there, which makes little of little.
            state.selected = Some(from);
        }
        if nominates {
            state.nominated = Some(from);
            if shown.answered {
                state.selected = Some(from);
            }
        }
        state.shown.push(shown);
        checked
    }

    /// An address has answered its question, with the right password: whether that was one of this session's,
    /// and what is asked next is `fresh`.
    pub(super) fn answer(
        &self,
        from: SocketAddr,
        question: Transaction,
        fresh: Transaction,
        now: Instant,
    ) -> bool {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let asked = |shown: &&mut Shown| shown.at == from && shown.question == question;
        let Some(shown) = state.shown.iter_mut().find(asked) else { return false };
        (shown.answered, shown.question) = (true, fresh);
        // One that has never answered is no better than this one.
        if state.nominated == Some(from) || state.consented.is_none() {
            state.selected = Some(from);
        }
        if state.selected == Some(from) {
            state.consented = Some(now);
        }
        true
    }
}

impl State {
    /// Forgets the address that was not checked for the longest time, except for the one that is used.
    fn make_room(&mut self) -> Option<(SocketAddr, Transaction)> {
        let oldest = self.shown.iter().position(|shown| Some(shown.at) != self.selected)?;
        let gone = self.shown.remove(oldest);
        Some((gone.at, gone.question))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Arc<Link> {
        let remote = ("theirs".to_owned(), "p".to_owned());
        Link::new(Credentials { ufrag: "ours".into(), password: "q".into(), remote }).0
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn an_address_is_sent_media_only_after_it_has_answered() {
        let (link, now) = (link(), Instant::now());
        assert_eq!(link.check(at(1), true, [1; 12], now).ask, Some([1; 12]));
        assert_eq!((link.address(), link.consented()), (Some(at(1)), None));
        assert!(!link.answer(at(2), [1; 12], [2; 12], now), "another address");
        assert!(!link.answer(at(1), [9; 12], [2; 12], now), "another question");
        assert!(link.answer(at(1), [1; 12], [2; 12], now));
        assert_eq!(link.consented(), Some(now));
        // Somebody puts a stranger's address on a check of his own.
        let later = now + Duration::from_secs(1);
        assert_eq!(link.check(at(66), true, [3; 12], later).ask, Some([3; 12]));
        assert_eq!((link.address(), link.consented()), (Some(at(1)), Some(now)));
        // The browser goes from one way to another, which answers.
        link.check(at(7), true, [4; 12], later);
        assert!(link.answer(at(7), [4; 12], [5; 12], later));
        assert_eq!((link.address(), link.consented()), (Some(at(7)), Some(later)));
    }

    #[test]
    fn an_address_that_answers_late_is_asked_under_the_same_question() {
        let (link, now) = (link(), Instant::now());
        assert_eq!(link.check(at(1), true, [1; 12], now).ask, Some([1; 12]));
        assert_eq!(link.check(at(1), true, [2; 12], now).ask, None, "asked just now");
        let later = now + ASK_EVERY;
        assert_eq!(link.check(at(1), true, [3; 12], later).ask, Some([1; 12]));
        assert!(link.answer(at(1), [1; 12], [4; 12], later));
        assert!(!link.answer(at(1), [1; 12], [5; 12], later), "an answer that is sent once more");
    }

    #[test]
    fn addresses_are_bounded_and_the_one_that_is_used_stays() {
        let (link, now) = (link(), Instant::now());
        link.check(at(1), true, [1; 12], now);
        assert!(link.answer(at(1), [1; 12], [2; 12], now));
        for port in 2..100 {
            let gone = link.check(at(port), true, [3; 12], now).gone;
            assert_eq!(gone.is_some(), port > 8, "{port}");
            assert_ne!(gone.map(|(address, _)| address), Some(at(1)));
        }
        assert_eq!(link.address(), Some(at(1)));
        assert_eq!(lock(&link.state).shown.len(), MAX_ADDRESSES);
    }
}
