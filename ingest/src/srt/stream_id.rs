//! The stream identifier of a caller: which channel it wants to publish to, and with which key.
//!
//! | form | who writes it |
//! |---|---|
//! | `#!::m=publish,r=news,s=KEY` | SRT's own (its `access-control.md`); other names are passed over |
//! | `publish:news:KEY`, `publish:news:USER:KEY` | MediaMTX and what was written for it |
//! | `news?key=KEY` | an RTMP stream key |
//!
//! A channel may have `live/` before it and slashes around it, and `?key=KEY` behind it in every form.
//! What is percent-encoded is decoded once: the whole, where none of its structure is there
//! otherwise, else each piece. Without a mode it is `publish`: nothing can be played here.
//!
//! Pure. The name is checked by the hub, and so is the key.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use super::library::MAX_STREAM_ID;
use super::reject::Reject;
use crate::secret::Secret;
use crate::text::percent_decoded;

/// How SRT's own form begins.
const STANDARD: &str = "#!::";
/// How its nested form begins, which nobody writes.
const NESTED: &str = "#!{";
/// The application's name, as in RTMP.
const APPLICATION: &str = "live/";

/// A wish to publish, as written by the peer. Nothing in it is checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The channel's name.
    pub channel: String,
    /// The keys that it may mean: a `:` may be part of one, or what ends a user's name.
    keys: Vec<Secret>,
}

impl Target {
    /// What is offered as a key, one after the other; once `None` if nothing is.
    pub fn keys(&self) -> impl Iterator<Item = Option<&str>> {
        let none = self.keys.is_empty().then_some(None);
        self.keys.iter().map(|key| Some(key.expose())).chain(none)
    }
}

/// Why an identifier names no stream to publish to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("no stream id; it is publish:CHANNEL:KEY")]
    Empty,
    /// It is longer than the protocol allows.
    #[error("a stream id of {0} bytes")]
    TooLong(usize),
    /// It has characters that end lines or texts, or is no text at all.
    #[error("a stream id that is no text")]
    NoText,
    /// It is written in a way that is not read.
    #[error("the stream id makes no sense; it is publish:CHANNEL:KEY")]
    Malformed,
    /// Something else than publishing is wanted.
    #[error("only publishing is possible here; playing is by HTTP")]
    Mode,
    /// Something else than a live stream.
    #[error("only live streams are taken")]
    Media,
}

impl From<&Error> for Reject {
    fn from(error: &Error) -> Self {
        match error {
            Error::Mode => Self::BAD_MODE,
            Error::Media => Self::UNSUPPORTED_MEDIA,
            _ => Self::BAD_REQUEST,
        }
    }
}

/// Reads an identifier.
///
/// # Errors
/// It names no stream to publish to.
pub fn parse(id: &str) -> Result<Target, Error> {
    if id.len() > MAX_STREAM_ID {
        return Err(Error::TooLong(id.len()));
    }
    let encoded = !id.contains([':', '/', '?', '=', ',']) && id.contains('%');
    let (id, decode): (_, fn(&str) -> String) =
        if encoded || id.starts_with("%23") || id.starts_with("#%21") {
            (percent_decoded(id), str::to_owned)
        } else {
            (id.to_owned(), percent_decoded)
        };
    if id.chars().any(char::is_control) {
        return Err(Error::NoText);
    }
    if id.is_empty() {
        return Err(Error::Empty);
    }
    let target = match id.strip_prefix(STANDARD) {
        Some(list) => standard(list, decode),
        None if id.starts_with(NESTED) => Err(Error::Malformed),
        None => short(&id, decode),
    }?;
    let decoded = target.keys.iter().map(Secret::expose).chain([target.channel.as_str()]);
    if decoded.flat_map(str::chars).any(char::is_control) {
        return Err(Error::NoText);
    }
    Ok(target)
}

/// Names and values with commas between them.
fn standard(list: &str, decode: fn(&str) -> String) -> Result<Target, Error> {
    let (mut resource, mut secret) = (None, None);
    for pair in list.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Error::Malformed)?;
        match (name, value) {
            ("m", "publish") | ("t", "stream" | "") => {}
            ("m", _) => return Err(Error::Mode),
            // Some encoders call a live stream a file.
            ("t", "file") => {}
            ("t", _) => return Err(Error::Media),
            ("r", value) => resource = Some(value),
            ("s", value) => secret = Some(value),
            _ => {}
        }
    }
    let mut target = path(resource.ok_or(Error::Malformed)?, decode);
    target.keys.extend(secret.map(|secret| Secret::new(decode(secret))));
    Ok(target)
}

/// `MODE:PATH:…`, or a path alone.
fn short(id: &str, decode: fn(&str) -> String) -> Result<Target, Error> {
    let Some((mode, rest)) = id.split_once(':') else { return Ok(path(id, decode)) };
    match mode {
        "publish" => {}
        "read" | "request" | "play" | "subscribe" => return Err(Error::Mode),
        _ => return Err(Error::Malformed),
    }
    let (channel, key) = rest.split_once(':').unwrap_or((rest, ""));
    let mut target = path(channel, decode);
    let behind_user = key.split_once(':').map(|(_, key)| key);
    // MediaMTX has a query as one more piece.
    let before_query = behind_user.and_then(|key| key.split_once(':')).map(|(key, _)| key);
    let keys = [Some(key), behind_user, before_query].into_iter().flatten();
    target.keys.extend(keys.filter(|key| !key.is_empty()).map(|key| Secret::new(decode(key))));
    Ok(target)
}

/// A channel as a path, with a key behind it or without.
fn path(text: &str, decode: fn(&str) -> String) -> Target {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let path = path.trim_matches('/');
    let channel = path.strip_prefix(APPLICATION).unwrap_or(path);
    let key = query.split('&').find_map(|pair| pair.strip_prefix("key="));
    let keys = key.map(|key| Secret::new(decode(key))).into_iter().collect();
    Target { channel: decode(channel), keys }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Channel and keys, or what is wrong.
    fn read(id: &str) -> Result<(String, Vec<String>), Error> {
        let target = parse(id)?;
        let keys = target.keys().flatten().map(str::to_owned).collect();
        Ok((target.channel, keys))
    }

    #[test]
    fn every_form_in_use_names_its_channel_and_its_key() {
        for (id, channel, keys) in [
            ("publish:news:K", "news", &["K"][..]),
            ("publish:news", "news", &[]),
            ("publish:live/news:K", "news", &["K"]),
            ("publish:/live/news/:K", "news", &["K"]),
            ("publish:news:user:K", "news", &["user:K", "K"]),
            ("publish:news:user:K:a=1", "news", &["user:K:a=1", "K:a=1", "K"]),
            ("publish:news?key=K", "news", &["K"]),
            ("#!::m=publish,r=news,s=K", "news", &["K"]),
            ("#!::r=live/news,m=publish,s=K", "news", &["K"]),
            ("#!::r=/live/news?key=K,m=publish", "news", &["K"]),
            ("#!::h=example.org,u=admin,r=news,s=K,m=publish,t=stream", "news", &["K"]),
            ("#!::bmd_uuid=1-2,bmd_name=A Box,u=me,t=file,m=publish,r=news,s=K", "news", &["K"]),
            ("#!::r=news", "news", &[]),
            ("news", "news", &[]),
            ("live/news", "news", &[]),
            ("/live/news", "news", &[]),
            ("news?key=K", "news", &["K"]),
            ("live/news?a=b&key=K&c=d", "news", &["K"]),
            ("publish%3Anews%3AK", "news", &["K"]),
            ("%23!::m=publish,r=news,s=K", "news", &["K"]),
            ("%23%21%3A%3Am%3Dpublish%2Cr%3Dnews%2Cs%3DK", "news", &["K"]),
            ("live%2Fnews", "news", &[]),
            ("publish:news:a%3Ab", "news", &["a:b"]),
            ("#!::m=publish,r=news,s=a%2Cb", "news", &["a,b"]),
            // Decoded once: what is left stands for itself.
            ("publish%3Anews%3Aa%2541", "news", &["a%41"]),
            ("publish:news:a%2541", "news", &["a%41"]),
            ("publish:news:100%", "news", &["100%"]),
        ] {
            let expected = (channel.to_owned(), keys.iter().map(|k| (*k).to_owned()).collect());
            assert_eq!(read(id), Ok(expected), "{id}");
        }
    }

    #[test]
    fn what_names_no_stream_to_publish_to_is_told_apart() {
        for (id, error) in [
            ("", Error::Empty),
            ("read:news:K", Error::Mode),
            ("request:news", Error::Mode),
            ("#!::m=request,r=news", Error::Mode),
            ("#!::m=bidirectional,r=news", Error::Mode),
            ("#!::t=auth,r=news", Error::Media),
            ("#!::m=publish", Error::Malformed),
            ("#!::", Error::Malformed),
            ("#!::news", Error::Malformed),
            ("#!{m=publish}", Error::Malformed),
            ("dance:news", Error::Malformed),
            ("publish:news\n", Error::NoText),
            ("publish%3Anews%00", Error::NoText),
            ("publish:news:%0a", Error::NoText),
        ] {
            assert_eq!(read(id), Err(error), "{id}");
        }
        let long = "a".repeat(MAX_STREAM_ID + 1);
        assert_eq!(read(&long), Err(Error::TooLong(MAX_STREAM_ID + 1)));
        // As many pairs as fit are no bomb: they are looked at once.
        let bomb = format!("#!::{}", "r=a,".repeat(127));
        assert_eq!(read(&bomb), Ok(("a".to_owned(), vec![])));
    }

    #[test]
    fn what_leads_out_of_a_folder_is_left_to_the_rule_of_names() {
        for id in ["publish:../../etc:K", "publish:..%2f..%2fetc", "live/../news", "#!::r=a/b"] {
            let (channel, _) = read(id).unwrap();
            assert!(packager::media::Name::parse(&channel).is_err(), "{channel}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic_and_no_key_is_longer_than_the_text(id in ".{0,600}") {
            if let Ok((channel, keys)) = read(&id) {
                prop_assert!(channel.len() <= id.len());
                prop_assert!(keys.len() <= 4 && keys.iter().all(|key| key.len() <= id.len()));
            }
        }
    }
}
