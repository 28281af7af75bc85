//! The handshake that gives both sides of a session their keys: DTLS 1.2 as its server (RFC 5763,
//! RFC 5764), with the certificate that the answer names by its fingerprint.
//!
//! ```text
//! datagrams of the validated address ─► Handshake ─► datagrams, Keys (once)
//! ```
//! The certificate is made when the server starts and never leaves memory: who comes back after a restart
//! negotiates anew anyway. The peer's certificate has to be the one that its offer named; nothing else of it
//! matters. There are no data channels: what comes encrypted behind the handshake is thrown away. How many
//! datagrams are read at all is bounded, since pieces of messages that are never whole are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_srtp::config::LABEL_EXTRACTOR_DTLS_SRTP;
use rtc_srtp::protection_profile::ProtectionProfile;
use sha2::{Digest as _, Sha256};

/// How long a flight waits for its answer before it is sent again: browsers begin with 50 ms.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of a handshake's datagram.
const MTU: usize = 1_200;
/// Datagrams that are read of one peer: a handshake has ten, and as many again for each time that all are lost.
const MAX_DATAGRAMS: u32 = 128;
/// The one peer of a session, whatever its address is at the moment: that it is the right one is ICE's to
/// say, and it may change.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
/// In the order of our liking: GCM takes half the time of the other where AES is in hardware.
const PROFILES: [SrtpProtectionProfile; 2] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];

/// Why there is no secure session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cryptography is not there, or no certificate can be made.
    #[error("can't make a certificate for WebRTC: {0}")]
    Identity(String),
    /// The handshake failed.
    #[error("DTLS: {0}")]
    Handshake(String),
    /// The peer offers no protection that we have.
    #[error("the peer has no SRTP profile that we have")]
    Profile,
    /// The peer ended the session.
    #[error("the peer closed the session")]
    Closed,
}

/// SHA-256 of a certificate.
pub(super) type Fingerprint = [u8; 32];

/// Who we are to every peer.
pub(super) struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new() -> Result<Self, Error> {
        let failed = Error::Identity;
        let provider = rtc_crypto::default_provider().map_err(|e| failed(e.to_string()))?;
        let names = vec!["headwater".to_owned()];
        let certificate = Certificate::generate_self_signed(names, provider.crypto())
            .map_err(|e| failed(e.to_string()))?;
        let der = certificate.certificate.first().ok_or_else(|| failed("it is empty".into()))?;
        let fingerprint = Sha256::digest(der).into();
        Ok(Self { provider, certificate, fingerprint })
    }

    /// Of our certificate.
    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The cryptography that everything of WebRTC uses.
    pub(super) fn provider(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.provider
    }

    fn config(&self, peer: Fingerprint) -> Result<Arc<HandshakeConfig>, Error> {
        let verify = move |certificates: &[Vec<u8>], _: &[_]| {
            let theirs = certificates.first().map(|der| Fingerprint::from(Sha256::digest(der)));
            if theirs == Some(peer) {
                Ok(())
            } else {
                Err(RtcError::Other("not the certificate of the offer".to_owned()))
            }
        };
        ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&self.provider))
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(PROFILES.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_flight_interval(FLIGHT_INTERVAL)
            .with_mtu(MTU)
            .build(false, None)
            .map(Arc::new)
            .map_err(|error| Error::Handshake(error.to_string()))
    }
}

/// What both sides know after the handshake.
pub(super) struct Keys {
    pub(super) profile: ProtectionProfile,
    /// As RFC 5764 §4.2 lays it out.
    pub(super) material: Vec<u8>,
}

/// One session's.
pub(super) struct Handshake {
    endpoint: Endpoint,
    done: bool,
    /// Datagrams that were read.
    read: u32,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Handshake {
    /// With a peer whose certificate has this fingerprint.
    ///
    /// # Errors
    /// The cryptography is not there.
    pub(super) fn new(identity: &Identity, peer: Fingerprint) -> Result<Self, Error> {
        let config = identity.config(peer)?;
        let endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(config));
        Ok(Self { endpoint, done: false, read: 0 })
    }

    /// Reads a datagram, unless too many came; gives the keys when they are there.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::Profile`] end the session. A datagram that makes no sense does not:
    /// anybody could have sent it.
    pub(super) fn read(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Keys>, Error> {
        if self.read >= MAX_DATAGRAMS {
            return Ok(None);
        }
        self.read = self.read.saturating_add(1);
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(datagram));
        let events = match events {
            Ok(events) => events,
            Err(error) if self.done => {
                tracing::debug!(%error, "a DTLS datagram was left out");
                return Ok(None);
            }
            Err(error) => return Err(Error::Handshake(error.to_string())),
        };
        let mut keys = None;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => keys = Some(self.keys()?),
                EndpointEvent::PeerClosed => return Err(Error::Closed),
                // Of data channels, which no answer of ours agrees to.
                _ => {}
            }
        }
        Ok(keys)
    }

    fn keys(&mut self) -> Result<Keys, Error> {
        self.done = true;
        let state = self.endpoint.get_connection_state(PEER).ok_or(Error::Closed)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ProtectionProfile::Aes128CmHmacSha1_80
            }
            _ => return Err(Error::Profile),
        };
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length)
            .map_err(|error| Error::Handshake(error.to_string()))?;
        Ok(Keys { profile, material: material.as_ref().to_vec() })
    }

    /// What is to be sent next.
    pub(super) fn outgoing(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// When [`Self::pass_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER)
    }

    /// Sends a flight again whose answer did not come.
    ///
    /// # Errors
    /// It has been sent often enough.
    pub(super) fn pass_time(&mut self, now: Instant) -> Result<(), Error> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let passed = self.endpoint.handle_timeout(PEER, now);
        passed.map_err(|error| Error::Handshake(error.to_string()))
    }

    /// Tells the peer that the session ends.
    pub(super) fn close(&mut self, now: Instant) {
        self.endpoint.stop(now, PEER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_never_become_a_message_are_not_kept_without_end() {
        let mut handshake = Handshake::new(&Identity::new().unwrap(), [0; 32]).unwrap();
        // A record of handshake whose pieces are empty: they count for nothing in the library's own bound.
        let mut datagram = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for sequence in 1..=100u16 {
            datagram.extend([1, 0, 0, 9]);
            datagram.extend(sequence.to_be_bytes());
            datagram.extend([0; 6]);
        }
        let length = u16::try_from(datagram.len() - 13).unwrap();
        datagram.splice(11..13, length.to_be_bytes());
        for _ in 0..10 * MAX_DATAGRAMS {
            let _ = handshake.read(Instant::now(), &datagram);
        }
        assert_eq!(handshake.read, MAX_DATAGRAMS);
    }
}
