//! VP8 in packets (RFC 7741 §4.2, §4.3): a frame is its payloads behind their descriptors, one after the other. A
//! key frame says itself how large it is (RFC 6386 §9.1).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{Buf as _, Bytes, BytesMut};
use ingest::source::{ForeignPictures, PictureCodec};

use super::{Frame, MAX_PICTURE};

/// Behind the frame tag of a key frame.
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
/// Of a size; what is above is how a viewer is asked to enlarge it, which nobody does.
const SIZE: u16 = 0x3fff;

/// What there is of the frame under way.
#[derive(Debug, Default)]
pub(super) struct Vp8 {
    data: BytesMut,
    /// What was last handed out.
    told: Option<ForeignPictures>,
    /// Of the key frame that was last finished.
    size: Option<(u16, u16)>,
}

impl Vp8 {
    /// The next payload; `None` if it makes no sense.
    pub(super) fn read(&mut self, payload: &Bytes) -> Option<()> {
        let mut payload = payload.clone();
        let begins = describe(&mut payload)?;
        // The first partition of a frame begins it, and nothing else does.
        if begins != self.data.is_empty() || payload.is_empty() {
            return None;
        }
        if self.data.len().saturating_add(payload.len()) >= MAX_PICTURE {
            return None;
        }
        self.data.extend_from_slice(&payload);
        Some(())
    }

    /// Ends the frame under way; `None` if it is none.
    pub(super) fn finish(&mut self) -> Option<Frame> {
        let data = std::mem::take(&mut self.data).freeze();
        let sync = data.first().is_some_and(|tag| tag & 1 == 0);
        if sync {
            self.size = Some(size(&data)?);
        }
        Some(Frame { data, sync })
    }

    /// How a key frame is coded, if that is another way than before.
    pub(super) fn config(&mut self) -> Option<ForeignPictures> {
        let (width, height) = self.size?;
        let now = ForeignPictures { codec: PictureCodec::Vp8, width, height };
        (self.told.replace(now) != Some(now)).then_some(now)
    }

    /// Whether there was a key frame.
    pub(super) fn is_decodable(&self) -> bool {
        self.told.is_some()
    }
}

/// Takes the descriptor off a payload; gives whether a frame begins behind it.
fn describe(payload: &mut Bytes) -> Option<bool> {
    let mut byte = || (!payload.is_empty()).then(|| payload.get_u8());
    let first = byte()?;
    if first & 0x80 != 0 {
        let more = byte()?;
        // A picture's number, of one byte or two.
        if more & 0x80 != 0 && byte()? & 0x80 != 0 {
            byte()?;
        }
        // Its place among temporal layers.
        if more & 0x40 != 0 {
            byte()?;
        }
        if more & 0x30 != 0 {
            byte()?;
        }
    }
    Some(first & 0x10 != 0 && first & 0x07 == 0)
}

/// Width and height of a key frame; `None` if it is none.
fn size(frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, a, b, c, w0, w1, h0, h1, ..] = frame else { return None };
    let (width, height) =
        (u16::from_le_bytes([*w0, *w1]) & SIZE, u16::from_le_bytes([*h0, *h1]) & SIZE);
    ([*a, *b, *c] == START_CODE && width > 0 && height > 0).then_some((width, height))
}

/// Whether a payload is the beginning of a frame.
pub(super) fn is_beginning(payload: &Bytes) -> bool {
    describe(&mut payload.clone()) == Some(true)
}
