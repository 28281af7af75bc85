//! A small HTTP/1.1 client: any status is an answer, nothing is decoded or followed.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;

use crate::{Context, Failure, Result, clock};

/// Longest time for an answer. A playlist request may be held for 3 s, so this is generous.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Connections a client keeps for its next requests.
const IDLE_CONNECTIONS: usize = 4;
/// Largest body that is read: far above any segment of the tests.
const LARGEST_BODY: u64 = 64 << 20;

/// What a read takes at most: more than a part of the tests.
const READ_AT_ONCE: usize = 64 << 10;

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

/// An answer whose body was watched while it came.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// The answer, with its whole body.
    pub response: Response,
    /// When the request was sent, in milliseconds since the Unix epoch.
    pub asked_ms: u64,
    /// When bytes came, in milliseconds since the Unix epoch, and how many there were then.
    pub arrivals: Vec<(u64, usize)>,
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

    /// Sends a request of any method with a body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).context(url)?;
        // OPTIONS and DELETE have no body by their nature.
        let agent = self.agent.configure_request(request).allow_non_standard_methods(true);
        read(url, self.agent.run(agent.build()))
    }

    /// Gets a URL and notes when the bytes of the body come.
    ///
    /// # Errors
    /// If there is no whole answer in time: a body that is broken off is no answer.
    pub fn stream(&self, url: &str) -> Result<Streamed> {
        let asked_ms = clock::now_ms();
        let mut answer = self.agent.get(url).call().context(url)?;
        let (status, headers) = (answer.status().as_u16(), headers(&answer));
        let mut reader = answer.body_mut().with_config().limit(LARGEST_BODY).reader();
        let (mut body, mut arrivals) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let read = reader.read(&mut buffer).context(url)?;
            if read == 0 {
                break;
            }
            body.extend_from_slice(&buffer[..read]);
            arrivals.push((clock::now_ms(), body.len()));
        }
        let response = Response { status, headers, body: body.into() };
        Ok(Streamed { response, asked_ms, arrivals })
    }

    /// Gets a text and insists on status 200.
    ///
    /// # Errors
    /// If the status is another or the text is not UTF-8.
    pub fn text(&self, url: &str) -> Result<String> {
        self.get(url)?.ok(url)?.text()
    }
}

type Answer = std::result::Result<http::Response<ureq::Body>, ureq::Error>;

fn read(url: &str, answer: Answer) -> Result<Response> {
    let mut answer = answer.context(url)?;
    let (status, headers) = (answer.status().as_u16(), headers(&answer));
    let body = answer.body_mut().with_config().limit(LARGEST_BODY).read_to_vec().context(url)?;
    Ok(Response { status, headers, body: body.into() })
}

fn headers(answer: &http::Response<ureq::Body>) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = answer.headers().iter();
    headers.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

impl Streamed {
    /// How long the body took from its first byte to its last.
    pub fn lasted(&self) -> Duration {
        let at = |arrival: Option<&(u64, usize)>| arrival.map_or(0, |(at, _)| *at);
        let (first, last) = (at(self.arrivals.first()), at(self.arrivals.last()));
        Duration::from_millis(last.saturating_sub(first))
    }
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
