//! Playlists and manifests: which snapshot answers, and how long one that is not ready is waited
//! for.
//!
//! A starting channel's playlists are held until every rendition has its first complete segment,
//! because hls.js gives up on a playlist without one. A channel nobody publishes to is answered at
//! once; but one that was on the air when the server died is waited for, until its window has been read
//! back or, where that is not to be had, its publisher is back: players that are attached ask again
//! after a 503, and give up on a 404.
//!
//! A media playlist may be asked for with something that it does not have yet (RFC 8216bis §6.2.5.2).
//! However many ask for the same, one of them watches the channel and renders the answer, and the
//! others wait for that ([`Reloads`]): they have no timer and are woken once. If the one goes away,
//! another takes its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packager::timeline::{Snapshot, State};
use tokio::sync::watch;
use tokio::time::Instant;

use super::class::Class;
use super::error::Error;
use super::hold::Hold;
use super::reload::{Due, Wanted, due};
use super::text::Text;
use crate::channel::{Channel, Health};

/// How long a playlist of a starting channel is held. First picture within 3 s of the first key
/// frame is our promise; whoever asked then tries again.
const PATIENCE: Duration = Duration::from_secs(3);
/// Target durations for which a playlist that should grow is held (RFC 8216bis §6.2.5.2).
const HELD_TARGETS: u32 = 3;

const TOO_FAR: Error = Error::Directives("_HLS_msn or _HLS_part is too far ahead");

/// The snapshot that answers a playlist request.
///
/// # Errors
/// [`Error::NotYet`] when nothing can be played, or not within [`PATIENCE`]; [`Error::Interrupted`]
/// then, if it is a restart of the server that is waited for.
pub(super) async fn ready(channel: &Channel, held: Hold<'_>) -> Result<Arc<Snapshot>, Error> {
    match stands(channel) {
        Stands::Playable(snapshot) => Ok(snapshot),
        Stands::Nothing => Err(Error::NotYet),
        // Boxed, so that the many who wait for more of a playlist are small.
        Stands::Starting { .. } => Box::pin(started(channel, held)).await,
    }
}

/// Waits for a starting channel.
async fn started(channel: &Channel, held: Hold<'_>) -> Result<Arc<Snapshot>, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut snapshots = channel.snapshot.clone();
    let mut states = channel.status.clone();
    loop {
        snapshots.mark_unchanged();
        states.mark_unchanged();
        let interrupted = match stands(channel) {
            Stands::Playable(snapshot) => return Ok(snapshot),
            Stands::Nothing => return Err(Error::NotYet),
            Stands::Starting { interrupted } => interrupted,
        };
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

/// What a channel has for a player.
enum Stands {
    /// Every rendition has a complete segment.
    Playable(Arc<Snapshot>),
    /// A first segment is to be expected; or the next, after a restart of the server.
    Starting { interrupted: bool },
    /// Nothing, and nothing to be expected.
    Nothing,
}

fn stands(channel: &Channel) -> Stands {
    let snapshot = channel.snapshot.borrow().clone();
    let (state, interrupted) = {
        let status = channel.status.borrow();
        (status.state, status.interrupted)
    };
    match snapshot {
        Some(snapshot) if playable(&snapshot) => Stands::Playable(snapshot),
        snapshot if starting(snapshot.as_deref(), state) => Stands::Starting { interrupted },
        _ => Stands::Nothing,
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

/// Which answer requests wait for together: the text that was asked for, and what it has to hold.
pub(super) type Key = (super::render::Resource, Wanted);

/// What all who waited are answered with.
type Outcome = Result<(Class, Arc<Text>), Refusal>;

/// Why none of them gets a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotYet,
    Gone,
    TooFar,
    Stalled,
    ShuttingDown,
}

/// The requests of one channel that wait for its playlists to grow.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    waiting: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
}

/// Whose turn it is.
enum Turn<'a> {
    /// To watch the channel.
    First(First<'a>),
    /// To wait for the one who does.
    Next(watch::Receiver<Option<Outcome>>),
}

/// The one who watches the channel for all who wait for the same. Dropped without an outcome, it
/// lets another take its place.
struct First<'a> {
    reloads: &'a Reloads,
    key: Key,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Reloads {
    /// Waits until the playlist has what is wanted, and gives what `render` makes of it then.
    ///
    /// # Errors
    /// [`Error::Stalled`] if that takes longer than three target durations; [`Error::Directives`] if
    /// it is too far ahead.
    pub(super) async fn wait(
        &self,
        key: Key,
        channel: &Channel,
        rendition: &str,
        held: Hold<'_>,
        render: impl Fn(&Arc<Snapshot>, usize) -> Arc<Text>,
    ) -> Result<(Class, Arc<Text>), Error> {
        loop {
            match self.turn(key) {
                Turn::First(first) => {
                    // Boxed, so that the many who only wait are small.
                    let found = Box::pin(watch(key.1, channel, rendition, held, &render)).await;
                    let outcome = match &found {
                        Ok(found) => Some(Ok(found.clone())),
                        Err(error) => Refusal::of(error).map(Err),
                    };
                    if outcome.is_some() {
                        first.outcome.send_replace(outcome);
                    }
                    return found;
                }
                Turn::Next(mut outcome) => {
                    let _waiting = held.enter()?;
                    if let Ok(outcome) = outcome.wait_for(Option::is_some).await
                        && let Some(outcome) = &*outcome
                    {
                        return outcome.clone().map_err(Error::from);
                    }
                }
            }
        }
    }

    /// How many different answers are waited for.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn turn(&self, key: Key) -> Turn<'_> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = waiting.get(&key) {
            return Turn::Next(outcome.clone());
        }
        let (outcome, receiver) = watch::channel(None);
        waiting.insert(key, receiver);
        Turn::First(First { reloads: self, key, outcome })
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        let mut waiting = self.reloads.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.key);
    }
}

/// Watches a channel until a playlist of it has what is wanted.
async fn watch(
    wanted: Wanted,
    channel: &Channel,
    rendition: &str,
    held: Hold<'_>,
    render: &impl Fn(&Arc<Snapshot>, usize) -> Arc<Text>,
) -> Result<(Class, Arc<Text>), Error> {
    let mut snapshots = channel.snapshot.clone();
    let mut deadline = None;
    loop {
        let snapshot = snapshots.borrow_and_update().clone().ok_or(Error::NotYet)?;
        let (index, ..) = snapshot.track(rendition).ok_or(Error::Gone)?;
        let target = snapshot.format.grid.target_duration();
        match due(&snapshot, index, wanted) {
            Due::TooFar => return Err(TOO_FAR),
            Due::Later => {}
            Due::Late if deadline.is_none() || snapshot.state == State::Ended => {
                return Ok((Class::Playlist, render(&snapshot, index)));
            }
            Due::Newest | Due::Late => {
                return Ok((Class::Appeared { target }, render(&snapshot, index)));
            }
        }
        let patience = Duration::from_secs(u64::from(target) * u64::from(HELD_TARGETS));
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
        held.until(deadline, snapshots.changed()).await.map_err(|error| match error {
            Error::NotYet => Error::Stalled,
            error => error,
        })?;
    }
}

impl Refusal {
    /// What concerns all who wait; an error that is the one's own does not.
    fn of(error: &Error) -> Option<Self> {
        match error {
            Error::NotYet => Some(Self::NotYet),
            Error::Gone => Some(Self::Gone),
            Error::Directives(_) => Some(Self::TooFar),
            Error::Stalled => Some(Self::Stalled),
            Error::ShuttingDown => Some(Self::ShuttingDown),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotYet => Self::NotYet,
            Refusal::Gone => Self::Gone,
            Refusal::TooFar => TOO_FAR,
            Refusal::Stalled => Self::Stalled,
            Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}
