//! TLS: the certificate and its key from two files, read again when they change.
//!
//! Whoever renews a certificate replaces its files, one after the other. They are looked at every
//! few seconds, and when somebody says that they are new; a pair that can't be used is an alarm, and the
//! one in use stays. Connections that are open keep what they began with. TLS 1.2 and 1.3, without early data; HTTP/2 by ALPN.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::HttpMetrics;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The protocol by which a client asks for HTTP/2 (RFC 9113 §3.1).
pub(super) const H2: &[u8] = b"h2";

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {wanted} in PEM", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        wanted: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// The two do not belong together, or are of a kind we can't use.
    #[error("the certificate {} can't be used with its key", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The library lacks something it was built with.
    #[error("TLS can't be set up")]
    Setup(#[source] rustls::Error),
}

/// Where a certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those that lead to its root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A certificate that is kept up to date.
pub struct Tls {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// By what a change of the files is noticed.
type Seen = [Option<(SystemTime, u64, u64)>; 2];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They can't be used.
    pub fn open(files: Files) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(Arc::new(read(&files, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { files, provider, current, acceptor })
    }

    pub(super) const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Reads the files again whenever they change and when `told` to, until cancelled.
    pub async fn keep(
        self: Arc<Self>,
        metrics: HttpMetrics,
        told: Arc<Notify>,
        cancel: CancellationToken,
    ) {
        let mut seen = self.seen().await;
        let mut broken = None;
        // Whether it was told to.
        let look = async || tokio::time::timeout(LOOK_EVERY, told.notified()).await.is_ok();
        while let Some(told) = cancel.run_until_cancelled(look()).await {
            let now = self.seen().await;
            // A pair that could not be used is tried again: its other half may have come.
            if now == seen && broken.is_none() && !told {
                continue;
            }
            seen = now;
            match self.reload().await {
                Ok(()) => {
                    tracing::info!(cert = %self.files.cert.display(), "certificate read again");
                    metrics.certificate_alarm.set(0);
                    broken = None;
                }
                Err(error) => {
                    if broken != Some(now) || told {
                        let cause = cause(&error);
                        tracing::error!(%error, cause, "the new certificate can't be used: the old one stays");
                    }
                    metrics.certificate_alarm.set(1);
                    broken = Some(now);
                }
            }
        }
    }

    async fn reload(&self) -> Result<(), Error> {
        let (files, provider) = (self.files.clone(), Arc::clone(&self.provider));
        let read = tokio::task::spawn_blocking(move || read(&files, &provider)).await;
        let read = read.map_err(|error| Error::Read {
            path: self.files.cert.clone(),
            source: io::Error::other(error),
        })?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read?);
        Ok(())
    }

    async fn seen(&self) -> Seen {
        use std::os::unix::fs::MetadataExt as _;
        let mut seen = Seen::default();
        for (path, seen) in [&self.files.cert, &self.files.key].into_iter().zip(&mut seen) {
            if let Ok(file) = tokio::fs::metadata(path).await {
                *seen = file.modified().ok().map(|at| (at, file.len(), file.ino()));
            }
        }
        seen
    }
}

/// What lies under an error, in words.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Reads a certificate and the key that belongs to it.
fn read(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let Files { cert, key } = files;
    let text = |path: &Path| {
        std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
    };
    let no = |path: &Path, wanted| {
        let path = path.to_owned();
        move |source| Error::Pem { path, wanted, source }
    };
    let chain = CertificateDer::pem_slice_iter(&text(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(no(cert, "certificate"))?;
    if chain.is_empty() {
        return Err(no(cert, "certificate")(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(no(key, "private key"))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| Error::Unusable { path: cert.clone(), source })
}

#[cfg(test)]
mod tests;
