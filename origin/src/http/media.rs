//! Init segments, segments and parts: found in the store, or waited for at the live edge.
//!
//! The timeline says what exists ([`standing()`]), the store has the bytes. A piece that is on its way
//! is waited for, for at most twice a segment's length: a part until it is there, a segment until its
//! first part is, from when on it is answered as it grows. Requests wait for the timeline to change and
//! never poll.
//!
//! A key frame alone is made of its segment's first part when it is asked for, once the segment is whole:
//! it lasts as long as that. So is a still of it, by a worker.
//!
//! What has left the spool is read back from S3, where there is one: that is slow, has bounds of its own,
//! and keeps nobody waiting who asks for anything newer.
//!
//! A range of an open segment is answered as soon as its bytes exist, if it says where it ends
//! (`Content-Range: bytes 0-99/*`); one that does not is answered with the whole, which RFC 9110 §14.2
//! allows for any range and spares the client a wait for the end.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use packager::cmaf;
use packager::dash::KEY_FRAMES;
use packager::media::{STILLS, VideoConfig};
use packager::time::{Rounding, Timescale, Timestamp};
use packager::timeline::Snapshot;
use tokio::time::Instant;

use super::answer::{Entity, unreadable};
use super::class::Class;
use super::error::Error;
use super::hold::Hold;
use super::negotiate;
use super::route::{Media, Piece};
use super::standing::{Standing, standing};
use crate::channel::Channel;
use crate::channel::stills::{KeyFrame, Stills};
use crate::clock::Clock;
use crate::store::s3::FarError;
use crate::store::{self, ChannelStore};

/// How long a piece is waited for while a channel goes on after a restart of the server.
const RESTORED_WITHIN: Duration = Duration::from_secs(3);

/// A piece of media, ready to be sent.
#[derive(Debug)]
pub(super) struct Found {
    /// Picture or sound.
    pub(super) class: Class,
    /// What it is.
    pub(super) entity: Entity,
}

/// Finds a piece of media; waits for one that is on its way.
///
/// # Errors
/// [`Error::NotYet`] and [`Error::Gone`], as the timeline says.
pub(super) async fn find(
    channel: &Channel,
    store: &ChannelStore,
    wanted: &Media,
    headers: &HeaderMap,
    (clock, stills): (&dyn Clock, &Stills),
    held: Hold<'_>,
) -> Result<Found, Error> {
    let range = negotiate::closed_range(headers);
    let mut snapshots = channel.snapshot.clone();
    let mut deadline = None;
    loop {
        let Some(snapshot) = snapshots.borrow_and_update().clone() else {
            let found = left(store, wanted);
            if found.is_ok() || !channel.status.borrow().interrupted {
                return found;
            }
            // The server was started again, and the channel's timeline is being read back.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + RESTORED_WITHIN);
            held.until(deadline, snapshots.changed()).await?;
            continue;
        };
        let (index, rendition, _) = snapshot.track(wanted.rendition.as_str()).ok_or(Error::Gone)?;
        let class = class(wanted.piece, rendition.track.config.is_video());
        let now = now(channel, clock);
        match standing(&snapshot, now, index, &wanted.run, wanted.piece) {
            Standing::There | Standing::Old if wanted.piece.is_made() => {
                // Boxed, so that those who only wait are small.
                let media = Box::pin(made(&snapshot, index, (store, stills), wanted)).await?;
                return Ok(Found { class, entity: Entity::Media(media) });
            }
            Standing::There | Standing::Old => {
                let media = match read(store, wanted) {
                    Some(media) => media,
                    // Boxed, so that those who only wait are small.
                    None => Box::pin(far(store, wanted, &snapshot, index)).await?,
                };
                if !media.open {
                    return Ok(Found { class, entity: Entity::Media(media) });
                }
            }
            Standing::Soon => {
                if let Some(entity) = growing(store, wanted, range.clone(), patience(&snapshot)) {
                    return Ok(Found { class, entity });
                }
            }
            // What was on its way and can't come any more must not be remembered as gone.
            Standing::NotYet => return Err(Error::NotYet),
            Standing::Never if deadline.is_some() => return Err(Error::NotYet),
            Standing::Never => return Err(Error::Gone),
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience(&snapshot));
        held.until(deadline, snapshots.changed()).await?;
    }
}

/// Now by the channel's clock, which may be ahead of the origin's.
fn now(channel: &Channel, clock: &dyn Clock) -> Timestamp {
    let ahead = channel.status.borrow().clock_ahead_ms;
    let millis = clock.now_millis().saturating_add(ahead);
    Timestamp::new(i64::try_from(millis).unwrap_or(i64::MAX), Timescale::MILLIS)
}

/// What can be answered of a segment that is being written: all of it as it comes, or the bytes of a
/// range that are there.
fn growing(
    store: &ChannelStore,
    wanted: &Media,
    range: Option<Range<u64>>,
    patience: Duration,
) -> Option<Entity> {
    let Piece::Segment { k } = wanted.piece else { return None };
    match range {
        Some(range) => {
            let media = read(store, wanted)?;
            (media.open && range.end <= media.len).then_some(Entity::Media(media))
        }
        None => {
            let follower = store.follow(wanted.run.as_str(), wanted.rendition.as_str(), k)?;
            Some(Entity::Open(follower, patience))
        }
    }
}

/// What is made of a listed segment: its key frame alone, or a still.
pub(super) async fn made(
    snapshot: &Snapshot,
    index: usize,
    (store, stills): (&ChannelStore, &Stills),
    wanted: &Media,
) -> Result<store::Media, Error> {
    let (run, name) = (wanted.run.as_str(), wanted.rendition.as_str());
    let (kind, k, pieces) = match wanted.piece {
        Piece::KeyFrame { k } => {
            let (_, chunk) = key_frame(snapshot, index, store, (wanted, k)).await?;
            (KEY_FRAMES, k, std::iter::once(chunk.head).chain(chunk.samples).collect())
        }
        Piece::Still { k } => {
            let key = format!("{}/{run}/{name}/{k}", wanted.channel);
            let still = match stills.known(&key).await {
                Some(still) => still,
                None => {
                    let (config, chunk) = key_frame(snapshot, index, store, (wanted, k)).await?;
                    let data = chunk.samples.into_iter().next().ok_or(Error::Gone)?;
                    stills.make(key, KeyFrame { config: config.clone(), data }).await?
                }
            };
            (STILLS, k, vec![still])
        }
        Piece::Init | Piece::Segment { .. } | Piece::Part { .. } => return Err(Error::Gone),
    };
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    Ok(store::Media {
        len,
        etag: Some(format!("\"{run}-{name}{kind}-{k}-{len}\"")),
        body: store::MediaBody::Memory(pieces),
        open: false,
    })
}

/// The key frame of segment `k`, which is listed, as a chunk of one sample, and what decodes it.
async fn key_frame<'a>(
    snapshot: &'a Snapshot,
    index: usize,
    store: &ChannelStore,
    (wanted, k): (&Media, u64),
) -> Result<(&'a VideoConfig, cmaf::Chunk), Error> {
    let track = snapshot.tracks.get(index).ok_or(Error::Gone)?;
    let segment = track.segments.number(k).ok_or(Error::Gone)?;
    let rendition = segment.run.renditions.get(index).ok_or(Error::Gone)?;
    let config = rendition.video().ok_or(Error::Gone)?;
    let duration = u32::try_from(segment.duration).unwrap_or(u32::MAX);
    let (run, name) = (wanted.run.as_str(), wanted.rendition.as_str());
    let first = segment.parts.first().map(|part| u64::from(part.bytes));
    let part = store.part(run, name, k, 0).or_else(|| store.held(run, name, k, first));
    let part = match part {
        Some(part) => part,
        None => {
            let first = Media { piece: Piece::Part { k, n: 0 }, ..wanted.clone() };
            far(store, &first, snapshot, index).await?
        }
    };
    let part = part.whole().await.map_err(unreadable)?;
    let made = cmaf::key_frame(rendition, k, &part, duration);
    Ok((config, made.ok().flatten().ok_or(Error::Gone)?))
}

/// The class of a piece that is there.
fn class(piece: Piece, video: bool) -> Class {
    match piece {
        Piece::Still { .. } => Class::Still,
        _ if video => Class::Video,
        _ => Class::Audio,
    }
}

/// What only an asset has any more; of what is made of a segment the segment.
pub(super) fn held(store: &ChannelStore, wanted: &Media) -> Option<(Class, store::Media)> {
    let (run, name) = (wanted.run.as_str(), wanted.rendition.as_str());
    let media = match wanted.piece {
        Piece::Init => store.held_init(run, name),
        Piece::Segment { k } | Piece::KeyFrame { k } | Piece::Still { k } => {
            store.held(run, name, k, None)
        }
        // Nothing lists parts of what is so old.
        Piece::Part { .. } => None,
    };
    // The one name that a rendition of sound has.
    Some((class(wanted.piece, name != "audio"), media?))
}

/// What has left the spool, from S3.
async fn far(
    store: &ChannelStore,
    wanted: &Media,
    snapshot: &Snapshot,
    index: usize,
) -> Result<store::Media, Error> {
    let what = match wanted.piece {
        Piece::Init => store::Far::Init,
        Piece::Segment { k } => store::Far::Segment { k },
        Piece::Part { k, n } => {
            let (n, range) = part_of(snapshot, index, k, n).ok_or(Error::Gone)?;
            store::Far::Part { k, n, range }
        }
        Piece::KeyFrame { .. } | Piece::Still { .. } => return Err(Error::Gone),
    };
    store.far(&wanted.run, &wanted.rendition, what).await.map_err(|error| match error {
        FarError::Missing => Error::Gone,
        FarError::Busy | FarError::Trouble(_) => Error::Far,
    })
}

/// Position and bytes of a part in its segment, where that is listed.
fn part_of(snapshot: &Snapshot, index: usize, k: u64, n: u32) -> Option<(usize, Range<u64>)> {
    let n = usize::try_from(n).ok()?;
    let segment = snapshot.tracks.get(index)?.segments.number(k)?;
    let before = segment.parts.iter().take(n).map(|part| u64::from(part.bytes));
    let start = before.sum::<u64>();
    Some((n, start..start.saturating_add(segment.parts.get(n)?.bytes.into())))
}

/// What an earlier process, or an earlier presentation, left of a channel without a timeline.
fn left(store: &ChannelStore, wanted: &Media) -> Result<Found, Error> {
    let media = read(store, wanted).filter(|media| !media.open).ok_or(Error::NotYet)?;
    let format = store.recovered().format.as_ref();
    let mut renditions = format.iter().flat_map(|format| &format.renditions);
    let sound = renditions.any(|r| r.name == wanted.rendition.as_str() && r.size.is_none());
    let class = if sound { Class::Audio } else { Class::Video };
    Ok(Found { class, entity: Entity::Media(media) })
}

/// How long a piece that is on its way is waited for: twice a segment's length.
fn patience(snapshot: &Arc<Snapshot>) -> Duration {
    let nanos = snapshot.format.grid.segment().ticks_in(Timescale::NANOS, Rounding::Ceil);
    Duration::from_nanos(nanos.saturating_mul(2))
}

fn read(store: &ChannelStore, wanted: &Media) -> Option<store::Media> {
    let (run, rendition) = (wanted.run.as_str(), wanted.rendition.as_str());
    match wanted.piece {
        Piece::Init => store.init(run, rendition),
        Piece::Segment { k } => store.read(run, rendition, k),
        Piece::Part { k, n } => store.part(run, rendition, k, usize::try_from(n).ok()?),
        // They are made of one that is listed.
        Piece::KeyFrame { .. } | Piece::Still { .. } => None,
    }
}
