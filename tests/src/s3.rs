//! A real S3 server, and a front before it that does wrong what the script says.
//!
//! ```text
//! server ─► Front (faults, tally) ─► Store (moto, from PyPI)
//! test   ─────────────────────────────►┘   (looks at what is there)
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use packager::time::{Timescale, Timestamp};
use tempfile::TempDir;

use crate::process::{Process, Stdout};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, edge, workspace};

mod front;
pub use front::{Asked, Fault, Front};

/// How long the store may take to come up: Python reads half of AWS before it listens.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// What shows that a request is signed, to a store that does not look at how.
pub const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

/// The one bucket of the tests.
pub const BUCKET: &str = "headwater";

/// Where the objects of a run of channel `a` are: under the day on which it began.
pub fn folder(run: &str) -> String {
    let millis = i64::from_str_radix(run, 16).unwrap_or(0);
    let at = Timestamp::new(millis, Timescale::MILLIS);
    let day = packager::time::iso(at);
    format!("live/a/{}/{run}", day.split('T').next().unwrap_or_default())
}

/// A running store with an empty bucket. Dropping it ends it.
#[derive(Debug)]
pub struct Store {
    process: Process,
    dir: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Store {
    /// Starts a store.
    ///
    /// # Errors
    /// If it does not come up; without `infra/setup.sh test` it is not there.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir().context("folder of the S3 server")?;
        let address = edge::free()?;
        let mut command = Command::new(workspace::python());
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let process = Process::spawn("moto", &mut command, Stdout::Log, &dir.path().join("log"))?;
        let mut store = Self { process, dir, address };
        let credentials = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
        std::fs::write(store.credentials(), credentials).context("credentials")?;
        let url = store.url("");
        until("S3 server", UP_WITHIN, || {
            if let Some(status) = store.process.exited() {
                let log = store.process.log_tail(20);
                return Err(Failure::new(format!("it ended with {status}:\n{log}")));
            }
            match ureq::put(&url).header("Authorization", SIGNED).send_empty() {
                Ok(_) => Ok(Look::There(())),
                Err(error) => Ok(Look::NotYet(error.to_string())),
            }
        })?;
        Ok(store)
    }

    /// A file of credentials that it takes.
    pub fn credentials(&self) -> PathBuf {
        self.dir.path().join("credentials")
    }

    /// Lines of `[store]` for a server that reaches it at `endpoint`.
    pub fn section(&self, endpoint: SocketAddr) -> String {
        format!(
            "kind = \"s3\"\nbucket = \"{BUCKET}\"\nprefix = \"live/\"\nendpoint = \"http://{endpoint}\"\n\
             credentials = {:?}\n",
            self.credentials()
        )
    }

    fn url(&self, key: &str) -> String {
        format!("http://{}/{BUCKET}{}{key}", self.address, if key.is_empty() { "" } else { "/" })
    }

    /// An object; `None` if there is none of that name.
    ///
    /// # Errors
    /// If the store does not answer as stores do.
    pub fn object(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match ureq::get(&self.url(key)).header("Authorization", SIGNED).call() {
            Ok(mut answer) => {
                let read = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
                read.context(format!("object {key}")).map(Some)
            }
            Err(ureq::Error::StatusCode(404)) => Ok(None),
            Err(error) => Err(Failure::new(format!("object {key}: {error}"))),
        }
    }

    /// Stores an object, as somebody else would.
    ///
    /// # Errors
    /// If the store does not take it.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result {
        let put = ureq::put(&self.url(key)).header("Authorization", SIGNED).send(bytes);
        put.context(format!("object {key}")).map(drop)
    }

    /// The keys of every object, in order.
    ///
    /// # Errors
    /// If the store does not answer as stores do.
    pub fn keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        loop {
            let after = keys.last().cloned().unwrap_or_default();
            let url = format!("{}?list-type=2&start-after={after}", self.url(""));
            let asked = ureq::get(&url).header("Authorization", SIGNED).call();
            let mut answer = asked.context("the keys")?;
            let text = answer.body_mut().read_to_string().context("the keys")?;
            let before = keys.len();
            keys.extend(
                text.split("<Key>")
                    .skip(1)
                    .filter_map(|rest| rest.split_once("</Key>").map(|(key, _)| key.to_owned())),
            );
            if keys.len() == before || !text.contains("<IsTruncated>true") {
                return Ok(keys);
            }
        }
    }

    /// The head of a channel's index.
    ///
    /// # Errors
    /// If there is one that is not JSON.
    pub fn head(&self, channel: &str) -> Result<Option<serde_json::Value>> {
        let object = self.object(&format!("live/{channel}/head.json"))?;
        object.map(|bytes| serde_json::from_slice(&bytes).context("head.json")).transpose()
    }

    /// Waits until the index of a channel names segment `k`.
    ///
    /// # Errors
    /// If it does not within `bound`.
    pub fn wait_segment(&self, channel: &str, k: u64, bound: Duration) -> Result {
        until(&format!("segment {k} of {channel} in S3"), bound, || {
            let last = self.head(channel)?.and_then(|head| head["last_k"].as_u64());
            Ok(Look::at(last.filter(|last| *last >= k), format!("the newest is {last:?}")))
        })
        .map(drop)
    }
}
