//! The durable store of this server, by the configuration: made, tried out, and refused where it can't be
//! used.

use std::sync::Arc;
use std::time::Duration;

use packager::media::Name;
use tracing::{error, info, warn};

use super::Error;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::store::s3::{Keep, Settings, Unusable, Upstream};
use crate::store::{Role, Store};

/// How often a store that could not be tried out is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// The store with what is behind it.
pub(super) fn behind(
    store: Store,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Store, Error> {
    let Some(s3) = &config.store.s3 else { return Ok(store) };
    let upstream = Upstream::new(settings(s3), Arc::clone(clock))
        .map_err(|source| Error::System { what: "can't start a thread for S3", source })?;
    let role = match s3.role {
        config::Role::Primary => Role::Primary,
        config::Role::Replica => Role::Replica,
    };
    Ok(store.with_upstream(upstream, role))
}

/// Whether this server serves what another one makes.
pub(super) fn is_replica(config: &Config) -> bool {
    config.store.s3.as_ref().is_some_and(|s3| s3.role == config::Role::Replica)
}

/// Whether playlists and manifests are written into S3.
pub(super) fn writes(config: &Config) -> bool {
    config.store.s3.as_ref().is_some_and(|s3| s3.playlists)
}

/// How long S3 keeps what a channel has made.
pub(super) fn keep(channel: &config::Channel) -> Keep {
    Keep { age: channel.keep, bytes: channel.keep_size }
}

/// What the store is asked for by the command that checks a configuration.
///
/// # Errors
/// It can't be used; the text says what to do.
pub(crate) fn try_out(s3: &config::S3) -> Result<String, Error> {
    let clock = Arc::new(crate::clock::SystemClock::new());
    super::block_on(async {
        let upstream = Upstream::new(settings(s3), clock)
            .map_err(|source| Error::System { what: "can't start a thread for S3", source })?;
        let place = upstream.place();
        let tried = upstream.probe().await;
        upstream.end();
        tried
            .map(|abilities| format!("{place}: {abilities}"))
            .map_err(|source| Error::Upstream { place, source })
    })
}

fn settings(s3: &config::S3) -> Settings {
    let s3 = s3.clone();
    Settings {
        bucket: s3.bucket,
        prefix: s3.prefix,
        path_style: s3.path_style,
        endpoint: s3.endpoint,
        region: s3.region,
        credentials: s3.credentials,
        profile: s3.profile,
        encryption: s3.encryption,
        encryption_key: s3.encryption_key,
        storage_class: s3.storage_class,
        cache: s3.cache,
    }
}

/// Tries the store out, until it has said what it can do. Gives an error where it refuses at once and
/// no channel was on the air: then somebody has just set it up, and reads what this says. A channel that
/// is on the air goes on, whatever S3 says; and a replica, which may be allowed to read alone.
pub(super) async fn refusal(store: &Store, channels: &[Name]) -> Error {
    let Some((upstream, Role::Primary)) = store.upstream() else {
        return std::future::pending().await;
    };
    let mut first = true;
    loop {
        match upstream.probe().await {
            Ok(abilities) => {
                info!(store = %upstream.place(), %abilities, "S3 is there");
                return std::future::pending().await;
            }
            Err(source @ Unusable::Refused(_)) if first && !store.was_on_air(channels) => {
                return Error::Upstream { place: upstream.place(), source };
            }
            Err(why @ Unusable::Refused(_)) => {
                error!(store = %upstream.place(), %why, "S3 refuses: segments wait on disk");
            }
            Err(why) if first => {
                warn!(store = %upstream.place(), %why, "S3 is away: segments wait on disk");
            }
            Err(_) => {}
        }
        first = false;
        tokio::time::sleep(AGAIN).await;
    }
}
