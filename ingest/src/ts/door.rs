//! What the doors for sources that a configuration names have in common: why a turn of one ends.

use std::io;

use super::feed;
use crate::hub::{Closed, Refusal};

/// Why a source has ended. Whoever opened the door decides whether there is another turn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// The socket can't be opened, or not join its group.
    #[error("can't listen: {0}")]
    Listen(io::Error),
    /// The file or the socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The channel did not take it.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// What came was of no use, or the channel takes no more.
    #[error("{0}")]
    Feed(#[from] feed::Error),
    /// The sender has stopped.
    #[error("nothing received for {} s", super::datagram::DEADLINE_SILENCE.as_secs())]
    Silent,
    /// The file has been played, and is not played again.
    #[error("the file has been played")]
    Over,
}

impl End {
    /// Whether the server is going down: there is no other turn.
    pub fn is_shutdown(&self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::ShuttingDown)
                | Self::Feed(feed::Error::Closed(Closed::ShuttingDown))
        )
    }
}
