//! The way to one peer: its handshake, then its keys, over the socket that all share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dtls::{self, Fingerprint, Handshake, Identity};
use super::link::Link;
use super::mux::Mux;
use super::srtp::Protection;

/// How long a peer may take from its offer until media can flow.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// How long a peer may be silent (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Datagrams of a handshake that may make no sense before it is given up.
const MAX_FAULTS: u32 = 16;

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum End {
    #[error("the peer ended it")]
    Closed,
    #[error("the peer never connected")]
    NeverConnected,
    #[error("the peer has vanished")]
    Vanished,
    #[error("the handshake failed")]
    Handshake,
    #[error("it was ended by request")]
    Deleted,
    #[error("the machine has no room for viewers")]
    Shed,
    #[error("the peer sent no whole picture")]
    Silent,
    #[error("the channel does not take it")]
    Refused,
    #[error("there is nothing to watch any more")]
    NothingLeft,
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// What came of a datagram.
#[derive(Debug)]
pub(super) enum Came {
    /// Nothing to act upon.
    Nothing,
    /// The peer can be sent media from now on.
    Connected,
    /// A protected packet of media.
    Media(Bytes),
    /// A compound of control packets.
    Control(Bytes),
}

#[derive(Debug)]
pub(super) struct Transport {
    mux: Arc<Mux>,
    link: Arc<Link>,
    identity: Arc<Identity>,
    handshake: Handshake,
    protection: Option<Protection>,
    connected: bool,
    began: Instant,
    faults: u32,
}

impl Transport {
    /// To a peer whose certificate has this fingerprint.
    ///
    /// # Errors
    /// The cryptography is not there.
    pub(super) fn new(
        mux: Arc<Mux>,
        link: Arc<Link>,
        identity: Arc<Identity>,
        peer: Fingerprint,
    ) -> Result<Self, dtls::Error> {
        let handshake = Handshake::new(&identity, peer)?;
        let began = Instant::now();
        let protection = None;
        let (connected, faults) = (false, 0);
        Ok(Self { mux, link, identity, handshake, protection, connected, began, faults })
    }

    /// A datagram of the peer's address.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn receive(&mut self, datagram: Bytes) -> Result<Came, End> {
        match datagram.first() {
            Some(20..=63) => self.shake_hands(&datagram).await,
            // RFC 5761 §4: the types of control packets are no payload types.
            Some(128..=191) if matches!(datagram.get(1), Some(192..=223)) => {
                let opened = self.protection.as_mut().and_then(|p| p.open_control(&datagram));
                Ok(opened.map_or(Came::Nothing, |packet| Came::Control(packet.freeze())))
            }
            Some(128..=191) => Ok(Came::Media(datagram)),
            // The peer's address has answered.
            _ => Ok(self.look()),
        }
    }

    /// Media can flow when there are keys, and the peer is where it would be sent.
    fn look(&mut self) -> Came {
        if self.connected || self.protection.is_none() || self.link.consented().is_none() {
            return Came::Nothing;
        }
        self.connected = true;
        Came::Connected
    }

    async fn shake_hands(&mut self, datagram: &[u8]) -> Result<Came, End> {
        let read = self.handshake.read(Instant::now(), datagram);
        self.flush().await;
        match read {
            Ok(Some(keys)) => {
                let protection = Protection::new(&keys, self.identity.provider());
                self.protection = Some(protection.map_err(|_| End::Handshake)?);
                Ok(self.look())
            }
            Ok(None) => Ok(Came::Nothing),
            Err(dtls::Error::Closed) => Err(End::Closed),
            Err(error) => {
                tracing::debug!(%error, "a handshake of WebRTC");
                self.faults = self.faults.saturating_add(1);
                if self.faults > MAX_FAULTS { Err(End::Handshake) } else { Ok(Came::Nothing) }
            }
        }
    }

    /// Sends what the handshake has to say.
    async fn flush(&mut self) {
        while let Some(datagram) = self.handshake.outgoing() {
            self.mux.send(&self.link, &datagram).await;
        }
    }

    /// Whether media can be sent.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Both directions' keys, once they are there.
    pub(super) fn protection(&mut self) -> Option<&mut Protection> {
        self.protection.as_mut()
    }

    /// Sends a datagram as it is.
    pub(super) async fn send(&mut self, datagram: &[u8]) {
        self.mux.send(&self.link, datagram).await;
    }

    /// When [`Self::pass_time`] has something to do.
    pub(super) fn due(&self) -> Instant {
        let patience = match self.link.consented() {
            Some(heard) if self.is_connected() => heard + CONSENT,
            _ => self.began + CONNECT_WITHIN,
        };
        self.handshake.deadline().map_or(patience, |at| at.min(patience))
    }

    /// Does what is due: sends again what was not answered, and notices a peer that is gone.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn pass_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now < self.due() {
            return Ok(());
        }
        match self.link.consented() {
            Some(heard) if self.is_connected() && now >= heard + CONSENT => {
                return Err(End::Vanished);
            }
            _ if !self.is_connected() && now >= self.began + CONNECT_WITHIN => {
                return Err(End::NeverConnected);
            }
            _ => {}
        }
        self.handshake.pass_time(now).map_err(|_| End::Handshake)?;
        self.flush().await;
        Ok(())
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        self.handshake.close(Instant::now());
        self.flush().await;
    }
}
