//! Protects what is sent and opens what comes (RFC 3711, RFC 7714), each direction with its own keys.
//!
//! A stream's place in the sequence is kept by its SSRC, which stands unprotected in the packet: so only
//! streams that were agreed on are opened, and of control packets as many streams as a browser may have.

use std::collections::HashSet;

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::config::Config;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};

use super::dtls::Keys;

/// Packets that may come late by so many: a second of 2.5 Mb/s, so that none that was asked for again is
/// taken for a replay.
const WINDOW: usize = 512;
/// Streams that control packets may come from: a browser has one or two.
const MAX_CONTROL_STREAMS: usize = 64;

/// Why there is no protection.
#[derive(Debug, thiserror::Error)]
#[error("SRTP: {0}")]
pub(super) struct Error(String);

/// Both directions of a session.
pub(super) struct Protection {
    outgoing: Context,
    incoming: Context,
    controlling: HashSet<u32>,
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protection").finish_non_exhaustive()
    }
}

impl Protection {
    /// Of a session whose DTLS server we were.
    ///
    /// # Errors
    /// The keys do not fit the profile.
    pub(super) fn new(keys: &Keys, provider: &dyn RTCCryptoProvider) -> Result<Self, Error> {
        let failed = |error: rtc_shared::error::Error| Error(error.to_string());
        let mut config = Config { profile: keys.profile, ..Config::default() };
        config.set_session_keys_from_keying_material(&keys.material, false).map_err(failed)?;
        let crypto = provider.crypto();
        let of = config.keys;
        let (key, salt) = (&of.local_master_key, &of.local_master_salt);
        let outgoing = Context::new(key, salt, keys.profile, None, None, crypto).map_err(failed)?;
        let (key, salt) = (&of.remote_master_key, &of.remote_master_salt);
        let rtp = Some(srtp_replay_protection(WINDOW));
        let rtcp = Some(srtcp_replay_protection(WINDOW));
        let incoming = Context::new(key, salt, keys.profile, rtp, rtcp, crypto).map_err(failed)?;
        Ok(Self { outgoing, incoming, controlling: HashSet::new() })
    }

    /// Protects a whole RTP packet; `None` if its stream has used up its keys.
    pub(super) fn protect(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtp(packet).ok()
    }

    /// Protects a compound of control packets.
    pub(super) fn protect_control(&mut self, compound: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtcp(compound).ok()
    }

    /// Opens a packet of media, of a stream that was agreed on; `None` if it is not the peer's, or came
    /// before.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.incoming.decrypt_rtp(packet).ok()
    }

    /// Opens a control packet; `None` if it is not the peer's, or came before.
    pub(super) fn open_control(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
        if !self.controlling.contains(&ssrc) && self.controlling.len() >= MAX_CONTROL_STREAMS {
            return None;
        }
        self.controlling.insert(ssrc);
        self.incoming.decrypt_rtcp(packet).ok()
    }
}
