//! The door for transport streams in files: read at the pace of their own clock, once or for ever.
//!
//! Played again, a file goes on where it ended: the times of each turn follow those of the one before,
//! so the channel sees one source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packager::media::Name;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::PACKET;
use super::door::End;
use super::feed::Feed;
use crate::hub::{Hub, Request};
use crate::source::{Peer, Protocol};

/// Bytes read from the disk at a time.
const READ: usize = 64 * 1024;
/// Bytes handed on at a time, between which others have their turn: as many as in a datagram.
const PIECE: usize = 7 * PACKET;
/// A turn of a file takes at least so long: one without times would be read again and again as fast
/// as the disk allows.
const SHORTEST_TURN: Duration = Duration::from_secs(1);

/// A file, and how it is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is played again when it has ended.
    pub repeat: bool,
}

impl Recording {
    /// Plays it to a channel, and returns when that has ended. Safe to cancel.
    pub async fn play(&self, hub: &Hub, channel: &Name) -> End {
        match self.attend(hub, channel).await {
            Ok(()) => End::Over,
            Err(end) => end,
        }
    }

    async fn attend(&self, hub: &Hub, channel: &Name) -> Result<(), End> {
        // Before anybody is told that a source is there.
        let mut file = File::open(&self.path).await?;
        let request = Request {
            channel: channel.as_str(),
            key: None,
            peer: Peer::Configured(Arc::from(self.path.display().to_string())),
            protocol: Protocol::File,
        };
        let mut feed = Feed::paced(hub.publish(&request)?);
        loop {
            let begun = Instant::now();
            turn(&mut file, &mut feed).await?;
            if !self.repeat {
                feed.finish().await?;
                return Ok(());
            }
            feed.again().await?;
            feed.ask_for_media()?;
            tokio::select! {
                reason = feed.closed() => return Err(super::feed::Error::from(reason).into()),
                () = tokio::time::sleep_until((begun + SHORTEST_TURN).into()) => {}
            }
            file = File::open(&self.path).await?;
        }
    }
}

/// Reads a file from where it is to its end.
async fn turn(file: &mut File, feed: &mut Feed) -> Result<(), End> {
    let mut room = vec![0; READ];
    loop {
        let length = file.read(&mut room).await?;
        if length == 0 {
            return Ok(());
        }
        for piece in room.get(..length).unwrap_or_default().chunks(PIECE) {
            feed.push(piece, Instant::now()).await?;
        }
    }
}

#[cfg(test)]
mod tests;
