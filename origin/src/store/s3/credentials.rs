//! Who we are to S3: the usual chain of AWS (environment, shared files, web identity, container,
//! machine), asked anew every half minute, so that keys are rotated by writing a file.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::Region;
use aws_smithy_async::time::SharedTimeSource;

/// How long what does not say when it expires is believed.
const BELIEVED: Duration = Duration::from_secs(30);

/// Asks the chain.
#[derive(Debug)]
pub(super) struct Rotating {
    /// Where keys are read from, instead of the chain: a file in the form of `~/.aws/credentials`.
    pub(super) file: Option<PathBuf>,
    /// Which of the keys in shared files.
    pub(super) profile: Option<String>,
    pub(super) config: ProviderConfig,
    pub(super) region: Region,
    pub(super) time: SharedTimeSource,
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.ask())
    }
}

impl Rotating {
    /// A provider remembers the files that it has read: each time another one asks.
    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let credentials = match &self.file {
            Some(file) => {
                let files =
                    EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file);
                let mut provider = ProfileFileCredentialsProvider::builder()
                    .configure(&self.config)
                    .profile_files(files.build());
                if let Some(profile) = &self.profile {
                    provider = provider.profile_name(profile);
                }
                provider.build().provide_credentials().await?
            }
            None => {
                let mut chain = DefaultCredentialsChain::builder()
                    .configure(self.config.clone())
                    .region(self.region.clone());
                if let Some(profile) = &self.profile {
                    chain = chain.profile_name(profile);
                }
                chain.build().await.provide_credentials().await?
            }
        };
        let until = self.time.now() + BELIEVED;
        let expiry = credentials.expiry().map_or(until, |expiry| expiry.min(until));
        let mut builder = Credentials::builder()
            .access_key_id(credentials.access_key_id())
            .secret_access_key(credentials.secret_access_key())
            .expiry(expiry)
            .provider_name("headwater");
        if let Some(token) = credentials.session_token() {
            builder = builder.session_token(token);
        }
        Ok(builder.build())
    }
}
