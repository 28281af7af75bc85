//! `headwater cdn-check URL`: probes an edge in front of a channel as viewers would, and says what
//! is wrong with it and what to change.
//!
//! ```text
//! URL ─► channel (playlist, live edge) ─► probe: caching, crowd, growing, errors, answers ─► report
//!                      └────────── client: HTTP/1.1, a connection per question ──────┘
//! ```
//! It sees the edge from outside only. What reached the origin is told from the header
//! `Headwater-Answer`, which the origin makes anew for each of its answers and caches keep with the
//! body: answers with one id were made of one request. An answer without it is the edge's own. Where
//! an edge takes the header away, that is said and nothing is guessed.
//!
//! It loads an edge with some hundred small requests in about 15 s. What can't be provoked from
//! outside is not checked: a body that the origin breaks off, and holds longer than those of a
//! channel in good order.

use std::time::Duration;

use url::Url;

mod channel;
mod check;
mod client;
mod probe;
mod report;

pub use check::{Advice, Check};
pub use report::{Finding, Level, Report};

/// Viewers that ask for the same thing at the same moment.
pub const VIEWERS: u16 = 20;

/// Why an edge can't be probed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none.
    #[error("{url:?} is no address such as https://edge.example/live/news/index.m3u8")]
    Url {
        /// The address.
        url: String,
        /// Why not.
        source: url::ParseError,
    },
    /// There is no channel.
    #[error(transparent)]
    Channel(#[from] channel::Error),
    /// The operating system refuses something basic.
    #[error("can't start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Probes the edge that serves the channel at `url`, with `viewers` at once.
///
/// # Errors
/// There is no live channel to be read through it.
pub fn run(url: &str, viewers: u16) -> Result<Report, Error> {
    let parsed = Url::parse(url).map_err(|source| Error::Url { url: url.to_owned(), source })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(async {
        let channel = channel::Channel::find(&parsed).await?;
        let findings = probe::all(&channel, viewers).await?;
        Ok(Report { url: channel.multivariant.to_string(), findings })
    })
}

/// A length of time as people read it.
fn spoken(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..=9_999 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1_000),
    }
}
