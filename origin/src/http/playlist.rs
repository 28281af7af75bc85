//! Playlists and manifests: which snapshot answers, and how long one that is not ready is waited
//! for (DESIGN §7).
//!
//! A starting channel's playlists are held until every rendition has its first complete segment,
//! because hls.js gives up on a playlist without one. A channel nobody publishes to is answered at
//! once; but one that was on the air when the server died is waited for until its publisher is back:
//! players that are attached ask again after a 503, and give up on a 404.

use std::sync::Arc;
use std::time::Duration;

use packager::timeline::{Snapshot, State};
use tokio::time::Instant;

use super::error::Error;
use super::hold::Hold;
use crate::channel::{Channel, Health};

/// How long a playlist of a starting channel is held. First picture within 3 s of the first key
/// frame is our promise; whoever asked then tries again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The snapshot that answers a playlist request.
///
/// # Errors
/// [`Error::NotYet`] when nothing can be played, or not within [`PATIENCE`]; [`Error::Interrupted`]
/// then, if it is a restart of the server that is waited for.
pub(super) async fn ready(channel: &Channel, held: Hold<'_>) -> Result<Arc<Snapshot>, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut snapshots = channel.snapshot.clone();
    let mut states = channel.status.clone();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let (state, interrupted) = {
            let status = states.borrow_and_update();
            (status.state, status.interrupted)
        };
        if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| playable(snapshot)) {
            return Ok(Arc::clone(snapshot));
        }
        if !starting(snapshot.as_deref(), state) {
            return Err(Error::NotYet);
        }
        let changed = async {
            tokio::select! {
                changed = snapshots.changed() => changed,
                changed = states.changed() => changed,
            }
        };
        held.until(deadline, changed).await.map_err(|error| match error {
            Error::NotYet if interrupted => Error::Interrupted,
            error => error,
        })?;
    }
}

/// Whether every rendition has a complete segment.
fn playable(snapshot: &Snapshot) -> bool {
    snapshot.last_k().is_some()
}

/// Whether a first segment is to be expected.
fn starting(snapshot: Option<&Snapshot>, state: Health) -> bool {
    match state {
        Health::Starting | Health::Live | Health::Holding => true,
        Health::Ended => false,
        Health::Idle => snapshot.is_some_and(|snapshot| snapshot.state == State::Live),
    }
}
