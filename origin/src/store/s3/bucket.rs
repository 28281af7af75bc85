//! The S3 API as the store uses it: single attempts, with errors in our words.
//!
//! The only file that names the SDK's client. Retries, deadlines and concurrency are the
//! [gate](super::gate)'s: the SDK's own retries are off, and so is its watch over stalled streams, which
//! has cut healthy uploads on slow lines; an attempt that stalls ends at its deadline.
//!
//! Time is our clock's, corrected by what the store's `Date` says where the two are far apart: a store
//! refuses what was signed more than a quarter of an hour off.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, ConfigBag, IdentityCache, Intercept, Region,
    RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::credentials::Rotating;
use crate::clock::Clock;

/// A machine that is there answers within this, from the other side of the world and with its first
/// packet lost.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Asking for credentials may mean a request to another service.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(10);
/// Metadata that holds the hash of an object.
const HASH: &str = "sha256";
/// Clocks may differ by so much before ours is corrected.
const SKEW_MS: i64 = 60_000;

/// Which bucket, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with: empty, or with a slash at the end.
    pub prefix: String,
    /// Address of a store that is not AWS's, such as `https://s3.example.org`.
    pub endpoint: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path rather than in the host's name; `None`: with an endpoint, yes,
    /// and else not.
    pub path_style: Option<bool>,
    /// Where credentials are read from, instead of the usual chain.
    pub credentials: Option<PathBuf>,
    /// Which of the credentials in shared files.
    pub profile: Option<String>,
    /// Server-side encryption, such as `AES256` or `aws:kms`; `None`: as the bucket is set up.
    pub encryption: Option<String>,
    /// Id of the key, for `aws:kms`.
    pub encryption_key: Option<String>,
    /// Storage class of media; `None`: the bucket's usual one.
    pub storage_class: Option<String>,
    /// Bytes of objects that were read back to be kept in memory.
    pub cache: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There is no such object.
    #[error("no such object")]
    Missing,
    /// The object has not changed.
    #[error("not changed")]
    Unchanged,
    /// There is an object of that name already.
    #[error("the object is there already")]
    Exists,
    /// The store has other bytes under a name that is never used twice.
    #[error("another server has written {key}")]
    Collision { key: String },
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// What came is not what was stored.
    #[error("{key} came with other bytes than were stored")]
    Torn { key: String },
    /// There is nothing to sign requests with.
    #[error("no credentials ({0})")]
    NoCredentials(String),
    /// The store said no, and will again until somebody changes something.
    #[error("the store refuses ({code}): {message}")]
    Refused { code: String, message: String },
    /// The store is busy, or broken, or can't be reached.
    #[error("{0}")]
    Trouble(String),
}

impl Error {
    /// Whether the store works as it should, whatever it said.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Missing | Self::Unchanged | Self::Exists | Self::Collision { .. })
    }
}

/// What an object is, for its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// An init segment or segment, which never changes.
    Media { sound: bool },
    /// Part of the index, which changes or not.
    Index { fixed: bool },
    /// A playlist of HLS, or of them all.
    Playlist { of_all: bool },
    /// A manifest of DASH.
    Manifest,
    /// A playlist or manifest of what has its end.
    Whole { manifest: bool },
}

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) etag: Option<String>,
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    client: Client,
    settings: Settings,
    time: Arc<Corrected>,
    /// Whether the store heeds `If-None-Match: *`, as a probe has found.
    conditional: AtomicBool,
}

impl Bucket {
    /// Builds the client; asks nobody anything.
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let time = Arc::new(Corrected { clock, skew_ms: AtomicI64::new(0) });
        let shared_time = SharedTimeSource::new(TimeOf(Arc::clone(&time)));
        let sleep = SharedAsyncSleep::new(TokioSleep::new());
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let region = Region::new(settings.region.clone());
        let provider = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_http_client(http.clone())
            .with_time_source(shared_time.clone())
            .with_sleep_impl(sleep.clone());
        let credentials = Rotating {
            file: settings.credentials.clone(),
            profile: settings.profile.clone(),
            config: provider,
            region: region.clone(),
            time: shared_time.clone(),
        };
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_WITHIN).build())
            .force_path_style(settings.path_style.unwrap_or_else(|| settings.endpoint.is_some()))
            .http_client(http)
            .time_source(shared_time)
            .sleep_impl(sleep)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Objects carry a hash of our own; trailing checksums are not known to every store.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(DateOf(Arc::clone(&time)));
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Ok(name) = AppName::new("headwater") {
            config = config.app_name(name);
        }
        let client = Client::from_conf(config.build());
        Self { client, settings, time, conditional: AtomicBool::new(false) }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How far the store's clock is ahead of ours, in milliseconds; 0 where they agree to a minute.
    pub(super) fn skew_ms(&self) -> i64 {
        self.time.skew_ms.load(Ordering::Relaxed)
    }

    pub(super) fn set_conditional(&self, conditional: bool) {
        self.conditional.store(conditional, Ordering::Relaxed);
    }

    /// Stores an object.
    ///
    /// # Errors
    /// As the store says; [`Error::Exists`] if it must not be there and is.
    pub(super) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        kind: Kind,
        only_new: bool,
        within: Duration,
    ) -> Result<(), Error> {
        let Settings { bucket, encryption, encryption_key, storage_class, .. } = &self.settings;
        let (content_type, cache_control) = match kind {
            Kind::Media { sound: true } => ("audio/mp4", IMMUTABLE),
            Kind::Media { sound: false } => ("video/mp4", IMMUTABLE),
            Kind::Index { fixed: true } => ("application/json", IMMUTABLE),
            Kind::Index { fixed: false } => ("application/json", "no-cache"),
            // As long as the origin says of the same.
            Kind::Playlist { of_all: true } => {
                ("application/vnd.apple.mpegurl", "public, max-age=30")
            }
            Kind::Playlist { of_all: false } => {
                ("application/vnd.apple.mpegurl", "public, max-age=1")
            }
            Kind::Manifest => ("application/dash+xml", "public, max-age=1"),
            Kind::Whole { manifest: false } => {
                ("application/vnd.apple.mpegurl", "public, max-age=3600")
            }
            Kind::Whole { manifest: true } => ("application/dash+xml", "public, max-age=3600"),
        };
        let mut put = self
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .metadata(HASH, hash(&bytes))
            .content_type(content_type)
            .cache_control(cache_control)
            .body(ByteStream::from(bytes));
        if only_new {
            put = put.if_none_match("*");
        }
        if let Some(encryption) = encryption {
            put = put
                .server_side_encryption(ServerSideEncryption::from(encryption.as_str()))
                .set_ssekms_key_id(encryption_key.clone());
        }
        if let (Kind::Media { .. }, Some(class)) = (kind, storage_class) {
            put = put.storage_class(StorageClass::from(class.as_str()));
        }
        in_time(within, async { put.send().await.map(drop).map_err(failed) }).await
    }

    /// Stores an object under a name that is never used for other bytes. What an earlier attempt has
    /// stored, whose answer was lost, is there.
    ///
    /// # Errors
    /// As the store says; [`Error::Collision`] where it has other bytes under that name.
    pub(super) async fn put_once(
        &self,
        key: &str,
        bytes: Bytes,
        kind: Kind,
        within: Duration,
    ) -> Result<(), Error> {
        let conditional = self.conditional.load(Ordering::Relaxed);
        let expected = hash(&bytes);
        match self.put(key, bytes, kind, conditional, within).await {
            Err(Error::Exists) => match self.hash_of(key, within).await? {
                Some(there) if there == expected => Ok(()),
                _ => Err(Error::Collision { key: key.to_owned() }),
            },
            put => put,
        }
    }

    /// Stores an object over whatever is there; where that has the same bytes, it is left as it is.
    ///
    /// # Errors
    /// As the store says.
    pub(super) async fn put_over(
        &self,
        key: &str,
        bytes: Bytes,
        kind: Kind,
        within: Duration,
    ) -> Result<(), Error> {
        match self.put_once(key, bytes.clone(), kind, within).await {
            Err(Error::Collision { .. }) => self.put(key, bytes, kind, false, within).await,
            put => put,
        }
    }

    /// Whether there is an object of that name.
    ///
    /// # Errors
    /// As the store says.
    pub(super) async fn has(&self, key: &str, within: Duration) -> Result<bool, Error> {
        match self.hash_of(key, within).await {
            Err(Error::Missing) => Ok(false),
            there => there.map(|_| true),
        }
    }

    /// The hash that an object was stored with.
    async fn hash_of(&self, key: &str, within: Duration) -> Result<Option<String>, Error> {
        let head = self.client.head_object().bucket(&self.settings.bucket).key(key);
        let head = in_time(within, async { head.send().await.map_err(failed) }).await?;
        Ok(head.metadata().and_then(|metadata| metadata.get(HASH)).cloned())
    }

    /// Reads an object whole, and checks it against its length and hash.
    ///
    /// # Errors
    /// As the store says; [`Error::Unchanged`] if it still has the tag.
    pub(super) async fn get(
        &self,
        key: &str,
        unless: Option<&str>,
        within: Duration,
    ) -> Result<Object, Error> {
        let get = self.client.get_object().bucket(&self.settings.bucket).key(key);
        let get = get.set_if_none_match(unless.map(str::to_owned));
        in_time(within, async {
            let answer = get.send().await.map_err(failed)?;
            let torn = || Error::Torn { key: key.to_owned() };
            let stored = answer.metadata().and_then(|metadata| metadata.get(HASH)).cloned();
            let (etag, length) = (answer.e_tag().map(str::to_owned), answer.content_length());
            let bytes = answer.body.collect().await.map_err(|_| torn())?.into_bytes();
            let whole = length.is_none_or(|length| usize::try_from(length) == Ok(bytes.len()));
            if !whole || stored.is_some_and(|stored| stored != hash(&bytes)) {
                return Err(torn());
            }
            Ok(Object { bytes, etag })
        })
        .await
    }

    /// Deletes an object; one that is not there is deleted.
    ///
    /// # Errors
    /// As the store says.
    pub(super) async fn delete(&self, key: &str, within: Duration) -> Result<(), Error> {
        let delete = self.client.delete_object().bucket(&self.settings.bucket).key(key);
        match in_time(within, async { delete.send().await.map(drop).map_err(failed) }).await {
            Err(Error::Missing) => Ok(()),
            deleted => deleted,
        }
    }

    /// Begins an upload in pieces and gives it up.
    ///
    /// # Errors
    /// As the store says.
    pub(super) async fn try_multipart(&self, key: &str, within: Duration) -> Result<(), Error> {
        let bucket = &self.settings.bucket;
        let create = self.client.create_multipart_upload().bucket(bucket).key(key);
        in_time(within, async {
            let created = create.send().await.map_err(failed)?;
            let abort = self.client.abort_multipart_upload().bucket(bucket).key(key);
            abort.set_upload_id(created.upload_id).send().await.map(drop).map_err(failed)
        })
        .await
    }
}

/// One name, one content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn in_time<T>(
    within: Duration,
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(within, attempt).await.unwrap_or(Err(Error::Late(within)))
}

/// Codes that only somebody who changes something can do away with.
const REFUSALS: [&str; 10] = [
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
];

fn failed<E>(error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    // A web server that is no S3 answers 405 to PUT, and has no code of S3's.
    let refused = REFUSALS.contains(&code.as_str())
        || matches!(status, Some(301 | 401 | 403))
        || status == Some(405) && code.is_empty();
    if refused {
        let message = error.message().unwrap_or("no reason given").to_owned();
        let code = if code.is_empty() { status.unwrap_or(0).to_string() } else { code };
        return Error::Refused { code, message };
    }
    match status {
        Some(304) => Error::Unchanged,
        Some(404) => Error::Missing,
        Some(412) => Error::Exists,
        Some(status) if !code.is_empty() => {
            Error::Trouble(format!("the store answers {status} ({code})"))
        }
        Some(status) => Error::Trouble(format!("the store answers {status}")),
        None if lacks_credentials(&error) => {
            let words = words(&error);
            // Of the usual chain it is a list of all the places that have been asked, a line each.
            let listed = words.contains('\n');
            Error::NoCredentials(if listed {
                "the usual chain gives none".to_owned()
            } else {
                words
            })
        }
        None => Error::Trouble(words(&error)),
    }
}

/// Whether nobody gave credentials. Who took too long may give some the next time.
fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        matches!(
            error.downcast_ref(),
            Some(
                CredentialsError::CredentialsNotLoaded(_)
                    | CredentialsError::InvalidConfiguration(_)
                    | CredentialsError::ProviderError(_)
            )
        )
    })
}

/// What kept a request from being answered, without the layers around it.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if text.is_empty() { DisplayErrorContext(error).to_string() } else { text }
}

/// Our time, corrected.
#[derive(Debug)]
struct Corrected {
    clock: Arc<dyn Clock>,
    skew_ms: AtomicI64,
}

impl Corrected {
    fn ours_ms(&self) -> i64 {
        i64::try_from(self.clock.now_millis()).unwrap_or(i64::MAX)
    }

    /// Takes note of what the store's clock says.
    fn note(&self, theirs: SystemTime) {
        let Ok(theirs) = theirs.duration_since(UNIX_EPOCH) else { return };
        let theirs = i64::try_from(theirs.as_millis()).unwrap_or(i64::MAX);
        let skew = theirs.saturating_sub(self.ours_ms());
        let skew = if skew.abs() < SKEW_MS { 0 } else { skew };
        let before = self.skew_ms.swap(skew, Ordering::Relaxed);
        if (before == 0) != (skew == 0) {
            let seconds = skew / 1_000;
            match skew {
                0 => tracing::info!("our clock and that of S3 agree again"),
                _ => tracing::warn!(seconds, "our clock and that of S3 differ: signing by theirs"),
            }
        }
    }
}

#[derive(Debug)]
struct TimeOf(Arc<Corrected>);

impl TimeSource for TimeOf {
    fn now(&self) -> SystemTime {
        let millis = self.0.ours_ms().saturating_add(self.0.skew_ms.load(Ordering::Relaxed));
        UNIX_EPOCH + Duration::from_millis(millis.max(0).unsigned_abs())
    }
}

/// Reads the `Date` of every answer.
#[derive(Debug)]
struct DateOf(Arc<Corrected>);

impl Intercept for DateOf {
    fn name(&self) -> &'static str {
        "DateOf"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) {
            self.0.note(date);
        }
        Ok(())
    }
}
