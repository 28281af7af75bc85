//! Where a publisher wants to publish: the channel and the key in the application's and stream's
//! names.
//!
//! Accepted are the forms that broadcast software produces from a server URL and a stream key:
//!
//! | application | stream |
//! |---|---|
//! | `live` | `news?key=K`, `news/K` |
//! | `live?key=K` | `news` |
//! | `live/news` | `K`, `?key=K` |

use super::APPLICATION;
use crate::secret::Secret;
use crate::text::percent_decoded;

/// A wish to publish, as written by the peer. Nothing in it is checked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The channel's name.
    pub channel: String,
    /// The key offered.
    pub key: Option<Secret>,
}

impl Target {
    /// Reads the names of a `connect` and a `publish`.
    pub fn new(application: &str, stream: &str) -> Self {
        let (path, application_query) = split_query(application);
        let (stream, stream_query) = split_query(stream);
        let in_query = key_in(stream_query).or_else(|| key_in(application_query));
        let below = path.strip_prefix(APPLICATION).and_then(|rest| rest.strip_prefix('/'));
        let (channel, in_path) = match below {
            Some(channel) => (channel, stream),
            // A second `/` would be part of a path, not of a key.
            None => match stream.split_once('/') {
                Some((channel, key)) if !key.contains('/') => (channel, key),
                _ => (stream, ""),
            },
        };
        let in_path = (!in_path.is_empty()).then(|| in_path.to_owned());
        Self { channel: channel.to_owned(), key: in_query.or(in_path).map(Secret::new) }
    }
}

/// The application's name as the rest of the session needs it: without slashes around it, and with
/// the query that some clients leave in the URL only.
pub(super) fn application(app: &str, tc_url: &str) -> String {
    let (path, query) = split_query(app);
    let query = if query.is_empty() { split_query(tc_url).1 } else { query };
    let path = path.trim_matches('/');
    match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Whether an application as made by [`application`] is the one there is.
pub(super) fn is_ours(application: &str) -> bool {
    let (path, _) = split_query(application);
    match path.strip_prefix(APPLICATION) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('/').is_some_and(|channel| !channel.contains('/')),
        None => false,
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn key_in(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("key=")).map(percent_decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(app: &str, tc_url: &str, stream: &str) -> (String, Option<String>) {
        let target = Target::new(&application(app, tc_url), stream);
        (target.channel, target.key.map(|key| key.expose().to_owned()))
    }

    #[test]
    fn every_common_form_names_the_channel_and_the_key() {
        for (app, tc_url, stream) in [
            ("live", "", "news?key=a b"),
            ("live/", "", "news?x=1&key=a%20b"),
            ("live?key=a%20b", "", "news"),
            ("live", "rtmp://h/live?key=a%20b", "news"),
            ("live", "", "news/a b"),
            ("live/news", "", "a b"),
            ("live/news", "", "?key=a b"),
        ] {
            let expected = ("news".to_owned(), Some("a b".to_owned()));
            assert_eq!(read(app, tc_url, stream), expected, "{app} {tc_url} {stream}");
        }
        assert_eq!(read("live", "", "news"), ("news".to_owned(), None));
    }

    #[test]
    fn a_path_is_no_key() {
        assert_eq!(read("live", "", "../../etc"), ("../../etc".to_owned(), None));
    }

    #[test]
    fn only_one_application_is_ours() {
        for app in ["live", "live/", "live/news", "live?key=1"] {
            assert!(is_ours(&application(app, "")), "{app}");
        }
        for app in ["", "vod", "livestream", "live/../..", "live/a/b"] {
            assert!(!is_ours(&application(app, "")), "{app}");
        }
    }
}
