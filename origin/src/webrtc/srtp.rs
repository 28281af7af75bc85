//! Protects what is sent and opens what comes (RFC 3711, RFC 7714), each direction with its own keys.
//!
//! A stream's place in the sequence is kept by its SSRC, which anybody can write: the first packet of a stream is
//! opened apart, and only one that is the peer's has the stream known from then on. How many are known is bounded.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::config::Config;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::dtls::Keys;

/// Packets that may come late by so many: a second of 2.5 Mb/s, so that none that was asked for again is
/// taken for a replay.
const WINDOW: usize = 512;
/// Streams of a peer, of media and of control packets each: a browser has two or three.
const MAX_STREAMS: usize = 64;

/// Bytes of the index behind a control packet, whose first bit says that it is encrypted.
const SRTCP_INDEX: usize = 4;

/// Why there is no protection.
#[derive(Debug, thiserror::Error)]
#[error("SRTP: {0}")]
pub(super) struct Error(String);

/// Both directions of a session.
pub(super) struct Protection {
    outgoing: Context,
    incoming: Context,
    /// What contexts for the first packets of streams are made with.
    keys: Incoming,
    /// Streams of media that are known, and those that control packets come from.
    media: HashSet<u32>,
    control: HashSet<u32>,
}

struct Incoming {
    profile: ProtectionProfile,
    key: Vec<u8>,
    salt: Vec<u8>,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Incoming {
    fn context(&self) -> Result<Context, Error> {
        let rtp = Some(srtp_replay_protection(WINDOW));
        let rtcp = Some(srtcp_replay_protection(WINDOW));
        let crypto = self.provider.crypto();
        let context = Context::new(&self.key, &self.salt, self.profile, rtp, rtcp, crypto);
        context.map_err(|error| Error(error.to_string()))
    }
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
    pub(super) fn new(keys: &Keys, provider: &Arc<dyn RTCCryptoProvider>) -> Result<Self, Error> {
        let failed = |error: rtc_shared::error::Error| Error(error.to_string());
        let mut config = Config { profile: keys.profile, ..Config::default() };
        config.set_session_keys_from_keying_material(&keys.material, false).map_err(failed)?;
        let of = config.keys;
        let (key, salt) = (&of.local_master_key, &of.local_master_salt);
        let crypto = provider.crypto();
        let outgoing = Context::new(key, salt, keys.profile, None, None, crypto).map_err(failed)?;
        let keys = Incoming {
            profile: keys.profile,
            key: of.remote_master_key.to_vec(),
            salt: of.remote_master_salt.to_vec(),
            provider: Arc::clone(provider),
        };
        let incoming = keys.context()?;
        let (media, control) = (HashSet::new(), HashSet::new());
        Ok(Self { outgoing, incoming, keys, media, control })
    }

    /// Protects a whole RTP packet; `None` if its stream has used up its keys.
    pub(super) fn protect(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtp(packet).ok()
    }

    /// Protects a compound of control packets.
    pub(super) fn protect_control(&mut self, compound: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtcp(compound).ok()
    }

    /// Opens a packet of media; `None` if it is not the peer's, or came before.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = u32::from_be_bytes(packet.get(8..12)?.try_into().ok()?);
        if !self.media.contains(&ssrc) {
            if self.media.len() >= MAX_STREAMS {
                return None;
            }
            self.keys.context().ok()?.decrypt_rtp(packet).ok()?;
            self.media.insert(ssrc);
        }
        self.incoming.decrypt_rtp(packet).ok()
    }

    /// Opens a control packet; `None` if it is not the peer's, or came before.
    pub(super) fn open_control(&mut self, packet: &[u8]) -> Option<BytesMut> {
        // One that says that it is not encrypted (RFC 3711 §3.4) is taken by the library without any proof, and
        // sent by nobody.
        let behind = self.keys.profile.rtcp_auth_tag_len().checked_add(SRTCP_INDEX)?;
        if packet.get(packet.len().checked_sub(behind)?)? & 0x80 == 0 {
            return None;
        }
        let ssrc = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
        if !self.control.contains(&ssrc) {
            if self.control.len() >= MAX_STREAMS {
                return None;
            }
            self.keys.context().ok()?.decrypt_rtcp(packet).ok()?;
            self.control.insert(ssrc);
        }
        self.incoming.decrypt_rtcp(packet).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::packets::{self, Header};
    use super::super::rtcp;
    use super::*;

    /// A session as its peer has it: what the one protects the other opens.
    fn pair(profile: ProtectionProfile) -> (Context, Protection) {
        let provider = rtc_crypto::default_provider().unwrap();
        let length = 2 * (profile.key_len() + profile.salt_len());
        let material = (0..length).map(|byte| u8::try_from(byte).unwrap()).collect();
        let keys = Keys { profile, material };
        let protection = Protection::new(&keys, &provider).unwrap();
        let Incoming { key, salt, .. } = &protection.keys;
        let theirs = Context::new(key, salt, profile, None, None, provider.crypto()).unwrap();
        (theirs, protection)
    }

    fn media(ssrc: u32) -> BytesMut {
        let header = Header {
            payload_type: 96,
            marker: true,
            sequence: 7,
            timestamp: 9,
            ssrc,
            at_once: None,
        };
        let mut packet = BytesMut::new();
        packets::write(&mut packet, header, None, b"payload");
        packet
    }

    fn control(ssrc: u32) -> BytesMut {
        let mut packet = BytesMut::new();
        rtcp::write_pli(&mut packet, ssrc, 1);
        packet
    }

    #[test]
    fn strangers_take_no_room_and_keep_nobody_out() {
        for profile in [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80] {
            let (mut theirs, mut ours) = pair(profile);
            for ssrc in 0..10 * u32::try_from(MAX_STREAMS).unwrap() {
                let forged = [&media(ssrc)[..], &[0; 24]].concat();
                assert!(ours.open(&forged).is_none());
                let forged = [&control(ssrc)[..], &[0xff; 24]].concat();
                assert!(ours.open_control(&forged).is_none());
            }
            assert!(ours.media.is_empty() && ours.control.is_empty());
            let sent = theirs.encrypt_rtp(&media(5)).unwrap();
            assert_eq!(ours.open(&sent).as_deref(), Some(&media(5)[..]));
            assert!(ours.open(&sent).is_none(), "once more");
            let sent = theirs.encrypt_rtcp(&control(5)).unwrap();
            assert_eq!(ours.open_control(&sent).as_deref(), Some(&control(5)[..]));
            assert!(ours.open_control(&sent).is_none(), "once more");
        }
    }

    #[test]
    fn a_control_packet_that_says_it_is_not_encrypted_proves_nothing() {
        for profile in [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80] {
            let (_, mut ours) = pair(profile);
            // Forged by somebody who has no keys: the index and its bit of nought, and any proof.
            for length in 12..40 {
                let forged = [control(5).to_vec(), vec![0; length]].concat();
                assert!(ours.open_control(&forged).is_none(), "{length}");
            }
        }
    }

    #[test]
    fn the_streams_of_a_peer_are_bounded() {
        let (mut theirs, mut ours) = pair(ProtectionProfile::AeadAes128Gcm);
        let most = u32::try_from(MAX_STREAMS).unwrap();
        let opened = (0..2 * most)
            .filter(|ssrc| ours.open(&theirs.encrypt_rtp(&media(*ssrc)).unwrap()).is_some());
        assert_eq!(opened.count(), MAX_STREAMS);
    }
}
