//! The caller's side: a source elsewhere that is called by its URL, as a channel's configuration
//! names it.
//!
//! `srt://HOST:PORT?streamid=ID&passphrase=SECRET&latency=300ms`

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use packager::media::Name;
use tokio_util::sync::CancellationToken;

use super::engine::{Call, CallError, Engine};
use super::library::{MAX_STREAM_ID, PASSPHRASE};
use super::{LATENCY, server};
use crate::door::Stats;
use crate::hub::{Closed, Hub, Refusal, Request};
use crate::secret::Secret;
use crate::source::{Peer, Protocol};
use crate::text::percent_decoded;
use crate::ts::feed;

/// How long a handshake may take: several round trips on any line, and packets of it lost.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Latency that is asked for unless the URL does: libsrt's own.
const DEFAULT_LATENCY: Duration = Duration::from_millis(120);

/// Whom to call. Its `Display` tells no stream identifier and no passphrase.
#[derive(Clone, Debug)]
pub struct Url {
    host: String,
    port: u16,
    stream_id: Secret,
    passphrase: Option<Secret>,
    latency: Duration,
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        let secrets = |url: &Self| {
            (
                url.stream_id.expose().to_owned(),
                url.passphrase.as_ref().map(|p| p.expose().to_owned()),
            )
        };
        let plain = |url: &Self| (url.host.clone(), url.port, url.latency);
        plain(self) == plain(other) && secrets(self) == secrets(other)
    }
}

impl Eq for Url {}

/// What is wrong with a URL, in words that tell no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// It names no host and port.
    #[error("there is no host and port such as \"srt://203.0.113.7:9000\"")]
    Place,
    /// An option that is not there.
    #[error("{0:?} is no option of an SRT source; there are streamid, passphrase and latency")]
    Option(String),
    /// Its latency.
    #[error("a latency is from {} ms to {} ms, such as latency=300ms",
        LATENCY.start().as_millis(), LATENCY.end().as_millis())]
    Latency,
    /// Its passphrase.
    #[error("a passphrase has {} to {} characters", PASSPHRASE.start(), PASSPHRASE.end())]
    Passphrase,
    /// Its stream identifier.
    #[error("a stream id has at most {MAX_STREAM_ID} bytes")]
    StreamId,
    /// Another mode than calling.
    #[error("a source is called; callers come to the port of [srt]")]
    Mode,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let rest = text.strip_prefix("srt://").ok_or(BadUrl::Place)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = place.trim_end_matches('/').rsplit_once(':').ok_or(BadUrl::Place)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadUrl::Place)?;
        if host.is_empty() || host.contains(['/', '@', '[', ']']) {
            return Err(BadUrl::Place);
        }
        let mut url = Self {
            host: host.to_owned(),
            port,
            stream_id: Secret::new(""),
            passphrase: None,
            latency: DEFAULT_LATENCY,
        };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = percent_decoded(value);
            match name {
                "streamid" if value.len() > MAX_STREAM_ID => return Err(BadUrl::StreamId),
                "streamid" => url.stream_id = Secret::new(value),
                "passphrase" if !PASSPHRASE.contains(&value.len()) => {
                    return Err(BadUrl::Passphrase);
                }
                "passphrase" => url.passphrase = Some(Secret::new(value)),
                "latency" => url.latency = latency(&value).ok_or(BadUrl::Latency)?,
                "mode" if value == "caller" => {}
                "mode" => return Err(BadUrl::Mode),
                other => return Err(BadUrl::Option(other.to_owned())),
            }
        }
        Ok(url)
    }
}

/// `300ms` or `2s`. A bare number would be milliseconds to some and microseconds to others.
fn latency(text: &str) -> Option<Duration> {
    let millis = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => millis.parse().ok()?,
        (None, Some(seconds)) => seconds.parse::<u64>().ok()?.checked_mul(1_000)?,
        (None, None) => return None,
    };
    Some(Duration::from_millis(millis)).filter(|latency| LATENCY.contains(latency))
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => write!(f, "srt://[{host}]:{port}"),
            false => write!(f, "srt://{host}:{port}"),
        }
    }
}

/// Why a source that is called has ended, or was never there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// Its name leads nowhere.
    #[error("no address: {0}")]
    Address(io::Error),
    /// It does not take the call.
    #[error("{0}")]
    NotTaken(#[from] CallError),
    /// The channel does not take it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It was there, and has gone.
    #[error("{0}")]
    Gone(#[from] server::End),
}

impl End {
    /// Whether the server is going down: there is no other turn.
    pub fn is_shutdown(&self) -> bool {
        matches!(
            self,
            Self::NotTaken(CallError::Stopped)
                | Self::Refused(Refusal::ShuttingDown)
                | Self::Gone(
                    server::End::Closed(Closed::ShuttingDown)
                        | server::End::Feed(feed::Error::Closed(Closed::ShuttingDown))
                )
        )
    }
}

/// Calls a source and hands what it sends to a channel, until either ends. Returns at once what went
/// wrong; whoever asked decides when to try again.
pub async fn pull(
    engine: &Engine,
    url: &Url,
    hub: &Hub,
    channel: &Name,
    stats: &Arc<Stats>,
    cancel: &CancellationToken,
) -> End {
    let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let addresses: Vec<_> = match found {
        Ok(addresses) => addresses.collect(),
        Err(error) => return End::Address(error),
    };
    let mut last = End::Address(io::ErrorKind::NotFound.into());
    for address in addresses {
        let call = Call {
            address,
            stream_id: url.stream_id.expose().to_owned(),
            passphrase: url.passphrase.clone(),
            latency: url.latency,
            within: CONNECT_WITHIN,
        };
        let connection = match engine.call(call).await {
            Ok(connection) => connection,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        let request = Request {
            channel: channel.as_str(),
            key: None,
            peer: Peer::Configured(url.to_string().into()),
            protocol: Protocol::Srt,
        };
        return match hub.publish(&request) {
            Ok(publication) => server::publish(connection, publication, stats, cancel).await.into(),
            Err(refusal) => refusal.into(),
        };
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_what_is_asked_for() {
        let url: Url = "srt://[2001:db8::7]:9000?streamid=%23!::r=a,m=request&latency=1s\
                        &passphrase=not%20a%20secret&mode=caller"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "srt://[2001:db8::7]:9000");
        assert_eq!(url.stream_id.expose(), "#!::r=a,m=request");
        assert_eq!(url.passphrase.as_ref().map(Secret::expose), Some("not a secret"));
        assert_eq!(url.latency, Duration::from_secs(1));
        let url: Url = "srt://example.org:1".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.latency), ("example.org", 1, DEFAULT_LATENCY));
        assert!(!format!("{url:?}").contains("not a secret"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_its_secrets() {
        for (text, bad) in [
            ("srt://example.org", BadUrl::Place),
            ("srt://:9000", BadUrl::Place),
            ("srt://a:0", BadUrl::Place),
            ("srt://a:70000", BadUrl::Place),
            ("srt://u@a:9000", BadUrl::Place),
            ("udp://a:9000", BadUrl::Place),
            ("srt://a:9?pkt_size=1316", BadUrl::Option("pkt_size".to_owned())),
            ("srt://a:9?latency=200", BadUrl::Latency),
            ("srt://a:9?latency=9s", BadUrl::Latency),
            ("srt://a:9?passphrase=short", BadUrl::Passphrase),
            ("srt://a:9?mode=listener", BadUrl::Mode),
        ] {
            assert_eq!(text.parse::<Url>().map(drop), Err(bad), "{text}");
        }
        let long = format!("srt://a:9?streamid={}", "a".repeat(MAX_STREAM_ID + 1));
        assert_eq!(long.parse::<Url>().map(drop), Err(BadUrl::StreamId));
    }
}
