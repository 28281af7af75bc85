//! A small HTTP/1.1 client: any status is an answer, nothing is decoded or followed.

use std::time::Duration;

use bytes::Bytes;

use crate::{Context, Failure, Result};

/// Longest time for an answer. A playlist request may be held for 3 s, so this is generous.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Connections a client keeps for its next requests.
const IDLE_CONNECTIONS: usize = 4;
/// Largest body that is read: far above any segment of the tests.
const LARGEST_BODY: u64 = 64 << 20;

/// A client that keeps its connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Bytes,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with its own connections.
    pub fn new() -> Self {
        Self::keeping(IDLE_CONNECTIONS)
    }

    /// A client that opens a connection for every request: what a server that died leaves behind is
    /// of no concern to it.
    pub fn afresh() -> Self {
        Self::keeping(0)
    }

    fn keeping(connections: usize) -> Self {
        let config = ureq::Agent::config_builder()
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("headwater-tests")
            .build();
        Self { agent: config.new_agent() }
    }

    /// Gets a URL.
    ///
    /// # Errors
    /// If there is no whole answer in time.
    pub fn get(&self, url: &str) -> Result<Response> {
        self.get_with(url, &[])
    }

    /// Gets a URL with header fields of one's own.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(url, request.call())
    }

    /// Asks for the head of an answer only.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn head(&self, url: &str) -> Result<Response> {
        read(url, self.agent.head(url).call())
    }

    /// Gets a text and insists on status 200.
    ///
    /// # Errors
    /// If the status is another or the text is not UTF-8.
    pub fn text(&self, url: &str) -> Result<String> {
        self.get(url)?.ok(url)?.text()
    }
}

type Answer = std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn read(url: &str, answer: Answer) -> Result<Response> {
    let mut answer = answer.context(url)?;
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(LARGEST_BODY).read_to_vec().context(url)?;
    Ok(Response { status, headers, body: body.into() })
}

impl Response {
    /// Value of a header field; the first if it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The answer itself if its status is 200.
    ///
    /// # Errors
    /// With the status and the start of the body otherwise.
    pub fn ok(self, url: &str) -> Result<Self> {
        if self.status == 200 {
            return Ok(self);
        }
        let start = String::from_utf8_lossy(&self.body).chars().take(200).collect::<String>();
        Err(Failure::new(format!("{url}: status {} {start}", self.status)))
    }

    /// The body as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self) -> Result<String> {
        String::from_utf8(self.body.to_vec()).context("body as text")
    }
}
