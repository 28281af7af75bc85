//! The connectivity checks of ICE-lite (RFC 8445 §2.5): which binding request is for whom, whether it is
//! theirs, and its answer; and the question of ours that an address is asked before media goes there (RFC 7675).
//!
//! A request is looked at in two steps, since the key depends on what stands in it: [`Request::read`] gives
//! the user name, [`Request::verify`] checks the message against the password that goes with it. Nothing is
//! ever answered before both have succeeded, so that nobody is sent anything who has not been told the
//! password over HTTP. What stands behind the proof is not covered by it and counts for nothing (RFC 8489 §14.5).
//!
//! That a request is theirs does not say that they are where it came from: addresses of datagrams can be
//! forged. So each address is asked [in turn](ask), with the peer's own password, and who is there
//! [answers](Answer).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;

use rtc_crypto::RTCCrypto;
use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY,
    ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType, RawAttribute,
};
use rtc_stun::fingerprint::{FINGERPRINT, fingerprint_value};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter as _, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;

/// Bytes of the longest message that is read: those of browsers have about 120.
const MAX_MESSAGE: usize = 548;
/// Bytes of a header and of the shortest attribute.
const HEADER: usize = 20;
/// Attributes of a message: browsers send seven.
const MAX_ATTRIBUTES: usize = 24;
/// Bytes of an HMAC-SHA1 (RFC 8489 §14.5).
const INTEGRITY: usize = 20;
/// Bytes of the FINGERPRINT attribute, its header included.
const FINGERPRINT_ATTRIBUTE: usize = 8;
/// Of a candidate that is found by asking it (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = 110 << 24 | 0x00ff_ffff;

/// What an answer is known by, and nobody guesses.
pub(super) type Transaction = [u8; 12];

/// A binding request whose sender is not known yet.
#[derive(Debug)]
pub(super) struct Request {
    message: Message,
    /// The fragment of ours that it names.
    local: String,
    /// The fragment of the peer's own.
    remote: String,
}

impl Request {
    /// Reads a datagram; `None` if it is no binding request that could be meant for us.
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        let message = read(datagram, BINDING_REQUEST)?;
        let name = &covered(&message, ATTR_USERNAME)?.value;
        let (local, remote) = std::str::from_utf8(name).ok()?.split_once(':')?;
        let (local, remote) = (local.to_owned(), remote.to_owned());
        Some(Self { message, local, remote })
    }

    /// The fragment of ours that it names, and the peer's.
    pub(super) fn fragments(&self) -> (&str, &str) {
        (&self.local, &self.remote)
    }

    /// What its answer is known by.
    #[cfg(any(test, fuzzing))]
    pub(super) fn transaction(&self) -> Transaction {
        self.message.transaction_id.0
    }

    /// Whether its sender knows the password.
    pub(super) fn verify(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto).is_ok()
    }

    /// Whether the pair is to be used (RFC 8445 §8.1.1).
    pub(super) fn nominates(&self) -> bool {
        covered(&self.message, ATTR_USE_CANDIDATE).is_some()
    }

    /// The answer to somebody at an address; `None` if it can't be made.
    pub(super) fn success(
        &self,
        to: SocketAddr,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let mut answer = begin(BINDING_SUCCESS, self.message.transaction_id);
        let mapped = XorMappedAddress { ip: to.ip().to_canonical(), port: to.port() };
        mapped.add_to(&mut answer).ok()?;
        sealed(answer, password, crypto)
    }
}

/// A binding request of ours to somebody who is known by both fragments, `theirs:ours`, and by a password of
/// theirs; `None` if it can't be made.
pub(super) fn ask(
    transaction: Transaction,
    name: &str,
    password: &str,
    crypto: &dyn RTCCrypto,
) -> Option<Vec<u8>> {
    let mut question = begin(BINDING_REQUEST, TransactionId(transaction));
    question.add(ATTR_USERNAME, name.as_bytes());
    question.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
    // A lite agent is the controlled one (RFC 8445 §6.1.1), and breaks no tie.
    question.add(ATTR_ICE_CONTROLLED, &[0; 8]);
    sealed(question, password, crypto)
}

/// The answer to [such a question](ask), whose sender is not known yet.
#[derive(Debug)]
pub(super) struct Answer(Message);

impl Answer {
    /// Reads a datagram; `None` if it is no such answer.
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        read(datagram, BINDING_SUCCESS).map(Self)
    }

    /// The question that it answers.
    pub(super) fn transaction(&self) -> Transaction {
        self.0.transaction_id.0
    }

    /// Whether its sender knows the password.
    pub(super) fn verify(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.0, password.as_bytes(), crypto).is_ok()
    }
}

/// Reads a message of a type that bears one proof, which is not looked at yet, and ends with a fingerprint, as
/// all checks of connectivity and their answers do (RFC 8445 §7.1.1, §7.3).
fn read(datagram: &[u8], kind: MessageType) -> Option<Message> {
    if datagram.len() < HEADER || datagram.len() > MAX_MESSAGE {
        return None;
    }
    // What is announced is what is there: nothing may follow (RFC 8489 §5).
    let announced = u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]);
    if usize::from(announced).checked_add(HEADER)? != datagram.len() || announced % 4 != 0 {
        return None;
    }
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    if message.typ != kind || message.attributes.0.len() > MAX_ATTRIBUTES {
        return None;
    }
    let mut integrities = message.attributes.0.iter().filter(|a| a.typ == ATTR_MESSAGE_INTEGRITY);
    let one = integrities.next().is_some_and(|a| a.value.len() == INTEGRITY);
    if !one || integrities.next().is_some() || !has_right_fingerprint(&message, datagram) {
        return None;
    }
    Some(message)
}

/// The first attribute of a type among those that the proof covers.
fn covered(message: &Message, kind: AttrType) -> Option<&RawAttribute> {
    let mut covered = message.attributes.0.iter().take_while(|a| a.typ != ATTR_MESSAGE_INTEGRITY);
    covered.find(|attribute| attribute.typ == kind)
}

fn begin(kind: MessageType, transaction: TransactionId) -> Message {
    let mut message = Message::new();
    message.set_type(kind);
    message.transaction_id = transaction;
    message.write_header();
    message
}

/// A whole message with its proof and its fingerprint behind it.
fn sealed(mut message: Message, password: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
    let key = password.as_bytes();
    MessageIntegrity::new_raw_integrity_with_provider(key, crypto).add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// A request of attributes as they stand, or an answer if the first byte is odd, with a right proof: what fuzzing
/// can't guess. `None` where that would be no proof: there is one already, or what stands before is no whole
/// attributes, whose last would have it for its value.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed_from(bytes: &[u8], password: &str, crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
    let (first, attributes) = bytes.split_first()?;
    let kind = if first & 1 == 0 { BINDING_REQUEST } else { BINDING_SUCCESS };
    let mut message = begin(kind, TransactionId([7; 12]));
    message.raw.extend_from_slice(attributes.get(..MAX_MESSAGE).unwrap_or(attributes));
    message.raw.resize(message.raw.len().next_multiple_of(4), 0);
    message.length = u32::try_from(message.raw.len().checked_sub(HEADER)?).ok()?;
    message.write_length();
    let mut before = Message::new();
    before.unmarshal_binary(&message.raw).ok()?;
    let has_one = before.attributes.0.iter().any(|a| a.typ == ATTR_MESSAGE_INTEGRITY);
    if has_one { None } else { sealed(message, password, crypto) }
}

/// Whether the fingerprint is the last attribute and right (RFC 8489 §14.7).
fn has_right_fingerprint(message: &Message, datagram: &[u8]) -> bool {
    let Some(last) = message.attributes.0.last().filter(|a| a.typ == ATTR_FINGERPRINT) else {
        return false;
    };
    let Some(before) = datagram.len().checked_sub(FINGERPRINT_ATTRIBUTE) else { return false };
    let Some(covered) = datagram.get(..before) else { return false };
    last.value == fingerprint_value(covered).to_be_bytes()
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]
mod tests {
    use rtc_stun::textattrs::TextAttribute;

    use super::*;

    const PASSWORD: &str = "0123456789abcdefghijkl";

    fn crypto() -> std::sync::Arc<dyn rtc_crypto::RTCCryptoProvider> {
        rtc_crypto::default_provider().unwrap()
    }

    fn request(name: &str, password: &str) -> Vec<u8> {
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.new_transaction_id().unwrap();
        message.write_header();
        TextAttribute::new(ATTR_USERNAME, name.to_owned()).add_to(&mut message).unwrap();
        message.add(ATTR_USE_CANDIDATE, &[]);
        let provider = crypto();
        let key = MessageIntegrity::new_raw_integrity_with_provider(password, provider.crypto());
        key.add_to(&mut message).unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    #[test]
    fn who_knows_the_password_is_answered_with_the_address_seen() {
        let provider = crypto();
        let mut asked = Request::read(&request("ours:theirs", PASSWORD)).unwrap();
        assert_eq!(asked.fragments(), ("ours", "theirs"));
        assert!(asked.nominates() && asked.verify(PASSWORD, provider.crypto()));
        let to: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let answer = asked.success(to, PASSWORD, provider.crypto()).unwrap();
        let mut read = Message::new();
        read.unmarshal_binary(&answer).unwrap();
        assert_eq!(read.typ, BINDING_SUCCESS);
        assert_eq!(read.transaction_id, asked.message.transaction_id);
        let mut seen = XorMappedAddress { ip: [0, 0, 0, 0].into(), port: 0 };
        seen.get_from_as(&read, rtc_stun::attributes::ATTR_XORMAPPED_ADDRESS).unwrap();
        assert_eq!((seen.ip, seen.port), (to.ip(), to.port()));
        MessageIntegrity::check(&mut read, PASSWORD.as_bytes(), provider.crypto()).unwrap();
        assert!(answer.len() <= request("ours:theirs", PASSWORD).len(), "it amplifies");
    }

    #[test]
    fn what_stands_behind_the_proof_counts_for_nothing() {
        let whole = request("ours:theirs", PASSWORD);
        // Without its fingerprint, as somebody on the way may cut it, and with more in its place.
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.transaction_id.0.copy_from_slice(&whole[8..20]);
        message.write_header();
        TextAttribute::new(ATTR_USERNAME, "ours:theirs".to_owned()).add_to(&mut message).unwrap();
        let provider = crypto();
        let key = MessageIntegrity::new_raw_integrity_with_provider(PASSWORD, provider.crypto());
        key.add_to(&mut message).unwrap();
        message.add(ATTR_USE_CANDIDATE, &[]);
        FINGERPRINT.add_to(&mut message).unwrap();
        let mut asked = Request::read(&message.raw).unwrap();
        assert!(asked.verify(PASSWORD, provider.crypto()) && !asked.nominates());
    }

    #[test]
    fn an_answer_is_known_by_its_question_and_its_password() {
        let provider = crypto();
        let question = ask([7; 12], "theirs:ours", PASSWORD, provider.crypto()).unwrap();
        let mut theirs = Request::read(&question).unwrap();
        assert_eq!(theirs.fragments(), ("theirs", "ours"));
        assert!(theirs.verify(PASSWORD, provider.crypto()) && !theirs.nominates());
        let from: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let whole = theirs.success(from, PASSWORD, provider.crypto()).unwrap();
        let mut answer = Answer::read(&whole).unwrap();
        assert_eq!(answer.transaction(), [7; 12]);
        assert!(answer.verify(PASSWORD, provider.crypto()));
        assert!(!answer.verify("guessed", provider.crypto()));
        assert!(Request::read(&whole).is_none() && Answer::read(&question).is_none());
        for length in 0..whole.len() {
            assert!(Answer::read(&whole[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn another_password_is_none() {
        let mut asked = Request::read(&request("ours:theirs", "guessed")).unwrap();
        assert!(!asked.verify(PASSWORD, crypto().crypto()));
    }

    #[test]
    fn what_is_cut_or_changed_is_not_read_or_not_verified() {
        let whole = request("ours:theirs", PASSWORD);
        let provider = crypto();
        for length in 0..whole.len() {
            assert!(Request::read(&whole[..length]).is_none(), "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let fine = Request::read(&changed)
                .is_some_and(|mut asked| asked.verify(PASSWORD, provider.crypto()));
            assert!(!fine, "byte {at}");
        }
        assert!(Request::read(&[whole.clone(), vec![0; 4]].concat()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_read_panics(datagram in proptest::collection::vec(0u8.., 0..200)) {
            let mut forged = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            forged.extend(datagram);
            let length = u16::try_from(forged.len().saturating_sub(20)).unwrap();
            forged[2..4].copy_from_slice(&length.to_be_bytes());
            if let Some(mut asked) = Request::read(&forged) {
                asked.verify(PASSWORD, crypto().crypto());
            }
        }
    }
}
