//! Asks an edge over HTTP/1.1, one connection per question, and notes when each piece came.
//!
//! Nothing is followed, decoded or kept. A connection per question is what many viewers look like;
//! it also keeps one slow answer from delaying another.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::Url;

use crate::http::ANSWER_ID;

/// The longest an answer may take: the origin's longest hold is 27 s, with segments of 6 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// The longest a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The largest body that is read: far above any segment of a sane channel.
const LARGEST_BODY: usize = 64 << 20;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none that can be asked.
    #[error("{url} is no http or https address")]
    Address {
        /// The address.
        url: String,
    },
    /// There is no connection.
    #[error("no connection to {to}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The machine's certificates can't be used.
    #[error("no trusted certificates to check the edge's with: {reason}")]
    Trust {
        /// Why not.
        reason: String,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection broke after {after:.1?}, {bytes} bytes into the answer")]
    Broken {
        /// How long after the question.
        after: Duration,
        /// How much of the body had come.
        bytes: usize,
        /// How.
        source: hyper::Error,
    },
    /// The answer takes too long or is too large.
    #[error("no whole answer within {after:.1?}")]
    Endless {
        /// How long it was waited for.
        after: Duration,
    },
}

/// An answer, and when it came; times count from the question.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its header fields.
    pub(super) headers: HeaderMap,
    /// Its body as it came over the wire.
    pub(super) body: Bytes,
    /// When each piece of the body came, and its size in bytes.
    pub(super) pieces: Vec<(Duration, usize)>,
    /// When its header was there.
    pub(super) began: Duration,
    /// When it was whole.
    pub(super) ended: Duration,
    /// The moment it was whole.
    pub(super) at: Instant,
}

impl Reply {
    /// A header field as text; the first if it is repeated.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The origin's answer that this was made of; `None` if the edge answered by itself.
    pub(super) fn origin_id(&self) -> Option<&str> {
        self.headers.get(ANSWER_ID)?.to_str().ok()
    }

    /// The body as text, unpacked if it is gzip; empty if it is none.
    pub(super) fn text(&self) -> String {
        let packed = self.header("content-encoding").is_some_and(|c| c.contains("gzip"));
        if !packed {
            return String::from_utf8_lossy(&self.body).into_owned();
        }
        let mut text = String::new();
        let reader = flate2::read::MultiGzDecoder::new(&self.body[..]);
        let mut bounded = std::io::Read::take(reader, LARGEST_BODY as u64);
        match std::io::Read::read_to_string(&mut bounded, &mut text) {
            Ok(_) => text,
            Err(_) => String::new(),
        }
    }
}

/// Asks the host of one URL.
#[derive(Clone)]
pub(super) struct Client {
    host: String,
    port: u16,
    /// As in the header `Host`.
    authority: HeaderValue,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// A client for the host of `url`.
    ///
    /// # Errors
    /// [`Error::Address`]; [`Error::Trust`] where https is asked for.
    pub(super) fn new(url: &Url) -> Result<Self, Error> {
        let bad = || Error::Address { url: url.to_string() };
        let host = url.host_str().ok_or_else(bad)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(bad)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        let authority = HeaderValue::from_str(&authority).map_err(|_| bad())?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(Arc::new(trusting()?)),
            _ => return Err(bad()),
        };
        Ok(Self { host, port, authority, tls })
    }

    /// Gets a path.
    ///
    /// # Errors
    /// There is no whole answer.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, Error> {
        self.ask(Method::GET, path, &[]).await
    }

    /// Gets a path with header fields of one's own.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn get_with(
        &self,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Reply, Error> {
        self.ask(Method::GET, path, fields).await
    }

    /// Asks with any method.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Reply, Error> {
        let stream = self.connect().await?;
        match &self.tls {
            None => self.converse(stream, method, path, fields).await,
            Some(config) => {
                let stream = self.secure(stream, Arc::clone(config)).await?;
                self.converse(stream, method, path, fields).await
            }
        }
    }

    /// Whether the edge takes HTTP/2; `None` on http, where browsers don't ask for it.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) async fn speaks_http2(&self) -> Result<Option<bool>, Error> {
        let Some(config) = &self.tls else { return Ok(None) };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = self.secure(self.connect().await?, Arc::new(config)).await?;
        Ok(Some(stream.get_ref().1.alpn_protocol() == Some(b"h2")))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Connect { to: format!("{}:{}", self.host, self.port), source }
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let connecting = TcpStream::connect((self.bare_host(), self.port));
        let stream = tokio::time::timeout(CONNECT_WITHIN, connecting)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        stream.map_err(|source| self.failed(source))
    }

    /// The host as the system's resolver and certificates want it: IPv6 without brackets.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    async fn secure(
        &self,
        stream: TcpStream,
        config: Arc<ClientConfig>,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
        let name = ServerName::try_from(self.bare_host().to_owned())
            .map_err(|_| Error::Address { url: self.host.clone() })?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        tokio::time::timeout(CONNECT_WITHIN, handshake)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|source| self.failed(source))
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Reply, Error> {
        let asked = Instant::now();
        let broken = |bytes| move |source| Error::Broken { after: asked.elapsed(), bytes, source };
        let endless = |_| Error::Endless { after: asked.elapsed() };
        let deadline = asked + ANSWER_WITHIN;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, "headwater-cdn-check");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| Error::Address { url: path.to_owned() })?;

        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken(0))?;
        // Ends with the connection, which ends when the sender is dropped.
        let connection = tokio::spawn(connection);
        let result = async {
            let answering = timeout_at(deadline, sender.send_request(request));
            let answer = answering.await.map_err(endless)?.map_err(broken(0))?;
            let began = asked.elapsed();
            let (head, mut incoming) = answer.into_parts();
            let mut body = BytesMut::new();
            let mut pieces = Vec::new();
            while let Some(frame) = timeout_at(deadline, incoming.frame()).await.map_err(endless)? {
                let Ok(data) = frame.map_err(broken(body.len()))?.into_data() else { continue };
                if body.len() + data.len() > LARGEST_BODY {
                    return Err(Error::Endless { after: asked.elapsed() });
                }
                pieces.push((asked.elapsed(), data.len()));
                body.extend_from_slice(&data);
            }
            Ok(Reply {
                status: head.status,
                headers: head.headers,
                body: body.freeze(),
                pieces,
                began,
                ended: asked.elapsed(),
                at: Instant::now(),
            })
        }
        .await;
        connection.abort();
        result
    }
}

/// TLS that trusts what this machine trusts.
fn trusting() -> Result<ClientConfig, Error> {
    let refused = |reason: String| Error::Trust { reason };
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some of a machine's certificates may be of kinds that are not used here.
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let reason =
            found.errors.first().map_or_else(|| "there are none".into(), ToString::to_string);
        return Err(refused(format!("{reason} (install ca-certificates)")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
impl Reply {
    /// An answer with these header fields, whose pieces of ten bytes came at these milliseconds.
    pub(super) fn made(fields: &[(&'static str, &str)], pieces: &[u64]) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let pieces: Vec<_> = pieces.iter().map(|at| (Duration::from_millis(*at), 10)).collect();
        let ended = pieces.last().map_or(Duration::ZERO, |(at, _)| *at);
        Self {
            status: StatusCode::OK,
            headers,
            body: vec![0; 10 * pieces.len()].into(),
            began: pieces.first().map_or(Duration::ZERO, |(at, _)| *at),
            pieces,
            ended,
            at: Instant::now(),
        }
    }
}
