//! Holding a request until something changes, its time is up, or the server goes down.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::serve::{Visitor, WaitingSlot};

/// What ends every wait, and whose waits are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold<'a> {
    /// Cancelled when the server goes down: requests that wait are answered first.
    pub(super) cancel: &'a CancellationToken,
    /// Whoever waits: so many may, all together and from one address.
    pub(super) visitor: &'a Arc<Visitor>,
}

impl Hold<'_> {
    /// Lets a request wait for as long as the slot lives.
    ///
    /// # Errors
    /// [`Error::Crowded`]: there is no room.
    pub(super) fn enter(&self) -> Result<WaitingSlot, Error> {
        self.visitor.wait().map_err(|_| Error::Crowded)
    }

    /// Waits for a change. A channel that is gone changes no more.
    ///
    /// # Errors
    /// [`Error::NotYet`] at the deadline, [`Error::ShuttingDown`] when cancelled, [`Error::Crowded`]
    /// where there is no room to wait.
    pub(super) async fn until(
        &self,
        deadline: Instant,
        changed: impl Future<Output = Result<(), RecvError>>,
    ) -> Result<(), Error> {
        let _waiting = self.enter()?;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::ShuttingDown),
            changed = changed => changed.map_err(|_| Error::NotYet),
            () = tokio::time::sleep_until(deadline) => Err(Error::NotYet),
        }
    }
}
