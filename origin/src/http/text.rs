//! A text that is made once and sent many times: its bytes, their gzip form, and the ETag of each.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use axum::http::HeaderValue;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Below this many bytes the gzip header and the CPU cost more than is saved.
const WORTH_COMPRESSING: usize = 256;

/// Playlists shrink tenfold at any level; a higher one only costs time on the way to the viewer.
const LEVEL: Compression = Compression::new(4);

/// Bytes of the digest in an ETag: 64 bits are plenty to tell two versions of one URL apart.
const ETAG_BYTES: usize = 8;

/// One content of one URL. Cheap to share.
#[derive(Debug)]
pub(super) struct Text {
    identity: Encoded,
    gzip: OnceLock<Option<Encoded>>,
    digest: String,
}

/// A text as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    /// The bytes.
    pub(super) bytes: Bytes,
    /// Their strong ETag.
    pub(super) etag: HeaderValue,
    /// Whether the bytes are gzip.
    pub(super) gzip: bool,
}

impl Text {
    /// Takes a text; compresses nothing before somebody asks for it.
    pub(super) fn new(text: impl Into<Bytes>) -> Arc<Self> {
        let bytes = text.into();
        let digest = Sha256::digest(&bytes)
            .iter()
            .take(ETAG_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let identity = Encoded { bytes, etag: tag(&digest, ""), gzip: false };
        Arc::new(Self { identity, gzip: OnceLock::new(), digest })
    }

    /// The text for a client that does or does not read gzip. Compressed at the first call and kept.
    pub(super) fn encoded(&self, accepts_gzip: bool) -> Encoded {
        if !accepts_gzip || self.identity.bytes.len() < WORTH_COMPRESSING {
            return self.identity.clone();
        }
        let gzip = self.gzip.get_or_init(|| {
            let bytes = compress(&self.identity.bytes)?;
            Some(Encoded { bytes, etag: tag(&self.digest, "-gz"), gzip: true })
        });
        gzip.as_ref().unwrap_or(&self.identity).clone()
    }
}

/// The gzip form; `None` if it is no shorter.
fn compress(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), LEVEL);
    encoder.write_all(bytes).ok()?;
    let compressed = encoder.finish().ok()?;
    (compressed.len() < bytes.len()).then(|| compressed.into())
}

fn tag(digest: &str, suffix: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{digest}{suffix}\""))
        .unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compressed_once_and_shared() {
        let text = Text::new("#EXTINF:1.6,\n".repeat(100));
        let (first, again) = (text.encoded(true), text.encoded(true));
        assert!(first.gzip);
        assert_eq!(first.bytes.as_ptr(), again.bytes.as_ptr());
    }

    #[test]
    fn what_gains_nothing_is_sent_as_it_is() {
        assert!(!Text::new("short").encoded(true).gzip);
        let noise: Vec<u8> = (0..40u8).flat_map(|seed| Sha256::digest([seed]).to_vec()).collect();
        assert!(!Text::new(noise).encoded(true).gzip);
    }

    #[test]
    fn equal_texts_have_equal_tags_and_others_have_others() {
        let tag = |text: &'static str| Text::new(text).encoded(false).etag;
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
    }
}
