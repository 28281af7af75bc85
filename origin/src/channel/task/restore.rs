//! What a channel's task does first: it goes on with what an earlier process left, as if the source
//! had been lost when that died (ARCHITECTURE, "When something breaks").
//!
//! The whole window is listed again, under the same names. The open segments are completed and the
//! time since is filled with the last key frame and silence, before anything is published. From then
//! on the channel is one without a source: a ladder's worker comes with its slate when the picture has
//! stood for long enough, or with the source if that is back before. After more than `hold` it has
//! ended, and its presentation is served for the rest of the window. Where the machine itself went
//! down, the window stands still until the source begins another run.

use std::time::Duration;

use packager::time::{Rounding, Timescale, Timestamp};
use tokio::time::Instant;
use tracing::info;

use super::report::describe;
use super::{Context, Task, until};
use crate::channel::making::Making;
use crate::channel::status::Health;
use crate::clock::Clock as _;
use crate::crash;
use crate::store::Left;

/// What an earlier process left that the channel goes on with, at least as an ended presentation.
pub(super) fn restorable(context: &Context) -> Option<Left> {
    let left = context.store.take_left()?;
    if Making::stored(&context.config, context.store.recovered()).is_none() {
        info!(
            channel = %context.config.name,
            "the channel is configured otherwise than before: a new window begins"
        );
        return None;
    }
    standing(context, &left).is_some().then_some(left)
}

/// What has become of a channel since an earlier process ended.
enum Standing {
    /// It waits for its source.
    Live,
    /// It has ended, and is listed for so long.
    Ended(Duration),
}

fn standing(context: &Context, left: &Left) -> Option<Standing> {
    let dead = until(left.end()?, context.clock.now());
    let over = if left.ended { Some(dead) } else { dead.checked_sub(context.config.hold) };
    let Some(over) = over else { return Some(Standing::Live) };
    let window = context.config.window.ticks_in(Timescale::MILLIS, Rounding::Ceil);
    Duration::from_millis(window).checked_sub(over).map(Standing::Ended)
}

impl Task {
    /// Goes on with what was left.
    pub(super) async fn restore(&mut self) {
        let Some(left) = self.left.take() else { return };
        let Context { config, store, .. } = &self.context;
        let (Some(making), Some(standing)) =
            (Making::stored(config, store.recovered()), standing(&self.context, &left))
        else {
            return;
        };
        crash::point("recovery-begun");
        let began = Instant::now();
        let mut packaging = self.context.packaging(making.grid);
        packaging.restore(&left).await;
        if let Some(run) = left.run() {
            self.status.renditions = run.renditions.iter().map(describe).collect();
        }
        match standing {
            Standing::Live => {
                // There is no encoder to be told what was filled.
                drop(packaging.fill(self.context.clock.now()).await);
                packaging.publish();
                let slate = packaging.is_on_air() && !config.pass_through;
                self.slate_at = slate.then(|| began + config.slate_after);
            }
            Standing::Ended(left) => {
                packaging.end().await;
                self.context.store.end().await;
                self.deadline = Some(Instant::now() + left);
                self.enter(Health::Ended);
            }
        }
        let (name, dead) = (&self.context.config.name, since(left.end(), &self.context));
        info!(
            channel = %name,
            last_segment = packaging.next_k().saturating_sub(1),
            dead_ms = dead.as_millis(),
            took_ms = began.elapsed().as_millis(),
            "the channel goes on where an earlier process stopped"
        );
        self.fix(making, packaging);
        self.report();
    }
}

/// How long ago something was.
fn since(at: Option<Timestamp>, context: &Context) -> Duration {
    at.map_or(Duration::ZERO, |at| until(at, context.clock.now()))
}
