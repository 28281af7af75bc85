//! The worker processes of a running server, to be found and harmed.

use std::time::Duration;

use super::Server;
use crate::process::tree;
use crate::wait::{Look, until};
use crate::{Result, process::tree::Usage};

impl Server {
    /// Ids of the worker processes of a channel: none before its first key frame, one while it is
    /// on the air, two for a moment while one ends and the next begins.
    pub fn worker_pids(&self, channel: &str) -> Vec<u32> {
        let title = format!("headwater: {channel}");
        let mut members = tree::members(self.id());
        members.retain(|id| tree::title(*id).as_deref() == Some(title.as_str()));
        members
    }

    /// Waits until a channel has a worker that is not `known`, and gives its id.
    ///
    /// # Errors
    /// If it has none within `bound`.
    pub fn wait_worker(&self, channel: &str, known: Option<u32>, bound: Duration) -> Result<u32> {
        let waited = until(&format!("worker of {channel}"), bound, || {
            let found = self.worker_pids(channel).into_iter().find(|id| Some(*id) != known);
            Ok(Look::at(found, format!("there is none but {known:?}")))
        });
        waited.map_err(|failure| self.explain(&failure))
    }

    /// What the server and its workers hold now.
    pub fn usage(&self) -> Usage {
        Usage::of(self.id())
    }
}
