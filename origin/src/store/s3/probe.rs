//! What a store can do, found out by doing it once.
//!
//! An object is written, written again on the condition that it is not there, read and deleted, and an
//! upload in pieces is begun. What is refused for good makes the store unusable, with words on what
//! to do; what can't be reached now may be there later, and is no reason not to begin.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::bucket::{Bucket, Error, Kind};

/// How long each request of a probe may take.
const WITHIN: Duration = Duration::from_secs(8);
/// Who signs by a clock that is further off is refused by most stores: ours is corrected, and told.
const TOLD_SKEW: Duration = Duration::from_secs(60);

/// What a store can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it heeds `If-None-Match: *` on PUT. Where it does not, names are written
    /// unconditionally; nothing relies on it for locking.
    pub conditional_put: bool,
    /// Whether it takes uploads in pieces.
    pub multipart: bool,
    /// Milliseconds by which its clock is ahead of ours; 0 where they agree to a minute.
    pub clock_ahead_ms: i64,
}

/// One line for people.
impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |can| if can { "yes" } else { "no" };
        let (conditional, multipart) = (word(self.conditional_put), word(self.multipart));
        write!(f, "conditional PUT: {conditional}, multipart: {multipart}, clock: ")?;
        match self.clock_ahead_ms.unsigned_abs() {
            ms if u128::from(ms) < TOLD_SKEW.as_millis() => f.write_str("in step"),
            ms if self.clock_ahead_ms > 0 => write!(f, "{} s ahead of ours", ms / 1_000),
            ms => write!(f, "{} s behind ours", ms / 1_000),
        }
    }
}

/// Why a store can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It refuses; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// It can't be reached now.
    #[error("{0}")]
    Away(String),
}

/// Tries the store out under `key`.
pub(super) async fn probe(bucket: &Bucket, key: &str) -> Result<Abilities, Unusable> {
    let say = |error: Error| explain(&bucket.settings().bucket, error);
    let bytes = Bytes::from_static(b"headwater tries out what this store can do");
    let put =
        |only_new| bucket.put(key, bytes.clone(), Kind::Index { fixed: false }, only_new, WITHIN);
    let first = put(false).await;
    // Signed by a clock that is off: the answer has said by how much, and the next one is right.
    let first = if first.is_err() && bucket.skew_ms() != 0 { put(false).await } else { first };
    first.map_err(say)?;
    let conditional_put = match put(true).await {
        Err(Error::Exists) => true,
        // It overwrote the object, or does not know the header.
        Ok(()) | Err(Error::Refused { .. }) => false,
        Err(Error::Trouble(words)) if words.contains("NotImplemented") => false,
        Err(error) => return Err(say(error)),
    };
    let read = bucket.get(key, None, WITHIN).await.map_err(say)?;
    if read.bytes != bytes {
        let words = "it gives back other bytes than were stored: is there a cache in front of it?";
        return Err(Unusable::Refused(words.to_owned()));
    }
    let multipart = bucket.try_multipart(&format!("{key}-multipart"), WITHIN).await.is_ok();
    // What may be written and not deleted can be used: its objects are kept, or go by lifecycle.
    if let Err(error) = bucket.delete(key, WITHIN).await {
        tracing::warn!(%error, "the store lets nothing be deleted: retention is its lifecycle's");
    }
    bucket.set_conditional(conditional_put);
    Ok(Abilities { conditional_put, multipart, clock_ahead_ms: bucket.skew_ms() })
}

/// What somebody can do about it.
pub(super) fn explain(bucket: &str, error: Error) -> Unusable {
    let advice = match &error {
        Error::Refused { code, .. } => match code.as_str() {
            "NoSuchBucket" => format!("there is no bucket {bucket:?}: make it, or name another"),
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => {
                "the credentials are not right: check the access key, the secret and the region"
                    .into()
            }
            "AccessDenied" | "AllAccessDisabled" | "403" | "401" => format!(
                "the credentials may not do that: they need s3:GetObject, s3:PutObject and \
                 s3:DeleteObject on {bucket}/*"
            ),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "301" => {
                "the bucket is in another region: set `region`".into()
            }
            "405" => "is this the address of an S3 API?".into(),
            _ => String::new(),
        },
        Error::NoCredentials(_) => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have \
             `credentials` name a file that can be read, in the form of ~/.aws/credentials"
            .into(),
        Error::Missing => format!("there is no bucket {bucket:?} at this address, or no S3"),
        Error::Torn { .. } => {
            "what was stored did not come back: is there a proxy in between?".into()
        }
        other => return Unusable::Away(other.to_string()),
    };
    Unusable::Refused(if advice.is_empty() {
        error.to_string()
    } else {
        format!("{error}; {advice}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_an_absence_is_no_refusal() {
        let refused = |code: &str| {
            let error = Error::Refused { code: code.into(), message: "no".into() };
            explain("news", error)
        };
        for (code, word) in [
            ("NoSuchBucket", "make it"),
            ("SignatureDoesNotMatch", "secret"),
            ("AccessDenied", "s3:PutObject"),
            ("PermanentRedirect", "region"),
            ("405", "an S3 API?"),
        ] {
            let Unusable::Refused(words) = refused(code) else { panic!("{code}") };
            assert!(words.contains(word), "{words}");
        }
        for away in [Error::Late(WITHIN), Error::Trouble("503".into())] {
            assert!(matches!(explain("news", away), Unusable::Away(_)));
        }
        let told = explain("news", Error::NoCredentials("none".into()));
        assert!(
            matches!(&told, Unusable::Refused(words) if words.contains("AWS_ACCESS_KEY_ID")),
            "{told:?}"
        );
    }

    #[test]
    fn abilities_are_one_line() {
        let abilities =
            Abilities { conditional_put: true, multipart: false, clock_ahead_ms: -180_000 };
        let line = "conditional PUT: yes, multipart: no, clock: 180 s behind ours";
        assert_eq!(abilities.to_string(), line);
    }
}
