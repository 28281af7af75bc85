//! A certificate for this machine: what a server under test presents, and its clients trust.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::{Context, Result};

/// A self-signed certificate and its key, in files that go with it.
#[derive(Debug)]
pub struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// The name it is for, beside 127.0.0.1.
    pub const NAME: &str = "localhost";

    /// A new one.
    ///
    /// # Errors
    /// If it can't be made or written.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir().context("folder of a certificate")?;
        let certificate = Self { dir };
        certificate.renew()?;
        Ok(certificate)
    }

    /// Puts another certificate in its place.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renew(&self) -> Result {
        let names = [Self::NAME.to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("certificate")?;
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = [(self.both(), format!("{key}{cert}")), (self.cert(), cert), (self.key(), key)];
        for (path, text) in files {
            std::fs::write(&path, text).context(format!("{}", path.display()))?;
        }
        Ok(())
    }

    /// The section of a server's configuration that speaks TLS with it at this address.
    pub fn section(&self, listen: SocketAddr) -> String {
        format!(
            "[http.tls]\nlisten = \"{listen}\"\ncert = {:?}\nkey = {:?}",
            self.cert(),
            self.key()
        )
    }

    /// The certificate, in PEM.
    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// Its key, in PEM.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Both in one file.
    pub fn both(&self) -> PathBuf {
        self.dir.path().join("both.pem")
    }
}
