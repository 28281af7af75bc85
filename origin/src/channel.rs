//! A channel: the task that turns what a publisher sends into segments, and the handle others read.
//!
//! The task owns the segmenter and the timeline. Everybody else holds a [`Channel`], which gives
//! snapshots and a status and can't change anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use packager::media::Name;
use packager::timeline::Snapshot;
use tokio::sync::watch;

use crate::config;
use crate::store::{Recovered, StoredFormat};

mod backlog;
pub mod cues;
mod cutting;
mod encoder;
pub(crate) mod incidents;
mod intake;
mod making;
#[allow(dead_code, reason = "the worker's protocol has no message yet that switches rungs")]
mod overload;
mod packaging;
mod passing;
pub mod preview;
pub(crate) mod replica;
mod stages;
mod status;
pub mod stills;
mod task;
pub(crate) mod written;
pub use incidents::Event;
pub use status::{
    Health, LeftOut, Link, RenditionStatus, RepairKind, SourceStatus, StageLatency, Status,
};
pub(crate) use task::{Context, run};

/// What the rest of the program sees of a channel. Cheap to share.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: Name,
    /// The timeline as of now; `None` before the first segment of a fresh channel.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What goes on, for people and monitors. Holds no secret.
    pub status: watch::Receiver<Arc<Status>>,
    /// Where cues are handed in.
    pub cues: cues::Desk,
    /// Its pictures as they are made.
    pub preview: Arc<preview::Preview>,
}

/// Whether a channel that is configured like this begins a new window where it had this format: what its
/// window holds can't be watched any more.
pub(crate) fn begins_anew(config: &config::Channel, format: StoredFormat) -> bool {
    let before = Recovered { format: Some(format), ..Recovered::default() };
    making::Making::stored(config, &before).is_none()
}

/// All channels, by name.
pub type Channels = BTreeMap<Name, Arc<Channel>>;
