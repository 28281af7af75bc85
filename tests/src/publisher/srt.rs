//! Where to publish over SRT, in each broadcaster's own dialect of its URL.

use std::net::SocketAddr;
use std::time::Duration;

use super::Broadcaster;

/// A door for SRT and what to say there.
#[derive(Clone, Debug)]
pub struct Srt {
    /// Where it is.
    pub address: SocketAddr,
    /// The stream identifier.
    pub stream_id: String,
    /// How long packets are held for those before them, unless it is 120 ms.
    pub latency: Option<Duration>,
    /// What the stream is encrypted with, and with how many bits.
    pub secret: Option<(String, u16)>,
}

impl Srt {
    /// A channel of a server at `address`, by the short form of the identifier.
    pub fn to(address: SocketAddr, channel: &str, key: Option<&str>) -> Self {
        let key = key.map(|key| format!(":{key}")).unwrap_or_default();
        let stream_id = format!("publish:{channel}{key}");
        Self { address, stream_id, latency: None, secret: None }
    }

    /// The same with another identifier.
    pub fn with_stream_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.stream_id);
        self
    }

    /// The same with this latency.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// The same, encrypted.
    pub fn with_passphrase(mut self, passphrase: &str, bits: u16) -> Self {
        self.secret = Some((passphrase.to_owned(), bits));
        self
    }

    /// The URL as a broadcaster reads it: ffmpeg counts latency in microseconds, all others in
    /// milliseconds.
    pub fn url(&self, broadcaster: Broadcaster) -> String {
        let Self { address, stream_id, latency, secret } = self;
        let stream_id = match broadcaster {
            // What stands behind a # is no part of the query to it.
            Broadcaster::GStreamer => stream_id.replace('#', "%23"),
            _ => stream_id.clone(),
        };
        let mut url = format!("srt://{address}?mode=caller&streamid={stream_id}");
        if let Some(latency) = latency {
            let count = match broadcaster {
                Broadcaster::GStreamer | Broadcaster::SrtLiveTransmit => latency.as_millis(),
                _ => latency.as_micros(),
            };
            url.push_str(&format!("&latency={count}"));
        }
        if let Some((passphrase, bits)) = secret {
            url.push_str(&format!("&passphrase={passphrase}&pbkeylen={}", bits / 8));
            // Every few seconds another key.
            url.push_str("&kmrefreshrate=400&kmpreannounce=100");
        }
        url
    }
}
