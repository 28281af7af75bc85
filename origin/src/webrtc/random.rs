//! Names, passwords and numbers that nobody guesses.

use super::WebRtc;
use super::asking::Refusal;

/// The system's randomness.
pub(super) struct Random<'a>(pub(super) &'a WebRtc);

impl Random<'_> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut bytes = [0; N];
        let filled = self.0.identity.provider().random().fill(&mut bytes);
        filled.map(|()| bytes).map_err(|_| Refusal::Unavailable)
    }

    pub(super) fn number(&mut self) -> Result<u32, Refusal> {
        // A stream's number is not nought.
        self.bytes().map(|bytes| u32::from_be_bytes(bytes).max(1))
    }

    /// Six bits a character, of those that fit a fragment, a URL and a header.
    pub(super) fn text(&mut self, length: usize) -> Result<String, Refusal> {
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
