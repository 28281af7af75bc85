//! What the configuration wishes of each part, in that part's own words. Decides nothing else.

use std::sync::Arc;
use std::time::Duration;

use ingest::srt;
use packager::media::Name;
use packager::time::{Rounding, Timescale, Timestamp};
use packager::{dash, hls};
use tracing::{error, warn};

use super::files;
use crate::clock::{Ahead, Clock};
use crate::config::{self, Config};
use crate::store::{self, ChannelStore};
use crate::{admin, http};

/// A segment is at most 6 s by wish, and half as much again beside a displaced boundary.
const LONGEST_SEGMENT: Duration = Duration::from_secs(9);

/// How a channel's manifests are written, by the configuration.
pub(super) fn manifests(config: &Config, channel: &config::Channel) -> http::Options {
    http::Options {
        hls: hls::Options { markers: channel.cues.hls.clone(), ..Default::default() },
        dash: dash::Options {
            public_url: config.http.public_url.clone(),
            events: channel.cues.dash,
            ..Default::default()
        },
    }
}

/// What the store may hold, by the configuration. A segment that left the longest window stays
/// fetchable for as long as a playlist that listed it may be played.
pub(super) fn limits(config: &Config) -> store::Limits {
    let window = config.channels.iter().map(|channel| {
        Duration::from_millis(channel.window.ticks_in(Timescale::MILLIS, Rounding::Ceil))
    });
    let grace = window.max().unwrap_or_default() + LONGEST_SEGMENT;
    store::Limits { live_edge_bytes: config.store.memory, grace, ..store::Limits::default() }
}

/// What viewers may hold, by the configuration and what the system lets this process open.
pub(super) fn held(config: &config::Http) -> http::Limits {
    let all_connections = files::for_viewers();
    // The rest is for the CDN.
    let direct = all_connections / 4 * 3;
    if direct < config.connections {
        warn!(
            connections = direct,
            wanted = config.connections,
            "the system lets this process open few files: fewer viewers find room"
        );
    }
    http::Limits {
        all_connections,
        connections: config.connections,
        connections_per_address: config.connections_per_address,
        waiting: config.waiting,
        waiting_per_address: config.waiting_per_address,
        trusted: config.trusted.clone(),
    }
}

/// A channel's clock: ours, or one that is ahead where the channel was.
pub(super) fn clock_of(store: &ChannelStore, clock: Arc<dyn Clock>, channel: &Name) -> Ahead {
    let least = store.recovered().newest_start();
    let ahead = Ahead::of(clock, least.unwrap_or(Timestamp::new(0, Timescale::NANOS)));
    let seconds = ahead.nanos() / 1_000_000_000;
    if seconds > 0 {
        // Made up slowly, or not at all if it is more than that does.
        error!(%channel, seconds, "the clock was set back: the channel goes on ahead of it");
    }
    ahead
}

pub(super) fn door_of(channel: &config::Channel) -> admin::Door {
    admin::Door {
        channel: channel.name.clone(),
        key: channel.key.clone(),
        passphrase: channel.passphrase.clone(),
        source: channel.source.as_ref().map(ToString::to_string),
    }
}

/// How SRT publishers are taken, by the configuration.
pub(super) fn srt_options(config: &Config) -> srt::Options {
    let passphrases = config.channels.iter();
    let passphrases = passphrases.filter_map(|c| Some((c.name.clone(), c.passphrase.clone()?)));
    srt::Options { latency: config.srt.latency, passphrases: passphrases.collect() }
}
