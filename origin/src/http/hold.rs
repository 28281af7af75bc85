//! Holding a request until something changes, its time is up, or the server goes down.

use std::future::Future;

use tokio::sync::watch::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use crate::telemetry::metrics::HttpMetrics;

/// What ends every wait, and where waiting requests are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold<'a> {
    /// Cancelled when the server goes down: requests that wait are answered first.
    pub(super) cancel: &'a CancellationToken,
    /// Counts the requests that wait.
    pub(super) metrics: &'a HttpMetrics,
}

impl Hold<'_> {
    /// Waits for a change. A channel that is gone changes no more.
    ///
    /// # Errors
    /// [`Error::NotYet`] at the deadline, [`Error::ShuttingDown`] when cancelled.
    pub(super) async fn until(
        &self,
        deadline: Instant,
        changed: impl Future<Output = Result<(), RecvError>>,
    ) -> Result<(), Error> {
        let _waiting = self.metrics.wait();
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::ShuttingDown),
            changed = changed => changed.map_err(|_| Error::NotYet),
            () = tokio::time::sleep_until(deadline) => Err(Error::NotYet),
        }
    }
}
